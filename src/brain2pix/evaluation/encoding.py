"""How well an encoder predicts measured responses, beside what noise allows."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

MIN_CEILING = 0.2  # below it r / ceiling is mostly the noise of the ceiling (our choice)
PERCENTILES = (50, 75, 90)
MIN_IMAGES = 3  # of a correlation across images


@dataclass(frozen=True)
class Spread:
    """How values are spread over voxels: their percentiles; NaN where no voxel has a value.

    Parameters
    ----------
    at : dict of percentile to value
    n : int, voxels with a value
    """

    at: dict[int, float]
    n: int

    @property
    def median(self) -> float:
        """Middle value."""
        return self.at[50]


def spread(values: "ArrayLike") -> Spread:
    """Give the percentiles of the finite ones of some values, [v]."""
    numbers = np.asarray(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    found = np.percentile(finite, PERCENTILES) if finite.size else np.full(len(PERCENTILES), np.nan)
    return Spread({share: float(value) for share, value in zip(PERCENTILES, found, strict=True)}, int(finite.size))


@dataclass(frozen=True)
class EncoderAccuracy:
    """Accuracy of an encoder.

    Parameters
    ----------
    r : float array, [v]; NaN where a voxel's responses are constant
    r_over_ceiling : float array, [v], not clipped; NaN where the ceiling is unknown or below `MIN_CEILING`
    whole : pair of Spread, of r and of r over ceiling, over the voxels in scope
    median_ceiling : float, over the voxels in scope; NaN where none has one
    areas : dict of area name to the same pair for its voxels in scope; only areas that have any
    """

    r: "NDArray[np.float64]"
    r_over_ceiling: "NDArray[np.float64]"
    whole: tuple[Spread, Spread]
    median_ceiling: float
    areas: dict[str, tuple[Spread, Spread]] = field(default_factory=dict)

    @property
    def median_r(self) -> float:
        """Median r over the voxels in scope."""
        return self.whole[0].median

    @property
    def median_r_over_ceiling(self) -> float:
        """Median r over ceiling over the voxels in scope."""
        return self.whole[1].median

    @property
    def n_voxels(self) -> int:
        """Voxels in scope with an r."""
        return self.whole[0].n


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
    if len(first) < MIN_IMAGES:
        raise ShapeError(f"a correlation needs at least {MIN_IMAGES} images, got {len(first)}")
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
    """Accuracy per voxel, over its ceiling, and how both are spread.

    Parameters
    ----------
    predicted, measured : float arrays, [m v]; measured = mean over repeats
    ceiling : float array, [v], largest r that noise allows for these means, or None
    scope : bool array, [v], voxels that the summaries speak of; None = all
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
    per_area = {name: inside & mask for name, mask in (areas or {}).items()}
    found = {name: (spread(r[mask]), spread(relative[mask])) for name, mask in per_area.items() if mask.any()}
    return EncoderAccuracy(r, relative, (spread(r[inside]), spread(relative[inside])), spread(limit[inside]).median, found)
