"""Thousands of pairs to scroll through: each cell is stimulus, reconstruction and score, painted when it comes into view."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, QRect, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import QListView, QWidget

from brain2pix.data.image_scores import SCORES
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.comparison import written
from napari_brain2pix.widgets._parts import pixmap_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_brain2pix.children.comparison import Comparison

THUMB, GAP = 56, 2  # px
KEPT = 2000  # painted cells that are kept, about 25 kB each


class PairModel(QAbstractListModel):
    """Test images in the order of a comparison.

    Parameters
    ----------
    comparison : Comparison
    """

    def __init__(self, comparison: "Comparison", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.comparison = comparison
        self.painted: OrderedDict[tuple[str, int], QPixmap] = OrderedDict()
        self._pictures: Any = None

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Count images."""
        return 0 if parent is not None and parent.isValid() else len(self.comparison.rows)

    @guarded
    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Give picture, score and words of a cell."""
        row = self.image_of(index.row()) if index.isValid() else -1
        if row < 0:
            return None
        if role == Qt.ItemDataRole.DecorationRole:
            return self._pair(row)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._score(row)
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.comparison.words(row)
        return None

    def image_of(self, cell: int) -> int:
        """Row of the test image that a cell shows; -1 if there is no such cell."""
        return int(self.comparison.rows[cell]) if 0 <= cell < len(self.comparison.rows) else -1

    def cell_of(self, row: int) -> int:
        """Cell that shows a test image; -1 if the filter hides it."""
        found = (self.comparison.rows == row).nonzero()[0]
        return int(found[0]) if len(found) else -1

    def refresh(self) -> None:
        """Show the images anew: others, or in another order."""
        self.beginResetModel()
        if self._pictures is not self.comparison.pictures:
            self._pictures = self.comparison.pictures
            self.painted.clear()
        self.endResetModel()

    def _score(self, row: int) -> str:
        lead = self.comparison.leading
        if lead is None or lead.scores is None:
            return self.comparison.pictures.stimulus_ids[row]
        return f"{SCORES[self.comparison.score].short} {written(self.comparison.score, self.comparison.value(lead, row))}"

    def _pair(self, row: int) -> QPixmap:
        lead = self.comparison.leading
        key = (lead.key if lead is not None else "", row)
        found = self.painted.pop(key, None)
        if found is None:
            stimulus = self.comparison.pictures.stimuli[row]
            found = pair_pixmap(stimulus, None if lead is None else lead.pictures[row])
        self.painted[key] = found
        if len(self.painted) > KEPT:
            self.painted.popitem(last=False)
        return found


class PairView(QListView):
    """Pairs in rows that fill the width; arrows move, Enter and a double click ask for a large view.

    Signals
    -------
    zoom_wanted : the current image is to be seen large
    """

    zoom_wanted = Signal()

    def __init__(self, model: PairModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setWordWrap(False)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Test images: stimulus, reconstruction, score")
        self.doubleClicked.connect(self._zoom)
        self.fit_cells()

    def fit_cells(self) -> None:
        """Make room for pairs, or for stimuli alone where nothing was reconstructed."""
        model = self.model()
        paired = isinstance(model, PairModel) and model.comparison.leading is not None
        width = 2 * THUMB + GAP if paired else THUMB
        self.setIconSize(QSize(width, THUMB))
        self.setGridSize(QSize(width + 14, THUMB + self.fontMetrics().height() + 14))

    @guarded
    def keyPressEvent(self, event: Any) -> None:
        """Open the large view on Enter, whatever the desktop thinks of Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.zoom_wanted.emit()
            event.accept()
            return
        super().keyPressEvent(event)

    @guarded
    def _zoom(self) -> None:
        self.zoom_wanted.emit()


def pair_pixmap(stimulus: "NDArray[np.uint8]", made: "NDArray[np.uint8] | None") -> QPixmap:
    """Paint a stimulus with its reconstruction beside it, small."""
    if made is None:
        return _small(stimulus)
    pair = QPixmap(2 * THUMB + GAP, THUMB)
    pair.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pair)
    painter.drawPixmap(QRect(0, 0, THUMB, THUMB), _small(stimulus))
    painter.drawPixmap(QRect(THUMB + GAP, 0, THUMB, THUMB), _small(made))
    painter.end()
    return pair


def _small(picture: "NDArray[np.uint8]") -> QPixmap:
    return pixmap_of(picture).scaled(THUMB, THUMB, transformMode=Qt.TransformationMode.SmoothTransformation)
