"""Jobs of the window: each is a process of its own that fills a folder, and the folder is what the window reads.

A window that closes, or dies, takes no training with it: the process goes on, and any window can follow its folder again.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from qtpy.QtCore import QObject, QTimer, Signal

from brain2pix.compute.kinds import job_kind
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.config.base import build
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix import _sample_data as sample
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.record import EventTail, JobProgress, last_words

if TYPE_CHECKING:
    from napari_brain2pix._state import State

LOOK_MS = 150  # between looks at the folder
GRACE_S = 60.0  # from asking a job to stop to ending its process: a step of a large network may take long
NICE = 10  # the window must stay quick beside a training
OUTPUT = "output.log"  # what the process printed, in the run folder
GOING = ("starting", "running", "stopping")
RESUMABLE = ("cancelled", "interrupted", "failed")
_LEFT_ALONE: list["subprocess.Popen[bytes]"] = []  # a process object that is dropped complains that its process still runs


class JobRunner(QObject):
    """Runs one job at a time and follows its record.

    Signals
    -------
    happened : folder, Event
    changed : folder, state: "starting", "running", "stopping", "finished", "cancelled", "failed" or "interrupted"
    cleared : before the record of another folder is read

    Parameters
    ----------
    state : State, for reporting problems
    """

    happened = Signal(str, object)
    changed = Signal(str, str)
    cleared = Signal()

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.folder: Path | None = None
        self.job: dict[str, Any] = {}
        self.standing = ""
        self.error = ""
        self.progress = JobProgress()
        self._child: subprocess.Popen[bytes] | None = None
        self._attempts_before = 0
        self._asked_s: float | None = None  # when it was asked to stop
        self._killed = False
        self._tail = EventTail(Path())
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)

    @property
    def busy(self) -> bool:
        """Whether a job is going on."""
        return self.standing in GOING

    @property
    def process_id(self) -> int:
        """Of the job that is going on; 0 if there is none."""
        if self.folder is None or not self.busy:
            return 0
        return self._child.pid if self._child is not None else int(RunFolder(self.folder).read_status().get("pid", 0))

    # -- what the user wants

    def start(self, spec: JobSpec) -> None:
        """Start a job in its folder, or go on with it where it was interrupted.

        Raises
        ------
        Brain2PixError
            If the folder is in use or holds something else, or another job is going on.
        """
        folder, stands = Path(str(spec.folder)), standing_of(spec)
        if stands not in ("new", *RESUMABLE):
            raise ConfigError(f"{folder} {WHY_NOT.get(stands, 'cannot be used')}; choose another folder")
        self._refuse_if_busy()
        if stands == "new":
            spec.write()
        self._launch(folder)

    def resume(self) -> None:
        """Go on with the job that is shown."""
        self._refuse_if_busy()
        if self.folder is not None:
            self._launch(self.folder)

    def follow(self, folder: Path) -> None:
        """Show the job of a folder, and go on watching it if it is going on; a job that is going on already stays."""
        if self.busy or folder == self.folder:
            return
        self._turn_to(folder)
        self._look()
        self._timer.start()

    def stop(self) -> None:
        """Ask the job to stop after its step; what it did is saved. A second wish, or a minute without an answer, ends the process."""
        if self.folder is None or not self.busy:
            return
        if self._asked_s is not None:
            self._kill()
            return
        self._asked_s = time.monotonic()
        RunFolder(self.folder).cancel.touch()
        self._set("stopping")

    def end(self, wait_s: float) -> None:
        """Stop the job while the window closes: ask it, wait for its step, then end its process. It can be resumed either way."""
        if self.folder is None or not self.busy:
            return
        run = RunFolder(self.folder)
        run.cancel.touch()
        if not self._ends_within(wait_s):
            self._kill()
            self._ends_within(wait_s)

    def _ends_within(self, wait_s: float) -> bool:
        until_s = time.monotonic() + wait_s
        while self._alive() and time.monotonic() < until_s:
            time.sleep(0.05)
        return not self._alive()

    def _alive(self) -> bool:
        return self._child.poll() is None if self._child is not None else run_state(RunFolder(Path(str(self.folder)))) == "running"

    def let_go(self) -> None:
        """Stop watching; a job that is going on goes on by itself."""
        self._timer.stop()
        if self._child is not None and self._child.poll() is None:
            _LEFT_ALONE.append(self._child)
        self._child = None

    # -- the process

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise ComputeError(f"a job is going on in {self.folder}; stop it, or wait for it")

    def _launch(self, folder: Path) -> None:
        self._turn_to(folder)
        run = RunFolder(folder)
        run.cancel.unlink(missing_ok=True)  # of a process that was ended before it could answer
        self._attempts_before = run.attempt()
        with (folder / OUTPUT).open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "brain2pix.cli", "run", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal of the window is not meant for it
            )
        with suppress(psutil.Error, OSError, AttributeError):  # a courtesy: not every system has it
            process = psutil.Process(self._child.pid)
            process.nice(max(NICE, int(process.nice())) if os.name == "posix" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
        write_json(_note(), {"folder": str(folder)})
        self._set("starting")
        self._timer.start()

    def _kill(self) -> None:
        self._killed = True
        with suppress(psutil.Error, Brain2PixError):
            psutil.Process(self.process_id).kill()

    # -- the folder

    def _turn_to(self, folder: Path) -> None:
        self.let_go()
        self.folder, self.job = folder, RunFolder(folder).read_job()
        self.standing, self.error = "", ""
        self.progress = JobProgress()
        self._asked_s, self._killed = None, False
        self._tail = EventTail(RunFolder(folder).events)
        self.cleared.emit()

    @guarded
    def _look(self) -> None:
        """Read what is new. The state is read first and told last: whoever hears of the end has heard everything before."""
        if self.folder is None:
            return
        try:
            stands = self._standing()
        except Brain2PixError as error:
            stands, self.error = "failed", str(error)
        for time_s, event in self._tail.read():
            self.progress.take(event, time_s)
            self.happened.emit(str(self.folder), event)
        self._timer.setInterval(0 if self._tail.more else LOOK_MS)
        if self._tail.more:
            return
        if stands == "stopping" and self._asked_s is not None and time.monotonic() - self._asked_s > GRACE_S:
            self._kill()
        self._set(stands)
        if stands not in GOING:
            self._timer.stop()
            self._child = None

    def _standing(self) -> str:
        run = RunFolder(Path(str(self.folder)))
        code = self._child.poll() if self._child is not None else None
        begun = self._child is None or run.attempt() > self._attempts_before
        if self._child is not None and code is None:
            return "stopping" if self._asked_s is not None else "running" if begun else "starting"
        stands = run_state(run)
        if stands == "running":
            return "stopping" if self._asked_s is not None else stands
        if not begun and stands != "finished":
            stands = "failed"
            self.error = last_words(run.path / OUTPUT) or f"the process ended with code {code} before it began"
        elif stands == "failed":
            self.error = str(run.read_status().get("error") or "no reason was recorded")
        elif stands == "interrupted":
            self.error = self._why_interrupted(code)
        return stands

    def _why_interrupted(self, code: int | None) -> str:
        if self._killed:
            return "The process was ended at once. Resume goes on from the last checkpoint."
        how = f" by signal {-code}" if code is not None and code < 0 else ""
        return f"The process was ended{how} without a word: perhaps the memory ran out. Resume goes on from the last checkpoint."

    def _set(self, stands: str) -> None:
        if stands != self.standing:
            self.standing = stands
            self.changed.emit(str(self.folder), stands)


def running_job() -> Path | None:
    """Find the folder of the job that a window of this user started last, if it is going on; another window can follow it."""
    try:
        folder = Path(json.loads(_note().read_text(encoding="utf-8"))["folder"])
        return folder if run_state(RunFolder(folder)) == "running" else None
    except (OSError, ValueError, KeyError, TypeError, Brain2PixError):
        return None


def _note() -> Path:
    return sample.cache_folder() / "last-job.json"


WHY_NOT = {
    "running": "is being worked on by another process",
    "finished": "holds a finished run",
    "other": "holds another job",
    "taken": "is not empty and is not a run folder",
    "file": "is a file",
}


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


def _hash(kind: str, model: Any, params: dict[str, Any]) -> str:
    try:
        return job_hash(kind, build(model, params))
    except ConfigError:
        return ""  # of an older version: another job
