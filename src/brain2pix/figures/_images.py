"""Pictures for the page: one form, gaps between them, fixation and quadrants drawn on them."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle

from brain2pix.errors import ConfigError, ShapeError, unknown_name
from brain2pix.figures._style import INK, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

QUADRANT_CORNERS = {"upper_right": (0.5, 0.5), "upper_left": (0.0, 0.5), "lower_left": (0.0, 0.0), "lower_right": (0.5, 0.0)}


def to_rgb(images: "ArrayLike") -> "NDArray[np.uint8]":
    """Bring pictures to bytes, channel last.

    Parameters
    ----------
    images : uint8 array [m h w 3], or float array or Tensor in 0..1, [m 3 h w] or [m h w 3]

    Returns
    -------
    uint8 array, [m h w 3]

    Raises
    ------
    ShapeError
        If it is not a batch of RGB pictures.
    """
    detach = getattr(images, "detach", None)
    array = np.asarray(detach().cpu() if detach is not None else images)
    if array.ndim == 4 and array.shape[-1] != 3 and array.shape[1] == 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[-1] != 3:
        raise ShapeError(f"expected RGB images of shape [m h w 3] or [m 3 h w], got {array.shape}")
    return array if array.dtype == np.uint8 else np.round(255 * np.clip(array, 0, 1)).astype(np.uint8)


def show(axes: "Axes", picture: "NDArray[np.uint8]") -> None:
    """Show one picture [h w 3] with extent 0..1, y up; pixels stay pixels."""
    axes.imshow(picture, extent=(0, 1, 0, 1), interpolation="nearest")
    bare(axes)


def mark_fixation(axes: "Axes") -> None:
    """Draw the fixation cross in the middle of a picture."""
    for size, width, color in ((8, 2.5, INK), (7, 1.0, "white")):
        axes.plot(0.5, 0.5, marker="+", color=color, markersize=size, markeredgewidth=width)


def outline_quadrant(axes: "Axes", quadrant: str) -> None:
    """Outline a quadrant of the visual field on a picture: upper = the rows at the top."""
    if quadrant not in QUADRANT_CORNERS:
        raise ConfigError(unknown_name("quadrant", quadrant, QUADRANT_CORNERS))
    x, y = QUADRANT_CORNERS[quadrant]
    for width, color in ((3.0, "white"), (1.4, INK)):
        axes.add_patch(Rectangle((x, y), 0.5, 0.5, fill=False, edgecolor=color, linewidth=width))
