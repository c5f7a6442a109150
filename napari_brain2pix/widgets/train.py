"""Train a system on the opened subject: which, with what settings, where, and whether anything stands against it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from brain2pix.compute.engine.states import standing_of
from brain2pix.compute.spec import JobSpec
from brain2pix.config.base import Settings, build, nest, preset_names
from brain2pix.config.preparation import PreparationSettings
from brain2pix.config.run import TrainParams
from brain2pix.data.regions import default_region
from brain2pix.errors import ConfigError
from brain2pix.methods.registry import METHODS, resolve_settings
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import SIGNS, Check, free_folder, training_checks
from napari_brain2pix.children.engine import LOCAL, PLAIN
from napari_brain2pix.children.jobs import RESUMABLE
from napari_brain2pix.widgets._fields import fields_of
from napari_brain2pix.widgets._folder_line import FolderLine
from napari_brain2pix.widgets._forms import SettingsForm, make_editor
from napari_brain2pix.widgets._parts import Note, row

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.devices import DeviceQuestion
    from napari_brain2pix.children.jobs import JobRunner
    from napari_brain2pix.folders.workspace import Workspace

PAUSE_MS = 150  # from the last key to the checks
ASIDE = ("seed", "image_size")  # of the job's own parameters, what the form asks for
FIRST_PRESET = "demo"
ELSEWHERE = ["auto", "cpu", "cuda"]  # devices of a server: it knows best which it has


class _Prepared(Settings):
    """The group of `TrainParams` that has a form of its own."""

    prepare: PreparationSettings = PreparationSettings()


class TrainPanel(QWidget):
    """The step between a subject and its maps.

    Signals
    -------
    another_wanted : the subject cannot be trained on, the user wants another

    Parameters
    ----------
    state : State
    runner : JobRunner
    devices : DeviceQuestion
    """

    another_wanted = Signal()

    def __init__(self, state: "State", runner: "JobRunner", devices: "DeviceQuestion") -> None:
        super().__init__()
        self.state, self.runner, self.devices = state, runner, devices
        self.method, self.preset, self.device = QComboBox(), QComboBox(), QComboBox()
        self.region, self.folder = QLineEdit(), FolderLine("the run")
        self.inductive = QCheckBox("Keep test responses out (inductive)")
        self.aside = {field.key: make_editor(field) for field in fields_of(TrainParams) if field.key in ASIDE}
        self.form, self.preparation = SettingsForm(), SettingsForm()
        self.findings = Note()
        self.start_button, self.stop_button = QPushButton("Start training"), QPushButton("Stop")
        self.resume_button, self.another = QPushButton("Resume"), QPushButton("Open another subject…")
        self.checks: list[Check] = []
        self._devices_here = ["cpu"]
        self._room = (0, False)  # jobs that go on, and whether one more may wait
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._check)
        self._fill()
        self._lay_out()
        self._connect()
        self.setEnabled(False)  # until there is something to train on

    def _fill(self) -> None:
        for name, entry in METHODS.items():
            self.method.addItem(f"{name} – {entry.title}", name)
        self.device.addItem("cpu")
        self.device.setToolTip("Where to compute. Graphics cards are looked for when this panel opens.")
        self.inductive.setToolTip(
            "Otherwise systems that can learn from responses without images use those of the test trials (transductive)"
        )
        self.region.setToolTip("Areas joined by + or | (union), & (both), - (without)")
        self.folder.setToolTip("The run folder: settings, record, checkpoints and the trained model")
        self.preparation.load(_Prepared())
        self.preparation.more.setText("Preparation of responses")
        self.preparation.more.setToolTip("z-scores, averages over repeats, choice of voxels; all later steps use the same z-scores")
        for key, editor in self.aside.items():
            editor.write(TrainParams.model_fields[key].default)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addLayout(self._grid())
        box.addWidget(self.form)
        box.addWidget(self.preparation)
        box.addWidget(self.inductive)
        box.addLayout(row(QLabel("Output"), self.folder, self.folder.browse))
        box.addWidget(self.findings)
        box.addWidget(self.another)
        box.addLayout(row(self.start_button, self.stop_button, self.resume_button))

    def _grid(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(5)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        places: tuple[tuple[str, Any, int, int, int], ...] = (
            ("Method", self.method, 0, 0, 3),
            ("Preset", self.preset, 1, 0, 1),
            ("Device", self.device, 1, 2, 1),
            ("Seed", self.aside["seed"], 2, 0, 1),
            ("Image", self.aside["image_size"], 2, 2, 1),
            ("Region", self.region, 3, 0, 3),
        )
        for words, widget, line, column, span in places:
            grid.addWidget(QLabel(words), line, column)
            grid.addWidget(widget, line, column + 1, 1, span)
            widget.setAccessibleName(words)
            widget.setMinimumWidth(70)
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # both columns get the same room
        self.aside["image_size"].setPlaceholderText("as it is")
        return grid

    def _connect(self) -> None:
        self.method.activated.connect(self._choose_method)
        self.preset.activated.connect(self._choose_preset)
        self.device.activated.connect(self._changed)
        self.region.textEdited.connect(self._changed)
        self.inductive.toggled.connect(self._changed)
        self.folder.given.connect(self._changed)
        self.form.changed.connect(self._changed)
        self.preparation.changed.connect(self._changed)
        for editor in self.aside.values():
            editor.changed.connect(self._changed)
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self._stop)
        self.resume_button.clicked.connect(self._resume)
        self.another.clicked.connect(self.another_wanted)
        self.state.opened.connect(self._show)
        self.state.step_changed.connect(self._come)
        self.devices.answered.connect(self._show_devices)
        self.runner.changed.connect(self._job_changed)
        if self.runner.engine is not None:
            self.runner.engine.table.connect(self._room_changed)
            self.runner.engine.standing_changed.connect(self._room_changed)

    # -- what is shown

    @guarded
    def _come(self, step: str) -> None:
        """Look around when the user comes to this step."""
        if step == "train" and self.state.workspace is not None:
            self.devices.ask()
            self._check()

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self.folder.forget()
        with QSignalBlocker(self.region):
            self.region.setText(default_region(workspace.subject.areas))
        self.setEnabled(True)
        if not self.form.editors:
            self._choose_method()
        self._come(self.state.step)

    @guarded
    def _show_devices(self, names: list[str]) -> None:
        self._devices_here = names
        self._fill_devices()

    def _fill_devices(self) -> None:
        """Offer the devices of this computer, or, where another one computes, what it decides itself."""
        names = ELSEWHERE if self._elsewhere else self._devices_here
        before = self.device.currentText()
        with QSignalBlocker(self.device):
            self.device.clear()
            self.device.addItems(names)
            best = next((name for name in names if name.startswith(("auto", "cuda"))), names[0])
            self.device.setCurrentText(before if before in names and before != "cpu" else best)
        self._changed()

    @property
    def _elsewhere(self) -> bool:
        return self.runner.engine is not None and self.runner.engine.place not in (LOCAL, PLAIN)

    @guarded
    def _job_changed(self, folder: str, standing: str) -> None:
        self._check()

    @guarded
    def _room_changed(self) -> None:
        room = (self.runner.n_going, self.runner.queues)
        if room != self._room:
            self._room = room
            self._check()
        if self._elsewhere != (self.device.itemText(0) == ELSEWHERE[0]):
            self._fill_devices()

    @property
    def _may_start(self) -> bool:
        """Whether there is room for one more job: a server lets it wait."""
        return self.runner.queues or not self.runner.busy

    def _show_buttons(self) -> None:
        busy = self.runner.busy
        stopped = not busy and self.runner.standing in RESUMABLE and self.runner.job.get("kind") == "train"
        self.start_button.setEnabled(self._may_start and not any(check.level == "stop" for check in self.checks))
        self.stop_button.setVisible(busy)
        self.stop_button.setText("Stop now" if self.runner.standing == "stopping" else "Stop")
        self.resume_button.setVisible(stopped)
        self.resume_button.setToolTip(f"Go on with {self.runner.folder}" if stopped else "")

    # -- what the user does

    @guarded
    def _choose_method(self) -> None:
        method = self.method.currentData()
        presets = preset_names(method)
        with QSignalBlocker(self.preset):
            self.preset.clear()
            self.preset.addItems(presets)
            self.preset.setCurrentText(FIRST_PRESET if FIRST_PRESET in presets else presets[0])
        self.method.setToolTip(METHODS[method].title)
        self._choose_preset()

    @guarded
    def _choose_preset(self) -> None:
        self.form.load(resolve_settings(self.method.currentData(), self.preset.currentText()))
        self._changed()

    @guarded
    def _changed(self, *_: Any) -> None:
        self._timer.start()

    @guarded
    def start(self) -> None:
        """Start the training as it is asked for, if nothing stands against it."""
        self._check()
        problems = [check.text for check in self.checks if check.level == "stop"]
        if problems:
            raise ConfigError(problems[0])
        self.runner.start(self.spec())

    @guarded
    def _stop(self) -> None:
        self.runner.stop()

    @guarded
    def _resume(self) -> None:
        self.runner.resume()

    # -- the job

    def spec(self) -> JobSpec:
        """Give the job as it is asked for now."""
        workspace = self.state.workspace
        if workspace is None:
            raise ConfigError("open a subject first")
        params = {
            "subject": str(workspace.subject_folder),
            "subject_name": workspace.subject.path.name,
            "method": self.method.currentData(),
            "preset": self.preset.currentText(),
            "settings": self.form.changes(),
            "region": self.region.text().strip() or default_region(workspace.subject.areas),
            "device": self.device.currentText(),
            "repeats_split": None if self.inductive.isChecked() else "test",
            **{key: editor.read() for key, editor in self.aside.items()},
            **nest(self.preparation.changes()),
        }
        # the job's own model reads what was typed, and complains in its own words
        checked = build(TrainParams, params).model_dump(mode="json")
        asked = {key: checked[key] for key in params}
        return JobSpec("train", asked, self._folder(workspace, asked))

    def _folder(self, workspace: "Workspace", params: dict[str, Any]) -> Path:
        """Folder that the user wrote, or a free one with a telling name, or the one where this very run was interrupted."""
        if self.folder.is_given:
            return self.folder.path()
        name = f"{workspace.subject_folder.name}-{params['method']}-{params['preset']}-{params['seed']}"
        wanted = runs_folder(workspace.subject_folder) / name
        # an interrupted run of the same settings is gone on with
        if wanted.exists() and standing_of(JobSpec("train", params, wanted)) in RESUMABLE:
            return wanted
        return free_folder(wanted)

    @guarded
    def _check(self) -> None:
        """Look at everything that a training needs, and say it above the button."""
        self._timer.stop()
        workspace = self.state.workspace
        if workspace is None or self.state.step != "train":
            return
        try:
            spec = self.spec()
        except ConfigError as error:
            self.checks = [Check("stop", str(error))]
        else:
            self.checks = training_checks(workspace.subject, spec) if self._may_start else self.checks
            if self._may_start:
                self.folder.propose(spec.folder)
        if self.form.problem or self.preparation.problem:
            self.checks = [*self.checks, Check("stop", "a setting above is wrong")]
        lines = [f"{SIGNS[check.level]} {check.text}" for check in self.checks]
        if not self._may_start:
            lines = ["A job is going on, see the Jobs tab; one runs at a time."]
        elif n_going := self.runner.n_going:
            they_are, them = ("job is", "it") if n_going == 1 else ("jobs are", "them")
            lines.append(f"… {n_going} {they_are} going on; this one waits for {them}")
        self.findings.say("<br>".join(lines))
        self.another.setVisible(any(check.level == "stop" and check.text.startswith("no training pairs") for check in self.checks))
        self._show_buttons()


def runs_folder(subject: Path) -> Path:
    """Where runs of a subject go: beside it, or into the home where that cannot be written to."""
    return subject.parent / "runs" if os.access(subject.parent, os.W_OK) else Path.home() / "brain2pix-runs"
