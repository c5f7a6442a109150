"""Stimuli and their reconstructions, side by side."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.figures._images import to_rgb
from brain2pix.figures._style import GREY, add_caption, bare, new_figure, place, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

_GAP = 0.035  # share of a picture's edge
_TEXT = 0.13  # inches, of a line of text under a row
_SHEET = 7.2  # inches, width of all pictures of a line


@styled
def reconstruction_figure(
    rows: "Mapping[str, ArrayLike]",
    *,
    columns: int = 10,
    scores: "ArrayLike | None" = None,
    score_name: str = "pixel r",
    labels: "Sequence[str] | None" = None,
    written: "Mapping[str, Sequence[str]] | None" = None,
    width: float | None = None,
    title: str = "Stimuli and reconstructions",
    caption: str = "",
) -> "Figure":
    """Grid of pictures: under each stimulus its reconstructions, one line per system, in bands of `columns`.

    Parameters
    ----------
    rows : mapping of label to pictures, e.g. {"stimulus": ..., "gaziv": ..., "ridge": ...}; uint8 [m h w 3], or float or Tensor in 0..1,
        [m 3 h w] or [m h w 3]; the same m everywhere
    columns : int, pictures of a band
    scores : float array, [m], or None; NaN is written as a dash; written under the last line of each band
    score_name : str, what `scores` are
    labels : sequence of str, [m], or None; written above each stimulus, e.g. the stimulus id
    written : mapping of row label to texts, [m], or None; written under each picture of that row
    width : float or None, of the page, inches; None = as wide as the pictures need
    title, caption : str

    Raises
    ------
    ConfigError
        If there is no row or no picture.
    ShapeError
        If the rows, scores, labels or texts differ in number.
    """
    pictures = {label: to_rgb(images) for label, images in rows.items()}
    m = _common_length(pictures, scores, labels, written)
    columns = min(columns, m)
    starts = range(0, m, columns)
    side = 0.3 + 0.062 * max(map(len, pictures))
    sheet = _SHEET if width is None else width - side - 0.15
    edge = sheet / columns
    head, foot = 0.14 if labels is not None else 0.0, 0.16 if scores is not None else 0.0
    written = written or {}
    room = {label: _TEXT if label in written else 0.0 for label in pictures}  # under the pictures of a row
    band = head + foot + len(pictures) * edge + sum(room.values())
    figure = new_figure(side + sheet + 0.15, 0.42 + 0.4 + len(starts) * (band + 0.12))
    for number, start in enumerate(starts):
        top = figure.get_figheight() - 0.42 - number * (band + 0.12) - head
        chosen = range(start, min(start + columns, m))
        bottom = top
        for line, (label, images) in enumerate(pictures.items()):
            bottom -= edge
            axes = place(figure, side, bottom, edge * len(chosen), edge)
            bottom -= room[label]
            axes.imshow(_strip(images[chosen.start : chosen.stop]), extent=(0, len(chosen), 0, 1), aspect="auto", interpolation="nearest")
            bare(axes)
            axes.text(-0.08, 0.5, label, ha="right", va="center", fontsize=8)
            for place_x, index in enumerate(chosen):
                if label in written:
                    axes.text(place_x + 0.5, -0.04, written[label][index], ha="center", va="top", fontsize=5, color=GREY)
                if line == 0 and labels is not None:
                    axes.text(place_x + 0.5, 1.04, labels[index], ha="center", va="bottom", fontsize=6, color=GREY)
                if line == len(pictures) - 1 and scores is not None:
                    value = float(np.asarray(scores)[index])
                    words = f"{value:.2f}" if np.isfinite(value) else "–"
                    axes.text(place_x + 0.5, -0.06, words, ha="center", va="top", fontsize=6, color=GREY)
        if scores is not None:
            axes.text(-0.08, -0.06, score_name, ha="right", va="top", fontsize=6, color=GREY)
    add_caption(figure, caption, title)
    return figure


def _strip(images: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Set pictures [k h w 3] in a line with white gaps; each keeps the same share of the line."""
    scale = max(1, round(96 / images.shape[1]))  # whole pixels, so that gaps can be fine and pixels stay square
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(1, round(_GAP * large.shape[1] / 2))
    framed = np.pad(large, ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(framed), axis=1)


def _common_length(
    pictures: "Mapping[str, NDArray[np.uint8]]",
    scores: "ArrayLike | None",
    labels: "Sequence[str] | None",
    written: "Mapping[str, Sequence[str]] | None",
) -> int:
    lengths = {label: len(images) for label, images in pictures.items()}
    if not lengths or not min(lengths.values()):
        raise ConfigError(f"a picture figure needs at least one row with at least one picture, got {lengths}")
    if scores is not None:
        lengths["scores"] = len(np.asarray(scores))
    if labels is not None:
        lengths["labels"] = len(labels)
    lengths |= {f"texts of {label}": len(texts) for label, texts in (written or {}).items()}
    if len(set(lengths.values())) != 1:
        raise ShapeError(f"every row needs the same number of pictures, in the same order, got {lengths}")
    return next(iter(lengths.values()))
