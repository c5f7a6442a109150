"""Small parts that the panels share. Colours come from napari's theme, except where a meaning needs its own."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_brain2pix._guard import guarded, guarded_paint, painting

if TYPE_CHECKING:
    from numpy.typing import NDArray

AMBER = QColor(255, 179, 71)
MINT, DARK = QColor(64, 255, 166), QColor(15, 17, 22)  # selected voxels, here as on the brain
MOST_CIRCLES = 60  # of selected fields; where there are more, only their centres are drawn


def pixmap_of(picture: "NDArray[np.uint8]") -> QPixmap:
    """Qt picture of a uint8 array, [h w 3]."""
    pixels = np.ascontiguousarray(picture)
    height, width, _ = pixels.shape
    return QPixmap.fromImage(QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy())


def picture_of(png: bytes) -> "NDArray[np.uint8]":
    """Pixels of a PNG, uint8 [h w 3]."""
    return _pixels(QImage.fromData(png, "PNG"))


def _pixels(image: QImage) -> "NDArray[np.uint8]":
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    memory = image.constBits()
    if hasattr(memory, "setsize"):  # PyQt gives an address without a length
        memory.setsize(image.sizeInBytes())
    rows = np.frombuffer(memory, dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def swatch(colour: str, edge: int = 10) -> QIcon:
    """Paint a round dot in a colour."""
    pixmap = QPixmap(edge, edge)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawEllipse(QRectF(1, 1, edge - 2, edge - 2))
    painter.end()
    return QIcon(pixmap)


class Note(QLabel):
    """Small wrapped text that takes exactly the height it needs (Qt guesses that of wrapped labels for another width)."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.say(text)

    def say(self, text: str) -> None:
        """Show a text."""
        self.setText(f"<small>{text}</small>" if text else "")
        self._fit()

    @guarded
    def resizeEvent(self, event: Any) -> None:
        """Follow the width."""
        super().resizeEvent(event)
        self._fit()

    @guarded
    def changeEvent(self, event: Any) -> None:
        """Follow the font, which comes with napari's style."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # else it enters the height that Qt finds
        self.setFixedHeight(max(self.heightForWidth(self.width()), 1) if self.text() else 0)


class Section(QWidget):
    """A heading, and what belongs to it."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(6)
        self.body.addWidget(QLabel(f"<b>{title}</b>"))


class Choice(QWidget):
    """Buttons side by side, of which one is down.

    Signals
    -------
    chosen : str, key of the button that the user pressed
    """

    chosen = Signal(str)

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        for key, title in options.items():
            button = QPushButton(title)
            button.setCheckable(True)
            button.setAccessibleName(title)
            button.clicked.connect(self._clicked)
            self._group.addButton(button)
            row.addWidget(button, 1)
            self.buttons[key] = button

    @property
    def current(self) -> str:
        """Key of the button that is down."""
        return next((key for key, button in self.buttons.items() if button.isChecked()), "")

    def set_current(self, key: str) -> None:
        """Press a button without telling anyone."""
        if key in self.buttons:
            self.buttons[key].setChecked(True)

    @guarded
    def _clicked(self) -> None:
        self.chosen.emit(self.current)


class NumberSlider(QWidget):
    """A slider in tenths with a field for the exact number; both answer to the keyboard.

    Signals
    -------
    valueChanged : float
    """

    valueChanged = Signal(float)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.field = QDoubleSpinBox()
        self.field.setDecimals(1)
        self.field.setSingleStep(0.1)
        self.field.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.field.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.slider.setAccessibleName(name)
        self.field.setAccessibleName(f"{name}, exact")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.slider, 1)
        row.addWidget(self.field)
        self.slider.valueChanged.connect(self._slid)
        self.field.valueChanged.connect(self._typed)

    def value(self) -> float:
        """Give the number."""
        return float(self.field.value())

    def setRange(self, low: float, high: float) -> None:
        """Set both ends."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.field):
            self.slider.setRange(round(10 * low), round(10 * high))
            self.slider.setPageStep(5)
            self.field.setRange(low, high)

    def setValue(self, value: float) -> None:
        """Set the number."""
        self.field.setValue(value)

    def setSigns(self, before: str, after: str) -> None:
        """Set what stands before and after the number."""
        self.field.setPrefix(before)
        self.field.setSuffix(after)

    @guarded
    def _slid(self, tenths: int) -> None:
        self.field.setValue(tenths / 10)

    @guarded
    def _typed(self, value: float) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(10 * value))
        self.valueChanged.emit(value)


class Badge(QWidget):
    """A word in a pill that must not be overlooked."""

    def __init__(self, text: str, colour: QColor = AMBER) -> None:
        super().__init__()
        self._text, self._colour = text, colour
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Room for the word."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._text) + 18, metrics.height() + 6)

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw the pill."""
        fill = QColor(self._colour)
        fill.setAlpha(40)
        box = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        with painting(self, QPainter.RenderHint.Antialiasing) as painter:
            painter.setPen(QPen(self._colour, 1.2))
            painter.setBrush(fill)
            painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
            painter.setPen(self.palette().color(self.foregroundRole()))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self._text)


class Notice(QWidget):
    """A message in the dock, with an amber edge; hidden when it has nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 8, 8, 8)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.button = QPushButton()
        self.button.hide()
        row.addWidget(self.label, 1)
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignBottom)
        self.hide()

    def say(self, text: str, action: str = "") -> None:
        """Show a message, with a button if there is something to do; an empty one hides it."""
        self.label.setText(text)
        self.button.setText(action)
        self.button.setVisible(bool(action))
        self.setVisible(bool(text))

    def text(self) -> str:
        """Say what it shows now; empty while it is hidden."""
        return "" if self.isHidden() else str(self.label.text())

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw the edge."""
        fill = QColor(AMBER)
        fill.setAlpha(28)
        with painting(self, QPainter.RenderHint.Antialiasing) as painter:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(fill)
            painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
            painter.setBrush(AMBER)
            painter.drawRoundedRect(QRectF(0, 0, 4, self.height()), 2, 2)


def outlined_text(painter: QPainter, where: QPointF, text: str, ink: QColor, around: QColor) -> None:
    """Draw centred text that stays readable on any colour."""
    metrics = painter.fontMetrics()
    box = QRectF(0, 0, metrics.horizontalAdvance(text) + 4, metrics.height())
    box.moveCenter(where)
    painter.setPen(around)
    for shift in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        painter.drawText(box.translated(*shift), Qt.AlignmentFlag.AlignCenter, text)
    painter.setPen(ink)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def paint_fields(painter: QPainter, circles: "NDArray[np.floating]", centre: QPointF, scale: float) -> None:
    """Draw receptive fields: a dot where each has its centre, and a circle of one sigma around it if they are not too many.

    Parameters
    ----------
    painter : QPainter
    circles : float array, [n 3], x, y and sigma, degrees
    centre : QPointF, fixation
    scale : float, pixels per degree
    """
    places = [(QPointF(centre.x() + x * scale, centre.y() - y * scale), sigma * scale) for x, y, sigma in np.asarray(circles, dtype=float)]
    many = len(places) > 1
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(DARK, 1.8 if many else 4.0), QPen(MINT, 0.8 if many else 2.0)):
        painter.setPen(pen)
        for place, radius in places if len(places) <= MOST_CIRCLES else []:
            painter.drawEllipse(place, radius, radius)
    painter.setPen(QPen(DARK, 1.0))
    painter.setBrush(MINT)
    for place, _ in places:
        painter.drawEllipse(place, *((2.6, 2.6) if many else (3.4, 3.4)))
    painter.setBrush(Qt.BrushStyle.NoBrush)


def picture_of_widget(widget: QWidget) -> "NDArray[np.uint8]":
    """Pixels of a widget as it is painted now, uint8 [h w 3]."""
    return _pixels(widget.grab().toImage())


def row(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side; fields take the room that there is, else all share it."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    wide = [widget for widget in widgets if isinstance(widget, QLineEdit | QComboBox)] or list(widgets)
    for widget in widgets:
        layout.addWidget(widget, int(widget in wide))
    return layout
