"""The five steps, each with a word on how it stands, and a line on what to do."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix._steps import STEPS, Status, step_status
from napari_brain2pix.widgets._parts import Note

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.jobs import JobRunner

SIGNS = {"done": "✓", "to do": "●", "missing": "–", "running": "…"}


class StepBar(QWidget):
    """Buttons of the steps; all can be pressed at any time.

    Parameters
    ----------
    state : State
    runner : JobRunner, its job may be part of a step
    """

    def __init__(self, state: "State", runner: "JobRunner") -> None:
        super().__init__()
        self.state, self.runner = state, runner
        self.buttons: dict[str, QPushButton] = {}
        self.status: dict[str, Status] = {}
        self.line = Note()
        self.line.setAccessibleName("What to do in this step")
        self._lay_out()
        state.step_changed.connect(self._show)
        state.opened.connect(self._update)
        runner.changed.connect(self._update)
        runner.cleared.connect(self._update)
        self._update()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(2)
        group = QButtonGroup(self)
        for name in STEPS:
            button = QPushButton()
            button.setCheckable(True)
            button.setMinimumWidth(1)
            button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
            button.setObjectName(name)
            button.setStyleSheet("padding: 4px 1px; font-size: 11px;")  # in the style of napari, five have no room
            button.clicked.connect(self._choose)
            group.addButton(button)
            row.addWidget(button, 1)
            self.buttons[name] = button
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addLayout(row)
        box.addWidget(self.line)

    @guarded
    def _choose(self) -> None:
        self.state.set_step(self.sender().objectName())

    @guarded
    def _update(self) -> None:
        self.status = step_status(self.state.workspace, self.runner.job, self.runner.busy)
        for number, (name, status) in enumerate(self.status.items(), 1):
            button = self.buttons[name]
            button.setText(f"{STEPS[name]}\n{SIGNS[status.mark]} {status.mark}")
            button.setAccessibleName(f"Step {number}, {STEPS[name]}: {status.mark}")
            button.setToolTip(f"{status.words}  [Ctrl+B, {number}]")
        self._show(self.state.step)

    @guarded
    def _show(self, step: str) -> None:
        self.buttons[step].setChecked(True)
        self.line.say(self.status[step].words)
