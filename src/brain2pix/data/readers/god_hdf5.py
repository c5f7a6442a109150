"""'fMRI on ImageNet' (Generic Object Decoding), HDF5: ``SubjectN.h5`` with all splits, or one file for each split."""

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from brain2pix.data.readers._bdata import MATRIX_NAMES, METADATA_NAMES, BData, make_dataset, no_matrix, one_of, split_of_name
from brain2pix.data.readers._hdf5 import is_hdf5, matrix, names_in, open_hdf5, small, texts
from brain2pix.data.readers.base import Found
from brain2pix.errors import Brain2PixError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices
    from brain2pix.data.readers.base import Dataset

_ONE_SPLIT = re.compile(r"(.+?)_?(?:ImageNet)?_?(?:training|test|imagery)$", re.IGNORECASE)
_MOST_NAMES = 100_000


def sniff(path: "Path") -> Found | None:
    """Say that a file is of this format, or None."""
    if not path.is_file() or not is_hdf5(path):
        return None
    try:
        names = set(names_in(path))
    except Brain2PixError:
        return None
    if not (names & set(MATRIX_NAMES) and names & set(METADATA_NAMES)):
        return None
    split = split_of_name(path)
    what = f"file of the split {split} of one subject" if split else "file of one subject"
    return Found(f"fMRI on ImageNet (Generic Object Decoding), HDF5 {what}")


@contextmanager
def open_dataset(path: "Path", choices: "Choices") -> "Iterator[Dataset]":
    """Open a file, and those of the subject's other splits beside it; the matrices stay on disk.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    yield make_dataset([_open(one) for one in _siblings(path)], choices)


def _siblings(path: "Path") -> "list[Path]":
    """Files of one subject: training, test and imagery, as far as they lie beside each other."""
    match = _ONE_SPLIT.fullmatch(path.stem)
    if match is None:
        return [path]
    found = [one for one in path.parent.glob(f"*{path.suffix}") if (own := _ONE_SPLIT.fullmatch(one.stem)) and own[1] == match[1]]
    order = ["train", "test", "imagery"]
    return sorted(found, key=lambda one: order.index(split_of_name(one) or "train")) or [path]


def _open(path: "Path") -> BData:
    with open_hdf5(path) as file:
        names = [str(name) for name in file]
        if not set(names) & set(MATRIX_NAMES):
            raise no_matrix(path, names)
        name, about = one_of(path, names, MATRIX_NAMES), one_of(path, names, METADATA_NAMES)
        values = matrix(path, file, name)
        if values.ndim != 2:
            raise DataFormatError(f"{path}: {name!r} has shape {values.shape}, expected samples x columns")
        keys, value = texts(path, file, f"{about}/key"), small(path, file, f"{about}/value")
        single = values.dtype.itemsize < 8 and values.dtype.kind == "f"
        shape = (int(values.shape[0]), int(values.shape[1]))
        return BData(path, keys, value, shape, single, _reader(path, name), _names(path, file))


def _names(path: "Path", file: h5py.File) -> dict[str, dict[float, str]]:
    group = file.get("vmap")
    if not isinstance(group, h5py.Group) or group.file.filename != file.filename:
        return {}
    found: dict[str, dict[float, str]] = {}
    for key in group:
        own = group[key]
        if not isinstance(own, h5py.Group) or len(own) > _MOST_NAMES:
            raise DataFormatError(f"{path}: '/vmap/{key}' is no group of names; the file is damaged")
        try:
            found[str(key)] = {float(number): texts(path, file, f"vmap/{key}/{number}")[0] for number in own}
        except ValueError:
            raise DataFormatError(f"{path}: '/vmap/{key}' has names that stand for no number; the file is damaged") from None
    return found


def _reader(path: "Path", name: str) -> Any:
    def read(wanted: "NDArray[np.int64]", dtype: "np.dtype[Any]") -> "NDArray[Any]":
        with open_hdf5(path) as file:
            item = file[name]
            values = np.empty((item.shape[0], wanted.size), dtype=dtype)
            for run in np.split(np.arange(wanted.size), np.flatnonzero(np.diff(wanted) != 1) + 1):
                with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, and is reported as not finite
                    values[:, run] = item[:, int(wanted[run[0]]) : int(wanted[run[-1]]) + 1] if run.size else 0
        return values

    return read
