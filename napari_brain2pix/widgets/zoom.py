"""A window of its own for one test image: stimulus and reconstructions of all compared runs, at any size, side by side."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeySequence, QPainter, QPixmap
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from brain2pix.data.image_scores import SCORES
from napari_brain2pix._guard import guarded, guarded_paint, painting
from napari_brain2pix.children.comparison import written
from napari_brain2pix.widgets._parts import Choice, pixmap_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_brain2pix._state import State
    from napari_brain2pix.children.comparison import Comparison
    from napari_brain2pix.folders.pictures import Run

MOST_ZOOM, STEP = 40.0, 1.25
PANE, REST = 300, QSize(40, 150)  # px: a picture at first, and what stands around all of them
HELP = "Wheel: zoom · drag: move · arrows: other images · Esc: close"


class Lens(QObject):
    """Which part of a picture is seen: the same in all panes, whatever their pixels.

    Signals
    -------
    changed : zoom, place or smoothing
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.zoom, self.centre, self.smooth = 1.0, QPointF(0.5, 0.5), False

    def show_part(self, zoom: float, centre: QPointF) -> None:
        """Show a part: `centre` in shares of the picture's width and height; no part lies outside the picture."""
        self.zoom = min(max(zoom, 1.0), MOST_ZOOM)
        edge = 0.5 / self.zoom
        self.centre = QPointF(*(min(max(value, edge), 1 - edge) for value in (centre.x(), centre.y())))
        self.changed.emit()

    def set_smooth(self, smooth: bool) -> None:
        """Blend pixels, or show them as squares."""
        self.smooth = smooth
        self.changed.emit()


class Pane(QWidget):
    """One picture seen through the lens."""

    def __init__(self, lens: Lens) -> None:
        super().__init__()
        self.lens = lens
        self.pixels: NDArray[np.uint8] | None = None
        self._pixmap = QPixmap()
        self._grabbed: QPointF | None = None
        self.setMinimumSize(96, 96)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        lens.changed.connect(self._look)

    def show_picture(self, pixels: "NDArray[np.uint8]", name: str) -> None:
        """Show a picture, uint8 [h w 3]."""
        self.pixels, self._pixmap = pixels, pixmap_of(pixels)
        self.setAccessibleName(name)
        self.update()

    def frame(self) -> QRectF:
        """Square of the whole picture on the widget at zoom 1."""
        edge = min(self.width(), self.height())
        return QRectF((self.width() - edge) / 2, 0, edge, edge)

    def visible_part(self) -> QRectF:
        """Part of the picture that is seen, in its pixels."""
        width, height = self._pixmap.width() / self.lens.zoom, self._pixmap.height() / self.lens.zoom
        centre = self.lens.centre
        return QRectF(centre.x() * self._pixmap.width() - width / 2, centre.y() * self._pixmap.height() - height / 2, width, height)

    @guarded
    def _look(self) -> None:
        self.update()

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw the part that is seen."""
        if self._pixmap.isNull():
            return
        hints = (QPainter.RenderHint.SmoothPixmapTransform,) if self.lens.smooth else ()
        with painting(self, *hints) as painter:
            painter.drawPixmap(self.frame(), self._pixmap, self.visible_part())

    def _share(self, place: QPointF) -> QPointF:
        """Place on the widget as a share of the frame, from its middle."""
        frame = self.frame()
        return QPointF((place.x() - frame.center().x()) / frame.width(), (place.y() - frame.center().y()) / frame.height())

    @guarded
    def wheelEvent(self, event: Any) -> None:
        """Zoom about the pointer: what lies under it stays there."""
        place, lens = self._share(event.position()), self.lens
        zoom = min(max(lens.zoom * STEP ** (event.angleDelta().y() / 120), 1.0), MOST_ZOOM)
        lens.show_part(zoom, lens.centre + place / lens.zoom - place / zoom)
        event.accept()

    @guarded
    def mousePressEvent(self, event: Any) -> None:
        """Take hold of the picture."""
        self._grabbed = QPointF(event.pos())

    @guarded
    def mouseMoveEvent(self, event: Any) -> None:
        """Move the picture with the pointer."""
        if self._grabbed is not None:
            moved = self._share(QPointF(event.pos())) - self._share(self._grabbed)
            self._grabbed = QPointF(event.pos())
            self.lens.show_part(self.lens.zoom, self.lens.centre - moved / self.lens.zoom)

    @guarded
    def mouseReleaseEvent(self, event: Any) -> None:
        """Let go."""
        self._grabbed = None


class ZoomWindow(QDialog):
    """Large view of the image that is chosen in the gallery.

    Parameters
    ----------
    state : State, its base is what is shown
    comparison : Comparison
    parent : QWidget, it goes with it
    """

    def __init__(self, state: "State", comparison: "Comparison", parent: QWidget) -> None:
        super().__init__(parent)
        self.state, self.comparison = state, comparison
        self.lens = Lens(self)
        self.panes: dict[str, Pane] = {}
        self.captions: dict[str, QLabel] = {}
        self.heading, self.told = QLabel(), QLabel(f"<small>{HELP}</small>")
        self.area = QWidget()
        self.row = QHBoxLayout(self.area)
        self.back, self.forth = QPushButton("Previous"), QPushButton("Next")
        self.fit_button, self.copy_button, self.close_button = QPushButton("Fit"), QPushButton("Copy image"), QPushButton("Close")
        self.pixels = Choice({"nearest": "Pixels", "smooth": "Smooth"})
        self._lay_out()
        self.back.clicked.connect(self._back)
        self.forth.clicked.connect(self._forth)
        self.fit_button.clicked.connect(self._fit)
        self.copy_button.clicked.connect(self._copy)
        self.close_button.clicked.connect(self._leave)
        self.pixels.chosen.connect(self._choose_pixels)
        state.base_changed.connect(self._show)
        comparison.ordered.connect(self._show)

    def _lay_out(self) -> None:
        self.setWindowTitle("brain2pix test image")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.heading.setTextFormat(Qt.TextFormat.PlainText)
        self.pixels.set_current("nearest")
        self.fit_button.setToolTip("Show the whole picture [0]")
        self.copy_button.setToolTip("Copy what is seen here, with its captions, to the clipboard [Ctrl+C]")
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(10)
        box = QVBoxLayout(self)
        box.addWidget(self.heading)
        box.addWidget(self.area, 1)
        buttons = QHBoxLayout()
        for button in (self.back, self.forth, self.fit_button, self.copy_button, self.close_button, *self.pixels.buttons.values()):
            button.setAutoDefault(False)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # after a click the arrows still turn to other images
        for widget in (self.back, self.forth, self.pixels, self.fit_button, self.copy_button):
            buttons.addWidget(widget)
        buttons.addStretch(1)
        buttons.addWidget(self.told)
        buttons.addWidget(self.close_button)
        box.addLayout(buttons)

    # -- what is shown

    def open_on(self) -> None:
        """Show the chosen image, in front."""
        self.lens.show_part(1.0, QPointF(0.5, 0.5))
        if not self.isVisible():
            screen = QGuiApplication.primaryScreen().availableSize()
            wanted = QSize((1 + len(self.comparison.shown)) * PANE, PANE) + REST
            self.resize(wanted.boundedTo(screen * 0.9))
        self.show()
        self._show()
        self.raise_()
        self.activateWindow()
        self.setFocus()

    @guarded
    def _show(self) -> None:
        if not self.isVisible():
            return
        pictures, row = self.comparison.pictures, self._row()
        if row < 0:
            self.close()  # another subject was opened, or the mean response chosen
            return
        runs = self.comparison.shown_runs
        self._make_panes(runs)
        place = self._cell()
        where = f"{place + 1} of {len(self.comparison.rows)}" if place >= 0 else "hidden by the filter"
        self.heading.setText(f"{pictures.stimulus_ids[row]}   ·   {where}")
        self.panes[""].show_picture(pictures.stimuli[row], "Stimulus")
        for run in runs:
            self.panes[run.key].show_picture(run.pictures[row], run.title)
            values = [f"{SCORES[score].short} {written(score, self.comparison.value(run, row, score))}" for score in SCORES]
            told = f"{' · '.join(values[:-1])}<br>{values[-1]}" if run.scores is not None else "not scored"
            self.captions[run.key].setText(f"<small>{told}</small>")
        self.back.setEnabled(place > 0)
        self.forth.setEnabled(place < len(self.comparison.rows) - 1)

    def _make_panes(self, runs: "list[Run]") -> None:
        if list(self.panes) == ["", *(run.key for run in runs)]:
            return
        while (item := self.row.takeAt(0)) is not None:
            item.widget().deleteLater()
        self.panes, self.captions = {}, {}
        words = "\n".join(f"{score.title}: {score.meaning}" for score in SCORES.values())
        for key, title, about in [("", "Stimulus", ""), *((run.key, run.title, run.about) for run in runs)]:
            column = QWidget()
            box = QVBoxLayout(column)
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(4)
            head, caption, pane = QLabel(f"<b>{title}</b>"), QLabel(), Pane(self.lens)
            head.setToolTip(about)
            caption.setToolTip(words if key else "")
            for label in (head, caption):
                label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
                label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            caption.setMinimumHeight(2 * self.fontMetrics().height())
            for widget, stretch in ((head, 0), (caption, 0), (pane, 1)):
                box.addWidget(widget, stretch)
            self.row.addWidget(column, 1)
            self.panes[key], self.captions[key] = pane, caption

    def _row(self) -> int:
        ids = self.comparison.pictures.stimulus_ids
        return ids.index(self.state.base) if self.state.base in ids else -1

    def _cell(self) -> int:
        found = (self.comparison.rows == self._row()).nonzero()[0]
        return int(found[0]) if len(found) else -1

    # -- what the user does

    def _turn(self, step: int) -> None:
        cell = self._cell() + step
        if 0 <= cell < len(self.comparison.rows):
            self.state.set_base(self.comparison.pictures.stimulus_ids[int(self.comparison.rows[cell])])

    @guarded
    def _back(self) -> None:
        self._turn(-1)

    @guarded
    def _forth(self) -> None:
        self._turn(1)

    @guarded
    def _fit(self) -> None:
        self.lens.show_part(1.0, QPointF(0.5, 0.5))

    @guarded
    def _leave(self) -> None:
        self.close()

    @guarded
    def _choose_pixels(self, which: str) -> None:
        self.lens.set_smooth(which == "smooth")

    @guarded
    def _copy(self) -> None:
        QGuiApplication.clipboard().setPixmap(self.area.grab())
        self.told.setText("<small>Copied to the clipboard.</small>")

    @guarded
    def keyPressEvent(self, event: Any) -> None:
        """Arrows turn to other images, + and - zoom, 0 fits, Ctrl+C copies, Escape closes."""
        key = event.key()
        if event.matches(QKeySequence.StandardKey.Copy):
            self._copy()
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Up):
            self._turn(-1)
        elif key in (Qt.Key.Key_Right, Qt.Key.Key_Down):
            self._turn(1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self.lens.show_part(self.lens.zoom * (1 / STEP if key == Qt.Key.Key_Minus else STEP), self.lens.centre)
        elif key == Qt.Key.Key_0:
            self._fit()
        else:
            super().keyPressEvent(event)
