"""Identification among pictures that are no stimuli: a pool of distractors of one's own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError
from brain2pix.evaluation.identification import WAYS, identification_in_pool, rank_in_pool
from brain2pix.evaluation.metrics import as_images, feature_similarity, pixel_correlation, pixel_r
from brain2pix.evaluation.report import ScoreLine
from brain2pix.evaluation.rows import PIXEL
from brain2pix.evaluation.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Networks = Mapping[str, Callable[[NDArray[np.float32]], Sequence[ArrayLike]]]

_BLOCK = 256  # pictures of the pool that are compared at once


@dataclass(frozen=True)
class PoolScores:
    """Scores of reconstructions against a pool.

    Parameters
    ----------
    rates : dict of measure ("pixel", or a network) to dict of n to float array, [m], in 0..1
    ranks : dict of measure to float array, [m], share of the pool that beats the true image
    groups : int array, [m], photograph of each image
    n_pool : int, pictures of the pool
    """

    rates: "dict[str, dict[int, NDArray[np.float64]]]"
    ranks: "dict[str, NDArray[np.float64]]"
    groups: "NDArray[np.int64]"
    n_pool: int

    def lines(self, row: str, pool: str) -> list[ScoreLine]:
        """All numbers with interval, chance and N, and the pool in their note."""
        note = f"distractors: {self.n_pool:,} pictures of {pool}"

        def line(score: str, values: "NDArray[np.float64]", unit: str, chance: float) -> ScoreLine:
            interval = bootstrap_interval(values, self.groups).scaled(100 if unit else 1)
            low, high = (bound if np.isfinite(bound) else None for bound in (interval.low, interval.high))
            return ScoreLine("pool", row, f"{score}, pool", interval.mean, unit, low, high, chance, interval.n, note)

        found = []
        for measure, rates in self.rates.items():
            found += [line(f"{measure} {n}-way", values, "%", 100 / n) for n, values in rates.items()]
            found.append(line(f"{measure} rank", self.ranks[measure], "", 0.5))
        return found


def score_in_pool(
    reconstructions: "ArrayLike", images: "ArrayLike", pool: "NDArray[np.uint8]", groups: "ArrayLike", networks: "Networks | None" = None
) -> PoolScores:
    """Ask whether their own image is more like reconstructions than the pictures of a pool.

    Parameters
    ----------
    reconstructions, images : pictures as `metrics.as_images` takes them, [m ...] of the same size, in the same order
    pool : uint8 array, [p h w 3], of that size; may be memory-mapped
    groups : int array, [m], photograph of each image
    networks : mapping of name to a function from pictures [m h w 3] to the features of each layer

    Returns
    -------
    PoolScores

    Raises
    ------
    ShapeError
        If the numbers or sizes of pictures differ, or the pool is empty.
    """
    made, own = as_images(reconstructions), as_images(images)
    if not len(pool):
        raise ShapeError("a pool of distractors needs at least one picture")
    truth, others = {PIXEL: pixel_r(made, own)}, {PIXEL: _pixels(made, pool)}
    for name, features in (networks or {}).items():
        seen = features(made)
        truth[name] = np.diagonal(feature_similarity(seen, features(own))).copy()
        others[name] = np.concatenate([feature_similarity(seen, features(as_images(part))) for part in _parts(pool)], axis=1)
    rates = {name: {n: identification_in_pool(truth[name], others[name], n) for n in WAYS if n <= len(pool) + 1} for name in truth}
    ranks = {name: rank_in_pool(truth[name], others[name]) for name in truth}
    return PoolScores(rates, ranks, np.asarray(groups, dtype=np.int64), len(pool))


def _pixels(made: "NDArray[np.float32]", pool: "NDArray[np.uint8]") -> "NDArray[np.float64]":
    return np.concatenate([pixel_correlation(made, part) for part in _parts(pool)], axis=1)


def _parts(pool: "NDArray[np.uint8]") -> "list[NDArray[np.uint8]]":
    return [np.asarray(pool[start : start + _BLOCK]) for start in range(0, len(pool), _BLOCK)]
