"""One row of the sheet: a set of reconstructions, scored image by image so that rows can be compared in pairs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError
from brain2pix.evaluation.identification import (
    WAYS,
    chance_within_groups,
    exact_identification,
    mean_rank,
    permutation_null,
    within_groups,
)
from brain2pix.evaluation.metrics import as_images, feature_similarity, low_resolution, pixel_correlation, pixel_r, structural
from brain2pix.evaluation.scores import RowIdentification, Ways
from brain2pix.evaluation.statistics import Interval, bootstrap_interval, paired_difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

PIXEL = "pixel"
WITHIN = "within_photo"
SHEET_WAYS = ("2", "10", "50")  # that ``scores.json`` has a place for
NULL_WAYS = 10  # the permutation null is drawn at this n, and resolutions compared
_SAME = 1e-6  # differences below it are rounding


@dataclass(frozen=True)
class RowScores:
    """Scores of each reconstruction of one row.

    Parameters
    ----------
    identification : dict of measure ("pixel", or the name of a network) to dict of ways ("2", "5", "10", "50", "within_photo") to
        float array, [m], in 0..1. Ways that need more images than there are do not occur.
    ssim, pixel_r : float arrays, [m]
    groups : int array, [m], photograph of each image
    chances : dict of ways to chance level, 0..1
    flat_ssim : float, mean SSIM of pictures in each image's mean colour: what knowing the colour alone is worth
    nulls : dict of measure to float array, [draws], 0..1: mean 10-way identification with reconstructions assigned to images at random
    resolutions : dict of score ("pixel r", "pixel 10-way") to what resolution it equals, see `resolution_equivalent`
    ranks : dict of measure to float array, [m], share of the other images that beat the true one; empty for a single image
    """

    identification: "dict[str, dict[str, NDArray[np.float64]]]"
    ssim: "NDArray[np.float64]"
    pixel_r: "NDArray[np.float64]"
    groups: "NDArray[np.int64]"
    chances: dict[str, float] = field(default_factory=dict)
    flat_ssim: float = float("nan")
    nulls: "dict[str, NDArray[np.float64]]" = field(default_factory=dict)
    resolutions: dict[str, str] = field(default_factory=dict)
    ranks: "dict[str, NDArray[np.float64]]" = field(default_factory=dict)

    @property
    def networks(self) -> list[str]:
        """Names of the independent networks."""
        return [name for name in self.identification if name != PIXEL]

    def worst_network(self, ways: str) -> str | None:
        """Network that identifies least at this n; None without networks."""
        rates = {name: float(np.nanmean(self.identification[name][ways])) for name in self.networks if ways in self.identification[name]}
        return min(rates, key=rates.__getitem__) if rates else None

    def rates(self, measure: str, ways: str) -> "NDArray[np.float64] | None":
        """Rates of each image, [m]: measure "pixel", a network, or "independent" = the worse network; None if not computed."""
        name = self.worst_network(ways) if measure == "independent" else measure
        return None if name is None else self.identification.get(name, {}).get(ways)

    def null(self, measure: str) -> "NDArray[np.float64] | None":
        """Draws of the permutation null of the 10-way score, [draws]; `measure` as in `rates`; None if not computed."""
        name = self.worst_network(str(NULL_WAYS)) if measure == "independent" else measure
        return None if name is None else self.nulls.get(name)

    def interval(self, measure: str, ways: str) -> Interval | None:
        """Mean identification with its 95 % interval over photographs, in percent; None if not computed."""
        rates = self.rates(measure, ways)
        return None if rates is None else bootstrap_interval(rates, self.groups).scaled(100)

    def summary(self) -> RowIdentification:
        """Give the row as ``scores.json`` holds it."""
        return RowIdentification(pixel=self._ways(PIXEL), independent=self._ways("independent"))

    def _ways(self, measure: str) -> Ways | None:
        means = {ways: self.rates(measure, ways) for ways in (*SHEET_WAYS, WITHIN)}
        found = {ways: 100 * float(np.nanmean(rates)) for ways, rates in means.items() if rates is not None}
        return Ways.model_validate(found) if found else None


def score_row(
    reconstructions: "ArrayLike",
    images: "ArrayLike",
    groups: "ArrayLike",
    networks: "Mapping[str, Callable[[NDArray[np.float32]], Sequence[ArrayLike]]] | None" = None,
) -> RowScores:
    """Score reconstructions of test images.

    Parameters
    ----------
    reconstructions, images : pictures as `metrics.as_images` takes them, [m ...] of the same size, in the same order
    groups : int array, [m], photograph of each image
    networks : mapping of name to a function from pictures [m h w 3] to the features of each layer, networks that took no part in training

    Returns
    -------
    RowScores

    Raises
    ------
    ShapeError
        If the numbers or sizes of pictures differ, or `groups` does not have one value per image.
    """
    labels = np.asarray(groups, dtype=np.int64)
    reconstructions, images = as_images(reconstructions), as_images(images)
    own = pixel_r(reconstructions, images)
    if labels.shape != own.shape:
        raise ShapeError(f"{len(own)} images need one group (photograph) each, got shape {labels.shape}")
    similar = {PIXEL: pixel_correlation(reconstructions, images)}
    for name, features in (networks or {}).items():
        similar[name] = feature_similarity(features(reconstructions), features(images))
    rates = {name: _identify(matrix, labels) for name, matrix in similar.items()}
    chances = {str(n): 1 / n for n in WAYS if n <= len(own)} | {WITHIN: chance_within_groups(labels)}
    flat = float(structural(low_resolution(images, 1), images).mean())
    nulls = {name: permutation_null(matrix, NULL_WAYS) for name, matrix in similar.items() if len(own) >= NULL_WAYS}
    resolutions = {"pixel r": resolution_equivalent(reconstructions, images)}
    if len(own) >= NULL_WAYS:
        resolutions[f"{PIXEL} {NULL_WAYS}-way"] = resolution_equivalent(reconstructions, images, ways=NULL_WAYS)
    ranks = {name: mean_rank(matrix) for name, matrix in similar.items() if len(own) > 1}
    return RowScores(rates, structural(reconstructions, images), own, labels, chances, flat, nulls, resolutions, ranks)


def reference_rows(
    images: "ArrayLike",
    groups: "ArrayLike",
    networks: "Mapping[str, Callable[[NDArray[np.float32]], Sequence[ArrayLike]]] | None" = None,
) -> dict[str, RowScores]:
    """Score what needs no responses: the true images at low resolution, and flat pictures in their mean colours.

    Parameters
    ----------
    images, groups, networks : as `score_row` takes them

    Returns
    -------
    dict of name to RowScores
    """
    sizes = {"flat picture, mean colour": 1, "true image at 4 x 4 px": 4, "true image at 6 x 6 px": 6}
    return {name: score_row(low_resolution(images, size), images, groups, networks) for name, size in sizes.items()}


def compare_rows(first: RowScores, second: RowScores, measure: str, ways: str) -> Interval | None:
    """Paired difference first - second with its 95 % interval over photographs.

    Parameters
    ----------
    first, second : RowScores of the same images
    measure : str, "ssim", "pixel_r", "pixel", a network, or "independent": the network where the gain is smaller
    ways : str, "2", "10", "50" or "within_photo"; ignored for ssim and pixel_r

    Returns
    -------
    Interval, percentage points for identification; None if one of the two lacks the measure
    """
    if measure in ("ssim", "pixel_r"):
        return paired_difference(getattr(first, measure), getattr(second, measure), first.groups)
    names = first.networks if measure == "independent" else [measure]
    found = []
    for name in names:
        own, other = first.rates(name, ways), second.rates(name, ways)
        if own is not None and other is not None:
            found.append(paired_difference(own, other, first.groups).scaled(100))
    return min(found, key=lambda interval: interval.mean) if found else None


def resolution_equivalent(
    reconstructions: "ArrayLike", images: "ArrayLike", sizes: "Sequence[int]" = (1, 2, 3, 4, 5, 6, 8, 12, 16), *, ways: int | None = None
) -> str:
    """Say in words at which resolution the true image would score as well as the reconstructions do.

    Parameters
    ----------
    reconstructions, images : pictures as `metrics.as_images` takes them, [m ...]
    sizes : sequence of int, resolutions to compare with, rising [px]; those above the images' own are left out
    ways : int or None, n of the identification by pixels that is compared; None: the pixel correlation

    Returns
    -------
    str, e.g. "between the true image at 4 x 4 and at 5 x 5 px"
    """

    def score(pictures: "ArrayLike") -> float:
        if ways is None:
            return float(pixel_r(pictures, images).mean())
        return float(exact_identification(pixel_correlation(pictures, images), ways).mean())

    reached = score(reconstructions)
    below = None
    for size in (size for size in sizes if size <= as_images(images).shape[1]):
        here, value = f"at {size} x {size} px", score(low_resolution(images, size))
        if abs(reached - value) < _SAME:
            return f"like the true image {here}"
        if reached < value:
            return f"below the true image {here}" if below is None else f"between the true image at {below} x {below} and {here}"
        below = size
    return f"above the true image at {below} x {below} px"


def _identify(matrix: "NDArray[np.float64]", groups: "NDArray[np.int64]") -> "dict[str, NDArray[np.float64]]":
    rates = {str(n): exact_identification(matrix, n) for n in WAYS if n <= len(matrix)}
    within = within_groups(matrix, groups)
    return rates | {WITHIN: within} if np.isfinite(within).any() else rates
