"""A compute server: scheduler, supervisors and workers in processes of their own, never in the window's.

``python -m brain2pix.compute.engine.server`` serves until it is told to stop (SIGTERM, Ctrl-C, `Engine.close`), until its standard input
ends, which it does when whoever started it dies for any reason, or, with ``--detach``, until it has had no job and no client for
``--idle-timeout`` seconds. Jobs that run when it stops are asked to save first.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import psutil

from brain2pix.compute.engine.connection import Connection, engine_versions, remove_if_mine, server_file
from brain2pix.compute.engine.control import GOING, LIVE, SLOT, Control, Table
from brain2pix.compute.runner import process_started
from brain2pix.errors import Brain2PixError

LOOK_S = 0.5  # between looks at whether it is still needed
SAVE_S = 4.0  # for running jobs to save when the server stops
NEVER = 1_000_000
DEATHS_HERE, DEATHS_ON_CLUSTER = 3, 20  # of workers under one job, before it is given up; on clusters they are preempted
THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Options:
    """How a server is started.

    Parameters
    ----------
    name : str
    file : Path, connection file to write
    detach : bool, go on when standard input ends
    idle_timeout_s : float or None, end after so long without job and client
    workers : int, jobs that run at once
    threads : int, of each worker's numerical libraries
    gpus : tuple of str, one worker for each of these graphics cards instead of `workers`
    live : bool, one more worker for live pictures
    nice : int, added to the process's niceness
    host : str, address to listen on
    port : int, 0 for a free one
    cluster, cluster_options : str and Path or None, workers as jobs of a batch system
    """

    name: str
    file: Path
    detach: bool = False
    idle_timeout_s: float | None = None
    workers: int = 1
    threads: int = 1
    gpus: tuple[str, ...] = ()
    live: bool = False
    nice: int = 10
    host: str = "127.0.0.1"
    port: int = 0
    cluster: str | None = None
    cluster_options: Path | None = None


def default_threads(workers: int = 1) -> int:
    """Threads of a worker: what the environment says, else all cores but one, which is left for the window."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return max(1, ((psutil.cpu_count(logical=False) or psutil.cpu_count() or 2) - 1) // max(1, workers))


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line of the process."""
    parser = argparse.ArgumentParser(prog="python -m brain2pix.compute.engine.server", description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="local")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--idle-timeout", type=float, dest="idle_timeout_s")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gpus", default="")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cluster", choices=("slurm", "pbs"))
    parser.add_argument("--cluster-options", type=Path)
    given = vars(parser.parse_args(arguments))
    given["gpus"] = tuple(part.strip() for part in given["gpus"].split(",") if part.strip())
    given["file"] = given["file"] or server_file(given["name"])
    given["threads"] = given["threads"] or default_threads(len(given["gpus"]) or given["workers"])
    return Options(**given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is over; gives the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    options = read_options(sys.argv[1:] if arguments is None else list(arguments))
    _be_polite(options.nice)
    for name in THREAD_NAMES:
        os.environ.pop(name, None)  # or workers would take these before what was asked for
    try:
        with dask.config.set(_settings(options)):
            return asyncio.run(_serve(options))
    except Brain2PixError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1


def _be_polite(nice: int) -> None:
    """Workers inherit it: the window must stay quick beside a training."""
    with suppress(psutil.Error, OSError, AttributeError):
        if os.name == "posix":
            os.nice(nice)
        elif nice > 0:
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)


def _settings(options: Options) -> dict[str, Any]:
    """Set dask up: nothing is served but jobs, and data loaders may have processes of their own."""
    return {
        "distributed.worker.daemon": False,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREAD_NAMES, str(options.threads)),
        "distributed.scheduler.allowed-failures": NEVER,  # jobs that wait behind one whose workers die are not to blame: the table counts
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.comm.require-encryption": True,
    }


async def _serve(options: Options) -> int:
    """Start everything, say where it is, and wait for the end."""
    stop = asyncio.Event()
    _listen_for_the_end(stop, asyncio.get_running_loop(), options)
    security = _security()
    server_id = secrets.token_hex(8)
    table = Table(server_id, DEATHS_ON_CLUSTER if options.cluster else DEATHS_HERE)
    cluster = await _make_cluster(options, security, table)
    try:
        await _tell_workers(cluster, Control(server_id))
        _connection(options, cluster, security, server_id).write(options.file)
        try:
            await _until_over(stop, cluster, table, options)
        finally:
            remove_if_mine(options.file, server_id)
            await _save_running(cluster, table)
    finally:
        await cluster.close()
    return 0


def _listen_for_the_end(stop: asyncio.Event, loop: asyncio.AbstractEventLoop, options: Options) -> None:
    def end() -> None:
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end())
    if options.detach:
        return

    def wait_for_parent() -> None:
        with suppress(OSError, ValueError):
            while os.read(0, 1024):
                pass
        end()

    threading.Thread(target=wait_for_parent, name="parent", daemon=True).start()


def _security() -> Any:
    """Make a certificate for this server alone; it is never written anywhere but into the connection file."""
    from distributed.security import Security

    return Security.temporary()


async def _make_cluster(options: Options, security: Any, table: Table) -> Any:
    """Scheduler in this process, workers in others."""
    from distributed import Nanny, Scheduler
    from distributed.deploy.spec import SpecCluster

    scheduler = {
        "host": options.host,
        "port": options.port,
        "protocol": "tls",
        "security": security,
        "dashboard_address": "127.0.0.1:0",
        "dashboard": False,
        "plugins": (table,),
    }
    if options.cluster:
        from brain2pix.compute.engine.cluster import make_cluster, read_cluster_options

        return await make_cluster(options.cluster, read_cluster_options(options.cluster_options), scheduler, security)
    shared = {
        "host": options.host,
        "nthreads": 1,
        "memory_limit": 0,  # pages of memory maps count as memory, and a worker must not be killed for them
        "security": security,
        "dashboard_address": "127.0.0.1:0",
        "dashboard": False,
        "worker_port": 0,
    }
    devices: tuple[str | None, ...] = options.gpus or (None,) * options.workers
    specs = {
        f"worker-{number}": {
            "cls": Nanny,
            "options": {**shared, "resources": {SLOT: 1}, "env": {"CUDA_VISIBLE_DEVICES": device} if device is not None else {}},
        }
        for number, device in enumerate(devices)
    }
    if options.live:
        specs["live"] = {"cls": Nanny, "options": {**shared, "resources": {LIVE: 1}}}
    return await SpecCluster(
        workers=specs,
        scheduler={"cls": Scheduler, "options": scheduler},
        asynchronous=True,
        security=security,
        name=options.name,
        silence_logs=False,
    )


async def _tell_workers(cluster: Any, control: Control) -> None:
    from distributed import Client

    async with Client(cluster, asynchronous=True, set_as_default=False) as client:
        await client.register_plugin(control)  # restarted workers, and those that come later, get it too


def _connection(options: Options, cluster: Any, security: Any, server_id: str) -> Connection:
    return Connection(
        name=options.name,
        address=cluster.scheduler_address,
        server_id=server_id,
        pid=os.getpid(),
        process_started=process_started(os.getpid()) or 0.0,
        host=socket.gethostname(),
        versions=engine_versions(),
        detached=options.detach,
        ca=security.tls_ca_file,
        cert=security.tls_client_cert,
        key=security.tls_client_key,
    )


async def _until_over(stop: asyncio.Event, cluster: Any, table: Table, options: Options) -> None:
    """Wait for a wish to stop, for the end of the scheduler, or until nobody needs the server any more."""
    needed_s = time.monotonic()
    while not stop.is_set() and cluster.scheduler.status.name in ("running", "init", "starting"):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)
        if table.n_going or _n_clients(cluster.scheduler):
            needed_s = time.monotonic()
        if options.idle_timeout_s is not None and time.monotonic() - needed_s > options.idle_timeout_s:
            return


def _n_clients(scheduler: Any) -> int:
    """Programs that are connected; dask counts its own bookkeeping among them."""
    return sum(str(name).startswith("Client-") for name in scheduler.clients)


async def _save_running(cluster: Any, table: Table) -> None:
    """Ask running jobs to stop after their step, and wait for it: what they did is saved."""
    for row in table.rows.values():
        if row.state == "queued":
            row.state = "cancelled"  # it never began; its folder is as it was
        elif row.state in GOING:
            with suppress(OSError):
                (Path(row.folder) / "CANCEL").touch()
    until_s = time.monotonic() + SAVE_S
    while table.n_going and time.monotonic() < until_s:
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    # dask pickles classes by the module they come from, which must not be __main__
    from brain2pix.compute.engine.server import main as serve

    sys.exit(serve())
