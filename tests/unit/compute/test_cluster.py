"""Job scripts as text, and the whole way of a job through a batch system that is a shell script."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from brain2pix.compute.engine.cluster import job_script, read_cluster_options
from brain2pix.config.base import build
from brain2pix.config.cluster import ClusterSettings
from brain2pix.errors import ConfigError, MissingDataError, MissingDependencyError

NEEDED = {"shared_folder": "/scratch/lab", "interface": "ib0"}
FULL = {
    **NEEDED,
    "queue": "gpu",
    "account": "vision",
    "walltime": "12:00:00",
    "cores": 8,
    "memory": "64GB",
    "directives": ("--constraint=a100",),
    "prologue": ("module load cuda",),
    "python": "/sw/brain2pix/bin/python",
    "margin_s": 600,
}
SLURM = """\
#!/usr/bin/env bash

#SBATCH -J brain2pix
#SBATCH -p gpu
#SBATCH -A vision
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=60G
#SBATCH -t 12:00:00
#SBATCH -o /scratch/lab/brain2pix-logs/%x-%j.log
#SBATCH --gres=gpu:1
#SBATCH --constraint=a100
"""
PBS = """\
#!/usr/bin/env bash

#PBS -N brain2pix
#PBS -q gpu
#PBS -A vision
#PBS -l select=1:ncpus=8:mem=60GB:ngpus=1
#PBS -l walltime=12:00:00
#PBS -j oe
#PBS -o /scratch/lab/brain2pix-logs/
#PBS --constraint=a100
"""
PROLOGUE = """\
module load cuda
export OMP_NUM_THREADS=8
export MKL_NUM_THREADS=8
export OPENBLAS_NUM_THREADS=8
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
"""
WORKER = (
    "/sw/brain2pix/bin/python -m distributed.cli.dask_worker tls://ADDRESS:PORT --name WORKER --nthreads 1 --memory-limit 59.60GiB --nanny "
    "--death-timeout 120 --resources GPU=1 --memory-limit 0 --lifetime 42600s --lifetime-stagger 200s "
    "--no-dashboard --dashboard-address 127.0.0.1:0 --protocol tls:// "
    "--tls-ca-file /scratch/lab/.dask-jobqueue.worker.ca_file.XXXXXXXX --tls-cert /scratch/lab/.dask-jobqueue.worker.cert.XXXXXXXX "
    "--tls-key /scratch/lab/.dask-jobqueue.worker.key.XXXXXXXX\n"
)


def settings(**changes):
    return build(ClusterSettings, {**NEEDED, **changes})


def toml(tmp_path, text):
    file = tmp_path / "cluster.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("kind", "header"), [("slurm", SLURM), ("pbs", PBS)])
def test_the_whole_script(kind, header):
    assert job_script(kind, build(ClusterSettings, FULL)) == header + PROLOGUE + WORKER


@pytest.mark.parametrize("kind", ["slurm", "pbs"])
def test_what_is_not_said_is_left_to_the_site(kind):
    script = job_script(kind, settings())
    assert "#SBATCH -p" not in script and "#SBATCH -A" not in script and "#PBS -q" not in script and "#PBS -A" not in script
    assert f"\n{sys.executable} -m distributed.cli.dask_worker" in script
    assert "04:00:00" in script and "--lifetime 14100s" in script
    assert "--interface" not in script


def test_without_a_gpu():
    assert "--gres" not in job_script("slurm", settings(gpus=0)) and "--resources GPU=1" in job_script("slurm", settings(gpus=0))
    assert "select=1:ncpus=4:mem=30GB\n" in job_script("pbs", settings(gpus=0))


def test_a_gpu_by_the_name_of_the_site():
    assert "#SBATCH --gres=gpu:a100:1\n" in job_script("slurm", settings(gpu_request="gpu:a100:1"))
    assert ":mem=30GB:ngpus=1:gpu_model=a100\n" in job_script("pbs", settings(gpu_request="ngpus=1:gpu_model=a100"))


def test_the_nodes_may_have_another_interface():
    assert "--no-dashboard --dashboard-address 127.0.0.1:0 --interface ib1" in job_script("slurm", settings(worker_interface="ib1"))


def test_a_script_is_made_without_touching_the_shared_folder(tmp_path):
    job_script("slurm", settings(shared_folder=str(tmp_path / "shared")))
    assert list(tmp_path.iterdir()) == []


def test_unknown_batch_system():
    with pytest.raises(ConfigError, match=r"unknown cluster 'slrum'\. Did you mean 'slurm'"):
        job_script("slrum", settings())


def test_without_dask_jobqueue(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    for name in ("dask_jobqueue.pbs", "dask_jobqueue.slurm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingDependencyError, match=r'slurm needs dask-jobqueue .*: pip install "napari-brain2pix\[cluster\]"'):
        job_script("slurm", settings())


def test_options_from_toml(tmp_path):
    found = read_cluster_options(
        toml(tmp_path, 'shared_folder = "/scratch"\ninterface = "eth0"\nwalltime = "72:00:00"\njobs = 8\nadaptive = false\n')
    )
    assert (found.shared_folder, found.interface, found.jobs, found.adaptive) == (Path("/scratch"), "eth0", 8, False)
    assert found.lifetime_s == 72 * 3600 - 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('interface = "ib0"', "option 'shared_folder' is missing: folder that this machine and all nodes see"),
        ('shared_folder = "/scratch"', "option 'interface' is missing: network interface of this machine"),
        ('shared_folder = "scratch"\ninterface = "ib0"', "'shared_folder': Value error, must be a full path"),
        ('shared_folder = "/my scratch"\ninterface = "ib0"', "'shared_folder': Value error, must have no spaces"),
        ('walltime = "4h"', "'walltime': Value error, must be hours:minutes:seconds"),
        ('walltime = "00:05:00"', "'margin_s': Value error, must leave at least 60 s of the walltime 00:05:00"),
        ('memory = "a lot"', "'memory': String should match pattern"),
        ("gpus = 4", "'gpus': Input should be less than or equal to 1, got 4"),
        ('queue = "gpu #SBATCH"', "'queue': Value error, must be one word"),
        ('directives = ["#SBATCH -p gpu"]', "'directives': Value error, must be single lines, without #SBATCH or #PBS"),
        ('quueue = "gpu"', "unknown option 'quueue'. Did you mean 'queue'?"),
        ("queue = gpu", "is not valid TOML"),
    ],
)
def test_mistakes_in_the_options(tmp_path, text, message):
    needed = "" if "shared_folder" in text or "ib0" in text else 'shared_folder = "/scratch"\ninterface = "ib0"\n'
    with pytest.raises(ConfigError) as caught:
        read_cluster_options(toml(tmp_path, needed + text))
    assert message in str(caught.value) and "cluster.toml" in str(caught.value)


def test_options_must_be_given(tmp_path):
    with pytest.raises(ConfigError, match=r"--cluster needs --cluster-options FILE.toml with at least shared_folder and interface"):
        read_cluster_options(None)
    with pytest.raises(MissingDataError, match=r"none.toml does not exist"):
        read_cluster_options(tmp_path / "none.toml")


# ------------------------------------------------------------------ a batch system of two shell scripts

SUBMIT = """#!/bin/sh
copy=$(mktemp "$BATCH_FOLDER/job-XXXXXX"); cp "$1" "$copy"
setsid sh "$copy" > "$copy.log" 2>&1 < /dev/null &
echo "$SAYS$!"
"""
CANCEL = """#!/bin/sh
kill -TERM -- "-$1"
"""
BATCH_SYSTEMS = {"slurm": ("sbatch", "scancel", "Submitted batch job "), "pbs": ("qsub", "qdel", "")}


@pytest.fixture
def batch_system(tmp_path, monkeypatch):
    """Give a function that puts the commands of a batch system on the path; what it started is ended after the test."""
    folder = tmp_path / "batch"
    folder.mkdir()

    def install(kind):
        submit, cancel, says = BATCH_SYSTEMS[kind]
        for name, text in ((submit, SUBMIT), (cancel, CANCEL)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("BATCH_FOLDER", str(folder))
        monkeypatch.setenv("SAYS", says)
        return folder

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield install
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part or str(tmp_path / "shared") in part for part in process.info["cmdline"] or ()):
            process.kill()


def brain2pix(*arguments):
    command = [sys.executable, "-m", "brain2pix.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.faults
@pytest.mark.parametrize("kind", BATCH_SYSTEMS)
def test_a_job_goes_through_a_batch_system(tiny_subject, tmp_path, batch_system, kind):
    folder = batch_system(kind)
    shared = tmp_path / "shared"
    shared.mkdir()
    options = toml(tmp_path, f'shared_folder = "{shared}"\ninterface = "lo"\nwalltime = "00:10:00"\ncores = 1\nmemory = "2GB"\n')
    started = brain2pix("server", "start", "--name", "batch", "--cluster", kind, "--cluster-options", options)
    assert started.returncode == 0, started.stderr
    keys = list(shared.glob(".dask-jobqueue.worker.*"))
    assert len(keys) == 3 and {file.stat().st_mode & 0o777 for file in keys} == {0o600}
    assert list(folder.glob("job-*")) == [], "no batch job before there is work"
    train = ("train", tiny_subject, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", tmp_path / "run")
    trained = brain2pix(*train, "--on", "batch", "--wait")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    script = next(file for file in folder.glob("job-*") if file.suffix != ".log").read_text()
    assert "--resources GPU=1" in script and "--lifetime 300s" in script and str(shared) in script
    stopped = brain2pix("server", "stop", "batch")
    assert stopped.returncode == 0, stopped.stderr
    assert list(shared.glob(".dask-jobqueue.worker.*")) == [], "the keys are gone with the server"
    until_s = time.monotonic() + 30
    while any(
        "dask_worker" in " ".join(process.info["cmdline"] or ()) and str(shared) in " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
    ):
        assert time.monotonic() < until_s, "the batch job outlived the server"
        time.sleep(0.1)


@pytest.mark.faults
def test_a_server_that_cannot_submit_says_so(tmp_path, monkeypatch, batch_system):
    options = toml(tmp_path, f'shared_folder = "{tmp_path}"\ninterface = "lo"\n')
    monkeypatch.setenv("PATH", str(Path(shutil.which("true")).parent))
    result = brain2pix("server", "start", "--name", "batch", "--cluster", "slurm", "--cluster-options", options)
    assert result.returncode == 1 and "sbatch is not on this machine's path; start the server where jobs can be submitted" in result.stderr
    batch_system("slurm")
    options = toml(tmp_path, f'shared_folder = "{tmp_path}"\ninterface = "ib9"\n')
    result = brain2pix("server", "start", "--name", "batch", "--cluster", "slurm", "--cluster-options", options)
    assert result.returncode == 1 and "unknown network interface 'ib9'" in result.stderr and "Known: " in result.stderr
    options = toml(tmp_path, 'shared_folder = "/proc/none"\ninterface = "lo"\n')
    result = brain2pix("server", "start", "--name", "batch", "--cluster", "slurm", "--cluster-options", options)
    assert result.returncode == 1 and "cannot write into shared_folder /proc/none" in result.stderr
