"""The choices of an import: those that a format can use, with a button beside each that is a file or a folder."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QMenu, QSizePolicy, QWidget

from brain2pix.config.importing import Choices
from brain2pix.data.readers.uses import uses
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.importing import WORDS
from napari_brain2pix.widgets._fields import Field, fields_of, value_at
from napari_brain2pix.widgets._forms import FIELD_WIDTH, PathField, SettingsForm, make_editor
from napari_brain2pix.widgets._parts import Note

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER, FILE, FILES = "folder", "file", "files"
PLACES = {"masks": (FOLDER,), "own.surfaces": (FOLDER,), "own.regions": (FILES,)}  # other paths are files
BETWEEN = "; "  # paths of several files: a comma may be part of a name
# of one's own files nothing is published; and the unit stands where it is typed
PLACEHOLDERS = {
    ("own", "images"): "a folder, or a stack",
    ("own", "field_of_view_deg"): "degrees",
    ("", "field_of_view_deg"): "degrees, as published",
}
_IF_EMPTY = re.compile(r"(?:None|empty): ([^;]+)$")


class PlaceField(PathField):
    """A file, several files or a folder: typed, or chosen.

    Parameters
    ----------
    field : Field
    kinds : tuple of "file", "files" and "folder", what it may be
    near : callable, gives the folder where a dialog begins
    """

    def __init__(self, field: Field, kinds: tuple[str, ...], near: "Callable[[], Path]") -> None:
        super().__init__(field)
        self._kinds, self._near = kinds, near
        self.button.setToolTip("Choose files; hold Ctrl for several" if kinds == (FILES,) else f"Choose a {' or a '.join(kinds)}")
        self.menu = QMenu(self)
        for kind in kinds if len(kinds) > 1 else ():
            self.menu.addAction(f"Choose a {kind}…").triggered.connect(partial(self._choose_kind, kind))

    def read(self) -> Any:
        """Give absolute paths: the job that gets them runs elsewhere."""
        paths = tuple(str(Path(part.strip()).expanduser().absolute()) for part in self.text.text().split(BETWEEN.strip()) if part.strip())
        return paths if self._kinds == (FILES,) else str(Path(self.text.text().strip()).expanduser().absolute()) if paths else None

    def write(self, value: Any) -> None:
        """Show one path or several."""
        paths = value if isinstance(value, tuple | list) else () if value is None else (value,)
        self.text.setText(BETWEEN.join(map(str, paths)))
        self.text.setToolTip("\n".join(map(str, paths)))

    @guarded
    def _choose(self) -> None:
        if len(self._kinds) > 1:
            self.menu.popup(self.button.mapToGlobal(self.button.rect().bottomLeft()))
        else:
            self._choose_kind(self._kinds[0])

    @guarded
    def _choose_kind(self, kind: str) -> None:
        near = str(self._near())
        if kind == FOLDER:
            chosen: Any = QFileDialog.getExistingDirectory(self, "Choose a folder", near)
        elif kind == FILES:
            chosen, _ = QFileDialog.getOpenFileNames(self, "Choose files", near)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file", near)
        if chosen:
            self.write(chosen)
            self.changed.emit()


class SomeField(QWidget):
    """Some of a few: a box for each."""

    changed = Signal()

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.boxes = {name: QCheckBox(name) for name in names}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box in self.boxes.values():
            row.addWidget(box)
            box.clicked.connect(self._tell)
        row.addStretch(1)

    def read(self) -> Any:
        """Give what is checked."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def write(self, value: Any) -> None:
        """Check some."""
        for name, box in self.boxes.items():
            box.setChecked(name in value)

    def _tell(self) -> None:
        self.changed.emit()


class ChoicesForm(SettingsForm):
    """Choices of an import: those that a format can use, the seldom ones on demand.

    Parameters
    ----------
    near : callable, gives the folder where a dialog begins
    """

    def __init__(self, near: "Callable[[], Path]") -> None:
        super().__init__()
        self.kind = ""
        self._near = near
        self.more.setText("More choices")
        self.reset.setToolTip("Back to what the file says")

    def load_kind(self, kind: str, changes: dict[str, Any]) -> None:
        """Show the choices of a format.

        Parameters
        ----------
        kind : str, name of a reader
        changes : dict, dotted keys that were chosen; those that the format cannot use are dropped
        """
        self.kind = kind
        known = set(uses(kind).every)
        self._base, self._changes = Choices(), {key: value for key, value in changes.items() if key in known}
        every = {field.key: field for field in fields_of(Choices)}
        self._fields = {key: every[key] for key in uses(kind).every}
        self.editors, self.notes = {}, {}
        self.main.clear()
        self.rest.clear()
        self._add(self.main, [self._fields[key] for key in uses(kind).often])
        self.more.setVisible(bool(uses(kind).seldom))
        if self.more.isChecked() or any(key in self._changes for key in uses(kind).seldom):
            self._add_rest()
        self._check()

    def _add(self, rows: Any, fields: list[Field]) -> None:
        for field in fields:
            editor, note = self._editor(field), Note()
            editor.write(self._changes.get(field.key, value_at(self._base, field.key)))
            editor.changed.connect(self._edited)
            rows.add(WORDS.get(field.key, field.title), field, editor, note)
            self.editors[field.key], self.notes[field.key] = editor, note

    def _add_rest(self) -> None:
        if self.rest.empty:
            with QSignalBlocker(self.more):
                self.more.setChecked(True)
            self._add(self.rest, [self._fields[key] for key in uses(self.kind).seldom])
            self.rest.show()

    def _editor(self, field: Field) -> Any:
        """Give what a choice is typed into, or chosen with."""
        words = PLACEHOLDERS.get((self.kind, field.key)) or PLACEHOLDERS.get(("", field.key)) or if_empty(field)
        if field.key in PLACES or field.kind == "path":
            places = uses(self.kind).images if field.key == "images" else PLACES.get(field.key, (FILE,))
            editor: Any = PlaceField(field, places, self._near)
            editor.text.setPlaceholderText(words)
        elif names := _members(field.key):
            editor = SomeField(names)
        else:
            editor = make_editor(field)
            if hasattr(editor, "setPlaceholderText"):
                editor.setPlaceholderText(words)
            return editor
        editor.setAccessibleName(field.key)
        editor.setToolTip(f"{field.help}\n{field.key}")
        editor.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        editor.setMinimumWidth(FIELD_WIDTH)
        return editor


def if_empty(field: Field) -> str:
    """Say what a field means that is left empty."""
    found = _IF_EMPTY.search(field.help)
    return found[1] if found else "none" if field.optional else ""


def _members(key: str) -> tuple[str, ...]:
    """Names that a choice of several may hold; empty where they are not known before."""
    *groups, name = key.split(".")
    if groups:
        return ()
    inner = get_args(Choices.model_fields[name].annotation)
    return tuple(get_args(inner[0])) if inner and inner[-1] is Ellipsis else ()
