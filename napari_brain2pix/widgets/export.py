"""Choose what leaves the window, in which form and where; a child process writes it."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDialog, QFrame, QHBoxLayout, QProgressBar, QPushButton, QScrollArea, QVBoxLayout, QWidget

from brain2pix.compute.export import why_not
from brain2pix.compute.parts import find_parts
from brain2pix.config.base import build
from brain2pix.config.export import ExportSettings, in_the_way, stems
from brain2pix.errors import Brain2PixError
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.export import Exporter, write_canvas
from napari_brain2pix.widgets._export_form import ITEMS, SCALES, ExportForm
from napari_brain2pix.widgets._parts import Note, Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_brain2pix._state import State
    from napari_brain2pix.folders.workspace import Workspace

NOTHING_OPEN = "nothing is open; open a subject, run or demo folder in step 1"
# what the window can do about a reason of the core
REMEDIES = {
    "no maps yet": "make them in step 3",
    "no reconstructions yet": "make them in step 4",
    "no scores yet": "press “Score these” in step 4, or run: brain2pix evaluate RUN",
    "no accuracy of an encoder yet": "make maps in step 3, or run: brain2pix evaluate RUN",
    "nothing is stimulated": "choose a region in step 5",
    "no trained model": "train one in step 2",
}
MOST_NAMES = 6  # of files in the line that says what was written


class ExportDialog(QDialog):
    """What to export, in which form, and where.

    Parameters
    ----------
    state : State
    canvas : callable, scale to uint8 array [h w 3 or 4], a picture of the canvas
    parent : QWidget, the window that it belongs to
    """

    def __init__(self, state: "State", canvas: "Callable[[int], NDArray[np.uint8]]", parent: QWidget) -> None:
        super().__init__(parent)
        self.state, self._canvas = state, canvas
        self.exporter = Exporter(state, self)
        self.form = ExportForm()
        self._temporary: Path | None = None
        self._last: Path | None = None
        self.setWindowTitle("brain2pix export")
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
        for button in (self.open_button, self.cancel_button, self.close_button, self.notice.button):
            button.setAutoDefault(False)
        self.export_button.setDefault(True)
        self._lay_out()
        self._connect()
        self._refresh()

    def _lay_out(self) -> None:
        scroll = QScrollArea()
        scroll.setWidget(self.form)
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
        self.resize(540, 800)

    def _connect(self) -> None:
        self.form.changed.connect(self._allow)
        self.export_button.clicked.connect(self._export)
        self.cancel_button.clicked.connect(self._cancel)
        self.close_button.clicked.connect(self.reject)
        self.open_button.clicked.connect(self._open_folder)
        self.notice.button.clicked.connect(self._replace)
        self.exporter.said.connect(self._said)
        self.exporter.finished.connect(self._written)
        self.exporter.failed.connect(self._failed)
        self.exporter.stopped.connect(self._stopped)
        for signal in (self.state.opened, self.state.map_changed, self.state.stimulation_changed):
            signal.connect(self._refresh)

    # -- what there is

    @guarded
    def _refresh(self) -> None:
        if not self.isHidden() or not self.form.out:
            self._offer()

    @guarded
    def showEvent(self, event: "QShowEvent") -> None:
        """Look what there is."""
        self._offer()
        super().showEvent(event)

    def _offer(self) -> None:
        self.form.offer(self._why_not(), self._details())
        workspace = self.state.workspace
        if workspace is not None:
            self.form.suggest(workspace.folder / "export")
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
        reasons = {key: next((found[part] for part in needs if found[part]), "") for key, (_, needs) in ITEMS.items()}
        return {key: f"{reason}; {REMEDIES[reason]}" if reason in REMEDIES else reason for key, reason in reasons.items()}

    def _details(self) -> dict[str, str]:
        """Say of what can be chosen what it is now."""
        state, found = self.state, self.state.found
        details = {}
        if found is not None:
            shown = f"{int(found.shown.sum()):,} of {found.n_mapped:,} voxels, quality ≥ {state.threshold:.2f}"
            details = {"map": f"{found.kind.name}: {shown}", "map-files": f"The threshold leaves {shown}."}
        if state.stimulation is not None:
            details["stimulation"] = "Decoded again from its record. A prediction of the model, not of a brain."
        return details

    @guarded
    def _allow(self) -> None:
        some = bool(self.form.chosen)
        self.export_button.setEnabled(some and self.form.out is not None and not self.exporter.running)
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
        values = self.form.values()
        if not values["what"]:
            return None
        one = "map" in self.form.chosen and "maps" not in self.form.chosen and self.state.kind is not None
        values |= {
            "folder": str(_folder_of(workspace)),
            "out": str(self.form.out),
            "maps": (self.state.kind.kind,) if one and self.state.kind is not None else (),
            "threshold": float(self.state.threshold) if workspace.map is not None else None,
            "overwrite": overwrite,
        }
        return build(ExportSettings, values)

    @guarded
    def _export(self) -> None:
        self._start(overwrite=False)

    @guarded
    def _replace(self) -> None:
        self._start(overwrite=True)

    def _start(self, *, overwrite: bool) -> None:
        workspace = self.state.workspace
        out = self.form.out
        if workspace is None or out is None or self.exporter.running:
            return
        self.result.say("")
        self.open_button.hide()
        self.notice.say("")
        if not self.form.values()["formats"]:
            self.notice.say("Choose a format: PNG, SVG or PDF.")
            return
        try:
            settings = self.settings(overwrite=overwrite)
            names = [] if settings is None else stems(workspace.subject.name, settings.what, settings.maps)
            names += [f"{workspace.subject.name}_canvas"] if "canvas" in self.form.chosen else []
            there = in_the_way(out, names)
            if there and not overwrite:
                self.notice.say(f"{out} already holds {_listed(there)}.", "Replace them")
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
            if "canvas" in self.form.chosen and self.form.out is not None:
                pixels = self._canvas(SCALES[self.form.scale.currentText()])[..., :3]
                written = [*written, *write_canvas(pixels, self.form.out, self.state)]
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
