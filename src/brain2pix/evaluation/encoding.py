"""How well an encoder predicts measured responses, beside what noise allows."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

MIN_CEILING = 0.2  # below it r / ceiling is mostly the noise of the ceiling (our choice)


@dataclass(frozen=True)
class EncoderAccuracy:
    """Accuracy of an encoder.

    Parameters
    ----------
    r : float array, [v]; NaN where a voxel's responses are constant
    r_over_ceiling : float array, [v], not clipped; NaN where the ceiling is unknown or below `MIN_CEILING`
    median_r, median_r_over_ceiling, median_ceiling : float, over the voxels in scope; NaN where none has a value
    n_voxels : int, in scope, with an r
    areas : dict of area name to (median r, median r over ceiling, voxels)
    """

    r: "NDArray[np.float64]"
    r_over_ceiling: "NDArray[np.float64]"
    median_r: float
    median_r_over_ceiling: float
    median_ceiling: float
    n_voxels: int
    areas: dict[str, tuple[float, float, int]] = field(default_factory=dict)


def voxel_correlation(predicted: "ArrayLike", measured: "ArrayLike") -> "NDArray[np.float64]":
    """Pearson correlation across images, voxel by voxel.

    Parameters
    ----------
    predicted, measured : float arrays, [m v]

    Returns
    -------
    float array, [v]; NaN where one of the two is constant or not finite

    Raises
    ------
    ShapeError
        If the shapes differ or there are fewer than 3 images.
    """
    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ShapeError(f"predicted and measured responses must have the same shape [images voxels], got {first.shape} and {second.shape}")
    if len(first) < 3:
        raise ShapeError(f"a correlation needs at least 3 images, got {len(first)}")
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    length = np.sqrt(np.square(first).sum(axis=0) * np.square(second).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (first * second).sum(axis=0) / length
    return np.where(length > 1e-12, np.clip(r, -1, 1), np.nan)


def encoder_accuracy(
    predicted: "ArrayLike",
    measured: "ArrayLike",
    ceiling: "ArrayLike | None" = None,
    *,
    scope: "ArrayLike | None" = None,
    areas: "Mapping[str, NDArray[np.bool_]] | None" = None,
) -> EncoderAccuracy:
    """Accuracy per voxel, over its ceiling, and the medians.

    Parameters
    ----------
    predicted, measured : float arrays, [m v]; measured = mean over repeats
    ceiling : float array, [v], largest r that noise allows for these means, or None
    scope : bool array, [v], voxels that the medians speak of; None = all
    areas : mapping of name to bool array, [v]; each is cut to the scope

    Raises
    ------
    ShapeError
        If a part does not have one value per voxel.
    """
    r = voxel_correlation(predicted, measured)
    limit = np.full(len(r), np.nan) if ceiling is None else np.asarray(ceiling, dtype=np.float64)
    inside = np.ones(len(r), dtype=bool) if scope is None else np.asarray(scope, dtype=bool)
    for name, part in {"ceiling": limit, "scope": inside, **dict(areas or {})}.items():
        if np.shape(part) != r.shape:
            raise ShapeError(f"{name} needs one value for each of the {len(r)} voxels, got shape {np.shape(part)}")
    usable = np.nan_to_num(limit) > MIN_CEILING
    relative = np.where(usable, r / np.where(usable, limit, 1), np.nan)
    per_area = {name: _medians(r, relative, inside & mask) for name, mask in (areas or {}).items()}
    median_r, median_relative, n_voxels = _medians(r, relative, inside)
    return EncoderAccuracy(r, relative, median_r, median_relative, _median(limit[inside]), n_voxels, per_area)


def _medians(r: "NDArray[np.float64]", relative: "NDArray[np.float64]", mask: "NDArray[np.bool_]") -> tuple[float, float, int]:
    return _median(r[mask]), _median(relative[mask]), int(np.isfinite(r[mask]).sum())


def _median(values: "NDArray[np.float64]") -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
