"""What stimulation does to responses: native voxels in, native voxels out, before any preparation by a method."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from brain2pix.config.stimulation import Mode
from brain2pix.errors import ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from brain2pix.arrays import VoxelBatch

Values = TypeVar("Values", "NDArray[np.floating]", "Tensor")
MODES: tuple[str, ...] = get_args(Mode)


def stimulate(values: "Values", mask: "ArrayLike", mode: str, amplitude: "ArrayLike" = 1.0) -> "Values":
    """Change some voxels of each pattern; the input is left as it is.

    Parameters
    ----------
    values : float array or Tensor, [b v] or [b l v], z-scored responses
    mask : bool array, [v], the stimulated voxels
    mode : str, "set" (to the amplitude), "add" (the amplitude), "scale" (by the amplitude) or "silence" (to 0: the voxel's mean over
        training, so that it no longer says anything; not the absence of activity, which z-scored data do not know)
    amplitude : float, or float array [b] with one value per pattern; standard deviations of the voxel, for "scale" a factor

    Returns
    -------
    same type, shape and device as `values`

    Raises
    ------
    ConfigError
        If the mode is unknown, the amplitude not finite, or the mask empty.
    ShapeError
        If mask or amplitude do not fit the values.
    """
    index = check_mask(mask, int(values.shape[-1]))
    if mode not in MODES:
        raise ConfigError(unknown_name("stimulation mode", mode, MODES))
    strength = _strength(values, amplitude)
    changed: Any = values.copy() if isinstance(values, np.ndarray) else values.clone()
    chosen = changed[..., index]
    if mode == "set":
        chosen = chosen * 0 + strength
    elif mode == "add":
        chosen = chosen + strength
    elif mode == "scale":
        chosen = chosen * strength
    else:
        chosen = chosen * 0
    changed[..., index] = chosen
    return changed  # type: ignore[no-any-return]


def stimulate_batch(batch: "VoxelBatch", mask: "ArrayLike", mode: str, amplitude: "ArrayLike" = 1.0) -> "VoxelBatch":
    """Apply `stimulate` to a batch; subjects and unit stay."""
    return replace(batch, values=stimulate(batch.values, mask, mode, amplitude))


def check_mask(mask: "ArrayLike", n_voxels: int) -> "NDArray[np.int64]":
    """Give the indices of the voxels that a mask selects.

    Parameters
    ----------
    mask : bool array, [v]
    n_voxels : int, v

    Raises
    ------
    ShapeError
        If the mask is not one bool per voxel.
    ConfigError
        If it selects none.
    """
    array = np.asarray(mask)
    if array.shape != (n_voxels,) or array.dtype != np.bool_:
        raise ShapeError(f"the stimulated region needs one true/false for each of the {n_voxels} voxels, got {array.dtype} {array.shape}")
    if not array.any():
        raise ConfigError("the stimulated region has no voxel; choose another region or a larger part of the visual field")
    return np.flatnonzero(array)


def _strength(values: Any, amplitude: "ArrayLike") -> Any:
    """Amplitude in the values' own type, shaped to multiply [b ... v]."""
    numbers = np.asarray(amplitude, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ConfigError(f"the amplitude must be a number, got {amplitude!r}")
    if numbers.ndim and numbers.shape != (len(values),):
        raise ShapeError(f"an amplitude for each pattern needs {len(values)} values, got shape {numbers.shape}")
    shaped = numbers.reshape(numbers.shape + (1,) * (values.ndim - 1)) if numbers.ndim else numbers
    return shaped.astype(values.dtype) if isinstance(values, np.ndarray) else values.new_tensor(shaped.tolist())
