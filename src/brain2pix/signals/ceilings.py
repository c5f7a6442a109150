"""Noise ceilings: the correlation that a perfect model would reach with a mean over repeats."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.signals.repeats import check_repeats, repeat_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VOXELS_AT_ONCE = 512
_HALVES_BYTES = 2**27  # of the half means of some voxels: thousands of repeated images are taken fewer voxels at a time


@dataclass(frozen=True)
class SplitHalfCeiling:
    """Reliability of the mean over repeats, [v]; NaN where it cannot be known.

    Parameters
    ----------
    ceiling : float32 array, [v], sqrt(2h / (1 + h)): correlation of a perfect model with the mean over all repeats
    reliability : float32 array, [v], 2h / (1 + h) (Spearman-Brown)
    half : float32 array, [v], h, correlation of half means across images, Fisher-z averaged over the splits; may be negative
    """

    ceiling: "NDArray[np.float32]"
    reliability: "NDArray[np.float32]"
    half: "NDArray[np.float32]"


def split_half_ceiling(
    values: "NDArray[np.floating]", image_index: "NDArray[np.integer]", *, n_splits: int = 100, seed: int = 0
) -> SplitHalfCeiling:
    """Noise ceiling per voxel from random half splits of the repeats within images.

    Parameters
    ----------
    values : float array, [n v], single trials
    image_index : int array, [n], 0..m-1; images may differ in repeats, those shown once are left out
    n_splits : int
    seed : int

    Returns
    -------
    SplitHalfCeiling; NaN if fewer than 3 images have repeats, or where h <= 0 (ceiling and reliability)

    References
    ----------
    .. [1] Gaziv et al. 2022 and Beliy et al. 2019 cite Lage-Castellanos 2019 without a formula; the root of Spearman-Brown is ours.
    """
    counts = check_repeats(values, image_index)
    images = np.flatnonzero(counts > 1)
    half = np.full(values.shape[1], np.nan, dtype=np.float32)
    if images.size >= 3:
        rows = _rows_of_images(image_index, images, counts)  # [m R], -1 where an image has fewer repeats
        first, second = _half_weights(rows >= 0, n_splits, np.random.default_rng(seed))  # [m s R]
        width = max(1, min(_VOXELS_AT_ONCE, _HALVES_BYTES // (4 * images.size * n_splits)))
        for start in range(0, values.shape[1], width):
            part = np.asarray(values[:, start : start + width], dtype=np.float32)
            trials = np.where(rows[..., None] >= 0, part[rows], 0)  # [m R v]
            half[start : start + width] = _mean_correlation(first @ trials, second @ trials)
    reliability = np.where(half > 0, 2 * half / (1 + half), np.nan).astype(np.float32)
    return SplitHalfCeiling(np.sqrt(reliability), reliability, half)


def ncsnr(values: "NDArray[np.floating]", image_index: "NDArray[np.integer]") -> "NDArray[np.float32]":
    """Noise-ceiling signal-to-noise ratio: deviation of the signal over deviation of the noise, [v]; NaN without repeats.

    Parameters
    ----------
    values : float array, [n v], single trials
    image_index : int array, [n]
    """
    statistics = repeat_statistics(values, image_index)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(statistics.signal_variance / statistics.noise_variance)
    return np.where(statistics.noise_variance > 0, ratio, np.nan).astype(np.float32)


def ceiling_from_ncsnr(ratio: "NDArray[np.floating]", n_repeats: int) -> "NDArray[np.float32]":
    """Correlation of a perfect model with the mean of `n_repeats` trials: sqrt(ncsnr^2 / (ncsnr^2 + 1 / n))."""
    power = np.asarray(ratio, dtype=np.float64) ** 2
    return np.sqrt(power / (power + 1 / n_repeats)).astype(np.float32)


def noise_ceiling_percent(ratio: "NDArray[np.floating]", counts: "NDArray[np.integer]") -> "NDArray[np.float32]":
    """Variance of the mean over repeats that a perfect model explains: 100 ncsnr^2 / (ncsnr^2 + 1 / n).

    Parameters
    ----------
    ratio : float array, [v], noise-ceiling signal-to-noise ratio
    counts : int array, [m], trials that are averaged for each image; where they differ, 1 / n is its mean over the images

    Returns
    -------
    float32 array, [v], percent. It is explained variance: its root, not itself, is a correlation.

    References
    ----------
    .. [1] Allen et al. 2022, doi 10.1038/s41593-021-00962-x, data manual. With A, B, C images of 3, 2, 1 trials the mean of 1 / n is their
       (A/3 + B/2 + C) / (A + B + C).
    """
    power = np.asarray(ratio, dtype=np.float64) ** 2
    percent: NDArray[np.float32] = (100 * power / (power + (1 / np.asarray(counts)).mean())).astype(np.float32)
    return percent


def _rows_of_images(image_index: "NDArray[np.integer]", images: "NDArray[np.int64]", counts: "NDArray[np.int64]") -> "NDArray[np.int64]":
    order = np.argsort(image_index, kind="stable")
    begins = np.cumsum(counts) - counts
    repeat = np.arange(int(counts[images].max()))
    places = begins[images, None] + repeat
    present = repeat < counts[images, None]
    rows: NDArray[np.int64] = np.where(present, order[np.where(present, places, 0)], -1)
    return rows


def _half_weights(
    present: "NDArray[np.bool_]", n_splits: int, rng: np.random.Generator
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Weights [m s R] that average a random half of the repeats, and those that average the other half."""
    n_images, n_repeats = present.shape
    draws = rng.random((n_images, n_splits, n_repeats))
    draws[~np.broadcast_to(present[:, None], draws.shape)] = np.inf  # absent repeats come last
    rank = draws.argsort(axis=2).argsort(axis=2)
    counts = present.sum(axis=1)[:, None, None]
    size = counts // 2  # with an odd number the second half has one more
    first = (rank < size) / size
    second = ((rank >= size) & (rank < counts)) / (counts - size)
    return first.astype(np.float32), second.astype(np.float32)


def _mean_correlation(first: "NDArray[np.float32]", second: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Pearson across images (axis 0) for each split and voxel of [m s v], Fisher-z averaged over splits, [v]."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(norm > 0, (a * b).sum(axis=0) / norm, np.nan)  # a constant voxel has none
    limit = 1 - 1e-6  # noise-free halves correlate at 1, where Fisher's z is infinite
    averaged: NDArray[np.float32] = np.tanh(np.arctanh(correlation.clip(-limit, limit)).mean(axis=0)).astype(np.float32)
    return averaged
