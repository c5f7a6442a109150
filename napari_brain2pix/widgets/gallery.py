"""The bottom dock: stimulus, reconstruction, stimulated picture and their difference, and all test images in pairs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QItemSelectionModel, QModelIndex, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded, guarded_paint, painting
from napari_brain2pix._state import MEAN
from napari_brain2pix.brain.selection import field_circles
from napari_brain2pix.folders.pictures import TEST
from napari_brain2pix.widgets._parts import paint_fields, pixmap_of
from napari_brain2pix.widgets._thumbnails import PairModel, PairView
from napari_brain2pix.widgets.zoom import ZoomWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_brain2pix._state import Selection, State
    from napari_brain2pix.children.comparison import Comparison
    from napari_brain2pix.folders.workspace import Workspace

GAIN = 2.0  # by which differences are made visible; said in the caption
TITLES = {"stimulus": "Stimulus", "reconstruction": "Reconstruction", "stimulated": "Stimulated", "difference": "Difference"}


class Picture(QWidget):
    """One picture with a title above it and a caption below."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = QLabel(f"<b>{title}</b>")
        self.caption = QLabel()
        self.caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.frame = _Frame()
        self.frame.setAccessibleName(title)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addWidget(self.title)
        box.addWidget(self.frame, 1)
        box.addWidget(self.caption)

    @property
    def pixels(self) -> "NDArray[np.uint8] | None":
        """What is shown, uint8 [h w 3]; None if there is nothing."""
        return self.frame.pixels

    def show_picture(self, pixels: "NDArray[np.uint8] | None", caption: str = "", empty: str = "") -> None:
        """Show a picture, or a word on why there is none."""
        self.frame.pixels, self.frame.empty = pixels, empty
        self.frame.pixmap = None if pixels is None else pixmap_of(pixels)
        self.caption.setText(f"<small>{caption}</small>")
        self.caption.setToolTip(caption)
        self.frame.update()


class _Frame(QWidget):
    """A square that fills the height."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels: NDArray[np.uint8] | None = None
        self.pixmap: Any = None
        self.empty = ""
        self.fields: NDArray[np.floating] = np.zeros((0, 3))  # x, y and sigma in degrees, drawn over the picture
        self.field_of_view_deg = 1.0
        self.setMinimumSize(96, 96)

    def sizeHint(self) -> QSize:
        """Ask for a comfortable square."""
        return QSize(176, 176)

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw the picture with receptive fields on it, or the word."""
        edge = min(self.width(), self.height())
        box = QRectF(0, 0, edge, edge)
        with painting(self, QPainter.RenderHint.SmoothPixmapTransform, QPainter.RenderHint.Antialiasing) as painter:
            if self.pixmap is None:
                self._paint_word(painter, box)
                return
            painter.drawPixmap(box, self.pixmap, QRectF(self.pixmap.rect()))
            painter.setClipRect(box)
            paint_fields(painter, self.fields, box.center(), edge / self.field_of_view_deg)

    def _paint_word(self, painter: QPainter, box: QRectF) -> None:
        painter.setPen(QPen(QColor(128, 128, 128, 90), 1, Qt.PenStyle.DashLine))
        painter.drawRect(box.adjusted(0.5, 0.5, -1.5, -1.5))
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.setOpacity(0.75)
        painter.drawText(box.adjusted(10, 10, -10, -10), int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap), self.empty)


class Gallery(QWidget):
    """Pictures side by side, thumbnails of all test images beside them.

    Parameters
    ----------
    state : State
    comparison : Comparison, whose runs and order the thumbnails show
    """

    def __init__(self, state: "State", comparison: "Comparison") -> None:
        super().__init__()
        self.state, self.comparison = state, comparison
        self.pictures = {key: Picture(title) for key, title in TITLES.items()}
        self.model = PairModel(comparison, self)
        self.thumbnails = PairView(self.model)
        self.heading = QLabel("<b>Test images</b>")
        self.zoom_button = QPushButton("Enlarge")
        self.zoom = ZoomWindow(state, comparison, self)
        self._base: NDArray[np.uint8] | None = None
        self._quiet = False  # while the thumbnails follow, they do not lead
        self._lay_out()
        self.thumbnails.selectionModel().currentChanged.connect(self._choose)
        self.thumbnails.zoom_wanted.connect(self._enlarge)
        self.zoom_button.clicked.connect(self._enlarge)
        comparison.ordered.connect(self._order)
        state.opened.connect(self._show)
        state.split_changed.connect(self._show)
        state.base_changed.connect(self._show_base)
        state.selection_changed.connect(self._show_selection)
        self._clear("Open a subject")

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 10, 8)
        row.setSpacing(14)
        for picture in self.pictures.values():
            row.addWidget(picture, 0)
        side = QVBoxLayout()
        side.setSpacing(4)
        top = QHBoxLayout()
        top.addWidget(self.heading, 1)
        top.addWidget(self.zoom_button)
        side.addLayout(top)
        side.addWidget(self.thumbnails, 1)
        row.addLayout(side, 1)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.zoom_button.setToolTip("See the chosen image at any size, with the reconstructions of all compared runs [Enter]")
        self.zoom_button.setEnabled(False)
        self.thumbnails.setMinimumWidth(170)

    def _clear(self, why: str) -> None:
        self._base = None
        for picture in self.pictures.values():
            picture.show_picture(None, "", why)

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self._clear("")

    @guarded
    def _order(self) -> None:
        """Show the images that the comparison wants, in its order."""
        self._quiet = True
        self.thumbnails.fit_cells()
        self.model.refresh()
        self._quiet = False
        self._mark(self.state.base)
        total, shown = len(self.comparison.pictures.stimulus_ids), len(self.comparison.rows)
        pictures = self.comparison.pictures
        whole = f"{total:,}, none used in training" if pictures.split == TEST else f"{total:,}"
        number = whole if shown == total else f"{shown:,} of {total:,}; the rest is filtered out"
        lead = self.comparison.leading
        pair = f" · stimulus | {lead.title}" if lead is not None else ""
        self.heading.setText(f"<b>{pictures.title}</b> <small>{number}{pair}</small>")
        self.heading.setToolTip(f"{number}{pair}\n{lead.about if lead is not None else ''}".strip())

    def _mark(self, base: str) -> None:
        """Mark the image that is the base, and bring it into view."""
        ids = self.comparison.pictures.stimulus_ids
        cell = self.model.cell_of(ids.index(base)) if base in ids else -1
        index = self.model.index(cell, 0) if cell >= 0 else QModelIndex()
        self._quiet = True
        self.thumbnails.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._quiet = False
        self.zoom_button.setEnabled(base in ids)

    @guarded
    def _choose(self, index: QModelIndex) -> None:
        row = self.model.image_of(index.row()) if index.isValid() else -1
        if row >= 0 and not self._quiet:
            self.state.set_base(self.comparison.pictures.stimulus_ids[row])

    @guarded
    def _enlarge(self) -> None:
        if self.state.base in self.comparison.pictures.stimulus_ids:
            self.zoom.open_on()

    @guarded
    def _show_base(self, base: str) -> None:
        workspace = self.state.workspace
        if workspace is None:
            return
        pictures = workspace.pictures
        row = pictures.stimulus_ids.index(base) if base in pictures.stimulus_ids else -1
        self._mark(base)
        self._base = None
        if row < 0:
            self.pictures["stimulus"].show_picture(None, "mean response, no stimulus" if base == MEAN else "", "no single stimulus")
        elif base in pictures.without_picture:
            self.pictures["stimulus"].show_picture(None, base, "no picture: it was imagined")
        else:
            self.pictures["stimulus"].show_picture(pictures.stimuli[row], base)
        self._show_first_reconstruction(workspace, row)
        waiting = "decoding …" if workspace.model else "needs a model"
        self.clear_stimulated(waiting)

    @guarded
    def _show_selection(self, selection: "Selection") -> None:
        """Draw the fields of selected voxels where they lie on the stimulus, which is as wide as the field of view."""
        workspace, frame = self.state.workspace, self.pictures["stimulus"].frame
        if workspace is None or workspace.map is None:
            frame.fields = np.zeros((0, 3))
        else:
            frame.fields = field_circles(workspace.map, selection.rows)
            frame.field_of_view_deg = workspace.subject.field_of_view_deg
        frame.update()

    def _show_first_reconstruction(self, workspace: "Workspace", row: int) -> None:
        made = workspace.pictures.reconstructions
        if made is not None and row >= 0:
            self._base = made[row]
            self.pictures["reconstruction"].show_picture(made[row], "from the mean of its repeats")
        else:
            self.pictures["reconstruction"].show_picture(None, "", "decoding …" if workspace.model else "needs a model")

    def clear_stimulated(self, why: str) -> None:
        """Show no stimulated picture, and why."""
        for key in ("stimulated", "difference"):
            self.pictures[key].show_picture(None, "", why)

    def show_reconstruction(self, pixels: "NDArray[np.uint8]") -> None:
        """Show the decoder's picture without stimulation."""
        self._base = pixels
        words = "of the mean response" if self.state.base == MEAN else "from the mean of its repeats"
        self.pictures["reconstruction"].show_picture(pixels, words)

    def show_stimulated(self, pixels: "NDArray[np.uint8]", summary: str) -> None:
        """Show the decoder's picture with stimulation, and what it changed."""
        self.pictures["stimulated"].show_picture(pixels, f"{summary}, predicted")
        if self._base is not None and self._base.shape == pixels.shape:
            caption = f"grey: no change; shown {GAIN:g} ×"
            self.pictures["difference"].show_picture(difference_picture(self._base, pixels), caption)


def difference_picture(before: "NDArray[np.uint8]", after: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Show what changed, about mid-grey, uint8 [h w 3]: grey is no change."""
    return np.clip(128 + GAIN * (after.astype(np.float32) - before), 0, 255).astype(np.uint8)
