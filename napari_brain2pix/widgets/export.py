"""Choose what leaves the window, in which form and where; a child process writes it."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from brain2pix.compute.export import why_not
from brain2pix.compute.parts import find_parts
from brain2pix.config.base import build
from brain2pix.config.export import COLUMNS_MM, FORMATS, SURFACES, ExportSettings, in_the_way, stems
from brain2pix.errors import Brain2PixError
from napari_brain2pix._export import Exporter, write_canvas
from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._parts import Note, Notice, Section

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_brain2pix._state import State
    from napari_brain2pix._workspace import Workspace

# key: title, what of the command it stands for
ITEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "map": ("The map shown now, on cortex", ("maps",)),
    "maps": ("All maps, and the coverage of the visual field", ("maps", "coverage")),
    "reconstructions": ("Stimuli and reconstructions, with scores", ("reconstructions",)),
    "stimulation": ("The stimulation shown now", ("stimulation",)),
    "canvas": ("The canvas as it is (PNG)", ()),
    "map-files": ("Maps as files: NIfTI, GIFTI, TSV", ("map-files",)),
    "scores": ("Scores: figure, JSON, TSV, Markdown", ("scores",)),
    "record": ("Record of the stimulation (JSON)", ("record",)),
}
FIRST_CHECKED = ("map", "reconstructions", "scores")
OTHER = "Other width"
WIDTHS = {"Double column, 183 mm": COLUMNS_MM["double"], "Single column, 89 mm": COLUMNS_MM["single"], OTHER: None}
CORTEX = {"Inflated and flat": SURFACES, "Inflated": ("inflated",), "Flat": ("flat",)}
BACKGROUNDS = {"White background": "white", "Transparent background": "transparent"}
SCALES = {"Canvas size": 1, "Twice the canvas size": 2, "Four times the canvas size": 4}
NOTHING_OPEN = "nothing is open; open a subject, run or demo folder in step 1"
MOST_NAMES = 6  # of files in the line that says what was written


class ExportDialog(QDialog):
    """What to export, in which form, and where.

    Parameters
    ----------
    state : State
    grab : callable, scale to uint8 array [h w 3 or 4], a picture of the canvas
    parent : QWidget, the window that it belongs to
    """

    def __init__(self, state: "State", grab: "Callable[[int], NDArray[np.uint8]]", parent: QWidget) -> None:
        super().__init__(parent)
        self.state, self.grab = state, grab
        self.exporter = Exporter(state, self)
        self.items: dict[str, QCheckBox] = {}
        self.reasons: dict[str, Note] = {}
        self._chosen = set(FIRST_CHECKED)  # what the user wants, also while it is not there
        self._folder = ""
        self._temporary: Path | None = None
        self._last: Path | None = None
        self.setWindowTitle("brain2pix export")
        self._make_fields()
        self._lay_out()
        self._connect()
        self._refresh()

    def _make_fields(self) -> None:
        self.first = _named(QSpinBox(), "How many reconstructions")
        self.first.setRange(1, 1000)
        self.first.setValue(10)
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
        self.width_mm.setSuffix(" mm")
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
        self.notice = Notice()
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress of the export")
        self.bar.hide()
        self.result = Note()
        self.open_button = QPushButton("Open folder")
        self.open_button.hide()
        self.export_button = QPushButton("Export")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setEnabled(False)
        self.close_button = QPushButton("Close")
        for button in (self.browse, self.open_button, self.cancel_button, self.close_button, self.notice.button):
            button.setAutoDefault(False)
        self.export_button.setDefault(True)

    def _lay_out(self) -> None:
        what = Section("What")
        for key, (title, _) in ITEMS.items():
            self.items[key] = _named(QCheckBox(title), title)
            self.items[key].setObjectName(key)
            self.reasons[key] = Note()
            what.body.addWidget(self.items[key])
            extra = self._extra(key)
            if extra is not None:
                what.body.addLayout(extra)
            what.body.addLayout(_indented(self.reasons[key]))
        how = Section("How")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Formats", _row(*self.formats.values()))
        form.addRow("Width", _row(self.width_choice, self.width_mm))
        form.addRow("Pixels", self.dpi)
        form.addRow("Cortex", self.cortex)
        form.addRow("Behind", self.background)
        form.addRow("Folder", _row(self.folder, self.browse))
        how.body.addLayout(form)
        note = Note("Figures are drawn on white in print size, whatever the window's theme. Each comes with its caption and a JSON file.")
        how.body.addWidget(note)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addWidget(what)
        column.addSpacing(8)
        column.addWidget(how)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button)
        buttons.addStretch(1)
        for button in (self.close_button, self.cancel_button, self.export_button):
            buttons.addWidget(button)
        box = QVBoxLayout(self)
        box.addWidget(scroll, 1)
        for widget in (self.notice, self.bar, self.result):
            box.addWidget(widget)
        box.addLayout(buttons)
        self.resize(520, 760)

    def _extra(self, key: str) -> QHBoxLayout | None:
        """Fields that belong to one item."""
        if key == "reconstructions":
            self.first.setPrefix("first ")
            return _indented(self.first, self.images)
        return {"canvas": _indented(self.scale), "map-files": _indented(self.cut)}.get(key) if key in ("canvas", "map-files") else None

    def _connect(self) -> None:
        for box in self.items.values():
            box.clicked.connect(self._choose)
        self.width_choice.currentTextChanged.connect(self._choose_width)
        self.browse.clicked.connect(self._browse)
        self.folder.textEdited.connect(self._edit_folder)
        self.export_button.clicked.connect(self._export)
        self.cancel_button.clicked.connect(self._cancel)
        self.close_button.clicked.connect(self.reject)
        self.open_button.clicked.connect(self._open_folder)
        self.notice.button.clicked.connect(self._replace)
        self.exporter.said.connect(self._said)
        self.exporter.finished.connect(self._written)
        self.exporter.failed.connect(self._failed)
        self.exporter.stopped.connect(self._stopped)
        for signal in (self.state.opened, self.state.map_changed, self.state.stimulation_changed, self.state.view_changed):
            signal.connect(self._refresh)

    # -- what there is

    @guarded
    def _refresh(self) -> None:
        """Offer what there is; beside the rest stands why not."""
        why = self._why_not()
        for key, box in self.items.items():
            reason = why.get(key, "")
            box.setEnabled(not reason)
            box.setChecked(not reason and key in self._chosen)
            self.reasons[key].say(reason[:1].upper() + reason[1:] if reason else self._details(key))
        for fields, key in (((self.first, self.images), "reconstructions"), ((self.scale,), "canvas"), ((self.cut,), "map-files")):
            for widget in fields:
                widget.setEnabled(self.items[key].isEnabled())
        workspace = self.state.workspace
        if workspace is not None and not self._folder:
            self.folder.setText(str(workspace.folder / "export"))
        self._allow()

    def _why_not(self) -> dict[str, str]:
        workspace = self.state.workspace
        if workspace is None:
            return dict.fromkeys(ITEMS, NOTHING_OPEN)
        try:
            parts = find_parts(_folder_of(workspace))
        except Brain2PixError as error:
            return {**dict.fromkeys(ITEMS, str(error)), "canvas": ""}
        found = why_not(parts, workspace.subject, record=self.state.stimulation is not None)
        return {key: next((found[part] for part in needs if found[part]), "") for key, (_, needs) in ITEMS.items()}

    def _details(self, key: str) -> str:
        """Say what an item that can be chosen is now."""
        state = self.state
        if key in ("map", "map-files") and state.found is not None:
            shown = f"{int(state.found.shown.sum()):,} of {state.found.n_mapped:,} voxels, quality ≥ {state.threshold:.2f}"
            return f"{state.found.kind.name}: {shown}" if key == "map" else f"The threshold leaves {shown}"
        if key == "stimulation" and state.stimulation is not None:
            return "Decoded again from its record. A prediction of the model, not of a brain."
        return ""

    @guarded
    def _choose(self) -> None:
        key = self.sender().objectName()
        (self._chosen.add if self.items[key].isChecked() else self._chosen.discard)(key)
        self._allow()

    @guarded
    def _choose_width(self, name: str) -> None:
        given = WIDTHS[name]
        self.width_mm.setEnabled(given is None)
        if given is not None:
            self.width_mm.setValue(given)

    @guarded
    def _edit_folder(self, text: str) -> None:
        self._folder = text
        self._allow()

    @guarded
    def _browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder to write to", self.folder.text())
        if found:
            self._folder = found
            self.folder.setText(found)
            self._allow()

    def _allow(self) -> None:
        some = any(box.isChecked() for box in self.items.values())
        self.export_button.setEnabled(some and bool(self.folder.text().strip()) and not self.exporter.running)
        self.export_button.setToolTip("" if some else "Choose something above")

    # -- exporting

    def settings(self, *, overwrite: bool = False) -> ExportSettings | None:
        """Give what is asked of the child; None if only the canvas is wanted.

        Raises
        ------
        ConfigError
            If a field holds something that it may not.
        """
        workspace = self.state.workspace
        assert workspace is not None
        chosen = [key for key, box in self.items.items() if box.isChecked()]
        what = tuple(dict.fromkeys(part for key in chosen for part in ITEMS[key][1]))
        if not what:
            return None
        only_one = "map" in chosen and "maps" not in chosen and self.state.kind is not None
        values: dict[str, Any] = {
            "folder": str(_folder_of(workspace)),
            "out": str(self._out()),
            "what": what,
            "formats": tuple(ending for ending, box in self.formats.items() if box.isChecked()),
            "dpi": self.dpi.value(),
            "width_mm": self.width_mm.value(),
            "background": BACKGROUNDS[self.background.currentText()],
            "maps": (self.state.kind.kind,) if only_one and self.state.kind is not None else (),
            "surfaces": CORTEX[self.cortex.currentText()],
            "threshold": float(self.state.threshold) if workspace.map is not None else None,
            "whole_maps": not self.cut.isChecked(),
            "images": tuple(name.strip() for name in self.images.text().split(",") if name.strip()),
            "first": self.first.value(),
            "overwrite": overwrite,
        }
        return build(ExportSettings, values)

    def _out(self) -> Path:
        return Path(self.folder.text().strip()).expanduser().absolute()

    @guarded
    def _export(self) -> None:
        self._start(overwrite=False)

    @guarded
    def _replace(self) -> None:
        self._start(overwrite=True)

    def _start(self, *, overwrite: bool) -> None:
        workspace = self.state.workspace
        if workspace is None or self.exporter.running:
            return
        self.result.say("")
        self.open_button.hide()
        self.notice.say("")
        if not any(box.isChecked() for box in self.formats.values()):
            self.notice.say("Choose a format: PNG, SVG or PDF.")
            return
        try:
            settings = self.settings(overwrite=overwrite)
            names = [] if settings is None else stems(workspace.subject.name, settings.what, settings.maps)
            names += [f"{workspace.subject.name}_canvas"] if self.items["canvas"].isChecked() else []
            there = in_the_way(self._out(), names)
            if there and not overwrite:
                self.notice.say(f"{self._out()} already holds {_listed(there)}.", "Replace them")
                return
            if settings is None:
                self._written([])
                return
            self.exporter.start(self._with_record(settings))
        except (Brain2PixError, OSError) as error:
            self.notice.say(str(error))
            return
        self.bar.setRange(0, 0)
        self.bar.show()
        self.result.say("Starting …")
        self.cancel_button.setEnabled(True)
        self._allow()

    def _with_record(self, settings: ExportSettings) -> ExportSettings:
        """Hand the stimulation to the child as a file."""
        from brain2pix.stimulation.record import write_record

        stimulation, workspace = self.state.stimulation, self.state.workspace
        if not {"stimulation", "record"} & set(settings.what) or stimulation is None or workspace is None:
            return settings
        self._temporary = Path(tempfile.mkdtemp(prefix="brain2pix-"))
        write_record(self._temporary / "record.json", stimulation.record(workspace.subject))
        return settings.model_copy(update={"record": self._temporary / "record.json"})

    @guarded
    def _cancel(self) -> None:
        self.exporter.stop()
        self.cancel_button.setEnabled(False)
        self.result.say("Stopping after this figure …")

    @guarded
    def _said(self, done: int, total: int, name: str) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        if self.cancel_button.isEnabled():
            self.result.say(f"{done} of {total}: {name}")

    @guarded
    def _written(self, written: list[Path]) -> None:
        self._end()
        try:
            if self.items["canvas"].isChecked():
                pixels = self.grab(SCALES[self.scale.currentText()])[..., :3]
                written = [*written, *write_canvas(pixels, self._out(), self.state)]
        except (Brain2PixError, OSError) as error:
            self.notice.say(f"The canvas could not be written: {error}")
        if written:
            self._last = written[0].parent
            self.result.say(f"Wrote {len(written)} files to {self._last}: {_listed(written)}")
            self.open_button.show()

    @guarded
    def _failed(self, why: str) -> None:
        self._end()
        self.notice.say(why)

    @guarded
    def _stopped(self) -> None:
        self._end()
        self.result.say("Stopped. Nothing was written.")

    def _end(self) -> None:
        self.bar.hide()
        self.result.say("")
        self.cancel_button.setEnabled(False)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        self._allow()

    @guarded
    def _open_folder(self) -> None:
        if self._last is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._last)))

    def shut_down(self) -> None:
        """End an export that is going on: the window closes."""
        self.exporter.end()
        self._end()


def _folder_of(workspace: "Workspace") -> Path:
    """Folder for the command: what was opened; of a dataset, the subject that is open."""
    return workspace.subject.path if workspace.folder == workspace.subject_folder else workspace.folder


def _listed(paths: list[Path]) -> str:
    names = [path.name for path in paths]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


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
    row.addStretch(0)
    return row


def _indented(*widgets: QWidget) -> QHBoxLayout:
    row = _row(*widgets)
    row.setContentsMargins(22, 0, 0, 0)
    if len(widgets) == 1 and isinstance(widgets[0], Note):
        row.setStretch(0, 1)
    return row
