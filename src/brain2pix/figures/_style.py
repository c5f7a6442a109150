"""What all figures share: type, colours, a figure without pyplot, and the caption line that says what is shown."""

from collections.abc import Callable
from functools import wraps
from textwrap import wrap
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

# Okabe and Ito, colours that all kinds of colour vision tell apart: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442"
AREA_COLORS = {"V1": BLUE, "V2": ORANGE, "V3": GREEN, "hV4": PURPLE}
MORE_COLORS = (SKY, VERMILION, YELLOW, "#777777")
INK, GREY, LIGHT = "#222222", "#666666", "#dddddd"
_SEPARATOR = "   ·   "
NARROW = 5.0  # inches; below it a figure is for one column of a page, and panels stand below each other
_MARGIN, _LINE, _CHARACTERS_PER_INCH = 0.12, 0.13, 19.0  # inches and count, of a caption in 7 pt

_TYPE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.dpi": 150.0,
}


def styled(draw: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Draw with our type and colours, whatever the user's matplotlib settings are."""

    @wraps(draw)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        with rc_context(_TYPE):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure with an Agg canvas; sizes in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_caption(figure: Figure, text: str, title: str = "") -> None:
    """Write the title at the top left and the caption at the bottom left, on as many lines as it needs; call it last."""
    lines = _wrapped(text, int(_CHARACTERS_PER_INCH * (figure.get_figwidth() - 2 * _MARGIN)))
    _make_room(figure, _LINE * max(len(lines) - 1, 0))
    width, height = figure.get_size_inches()
    if title:
        figure.text(_MARGIN / width, 1 - 0.08 / height, title, va="top", ha="left", fontsize=10, fontweight="bold")
    if lines:
        figure.text(_MARGIN / width, 0.07 / height, "\n".join(lines), va="bottom", ha="left", fontsize=7, color=GREY, linespacing=1.25)


def join_parts(*parts: str) -> str:
    """Join the parts of a caption that are not empty."""
    return _SEPARATOR.join(part for part in parts if part)


def _wrapped(text: str, width: int) -> list[str]:
    """Break a caption between its parts where possible."""
    lines: list[str] = []
    for part in text.split(_SEPARATOR) if text else []:
        if lines and len(lines[-1]) + len(_SEPARATOR) + len(part) <= width:
            lines[-1] += _SEPARATOR + part
        else:
            lines += wrap(part, width)
    return lines


def _make_room(figure: Figure, inches: float) -> None:
    """Let the figure grow at its lower edge; everything keeps its size."""
    old = figure.get_figheight()
    new = old + inches
    figure.set_figheight(new)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, (box.y0 * old + inches) / new, box.width, box.height * old / new))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, (y * old + inches) / new))


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def bare(axes: Axes) -> None:
    """Take away ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def area_color(name: str, index: int = 0) -> str:
    """Colour of a visual area by its name, ``V2d`` like ``V2``; other names take further colours in turn."""
    return AREA_COLORS.get(name.rstrip("dv"), MORE_COLORS[index % len(MORE_COLORS)])
