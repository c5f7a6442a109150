"""Open a subject, and say what could not be used of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix._workspace import describe_more
from napari_brain2pix.widgets._parts import Note, Notice

if TYPE_CHECKING:
    from napari_brain2pix._simulate import SampleMaker
    from napari_brain2pix._state import State
    from napari_brain2pix._workspace import Workspace

EMPTY = (
    "No subject is open. Open a folder of yours (the native format), one made by <code>brain2pix demo</code>, "
    "or start with a simulated subject."
)


class DataPanel(QWidget):
    """The subject at the top of the dock.

    Parameters
    ----------
    state : State
    maker : SampleMaker, simulates a subject in a child process
    """

    def __init__(self, state: "State", maker: "SampleMaker") -> None:
        super().__init__()
        self.state, self.maker = state, maker
        self.summary = Note(EMPTY)
        self.open_button = QPushButton("Open folder…")
        self.open_button.setToolTip("A native subject folder, or a folder made by brain2pix demo")
        self.sample_button = QPushButton("Simulated subject")
        self.sample_button.setToolTip("Your last demo; without one, a small simulated subject is made (seconds)")
        self.notice = Notice()
        self._lay_out()
        self.open_button.clicked.connect(self.choose_folder)
        self.sample_button.clicked.connect(self.open_sample)
        state.opened.connect(self._show)
        maker.made.connect(self.open)
        maker.said.connect(self.summary.say)
        maker.failed.connect(self._sample_failed)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addWidget(self.summary)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.sample_button)
        box.addLayout(buttons)
        box.addWidget(self.notice)

    @guarded
    def choose_folder(self) -> None:
        """Ask for a folder and open it."""
        folder = QFileDialog.getExistingDirectory(self, "Open a subject or demo folder", str(Path.cwd()))
        if folder:
            self.open(folder)

    @guarded
    def open(self, folder: Any) -> None:
        """Open a folder; a problem is shown in the dock."""
        self.state.open(Path(folder))

    @guarded
    def open_sample(self) -> None:
        """Open the last demo, or simulate a small subject first."""
        self.sample_button.setEnabled(False)
        self.maker.start()

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self.summary.say("<br>".join(describe_more(workspace).splitlines()))
        self.notice.say("\n".join(workspace.notes))
        self.sample_button.setEnabled(True)

    @guarded
    def _sample_failed(self, why: str) -> None:
        self.sample_button.setEnabled(True)
        self.summary.say(EMPTY)
        self.state.problem.emit(why)
