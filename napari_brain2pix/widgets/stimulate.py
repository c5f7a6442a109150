"""Choose voxels, change their responses, see what the decoder makes of it, and how far that can be trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from brain2pix.errors import MissingDataError
from napari_brain2pix._guard import guarded
from napari_brain2pix._state import MEAN, RECORDED
from napari_brain2pix.children.stimulation import describe_badge, describe_share
from napari_brain2pix.folders.pictures import TEST, splits_to_show
from napari_brain2pix.widgets._distance import DistanceBadge
from napari_brain2pix.widgets._parts import Choice, Note, Notice, NumberSlider, Section
from napari_brain2pix.widgets.region import RegionPicker

if TYPE_CHECKING:
    from brain2pix.arrays import SubjectInfo
    from brain2pix.stimulation import StimulationRecord
    from napari_brain2pix._state import Region, State
    from napari_brain2pix.brain.paint import Painter
    from napari_brain2pix.children.stimulation import Stimulation
    from napari_brain2pix.folders.workspace import Workspace

# mode: title, lowest, highest and first amplitude, signs around the number, what it does
MODES: dict[str, tuple[str, float, float, float, tuple[str, str], str]] = {
    "add": ("Add", -4.0, 4.0, 2.0, ("", " sd"), "Add to the response of each voxel, in standard deviations"),
    "set": ("Set", -4.0, 4.0, 2.0, ("= ", " sd"), "Give each voxel this response, in standard deviations"),
    "scale": ("Scale", -3.0, 3.0, 2.0, ("× ", ""), "Multiply the response of each voxel"),
    "silence": ("Silence", 0.0, 1.0, 0.0, ("", ""), "Set the response of each voxel to its mean"),
}
FARTHEST = 20.0  # amplitude that can be typed; the slider ends earlier
MOST_QUADRANTS = 2  # that a region may look at for the place of the change to say something
HONEST = "A model prediction, not evidence about real stimulation."
NO_MODEL = (
    "No trained model here. Train one in step 2 and press <b>Show it</b> when it is done; or open a trained run, or the folder of a demo."
)
RECORDS = "Stimulation records (*.json)"


class StimulatePanel(QWidget):
    """Region and stimulation.

    Signals
    -------
    wanted : dict for the live decoder, see `request`
    unwanted : why nothing can be asked for
    restart : the user wants the decoder back

    Parameters
    ----------
    state : State
    painter : Painter or None, without a canvas to paint on
    """

    wanted = Signal(object)
    unwanted = Signal(str)
    restart = Signal()

    def __init__(self, state: "State", painter: "Painter | None" = None) -> None:
        super().__init__()
        self.state = state
        self.region = RegionPicker(state, painter)
        self.chips, self.expression, self.selected = self.region.chips, self.region.expression, self.region.counts
        self.base = QComboBox()
        self.base.setAccessibleName("Base response")
        self.base.setToolTip("Whose response is changed: that to the image chosen below, or the mean of all training trials")
        self.base.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mode = Choice({key: entry[0] for key, entry in MODES.items()})
        self.mode.set_current("add")
        for key, button in self.mode.buttons.items():
            button.setToolTip(MODES[key][-1])
        self.amplitude = NumberSlider("Amplitude")
        self.amplitude.field.setDecimals(2)
        self.opposite = _small_button("±", "Turn the sign of the amplitude")
        self.reset = _small_button("Reset", "Back to the first amplitude of this mode")
        self.strength = QWidget()
        self.badge = DistanceBadge()
        self.share = Note()
        self.status = Note(HONEST)
        self.notice = Notice()
        self.save, self.replay_button = QPushButton("Save record…"), QPushButton("Replay record…")
        self.controls = QWidget()
        self.empty = Note(NO_MODEL)
        self._info: SubjectInfo | None = None
        self._field: list[str] = []
        self._image = ""  # that the base was last taken from
        self._exact: float | None = None  # amplitude of a record, with more digits than the field shows
        self._quiet = False
        self._fit = QTimer(self)
        self._fit.setSingleShot(True)
        self._fit.timeout.connect(self._make_room)
        self._lay_out()
        self._set_mode("add")
        self._connect()
        self._show(None)
        self.show_stimulation(None)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(10)
        box.addWidget(self.region)
        stimulate = Section("Stimulate")
        stimulate.body.addWidget(self.status)
        column = QVBoxLayout(self.controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        start = QHBoxLayout()
        start.addWidget(QLabel("From"))
        start.addWidget(self.base, 1)
        column.addLayout(start)
        column.addWidget(self.mode)
        row = QHBoxLayout(self.strength)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.amplitude, 1)
        row.addWidget(self.opposite)
        row.addWidget(self.reset)
        column.addWidget(self.strength)
        column.addWidget(self.badge)
        column.addWidget(self.share)
        records = QHBoxLayout()
        records.setSpacing(4)
        self.save.setToolTip("Save voxels, mode, amplitude and base, to run the same stimulation again, here or by: brain2pix stimulate")
        self.replay_button.setToolTip("Set everything here to what a record says")
        records.addWidget(self.save, 1)
        records.addWidget(self.replay_button, 1)
        column.addLayout(records)
        stimulate.body.addWidget(self.controls)
        stimulate.body.addWidget(self.empty)
        stimulate.body.addWidget(self.notice)
        box.addWidget(stimulate)

    def _connect(self) -> None:
        self.base.activated.connect(self._choose_base)
        self.mode.chosen.connect(self._choose_mode)
        self.amplitude.valueChanged.connect(self._change_amplitude)
        self.opposite.clicked.connect(self._turn_sign)
        self.reset.clicked.connect(self._reset_amplitude)
        self.badge.button.clicked.connect(self._use_largest)
        self.save.clicked.connect(self._save_record)
        self.replay_button.clicked.connect(self._replay_record)
        self.notice.button.clicked.connect(self._restart)
        self.state.opened.connect(self._show)
        self.state.region_changed.connect(self._show_region)
        self.state.base_changed.connect(self._show_base)

    # -- what is shown

    @guarded
    def _show(self, workspace: "Workspace | None") -> None:
        self.notice.say("")
        self._image = ""
        self.controls.setVisible(workspace is not None and workspace.model is not None)
        self.empty.setVisible(workspace is not None and workspace.model is None)

    def set_model(self, info: "SubjectInfo | None") -> None:
        """Say which voxels the decoder reads; None while it is not there."""
        self._info = info
        self.region.set_model(info)
        self.replay_button.setEnabled(info is not None)

    @guarded
    def _show_region(self, region: "Region") -> None:
        self._field = self._seen(region)
        self._want()

    def _seen(self, region: "Region") -> list[str]:
        """Quadrants of the visual field that the region looks at; none where that is unknown, or nearly everything."""
        from brain2pix.stimulation import seen_quadrants

        workspace = self.state.workspace
        if workspace is None or workspace.map is None or not region.mask.any():
            return []
        seen = seen_quadrants(workspace.map, region.mask)
        return seen if len(seen) <= MOST_QUADRANTS else []

    @guarded
    def _show_base(self, base: str) -> None:
        workspace = self.state.workspace
        if workspace is None:
            return
        ids = workspace.pictures.stimulus_ids
        self._image = base if base != MEAN else self._image or (ids[0] if ids else "")
        trials = workspace.subject.trials
        n_repeats = int(((trials["stimulus_id"] == self._image) & (trials["split"] == workspace.split)).sum())
        with QSignalBlocker(self.base):
            self.base.clear()
            self.base.addItem(
                f"Image chosen below, mean of {n_repeats} trials" if n_repeats > 1 else "Image chosen below", (self._image, None)
            )
            self.base.addItem("Mean response of training", (MEAN, None))
            for repeat in range(1, n_repeats + 1) if n_repeats > 1 else ():
                self.base.addItem(f"Image chosen below, trial {repeat} of {n_repeats}", (self._image, repeat))
            self.base.setCurrentIndex(1 if base == MEAN else 0 if self.state.repeat is None else 1 + self.state.repeat)
        self._want()

    def show_state(self, text: str) -> None:
        """One line on what the decoder is doing."""
        self.status.say(f"{HONEST}{' ' + text if text else ''}")

    def show_problem(self, text: str, action: str = "") -> None:
        """Say what is wrong with the stimulation; with a button if it can be mended."""
        self.notice.say(text, action)

    def show_stimulation(self, stimulation: "Stimulation | None") -> None:
        """Say how far the stimulated picture can be trusted, and where it changed; None if there is none."""
        self.save.setEnabled(stimulation is not None)
        if stimulation is None:
            self.badge.say(None, "", "")
            self.share.say("")
            return
        measures = stimulation.measures
        largest, amplitude = measures.get("largest"), stimulation.request["amplitude"]
        inside, words, meaning = describe_badge(measures.get("distance") or {})
        reducible = inside is False and largest is not None and 0 < largest < amplitude
        unit = MODES[stimulation.request["mode"]][4]
        self.badge.say(inside, words, meaning, f"Reduce to {unit[0]}{_floor(largest):g}{unit[1]}" if reducible else "", largest)
        self.share.say(describe_share(measures.get("share"), stimulation.request["field"]))
        self._fit.start(0)

    @guarded
    def _make_room(self) -> None:
        """Let the page grow with texts that came later: a scrolled page does not hear of it."""
        widget: QWidget | None = self.badge
        while widget is not None and not isinstance(widget, QScrollArea):
            if widget.layout() is not None:
                widget.layout().invalidate()
            widget.updateGeometry()
            widget = widget.parentWidget()

    # -- what the user does

    @guarded
    def _choose_base(self, index: int) -> None:
        name, repeat = self.base.itemData(index)
        self.state.set_base(name or MEAN, repeat)

    @guarded
    def _choose_mode(self, mode: str) -> None:
        self._set_mode(mode)
        self._want()

    @guarded
    def _change_amplitude(self, value: float) -> None:
        self._exact = None
        self._want()

    @guarded
    def _turn_sign(self) -> None:
        self.amplitude.setValue(-self.amplitude.value())

    @guarded
    def _reset_amplitude(self) -> None:
        self.amplitude.setValue(MODES[self.mode.current][3])

    @guarded
    def _use_largest(self) -> None:
        if self.badge.largest is not None:
            self.amplitude.setValue(_floor(self.badge.largest))

    @guarded
    def _restart(self) -> None:
        self.notice.say("")
        self.restart.emit()

    def _set_mode(self, mode: str, amplitude: float | None = None) -> None:
        _, low, high, first, signs, _ = MODES[mode]
        value = first if amplitude is None else amplitude
        with QSignalBlocker(self.amplitude):
            self.amplitude.setRange(low, high)
            self.amplitude.field.setRange(-max(FARTHEST, abs(value)), max(FARTHEST, abs(value)))
            self.amplitude.setSigns(*signs)
            self.amplitude.setValue(value)
        self._exact = amplitude
        self.strength.setVisible(mode != "silence")

    @guarded
    def _want(self, *_: Any) -> None:
        workspace = self.state.workspace
        if self._quiet or workspace is None or workspace.model is None or not self.state.region.text:
            return
        if self.state.region.problem:
            self.unwanted.emit("choose a region first")
        else:
            self.wanted.emit(self.request())

    @property
    def _split(self) -> str | None:
        """Split of the trials that are the base; None for the test images and the mean of training, where no other is meant."""
        workspace = self.state.workspace
        return None if workspace is None or self.state.base == MEAN or workspace.split == TEST else workspace.split

    def request(self) -> dict[str, Any]:
        """Say what to ask the live decoder for now."""
        state = self.state
        return {
            "stimulus_id": state.base,
            "repeat": state.repeat,
            "split": self._split,
            "region": state.region.text,
            "areas": {name: mask.nonzero()[0].tolist() for name, mask in state.extra.items() if state.mentions(name)},
            "mode": self.mode.current,
            "amplitude": round(self.amplitude.value(), 3) if self._exact is None else self._exact,
            "measure": True,
            "field": self._field,
        }

    # -- records

    def record(self) -> "StimulationRecord | None":
        """Give the record of the stimulated picture that is shown; None if there is none."""
        state = self.state
        return None if state.workspace is None or state.stimulation is None else state.stimulation.record(state.workspace.subject)

    @guarded
    def _save_record(self) -> None:
        from brain2pix.stimulation import write_record

        record = self.record()
        file, _ = QFileDialog.getSaveFileName(self, "Save the record of this stimulation", "stimulation.json", RECORDS)
        if file and record is not None:
            write_record(Path(file), record)

    @guarded
    def _replay_record(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Replay the record of a stimulation", "", RECORDS)
        if file:
            self.replay(Path(file))

    def replay(self, file: Path) -> None:
        """Set base, region, mode and amplitude to what a record says.

        Raises
        ------
        Brain2PixError
            If it cannot be read, or speaks of other voxels than the model's, or of a base that the subject has not.
        """
        from brain2pix.stimulation import check_record, read_record

        record, workspace, info = read_record(file), self.state.workspace, self._info
        if workspace is None or info is None:
            raise MissingDataError("a record is replayed with a model: wait until the model is loaded, or open a trained run")
        check_record(record, info)
        n_trials = int((workspace.subject.trials["stimulus_id"] == record.base).sum())
        if record.base != MEAN and n_trials < (record.repeat or 1):
            what = f"trial {record.repeat} of {record.base!r}" if n_trials else f"stimulus {record.base!r}"
            raise MissingDataError(f"{file.name} starts from {what}, which this subject has not; open the subject that it was made with")
        self._quiet = True
        try:
            if record.base != MEAN and (record.split or TEST) in splits_to_show(workspace.subject):
                self.state.set_split(record.split or TEST)
            self.state.set_base(record.base, record.repeat)
            self.state.set_region(self._region_of(record, info))
            self.mode.set_current(record.mode)
            self._set_mode(record.mode, record.amplitude)
        finally:
            self._quiet = False
        self._want()

    def _region_of(self, record: "StimulationRecord", info: "SubjectInfo") -> str:
        """Expression that selects the recorded voxels: that of the record if it does, else an area of its own."""
        from brain2pix.data.regions import region_mask
        from brain2pix.errors import Brain2PixError

        try:
            same = region_mask(record.region, self.state.workspace.subject.areas)[info.voxel_index]
            if (same == record.mask()).all():
                return record.region
        except Brain2PixError:
            pass  # words of somebody else, or an area that was painted
        return self.state.set_area(RECORDED, info.voxel_index[record.mask()])


def _floor(amplitude: float) -> float:
    """Amplitude in the digits that the field shows, not above it."""
    return int(100 * amplitude) / 100


def _small_button(text: str, meaning: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(meaning)
    button.setAccessibleName(meaning)
    button.setMaximumWidth(button.fontMetrics().horizontalAdvance(text) + 24)
    return button
