"""Datasets of others and of one's own, without blocking the window: one child process looks into a file, another imports it."""

import json
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, QTimer, Signal

from brain2pix.compute.engine.registry import forget_job, job_id
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import Brain2PixError, ComputeError
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import Check
from napari_brain2pix.children.child import end_child
from napari_brain2pix.children.record import JobProgress, duration
from napari_brain2pix.children.simulate import Simulation
from napari_brain2pix.children.table import PRIVATE

if TYPE_CHECKING:
    import subprocess

    from napari_brain2pix._state import State

LOOK = ["-m", "brain2pix.data.readers.describe"]
PAUSE_MS = 300  # from the last change of a choice to the next look
KILLED = "the import was ended without a word: perhaps the memory ran out. Close other programs, and try again."
ENDED = "the look into the file ended without a word: perhaps the memory ran out"
OLD_S = 3600.0  # since a record was last written to: its window has read it by then
PICTURES_SHARE = 0.6  # of the time of an import; responses take the rest
# choices whose name in the settings is not what people call them
WORDS = {
    "images": "pictures",
    "missing": "missing pictures",
    "flip": "mirror voxels",
    "flip_images": "mirror pictures",
    "field_of_view_deg": "field of view",
    "zscore": "z-score",
    "own.table": "trial table",
    "own.regions": "area masks, labels",
    "own.mask": "brain mask",
    "own.dataset": "name of the matrix",
    "splits.by": "split by",
}
OWN_FILES = "your own files"
_COMMAND = re.compile(r": brain2pix import own .*$")
_GOING: list["subprocess.Popen[bytes]"] = []
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class Look(QObject):
    """Asks a child process what is in a file. A new question drops the old one.

    Signals
    -------
    began : the child is at work
    answered : dict, as `brain2pix.data.readers.describe` gives it; `error` in place of what was found
    """

    began = Signal()
    answered = Signal(object)
    command, not_begun, ended = LOOK, "the file could not be looked into", ENDED

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self._asked: dict[str, Any] = {}
        self._process: QProcess | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._begin)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._process is not None or self._timer.isActive()

    def ask(self, params: dict[str, Any]) -> None:
        """Ask, in a moment: more may be typed.

        Parameters
        ----------
        params : dict of `ImportParams`, JSON values, without `out`
        """
        self.drop()
        self._asked = params
        self._timer.start()

    def drop(self) -> None:
        """Forget what was asked."""
        self._timer.stop()
        process, self._process = self._process, None
        if process is not None:
            end_child(process)
            process.deleteLater()

    @guarded
    def _begin(self) -> None:
        process = QProcess(self)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._not_started)
        self._process = process
        process.start(sys.executable, self.command)
        process.write(json.dumps(self._asked).encode())
        process.closeWriteChannel()
        self.began.emit()

    @guarded
    def _not_started(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            why = self._process.errorString()
            self.drop()
            self.answered.emit({"kind": "", "error": f"{self.not_begun}: {why}"})

    @guarded
    def _finished(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said, errors = (bytes(read()).decode(errors="replace") for read in (process.readAllStandardOutput, process.readAllStandardError))
        process.deleteLater()
        try:
            found = json.loads(said)
        except ValueError:
            last = errors.strip().splitlines()
            found = {"kind": "", "error": last[-1] if last else self.ended}
        self.answered.emit(found)


class Importer(Simulation):
    """Imports a dataset as a job whose record is thrown away at the end; what is stopped or fails leaves nothing.

    The window may close meanwhile: the import goes on, and the subject lies in its folder when it is done.
    """

    @property
    def progress(self) -> JobProgress:
        """Where the import is."""
        return self._runner.progress

    def start_import(self, params: dict[str, Any]) -> None:
        """Begin.

        Parameters
        ----------
        params : dict of `ImportParams`, JSON values

        Raises
        ------
        Brain2PixError
            If one is going on already, or the parameters are wrong.
        """
        if self.busy:
            raise ComputeError(f"{self.out} is being imported; wait for it, or stop it")
        _sweep()
        self.out, self._asked = Path(params["out"]), False
        self._made_above = [place for place in self.out.parents if not place.exists()]
        self._record = Path(tempfile.mkdtemp(prefix=PRIVATE))
        try:
            self._runner.start(JobSpec("import", params, self._record / "run"))
            # it may outlive its window, and a process object that is dropped complains
            _GOING[:] = [child for child in _GOING if child.poll() is None]
            _GOING.extend(self._runner._children.values())
        except BaseException:
            self._clear()
            raise

    @guarded
    def _changed(self, folder: str, standing: str) -> None:
        if standing == "interrupted":  # a process that was killed has left no reason
            self._runner.error, standing = KILLED, "failed"
        super()._changed(folder, standing)


def _sweep() -> None:
    """Remove records of jobs whose window was closed before they ended."""
    for record in Path(tempfile.gettempdir()).glob(f"{PRIVATE}*"):
        status = RunFolder(record / "run").status
        with suppress(OSError, Brain2PixError):
            if time.time() - status.stat().st_mtime > OLD_S and run_state(RunFolder(record / "run")) != "running":
                forget_job(job_id(record / "run"))
                shutil.rmtree(record, ignore_errors=True)


def share_done(progress: JobProgress) -> float:
    """How much of an import is done, 0 to 1: first pictures, then responses."""
    share = progress.done / max(progress.total, 1)
    return PICTURES_SHARE * share if progress.label == "pictures" else PICTURES_SHARE + (1 - PICTURES_SHARE) * share


def describe_progress(progress: JobProgress) -> str:
    """Say in a line where an import is."""
    if not progress.total:
        return "opening the files …"
    left_s = progress.left_s()
    left = f" · about {duration(left_s)} left" if left_s is not None and progress.done < progress.total else ""
    return f"{progress.label}: {progress.done:,} of {progress.total:,}{left}"


def in_window(text: str) -> str:
    """Words of the command line as the window has them: ``--images`` is the choice “pictures”."""
    names = {key.rpartition(".")[2]: words for key, words in WORDS.items()}

    def say(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return f"“{names.get(name, name.replace('_', ' '))}”"

    return _OPTION.sub(say, _COMMAND.sub(f": choose the kind “{OWN_FILES}”", text))


def found_checks(found: dict[str, Any], missing: str) -> list[Check]:
    """Say what stands against importing what was found, and what to mind.

    Parameters
    ----------
    found : dict, answer of a `Look`
    missing : str, what to do with trials whose picture is not there: "error" or "skip"
    """
    if "error" in found:
        return [Check("stop", in_window(found["error"]))]
    n_trials = sum(split["trials"] for split in found["splits"])
    checks = [Check("good", f"{n_trials:,} responses of {found['voxels']:,} voxels")]
    checks.append(_pictures_check(found, missing))
    if found["field_of_view_deg"] is None:
        checks.append(Check("stop", "no file says how wide the pictures were seen: give the “field of view”, their edge in degrees"))
    if not any(split["split"] == "train" for split in found["splits"]):
        checks.append(Check("mind", "no trial has the split “train”: no system can be trained on this alone"))
    if not found["areas"]:
        checks.append(Check("mind", "no areas: regions can only be painted, and left and right cannot be checked"))
    elif not (found["left"] or found["right"]):
        checks.append(Check("mind", "it is not known in which hemisphere the voxels lie: left and right cannot be checked"))
    return checks


def _pictures_check(found: dict[str, Any], missing: str) -> Check:
    n_missing, n_stimuli = found["missing"], found["stimuli"]
    if found["pictures_wanted"]:
        return Check("stop", f"pictures are needed: {in_window(found['pictures_wanted'])}")
    if not n_missing:
        return Check("good", f"all {n_stimuli:,} pictures are there")
    names = ", ".join(found["missing_names"]) + (", …" if n_missing > len(found["missing_names"]) else "")
    what = f"{n_missing:,} of {n_stimuli:,} pictures are missing ({names})"
    if n_missing == n_stimuli:
        return Check("stop", f"{what}: give the right folder")
    if missing == "skip":
        return Check("mind", f"{what}: their trials are left out")
    return Check("stop", f"{what}: add them, or set “missing pictures” to “skip” to leave out their trials")
