"""Ridge regression in closed form, in the smaller of its two shapes, and hold-out splits that keep groups whole."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

from brain2pix.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LinearMap:
    """``targets = inputs @ weight + offset``.

    Parameters
    ----------
    weight : float32 array, [v d]
    offset : float32 array, [d]
    """

    weight: "NDArray[np.float32]"
    offset: "NDArray[np.float32]"


class RidgePath:
    """Solutions of one ridge problem for any penalty, after one eigendecomposition.

    Minimises ``|y - x w - b|^2 + a |w|^2`` with ``a = penalty * n * mean variance of an input``, so that a penalty means the same for
    any number of samples and any scale. The decomposition is of the [v v] or of the [n n] matrix, whichever is smaller.

    Parameters
    ----------
    inputs : float array, [n v]
    targets : float array, [n d]
    """

    def __init__(self, inputs: "NDArray[np.float32]", targets: "NDArray[np.float32]") -> None:
        self._mean = inputs.mean(axis=0, dtype=np.float64)
        self._offset = targets.mean(axis=0, dtype=np.float64)
        self._centred = inputs - self._mean.astype(np.float32)
        self._targets = targets - self._offset.astype(np.float32)
        self._primal = inputs.shape[1] <= inputs.shape[0]
        gram = self._centred.T @ self._centred if self._primal else self._centred @ self._centred.T
        self._scale = float(np.trace(gram, dtype=np.float64)) / inputs.shape[1]  # n x mean variance of an input
        self._values, self._vectors = np.linalg.eigh(gram.astype(np.float64))
        right = self._centred.T @ self._targets if self._primal else self._targets
        self._right = self._vectors.T @ right

    def solve(self, penalty: float) -> LinearMap:
        """Give the solution for one penalty."""
        shrunk = self._vectors @ (self._right / (self._values + penalty * self._scale)[:, None])
        weight = shrunk if self._primal else self._centred.T.astype(np.float64) @ shrunk
        return LinearMap(weight.astype(np.float32), (self._offset - self._mean @ weight).astype(np.float32))


class Moments:
    """Sums from which one ridge problem is solved without holding all its samples."""

    def __init__(self) -> None:
        self._n = 0
        self._sums: list[NDArray[Any]] = []

    def add(self, inputs: "NDArray[np.float32]", targets: "NDArray[np.float32]") -> None:
        """Add samples, inputs [n v] and targets [n d]."""
        parts = (inputs.T @ inputs, inputs.T @ targets, inputs.sum(axis=0, dtype=np.float64), targets.sum(axis=0, dtype=np.float64))
        # the large products stay in float32: their sums run over chunks only
        if not self._sums:
            self._sums = [np.zeros_like(each) for each in parts]
        for total, new in zip(self._sums, parts, strict=True):
            total += new
        self._n += len(inputs)

    def solve(self, penalty: float) -> LinearMap:
        """Give the ridge solution; `penalty` as in `RidgePath`."""
        gram, cross, inputs, targets = self._sums
        mean, offset = inputs / self._n, targets / self._n
        gram = gram - self._n * np.outer(mean, mean)
        cross = cross - (self._n * np.outer(mean, offset)).astype(np.float32)
        gram[np.diag_indices_from(gram)] += penalty * np.trace(gram) / len(gram)
        weight = linalg.cho_solve(linalg.cho_factor(gram.astype(np.float32)), cross)
        return LinearMap(weight, (offset - mean @ weight).astype(np.float32))


def choose_penalty(
    inputs: "NDArray[np.float32]",
    targets: "NDArray[np.float32]",
    groups: "NDArray[np.int64]",
    penalties: "Sequence[float]",
    n_folds: int,
    check: "Callable[[], None]" = lambda: None,
) -> "tuple[float, NDArray[np.float64]]":
    """Choose the penalty with the least squared error on groups that were held out.

    Parameters
    ----------
    inputs : float array, [n v]
    targets : float array, [n d]
    groups : int array, [n]
    penalties : sequence of float
    n_folds : int
    check : function, called before each fold; may raise to stop

    Returns
    -------
    best : float
    errors : float array, [penalties], mean squared error over the held-out samples

    Raises
    ------
    ConfigError
        If there are fewer than two groups.
    """
    errors = np.zeros(len(penalties))
    for held_out in group_folds(groups, n_folds):
        check()
        path = RidgePath(inputs[~held_out], targets[~held_out])
        for k, penalty in enumerate(penalties):
            fit = path.solve(penalty)
            errors[k] += np.square(inputs[held_out] @ fit.weight + fit.offset - targets[held_out]).mean(axis=1).sum() / len(inputs)
    return float(penalties[int(errors.argmin())]), errors


def group_folds(groups: "NDArray[np.int64]", n_folds: int) -> "Iterator[NDArray[np.bool_]]":
    """Split samples into folds of about equal size without cutting a group; yields the held-out mask [n] of each fold."""
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ConfigError(
            f"holding out groups needs at least 2 groups of training images, got {len(names)}; give a fixed value instead (ridge: penalty)"
        )
    load = np.zeros(min(n_folds, len(names)))
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of_group[group] = load.argmin()
        load[load.argmin()] += sizes[group]
    for fold in range(len(load)):
        yield fold_of_group[member] == fold
