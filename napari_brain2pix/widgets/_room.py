"""How high a page is, told to the layouts around it once what was hidden has its size."""

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QStackedWidget, QWidget

from napari_brain2pix._guard import guarded

_PAUSES_MS = (0, 60, 300)  # notes learn their width at the first, and are as high as they need later


class RoomMaker(QTimer):
    """Makes room for widgets a few times, while they settle.

    Parameters
    ----------
    owner : QWidget
    *widgets : QWidget
    """

    def __init__(self, owner: QWidget, *widgets: QWidget) -> None:
        super().__init__(owner)
        self._widgets = widgets
        self._pauses_ms: list[int] = []
        self.setSingleShot(True)
        self.timeout.connect(self._make_room)

    @guarded
    def soon(self) -> None:
        """Begin, or begin again."""
        self._pauses_ms = list(_PAUSES_MS)
        self.start(self._pauses_ms.pop(0))

    @guarded
    def _make_room(self) -> None:
        for widget in self._widgets:
            _tell_layouts(widget)
        if self._pauses_ms:
            self.start(self._pauses_ms.pop(0))


def _tell_layouts(widget: QWidget | None) -> None:
    """Tell the layouts around a widget up to its page, which missed it while they were hidden, how high it is."""
    while widget is not None and not isinstance(widget.parentWidget(), QStackedWidget):
        if widget.layout() is not None:
            widget.layout().invalidate()
        widget.updateGeometry()
        widget = widget.parentWidget()
