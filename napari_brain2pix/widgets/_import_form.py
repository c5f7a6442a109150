"""What an import is asked: which files, what they are and hold, what they cannot tell, and where the subject goes."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from brain2pix.config.base import nest
from brain2pix.data.readers import AUTO, READERS
from brain2pix.data.readers.uses import OWN
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import SIGNS, Check, free_folder
from napari_brain2pix.children.importing import OWN_FILES, Look, found_checks
from napari_brain2pix.widgets._choices_form import ChoicesForm
from napari_brain2pix.widgets._contents_tree import ContentsTree
from napari_brain2pix.widgets._folder_line import FolderLine, path_in
from napari_brain2pix.widgets._import_result import found_rows, remarks
from napari_brain2pix.widgets._parts import Note, row
from napari_brain2pix.widgets.simulate import place_check

if TYPE_CHECKING:
    from napari_brain2pix._state import State

PAUSE_MS = 150  # from the last key to the checks
NOT_LOOKED_AT = frozenset({"missing", "flip_images"})  # choices that change nothing of what is found
INTRO = (
    "Choose the file with the responses, as it was published or as your laboratory keeps it. It is looked into first; nothing is "
    "written before you press Import, and your files are never changed."
)
NEEDS = (
    "Your own files: the <b>responses</b> (4-D NIfTI, HDF5 or .npy); a <b>trial table</b>, TSV or CSV, with one row per response, which "
    "names the picture and, if you have them, split, run and session; the <b>pictures</b>; their size as it was seen (<b>field of "
    "view</b>); and for a matrix the <b>brain mask</b> that gives its columns their places. The rest is optional."
)
CHOOSE = "no file is chosen: press “File…”, or “Folder…” where the files of a subject are one folder"


class ImportForm(QWidget):
    """Fields of an import. Whenever they change, a child process looks into the files, and what stands against an import is said.

    Signals
    -------
    checked : it was looked at again whether an import could begin, see `ready`
    grown : its height has changed

    Parameters
    ----------
    state : State
    """

    checked = Signal()
    grown = Signal()

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.look = Look(state, self)
        self.source, self.kind, self.folder = QLineEdit(), QComboBox(), FolderLine("the new subject", new=True)
        self.file_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        self.found_list = ContentsTree(state)
        self.choices = ChoicesForm(self._near)
        self.needs, self.remarks, self.findings = Note(NEEDS), Note(), Note()
        self.bar = QProgressBar()
        self.found: dict[str, Any] = {}
        self.checks: list[Check] = []
        self.ready = False
        self._looked_with: dict[str, Any] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.check)
        self._fill()
        self._lay_out()
        self._connect()
        self.check()

    def _fill(self) -> None:
        self.kind.addItem("look into the file", AUTO)
        for name, reader in READERS.items():
            self.kind.addItem(OWN_FILES if name == OWN else reader.title, name)
        self.kind.setToolTip("What kind of files they are; most are recognised")
        self.kind.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.source.setPlaceholderText("no file is chosen")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.setRange(0, 0)  # moves to and fro
        for widget in (self.needs, self.choices, self.found_list, self.remarks, self.bar):
            widget.hide()
        names = ((self.source, "Source of the import"), (self.kind, "Kind of the files"), (self.found_list, "What was found in the files"))
        for widget, name in names:
            widget.setAccessibleName(name)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addWidget(Note(INTRO))
        box.addLayout(row(QLabel("Responses"), self.file_button, self.folder_button))
        box.addWidget(self.source)
        box.addLayout(row(QLabel("Kind"), self.kind))
        for widget in (self.needs, self.found_list, self.remarks, self.choices):
            box.addWidget(widget)
        box.addLayout(row(QLabel("Save to"), self.folder, self.folder.browse))
        box.addWidget(self.findings)
        box.addWidget(self.bar)

    def _connect(self) -> None:
        self.source.textEdited.connect(self._change_source)
        self.file_button.clicked.connect(self._choose_file)
        self.folder_button.clicked.connect(self._choose_source_folder)
        self.kind.activated.connect(self._change_source)
        self.choices.changed.connect(self._change_choices)
        self.choices.more.toggled.connect(self.grown)
        self.folder.given.connect(self._timer.start)
        self.look.began.connect(self.check)
        self.look.answered.connect(self._take_answer)

    # -- what is asked for

    @property
    def waits(self) -> bool:
        """Whether it is not known yet what the files are."""
        return bool(self.source.text().strip()) and self.look.busy

    def params(self) -> dict[str, Any]:
        """All that is asked for, as `ImportParams`, JSON values."""
        return {**self._asked(self.found["kind"]), "out": str(self.place())}

    def clear(self) -> None:
        """Ask for other files."""
        self.source.clear()
        self.choices.load_kind(self.choices.kind, {})
        self.folder.forget()
        self._change_source()

    def choose(self, key: str, value: Any) -> None:
        """Change a choice, as the user would."""
        self.choices.load_kind(self.choices.kind, {**self.choices.changes(), key: value})

    def _asked(self, kind: str) -> dict[str, Any]:
        return {"source": str(path_in(self.source)), "kind": kind, **nest(self.choices.changes())}

    # -- which files

    def _near(self) -> Path:
        """Where a dialog begins: beside the files that were chosen."""
        return next((place for place in path_in(self.source).parents if place.is_dir()), Path.home())

    @guarded
    def _choose_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "File to import", str(self._near()))
        self._take_source(chosen)

    @guarded
    def _choose_source_folder(self) -> None:
        self._take_source(QFileDialog.getExistingDirectory(self, "Folder to import", str(self._near())))

    def _take_source(self, chosen: str) -> None:
        if chosen:
            self.source.setText(chosen)
            self._change_source()

    @guarded
    def _change_source(self) -> None:
        """Look at other files, or at the same ones in another way."""
        kind = self.kind.currentData()
        self.found = {}
        self._show_found()
        self._show_choices("" if kind == AUTO else kind)
        self._look_again()

    @guarded
    def _change_choices(self) -> None:
        changed, before = self.choices.changes(), self._looked_with
        if any(changed.get(key) != before.get(key) for key in {*changed, *before} - NOT_LOOKED_AT):
            self._look_again()
        else:
            self.check()

    # -- what they hold

    def _look_again(self) -> None:
        self._looked_with = self.choices.changes()
        if self.source.text().strip() and not self.choices.problem:
            self.look.ask(self._asked(self.kind.currentData()))
        else:
            self.look.drop()
        self.check()

    @guarded
    def _take_answer(self, found: dict[str, Any]) -> None:
        self.found = found
        kind = self.kind.currentData()
        self._show_choices(found["kind"] or ("" if kind == AUTO else kind))
        self._looked_with = self.choices.changes()
        self._show_found()
        self.check()

    def _show_found(self) -> None:
        there = bool(self.found) and "error" not in self.found
        self.found_list.setVisible(there)
        self.remarks.setVisible(there)
        if there:
            self.found_list.show_rows(found_rows(self.found))
            self.remarks.say(remarks(self.found))

    def _show_choices(self, kind: str) -> None:
        if kind and kind != self.choices.kind:
            self.choices.load_kind(kind, self.choices.changes())
        self.choices.setVisible(bool(kind))
        self.needs.setVisible(kind == OWN and (not self.found or "error" in self.found))
        self.grown.emit()

    # -- where it goes

    def place(self) -> Path:
        """Folder of the new subject: what the user wrote, or a free one with a telling name."""
        if self.folder.is_given:
            return self.folder.path()
        name = "-".join(filter(None, (self.found.get("kind"), self.found.get("subject")))) or "imported"
        return free_folder(Path.home() / "brain2pix" / name)

    # -- what stands against it

    @guarded
    def check(self) -> None:
        """Look at all that an import needs, and say it."""
        self._timer.stop()
        self.folder.propose(self.place())
        self.checks = self._checks()
        self.ready = "error" not in self.found and not self.waits and all(check.level != "stop" for check in self.checks)
        self.bar.setVisible(self.waits)
        lines = [f"{SIGNS[check.level]} {escape(check.text)}" for check in self.checks]
        self.findings.say(f"… looking into {escape(path_in(self.source).name)}" if self.waits else "<br>".join(lines))
        self.checked.emit()
        self.grown.emit()

    def _checks(self) -> list[Check]:
        if not self.source.text().strip():
            return [Check("stop", CHOOSE)]
        checks = found_checks(self.found, str(self.choices.changes().get("missing", "error"))) if self.found else []
        if self.choices.problem:
            checks.append(Check("stop", "a choice above is wrong"))
        place = place_check(self.place(), self.found.get("bytes", 0) / 1e6)
        return [*checks, place] if place.level != "good" else checks
