"""Where in the picture each voxel of a decoder writes: the energy of the picture's change when that voxel alone is raised.

The counterpart of `gradient`: any system that turns responses into pictures has such fields, also one without an encoder. Gaziv et al.
2022 show them for the first layer of their decoder; here they are those of the whole decoder, by finite differences.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.events import CancelToken

Decode = Callable[["NDArray[np.float32]"], "ArrayLike"]
OnProgress = Callable[[int, int], None]


def base_patterns(training: "NDArray[np.float32]", held_out: "NDArray[np.float32]", n: int, seed: int = 0) -> "NDArray[np.float32]":
    """Choose the patterns that voxels are raised in: the mean training response, then single trials of a held-out split.

    Parameters
    ----------
    training, held_out : float32 arrays, [n v], responses; training trials are taken where too few are held out
    n : int, patterns in all
    seed : int
    """
    rng = np.random.default_rng([seed, 11])
    pool = held_out if len(held_out) >= n - 1 else training
    rows = np.sort(rng.choice(len(pool), size=min(n - 1, len(pool)), replace=False))
    return np.concatenate([training.mean(axis=0, keepdims=True), pool[rows]]).astype(np.float32)


def change_maps(
    decode: Decode,
    patterns: "NDArray[np.float32]",
    steps: "NDArray[np.float32]",
    *,
    energy: str = "squared",
    chunk: int = 64,
    cancel: "CancelToken | None" = None,
    on_progress: OnProgress | None = None,
) -> "NDArray[np.float32]":
    """Raise each voxel in each pattern and add up what changes in the picture.

    Parameters
    ----------
    decode : function, responses [b v] -> pictures [b c h w], independent between rows
    patterns : float32 array, [k v], responses to start from
    steps : float32 array, [v], how much each voxel is raised
    energy : str, "squared" or "absolute" change
    chunk : int, voxels decoded at once
    cancel : CancelToken or None, asked before each batch
    on_progress : function or None, called with (batches done, batches in all)

    Returns
    -------
    float32 array, [v h w], sum over colours, mean over patterns

    Raises
    ------
    ShapeError
        If there is not one step per voxel, or the decoder does not give one picture per pattern.
    """
    n_voxels = patterns.shape[1]
    if steps.shape != (n_voxels,):
        raise ShapeError(f"patterns of {n_voxels} voxels need one step each, got shape {steps.shape}")
    starts = range(0, n_voxels, chunk)
    total: NDArray[np.float32] | None = None
    for number, pattern in enumerate(patterns):
        base = _pictures(decode, pattern[None])
        total = np.zeros((n_voxels, *base.shape[2:]), dtype=np.float32) if total is None else total
        for place, start in enumerate(starts):
            if cancel is not None:
                cancel.check()
            raised = np.arange(start, min(start + chunk, n_voxels))
            changed = np.repeat(pattern[None], len(raised), axis=0)
            changed[np.arange(len(raised)), raised] += steps[raised]
            change = _pictures(decode, changed) - base
            total[raised] += (change**2 if energy == "squared" else np.abs(change)).sum(axis=1)
            if on_progress is not None:
                on_progress(number * len(starts) + place + 1, len(patterns) * len(starts))
    if total is None:
        raise ShapeError("change maps need at least one pattern, got none")
    return total / np.float32(len(patterns))


def _pictures(decode: Decode, patterns: "NDArray[np.float32]") -> "NDArray[np.float32]":
    pictures = np.asarray(decode(patterns), dtype=np.float32)
    if pictures.ndim != 4 or len(pictures) != len(patterns):
        raise ShapeError(f"the decoder gave pictures of shape {pictures.shape} for {len(patterns)} patterns, expected [b c h w]")
    return pictures
