"""What every child process of the window ends with, and the simplest kind of child."""

import sys
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, QProcess, Signal

from napari_brain2pix._guard import guarded

GRACE_MS = 2000


def end_child(process: QProcess | None) -> None:
    """Kill a child that is still there and wait for it; none of its signals arrives any more."""
    if process is not None and process.state() != QProcess.ProcessState.NotRunning:
        process.blockSignals(True)
        process.kill()
        process.waitForFinished(GRACE_MS)


class Errand(QObject):
    """A Python module that a child process runs to its end; what it writes stays where it writes it.

    Signals
    -------
    ended : str, error for the user, the last line that the child said; empty if all went well

    Parameters
    ----------
    title : str, what the child makes, for the error of one that says nothing
    """

    ended = Signal(str)

    def __init__(self, title: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self._process: QProcess | None = None

    @property
    def busy(self) -> bool:
        """Whether the child is at work."""
        return self._process is not None

    def start(self, module: str, arguments: Sequence[str]) -> None:
        """Begin; an earlier child is ended."""
        self.stop()
        self._process = process = QProcess(self)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._not_started)
        process.start(sys.executable, ["-m", module, *arguments])

    def stop(self) -> None:
        """End the child; nothing is said of it."""
        process, self._process = self._process, None
        end_child(process)
        if process is not None:
            process.deleteLater()

    @guarded
    def _not_started(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            why = self._process.errorString()
            self.stop()
            self.ended.emit(f"{self.title} could not be begun: {why}")

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardError()).decode(errors="replace").strip().splitlines()
        process.deleteLater()
        well = code == 0 and status == QProcess.ExitStatus.NormalExit
        self.ended.emit("" if well else said[-1] if said else f"{self.title} ended without a word: perhaps the memory ran out")
