"""Choose voxels, change their responses, see what the decoder makes of it."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_brain2pix import _layers as layers
from napari_brain2pix._guard import guarded
from napari_brain2pix._state import MEAN
from napari_brain2pix.widgets._parts import Choice, Note, Notice, NumberSlider, Section, swatch

if TYPE_CHECKING:
    from napari_brain2pix._state import Region, State
    from napari_brain2pix._workspace import Workspace

# mode: title, lowest, highest and first amplitude, signs around the number, what it does
MODES: dict[str, tuple[str, float, float, float, tuple[str, str], str]] = {
    "add": ("Add", -4.0, 4.0, 2.0, ("", " sd"), "Add to the response of each voxel, in standard deviations"),
    "set": ("Set", -4.0, 4.0, 2.0, ("= ", " sd"), "Give each voxel this response, in standard deviations"),
    "scale": ("Scale", -3.0, 3.0, 2.0, ("× ", ""), "Multiply the response of each voxel"),
    "silence": ("Silence", 0.0, 1.0, 0.0, ("", ""), "Set the response of each voxel to its mean"),
}
HONEST = "A model prediction, not evidence about real stimulation."
NO_MODEL = (
    "No trained model here. Train one above and press <b>Show it</b> when it is done; or open a trained run, or the folder of a demo."
)
CURRENT = "Test image chosen below"


class StimulatePanel(QWidget):
    """Region and stimulation.

    Signals
    -------
    wanted : dict for the live decoder: `stimulus_id`, `region`, `mode`, `amplitude`
    unwanted : why nothing can be asked for
    restart : the user wants the decoder back
    """

    wanted = Signal(object)
    unwanted = Signal(str)
    restart = Signal()

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.chips = QWidget()
        self._flow = QFlowLayout(self.chips)
        self.expression = QLineEdit()
        self.expression.setPlaceholderText("e.g. V1v & L, or V1 + V2 - outside")
        self.expression.setAccessibleName("Region expression")
        self.expression.setToolTip("Areas joined by + or | (union), & (both), - (without); L and R are the hemispheres")
        self.selected = Note()
        self.base = QComboBox()
        self.base.setAccessibleName("Base image")
        self.base.addItems([CURRENT, "Mean response"])
        self.mode = Choice({key: entry[0] for key, entry in MODES.items()})
        self.mode.set_current("add")
        for key, button in self.mode.buttons.items():
            button.setToolTip(MODES[key][-1])
        self.amplitude = NumberSlider("Amplitude")
        self.status = Note()
        self.notice = Notice()
        self.controls = QWidget()
        self.empty = Note(NO_MODEL)
        self._lay_out()
        self._set_mode("add")
        self._connect()
        self._show(None)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(10)
        region = Section("Region")
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(4)
        region.body.addWidget(self.chips)
        region.body.addWidget(self.expression)
        region.body.addWidget(self.selected)
        box.addWidget(region)
        stimulate = Section("Stimulate")
        column = QVBoxLayout(self.controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        start = QHBoxLayout()
        start.addWidget(QLabel("From"))
        start.addWidget(self.base, 1)
        column.addLayout(start)
        column.addWidget(self.mode)
        column.addWidget(self.amplitude)
        column.addWidget(self.status)
        stimulate.body.addWidget(self.controls)
        stimulate.body.addWidget(self.empty)
        stimulate.body.addWidget(self.notice)
        box.addWidget(stimulate)

    def _connect(self) -> None:
        self.expression.textEdited.connect(self._edit_region)
        self.base.activated.connect(self._choose_base)
        self.mode.chosen.connect(self._choose_mode)
        self.amplitude.valueChanged.connect(self._want)
        self.notice.button.clicked.connect(self._restart)
        self.state.opened.connect(self._show)
        self.state.region_changed.connect(self._show_region)
        self.state.base_changed.connect(self._show_base)

    # -- what is shown

    @guarded
    def _show(self, workspace: "Workspace | None") -> None:
        self.notice.say("")
        self._make_chips(workspace)
        self.expression.setEnabled(workspace is not None)
        self.controls.setVisible(workspace is not None and workspace.model is not None)
        self.empty.setVisible(workspace is not None and workspace.model is None)

    def _make_chips(self, workspace: "Workspace | None") -> None:
        while self._flow.count():
            widget = self._flow.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        if workspace is None:
            return
        subject = workspace.subject
        names = layers.area_names(subject)
        for name in names:
            chip = QPushButton(swatch(layers.area_colour(name, names)), name)
            chip.setToolTip(f"{int(subject.areas[name].sum()):,} voxels. Shift-click adds it to the expression.")
            chip.setAccessibleName(f"Region {name}")
            chip.clicked.connect(self._choose_area)
            self._flow.addWidget(chip)

    @guarded
    def _show_region(self, region: "Region") -> None:
        if self.expression.text() != region.text:
            self.expression.setText(region.text)
        if region.problem:
            self.selected.say(f"⚠ {region.problem}")
        else:
            self.selected.say(f"{int(region.mask.sum()):,} voxels chosen")
        self._want()

    @guarded
    def _show_base(self, base: str) -> None:
        self.base.setCurrentIndex(1 if base == MEAN else 0)
        self._want()

    def show_state(self, text: str) -> None:
        """One line on what the decoder is doing."""
        self.status.say(f"{HONEST}{' ' + text if text else ''}")

    def show_problem(self, text: str, action: str = "") -> None:
        """Say what is wrong with the stimulation; with a button if it can be mended."""
        self.notice.say(text, action)

    # -- what the user does

    @guarded
    def _choose_area(self) -> None:
        from qtpy.QtWidgets import QApplication

        name = self.sender().text()
        adding = bool(QApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier) and self.state.region.text
        self.state.set_region(f"{self.state.region.text} + {name}" if adding else name)

    @guarded
    def _edit_region(self, text: str) -> None:
        self.state.set_region(text)

    @guarded
    def _choose_base(self, index: int) -> None:
        ids = self.state.workspace.pictures.stimulus_ids if self.state.workspace else []
        self.state.set_base(MEAN if index == 1 or not ids else ids[0])

    @guarded
    def _choose_mode(self, mode: str) -> None:
        self._set_mode(mode)
        self._want()

    @guarded
    def _restart(self) -> None:
        self.notice.say("")
        self.restart.emit()

    def _set_mode(self, mode: str) -> None:
        _, low, high, first, signs, _ = MODES[mode]
        with QSignalBlocker(self.amplitude):
            self.amplitude.setRange(low, high)
            self.amplitude.setSigns(*signs)
            self.amplitude.setValue(first)
        self.amplitude.setVisible(mode != "silence")

    @guarded
    def _want(self, *_: Any) -> None:
        workspace = self.state.workspace
        if workspace is None or workspace.model is None or not self.state.region.text:
            return
        if self.state.region.problem:
            self.unwanted.emit("choose a region first")
        else:
            self.wanted.emit(self.request())

    def request(self) -> dict[str, Any]:
        """Say what to ask the live decoder for now."""
        return {
            "stimulus_id": self.state.base,
            "region": self.state.region.text,
            "mode": self.mode.current,
            "amplitude": round(float(self.amplitude.value()), 3),
        }
