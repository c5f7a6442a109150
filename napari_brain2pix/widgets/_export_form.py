"""The fields of the export dialog: what, in which form, and where."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from brain2pix.config.export import COLUMNS_MM, FORMATS, SURFACES
from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._parts import Note, Section

# key: title, what of the command it stands for
ITEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "map": ("The map shown now, on cortex", ("maps",)),
    "maps": ("All maps, and the coverage of the visual field", ("maps", "coverage")),
    "accuracy": ("How well responses are predicted, beside the noise ceiling", ("accuracy",)),
    "reconstructions": ("Stimuli and reconstructions, with scores", ("reconstructions",)),
    "stimulation": ("The stimulation shown now", ("stimulation",)),
    "canvas": ("The canvas as it is (PNG)", ()),
    "map-files": ("Maps as files: NIfTI, GIFTI, MGZ, TSV", ("map-files",)),
    "scores": ("Scores: figure, JSON, TSV, Markdown", ("scores",)),
    "record": ("Record of the stimulation (JSON)", ("record",)),
}
FIRST_CHECKED = ("map", "reconstructions", "scores")
OTHER = "Other width"
WIDTHS = {"Double column, 183 mm": COLUMNS_MM["double"], "Single column, 89 mm": COLUMNS_MM["single"], OTHER: None}
CORTEX = {"Inflated and flat": SURFACES, "Inflated": ("inflated",), "Flat": ("flat",)}
BACKGROUNDS = {"White background": "white", "Transparent background": "transparent"}
SCALES = {"Canvas size": 1, "Twice the canvas size": 2, "Four times the canvas size": 4}


class ExportForm(QWidget):
    """Boxes and fields of an export.

    Signals
    -------
    changed : after the user has chosen something that decides whether there is something to do
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, QCheckBox] = {}
        self.reasons: dict[str, Note] = {}
        self._wanted = set(FIRST_CHECKED)  # what the user wants, also while it is not there
        self._folder_is_ours = True
        self._make_fields()
        self._lay_out()
        for box in self.items.values():
            box.clicked.connect(self._choose)
        self.width_choice.currentTextChanged.connect(self._choose_width)
        self.browse.clicked.connect(self._browse)
        self.folder.textEdited.connect(self._edit_folder)

    def _make_fields(self) -> None:
        self.first = _named(QSpinBox(), "How many reconstructions")
        self.first.setRange(1, 1000)
        self.first.setValue(10)
        self.first.setPrefix("first ")
        self.images = _named(QLineEdit(), "Stimulus ids")
        self.images.setPlaceholderText("or stimulus ids, with commas")
        self.cut = QCheckBox("only voxels above the threshold; else all")
        self.scale = _choice(SCALES, "Size of the canvas picture")
        self.formats = {ending: _named(QCheckBox(ending.upper()), f"Format {ending.upper()}") for ending in FORMATS}
        self.formats["png"].setChecked(True)
        self.width_choice = _choice(WIDTHS, "Width of the figures")
        self.width_mm = _named(QDoubleSpinBox(), "Width in millimetres")
        self.width_mm.setRange(60, 400)
        self.width_mm.setDecimals(0)
        self.width_mm.setValue(COLUMNS_MM["double"])
        self.width_mm.setEnabled(False)
        self.dpi = _named(QSpinBox(), "Pixels per inch")
        self.dpi.setRange(72, 1200)
        self.dpi.setValue(300)
        self.dpi.setSuffix(" dpi")
        self.cortex = _choice(CORTEX, "Cortex in the figures")
        self.background = _choice(BACKGROUNDS, "Background")
        self.folder = _named(QLineEdit(), "Folder to write to")
        self.browse = QPushButton("Choose…")
        self.browse.setAutoDefault(False)

    def _lay_out(self) -> None:
        what = Section("What")
        extras = {"reconstructions": (self.first, self.images), "canvas": (self.scale,), "map-files": (self.cut,)}
        for key, (title, _) in ITEMS.items():
            self.items[key] = _named(QCheckBox(title), title)
            self.items[key].setObjectName(key)
            self.reasons[key] = Note()
            what.body.addWidget(self.items[key])
            if key in extras:
                what.body.addLayout(_indented(*extras[key]))
            what.body.addLayout(_indented(self.reasons[key]))
        how = Section("How")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Formats", _row(*self.formats.values()))
        form.addRow("Width", _row(self.width_choice, self.width_mm, QLabel("mm")))
        form.addRow("Pixels", self.dpi)
        form.addRow("Cortex", self.cortex)
        form.addRow("Behind", self.background)
        form.addRow("Folder", _row(self.folder, self.browse))
        how.body.addLayout(form)
        how.body.addWidget(
            Note("Figures are drawn in print size, whatever the window's theme. Each comes with its caption and a JSON file.")
        )
        column = QVBoxLayout(self)
        column.addWidget(what)
        column.addSpacing(8)
        column.addWidget(how)
        column.addStretch(1)

    @property
    def chosen(self) -> list[str]:
        """Keys of `ITEMS` that are checked."""
        return [key for key, box in self.items.items() if box.isChecked()]

    @property
    def out(self) -> Path | None:
        """Folder to write to; None if the field is empty."""
        text = self.folder.text().strip()
        return Path(text).expanduser().absolute() if text else None

    def values(self) -> dict[str, Any]:
        """Say what the fields hold, as `ExportSettings` names it."""
        return {
            "what": tuple(dict.fromkeys(part for key in self.chosen for part in ITEMS[key][1])),
            "formats": tuple(ending for ending, box in self.formats.items() if box.isChecked()),
            "dpi": self.dpi.value(),
            "width_mm": self.width_mm.value(),
            "background": BACKGROUNDS[self.background.currentText()],
            "surfaces": CORTEX[self.cortex.currentText()],
            "whole_maps": not self.cut.isChecked(),
            "images": tuple(name.strip() for name in self.images.text().split(",") if name.strip()),
            "first": self.first.value(),
        }

    def offer(self, reasons: dict[str, str], details: dict[str, str]) -> None:
        """Enable what there is and say beside it what it is; beside the rest stands why not.

        Parameters
        ----------
        reasons : dict of key to why there is nothing; empty text where there is something
        details : dict of key to what it is now
        """
        for key, box in self.items.items():
            reason = reasons.get(key, "")
            box.setEnabled(not reason)
            box.setChecked(not reason and key in self._wanted)
            self.reasons[key].say(reason[:1].upper() + reason[1:] if reason else details.get(key, ""))
        for fields, key in (((self.first, self.images), "reconstructions"), ((self.scale,), "canvas"), ((self.cut,), "map-files")):
            for widget in fields:
                widget.setEnabled(self.items[key].isEnabled())

    def suggest(self, folder: Path) -> None:
        """Fill in a folder, unless the user has chosen one."""
        if self._folder_is_ours:
            self.folder.setText(str(folder))

    @guarded
    def _choose(self) -> None:
        key = self.sender().objectName()
        (self._wanted.add if self.items[key].isChecked() else self._wanted.discard)(key)
        self.changed.emit()

    @guarded
    def _choose_width(self, name: str) -> None:
        given = WIDTHS[name]
        self.width_mm.setEnabled(given is None)
        if given is not None:
            self.width_mm.setValue(given)

    @guarded
    def _edit_folder(self) -> None:
        self._folder_is_ours = False
        self.changed.emit()

    @guarded
    def _browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder to write to", self.folder.text())
        if found:
            self._folder_is_ours = False
            self.folder.setText(found)
            self.changed.emit()


def _named(widget: Any, name: str) -> Any:
    widget.setAccessibleName(name)
    return widget


def _choice(options: dict[str, Any], name: str) -> QComboBox:
    box = QComboBox()
    box.addItems(list(options))
    box.setAccessibleName(name)
    return box


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget, 1 if isinstance(widget, QLineEdit | QComboBox) else 0)
    return row


def _indented(*widgets: QWidget) -> QHBoxLayout:
    row = _row(*widgets)
    row.setContentsMargins(22, 0, 0, 0)
    if len(widgets) == 1 and isinstance(widgets[0], Note):
        row.setStretch(0, 1)
    return row
