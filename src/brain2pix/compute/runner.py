"""Run a job: claim its folder, check its inputs, do the work, say how it ended. The folder on disk is the truth.

How a folder is left: finished, cancelled (saved, goes on when started again), failed (with the error), or, if the process was killed,
"running" with a process that no longer lives: then it goes on from its newest checkpoint.
"""

import os
import shutil
import socket
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.kinds import Kind, job_kind
from brain2pix.compute.record import Recorder, warnings_as_events
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.config.base import build
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError
from brain2pix.events import Cancelled, CancelToken, Failed, Message, Stopped, ignore
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder, versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain2pix.config.base import Settings
    from brain2pix.events import Event, EventSink

Outcome = Literal["finished", "already finished", "cancelled"]

# A run on another host counts as alive while its folder was written to so recently: shared folders tell no more.
_OTHER_HOST_S = 600


@dataclass(frozen=True)
class Supervisor:
    """Whoever runs jobs for others and knows how each of them stands.

    Parameters
    ----------
    server : str, its id. It runs a job once at a time, so that an attempt of its own that a folder calls running has ended with its process
    task : str, what it calls this order; it stands in the status
    tell : callable, takes each line of the record as it is written
    """

    server: str
    task: str
    tell: "Callable[[dict[str, Any]], None]"


def run_job(spec: JobSpec, sink: "EventSink" = ignore, cancel: CancelToken | None = None, supervisor: Supervisor | None = None) -> Outcome:
    """Run a job to its end, or go on with it where it was interrupted.

    Parameters
    ----------
    spec : JobSpec
    sink : callable, takes events as they happen; the run folder records them anyway
    cancel : CancelToken or None; the file ``CANCEL`` in the run folder stops the job too
    supervisor : Supervisor or None

    Returns
    -------
    "finished", "already finished" (nothing was done) or "cancelled" (saved; the same call goes on)

    Raises
    ------
    Brain2PixError
        What is wrong with parameters, inputs or machine. A folder that this call made is removed again if the inputs were at fault.
    """
    kind = job_kind(spec.kind)
    params = build(kind.params, spec.params)
    if spec.folder is None:
        return _run_without_folder(kind, params, sink, cancel or CancelToken())
    return _Run(spec, kind, params, RunFolder(spec.folder.absolute()), sink, cancel, supervisor).run()


def run_state(folder: RunFolder) -> str:
    """Say how a run stands: "new", "running", "interrupted" (its process died), "finished", "cancelled" or "failed"."""
    status = folder.read_status()
    state = str(status.get("state", "new"))
    return "interrupted" if state == "running" and not _alive(folder, status) else state


def end_from_outside(folder: RunFolder, state: Literal["cancelled", "failed"], error: str | None = None) -> None:
    """Write how a job ended whose process cannot say it any more, or that never began; one that has said it keeps its word."""
    status = folder.read_status()
    if status.get("state", "running") == "running" and folder.path.is_dir():
        write_json(folder.status, {"attempt": 0, **status, "state": state, "finished": _now(), "error": error})


class _Run:
    def __init__(
        self,
        spec: JobSpec,
        kind: Kind,
        params: "Settings",
        folder: RunFolder,
        sink: "EventSink",
        cancel: CancelToken | None,
        supervisor: Supervisor | None,
    ) -> None:
        self.spec = spec
        self.kind = kind
        self.params = params
        self.folder = folder
        self.sink = sink
        self.cancel = _AnyToken(cancel, folder)
        self.supervisor = supervisor
        self.hash = job_hash(spec.kind, params)
        self.made_here = False
        self.made_above = [place for place in folder.path.parents if not place.exists()]
        self.status: dict[str, Any] = {}

    def run(self) -> Outcome:
        state = self._check_folder()
        if state == "finished":
            self.sink(Message("info", f"{self.folder.path} is finished already; nothing was done"))
            return "already finished"
        try:
            self._claim(state)
        except BaseException:
            self._forget()
            raise
        tell = None if self.supervisor is None else self.supervisor.tell
        with Recorder(self.folder, self.status["attempt"], tell) as recorder:

            def both(event: "Event") -> None:
                recorder(event)
                self.sink(event)

            with warnings_as_events(both):
                return self._work(JobContext(self.folder, both, self.cancel))

    def _work(self, context: JobContext) -> Outcome:
        prepared: Prepared | None = None
        try:
            self.cancel.check()
            prepared = self.kind.load()(self.params)
            write_json(self.folder.settings, prepared.settings)
            prepared.run(context)
        except Cancelled:
            context.sink(Stopped(self.spec.kind))
            self._end("cancelled")
            return "cancelled"
        except BaseException as error:
            text = one_line(error)
            context.sink(Failed(self.spec.kind, text, traceback.format_exc()))
            if prepared is None and self.made_here and isinstance(error, Brain2PixError):
                self._forget()
            else:
                with suppress(ComputeError):  # a full disk must not hide the first error
                    self._end("failed", text)
            raise
        self._end("finished")
        return "finished"

    # ------------------------------------------------------------------ the folder

    def _check_folder(self) -> str:
        """Refuse a folder that is something else, of another job, or in use; else say how it stands."""
        path = self.folder.path
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path} is a file; give a folder for the run")
        self.made_here = not path.exists() or not any(path.iterdir())
        if self.made_here:
            return "new"
        job = self.folder.read_job()
        if not job:
            raise ConfigError(f"{path} is not empty and is not a run folder (no job.json); choose another folder")
        self._check_same_job(job)
        state = run_state(self.folder)
        if state == "running":
            status = self.folder.read_status()
            if self.supervisor is not None and status.get("server") == self.supervisor.server:
                return "interrupted"
            worker = f"process {status.get('pid')} on {status.get('host')}"
            raise ComputeError(f"{path} is being worked on by {worker}; wait for it, or stop it by a file named CANCEL in that folder")
        return state

    def _check_same_job(self, job: dict[str, Any]) -> None:
        if job.get("kind") != self.spec.kind:
            raise ConfigError(f"{self.folder.path} holds a {job.get('kind')!r} job, not {self.spec.kind!r}; choose another folder")
        before = build(self.kind.params, job.get("params", {}))
        if job_hash(self.spec.kind, before) == self.hash:
            return
        old, new = before.model_dump(mode="json"), self.params.model_dump(mode="json")
        changed = ", ".join(f"{key} was {old[key]!r}, now {new[key]!r}" for key in new if old.get(key) != new[key])
        raise ConfigError(f"{self.folder.path} holds another job ({changed}); choose another folder, or remove it to start again")

    def _claim(self, state: str) -> None:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        if state == "cancelled":  # that request was honoured; starting again is the wish to go on
            self.folder.cancel.unlink(missing_ok=True)
        write_json(self.folder.job, {**self.spec.to_dict(), "hash": self.hash, "versions": versions()})
        self.status = {
            "state": "running",
            "kind": self.spec.kind,
            "attempt": self.folder.attempt() + 1,
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()),
            "host": socket.gethostname(),
            "server": None if self.supervisor is None else self.supervisor.server,
            "task": None if self.supervisor is None else self.supervisor.task,
            "started": _now(),
            "finished": None,
            "error": None,
        }
        write_json(self.folder.status, self.status)

    def _end(self, state: str, error: str | None = None) -> None:
        if self.folder.attempt() > self.status["attempt"]:
            return  # another process has taken over
        write_json(self.folder.status, {**self.status, "state": state, "finished": _now(), "error": error})

    def _forget(self) -> None:
        """Remove a folder that this call made and of which nothing came."""
        if self.made_here:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            with suppress(OSError):  # something else has come into it
                for place in self.made_above:
                    place.rmdir()


class _AnyToken(CancelToken):
    """Stops on the caller's token or on the file in the run folder."""

    def __init__(self, caller: CancelToken | None, folder: RunFolder) -> None:
        super().__init__(folder.cancel)
        self._caller = caller

    def cancelled(self) -> bool:
        return super().cancelled() or (self._caller is not None and self._caller.cancelled())


def _run_without_folder(kind: Kind, params: "Settings", sink: "EventSink", cancel: CancelToken) -> Outcome:
    if kind.needs_folder:
        raise ConfigError("this kind of job needs a run folder; give it one")
    try:
        with warnings_as_events(sink):
            kind.load()(params).run(JobContext(None, sink, cancel))
    except Cancelled:
        return "cancelled"
    return "finished"


def _alive(folder: RunFolder, status: dict[str, Any]) -> bool:
    """Whether the process that a status names still lives, and is not a later one with the same number."""
    if status.get("host") != socket.gethostname():
        newest_s = max(file.stat().st_mtime for file in (folder.status, folder.events) if file.exists())
        return time.time() - newest_s < _OTHER_HOST_S
    started = process_started(int(status.get("pid", -1)))
    return started is not None and abs(started - float(status.get("process_started") or 0)) < 1


def process_started(pid: int) -> float | None:
    """When a process began [s since 1970]; None if it does not live. Together with its number it names a process for good."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, ValueError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def one_line(error: BaseException) -> str:
    """Say an error in one line; one that is not for users by its type too."""
    text = " ".join(str(error).split())
    return text if isinstance(error, Brain2PixError) else f"{type(error).__name__}: {text}"
