"""What a reproduction is asked: the settings of `brain2pix reproduce`, for the subject that is open."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QGridLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from brain2pix.compute.reproduce.folder import command_of
from brain2pix.config.base import build
from brain2pix.config.reproduce import PAPERS, ReproduceParams
from brain2pix.errors import ConfigError
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.reproducing import free_or_same
from napari_brain2pix.widgets._fields import Field, fields_of
from napari_brain2pix.widgets._folder_line import FolderLine, path_in
from napari_brain2pix.widgets._forms import make_editor
from napari_brain2pix.widgets._parts import row
from napari_brain2pix.widgets.train import ELSEWHERE, runs_folder

if TYPE_CHECKING:
    from napari_brain2pix._state import State

PAUSE_MS = 150  # from the last key to the question
OF_SUBJECT = ("subject", "subject_name")  # the subject that is open
NONE, PROCEDURAL, FOLDER = "none", "procedural", "folder"
LABELS = {
    "method": "Paper",
    "plan": "Plan",
    "gallery": "Gallery",
    "class_column": "Class column",
    "runs": "Runs",
    "device": "Device",
    "workers": "Workers",
    "gpus": "GPUs",
}
PLANS = {"short": "short – few steps, few cells", "paper": "paper – all, as published"}
PLACEHOLDERS = {"runs": "as the plan", "gpus": "no choice"}


class GalleryField(QWidget):
    """No gallery, the simulation's own classes, or a folder with a sub-folder of pictures for each class."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.kind, self.folder, self.button = QComboBox(), QLineEdit(), QPushButton("…")
        for key, words in ((NONE, "none – no classification"), (PROCEDURAL, "procedural – simulated classes"), (FOLDER, "a folder")):
            self.kind.addItem(words, key)
        self.kind.setToolTip(field.help)
        self.kind.setAccessibleName("Gallery of classes")
        self.folder.setAccessibleName("Folder of the gallery")
        self.folder.setPlaceholderText("one sub-folder of pictures for each class")
        self.button.setFixedWidth(28)
        self.button.setAccessibleName("Choose folder of the gallery")
        self.kind.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addWidget(self.kind)
        self.place = QWidget()
        self.place.setLayout(row(self.folder, self.button))
        box.addWidget(self.place)
        self.place.hide()
        self.kind.activated.connect(self._chosen)
        self.folder.textEdited.connect(self._typed)
        self.button.clicked.connect(self._choose)

    def read(self) -> str | None:
        """Give what is chosen, for the settings model."""
        kind = self.kind.currentData()
        return {NONE: None, PROCEDURAL: PROCEDURAL}.get(kind, str(path_in(self.folder)) if self.folder.text().strip() else "")

    def write(self, value: str | None) -> None:
        """Show a value."""
        kind = NONE if value is None else PROCEDURAL if value == PROCEDURAL else FOLDER
        self.kind.setCurrentIndex(self.kind.findData(kind))
        self.folder.setText(value if kind == FOLDER and value else "")
        self.place.setVisible(kind == FOLDER)

    @guarded
    def _chosen(self) -> None:
        self.place.setVisible(self.kind.currentData() == FOLDER)
        self.changed.emit()

    @guarded
    def _typed(self) -> None:
        self.changed.emit()

    @guarded
    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the gallery", self.folder.text() or str(Path.home()))
        if chosen:
            self.folder.setText(chosen)
            self.changed.emit()


class DeviceField(QComboBox):
    """A device of this computer, or one that a server decides about."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.setToolTip(field.help)
        self.setAccessibleName(field.key)
        self.offer(["cpu"])
        self.activated.connect(self._chosen)

    def offer(self, names: list[str]) -> None:
        """Offer devices; what was chosen stays if it is among them."""
        before = self.currentText()
        with QSignalBlocker(self):
            self.clear()
            self.addItems(list(dict.fromkeys(["auto", *names])))
            self.setCurrentIndex(max(self.findText(before), 0))

    def read(self) -> str:
        """Give what is chosen."""
        return str(self.currentText())

    def write(self, value: str) -> None:
        """Show a value."""
        if self.findText(value) < 0:
            self.addItem(value)
        self.setCurrentIndex(self.findText(value))

    @guarded
    def _chosen(self) -> None:
        self.changed.emit()


class ReproduceForm(QWidget):
    """Settings of a reproduction, and where it goes.

    Signals
    -------
    changed : the user has changed something, or another subject is open
    grown : its height has changed

    Parameters
    ----------
    state : State, its subject is the one
    """

    changed = Signal()
    grown = Signal()

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.editors: dict[str, Any] = {field.key: _editor(field) for field in fields_of(ReproduceParams) if field.key not in OF_SUBJECT}
        self.folder = FolderLine("the evaluation")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.changed)
        self._fill()
        self._lay_out()
        self._connect()

    def _fill(self) -> None:
        for key, words in (("method", PAPERS), ("plan", PLANS)):
            box = self.editors[key]
            for number in range(box.count()):
                box.setItemText(number, words[box.itemData(number)])
        for key, words in PLACEHOLDERS.items():
            self.editors[key].setPlaceholderText(words)
        for key, editor in self.editors.items():
            editor.write(ReproduceParams.model_fields[key].default)
        self.folder.setToolTip("Runs, tables and report; the same folder goes on")

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        places = {"method": (0, 0), "plan": (1, 0), "gallery": (2, 0), "class_column": (3, 0), "runs": (4, 0), "device": (4, 2)}
        places |= {"workers": (5, 0), "gpus": (5, 2)}
        for key, (line, column) in places.items():
            editor, label = self.editors[key], QLabel(LABELS[key])
            label.setToolTip(editor.toolTip())
            grid.addWidget(label, line, column)
            grid.addWidget(editor, line, column + 1, 1, 1 if line >= 4 else 3)
            editor.setMinimumWidth(60)
            editor.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # both columns get the same room
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addLayout(grid)
        box.addLayout(row(QLabel("Folder"), self.folder, self.folder.browse))

    def _connect(self) -> None:
        for editor in self.editors.values():
            editor.changed.connect(self._edited)
        self.folder.given.connect(self._timer.start)
        self.state.opened.connect(self._subject_opened)

    # -- what is asked for

    def params(self) -> ReproduceParams:
        """All that is asked for.

        Raises
        ------
        ConfigError
            If no subject is open, or a setting is wrong.
        """
        workspace = self.state.workspace
        if workspace is None:
            raise ConfigError("no subject is open: open one in the step Data")
        values = {key: editor.read() for key, editor in self.editors.items()}
        if values["gallery"] == "":
            raise ConfigError("choose the folder of the gallery, or “none”")
        return build(ReproduceParams, {**values, "subject": workspace.subject_folder, "subject_name": workspace.subject.path.name})

    def place(self, params: ReproduceParams) -> Path:
        """Folder that the user wrote; else a free one with a telling name, or the one where this very evaluation was begun."""
        if self.folder.is_given:
            return self.folder.path()
        name = f"{params.subject.name}-reproduce-{params.method}-{params.plan}"
        return free_or_same(runs_folder(params.subject) / name, params, params.subject / str(params.subject_name))

    def show_place(self, out: Path, params: ReproduceParams) -> None:
        """Show the folder, and the command that does the same."""
        self.folder.propose(out)
        self.folder.setToolTip(f"{out}\nThe same from a terminal: brain2pix {' '.join(command_of(params, out))}")

    def offer_devices(self, names: list[str], elsewhere: bool) -> None:
        """Offer the devices of this computer, or, where another one computes, what it decides itself."""
        self.editors["device"].offer(ELSEWHERE if elsewhere else names)

    # -- what the user does

    @guarded
    def _edited(self) -> None:
        self.editors["class_column"].setEnabled(self.editors["gallery"].read() is not None)
        self.grown.emit()
        self._timer.start()

    @guarded
    def _subject_opened(self) -> None:
        self.folder.forget()
        self._timer.start()


def _editor(field: Field) -> Any:
    """Give what a setting is typed into."""
    special = {"gallery": GalleryField, "device": DeviceField}.get(field.key)
    return make_editor(field) if special is None else special(field)
