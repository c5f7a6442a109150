"""What stimulation does to the picture: how much it changes, and where. Images have row 0 at the top, so the upper field comes first."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError
from brain2pix.stimulation.regions import quadrant_signs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def change_energy(baseline: "ArrayLike", stimulated: "ArrayLike") -> "NDArray[np.float64]":
    """Sum over colours of the squared change of each pixel.

    Parameters
    ----------
    baseline, stimulated : float arrays or Tensors, [b 3 h w], 0..1

    Returns
    -------
    float array, [b h w]

    Raises
    ------
    ShapeError
        If the two differ in shape or are not batches of RGB images.
    """
    first, second = _array(baseline), _array(stimulated)
    if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3:
        raise ShapeError(f"expected two batches of RGB images [b 3 h w] of the same shape, got {first.shape} and {second.shape}")
    return np.asarray(np.square(second - first).sum(axis=1))


def quadrant_share(energy: "ArrayLike", quadrant: str) -> "NDArray[np.float64]":
    """Share of the change that lies in a quadrant of the visual field; chance is .25.

    Parameters
    ----------
    energy : float array, [b h w]
    quadrant : str, e.g. "upper_right": the rows at the top, the columns to the right

    Returns
    -------
    float array, [b]; NaN where nothing changed
    """
    array = np.asarray(energy, dtype=np.float64)
    return share_within(array, quadrant_weights(quadrant, *array.shape[-2:]))


def share_within(energy: "ArrayLike", weights: "ArrayLike") -> "NDArray[np.float64]":
    """Share of the change inside a part of the picture.

    Parameters
    ----------
    energy : float array, [b h w]
    weights : float array, [h w], 1 inside, 0 outside

    Returns
    -------
    float array, [b]; NaN where nothing changed
    """
    array, part = np.asarray(energy, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != part.shape:
        raise ShapeError(f"energy must be [b h w] and the weights [h w] of the same size, got {array.shape} and {part.shape}")
    total = array.sum(axis=(1, 2))
    inside = (array * part).sum(axis=(1, 2))
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def pixel_centres_deg(height: int, width: int, field_of_view_deg: float) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Position of the pixels in the visual field: x of the columns [w] and y of the rows [h], degrees, x right, y up."""
    x_deg = ((np.arange(width) + 0.5) / width - 0.5) * field_of_view_deg
    y_deg = (0.5 - (np.arange(height) + 0.5) / height) * field_of_view_deg
    return x_deg, y_deg


def quadrant_weights(quadrant: str, height: int, width: int) -> "NDArray[np.float64]":
    """Which pixels lie in a quadrant, [h w]: 1 inside, .5 for a middle row or column of an odd size, 0 outside."""
    x_sign, y_sign = quadrant_signs(quadrant)
    x, y = pixel_centres_deg(height, width, 1.0)
    right, up = (np.heaviside(np.round(sign * place, 9), 0.5) for sign, place in ((x_sign, x), (y_sign, y)))
    return np.outer(up, right)


def disc_weights(x_deg: float, y_deg: float, radius_deg: float, size: int, field_of_view_deg: float) -> "NDArray[np.float64]":
    """Which pixels of a square picture lie in a disc of the visual field, [size size]."""
    x, y = pixel_centres_deg(size, size, field_of_view_deg)
    return (np.hypot(x[None, :] - x_deg, y[:, None] - y_deg) <= radius_deg).astype(np.float64)


def _array(images: "ArrayLike") -> "NDArray[np.float64]":
    detach = getattr(images, "detach", None)
    return np.asarray(detach().cpu() if detach is not None else images, dtype=np.float64)
