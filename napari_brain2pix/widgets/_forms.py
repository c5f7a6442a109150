"""Forms made from the settings models, so that window and command line never offer different settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from brain2pix.config.base import merge, nest
from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._fields import Field, fields_of, title_of, value_at
from napari_brain2pix.widgets._parts import Note

if TYPE_CHECKING:
    from brain2pix.config.base import Settings

LARGEST = 2**31 - 1  # that a spin box holds
NONE = "none"
FIELD_WIDTH = 120  # px


class IntField(QSpinBox):
    """A whole number; the wheel scrolls the panel unless the field is being edited."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.setRange(int(-LARGEST if field.low is None else field.low), int(LARGEST if field.high is None else min(field.high, LARGEST)))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setGroupSeparatorShown(True)
        self.valueChanged.connect(self._tell)

    def read(self) -> Any:
        """Give what is in the field, for the settings model."""
        return self.value()

    def write(self, value: Any) -> None:
        """Show a value."""
        self.setValue(int(value))

    @guarded
    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _tell(self, value: int) -> None:
        self.changed.emit()


class TextField(QLineEdit):
    """Everything that is typed: numbers with any exponent, several numbers, what may be left out."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field
        if field.optional:
            self.setPlaceholderText(NONE)
        self.textEdited.connect(self._tell)

    def read(self) -> Any:
        """Give what is in the field; numbers are left as text, which the settings model reads and complains about."""
        text = self.text().strip()
        if self._field.kind == "tuple":
            return tuple(part.strip() for part in text.strip("()").split(",") if part.strip())
        if self._field.optional and text.lower() in ("", NONE):
            return None
        return text

    def write(self, value: Any) -> None:
        """Show a value."""
        parts = value if isinstance(value, tuple) else () if value is None else (value,)
        self.setText(", ".join(f"{part:g}" if isinstance(part, float) and float(f"{part:g}") == part else str(part) for part in parts))
        self.setCursorPosition(0)

    def _tell(self, text: str) -> None:
        self.changed.emit()


class PathField(QWidget):
    """A file: typed, or chosen."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.text = TextField(field)
        self.button = QPushButton("…")
        self.button.setFixedWidth(28)
        self.button.setAccessibleName(f"Choose {field.title}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(self.text, 1)
        row.addWidget(self.button)
        self.setFocusProxy(self.text)
        self.text.changed.connect(self.changed)
        self.button.clicked.connect(self._choose)

    def read(self) -> Any:
        """Give what is in the field, for the settings model."""
        return self.text.read()

    def write(self, value: Any) -> None:
        """Show a value."""
        self.text.write(None if value is None else str(value))

    @guarded
    def _choose(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Choose a file", str(Path.cwd()))
        if file:
            self.write(file)
            self.changed.emit()


class SwitchField(QCheckBox):
    """Yes or no."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.toggled.connect(self._tell)

    def read(self) -> Any:
        """Give what is chosen."""
        return self.isChecked()

    def write(self, value: Any) -> None:
        """Show a value."""
        self.setChecked(bool(value))

    def _tell(self, on: bool) -> None:
        self.changed.emit()


class ChoiceField(QComboBox):
    """One of a few."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        for choice in ((None,) if field.optional else ()) + field.choices:
            self.addItem(NONE if choice is None else str(choice).replace("_", " "), choice)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.activated.connect(self._tell)

    def read(self) -> Any:
        """Give what is chosen."""
        return self.currentData()

    def write(self, value: Any) -> None:
        """Show a value."""
        self.setCurrentIndex(max(self.findData(value), 0))

    @guarded
    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel."""
        event.ignore()

    def _tell(self, index: int) -> None:
        self.changed.emit()


def make_editor(field: Field) -> Any:
    """Give what a setting is typed into: it has `read`, `write` and `changed`."""
    if field.kind == "int" and not field.optional:
        editor: Any = IntField(field)
    else:
        editor = {"bool": SwitchField, "choice": ChoiceField, "path": PathField}.get(field.kind, TextField)(field)
    editor.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    editor.setMinimumWidth(FIELD_WIDTH if field.kind != "bool" else 0)
    editor.setAccessibleName(field.key)
    editor.setToolTip(_tip(field))
    return editor


class SettingsForm(QWidget):
    """The settings of a model over what a preset says of them: the main ones, and the rest on demand.

    Signals
    -------
    changed : the user changed a setting
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.editors: dict[str, Any] = {}
        self.notes: dict[str, Note] = {}
        self.problem = ""
        self._fields: dict[str, Field] = {}
        self._base: Settings | None = None
        self._changes: dict[str, Any] = {}
        self.main, self.rest = _Rows(), _Rows()
        self.more = QPushButton("More settings")
        self.more.setCheckable(True)
        self.reset = QPushButton("Reset")
        self.reset.setToolTip("Back to what the preset says")
        self.general = Note()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addWidget(self.main)
        box.addWidget(self.general)
        buttons = QHBoxLayout()
        buttons.addWidget(self.more, 1)
        buttons.addWidget(self.reset)
        box.addLayout(buttons)
        box.addWidget(self.rest)
        self.rest.hide()
        self.more.toggled.connect(self._show_more)
        self.reset.clicked.connect(self._reset)

    def load(self, base: "Settings", changes: dict[str, Any] | None = None) -> None:
        """Show the settings of a model.

        Parameters
        ----------
        base : Settings, what the preset says
        changes : dict or None, dotted keys that differ from it
        """
        self._base, self._changes = base, dict(changes or {})
        self._fields = {field.key: field for field in fields_of(type(base))}
        self.editors, self.notes = {}, {}
        self.rest.clear()
        self.main.clear()
        # most of a form's rows are never looked at, and making them takes a tenth of a second
        self._add(self.main, [field for field in self._fields.values() if field.is_main])
        if self.more.isChecked() or any(not self._fields[key].is_main for key in self._changes if key in self._fields):
            self._add_rest()
        self.more.setVisible(any(not field.is_main for field in self._fields.values()))
        self._check()

    def changes(self) -> dict[str, Any]:
        """Give what differs from the preset: dotted keys to JSON values."""
        return dict(self._changes)

    def values(self) -> "Settings | None":
        """Give all settings as they are now; None while one of them is wrong."""
        return None if self._base is None or self.problem else self._base.with_changes(self._changes)

    # -- rows

    def _add(self, rows: "_Rows", fields: list[Field]) -> None:
        group = ""
        for field in fields:
            if rows is self.rest and field.group != group:
                group = field.group
                rows.add_heading(" › ".join(title_of(part) for part in group.split(".")))
            editor, note = make_editor(field), Note()
            editor.write(self._changes.get(field.key, value_at(self._base, field.key)))
            editor.changed.connect(self._edited)
            words = field.title if rows is self.rest or not field.group else f"{title_of(field.group)}: {field.title}"
            rows.add(words, field, editor, note)
            self.editors[field.key], self.notes[field.key] = editor, note

    def _add_rest(self) -> None:
        if not self.rest.empty:
            return
        with QSignalBlocker(self.more):
            self.more.setChecked(True)
        self._add(self.rest, [field for field in self._fields.values() if not field.is_main])
        self.rest.show()

    @guarded
    def _show_more(self, on: bool) -> None:
        if on:
            self._add_rest()
        self.rest.setVisible(on)

    # -- values

    @guarded
    def _reset(self) -> None:
        for key, editor in self.editors.items():
            with QSignalBlocker(editor):
                editor.write(value_at(self._base, key))
        self._edited()

    @guarded
    def _edited(self) -> None:
        self._check()
        self.changed.emit()

    def _check(self) -> None:
        """Let the model judge what was typed, and show its own words under the field."""
        if self._base is None:
            return
        typed = {key: editor.read() for key, editor in self.editors.items()}
        errors: dict[str, str] = {}
        try:
            values = type(self._base).model_validate(merge(self._base.model_dump(), nest(typed)))
        except ValidationError as error:
            for problem in error.errors():
                where = ".".join(str(part) for part in problem["loc"])
                key = next((key for key in typed if where == key or where.startswith(f"{key}.")), "")
                errors.setdefault(key, _sentence(problem["msg"]))
        else:
            plain = values.model_dump(mode="json")
            self._changes = {key: _at(plain, key) for key in typed if value_at(values, key) != value_at(self._base, key)}
        self.problem = "; ".join(f"{key}: {words}" if key else words for key, words in errors.items())
        for key, note in self.notes.items():
            note.say(f"⚠ {errors[key]}" if key in errors else "")
        self.general.say(f"⚠ {errors['']}" if "" in errors else "")
        self.reset.setVisible(bool(self._changes) or bool(errors))


class _Rows(QWidget):
    """Names at the left, fields at the right, a line for what is wrong below."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)

    @property
    def empty(self) -> bool:
        return self._grid.count() == 0

    def clear(self) -> None:
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()

    def add_heading(self, text: str) -> None:
        label = QLabel(f"<b>{text}</b>")
        label.setContentsMargins(0, 8, 0, 0)
        self._grid.addWidget(label, self._grid.rowCount(), 0, 1, 2)

    def add(self, words: str, field: Field, editor: Any, note: Note) -> None:
        label = QLabel(f"{words} <small>[{field.unit}]</small>" if field.unit else words)
        label.setWordWrap(True)
        label.setToolTip(_tip(field))
        label.setBuddy(editor)
        row = self._grid.rowCount()
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(editor, row, 1)
        self._grid.addWidget(note, row + 1, 0, 1, 2)
        for widget in (label, editor):
            widget.ensurePolished()  # napari's style makes them larger, and the layout is not told when it comes later


def _tip(field: Field) -> str:
    unit = f" [{field.unit}]" if field.unit else ""
    lines = [field.help + unit, field.range_text, "empty: none" if field.optional else "", field.key]
    return "\n".join(line for line in lines if line)


def _sentence(message: str) -> str:
    """Pydantic's words without its prefix for errors of our own."""
    return message.removeprefix("Value error, ")


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
