"""What runs inside the server: the table of its jobs, the tokens that stop them, and the ways to end a process that does not answer.

Clients call the functions at the end by name, on the scheduler, on workers or on nannies; dask hands them its own object.
"""

import asyncio
import importlib.util
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distributed import Nanny, Scheduler, SchedulerPlugin, Worker, WorkerPlugin
from distributed.protocol.pickle import dumps

from brain2pix.compute.runner import end_from_outside
from brain2pix.errors import ComputeError, ConfigError
from brain2pix.events import CancelToken
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from brain2pix.compute.live import LiveDecoder

TABLE, CONTROL = "brain2pix-table", "brain2pix-control"
TOPIC = "brain2pix/"  # and the id of a job: where the lines of its record are told
SLOT, LIVE = "GPU", "LIVE"  # resources: one slot for each graphics card, or for the CPU; and a worker for live pictures
GOING = ("queued", "running", "cancelling")
ANSWER_S = 1.0  # for a worker or nanny
DIED = (
    "the worker process died {} times while it ran this job; perhaps the memory ran out. "
    "Resume goes on from the last checkpoint; a smaller batch needs less memory"
)
FORCED = "its process was ended at once; Resume goes on from the last checkpoint"
MODELS_KEPT = 2  # in the memory of a live worker


@dataclass
class Row:
    """A job as the server knows it.

    Parameters
    ----------
    id, kind : str
    folder : str, its run folder
    key : str, of its task
    submitted_s : float, since 1970
    needs : list of str, jobs that must have finished before
    state : "queued", "running", "cancelling", "finished", "cancelled" or "failed"
    error : str, for the user; empty unless it failed, or was ended by force
    worker : str, address of the worker that has it, or had it last
    deaths : int, workers that died while they ran it
    """

    id: str
    kind: str
    folder: str
    key: str
    submitted_s: float
    needs: list[str]
    state: str = "queued"
    error: str = ""
    worker: str = ""
    deaths: int = 0


class Table(SchedulerPlugin):
    """Jobs of this server. It also writes down how a job ended whose worker cannot: nobody else sees that when no window is there.

    Dask gives a worker more tasks than it runs, begins a task again whose worker died, and does so for tasks that had ended too. So the
    tasks themselves say when a job begins and ends (`task.run_folder`), deaths are counted here, and an ended task is dropped.

    Parameters
    ----------
    server_id : str
    deaths_allowed : int, of workers under one job, before it is given up
    """

    name = TABLE

    def __init__(self, server_id: str, deaths_allowed: int = 3) -> None:
        self.server_id = server_id
        self.deaths_allowed = deaths_allowed
        self.rows: dict[str, Row] = {}
        self._ids: dict[str, str] = {}  # of keys
        self._number = 0
        self._scheduler: Any = None

    async def start(self, scheduler: Scheduler) -> None:
        """Learn whom to ask."""
        self._scheduler = scheduler

    @property
    def n_going(self) -> int:
        """Jobs that wait or run."""
        return sum(row.state in GOING for row in self.rows.values())

    def add(self, job_id: str, kind: str, folder: str, needs: list[str]) -> str:
        """Take a job; gives the key for its task.

        Raises
        ------
        ConfigError
            If it waits or runs already.
        """
        before = self.rows.get(job_id)
        if before is not None and before.state in GOING:
            raise ConfigError(f"{folder} is {before.state} on this server already; wait for it, or cancel it: brain2pix cancel {job_id}")
        self._number += 1
        key = f"brain2pix-{job_id}-{self.server_id}-{self._number}"  # no other order anywhere has it
        self.rows[job_id] = Row(job_id, kind, folder, key, time.time(), needs)
        self._ids[key] = job_id
        return key

    def log_event(self, topic: str, msg: Any) -> None:
        """Take the word of a task that it begins or has ended."""
        if not topic.startswith(TOPIC) or not isinstance(msg, dict) or msg.get("kind") not in ("begun", "ended"):
            return
        row = self._going(msg.get("key"))
        if row is None:
            return
        if msg["kind"] == "begun":
            row.worker = str(msg["worker"])
            row.state = "cancelling" if row.state == "cancelling" else "running"
        else:
            row.state, row.error = str(msg["state"]), str(msg["error"])
            self._later(self._unpublish, row)

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Notice when the worker of a task dies, and when a task is dropped."""
        row = self._going(key)
        if row is None:
            return
        if start == "processing" and finish in ("released", "waiting", "no-worker") and row.state == "running":
            row.deaths += 1
            row.state = "queued"  # it is begun again on the next worker, and goes on from its checkpoint
            if row.deaths > self.deaths_allowed:
                self._end(row, "failed", DIED.format(row.deaths))
                self._later(self.drop, row)
        elif finish == "erred":
            text = str(getattr(self._scheduler.tasks.get(key), "exception_text", "") or "the task failed without a word")
            self._end(row, "failed", text)
        elif finish == "forgotten":
            lacking = self._lacking(row)
            self._end(row, "failed" if lacking else "cancelled", lacking or row.error)

    def drop(self, row: Row) -> None:
        """Take a job's task away, and those that wait for its results; a function that runs is not stopped by that."""
        task = self._scheduler.tasks.get(row.key)
        holder = next(iter(task.who_wants), None) if task is not None else None
        if row.state in GOING:
            self._end(row, "cancelled", row.error)  # before those that wait for it are dropped, and look why
        if holder is not None:
            self._scheduler.stimulus_cancel([row.key], holder.client_key, force=True, reason="cancelled", msg="")
        self._unpublish(row)

    def _going(self, key: Any) -> Row | None:
        row = self.rows.get(self._ids.get(key, ""))
        return row if row is not None and row.key == key and row.state in GOING else None

    def _lacking(self, row: Row) -> str:
        states = {name: self.rows[name].state for name in row.needs if name in self.rows}
        return lacks([(name, state) for name, state in states.items() if state not in ("finished", *GOING)])

    def _unpublish(self, row: Row) -> None:
        """Let go of an ended task, unless the job was submitted again meanwhile; jobs that wait for its result hold it themselves."""
        if self.rows.get(row.id) is row and row.state not in GOING:
            self._scheduler.extensions["publish"].delete(row.id)

    def _later(self, function: Callable[[Row], None], row: Row) -> None:
        """Do something once the scheduler is through with what it tells us of."""
        self._scheduler.loop.add_callback(function, row)

    def _end(self, row: Row, state: Literal["cancelled", "failed"], error: str) -> None:
        row.state, row.error = state, error
        with suppress(OSError, ComputeError):  # a full disk: the row says it
            end_from_outside(RunFolder(Path(row.folder)), state, error or None)


def lacks(jobs: Sequence[tuple[str, str]]) -> str:
    """Say which jobs a job waits for in vain; empty if there are none."""
    if not jobs:
        return ""
    return (
        f"it needs the results of other jobs: {', '.join(f'{name} is {state}' for name, state in jobs)}. Finish them, then resume this one"
    )


class Control(WorkerPlugin):
    """Tokens of the jobs that run in a worker, and the systems that it keeps in memory for live pictures.

    Parameters
    ----------
    server_id : str
    """

    name = CONTROL

    def __init__(self, server_id: str) -> None:
        self.server_id = server_id
        self.tokens: dict[str, CancelToken] = {}

    def setup(self, worker: Worker) -> None:
        """Begin with nothing; a restarted worker has lost what the one before it knew."""
        _draw_apart()
        self.tokens = {}
        self.models: dict[tuple[str, str, str, int], LiveDecoder] = {}
        self.loading = threading.Lock()

    @contextmanager
    def running(self, job_id: str) -> Iterator[CancelToken]:
        """Give the token that stops a job while it runs."""
        self.tokens[job_id] = CancelToken()
        try:
            yield self.tokens[job_id]
        finally:
            del self.tokens[job_id]

    def live_decoder(self, model: str, subject: str, device: str) -> "LiveDecoder":
        """Give a system that is in memory, or load it; the one that was used longest ago makes room.

        Raises
        ------
        Brain2PixError
            If model or subject are missing or do not fit each other.
        """
        from brain2pix.compute.jobs._inputs import open_run
        from brain2pix.compute.live import LiveDecoder

        about = Path(model) / "model.json"
        about = about if about.is_file() else Path(model) / "model" / "model.json"
        key = (model, subject, device, about.stat().st_mtime_ns if about.is_file() else 0)
        with self.loading:
            found = self.models.pop(key, None) or LiveDecoder(open_run(Path(model), Path(subject), device))
            self.models[key] = found
            for oldest in list(self.models)[:-MODELS_KEPT]:
                del self.models[oldest]
        return found


def _draw_apart() -> None:
    """Give dask and its event loop random numbers of their own.

    They draw from Python's global generator while a job runs (to spread their timers, to guess sizes), and a job that draws from it too
    would come out differently each time. A second copy of the module has a generator of its own.
    """
    spec = importlib.util.find_spec("random")
    assert spec is not None and spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("dask", "distributed", "tornado", "zict") and vars(module).get("random") is random:
            vars(module)["random"] = own


# ------------------------------------------------------------------ called by name, from clients and tasks


def table_of(scheduler: Scheduler) -> Table:
    """Table of a scheduler."""
    plugin = scheduler.plugins.get(TABLE)
    if not isinstance(plugin, Table):
        raise ComputeError("this dask scheduler is not a compute server of brain2pix; start one with: brain2pix server start")
    return plugin


def add_job(job_id: str, kind: str, folder: str, needs: list[str], dask_scheduler: Any = None) -> str:
    """Take a job into the table; gives the key of its task."""
    return table_of(dask_scheduler).add(job_id, kind, folder, needs)


def rows(dask_scheduler: Any = None) -> list[dict[str, Any]]:
    """All jobs, the first submitted first."""
    return [asdict(row) for row in table_of(dask_scheduler).rows.values()]


def row_of(job_id: str, dask_scheduler: Any = None) -> dict[str, Any] | None:
    """One job; None if the server has none of that id."""
    row = table_of(dask_scheduler).rows.get(job_id)
    return None if row is None else asdict(row)


def stop_job(job_id: str, dask_scheduler: Any = None) -> None:
    """Drop a job that waits; note of one that runs that it is to stop."""
    table = table_of(dask_scheduler)
    row = table.rows.get(job_id)
    if row is not None and row.state == "queued":
        table.drop(row)
    elif row is not None and row.state == "running":
        row.state = "cancelling"


async def end_job(job_id: str, dask_scheduler: Any = None) -> None:
    """Drop a job, so that it is not begun again, and end the process that runs it; the nanny starts another one."""
    table = table_of(dask_scheduler)
    row = table.rows.get(job_id)
    if row is None or row.state not in GOING:
        return
    runs, row.error = row.state != "queued", FORCED
    row.state = "cancelling"  # its worker does not die by accident
    table.drop(row)
    if runs:
        await _on(dask_scheduler, row.worker, end_worker, nanny=True)


def server_facts(dask_scheduler: Any = None) -> dict[str, Any]:
    """Say who this is and what its workers do, in plain values."""
    table = table_of(dask_scheduler)
    running = {row.worker: row.id for row in table.rows.values() if row.state in ("running", "cancelling")}
    workers = [
        {
            "name": str(state.name),
            "address": address,
            "host": state.host,
            "resources": dict(state.resources),
            "n_threads": int(state.nthreads),
            "memory_bytes": int(state.metrics.get("memory", 0) or 0),
            "cpu_percent": float(state.metrics.get("cpu", 0.0) or 0.0),
            "job": running.get(address, ""),
        }
        for address, state in dask_scheduler.workers.items()
    ]
    from brain2pix.compute.engine.connection import engine_versions

    return {"server_id": table.server_id, "workers": workers, "versions": engine_versions(), "n_clients": len(dask_scheduler.clients)}


def stop_server(dask_scheduler: Any = None) -> None:
    """End the server after it has answered."""
    signal.raise_signal(signal.SIGTERM)


async def ask_worker(job_id: str, dask_scheduler: Any = None) -> bool:
    """Ask a running job to stop, through its worker; whether the worker answered. A shared disk may show the CANCEL file late."""
    row = table_of(dask_scheduler).rows.get(job_id)
    return row is not None and await _on(dask_scheduler, row.worker, set_cancel, nanny=False, job_id=job_id)


async def _on(scheduler: Any, worker: str, function: Any, *, nanny: bool, **arguments: Any) -> bool:
    """Call a function on one worker, or on its nanny; False if it does not answer: it may be gone, or beyond answering."""
    message = {"op": "run", "function": dumps(function), "kwargs": dumps(arguments)}
    try:
        answers = await asyncio.wait_for(scheduler.broadcast(msg=message, workers=[worker], nanny=nanny, on_error="ignore"), ANSWER_S)
    except (TimeoutError, OSError, KeyError):
        return False
    return bool(answers)


def set_cancel(job_id: str, dask_worker: Worker | None = None) -> bool:
    """Ask a job to stop, in the worker that runs it; whether it runs here."""
    token = control_of(dask_worker).tokens.get(job_id)
    if token is not None:
        token.cancel()
    return token is not None


def end_worker(dask_worker: Nanny | None = None) -> int:
    """End the process of a worker, from its nanny: the worker itself may be beyond answering. The nanny starts another one."""
    process = getattr(getattr(dask_worker, "process", None), "process", None)
    pid = int(getattr(process, "pid", 0) or 0)
    if pid:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    return pid


def control_of(worker: Worker | None) -> Control:
    """Our plugin of a worker."""
    plugin = worker.plugins.get(CONTROL) if worker is not None else None
    if not isinstance(plugin, Control):
        raise ComputeError("this dask worker was not started by a compute server of brain2pix")
    return plugin
