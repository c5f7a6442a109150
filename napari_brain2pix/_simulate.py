"""Make the small simulated subject without blocking the window."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, Signal

from napari_brain2pix import _sample_data as sample
from napari_brain2pix._child import end_child
from napari_brain2pix._guard import guarded

if TYPE_CHECKING:
    from napari_brain2pix._state import State


class SampleMaker(QObject):
    """Runs the simulation in a child process.

    Signals
    -------
    made : str, folder to open
    said : str, what it is doing
    failed : str, why
    """

    made = Signal(str)
    said = Signal(str)
    failed = Signal(str)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self._process: QProcess | None = None

    @guarded
    def start(self) -> None:
        """Give the sample that is there, or make it."""
        ready = sample.ready_sample()
        if ready is not None:
            self.made.emit(str(ready))
            return
        if self._process is not None:
            return
        sample.small_subject().parent.mkdir(parents=True, exist_ok=True)
        self.said.emit("Simulating a small subject; this takes some seconds, once …")
        self._process = QProcess(self)
        self._process.finished.connect(self._finished)
        program, *arguments = sample.command()
        self._process.start(program, arguments)

    def stop(self) -> None:
        """End a running simulation; it leaves nothing half-made."""
        process, self._process = self._process, None
        end_child(process)

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardError()).decode(errors="replace")
        process.deleteLater()
        if code == 0 and status == QProcess.ExitStatus.NormalExit:
            self.made.emit(str(sample.small_subject()))
        else:
            self.failed.emit(sample.failure(said))
