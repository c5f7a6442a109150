"""The numbers of a training while they come, one phase at a time."""

from typing import TYPE_CHECKING, Any

import pyqtgraph
from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._parts import Note

if TYPE_CHECKING:
    from brain2pix.events import Metric
    from napari_brain2pix._state import State

REDRAW_MS = 100
MOST = 4000  # points of a curve; more are thinned out, for a screen shows no more
# Okabe and Ito's colours, which colour-blind people tell apart; the sum comes first and is drawn thicker.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#999999")
TOTAL = "total"


class Curve:
    """One number over the steps of a phase."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def add(self, step: int, value: float) -> None:
        """Add a point; a run that goes on from a checkpoint says some steps again, and its newer word counts."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)
        if len(self.steps) > MOST:
            self.steps, self.values = self.steps[::2], self.values[::2]


class LossPlot(QWidget):
    """Curves of the phase that is running, or of another that the user chose.

    Parameters
    ----------
    state : State, for reporting problems
    """

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.curves: dict[str, dict[str, Curve]] = {}
        self._lines: dict[str, Any] = {}
        self._chosen = ""  # by the user; empty: the newest phase
        self.legend = Note()  # beside the curves: on them, it would hide what it names
        self.title = QLabel()
        self.phase = QComboBox()
        self.phase.setAccessibleName("Phase whose losses are shown")
        self.plot = pyqtgraph.PlotWidget(background=None, enableMenu=False)
        menu = self.plot.getPlotItem().ctrlMenu  # pyqtgraph makes it all the same; without a parent it would outlive the window
        menu.setParent(self.plot)
        menu.hide()  # a menu with a parent but no window of its own would lie on the curves
        self.plot.setAccessibleName("Loss over steps")
        self.plot.setMinimumSize(160, 100)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        self.plot.getPlotItem().setContentsMargins(0, 2, 8, 0)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._draw)
        self.phase.activated.connect(self._choose)
        self._lay_out()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.title)
        head.addWidget(self.phase, 1)
        self.phase.hide()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addLayout(head)
        box.addWidget(self.legend)
        box.addWidget(self.plot, 1)
        box.addStretch(0)

    @property
    def shown(self) -> str:
        """Phase whose curves are shown."""
        return self._chosen or next(reversed(self.curves), "")

    def clear(self) -> None:
        """Forget everything: another job is looked at."""
        self.curves.clear()
        self._chosen = ""
        self.phase.clear()
        self.phase.hide()
        self._draw()

    def add(self, metric: "Metric") -> None:
        """Take a number."""
        if metric.stage not in self.curves:
            self.curves[metric.stage] = {}
            with QSignalBlocker(self.phase):
                self.phase.addItem(metric.stage)
                self.phase.setCurrentText(self.shown)
            self.phase.setVisible(self.phase.count() > 1)
        self.curves[metric.stage].setdefault(metric.name, Curve()).add(metric.step, metric.value)
        if not self._timer.isActive():
            self._timer.start()

    @guarded
    def showEvent(self, event: Any) -> None:
        """Draw what came while nobody looked."""
        super().showEvent(event)
        ink = QColor(self.palette().color(self.foregroundRole()))
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setPen(ink)
            self.plot.getAxis(side).setTextPen(ink)
        self._draw()

    @guarded
    def _choose(self, index: int) -> None:
        name = self.phase.itemText(index)
        self._chosen = "" if name == next(reversed(self.curves), "") else name
        self._draw()

    @guarded
    def _draw(self) -> None:
        if not self.isVisible():
            return
        curves = self.curves.get(self.shown, {})
        names = sorted(curves, key=lambda name: name != TOTAL)
        if list(self._lines) != names:
            self._make_lines(names)
        for name, line in self._lines.items():
            line.setData(curves[name].steps, curves[name].values)
        self.plot.setVisible(bool(names))
        self.title.setText("<b>Losses</b>" if names else "<b>Losses</b> <small>none yet</small>")
        shared = _shared_words(names)
        dots = (f'<span style="color:{_colour(number)}">●</span>' for number in range(len(names)))
        words = (f"{dot}&nbsp;{_title(name[len(shared) :], curves[name])}" for dot, name in zip(dots, names, strict=True))
        self.legend.say(f"{shared} &nbsp; " * bool(shared) + " &nbsp; ".join(words))

    def _make_lines(self, names: list[str]) -> None:
        for line in self._lines.values():
            self.plot.removeItem(line)
        self._lines = {}
        for number, name in enumerate(names):
            pen = pyqtgraph.mkPen(_colour(number), width=2.5 if name == TOTAL else 1.3)
            self._lines[name] = self.plot.plot([], [], pen=pen, connect="finite")  # numbers that are not finite leave a gap


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _shared_words(names: list[str]) -> str:
    """Words that many curves begin with: said once, they leave room for the curves."""
    shared = ""
    for words in zip(*(name.split(" ") for name in names), strict=False):
        if len(set(words)) > 1:
            break
        shared += f"{words[0]} "
    return shared if len(names) > 2 else ""


def _title(name: str, curve: Curve) -> str:
    """Name of a curve with its newest value, kept on one line."""
    return f"{name.replace('_', ' ')} {curve.values[-1]:.3g}".replace(" ", "&nbsp;").replace("-", "&#8209;")
