"""Workers as jobs of a batch system, through dask-jobqueue: SLURM and PBS.

Scheduler and table stay in the server's process, on a machine from which jobs can be submitted. Each batch job is one worker with one slot
and one GPU. It ends itself before its walltime, so that its job goes on in the next one and is not counted as a worker that died [1]_.

References
----------
.. [1] dask-jobqueue, issue 122: workers with a lifetime below the walltime, on an adaptive cluster, which asks for the next batch job.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.engine.control import SLOT
from brain2pix.config.cluster import ClusterKind, ClusterSettings, read_cluster_settings
from brain2pix.errors import ComputeError, ConfigError, MissingDependencyError, unknown_name

if TYPE_CHECKING:
    from distributed.security import Security

COMMANDS = {"slurm": "sbatch", "pbs": "qsub"}
_NAME = "brain2pix"  # of the batch jobs
_THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_DEATH_TIMEOUT_S = 120  # a worker that finds no server so long gives its node back
_LOOK_S = 10  # between looks at how many batch jobs are needed
_IDLE_LOOKS = 6  # before a worker without work gives its node back
# A worker takes these from its environment; the server's own configuration does not reach the nodes.
_ENVIRONMENT = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DASK_DISTRIBUTED__WORKER__DAEMON": "False",  # data loaders have processes of their own
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED": "False",
}


def read_cluster_options(file: Path | None) -> ClusterSettings:
    """Read the TOML file of ``--cluster-options``.

    Raises
    ------
    ConfigError, MissingDataError
        If no file was given, or it cannot be used.
    """
    if file is None:
        raise ConfigError("--cluster needs --cluster-options FILE.toml with at least shared_folder and interface")
    return read_cluster_settings(file)


def job_script(kind: str, options: ClusterSettings) -> str:
    """Give the script of a batch job as it will be submitted, but for the server's address and the names of the key files.

    Parameters
    ----------
    kind : str, "slurm" or "pbs"
    options : ClusterSettings

    Raises
    ------
    MissingDependencyError
        If dask-jobqueue is not installed.
    ConfigError
        If there is no such kind.
    """
    from distributed.security import Security

    job_class = _classes(kind)[1]
    keys = {
        name: f"{options.shared_folder}/.dask-jobqueue.worker.{part}.XXXXXXXX"
        for name, part in (("tls_ca_file", "ca_file"), ("tls_worker_cert", "cert"), ("tls_worker_key", "key"))
    }
    job = job_class(
        "tls://ADDRESS:PORT", name="WORKER", security=Security(require_encryption=True, **keys), protocol="tls://", **_job(kind, options)
    )
    script: str = job.job_script()
    return script


async def make_cluster(kind: str, options: ClusterSettings, scheduler: dict[str, Any], security: "Security") -> Any:
    """Start a scheduler here, and batch jobs as they are needed.

    Parameters
    ----------
    kind : str, "slurm" or "pbs"
    options : ClusterSettings
    scheduler : dict, arguments of dask's scheduler; it listens on `options.interface`, whatever ``host`` says
    security : Security, certificate and key of the server; the workers read them from files in the shared folder

    Returns
    -------
    cluster of dask-jobqueue, asynchronous, started

    Raises
    ------
    MissingDependencyError
        If dask-jobqueue is not installed.
    ConfigError
        If there is no such kind, or no such network interface.
    ComputeError
        If the batch system's commands or the shared folder are not here.
    """
    import shutil

    import dask

    cluster_class = _classes(kind)[0]
    if shutil.which(COMMANDS[kind]) is None:
        raise ComputeError(
            f"{COMMANDS[kind]} is not on this machine's path; start the server where jobs can be submitted, e.g. on a login node"
        )
    _check_interface(options.interface)
    try:
        logs_folder(options).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ComputeError(f"cannot write into shared_folder {options.shared_folder}: {error.strerror or error}") from error
    # how long our jobs take is unknown, and dask would guess half a second: one batch job would seem enough for ten of them
    dask.config.set({"distributed.scheduler.unknown-task-duration": "1h"})
    here = {name: value for name, value in scheduler.items() if name != "host"}
    cluster = await cluster_class(
        scheduler_options={**here, "interface": options.interface},
        security=security,
        protocol="tls://",
        shared_temp_directory=str(options.shared_folder),
        asynchronous=True,
        silence_logs=False,
        name=_NAME,
        **_job(kind, options),
    )
    cluster.adapt(
        minimum_jobs=0 if options.adaptive else options.jobs, maximum_jobs=options.jobs, interval=f"{_LOOK_S}s", wait_count=_IDLE_LOOKS
    )
    return cluster


def logs_folder(options: ClusterSettings) -> Path:
    """Where batch jobs write what they print."""
    return options.shared_folder / "brain2pix-logs"


def _job(kind: str, options: ClusterSettings) -> dict[str, Any]:
    """Arguments of dask-jobqueue for one batch job."""
    environment = {**dict.fromkeys(_THREAD_NAMES, str(options.cores)), **_ENVIRONMENT}
    common = {
        "job_name": _NAME,
        "queue": options.queue,
        "account": options.account,
        "walltime": options.walltime,
        "python": options.python,
        "memory": options.memory,
        "processes": 1,
        "nanny": True,  # a job that does not answer is ended with its process, and the batch job stays
        "death_timeout": _DEATH_TIMEOUT_S,
        # after the site's own lines: modules like to set numbers of threads
        "job_script_prologue": [*options.prologue, *(f"export {name}={shlex.quote(value)}" for name, value in environment.items())],
        "worker_extra_args": _worker_arguments(options),
    }
    logs = logs_folder(options)
    if kind == "slurm":
        gpu = [f"--gres={options.gpu_request or 'gpu:1'}"] if options.gpus else []
        directives = [f"-o {logs}/%x-%j.log", *gpu, *options.directives]
        return {**common, "cores": 1, "job_cpu": options.cores, "job_extra_directives": directives}
    gpu_part = f":{options.gpu_request or 'ngpus=1'}" if options.gpus else ""
    select = f"select=1:ncpus={options.cores}:mem={_pbs_memory(options.memory)}{gpu_part}"
    return {**common, "cores": 1, "resource_spec": select, "job_extra_directives": ["-j oe", f"-o {logs}/", *options.directives]}


def _worker_arguments(options: ClusterSettings) -> list[str]:
    return [
        *("--resources", f"{SLOT}=1"),
        *("--memory-limit", "0"),  # the last one counts: pages of memory maps are no reason to end a worker
        # dask moves the end by up to the stagger in both directions
        *("--lifetime", f"{options.lifetime_s}s", "--lifetime-stagger", f"{options.margin_s // 3}s"),
        *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        *(("--interface", options.worker_interface) if options.worker_interface else ()),
    ]


def _classes(kind: str) -> tuple[Any, Any]:
    """Cluster and job of dask-jobqueue."""
    if kind not in COMMANDS:
        raise ConfigError(unknown_name("cluster", kind, COMMANDS))
    try:
        from dask_jobqueue.pbs import PBSCluster, PBSJob
        from dask_jobqueue.slurm import SLURMCluster, SLURMJob
    except ImportError as error:
        raise MissingDependencyError(f'{kind} needs dask-jobqueue ({error}): pip install "napari-brain2pix[cluster]"') from None
    return (SLURMCluster, SLURMJob) if kind == "slurm" else (PBSCluster, PBSJob)


def _pbs_memory(text: str) -> str:
    from dask.utils import parse_bytes
    from dask_jobqueue.pbs import pbs_format_bytes_ceil

    memory: str = pbs_format_bytes_ceil(parse_bytes(text))
    return memory


def _check_interface(name: str) -> None:
    import psutil

    known = psutil.net_if_addrs()
    if name not in known:
        raise ConfigError(unknown_name("network interface", name, known))


__all__ = ["COMMANDS", "ClusterKind", "job_script", "logs_folder", "make_cluster", "read_cluster_options"]
