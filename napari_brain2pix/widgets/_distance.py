"""The badge beside a stimulated picture: whether the stimulated responses are like measured ones."""

from html import escape
from typing import Any

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded_paint, painting
from napari_brain2pix.widgets._parts import AMBER, Note

CALM = QColor(86, 160, 211)  # told from amber by colour-blind eyes too; sign and words say it without colour
SIGNS = {True: "✓", False: "⚠", None: "…"}


class DistanceBadge(QWidget):
    """A sign, words, and a button that makes the stimulation like measured responses again; hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: bool | None = None
        self.largest: float | None = None
        self.sign = QLabel()
        self.words = Note()
        self.words.setTextFormat(Qt.TextFormat.RichText)
        self.button = QPushButton()
        self.button.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 6)
        row.setSpacing(8)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addWidget(self.words)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        row.addWidget(self.sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(column, 1)
        self.hide()

    def say(self, inside: bool | None, words: str, meaning: str, action: str = "", largest: float | None = None) -> None:
        """Show what is known.

        Parameters
        ----------
        inside : bool or None, whether the responses are like measured ones; None if that is not known
        words : str; empty to hide the badge
        meaning : str, of the words
        action : str, of the button; empty for none
        largest : float or None, amplitude that the button stands for
        """
        self.inside, self.largest = inside, largest
        self.sign.setText(f"<b>{SIGNS[inside]}</b>")
        self.words.say(escape(words, quote=False))
        self.button.setText(action)
        self.button.setVisible(bool(action))
        self.setToolTip(meaning)
        self.setAccessibleName(words)
        self.setVisible(bool(words))
        self.update()

    def text(self) -> str:
        """Say what it shows now; empty while it is hidden."""
        return "" if self.isHidden() else self.accessibleName()

    @guarded_paint
    def paintEvent(self, event: Any) -> None:
        """Draw a frame: dashed while it is not known, full for a warning."""
        colour = AMBER if self.inside is False else CALM if self.inside else self.palette().color(self.foregroundRole())
        fill = QColor(colour)
        fill.setAlpha(40 if self.inside is False else 18)
        style = Qt.PenStyle.DashLine if self.inside is None else Qt.PenStyle.SolidLine
        with painting(self) as painter:
            painter.setPen(QPen(colour, 2.0 if self.inside is False else 1.0, style))
            painter.setBrush(fill)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 4, 4)
