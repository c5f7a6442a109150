"""The step Train: a training of one's own, or the evaluation of a paper."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from brain2pix.compute.reproduce.folder import is_reproduction
from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._room import RoomMaker

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.folders.workspace import Workspace
    from napari_brain2pix.widgets.reproduce import ReproducePage
    from napari_brain2pix.widgets.train import TrainPanel


class TrainStep(QWidget):
    """Shows the panel Train, or in its place the page that reproduces a paper.

    Signals
    -------
    grown : the height of the page has changed

    Parameters
    ----------
    state : State
    train : TrainPanel
    page : ReproducePage
    """

    grown = Signal()

    def __init__(self, state: "State", train: "TrainPanel", page: "ReproducePage") -> None:
        super().__init__()
        self.state, self.train, self.page = state, train, page
        self.button = QPushButton("Reproduce a paper…")
        self.button.setCheckable(True)
        self.button.setToolTip(
            "Run the evaluation of Gaziv et al. or Beliy et al. on this subject, with one report beside the published numbers"
        )
        self._room = RoomMaker(self, page)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        for widget in (self.button, train, page):
            box.addWidget(widget)
        page.hide()
        self.button.toggled.connect(self._turn)
        page.closed.connect(self._fold)
        page.grown.connect(self._room.soon)
        state.opened.connect(self._opened)

    def unfold(self) -> None:
        """Turn to the page that reproduces a paper."""
        self.state.set_step("train")
        self.button.setChecked(True)

    def show_reproduction(self, out: Path) -> None:
        """Turn to the evaluation in a folder."""
        self.page.follow(out)
        self.unfold()

    @guarded
    def _turn(self, wanted: bool) -> None:
        self.train.setVisible(not wanted)
        self.page.setVisible(wanted)
        self._room.soon()

    @guarded
    def _fold(self) -> None:
        self.button.setChecked(False)

    @guarded
    def _opened(self, workspace: "Workspace") -> None:
        if is_reproduction(workspace.folder):
            self.page.follow(workspace.folder)
            self.button.setChecked(True)
