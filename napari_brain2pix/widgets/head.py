"""Top of the dock, in sight in every step: which subject, whether it is simulated, and what went wrong."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix.folders.workspace import describe, describe_more
from napari_brain2pix.widgets._parts import Badge, Note, Notice

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.folders.workspace import Workspace


class SubjectHead(QWidget):
    """Name of what is open, and the place where problems are told.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.title = QLabel("<b>No subject is open</b>")
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.badge = Badge("simulated data")
        self.badge.setToolTip("Made by the program on an average brain: no person was measured.")
        self.summary = Note()
        self.notice = Notice()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        row = QHBoxLayout()
        row.addWidget(self.title, 1)
        row.addWidget(self.badge)
        box.addLayout(row)
        box.addWidget(self.summary)
        box.addWidget(self.notice)
        self.badge.hide()
        self._waiting = False
        state.opened.connect(self._show)
        state.problem.connect(self._complain)
        state.busy.connect(self._wait)

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self.title.setText(f"<b>{workspace.folder.name}</b>")
        for widget in (self.title, self.summary):
            widget.setToolTip(describe_more(workspace))
        self.badge.setVisible(workspace.subject.simulated)
        self.summary.say(describe(workspace))

    @guarded
    def _wait(self, what: str) -> None:
        """Say what is going on, on the screen before the window can no longer paint."""
        application = QApplication.instance()
        if not what:
            if self._waiting:
                application.restoreOverrideCursor()
            self._waiting = False
            workspace = self.state.workspace
            self.title.setText(f"<b>{workspace.folder.name if workspace is not None else 'No subject is open'}</b>")
            return
        if not self._waiting:
            application.setOverrideCursor(Qt.CursorShape.WaitCursor)
        self._waiting = True
        self.title.setText(f"<b>{what}</b>")
        self.title.repaint()

    @guarded(tell=False)
    def _complain(self, text: str) -> None:
        self.notice.say(text)
