"""The legend as a visual field: the colours where they belong, fixation in the middle, the stimulus as a square."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_brain2pix._guard import guarded, guarded_paint, painting
from napari_brain2pix.widgets._parts import DARK, outlined_text, paint_fields, pixmap_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from napari_brain2pix.brain.maps import MapKind, MapView

GRAIN = 181  # pixels of the painted field
WHITE = QColor(250, 250, 250)
MOST_DOTS = 2500
REACH_PX = 9  # of a click: fields with their centre within it are meant
STILL_PX = 4  # a press that moves less is a click
STEPS = 24  # of the arrow keys from fixation to the edge; with Shift four times as far
ARROWS = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, 1), Qt.Key.Key_Down: (0, -1)}


class VisualField(QWidget):
    """Paints the visual field, x right and y up, as the subject sees it. A click or an arrow key points at a place in it.

    Signals
    -------
    picked : x, y and reach in degrees
    cleared : the user pointed at nothing, or pressed Escape
    """

    picked = Signal(float, float, float)
    cleared = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Visual field")
        self.setAccessibleDescription(
            "Arrow keys point at a place and select the voxels that see it; with Shift in larger steps; Escape clears"
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._kind: MapKind | None = None
        self._edge_deg = 6.0
        self._field: Any = None
        self._dots: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]] | None = None
        self._chosen: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None
        self._fields: NDArray[np.floating] = np.zeros((0, 3))
        self._pressed: QPointF | None = None
        self._pointer: tuple[float, float] | None = None  # what the arrow keys move, degrees

    def sizeHint(self) -> QSize:
        """As wide as the dock, a little less high."""
        return QSize(300, 248)

    def minimumSizeHint(self) -> QSize:
        """Say what stays readable."""
        return QSize(220, self.sizeHint().height())

    def set_map(self, view: "MapView", fields: "RetinotopicMap") -> None:
        """Show the colours of a map.

        Parameters
        ----------
        view : MapView
        fields : RetinotopicMap that it shows
        """
        self._kind, self._edge_deg, self._field, self._dots = view.kind, fields.field_of_view_deg / 2, None, None
        if self._has_bar:
            shown = np.flatnonzero(view.shown & np.isfinite(fields.x0_deg + fields.y0_deg))
            shown = shown[:: max(1, len(shown) // MOST_DOTS)]
            self._dots = (fields.x0_deg[shown], fields.y0_deg[shown], view.colours[shown])
        else:
            self._field = pixmap_of(field_picture(view.kind, self._edge_deg))
        self.updateGeometry()
        self.update()

    def set_region(self, x_deg: "NDArray[np.floating]", y_deg: "NDArray[np.floating]") -> None:
        """Show where the receptive fields of the chosen voxels lie."""
        step = max(1, len(x_deg) // MOST_DOTS)
        self._chosen = (x_deg[::step], y_deg[::step])
        self.update()

    def set_selection(self, circles: "NDArray[np.floating]") -> None:
        """Mark the receptive fields of selected voxels.

        Parameters
        ----------
        circles : float array, [n 3], x, y and sigma, degrees
        """
        self._fields = circles
        self.update()

    @property
    def reach_deg(self) -> float:
        """How far from a click a field may have its centre."""
        return REACH_PX / self._scale

    def position_of(self, x_deg: float, y_deg: float) -> QPointF:
        """Place of the visual field in the widget."""
        centre = self._square().center()
        return QPointF(centre.x() + x_deg * self._scale, centre.y() - y_deg * self._scale)

    @property
    def _scale(self) -> float:
        """Pixels per degree."""
        return max(self._square().width() / 2, 1.0) / self._edge_deg

    def _square(self) -> QRectF:
        """Where the stimulus is drawn."""
        height = self.height() - (34 if self._has_bar else 0)
        half = min(self.width() / 2 - 34, height / 2 - 20)
        return QRectF(self.width() / 2 - half, height / 2 - half, 2 * half, 2 * half)

    @guarded
    def mousePressEvent(self, event: Any) -> None:
        """Remember where a click may have begun."""
        self._pressed = _place(event) if event.button() == Qt.MouseButton.LeftButton else None

    @guarded
    def mouseReleaseEvent(self, event: Any) -> None:
        """Point at a place; beside the stimulus there is nothing to point at."""
        pressed, self._pressed = self._pressed, None
        if pressed is None or (_place(event) - pressed).manhattanLength() > STILL_PX:
            return
        place, centre = _place(event), self._square().center()
        self._point_at((place.x() - centre.x()) / self._scale, (centre.y() - place.y()) / self._scale)

    @guarded
    def keyPressEvent(self, event: Any) -> None:
        """Move the place that is pointed at, or clear."""
        if event.key() == Qt.Key.Key_Escape:
            self._pointer = None
            self.cleared.emit()
        elif event.key() in ARROWS:
            x, y = self._pointer or self._start()
            step = self._edge_deg / STEPS * (4 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
            across, up = ARROWS[event.key()]
            edge = self._edge_deg
            self._point_at(float(np.clip(x + across * step, -edge, edge)), float(np.clip(y + up * step, -edge, edge)))
        else:
            event.ignore()  # Tab and the shortcuts of the window are not ours

    def _start(self) -> tuple[float, float]:
        """Where the arrow keys begin: in the middle of what is selected, or at fixation."""
        if not len(self._fields):
            return 0.0, 0.0
        return float(self._fields[:, 0].mean()), float(self._fields[:, 1].mean())

    def _point_at(self, x_deg: float, y_deg: float) -> None:
        if max(abs(x_deg), abs(y_deg)) > 1.02 * self._edge_deg:
            self._pointer = None
            self.cleared.emit()
            return
        self._pointer = (x_deg, y_deg)
        self.picked.emit(x_deg, y_deg, self.reach_deg)

    def forget_pointer(self) -> None:
        """Let the arrow keys begin anew: the user has pointed at something elsewhere."""
        self._pointer = None
        self.update()

    @property
    def _has_bar(self) -> bool:
        """Size, quality and accuracy have no place of their own in the field: they get dots and a bar."""
        return self._kind is not None and self._kind.kind not in ("angle", "eccentricity")

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw everything."""
        square = self._square()
        centre, half = square.center(), square.width() / 2
        with painting(self, QPainter.RenderHint.Antialiasing, QPainter.RenderHint.SmoothPixmapTransform) as painter:
            self._paint_colours(painter, square, centre, half)
            self._paint_dots(painter, centre, half)
            self._paint_rings(painter, square, centre, half)
            if self._has_bar:
                self._paint_bar(painter, QRectF(centre.x() - half, self.height() - 32, 2 * half, 10))
            self._paint_selection(painter, square)

    def _paint_selection(self, painter: QPainter, square: QRectF) -> None:
        """Draw the selected fields, where one points, and that the keyboard is here."""
        painter.setClipRect(square.adjusted(-14, -14, 14, 14))
        if self._pointer is not None:
            place, reach = self.position_of(*self._pointer), float(REACH_PX)
            for pen in (QPen(DARK, 3.0), QPen(WHITE, 1.2, Qt.PenStyle.DashLine)):
                painter.setPen(pen)
                painter.drawEllipse(place, reach, reach)
        paint_fields(painter, self._fields, square.center(), self._scale)
        painter.setClipping(False)
        if self.hasFocus():
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2.0))
            painter.drawRect(square.adjusted(-3, -3, 3, 3))

    def _paint_colours(self, painter: QPainter, square: QRectF, centre: QPointF, half: float) -> None:
        painter.fillRect(square, QColor(128, 128, 128, 26))
        if self._field is None:
            return
        painter.setOpacity(0.28)
        painter.drawPixmap(square, self._field, QRectF(self._field.rect()))
        painter.setOpacity(1.0)
        disc = QPainterPath()
        disc.addEllipse(centre, half, half)
        painter.setClipPath(disc)
        painter.drawPixmap(square, self._field, QRectF(self._field.rect()))
        painter.setClipping(False)

    def _paint_dots(self, painter: QPainter, centre: QPointF, half: float) -> None:
        scale = half / self._edge_deg
        if self._dots is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            for x, y, colour in zip(*self._dots, strict=True):
                painter.setBrush(QColor.fromRgbF(*(float(part) for part in np.clip(colour, 0, 1))))
                painter.drawEllipse(QPointF(centre.x() + x * scale, centre.y() - y * scale), 2.2, 2.2)
        if self._chosen is not None:
            painter.setPen(QPen(QColor(15, 17, 22, 200), 0.8))
            painter.setBrush(QColor(255, 255, 255, 235))
            for x, y in zip(*self._chosen, strict=True):
                if abs(x) <= 1.1 * self._edge_deg and abs(y) <= 1.1 * self._edge_deg:
                    painter.drawEllipse(QPointF(centre.x() + x * scale, centre.y() - y * scale), 1.7, 1.7)

    def _paint_rings(self, painter: QPainter, square: QRectF, centre: QPointF, half: float) -> None:
        ink = self.palette().color(self.foregroundRole())
        painter.setBrush(Qt.BrushStyle.NoBrush)
        font = painter.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.8))
        painter.setFont(font)
        painter.setPen(QPen(ink, 1.2))
        painter.drawRect(square)
        for degrees in ring_degrees(self._edge_deg):
            radius = half * degrees / self._edge_deg
            painter.setPen(QPen(QColor(15, 17, 22, 110), 2.2))
            painter.drawEllipse(centre, radius, radius)
            painter.setPen(QPen(QColor(255, 255, 255, 190), 1.0))
            painter.drawEllipse(centre, radius, radius)
        for degrees in ring_degrees(self._edge_deg):
            away = half * degrees / self._edge_deg * np.sqrt(0.5)
            outlined_text(painter, QPointF(centre.x() + away, centre.y() + away), f"{degrees:g}°", WHITE, DARK)
        for pen in (QPen(DARK, 3.6), QPen(WHITE, 1.6)):
            painter.setPen(pen)
            painter.drawLine(QPointF(centre.x() - 6, centre.y()), QPointF(centre.x() + 6, centre.y()))
            painter.drawLine(QPointF(centre.x(), centre.y() - 6), QPointF(centre.x(), centre.y() + 6))
        painter.setPen(ink)
        words = (("left", -half - 17, 0), ("right", half + 18, 0), ("up", 0, -half - 10), ("down", 0, half + 10))
        for word, x, y in words:
            box = QRectF(0, 0, 60, 16)
            box.moveCenter(QPointF(centre.x() + x, centre.y() + y))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, word)

    def _paint_bar(self, painter: QPainter, bar: QRectF) -> None:
        kind = self._kind
        if kind is None:
            return
        strip = np.repeat((255 * kind.table()[None]).round().astype(np.uint8), 4, axis=0)
        painter.drawPixmap(bar, pixmap_of(strip), QRectF(0, 0, strip.shape[1], strip.shape[0]))
        painter.setPen(self.palette().color(self.foregroundRole()))
        for share, side in ((0.0, Qt.AlignmentFlag.AlignLeft), (0.5, Qt.AlignmentFlag.AlignHCenter), (1.0, Qt.AlignmentFlag.AlignRight)):
            value = kind.low + share * (kind.high - kind.low)
            painter.drawText(QRectF(bar.left(), bar.bottom() + 3, bar.width(), 16), side, f"{value:.2g}{kind.unit}")


def field_picture(kind: "MapKind", edge_deg: float) -> "NDArray[np.uint8]":
    """Colour of each place of the visual field, uint8 [h w 3], row 0 is up.

    Parameters
    ----------
    kind : MapKind, polar angle or eccentricity
    edge_deg : float, half-width of the field
    """
    places = ((np.arange(GRAIN) + 0.5) / GRAIN * 2 - 1) * edge_deg
    x_deg, y_deg = np.meshgrid(places, -places)
    value = np.degrees(np.arctan2(y_deg, x_deg)) % 360 if kind.kind == "angle" else np.hypot(x_deg, y_deg)
    return (255 * np.clip(kind.colours(value), 0, 1)).round().astype(np.uint8)


def _place(event: Any) -> QPointF:
    """Where a mouse event happened; Qt 6 has another name for it."""
    return QPointF(event.position() if hasattr(event, "position") else event.localPos())


def ring_degrees(edge_deg: float) -> list[float]:
    """Two or three round eccentricities up to the edge of the stimulus."""
    steps = [step * power for power in (0.1, 1, 10) for step in (1, 2, 5)]
    step = next((step for step in steps if edge_deg / step <= 3.01), steps[-1])
    return [float(step * number) for number in range(1, int(edge_deg / step + 1e-6) + 1)]
