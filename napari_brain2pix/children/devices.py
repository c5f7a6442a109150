"""Which devices can compute: asked of a child process, because the answer needs torch and the window must not load it."""

import json
import sys
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, Signal

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.child import end_child

if TYPE_CHECKING:
    from napari_brain2pix._state import State

QUESTION = "import json; from brain2pix.compute.device import available_devices; print(json.dumps(available_devices()))"


class DeviceQuestion(QObject):
    """Asks once.

    Signals
    -------
    answered : list of str, "cpu" first; only "cpu" if there was no answer
    """

    answered = Signal(object)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self._process: QProcess | None = None
        self._asked = False

    def ask(self) -> None:
        """Ask, if nobody has."""
        if self._asked:
            return
        self._asked = True
        self._process = QProcess(self)
        self._process.finished.connect(self._finished)
        self._process.start(sys.executable, ["-c", QUESTION])

    def stop(self) -> None:
        """Do without an answer."""
        process, self._process = self._process, None
        end_child(process)

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = bytes(process.readAllStandardOutput()).decode(errors="replace").strip().splitlines()
        process.deleteLater()
        try:
            found = json.loads(said[-1])
        except (ValueError, IndexError):
            found = []
        self.answered.emit([str(name) for name in found] or ["cpu"])
