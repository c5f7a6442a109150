"""Exact n-way identification: no draws, a closed form over all sets of distractors."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from brain2pix.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WAYS = (2, 5, 10, 50)


def exact_identification(scores: "ArrayLike", n: int) -> "NDArray[np.float64]":
    """Probability that a reconstruction picks its own image out of n.

    The candidates are the true image and n-1 others, drawn without replacement. The image with the best score is picked; of several
    best ones, one at random: a two-way tie counts 1/2, and a reconstruction that says nothing scores exactly chance, 1/n.

    Parameters
    ----------
    scores : float array, [m m]; row i = reconstruction i, column j = candidate image j, larger = more alike. The truth is the diagonal.
    n : int, 2..m

    Returns
    -------
    float array, [m], in 0..1

    Raises
    ------
    ShapeError
        If `scores` is not square.
    ConfigError
        If n is not in 2..m.

    References
    ----------
    .. [1] Without ties this is C(M-k, n-1) / C(M, n-1) with M = m-1 distractors of which k beat the truth. With t ties the sum over the
       number s of tied distractors in the draw, each won with probability 1/(1+s), is [C(M-k+1, n) - C(M-k-t, n)] / [(t+1) C(M, n-1)].
    """
    matrix = _square(scores)
    return np.diagonal(_chances(matrix, n)).copy()


def identification_matrix(scores: "ArrayLike", n: int) -> "NDArray[np.float64]":
    """Probability that reconstruction i picks image j out of n if image j were the true one.

    Its diagonal is `exact_identification`; reading it along a permutation gives one draw of the null.

    Parameters
    ----------
    scores : float array, [m m]
    n : int, 2..m

    Returns
    -------
    float array, [m m]
    """
    return _chances(_square(scores), n)


def within_groups(scores: "ArrayLike", groups: "ArrayLike", n: int | None = None) -> "NDArray[np.float64]":
    """Identification among the images of the same group only (the crops of one photograph): its common colour no longer helps.

    Parameters
    ----------
    scores : float array, [m m]
    groups : int array, [m]
    n : int or None, number of candidates; None = all images of the group

    Returns
    -------
    float array, [m], in 0..1; NaN where the group has fewer than n images (or fewer than 2)

    Raises
    ------
    ShapeError
        If `groups` does not have one value per image.
    """
    matrix = _square(scores)
    labels = np.asarray(groups)
    if labels.shape != (len(matrix),):
        raise ShapeError(f"{len(matrix)} images need one group each, got shape {labels.shape}")
    result = np.full(len(matrix), np.nan)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ways = len(rows) if n is None else n
        if 2 <= ways <= len(rows):
            result[rows] = exact_identification(matrix[np.ix_(rows, rows)], ways)
    return result


def chance_within_groups(groups: "ArrayLike", n: int | None = None) -> float:
    """Chance level of `within_groups`, averaged over the images that it scores; NaN if it scores none."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    sizes = counts[inverse]
    ways = sizes if n is None else np.full_like(sizes, n)
    scored = (ways >= 2) & (ways <= sizes)
    return float(np.mean(1 / ways[scored])) if scored.any() else float("nan")


def permutation_null(scores: "ArrayLike", n: int, n_permutations: int = 1000, seed: int = 0) -> "NDArray[np.float64]":
    """Mean identification when reconstructions are assigned to images at random.

    Parameters
    ----------
    scores : float array, [m m]
    n : int, 2..m
    n_permutations : int
    seed : int

    Returns
    -------
    float array, [n_permutations], in 0..1
    """
    chances = identification_matrix(scores, n)
    rng = np.random.default_rng(seed)
    rows = np.arange(len(chances))
    return np.array([chances[rows, rng.permutation(len(rows))].mean() for _ in range(n_permutations)])


def mean_rank(scores: "ArrayLike") -> "NDArray[np.float64]":
    """Share of the other images that beat the true one (ties 1/2): 0 = always first, .5 = chance; [m m] -> [m]."""
    matrix = _square(scores)
    beaten, tied = _rivals(matrix)
    return np.diagonal((beaten + tied / 2) / (len(matrix) - 1)).copy()


def identification_in_pool(own: "ArrayLike", others: "ArrayLike", n: int) -> "NDArray[np.float64]":
    """Probability that a reconstruction picks its own image out of it and n-1 pictures of a pool, ties as in `exact_identification`.

    Parameters
    ----------
    own : float array, [m], how alike each reconstruction and its own image are; larger = more alike
    others : float array, [m p], how alike each reconstruction and each picture of the pool are
    n : int, 2..p + 1

    Returns
    -------
    float array, [m], in 0..1

    Raises
    ------
    ShapeError
        If there is not one row for each reconstruction.
    ConfigError
        If n is not in 2..p + 1.
    """
    above, equal, size = _rivals_in_pool(own, others)
    if not 2 <= n <= size + 1:
        raise ConfigError(f"{n}-way identification in a pool of {size} pictures needs n in 2..{size + 1}")
    return pick_probability(above, equal, size, n)


def rank_in_pool(own: "ArrayLike", others: "ArrayLike") -> "NDArray[np.float64]":
    """Share of the pictures of a pool that beat the true image, ties 1/2; [m] and [m p] -> [m]."""
    above, equal, size = _rivals_in_pool(own, others)
    return np.asarray((above + equal / 2) / size)


def _rivals_in_pool(own: "ArrayLike", others: "ArrayLike") -> "tuple[NDArray[np.int64], NDArray[np.int64], int]":
    truth, rivals = np.asarray(own, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if truth.ndim != 1 or rivals.ndim != 2 or len(rivals) != len(truth) or not rivals.shape[1]:
        raise ShapeError(f"a pool needs one row of similarities per reconstruction, not empty: got {truth.shape} and {rivals.shape}")
    above, equal = (rivals > truth[:, None]).sum(axis=1), (rivals == truth[:, None]).sum(axis=1)
    return above.astype(np.int64), equal.astype(np.int64), int(rivals.shape[1])


def pick_probability(above: "NDArray[np.int64]", equal: "NDArray[np.int64]", rivals: int, n: int) -> "NDArray[np.float64]":
    """Probability that the truth is picked out of itself and n-1 rivals, drawn without replacement.

    Parameters
    ----------
    above, equal : int arrays of one shape, rivals that score better than the truth, and as well as it
    rivals : int, all there are
    n : int, 2..rivals + 1

    Returns
    -------
    float array of that shape, in 0..1; the formula stands in `exact_identification`
    """
    draws = _log_binomial(np.array(rivals), n - 1)  # logarithms: the binomials themselves overflow for large pools
    lucky = np.exp(_log_binomial(rivals - above + 1, n) - draws) - np.exp(_log_binomial(rivals - above - equal, n) - draws)
    return np.clip(lucky / (equal + 1), 0.0, 1.0)


def _square(scores: "ArrayLike") -> "NDArray[np.float64]":
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"scores must be square, a row per reconstruction and a column per image in the same order, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ShapeError(f"scores must be finite, {int((~np.isfinite(matrix)).sum())} of {matrix.size} are not; check the reconstructions")
    return matrix


def _rivals(matrix: "NDArray[np.float64]") -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Count in each row, for each entry, the entries above it and the other entries equal to it; [m m] twice."""
    above = np.empty(matrix.shape, dtype=np.int64)
    equal = np.empty(matrix.shape, dtype=np.int64)
    for i, row in enumerate(matrix):
        ordered = np.sort(row)
        last = np.searchsorted(ordered, row, side="right")
        above[i] = len(row) - last
        equal[i] = last - np.searchsorted(ordered, row, side="left") - 1
    return above, equal


def _chances(matrix: "NDArray[np.float64]", n: int) -> "NDArray[np.float64]":
    n_images = len(matrix)
    if not 2 <= n <= n_images:
        raise ConfigError(f"{n}-way identification needs n in 2..{n_images}, the number of images")
    return pick_probability(*_rivals(matrix), n_images - 1, n)


def _log_binomial(total: "NDArray[np.int64]", part: int) -> "NDArray[np.float64]":
    """Logarithm of C(total, part); -inf where total < part."""
    enough = np.maximum(total, part).astype(np.float64)
    value = gammaln(enough + 1) - gammaln(part + 1.0) - gammaln(enough - part + 1)
    return np.where(total >= part, value, -np.inf)
