"""What stimulating a part of the cortex model does to the picture."""

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke

from brain2pix.errors import ShapeError
from brain2pix.figures._images import mark_fixation, outline_quadrant, show, to_rgb
from brain2pix.figures._style import GREY, INK, LIGHT, NARROW, ORANGE, VERMILION, add_caption, bare, join_parts, new_figure, place, styled
from brain2pix.figures.colormaps import color_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike, NDArray

_HALO = [withStroke(linewidth=2.5, foreground="white")]
_EDGE = 1.25  # inches
_BAR = 0.75  # inches, with its ticks and label
_WORDS_AT = 1 + (0.1 + _BAR) / _EDGE  # of the last picture's width


@styled
def stimulation_figure(
    baseline: "ArrayLike",
    stimulated: "ArrayLike",
    labels: "Sequence[str]",
    *,
    stimuli: "ArrayLike | None" = None,
    quadrants: "Sequence[str | None] | None" = None,
    shares: "ArrayLike | None" = None,
    badges: "Sequence[str] | None" = None,
    title: str = "Microstimulation of the model",
    caption: str = "",
) -> "Figure":
    """Reconstruction before and after stimulation and where it changed, one line per stimulation.

    Parameters
    ----------
    baseline, stimulated : pictures, [k ...], uint8 [k h w 3] or float or Tensor in 0..1, [k 3 h w] or [k h w 3]
    labels : sequence of str, [k], what was done, e.g. "upper right, +1.8 SD, 312 voxels"
    stimuli : pictures, [k ...], or None; the photographs that caused the responses
    quadrants : sequence of str or None, [k]; outlined where given
    shares : float array, [k], or None; share of the change inside the quadrant (chance .25)
    badges : sequence of str, [k], or None; whether the stimulated pattern is like measured ones; those that begin with "out" are marked
    title, caption : str

    Raises
    ------
    ShapeError
        If the parts differ in number.
    """
    before, after = to_rgb(baseline), to_rgb(stimulated)
    parts = {"stimulus": None if stimuli is None else to_rgb(stimuli), "before": before, "after": after}
    k = len(before)
    given = {"after": after, "stimuli": parts["stimulus"], "labels": labels, "quadrants": quadrants, "shares": shares, "badges": badges}
    for name, part in given.items():
        if part is not None and len(np.asarray(part) if name == "shares" else part) != k:  # type: ignore[arg-type]
            raise ShapeError(f"{k} stimulations need as many {name}, got {len(part)}")  # type: ignore[arg-type]
    energy = np.square((after.astype(np.float64) - before) / 255).sum(axis=-1)  # [k h w]
    columns = [(name, part) for name, part in parts.items() if part is not None]
    step, left = _EDGE + 0.08, 0.12
    figure = new_figure(left + (len(columns) + 1) * step + _BAR + 2.6, 1.0 + k * step)
    top_of_scale = float(energy.max()) or 1.0
    for line in range(k):
        bottom = 0.42 + (k - 1 - line) * step
        for column, (name, part) in enumerate(columns):
            axes = place(figure, left + column * step, bottom, _EDGE, _EDGE)
            show(axes, part[line])
            mark_fixation(axes)
            if line == 0:
                axes.set_title(name, fontsize=8)
        axes = place(figure, left + len(columns) * step, bottom, _EDGE, _EDGE)
        image = _show_change(axes, energy[line], top_of_scale)
        if line == 0:
            axes.set_title("change", fontsize=8)
        if quadrants is not None and quadrants[line] is not None:
            outline_quadrant(axes, str(quadrants[line]))
        axes.text(_WORDS_AT, 0.5, _words(line, labels, shares), ha="left", va="center", fontsize=8, linespacing=1.5)
        if badges is not None:
            outside = badges[line].startswith("out")
            axes.text(_WORDS_AT, 0.03, fill(badges[line], 44), fontsize=6.5, va="bottom", color=VERMILION if outside else GREY)
    bar = place(figure, left + (len(columns) + 1) * step + 0.02, 0.42, 0.09, min(k * step - 0.08, 2 * _EDGE))
    figure.colorbar(image, cax=bar)
    bar.set_ylabel("squared RGB change", fontsize=7)
    bar.tick_params(labelsize=6)
    add_caption(figure, join_parts(caption, "prediction of a model, not of a brain"), title)
    return figure


@styled
def one_stimulation_figure(
    baseline: "ArrayLike",
    stimulated: "ArrayLike",
    *,
    stimulus: "ArrayLike | None" = None,
    centres_deg: "ArrayLike | None" = None,
    chosen: "ArrayLike | None" = None,
    field_of_view_deg: float = 12.0,
    width: float = 7.2,
    title: str = "Microstimulation of the model",
    caption: str = "",
) -> "Figure":
    """One stimulation in full: stimulus, reconstruction, stimulated, where the picture changed, and where the stimulated voxels look.

    Parameters
    ----------
    baseline, stimulated : one picture each, [1 ...], as `stimulation_figure` takes them
    stimulus : one picture, [1 ...], or None if the base is no response to one picture
    centres_deg : float array, [v 2], x and y of the model's receptive fields, NaN where unknown; or None without a map
    chosen : bool array, [v], the stimulated voxels
    field_of_view_deg : float
    width : float, of the page, inches; a narrow one takes two lines
    title, caption : str
    """
    before, after = to_rgb(baseline), to_rgb(stimulated)
    pictures = {"stimulus": None if stimulus is None else to_rgb(stimulus)[0], "reconstruction": before[0], "stimulated": after[0]}
    first = [(name, picture) for name, picture in pictures.items() if picture is not None]
    second = ["change", *(["stimulated voxels"] if centres_deg is not None else [])]
    columns = max(len(first), 3) if width < NARROW else len(first) + len(second)
    bar = 0.0 if width < NARROW else _BAR
    edge = min((width - 0.24 - bar - 0.08 * (columns - 1)) / columns, 1.6)
    step, lines = edge + 0.32, 2 if width < NARROW else 1
    figure = new_figure(width, 0.75 + lines * step)
    left, bottom = 0.12, 0.4 + (lines - 1) * step
    for name, picture in first:
        axes = place(figure, left, bottom, edge, edge)
        show(axes, picture)
        mark_fixation(axes)
        axes.set_title(name, fontsize=8)
        left += edge + 0.08
    left, bottom = (0.12, 0.4) if lines == 2 else (left, bottom)
    axes = place(figure, left, bottom, edge, edge)
    energy = np.square((after[0].astype(np.float64) - before[0]) / 255).sum(axis=-1)
    image = _show_change(axes, energy, float(energy.max()) or 1.0)
    axes.set_title("change", fontsize=8)
    scale = place(figure, left + edge + 0.08, bottom, 0.08, edge)
    figure.colorbar(image, cax=scale)
    scale.tick_params(labelsize=6)
    scale.set_ylabel("squared RGB change", fontsize=6.5)
    if centres_deg is not None and chosen is not None:
        axes = place(figure, left + edge + _BAR + 0.08, bottom, edge, edge)
        _show_voxels(axes, np.asarray(centres_deg), np.asarray(chosen, dtype=bool), field_of_view_deg / 2)
    add_caption(figure, join_parts(caption, "prediction of a model, not of a brain"), title)
    return figure


@styled
def quadrant_figure(
    shares: "Mapping[str, Mapping[str, ArrayLike]]",
    *,
    title: str = "Share of the change inside the stimulated quadrant",
    caption: str = "",
) -> "Figure":
    """Quadrant shares of several systems and of random voxels: a dot for each base trial, a line for each mean.

    Parameters
    ----------
    shares : mapping of row (e.g. "full", "random voxels") to mapping of quadrant to float array, [b]
    title, caption : str
    """
    figure = new_figure(max(1.0 + 1.15 * len(shares), 4.2), 3.0)
    axes = place(figure, 0.6, 0.75, 0.25 + 1.15 * len(shares), 1.75)
    rng = np.random.default_rng(0)  # jitter only
    for x, (_, quadrants) in enumerate(shares.items()):
        values = np.concatenate([np.asarray(part, dtype=np.float64) for part in quadrants.values()])
        values = values[np.isfinite(values)]
        axes.scatter(x + rng.uniform(-0.22, 0.22, len(values)), values, s=7, color=INK, alpha=0.35, linewidths=0)
        if len(values):
            axes.plot([x - 0.32, x + 0.32], [values.mean()] * 2, color=VERMILION, linewidth=2)
            axes.text(x + 0.33, values.mean() + 0.015, f"{values.mean():.2f}", ha="right", va="bottom", fontsize=7.5, path_effects=_HALO)
    axes.axhline(0.25, color=ORANGE, linewidth=1.2, linestyle=(0, (3, 2)), zorder=0)
    axes.text(-0.57, 0.235, "chance", color=GREY, fontsize=7, ha="left", va="top")
    axes.set(xlim=(-0.6, len(shares) - 0.4), ylim=(0, 1), ylabel="share inside the quadrant")
    axes.set_xticks(range(len(shares)), list(shares))
    add_caption(figure, caption, title)
    return figure


def _show_change(axes: "Axes", energy: "NDArray[np.float64]", top: float) -> "AxesImage":
    """Show where a picture changed, [h w], in a thin frame, for most of it is white."""
    image = axes.imshow(energy, extent=(0, 1, 0, 1), vmin=0, vmax=top, cmap=_change_map(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY)
    return image


def _show_voxels(axes: "Axes", centres: "NDArray[np.float64]", chosen: "NDArray[np.bool_]", radius: float) -> None:
    """Dot the receptive field centres of stimulated voxels in the visual field, over those of all others."""
    bare(axes)
    for mask, color, size in ((~chosen, LIGHT, 2.0), (chosen, VERMILION, 3.0)):
        axes.scatter(centres[mask, 0], centres[mask, 1], s=size, color=color, linewidths=0, rasterized=True)
    axes.plot([-radius, radius, radius, -radius, -radius], [-radius, -radius, radius, radius, -radius], color=GREY, linewidth=0.8)
    axes.plot(0, 0, marker="+", color=INK, markersize=6, markeredgewidth=1, zorder=4)
    axes.set(xlim=(-radius * 1.02, radius * 1.02), ylim=(-radius * 1.02, radius * 1.02))
    axes.set_title(f"{int(chosen.sum()):,} voxels", fontsize=8)
    axes.text(0, -1.06 * radius, f"their fields; edge {radius:g} deg", ha="center", va="top", fontsize=6, color=GREY)


def _change_map() -> ListedColormap:
    """White where nothing changed, then darker and redder: the colours of magma from its light end."""
    table = color_table("quality", 256)[::-1]
    table = np.vstack([np.linspace([1, 1, 1], table[24], 25)[:-1], table[24:]])
    return ListedColormap(list(map(tuple, table)))


def _words(line: int, labels: "Sequence[str]", shares: "ArrayLike | None") -> str:
    text = fill(labels[line], 34)
    if shares is None or not np.isfinite(np.asarray(shares)[line]):
        return text
    return f"{text}\n{np.asarray(shares)[line]:.0%} of the change inside\n(chance 25%)"
