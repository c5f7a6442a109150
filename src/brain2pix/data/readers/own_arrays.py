"""Arrays that laboratories save: ``.npy``, mapped, and datasets of HDF5 files, found by name or by shape."""

import math
import tokenize
import warnings
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from brain2pix.data.readers._hdf5 import matrix, open_hdf5
from brain2pix.data.readers._reading import first_bytes, reading
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# A file of responses has a handful of datasets; a damaged one may seem to have any number.
_MOST_ITEMS = 2_000
_DEEPEST = 6
_ARCHIVE = b"PK\x03\x04"  # of npz


def map_npy(path: "Path", what: str) -> "NDArray[Any]":
    """Map an array of numbers, read-only; Python objects are never loaded.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    if first_bytes(path, 4) == _ARCHIVE:
        raise DataFormatError(f"{what} {path} is an archive of arrays; expected one array, as np.save writes it (.npy)")
    with reading(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a header is of Python 2
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (SyntaxError, tokenize.TokenError) as error:
            raise ValueError(f"damaged header: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DataFormatError(f"{what} {path} holds {array.dtype}, expected real numbers")
    return array


def find_dataset(path: "Path", wanted: str | None, fits: "Callable[[tuple[int, ...]], bool]", expected: str) -> tuple[str, tuple[int, ...]]:
    """Choose a dataset of an HDF5 file: the one named, or the only one of numbers that fits.

    Parameters
    ----------
    path : Path
    wanted : str or None
    fits : callable, says whether a shape fits
    expected : str, what fits, for messages

    Returns
    -------
    name, shape

    Raises
    ------
    ConfigError
        If the one named is not there, or several fit.
    DataFormatError
        If none fits.
    """
    with open_hdf5(path) as file:
        shapes: dict[str, tuple[int, ...]] = {}
        _collect(file, "", shapes)
        if wanted is not None:
            name = wanted.strip("/")
            if name not in shapes:
                raise ConfigError(f"{path}: {unknown_name('dataset', name, shapes)}")
            return name, tuple(matrix(path, file, name).shape)
        found = [name for name, shape in shapes.items() if fits(shape)]
        there = join_names((f"{name} {shape}" for name, shape in shapes.items()), 8) or "none"
        if not found:
            raise DataFormatError(f"{path} holds no dataset that fits: expected {expected}; datasets of numbers: {there}")
        if len(found) > 1:
            raise ConfigError(f"{path}: {len(found)} datasets fit ({join_names(found, 8)}); name one: --dataset {found[0]}")
        return found[0], tuple(matrix(path, file, found[0]).shape)


def _collect(group: h5py.Group, prefix: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Walk through what lies in this file itself; links to elsewhere are not followed."""
    for key in group:
        if len(shapes) >= _MOST_ITEMS or prefix.count("/") >= _DEEPEST:
            return
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        item = group.get(key)
        if isinstance(item, h5py.Group) and key != "#refs#":  # where MATLAB keeps the inside of cells
            _collect(item, f"{prefix}{key}/", shapes)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub" and item.ndim and math.prod(item.shape):
            shapes[f"{prefix}{key}"] = tuple(int(edge) for edge in item.shape)
