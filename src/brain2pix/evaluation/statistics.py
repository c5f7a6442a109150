"""Intervals and nulls. Images of one photograph are not independent, so intervals resample photographs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wilcoxon

from brain2pix.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Parameters
    ----------
    mean, low, high : float; NaN if there is nothing to average, low and high also if there is only one cluster
    n : int, values
    n_clusters : int, what was resampled
    """

    mean: float
    low: float
    high: float
    n: int
    n_clusters: int

    def scaled(self, factor: float) -> "Interval":
        """Give the same interval in another unit (100 for percent)."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor, self.n, self.n_clusters)


def bootstrap_interval(
    values: "ArrayLike", clusters: "ArrayLike | None" = None, *, level: float = 0.95, n_draws: int = 10_000, seed: int = 0
) -> Interval:
    """Mean and percentile-bootstrap interval, resampling whole clusters.

    Parameters
    ----------
    values : float array, [m], one per image; NaN values are left out
    clusters : int array, [m], e.g. the photograph of each crop; None = each value for itself
    level : float, 0..1
    n_draws : int
    seed : int

    Returns
    -------
    Interval

    Raises
    ------
    ShapeError
        If `clusters` does not have one entry per value.
    ConfigError
        If `level` is not between 0 and 1.
    """
    sums, counts = _cluster_sums(values, clusters)
    if not 0 < level < 1:
        raise ConfigError(f"level of an interval must lie between 0 and 1, got {level}")
    n = int(counts.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    mean = float(sums.sum() / n)
    if len(sums) == 1:
        return Interval(mean, np.nan, np.nan, n, 1)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_draws)  # [draws clusters]
    low, high = np.quantile((draws @ sums) / (draws @ counts), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), n, len(sums))


def paired_difference(
    values: "ArrayLike", others: "ArrayLike", clusters: "ArrayLike | None" = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of `values - others` image by image, with its interval.

    Parameters
    ----------
    values, others : float arrays, [m], scores of the same images
    clusters : int array, [m] or None, see `bootstrap_interval`
    level : float
    seed : int

    Raises
    ------
    ShapeError
        If the two do not score the same number of images.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if first.shape != second.shape:
        raise ShapeError(f"a paired difference needs scores of the same images, got shapes {first.shape} and {second.shape}")
    return bootstrap_interval(first - second, clusters, level=level, seed=seed)


def wilcoxon_p(values: "ArrayLike", others: "ArrayLike") -> float:
    """Two-sided Wilcoxon signed-rank p of paired scores, [m] and [m]; 1 if they are all equal.

    It takes the images as independent, which crops of one photograph are not: read it beside `paired_difference`, not instead.
    """
    # rounded: shares such as 3/19 - 2/19 and 2/19 - 1/19 are ties, which their last binary digit would break
    difference = np.round(np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64), 12)
    difference = difference[np.isfinite(difference) & (difference != 0)]
    # by hand where few differ: scipy warns, or answers NaN, on samples that carry no information
    return float(wilcoxon(difference, method="approx").pvalue) if len(difference) > 1 else 1.0


def holm(p_values: "ArrayLike") -> "NDArray[np.float64]":
    """Correct the p-values of a family of tests, so that one false alarm in all of them together has the chance that one test names.

    Parameters
    ----------
    p_values : float array, [k], each in 0..1

    Returns
    -------
    float array, [k], in the same order; the smallest is multiplied by k, the next by k - 1, ..., none falls below a smaller one

    Raises
    ------
    ShapeError
        If it is not a list of numbers in 0..1.

    References
    ----------
    .. [1] Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ShapeError(f"Holm's correction needs a list of p-values in 0..1, got {p_values!r}")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def describe_p(p: float) -> str:
    """Write a p value for people: four digits, and no zero."""
    return "< .0001" if p < 0.0001 else f"{p:.4f}"


def _cluster_sums(values: "ArrayLike", clusters: "ArrayLike | None") -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """Sum and number of the finite values of each cluster that has any."""
    numbers = np.asarray(values, dtype=np.float64)
    labels = np.arange(numbers.size) if clusters is None else np.asarray(clusters)
    if numbers.ndim != 1 or labels.shape != numbers.shape:
        raise ShapeError(f"an interval needs one value and one cluster per image, got shapes {numbers.shape} and {labels.shape}")
    finite = np.isfinite(numbers)
    _, inverse = np.unique(labels[finite], return_inverse=True)
    sums = np.bincount(inverse, weights=numbers[finite]).astype(np.float64)
    return sums, np.bincount(inverse).astype(np.int64)
