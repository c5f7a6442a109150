"""Scaling of responses per voxel."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def statistics(values: "NDArray[np.floating]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Mean and standard deviation (ddof 0) over trials.

    Parameters
    ----------
    values : float array, [n v]

    Returns
    -------
    mean, deviation : float32 arrays, [v]; summed at float64
    """
    precise = np.asarray(values, dtype=np.float64)
    return precise.mean(axis=0).astype(np.float32), precise.std(axis=0).astype(np.float32)


def zscore(values: "NDArray[np.floating]", mean: "NDArray[np.floating]", deviation: "NDArray[np.floating]") -> "NDArray[np.float32]":
    """Subtract a mean and divide by a deviation, as found on training trials only.

    Parameters
    ----------
    values : float array, [n v]
    mean, deviation : float arrays, [v]

    Returns
    -------
    float32 array, [n v]; NaN where the deviation is 0: a constant voxel has no z-score
    """
    divisor = np.where(deviation > 0, deviation, np.nan)
    return ((values - mean) / divisor).astype(np.float32)


def zscore_by_group(values: "NDArray[np.floating]", groups: "NDArray[np.generic]") -> "NDArray[np.float32]":
    """Z-score within each group of trials (run, session), each voxel by itself.

    Parameters
    ----------
    values : float array, [n v]
    groups : array, [n], e.g. run numbers

    Returns
    -------
    float32 array, [n v]

    Raises
    ------
    ShapeError
        If there is not one group per trial.
    """
    if len(groups) != len(values):
        raise ShapeError(f"{len(values)} trials need one group each, got {len(groups)}")
    scaled = np.empty(values.shape, dtype=np.float32)
    for group in np.unique(groups):
        rows = groups == group
        scaled[rows] = zscore(values[rows], *statistics(values[rows]))
    return scaled
