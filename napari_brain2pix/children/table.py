"""The list of jobs as the window shows it, from registry, folders and servers. No Qt, no dask; too slow for the thread of the window."""

import json
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from brain2pix.compute.engine.states import JobState, job_states, progress_of
from brain2pix.errors import Brain2PixError
from brain2pix.events import Progress, Started
from brain2pix.training.run_folder import RunFolder

GOING = ("starting", "queued", "running", "stopping")
ENDED = ("finished", "cancelled", "failed")
MOST = 100  # newest jobs that are listed
PRIVATE = "brain2pix-simulate-"  # folders that begin so hold records which are thrown away at the end: no jobs for the list


@dataclass(frozen=True)
class JobRow:
    """One job.

    Parameters
    ----------
    id : str
    folder : Path
    kind : str
    words : str, its method, preset and plan, if it has them
    standing : str, as `JobRunner` says it: "queued", "running", "stopping", "finished", "cancelled", "failed", "interrupted" or "new"
    error : str, for the user
    server : str, name of the compute server that has it; empty for a process of its own
    attempt : int, how often it was begun
    deaths : int, worker processes that died under it
    device : str, what was asked for
    worker : str, who works on it
    memory_bytes : int, of that process; 0 where it is not known
    stage : str, what it is doing
    share : float, how much of what is counted is done, 0 to 1; -1 where nothing is counted
    """

    id: str
    folder: Path
    kind: str
    words: str = ""
    standing: str = "new"
    error: str = ""
    server: str = ""
    attempt: int = 0
    deaths: int = 0
    device: str = ""
    worker: str = ""
    memory_bytes: int = 0
    stage: str = ""
    share: float = -1.0

    @property
    def going(self) -> bool:
        """Whether it waits or runs."""
        return self.standing in GOING

    @property
    def title(self) -> str:
        """Kind, method and preset."""
        return " ".join(part for part in (self.kind, self.words) if part)


def read_rows(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], workers: Iterable[Mapping[str, Any]] = (), names: Collection[str] = ()
) -> list[JobRow]:
    """Read how the newest jobs stand.

    Parameters
    ----------
    tables : mapping of a server's name to the rows of its table
    workers : iterable of mapping, its workers as `Engine.info` gives them
    names : collection of str, servers that live, also those that were not asked

    Returns
    -------
    list of JobRow, newest first
    """
    deaths = {str(row["id"]): int(row.get("deaths") or 0) for table in tables.values() for row in table}
    at_work = {str(worker.get("job")): worker for worker in workers if worker.get("job")}
    states = [_never_begun(state, names) for state in job_states(tables) if not state.folder.parent.name.startswith(PRIVATE)]
    return [_row(state, deaths.get(state.id, 0), at_work.get(state.id, {})) for state in states[:MOST]]


def title_of(job: Mapping[str, Any]) -> str:
    """Say what a job is: its kind, and method, preset and plan if it has them.

    Parameters
    ----------
    job : mapping, as in ``job.json``
    """
    return " ".join([str(job.get("kind", "")), _words(job)]).strip()


def _never_begun(state: JobState, names: Collection[str]) -> JobState:
    """Say of a job that was given to a server and has not begun whether it still waits there, or the server has gone."""
    if state.state != "new" or not state.server:
        return state
    return replace(state, state="queued" if state.server in names else "interrupted")


def _row(state: JobState, deaths: int, worker: Mapping[str, Any]) -> JobRow:
    standing = "stopping" if state.state == "cancelling" else state.state
    running = standing in ("running", "stopping")
    stage, share = _progress(state.folder) if running else ("", -1.0)
    return JobRow(
        id=state.id,
        folder=state.folder,
        kind=state.kind,
        words=_words_in(state.folder / "job.json"),
        standing=standing,
        error=state.error,
        server=state.server,
        attempt=state.attempt,
        deaths=deaths,
        device=state.device,
        worker=str(worker.get("name", "")),
        # in steps of 10 MB: what changes without a meaning need not be drawn again
        memory_bytes=round(_memory(state.folder, worker), -7) if running else 0,
        stage=stage,
        share=share,
    )


def _progress(folder: Path) -> tuple[str, float]:
    match progress_of(folder):
        case Progress(stage, done, total):
            return stage, round(done / total, 2) if total else -1.0
        case Started(stage):
            return stage, -1.0
        case _:
            return "", -1.0


def _memory(folder: Path, worker: Mapping[str, Any]) -> int:
    """Memory of the process that works on a job: asked of the system if it is on this machine, else of its server."""
    try:
        status = RunFolder(folder).read_status()
        if status.get("host") == socket.gethostname():
            return int(psutil.Process(int(status["pid"])).memory_info().rss)
    except (psutil.Error, Brain2PixError, OSError, KeyError, TypeError, ValueError):
        pass
    return int(worker.get("memory_bytes") or 0)


def _words_in(file: Path) -> str:
    try:
        return _read_words(file, file.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=4 * MOST)
def _read_words(file: Path, written_ns: int) -> str:
    try:
        return _words(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return ""


def _words(job: Mapping[str, Any]) -> str:
    params = job.get("params", {})
    return " ".join(str(params[key]) for key in ("method", "preset", "plan") if params.get(key))
