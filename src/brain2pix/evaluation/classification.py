"""Classification of reconstructions among many classes, without a classifier: the nearest class centroid in a network's features."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError
from brain2pix.evaluation.identification import pick_probability
from brain2pix.evaluation.report import ScoreLine
from brain2pix.evaluation.statistics import bootstrap_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CLASS_WAYS = (2, 50, 100, 500, 1000)
TOP = 5


@dataclass(frozen=True)
class Classification:
    """Where the true class of each picture stands among all classes.

    Parameters
    ----------
    n_classes : int
    above, equal : int arrays, [m], other classes more similar than the true one, and as similar
    best : int array, [m 5], the most similar classes, best first; fewer columns if there are fewer classes
    """

    n_classes: int
    above: "NDArray[np.int64]"
    equal: "NDArray[np.int64]"
    best: "NDArray[np.int64]"

    @property
    def ranks(self) -> "NDArray[np.float64]":
        """Rank of the true class, [m]; 1 is best, of equals the middle one."""
        return 1 + self.above + self.equal / 2

    def within(self, k: int) -> "NDArray[np.float64]":
        """Probability that the true class is among the k best, [m]; equals are in a random order."""
        return np.clip((k - self.above) / (self.equal + 1), 0.0, 1.0)

    def ways(self, n: int) -> "NDArray[np.float64]":
        """Probability that the true class is picked out of n, the others drawn at random, [m]; exact."""
        return pick_probability(self.above, self.equal, self.n_classes - 1, n)


def classify(features: "ArrayLike", centroids: "ArrayLike", truth: "ArrayLike") -> Classification:
    """Rank classes by the correlation of a picture's features with the classes' centroids.

    Parameters
    ----------
    features : float array, [m d], of the pictures
    centroids : float array, [k d], mean features of each class's pictures
    truth : int array, [m], true class of each picture, 0..k-1

    Returns
    -------
    Classification

    Raises
    ------
    ShapeError
        If the lengths of features differ, or a true class does not exist.

    References
    ----------
    .. [1] Gaziv et al. 2022, doi:10.1016/j.neuroimage.2022.119121, section on semantic classification: AlexNet's fourth convolution,
       centroids of 100 pictures. Ranks give n-way accuracy in closed form instead of by random draws.
    """
    pictures, classes = np.asarray(features, dtype=np.float32), np.asarray(centroids, dtype=np.float32)
    true = np.asarray(truth, dtype=np.int64)
    if pictures.ndim != 2 or classes.ndim != 2 or pictures.shape[1] != classes.shape[1]:
        raise ShapeError(f"pictures and classes need features of one length, [m d] and [k d], got {pictures.shape} and {classes.shape}")
    if true.shape != (len(pictures),) or (true.size and (true.min() < 0 or true.max() >= len(classes))):
        raise ShapeError(f"each of {len(pictures)} pictures needs a true class in 0..{len(classes) - 1}, got shape {true.shape}")
    similarity = _standardised(pictures) @ _standardised(classes).T
    own = np.take_along_axis(similarity, true[:, None], axis=1)
    above = (similarity > own).sum(axis=1)
    equal = (similarity == own).sum(axis=1) - 1
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :TOP]
    return Classification(len(classes), above.astype(np.int64), equal.astype(np.int64), best)


def classification_lines(row: str, found: Classification, groups: "NDArray[np.int64]", network: str) -> list[ScoreLine]:
    """Give the numbers of a classification: median rank, top 1 and 5, n-way accuracy, with chance, N and interval.

    Parameters
    ----------
    row : str, which system
    found : Classification
    groups : int array, [m], pictures of one number come from one photograph
    network : str, whose features were compared

    Returns
    -------
    list of ScoreLine
    """
    k, n = found.n_classes, len(found.above)
    note = f"features of {network}, {k} classes"
    low, high = _median_interval(found.ranks, groups)
    lines = [ScoreLine("classification", row, "median rank", float(np.median(found.ranks)), "", low, high, (k + 1) / 2, n, note)]
    rates = {f"top {top}": (found.within(top), top / k) for top in (1, TOP) if top <= k}
    rates |= {f"{ways}-way": (found.ways(ways), 1 / ways) for ways in CLASS_WAYS if ways <= k}
    for score, (values, chance) in rates.items():
        interval = bootstrap_interval(values, groups).scaled(100)
        lines.append(ScoreLine("classification", row, score, interval.mean, "%", interval.low, interval.high, 100 * chance, n, note))
    return lines


def _standardised(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Rows of mean 0 and length 1; a constant row stays 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1), dtype=np.float32)


def _median_interval(ranks: "NDArray[np.float64]", groups: "NDArray[np.int64]", n_draws: int = 2000) -> tuple[float | None, float | None]:
    """95 % interval of the median, resampling photographs; None with fewer than two of them."""
    names = np.unique(groups)
    if len(names) < 2:
        return None, None
    rng = np.random.default_rng(0)
    members = [ranks[groups == name] for name in names]
    medians = [np.median(np.concatenate([members[each] for each in rng.integers(len(names), size=len(names))])) for _ in range(n_draws)]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
