"""Simulate a subject: how large, which seed, where; then wait for it, or stop it."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import SIGNS, Check, free_folder
from napari_brain2pix.widgets._folder_line import FolderLine
from napari_brain2pix.widgets._parts import Note, row

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.simulate import SampleMaker

PAUSE_MS = 150  # from the last key to the checks
LARGEST_SEED = 2**31 - 1
# What cannot be read off the settings: voxels of the regions on this anatomy, and how long it takes on two cores.
VOXELS = {4.0: 1280, 2.5: 3598, 2.0: 6445}
TAKES = {"tiny": "20 seconds", "demo": "1 minute", "hard": "1 minute", "full": "3 minutes"}
FOR = {
    "tiny": "for trying things out",
    "demo": "what the scores of the documentation are made on",
    "hard": "like “demo”, with noise as strong as in published 3 T data",
    "full": "the size of the published systems; train on it with a graphics card",
}
# Share of the time that is over when a stage begins.
STAGES = {"anatomy": 0.0, "images": 0.2, "unpaired images": 0.4, "responses": 0.75, "trials": 0.85, "files": 0.9}
ANATOMY_BYTES = 5e6


class SimulateForm(QWidget):
    """Form that simulates a subject in a child process, and opens it.

    It can be shown or hidden at any time: a simulation that is going on is not disturbed, and shows its progress when the form is back.

    Signals
    -------
    made : str, folder of the new subject, after it was opened
    busy_changed : bool, whether a subject is being simulated
    closed : the user wants the form away (only while nothing is being simulated)

    Parameters
    ----------
    state : State; the subject is opened with it
    maker : SampleMaker, whose `simulation` does the work
    """

    made = Signal(str)
    busy_changed = Signal(bool)
    closed = Signal()

    def __init__(self, state: "State", maker: "SampleMaker") -> None:
        super().__init__()
        self.state, self.simulation = state, maker.simulation
        self.preset, self.seed, self.folder = QComboBox(), QSpinBox(), FolderLine("the simulated subject", new=True)
        self.about, self.finding = Note(), Note()
        self.bar = QProgressBar()
        self.start_button, self.cancel_button = QPushButton("Simulate"), QPushButton("Close")
        self.check = Check("good", "")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.look)
        self._fill()
        self._lay_out()
        self._connect()
        self._describe()

    def _fill(self) -> None:
        for name in TAKES:
            self.preset.addItem(name)
        self.seed.setRange(0, LARGEST_SEED)
        self.seed.setToolTip("Changes crops, receptive fields and noise; the same seed gives the same subject")
        self.folder.setToolTip("A folder that does not exist yet, or is empty; the truth goes beside it")
        for widget, name in ((self.preset, "Size"), (self.seed, "Seed")):
            widget.setAccessibleName(f"{name} of the simulated subject")
        self.bar.setAccessibleName("Progress of the simulation")
        self.bar.setRange(0, 1000)
        self.bar.hide()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow("Size", self.preset)
        form.addRow("Seed", self.seed)
        form.addRow("Folder", row(self.folder, self.folder.browse))
        box.addLayout(form)
        box.addWidget(self.about)
        box.addWidget(self.finding)
        box.addWidget(self.bar)
        box.addLayout(row(self.start_button, self.cancel_button))

    def _connect(self) -> None:
        self.preset.activated.connect(self._chosen)
        self.seed.valueChanged.connect(self._chosen)
        self.folder.given.connect(self._timer.start)
        self.start_button.clicked.connect(self._start)
        self.cancel_button.clicked.connect(self._cancel)
        self.simulation.progressed.connect(self._show_progress)
        self.simulation.ended.connect(self._ended)

    # -- what is asked for

    def place(self) -> Path:
        """Folder of the new subject: what the user wrote, or a free one with a telling name."""
        if self.folder.is_given:
            return self.folder.path()
        return free_folder(Path.home() / "brain2pix" / f"simulated-{self.preset.currentText()}-{self.seed.value()}")

    @guarded
    def _chosen(self) -> None:
        self._describe()

    def _describe(self) -> None:
        """Say what the chosen size means, and look at its folder."""
        name = self.preset.currentText()
        self.about.say(f"{describe_size(name)}; {FOR[name]}. Takes about {TAKES[name]} and {megabytes(name):,.0f} MB.")
        self.folder.propose(self.place())
        self.look()

    @guarded
    def look(self) -> None:
        """Look at the folder and the disk, and say above the buttons what stands against it."""
        self._timer.stop()
        if self.simulation.busy:
            return
        self.check = place_check(self.place(), megabytes(self.preset.currentText()))
        self._say(self.check)
        self.start_button.setEnabled(self.check.level != "stop")

    def _say(self, check: Check) -> None:
        self.finding.say("" if check.level == "good" else f"{SIGNS[check.level]} {check.text}")

    # -- what happens

    @guarded
    def _start(self) -> None:
        self.look()
        if self.check.level == "stop":
            return
        self.simulation.start(self.place(), self.preset.currentText(), self.seed.value())
        self.bar.setValue(0)
        self.bar.setFormat("starting …")
        self._show_busy(True)

    @guarded
    def _cancel(self) -> None:
        if not self.simulation.busy:
            self.closed.emit()
            return
        self.simulation.cancel()
        self.bar.setFormat("stopping …")
        self.cancel_button.setText("Stop now")

    @guarded
    def _show_progress(self, stage: str, done: int, total: int) -> None:
        begins = STAGES.get(stage)
        if begins is None or self.cancel_button.text() == "Stop now":
            return
        ends = min((share for share in (*STAGES.values(), 1.0) if share > begins), default=1.0)
        self.bar.setValue(round(1000 * (begins + (ends - begins) * done / max(total, 1))))
        self.bar.setFormat(f"{stage} – %p %")

    @guarded
    def _ended(self, how: str, folder: str, error: str) -> None:
        self._show_busy(False)
        if how == "finished":
            self.folder.forget()
            self.state.open(Path(folder))
            self._describe()
            self.made.emit(folder)
            return
        self.look()
        if how == "cancelled":
            self._say(Check("mind", "Cancelled; nothing was left behind."))
        else:
            self._say(Check("stop", error))

    def _show_busy(self, busy: bool) -> None:
        for widget in (self.preset, self.seed, self.folder, self.folder.browse):
            widget.setEnabled(not busy)
        self.start_button.setVisible(not busy)
        self.cancel_button.setText("Cancel" if busy else "Close")
        self.bar.setVisible(busy)
        if busy:
            self.finding.say("")
        self.busy_changed.emit(busy)


def size_of(preset: str) -> tuple[SimulationSettings, int, int]:
    """Give settings, voxels and trials of a preset."""
    settings = resolve(SimulationSettings, "simulation", preset)
    repeated = (settings.n_test + settings.n_validation) * settings.n_repeats + settings.n_category_test * settings.n_category_repeats
    return settings, VOXELS[settings.voxel_mm], settings.n_train + settings.n_category_train + repeated


def describe_size(preset: str) -> str:
    """Say a preset in one line."""
    settings, n_voxels, n_trials = size_of(preset)
    return f"{n_voxels:,} voxels of {settings.voxel_mm:g} mm, {n_trials:,} trials, images of {settings.image_size} px"


def megabytes(preset: str) -> float:
    """Say how much room a preset needs on disk."""
    settings, n_voxels, n_trials = size_of(preset)
    pixels = 3 * settings.image_size**2
    n_images = settings.n_train + settings.n_category_train + settings.n_test + settings.n_validation + settings.n_category_test
    return (4 * n_voxels * n_trials + pixels * (n_images + settings.n_unpaired) + ANATOMY_BYTES) / 1e6


def place_check(folder: Path, need_mb: float) -> Check:
    """Whether a subject can be written to a folder, its truth beside it."""
    for place in (folder, folder.with_name(f"{folder.name}-truth")):
        if place.exists() and not place.is_dir():
            return Check("stop", f"{place} is a file; choose another folder")
        if place.is_dir() and any(place.iterdir()):
            return Check("stop", f"{place} exists and is not empty; choose another folder")
    above = next((place for place in folder.parents if place.exists()), None)
    if above is None or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return Check("stop", f"{above or folder} cannot be written to; choose another folder")
    free_mb = shutil.disk_usage(above).free / 1e6
    if free_mb < need_mb:
        return Check("stop", f"{free_mb:,.0f} MB are free there, {need_mb:,.0f} MB are needed; choose another disk, or a smaller size")
    return Check("good", f"{free_mb:,.0f} MB free")
