"""Jobs of the window: each fills a folder, and the folder is what the window reads.

A compute server runs them, one after the other, or, without a server, a process of its own each. A window that closes, or dies, takes no
training with it: the job goes on, and any window can follow its folder again.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from qtpy.QtCore import QObject, QTimer, Signal

from brain2pix.compute.engine.registry import note_job
from brain2pix.compute.engine.states import WHY_NOT, standing_of
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError
from brain2pix.events import Message
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix import _sample_data as sample
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.record import EventTail, JobProgress, last_words
from napari_brain2pix.children.table import ENDED, GOING

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.engine import EngineThread
    from napari_brain2pix.children.table import JobRow

LOOK_MS = 150  # between looks at the folder
GRACE_S = 60.0  # from asking a job to stop to ending its process: a step of a large network may take long
NICE = 10  # the window must stay quick beside a training
OUTPUT = "output.log"  # what the process printed, in the run folder
RESUMABLE = ("cancelled", "interrupted", "failed")
_LEFT_ALONE: list["subprocess.Popen[bytes]"] = []  # a process object that is dropped complains that its process still runs

logger = logging.getLogger(__name__)


class JobRunner(QObject):
    """Starts jobs, and follows the record of the one that is shown.

    Signals
    -------
    happened : folder, Event
    changed : folder, state: "starting", "queued", "running", "stopping", "finished", "cancelled", "failed" or "interrupted"
    cleared : before the record of another folder is read

    Parameters
    ----------
    state : State, for reporting problems
    engine : EngineThread or None; without one, each job is a process of its own and one goes on at a time
    """

    happened = Signal(str, object)
    changed = Signal(str, str)
    cleared = Signal()

    def __init__(self, state: "State", parent: QObject | None = None, engine: "EngineThread | None" = None) -> None:
        super().__init__(parent)
        self.state, self.engine = state, engine
        self.folder: Path | None = None
        self.job: dict[str, Any] = {}
        self.standing = ""
        self.error = ""
        self.progress = JobProgress()
        self.row: JobRow | None = None  # of the shown job, as its server and the list have it
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._attempts_before = 0
        self._attempts: dict[Path, int] = {}  # of each folder before this window began its job
        self._submitting = False  # given to the server, which has not answered yet
        self._lost = ""  # what became of the server that had it
        self._asked_s: float | None = None  # when it was asked to stop
        self._killed = False
        self._tail = EventTail(Path())
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        if engine is not None:
            engine.table.connect(self._take_table)
            engine.submitted.connect(self._submitted)
            engine.refused.connect(self._refused)
            engine.unavailable.connect(self._do_without)
            engine.lost.connect(self._server_lost)

    @property
    def busy(self) -> bool:
        """Whether the job that is shown is going on."""
        return self.standing in GOING

    @property
    def queues(self) -> bool:
        """Whether a job may be started while others go on: a server lets it wait."""
        return self.engine is not None and self.engine.queues

    @property
    def n_going(self) -> int:
        """Jobs that go on or wait, as far as this window knows."""
        others = [row for row in self.engine.rows if row.going and row.folder != self.folder] if self.engine is not None else []
        return len(others) + self.busy

    @property
    def process_id(self) -> int:
        """Of the job that is going on; 0 if there is none."""
        if self.folder is None or not self.busy:
            return 0
        return self._child.pid if self._child is not None else int(RunFolder(self.folder).read_status().get("pid", 0))

    def owns(self, folder: Path) -> bool:
        """Whether this window runs the job of a folder in a process of its own."""
        child = self._children.get(folder)
        return child is not None and child.poll() is None

    @property
    def _child(self) -> "subprocess.Popen[bytes] | None":
        """Process of the job that is shown, if this window started it as one."""
        return self._children.get(self.folder) if self.folder is not None else None

    # -- what the user wants

    def start(self, spec: JobSpec) -> None:
        """Start a job in its folder, or go on with it where it was interrupted.

        Raises
        ------
        Brain2PixError
            If the folder is in use or holds something else, or another job is going on and there is no server to let this one wait.
        """
        folder, stands = Path(str(spec.folder)), standing_of(spec)
        if stands not in ("new", *RESUMABLE):
            raise ConfigError(f"{folder} {WHY_NOT.get(stands, 'cannot be used')}; choose another folder")
        self._refuse_if_busy()
        if stands == "new":
            spec.write()
        self._begin(folder)

    def resume(self) -> None:
        """Go on with the job that is shown."""
        if self.folder is not None and not self.busy:
            self._refuse_if_busy()
            self._begin(self.folder)

    def follow(self, folder: Path) -> None:
        """Show the job of a folder, and go on watching it if it is going on; a job that is shown and going on stays."""
        if not self.busy:
            self.show(folder)

    def show(self, folder: Path) -> None:
        """Show the job of a folder instead of another."""
        if folder == self.folder:
            return
        self._turn_to(folder)
        run = RunFolder(folder)
        waits = self.row is not None and self.row.standing == "queued"
        began = self._attempts.get(folder, run.attempt()) if self._child is not None else run.attempt() - 1
        self._attempts_before = run.attempt() if waits else began
        if run.cancel.exists():
            self._asked_s = time.monotonic()
        self._look()
        self._timer.start()

    @guarded
    def clear(self) -> None:
        """Show no job; one that is going on stays."""
        if not self.busy:
            self._timer.stop()
            self.folder, self.job, self.row = None, {}, None
            self.standing, self.error = "", ""
            self.progress = JobProgress()
            self.cleared.emit()

    def stop(self) -> None:
        """Ask the job to stop after its step; what it did is saved. A second wish, or a minute without an answer, ends the process."""
        if self.folder is None or not self.busy:
            return
        if self._asked_s is not None:
            self._kill()
            return
        self._asked_s = time.monotonic()
        RunFolder(self.folder).cancel.touch()
        if self._on_server and self.engine is not None:
            self.engine.stop(self.folder, self._server)
        self._set("stopping")

    def end(self, wait_s: float) -> None:
        """Stop the processes of jobs while the window closes: ask, wait for their step, then end them. They can be resumed either way."""
        own = [folder for folder in self._children if self.owns(folder)]
        others = [self.folder] if self.folder is not None and self.busy and not self._on_server and self.folder not in own else []
        for folder in (*own, *others):
            RunFolder(folder).cancel.touch()
        until_s = time.monotonic() + wait_s
        for folder in (*own, *others):
            if not self._ends_before(folder, until_s):
                self._kill_process(folder)
                self._ends_before(folder, time.monotonic() + wait_s)

    def let_go(self) -> None:
        """Stop watching; jobs that are going on go on by themselves."""
        self._timer.stop()
        _LEFT_ALONE.extend(child for child in self._children.values() if child.poll() is None)
        self._children.clear()

    # -- on a server

    @property
    def _on_server(self) -> bool:
        return self._child is None and (self._submitting or (self.row is not None and bool(self.row.server)))

    @property
    def _server(self) -> str:
        return self.row.server if self.row is not None else ""

    def _begin(self, folder: Path) -> None:
        """Give the job of a folder to the server, or to a process of its own."""
        self._turn_to(folder)
        self._prepare(folder)
        if self.queues and self.engine is not None:
            self._children.pop(folder, None)
            self._submitting, self.row = True, None
            self.engine.submit(JobSpec.from_file(folder))
        else:
            self._launch(folder)
        self._set("starting")
        self._timer.start()

    @guarded
    def _take_table(self, rows: "list[JobRow]") -> None:
        """Note what the list says of the shown job; a table from before it was submitted says nothing."""
        if not self._submitting:
            self.row = next((row for row in rows if row.folder == self.folder), None)
            self._look_on()

    @guarded
    def _submitted(self, folder: str, name: str) -> None:
        if folder == str(self.folder):
            self._submitting = False  # the next table knows it

    @guarded
    def _refused(self, folder: str, why: str) -> None:
        if folder != str(self.folder):
            self.state.problem.emit(why)
            return
        self._submitting, self.error = False, why
        self._timer.stop()
        self._set("failed")

    @guarded
    def _do_without(self, folder: str, why: str) -> None:
        """Start a job as a process of its own, because there is no server to take it."""
        text = f"no compute server ({why}): the job runs as a process of its own"
        logger.warning("%s", text)
        if self.engine is not None:
            self.engine.give_up()
        if any(map(self.owns, self._children)):
            self._refused(folder, f"{folder} was not started: without a compute server one job runs at a time ({why})")
            return
        self._launch(Path(folder))
        if folder == str(self.folder):
            self._submitting = False
            self.happened.emit(folder, Message("warning", text))

    @guarded
    def _server_lost(self, why: str) -> None:
        if self._on_server and self.busy:
            self._lost = why
            self._look_on()

    def _look_on(self) -> None:
        """Watch again a job that goes on after it had ended, or that another window has started."""
        if self.folder is not None and not self._timer.isActive() and (self.busy or (self.row is not None and self.row.going)):
            self._timer.start()

    # -- as a process

    def _refuse_if_busy(self) -> None:
        if self.queues:
            return
        going = next(filter(self.owns, self._children), self.folder if self.busy else None)
        if going is not None:
            raise ComputeError(f"a job is going on in {going}; stop it, or wait for it")

    def _prepare(self, folder: Path) -> None:
        run = RunFolder(folder)
        run.cancel.unlink(missing_ok=True)  # of a process that was ended before it could answer
        self._attempts_before = self._attempts[folder] = run.attempt()
        write_json(_note(), {"folder": str(folder)})

    def _launch(self, folder: Path) -> None:
        with (folder / OUTPUT).open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "brain2pix.cli", "run", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal of the window is not meant for it
            )
        self._children[folder] = child
        with suppress(psutil.Error, OSError, AttributeError):  # a courtesy: not every system has it
            process = psutil.Process(child.pid)
            process.nice(max(NICE, int(process.nice())) if os.name == "posix" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
        if self.engine is not None:
            note_job(folder, str(RunFolder(folder).read_job().get("kind", "")))
            self.engine.refresh()

    def _kill(self) -> None:
        if self.folder is None:
            return
        self._killed = True
        if self._on_server and self.engine is not None:
            self.engine.kill(self.folder, self._server)
        else:
            self._kill_process(self.folder)

    def _kill_process(self, folder: Path) -> None:
        child = self._children.get(folder)
        with suppress(psutil.Error, Brain2PixError):
            number = child.pid if child is not None else int(RunFolder(folder).read_status().get("pid", 0))
            if number:
                psutil.Process(number).kill()

    def _ends_before(self, folder: Path, until_s: float) -> bool:
        while self._alive(folder) and time.monotonic() < until_s:
            time.sleep(0.05)
        return not self._alive(folder)

    def _alive(self, folder: Path) -> bool:
        child = self._children.get(folder)
        return child.poll() is None if child is not None else run_state(RunFolder(folder)) == "running"

    # -- the folder

    def _turn_to(self, folder: Path) -> None:
        self._timer.stop()
        self.folder, self.job = folder, RunFolder(folder).read_job()
        self.standing, self.error = "", ""
        self.progress = JobProgress()
        self._asked_s, self._killed = None, False
        self._submitting, self._lost = False, ""
        self.row = next((row for row in self.engine.rows if row.folder == folder), None) if self.engine is not None else None
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
        if stands == "stopping" and not self._killed and self._asked_s is not None and time.monotonic() - self._asked_s > GRACE_S:
            self._kill()
        self._set(stands)
        if stands not in GOING:
            self._timer.stop()

    def _standing(self) -> str:
        run = RunFolder(Path(str(self.folder)))
        stands, begun = run_state(run), run.attempt() > self._attempts_before
        child = self._child
        code = child.poll() if child is not None else None
        if child is not None and code is None:
            return "stopping" if self._asked_s is not None else "running" if begun else "starting"
        if self._submitting:
            return "starting"
        if child is None and self.row is not None and self.row.server:
            stands = self._standing_on_server(self.row, stands, begun)
        if stands in ("running", "queued") and self._asked_s is not None:
            return "stopping"
        if child is not None and not begun and stands not in ("running", "finished"):
            self.error = last_words(run.path / OUTPUT) or f"the process ended with code {code} before it began"
            return "failed"
        if stands == "failed":
            self.error = str(run.read_status().get("error") or (self.row.error if self.row is not None else "") or "no reason was recorded")
        elif stands == "interrupted":
            self.error = self._why_interrupted(code)
        return stands

    def _standing_on_server(self, row: "JobRow", here: str, begun: bool) -> str:
        """Put together what the folder says and what the server said last, which may be half a second old."""
        if here in ENDED and begun:
            return here
        if self._lost:
            return "interrupted" if here == "new" or not begun else here
        if not row.going:
            return here if here in ("running", *ENDED) else row.standing
        if here == "running" or row.standing == "stopping":
            return row.standing if row.standing == "stopping" else here
        # one that had begun waits only until its server has another process for it
        return "queued" if row.standing == "queued" and not begun else "starting"

    def _why_interrupted(self, code: int | None) -> str:
        if self._killed:
            return "The process was ended at once. Resume goes on from the last checkpoint."
        if self._lost or (self._on_server and self.row is not None):
            begun = RunFolder(Path(str(self.folder))).attempt() > 0
            why = self._lost or f"The compute server “{self.row.server if self.row is not None else ''}” that had it has ended."
            return f"{why} Resume {'goes on from the last checkpoint' if begun else 'starts it'}."
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
