"""Subjects for those who have none, without blocking the window: the sample is unpacked, others are simulated, each by a child process."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, Signal

from brain2pix.compute.engine.registry import forget_job, job_id
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import Brain2PixError, ComputeError
from brain2pix.files import remove_half_written
from napari_brain2pix import _sample_data as sample
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.child import end_child
from napari_brain2pix.children.jobs import JobRunner
from napari_brain2pix.children.table import PRIVATE

if TYPE_CHECKING:
    from brain2pix.events import Event
    from napari_brain2pix._state import State

KILLED = "the simulation was ended without a word: perhaps the memory ran out. Close other programs, or choose a smaller subject."
STOP_WAIT_S = 5.0  # for a simulation that is told to stop while the window closes


class SampleMaker(QObject):
    """Gives the sample, and unpacks it where that was not done before.

    Signals
    -------
    made : str, folder to open
    said : str, what it is doing
    failed : str, why

    Attributes
    ----------
    simulation : Simulation, of other subjects
    """

    made = Signal(str)
    said = Signal(str)
    failed = Signal(str)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.simulation = Simulation(state, self)
        self._process: QProcess | None = None

    @guarded
    def start(self) -> None:
        """Give the sample that is there, or unpack it."""
        if self._process is not None:
            return
        ready = sample.ready_sample()
        if ready is not None:
            self.made.emit(str(ready))
            return
        try:
            program, *arguments = sample.command()
        except Brain2PixError as error:
            self.failed.emit(sample.failure(str(error)))
            return
        self.said.emit("Unpacking the simulated subject; this takes some seconds, once …")
        self._process = QProcess(self)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._not_started)
        self._process.start(program, arguments)

    def stop(self) -> None:
        """End what is running; it leaves nothing half-made."""
        process, self._process = self._process, None
        end_child(process)
        if process is not None:
            sample.sweep()
        self.simulation.end()

    @guarded
    def _not_started(self, error: Any) -> None:
        process, self._process = self._process, None
        if process is not None and error == QProcess.ProcessError.FailedToStart:
            process.deleteLater()
            self.failed.emit(sample.failure(process.errorString()))
        else:
            self._process = process  # `finished` follows

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardError()).decode(errors="replace")
        process.deleteLater()
        if code == 0 and status == QProcess.ExitStatus.NormalExit:
            self.made.emit(str(sample.unpacked()))
        else:
            sample.sweep()
            self.failed.emit(sample.failure(said))


class Simulation(QObject):
    """Simulates a subject as a job whose record is thrown away at the end; what is cancelled or fails leaves nothing.

    Signals
    -------
    progressed : stage, done, total; total 0 where nothing is counted
    ended : "finished", "cancelled" or "failed"; folder of the subject; error for the user, empty unless it failed
    """

    progressed = Signal(str, int, int)
    ended = Signal(str, str, str)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.out = Path()
        self._runner = JobRunner(state, self)
        self._record: Path | None = None
        self._made_above: list[Path] = []  # folders that were not there before
        self._asked = False  # to stop
        self._runner.happened.connect(self._heard)
        self._runner.changed.connect(self._changed)

    @property
    def busy(self) -> bool:
        """Whether a subject is being simulated."""
        return self._record is not None

    def start(self, out: Path, preset: str, seed: int, settings: dict[str, Any] | None = None) -> None:
        """Begin.

        Parameters
        ----------
        out : Path, dataset folder to make
        preset : str
        seed : int
        settings : dict or None, single settings over the preset, as ``--set`` of the command

        Raises
        ------
        Brain2PixError
            If one is being simulated already.
        """
        if self.busy:
            raise ComputeError(f"{self.out} is being simulated; wait for it, or cancel it")
        self.out, self._asked = out, False
        self._made_above = [place for place in out.parents if not place.exists()]
        self._record = Path(tempfile.mkdtemp(prefix=PRIVATE))
        params = {"out": str(out), "preset": preset, "seed": seed, "settings": settings or {}}
        try:
            self._runner.start(JobSpec("simulate", params, self._record / "run"))
        except BaseException:
            self._clear()
            raise

    def cancel(self) -> None:
        """Ask it to stop at the next chunk of work; the second wish ends the process at once."""
        nothing_begun = not self._runner.progress.stage
        self._asked = True
        self._runner.stop()
        if nothing_begun:
            self._runner.stop()

    def end(self) -> None:
        """Stop while the window closes, and clear up."""
        if self.busy:
            self._runner.end(STOP_WAIT_S)
            self._runner.let_go()
            self._clear(also_half=True)

    @guarded
    def _heard(self, folder: str, event: "Event") -> None:
        progress = self._runner.progress
        self.progressed.emit(progress.stage, progress.done, progress.total)

    @guarded
    def _changed(self, folder: str, standing: str) -> None:
        if self._record is None or standing in ("starting", "running", "stopping"):
            return
        error = self._runner.error if standing == "failed" else KILLED
        how = "finished" if standing == "finished" else "cancelled" if standing == "cancelled" or self._asked else "failed"
        self._runner.let_go()
        self._clear(also_half=how != "finished")
        self.ended.emit(how, str(self.out), error if how == "failed" else "")

    def _clear(self, also_half: bool = False) -> None:
        """Remove the record, and what a process that was ended at once could not remove itself."""
        record, self._record = self._record, None
        if record is not None:
            forget_job(job_id(record / "run"))
            shutil.rmtree(record, ignore_errors=True)
        if also_half:
            for target in (self.out, self.out.with_name(f"{self.out.name}-truth")):
                remove_half_written(target)
            with suppress(OSError):  # something else has come into it
                for place in self._made_above:
                    place.rmdir()
