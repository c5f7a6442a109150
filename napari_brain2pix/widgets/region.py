"""Which voxels are stimulated: areas to press, an expression to write, a region to paint, or what was selected in any view."""

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_brain2pix._guard import guarded
from napari_brain2pix._state import PAINTED, SELECTED
from napari_brain2pix.brain import layers
from napari_brain2pix.widgets._parts import Note, Section, swatch

if TYPE_CHECKING:
    from brain2pix.arrays import SubjectInfo
    from napari_brain2pix._state import Region, Selection, State
    from napari_brain2pix.brain.paint import Painter
    from napari_brain2pix.folders.workspace import Workspace

HINT = (
    "Drag over the slices; the brush is a ball. Eraser, brush size and undo are in the layer controls. "
    "The area is called <b>{name}</b> in expressions, e.g. {name} &amp; V1."
)


class RegionPicker(QWidget):
    """Chooses a region; the state keeps it.

    Parameters
    ----------
    state : State
    painter : Painter or None, without a canvas to paint on
    """

    def __init__(self, state: "State", painter: "Painter | None") -> None:
        super().__init__()
        self.state, self.painter = state, painter
        self.info: SubjectInfo | None = None
        self.chips = QWidget()
        self._flow = QFlowLayout(self.chips)
        self.expression = QLineEdit()
        self.expression.setPlaceholderText("e.g. V1v & L, or V1 + V2 - outside")
        self.expression.setAccessibleName("Region expression")
        self.expression.setToolTip("Areas joined by + or | (union), & (both), - (without); L and R are the hemispheres")
        self.paint = QPushButton("Paint a region")
        self.paint.setCheckable(True)
        self.paint.setToolTip("Paint voxels on the slices of the volume; press again to put the brush down")
        self.use_selection = QPushButton("Use selection")
        self.use_selection.setToolTip("Stimulate the voxels that are selected now, in the brain or in the visual field")
        self.counts = Note()
        self.hint = Note()
        self._cells = (0, 0)
        self._lay_out()
        self.expression.textEdited.connect(self._edit)
        self.paint.clicked.connect(self._paint)
        self.use_selection.clicked.connect(self._use_selection)
        self.paint.setVisible(painter is not None)
        if painter is not None:
            painter.painting_changed.connect(self._show_painting)
            painter.painted.connect(self._count_painted)
        state.opened.connect(self._show)
        state.region_changed.connect(self._show_region)
        state.selection_changed.connect(self._show_selection)
        self._show(None)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        section = Section("Region")
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(4)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.paint, 1)
        buttons.addWidget(self.use_selection, 1)
        section.body.addWidget(self.chips)
        section.body.addWidget(self.expression)
        section.body.addLayout(buttons)
        section.body.addWidget(self.hint)
        section.body.addWidget(self.counts)
        box.addWidget(section)

    def set_model(self, info: "SubjectInfo | None") -> None:
        """Say which voxels the model reads: only those can be stimulated."""
        self.info = info
        self._say_counts()

    @guarded
    def _show(self, workspace: "Workspace | None") -> None:
        self._make_chips(workspace)
        self._cells = (0, 0)
        for widget in (self.expression, self.paint):
            widget.setEnabled(workspace is not None)
        self._show_selection(self.state.selection)
        self._say_counts()

    def _make_chips(self, workspace: "Workspace | None") -> None:
        while self._flow.count():
            widget = self._flow.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        if workspace is None:
            return
        subject = workspace.subject
        names = layers.area_names(subject)
        for name in names:
            chip = QPushButton(swatch(layers.area_colour(name, names)), name)
            chip.setToolTip(f"{int(subject.areas[name].sum()):,} voxels. Shift-click adds it to the expression.")
            chip.setAccessibleName(f"Region {name}")
            chip.clicked.connect(self._choose_area)
            self._flow.addWidget(chip)

    @guarded
    def _show_region(self, region: "Region") -> None:
        if self.expression.text() != region.text:
            self.expression.setText(region.text)
        self._say_counts()

    def _say_counts(self) -> None:
        """Say how many voxels the region has, how many of them the model reads, and why it has none."""
        region = self.state.region
        if self.state.workspace is None or not region.text:
            self.counts.say("")
            return
        lines = [f"⚠ {escape(region.problem, quote=False)}"] if region.problem else [self._chosen()]
        if self.state.mentions(PAINTED) and self._cells[0] and self._cells[0] != self._cells[1]:
            lines.append(f"{self._cells[0]:,} cells are painted, {self._cells[1]:,} of them have responses.")
        self.counts.say("<br>".join(lines))

    def _chosen(self) -> str:
        chosen = f"{int(self.state.region.mask.sum()):,} voxels chosen"
        if self.info is None:
            return chosen
        read = int(self.state.region.mask[self.info.voxel_index].sum())
        return f"{chosen}, {read:,} of them in the model" if read else f"⚠ {chosen}, none of them in the model: it reads other voxels."

    @guarded
    def _show_selection(self, selection: "Selection") -> None:
        n_voxels = len(selection.rows)
        self.use_selection.setText(f"Use selection ({n_voxels:,})" if n_voxels else "Use selection")
        self.use_selection.setEnabled(n_voxels > 0 and self.state.workspace is not None)

    @guarded
    def _show_painting(self, painting: bool) -> None:
        with QSignalBlocker(self.paint):
            self.paint.setChecked(painting)
        self.paint.setText("Stop painting" if painting else "Paint a region")
        self.hint.say(HINT.format(name=self.state.name_of(PAINTED)) if painting else "")

    @guarded
    def _count_painted(self, cells: int, voxels: int) -> None:
        self._cells = (cells, voxels)
        self._say_counts()

    # -- what the user does

    @guarded
    def _choose_area(self) -> None:
        name = self.sender().text()
        adding = bool(QApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier) and self.state.region.text
        self.state.set_region(f"{self.state.region.text} + {name}" if adding else name)

    @guarded
    def _edit(self, text: str) -> None:
        self.state.set_region(text)

    @guarded
    def _paint(self) -> None:
        if self.painter is not None:
            self.painter.stop() if self.painter.painting else self.painter.start()

    @guarded
    def _use_selection(self) -> None:
        self.state.set_region(self.state.set_area(SELECTED, self.state.selection.rows))
