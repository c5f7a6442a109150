"""Controls: how far a stimulated pattern lies from measured ones, how strong it may be, and random voxels to compare with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.stimulation.operations import check_mask, stimulate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.data.subject import Subject

MAX_AMPLITUDE = 20.0
HELD_OUT = ("test", "validation")  # splits whose single trials set the limit: the first that a subject has
_ROUNDING = 1e-3  # the largest amplitude allowed lies on the limit itself


@dataclass(frozen=True)
class ResponseSpace:
    """What measured responses look like: a probabilistic PCA of training trials, and the distances of held-out trials in it.

    The squared distance of a pattern is that of the fitted Gaussian (Mahalanobis): variance along the leading components as measured,
    and the same small variance along every other direction, so that unusual combinations of voxels count as far.

    Parameters
    ----------
    mean : float array, [v]
    components : float array, [k v], orthonormal
    precisions : float array, [k], 1 / variance along each component
    rest_precision : float, 1 / variance along the other directions
    held_out : float array, [n], sorted distances of held-out trials
    limit : float, distance below which a share `quantile` of held-out trials lies
    quantile : float
    """

    mean: "NDArray[np.float64]"
    components: "NDArray[np.float64]"
    precisions: "NDArray[np.float64]"
    rest_precision: float
    held_out: "NDArray[np.float64]"
    limit: float
    quantile: float

    def distance(self, patterns: "ArrayLike") -> "NDArray[np.float64]":
        """Distance of patterns [b v] from the training trials, [b], in units where a typical trial lies at sqrt(v)."""
        centred = self._check(patterns) - self.mean
        return np.asarray(np.sqrt(np.maximum(self._product(centred, centred), 0)))

    def percentile(self, patterns: "ArrayLike") -> "NDArray[np.float64]":
        """Share of held-out trials that are nearer than each pattern [b v]; [b], 0..1. Above `quantile` it is unlike measured ones."""
        return np.searchsorted(self.held_out, self.distance(patterns), side="left") / len(self.held_out)

    def excess(self, patterns: "ArrayLike") -> "NDArray[np.float64]":
        """Out-of-distribution score of patterns [b v]: distance over the limit, [b]; above 1 is out."""
        return self.distance(patterns) / self.limit

    def _product(self, first: "NDArray[np.float64]", second: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Inner product of the Gaussian's metric, row by row; [b v] twice -> [b]."""
        weights = self.precisions - self.rest_precision
        along = (first @ self.components.T) * (second @ self.components.T) @ weights
        return np.asarray(along + self.rest_precision * np.einsum("bv,bv->b", first, second))

    def _check(self, patterns: "ArrayLike") -> "NDArray[np.float64]":
        array = np.asarray(patterns, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.mean):
            raise ShapeError(f"the response space knows {len(self.mean)} voxels, got patterns of shape {array.shape}")
        return array


def fit_space(training: "ArrayLike", held_out: "ArrayLike", *, n_components: int = 50, quantile: float = 0.95) -> ResponseSpace:
    """Learn what measured responses look like.

    Parameters
    ----------
    training : float array, [n v], single trials
    held_out : float array, [m v], trials that were not in training; they set the limit
    n_components : int, cut to a quarter of the trials and to v - 1
    quantile : float, 0..1

    Raises
    ------
    ShapeError
        If the two differ in voxels, or there are fewer than 8 training or 2 held-out trials.

    References
    ----------
    .. [1] Tipping and Bishop 1999, doi:10.1111/1467-9868.00196.
    """
    trials, others = np.asarray(training, dtype=np.float64), np.asarray(held_out, dtype=np.float64)
    if trials.ndim != 2 or others.ndim != 2 or trials.shape[1] != others.shape[1]:
        raise ShapeError(f"training and held-out trials must share their voxels, got shapes {trials.shape} and {others.shape}")
    if len(trials) < 8 or len(others) < 2:
        raise ShapeError(f"a response space needs at least 8 training and 2 held-out trials, got {len(trials)} and {len(others)}")
    n, v = trials.shape
    mean = trials.mean(axis=0)
    variances, components = _principal(trials - mean, max(1, min(n_components, n // 4, v - 1)))
    total = float(np.square(trials - mean).sum() / (n - 1))
    rest = max((total - float(variances.sum())) / max(v - len(variances), 1), 1e-9 * total / v)
    space = ResponseSpace(mean, components, 1 / np.maximum(variances, rest), 1 / rest, np.zeros(1), 1.0, quantile)
    distances = np.sort(space.distance(others))
    return ResponseSpace(mean, components, space.precisions, 1 / rest, distances, float(np.quantile(distances, quantile)), quantile)


def space_of(subject: "Subject", voxel_index: "NDArray[np.integer]") -> ResponseSpace:
    """Learn what measured responses of a subject look like: training trials, with single held-out trials as the measure of what is usual.

    Parameters
    ----------
    subject : Subject
    voxel_index : int array, [v], the voxels of the model

    Raises
    ------
    ConfigError
        If the subject has no held-out trials, or no training trials.
    ShapeError
        If it has too few of them.
    """
    there = set(subject.trials["split"])
    held_out = next((split for split in HELD_OUT if split in there), None)
    if held_out is None:
        raise ConfigError(f"{subject.name} has no trials of the split {' or '.join(HELD_OUT)} that would say how far usual responses lie")
    return fit_space(subject.responses(subject.rows("train"), voxel_index), subject.responses(subject.rows(held_out), voxel_index))


def largest_amplitude(
    space: ResponseSpace, base: "ArrayLike", mask: "ArrayLike", mode: str = "add", *, upper: float = MAX_AMPLITUDE
) -> "NDArray[np.float64]":
    """Find the largest amplitude whose pattern is no farther than the space's limit, for each base pattern.

    Parameters
    ----------
    space : ResponseSpace
    base : float array, [b v]
    mask : bool array, [v]
    mode : str, "set", "add" or "scale"
    upper : float, never more than this

    Returns
    -------
    float array, [b], 0..upper; NaN where no amplitude keeps the pattern within the limit

    Raises
    ------
    ConfigError
        For "silence", which has no amplitude.
    """
    if mode == "silence":
        raise ConfigError("silence has no amplitude; choose set, add or scale")
    patterns = space._check(base)
    # each operation is a straight line in the amplitude, so the squared distance is a parabola with a closed-form crossing
    start = stimulate(patterns, mask, mode, 0.0)
    step = stimulate(patterns, mask, mode, 1.0) - start
    centred = start - space.mean
    a, b = space._product(step, step), space._product(centred, step)
    c = space._product(centred, centred) - space.limit**2
    root = np.square(b) - a * c
    reachable = (root >= 0) & (a > 0)
    far_crossing = (-b + np.sqrt(np.where(reachable, root, 0))) / np.where(a > 0, a, 1)
    near_crossing = (-b - np.sqrt(np.where(reachable, root, 0))) / np.where(a > 0, a, 1)
    allowed = reachable & (far_crossing >= 0) & (near_crossing <= upper)
    return np.where(allowed, np.minimum(far_crossing, upper), np.nan)


def size_matched(mask: "ArrayLike", candidates: "ArrayLike", rng: "np.random.Generator") -> "NDArray[np.bool_]":
    """Draw as many random voxels as a region has.

    Parameters
    ----------
    mask : bool array, [v], the region
    candidates : bool array, [v], voxels to draw from (all in scope, those of the region included)
    rng : numpy Generator

    Returns
    -------
    bool array, [v]

    Raises
    ------
    ConfigError
        If there are fewer candidates than voxels in the region.
    """
    region = np.asarray(mask)
    size, pool = len(check_mask(region, region.size)), np.flatnonzero(np.asarray(candidates, dtype=bool))
    if len(pool) < size:
        raise ConfigError(f"a control needs {size} random voxels, only {len(pool)} are in scope; choose a smaller region")
    drawn = np.zeros(region.size, dtype=bool)
    drawn[rng.choice(pool, size, replace=False)] = True
    return drawn


def describe_distance(percentile: float, excess: float, quantile: float = 0.95) -> str:
    """Badge that stands beside a stimulated picture.

    Parameters
    ----------
    percentile : float, 0..1, see `ResponseSpace.percentile`
    excess : float, see `ResponseSpace.excess`
    quantile : float, of the space
    """
    if excess <= 1 + _ROUNDING:
        return f"like measured responses (farther than {percentile:.0%} of held-out trials)"
    return f"out of distribution: {excess:.2g} x the distance that {quantile:.0%} of held-out trials keep"


def _principal(centred: "NDArray[np.float64]", k: int) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Leading variances [k] and directions [k v] of centred trials [n v], from the smaller of the two Gram matrices."""
    n, v = centred.shape
    if n <= v:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
        directions = (centred.T @ vectors / np.sqrt(np.maximum(values, 1e-12))).T
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, directions = values[::-1][:k], vectors[:, ::-1][:, :k].T
    return values / (n - 1), directions
