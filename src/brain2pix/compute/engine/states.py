"""How jobs stand: what servers say of them and what their folders hold, put together. The folder is the truth where both speak."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from brain2pix.compute.engine.registry import JobNote, known_jobs
from brain2pix.compute.kinds import job_kind
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.config.base import build
from brain2pix.errors import Brain2PixError, ConfigError
from brain2pix.events import Event, Finished, Progress, Started, from_dict
from brain2pix.training.run_folder import RunFolder

GOING = ("queued", "running", "cancelling")
RESUMABLE = ("new", "cancelled", "interrupted", "failed")
_TAIL = 64 * 1024  # bytes at the end of a record: far more than lies between two lines of progress
WHY_NOT = {
    "running": "is being worked on by another process",
    "finished": "holds a finished run",
    "other": "holds another job",
    "taken": "is not empty and is not a run folder",
    "file": "is a file",
}


@dataclass(frozen=True)
class JobState:
    """How one job stands.

    Parameters
    ----------
    id : str
    folder : Path
    kind : str
    state : "new", "queued", "running", "cancelling", "finished", "cancelled", "failed" or "interrupted"
    error : str, for the user; empty where all went well
    server : str, name of the server that has it; empty for a job that runs by itself
    submitted_s : float, since 1970
    attempt : int, how often it was started
    device : str, what was asked for; empty where nothing is known
    """

    id: str
    folder: Path
    kind: str
    state: str
    error: str
    server: str
    submitted_s: float
    attempt: int
    device: str


def job_states(tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> list[JobState]:
    """Say how all known jobs stand, newest first.

    Parameters
    ----------
    tables : mapping of a server's name to the rows of its table, for those servers that answered

    Returns
    -------
    list of JobState; jobs whose folder is gone and which no server has are left out
    """
    notes = {note.id: note for note in known_jobs()}
    rows = {str(row["id"]): (server, row) for server, table in (tables or {}).items() for row in table}
    found = []
    for name in {**notes, **rows}:
        server, row = rows.get(name, ("", None))
        state = _state(notes.get(name), server, row)
        found += [state] if state is not None else []
    return sorted(found, key=lambda state: -state.submitted_s)


def state_of(folder: Path, name: str, tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> JobState:
    """Say how the job of one folder stands, known or not.

    Parameters
    ----------
    folder : Path, a run folder
    name : str, its id
    tables : as for `job_states`
    """
    known = next((state for state in job_states(tables) if state.id == name), None)
    if known is not None:
        return known
    found = _state(JobNote(name, folder, str(_read(folder)[0].get("kind", "")), "", "", 0.0), "", None)
    return found or JobState(name, folder, "", "new", "", "", 0.0, 0, "")


def standing_of(spec: JobSpec) -> str:
    """Say what stands in the folder of a job before it is started.

    Parameters
    ----------
    spec : JobSpec, with a folder

    Returns
    -------
    "new", "cancelled", "interrupted" or "failed": it can be started; or a key of `WHY_NOT`
    """
    folder = Path(str(spec.folder))
    if folder.exists() and not folder.is_dir():
        return "file"
    if not folder.exists() or not any(folder.iterdir()):
        return "new"
    job = RunFolder(folder).read_job()
    if not job:
        return "taken"
    params = job_kind(spec.kind).params
    same = job.get("kind") == spec.kind and _hash(spec.kind, params, job.get("params", {})) == _hash(spec.kind, params, spec.params)
    return run_state(RunFolder(folder)) if same else "other"


def progress_of(folder: Path) -> Progress | Started | None:
    """Say what a job was doing last: its newest line of progress, or the stage that it began; None where nothing is known."""
    for event in reversed(_last_events(RunFolder(folder).events)):
        if isinstance(event, Progress | Started):
            return event
        if isinstance(event, Finished):
            return Started(event.stage)
    return None


def _state(note: JobNote | None, server: str, row: Mapping[str, Any] | None) -> JobState | None:
    folder = Path(str(row["folder"])) if row is not None else note.folder if note is not None else Path()
    job, status, here, why = _folder_says(folder)
    if row is None and not job:
        return None
    state, error = here, why
    if row is not None:
        state, error = _both_say(here, why, str(row["state"]), str(row.get("error") or ""))
    if state == "running" and RunFolder(folder).cancel.exists():
        state = "cancelling"
    return JobState(
        id=str(row["id"]) if row is not None else note.id if note is not None else "",
        folder=folder,
        kind=str(job.get("kind") or (row["kind"] if row is not None else "")),
        state=state,
        error=error,
        server=server or (note.server_name if note is not None else ""),
        submitted_s=float(row["submitted_s"]) if row is not None else (note.submitted_s if note is not None else 0.0) or _begun_s(status),
        attempt=int(status.get("attempt") or 0),
        device=str(job.get("params", {}).get("device") or ""),
    )


def _folder_says(folder: Path) -> tuple[dict[str, Any], dict[str, Any], str, str]:
    """Job, status, state and error of a folder; a damaged one has failed, and says so."""
    try:
        job, status = _read(folder)
        return job, status, run_state(RunFolder(folder)), str(status.get("error") or "")
    except (Brain2PixError, OSError, ValueError) as error:
        return {"kind": ""}, {}, "failed", str(error)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    run = RunFolder(folder)
    return run.read_job(), run.read_status()


def _both_say(here: str, why: str, there: str, error: str) -> tuple[str, str]:
    """Put together what a folder and a server say of a job."""
    if there in GOING:
        return there, ""
    # what the folder calls running or ended came after the server had let go of it; the rest the server knows better
    if here in ("running", "finished", "cancelled", "failed"):
        return here, why or (error if here == there else "")
    return there, error


def _begun_s(status: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(status["started"])).timestamp()
    except (KeyError, ValueError):
        return 0.0


def _last_events(file: Path) -> list[Event]:
    try:
        with file.open("rb") as record:
            record.seek(max(0, os.fstat(record.fileno()).st_size - _TAIL))
            lines = record.read().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            continue  # cut off, or written by a later version
    return found


def _hash(kind: str, model: Any, params: dict[str, Any]) -> str:
    try:
        return job_hash(kind, build(model, params))
    except ConfigError:
        return ""  # of an older version: another job
