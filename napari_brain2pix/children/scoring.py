"""Score reconstructions of older folders in a child process: thousands of pictures must not hold up the window."""

import sys
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, Signal

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.child import end_child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Scorer(QObject):
    """Runs `brain2pix.compute.image_scores`; its results lie in the user's cache.

    Signals
    -------
    done : the scores are there
    failed : str, why
    """

    done = Signal()
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._process is not None

    def start(self, subject: "Path", sources: "Sequence[Path]") -> None:
        """Score the reconstructions in some files, of a subject by its own folder."""
        self.stop()
        self._process = QProcess(self)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._failed_to_start)
        self._process.start(sys.executable, ["-m", "brain2pix.compute.image_scores", str(subject), *map(str, sources)])

    def stop(self) -> None:
        """End it; what was scored so far is kept."""
        process, self._process = self._process, None
        end_child(process)
        if process is not None:
            process.deleteLater()

    @guarded
    def _failed_to_start(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.stop()
            self.failed.emit(f"{sys.executable} is not executable")

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardError()).decode(errors="replace").strip().splitlines()
        process.deleteLater()
        if code == 0 and status == QProcess.ExitStatus.NormalExit:
            self.done.emit()
        else:
            self.failed.emit(said[-1] if said else f"the process ended with code {code}")
