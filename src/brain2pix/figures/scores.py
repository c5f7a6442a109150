"""Scores with their chance levels and intervals."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.patheffects import withStroke

from brain2pix.errors import ConfigError
from brain2pix.figures._style import BLUE, GREY, INK, LIGHT, NARROW, ORANGE, add_caption, area_color, join_parts, new_figure, place, styled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

_HALO = [withStroke(linewidth=2.5, foreground="white")]
SCORES = ("pixel 10-way", "independent 10-way", "pixel within photo", "ssim")
_HEADINGS = {
    "pixel 2-way": "2-way identification\nby pixels [%]",
    "pixel 10-way": "10-way identification\nby pixels [%]",
    "pixel 50-way": "50-way identification\nby pixels [%]",
    "independent 2-way": "2-way identification\nby untrained networks [%]",
    "independent 10-way": "10-way identification\nby untrained networks [%]",
    "independent 50-way": "50-way identification\nby untrained networks [%]",
    "pixel within photo": "identification within\nthe same photo, pixels [%]",
    "independent within photo": "identification within the\nsame photo, networks [%]",
    "ssim": "structural similarity\n(SSIM)",
    "pixel r": "pixel correlation",
}


class Line(Protocol):
    """One score with its interval, such as `brain2pix.evaluation.ScoreLine`."""

    @property
    def row(self) -> str:
        """Which system."""
        ...

    @property
    def score(self) -> str:
        """Which score, e.g. "pixel 10-way"."""
        ...

    @property
    def value(self) -> float:
        """Mean."""
        ...

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        ...

    @property
    def high(self) -> float | None:
        """Upper end."""
        ...

    @property
    def chance(self) -> float | None:
        """Score of one who knows nothing."""
        ...

    @property
    def unit(self) -> str:
        """Unit, "%" for percent."""
        ...


@styled
def score_figure(
    lines: "Sequence[Line]",
    *,
    scores: "Sequence[str]" = SCORES,
    references: "Sequence[Line]" = (),
    titles: "Mapping[str, str] | None" = None,
    width: float | None = None,
    title: str = "Scores on the test images",
    caption: str = "",
) -> "Figure":
    """Bars of each system, one panel per score, with chance as a dashed line and 95 % intervals.

    Parameters
    ----------
    lines : sequence of score lines; the first system is highlighted
    scores : sequence of str, which scores to show; those that no line has are left out
    references : sequence of score lines of what needs no system (the true images at low resolution, ...), drawn below as outlines
    titles : mapping of row to the name to show, or None
    width : float or None, of the page, inches; None = all panels in one line
    title, caption : str

    Raises
    ------
    ConfigError
        If no line has any of the scores.
    """
    found = {score: [line for line in lines if line.score == score] for score in scores}
    panels = {score: chosen for score, chosen in found.items() if chosen}
    if not panels:
        raise ConfigError(f"none of the scores {', '.join(scores)} is in the lines; there are {sorted({line.score for line in lines})}")
    places = _places(lines, references, panels)
    names = [(titles or {}).get(row, row) for row in places]
    height = max(places.values()) + 1
    side, panel, bar = 0.25 + 0.062 * max(map(len, names)), 1.5, 0.25
    columns = len(panels)
    if width is not None:
        most = max(1, min(columns, int((width - side - 0.15) / 1.45)))
        columns = -(-columns // -(-columns // most))  # lines of equal length
        bar = 0.17 if width < NARROW else bar
        panel = min((width - side - 0.15) / columns - 0.22, 1.5)
    lines_up = -(-len(panels) // columns)
    step = height * bar + 0.75
    figure = new_figure(width or side + columns * (panel + 0.22) + 0.15, 0.6 + lines_up * step)
    for number, (score, chosen) in enumerate(panels.items()):
        line, column = divmod(number, columns)
        axes = place(figure, side + column * (panel + 0.22), 0.55 + (lines_up - 1 - line) * step, panel, height * bar)
        _bars(axes, places, chosen, [line for line in references if line.score == score])
        axes.set_title(_HEADINGS.get(score, score), fontsize=8)
        axes.set_yticks(list(places.values()), names if column == 0 else [""] * len(names))
        axes.tick_params(axis="y", length=0, labelsize=8 if bar > 0.2 else 7)
    outlined = "outlines: no system, for comparison" if references else ""
    dashed = join_parts("dashed: chance (SSIM: a flat picture in the mean colour)", "lines: 95 % over photos", outlined)
    add_caption(figure, join_parts(dashed, caption), title)
    return figure


@styled
def encoder_figure(
    r: "ArrayLike",
    ceiling: "ArrayLike | None",
    areas: "Mapping[str, NDArray[np.bool_]]",
    *,
    width: float | None = None,
    title: str = "Prediction of responses to test images",
    caption: str = "",
) -> "Figure":
    """Accuracy of an encoder per voxel against its noise ceiling, and its distribution per area.

    Parameters
    ----------
    r : float array, [v], correlation over test images
    ceiling : float array, [v], largest r that noise allows, or None (then only the distributions are drawn)
    areas : mapping of name to bool array, [v]
    width : float or None, of the page, inches; None = as wide as it needs for three areas
    title, caption : str
    """
    values = np.asarray(r, dtype=np.float64)
    both = ceiling is not None
    stacked = both and width is not None and width < NARROW
    page = width or (5.3 if both else 3.6)
    figure = new_figure(page, 5.8 if stacked else 3.1)
    left = 0.55
    if ceiling is not None:
        axes = place(figure, left, 3.35 if stacked else 0.65, 1.9, 1.9)
        for index, (name, mask) in enumerate(areas.items()):
            color = area_color(name, index)
            axes.scatter(np.asarray(ceiling)[mask], values[mask], s=4, color=color, alpha=0.4, linewidths=0, rasterized=True, label=name)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=0)
        axes.set(xlim=(0, 1), ylim=(min(0, float(np.nanmin(values, initial=0))), 1), xlabel="noise ceiling [r]", ylabel="encoder [r]")
        axes.set_xticks(np.arange(0, 1.1, 0.2))
        axes.legend(loc="upper left", handletextpad=0.1, markerscale=2)
        left += 0 if stacked else 2.55
    axes = place(figure, left, 0.65, 1.9 if width is None else page - left - 0.15, 1.9)
    for index, (name, mask) in enumerate(areas.items()):
        _violin(axes, index, values[mask], area_color(name, index))
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set(xlim=(-0.6, len(areas) - 0.4), ylim=(None, 1), ylabel="encoder [r]")
    axes.set_xticks(range(len(areas)), [f"{name}\n{int(np.isfinite(values[mask]).sum()):,}" for name, mask in areas.items()])
    add_caption(figure, join_parts(caption, "numbers: voxels; lines: medians and quartiles"), title)
    return figure


def _places(lines: "Sequence[Line]", references: "Sequence[Line]", scores: "Collection[str]") -> dict[str, float]:
    """Height of each row: systems from the top, then the references below a gap."""
    systems, others = (list(dict.fromkeys(line.row for line in part if line.score in scores)) for part in (lines, references))
    first = {row: float(place) for place, row in enumerate(systems)}
    return first | {row: len(systems) + 0.3 + place for place, row in enumerate(others)}


def _bars(axes: "Axes", places: "Mapping[str, float]", systems: "Sequence[Line]", references: "Sequence[Line]") -> None:
    lines = [*systems, *references]
    percent = lines[0].unit == "%"
    for number, line in enumerate(lines):
        y = places[line.row]
        if number < len(systems):
            axes.barh(y, line.value, height=0.62, color=BLUE if y == 0 else "#a9bccb", zorder=2)
        else:
            axes.barh(y, line.value, height=0.62, facecolor="white", edgecolor=GREY, linewidth=0.8, zorder=2)
        if line.low is not None and line.high is not None:
            axes.plot([line.low, line.high], [y, y], color=INK, linewidth=1.1, solid_capstyle="butt", zorder=3)
        end = max(line.value, line.high if line.high is not None else line.value)
        text = f"{line.value:.1f}" if percent else f"{line.value:.3f}"
        axes.annotate(text, (end, y), (4, 0), textcoords="offset points", va="center", fontsize=6.5, path_effects=_HALO, zorder=5)
    chance = next((line.chance for line in lines if line.chance is not None), None)
    if chance is not None and np.isfinite(chance):
        axes.axvline(chance, color=ORANGE, linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)
    top = 100 if percent else max(max(line.high or line.value for line in lines), 0.1) * 1.05
    low = min(0.0, *(line.low if line.low is not None else line.value for line in lines))
    axes.set(xlim=(low, top + 0.2 * (top - low)), ylim=(max(places.values()) + 0.5, -0.5))
    axes.set_xticks([0, 50, 100] if percent else [tick for tick in (0, 0.2, 0.4, 0.6, 0.8) if tick <= top])
    axes.spines["bottom"].set_bounds(low, top)
    axes.grid(axis="x", color=LIGHT, linewidth=0.6, zorder=0)
    axes.spines["left"].set_visible(False)


def _violin(axes: "Axes", x: int, values: "NDArray[np.float64]", color: str) -> None:
    finite = values[np.isfinite(values)]
    if len(finite) < 5:
        axes.scatter(np.full(len(finite), x), finite, s=8, color=color)
        return
    counts, edges = np.histogram(finite, bins=24)
    smooth = np.convolve(np.pad(counts, 2), (0.1, 0.25, 0.3, 0.25, 0.1), mode="same")
    middle = np.concatenate([[2 * edges[0] - edges[1]], (edges[1:] + edges[:-1]) / 2, [2 * edges[-1] - edges[-2]]])
    half = 0.42 * smooth[1:-1] / smooth.max()
    axes.fill_betweenx(middle, x - half, x + half, color=color, alpha=0.45, linewidth=0)
    for share, width in ((0.25, 0.8), (0.5, 2.0), (0.75, 0.8)):
        level = float(np.quantile(finite, share))
        axes.plot([x - 0.3, x + 0.3], [level, level], color=INK, linewidth=width, solid_capstyle="butt")
