"""Parts of the test images, for systems that must not have seen the responses that they decode."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def folds_of(groups: "NDArray[np.int64]", n_folds: int) -> "tuple[NDArray[np.int64], list[list[int]]]":
    """Divide test images into folds, all crops of a photograph in the same one.

    Parameters
    ----------
    groups : int array, [m], photograph of each image
    n_folds : int, at most; there are no more than photographs

    Returns
    -------
    int array, [m], fold of each image
    list of lists of int, images of each fold; empty if there are fewer than two folds
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    n = min(n_folds, int(numbers.max()) + 1)
    if n < 2:
        return np.zeros(len(groups), dtype=np.int64), []
    part = numbers.astype(np.int64) % n
    return part, [np.flatnonzero(part == fold).tolist() for fold in range(n)]
