"""The first layer of a network in MatConvNet's published layout: filters, biases and the mean picture that its input is centred on.

Layout, from MatConvNet's documentation (vlfeat.org/matconvnet): `layers`, a cell of structs with `name`, `type` and `weights` {filters
[h w in out], biases} (older files: `filters` and `biases`), and `normalization.averageImage` in 0..255, red first, alone or in `meta`.
Filters are correlated with the picture, as in torch.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.io import loadmat

from brain2pix.data.readers._matlab5 import Matlab5File
from brain2pix.data.readers._reading import reading
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_FIRST = "conv1"
_FILTERS = (11, 11, 3, 96)


def read_first_layer(path: "Path") -> "dict[str, Tensor]":
    """Read the first layer of Caffe's reference network.

    Parameters
    ----------
    path : Path, MATLAB v5 file

    Returns
    -------
    dict of Tensor, "features.0.weight" [96 3 11 11], "features.0.bias" [96], "input_mean" [1 3 1 1] in 0..1: the mean colour of the picture

    Raises
    ------
    MissingDataError, DataFormatError
        If the file is absent, damaged, or of another layout.
    """
    there = set(Matlab5File(path).variables)  # tells a damaged file before memory is taken for it
    if "layers" not in there or not there & {"meta", "normalization"}:
        names = ", ".join(sorted(there)) or "none"
        raise DataFormatError(f"{path} is no network of MatConvNet: expected variables layers and meta (or normalization), found {names}")
    with reading(path, "MATLAB file"):
        content = loadmat(path, variable_names=["layers", "meta", "normalization"])
    filters, biases = _weights(path, _layer(path, content["layers"]))
    weight = np.ascontiguousarray(_finite(path, "filters", filters, _FILTERS).transpose(3, 2, 0, 1))
    bias = _finite(path, "biases", np.reshape(biases, -1), _FILTERS[-1:])
    return {
        "features.0.weight": torch.from_numpy(weight),
        "features.0.bias": torch.from_numpy(bias.copy()),
        "input_mean": torch.from_numpy(_mean_colour(path, content) / np.float32(255)).view(1, 3, 1, 1),
    }


def _layer(path: "Path", layers: "NDArray[Any]") -> "NDArray[Any]":
    """Struct of the first convolution."""
    found = [_text(_field(layer, "name")) for layer in layers.flat]
    if _FIRST not in found:
        raise DataFormatError(f"{path} has no layer {_FIRST!r}; layers: {', '.join(found[:8]) or 'none'}")
    layer: NDArray[Any] = layers.flat[found.index(_FIRST)]
    return layer


def _weights(path: "Path", layer: "NDArray[Any]") -> "tuple[Any, Any]":
    pair = _field(layer, "weights")
    if isinstance(pair, np.ndarray) and pair.dtype == object and pair.size == 2:
        return pair.flat[0], pair.flat[1]
    filters, biases = _field(layer, "filters"), _field(layer, "biases")
    if filters is None or biases is None:
        raise DataFormatError(f"{path}: layer {_FIRST!r} has neither weights {{filters, biases}} nor filters and biases")
    return filters, biases


def _mean_colour(path: "Path", content: "dict[str, Any]") -> "NDArray[np.float32]":
    """Mean over the places of the mean picture, [3] in 0..255: pictures here have other sizes than that one."""
    normalization = content.get("normalization", _field(content.get("meta"), "normalization"))
    picture = _field(normalization, "averageImage")
    if not isinstance(picture, np.ndarray) or picture.dtype.kind not in "fiu" or not picture.size or picture.size % 3:
        raise DataFormatError(f"{path} has no normalization.averageImage of three colours, which the input is centred on")
    colours = picture.reshape(-1, 3) if picture.ndim == 3 and picture.shape[2] == 3 else picture.reshape(-1)[None]
    if colours.shape[1] != 3 or not np.isfinite(colours).all() or colours.min() < 0 or colours.max() > 255:
        raise DataFormatError(f"{path}: averageImage is {picture.shape}; expected [h w 3], or 3 numbers, in 0..255")
    return np.asarray(colours.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _finite(path: "Path", name: str, values: Any, shape: tuple[int, ...]) -> "NDArray[np.float32]":
    found = np.asarray(values)
    if found.dtype.kind != "f" or found.shape != shape:
        raise DataFormatError(f"{path}: {name} of {_FIRST!r} are {found.dtype} {found.shape}, expected numbers {shape}")
    if not np.isfinite(found).all():
        raise DataFormatError(f"{path}: {name} of {_FIRST!r} are not all finite; the file is damaged. Copy it again.")
    return np.asarray(found, dtype=np.float32)


def _field(struct: Any, name: str) -> Any:
    """Field of a struct of one element as scipy gives it; None if there is none."""
    if not isinstance(struct, np.ndarray) or struct.dtype.names is None or name not in struct.dtype.names or struct.size != 1:
        return None
    return struct[name].flat[0]


def _text(value: Any) -> str:
    return str(value.flat[0]) if isinstance(value, np.ndarray) and value.size == 1 else ""
