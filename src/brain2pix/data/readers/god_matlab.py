"""'fMRI on ImageNet' (Generic Object Decoding), release of 2018: ``SubjectN.mat``, MATLAB v5."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._bdata import MATRIX_NAMES, METADATA_NAMES, BData, make_dataset, one_of
from brain2pix.data.readers._matlab5 import Matlab5File, is_matlab5
from brain2pix.data.readers._reading import first_bytes
from brain2pix.data.readers.base import Found
from brain2pix.errors import Brain2PixError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices
    from brain2pix.data.readers._matlab5 import Columns
    from brain2pix.data.readers.base import Dataset


def sniff(path: "Path") -> Found | None:
    """Say that a file is of this format, or None."""
    if not path.is_file() or not is_matlab5(first_bytes(path)):
        return None
    try:
        names = set(Matlab5File(path).variables)
    except Brain2PixError:
        return None
    if names & set(MATRIX_NAMES) and names & set(METADATA_NAMES):
        return Found("fMRI on ImageNet (Generic Object Decoding), MATLAB v5 file of one subject")
    return None


@contextmanager
def open_dataset(path: "Path", choices: "Choices") -> "Iterator[Dataset]":
    """Open a file; its matrix stays on disk.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    file = Matlab5File(path)
    name = one_of(path, list(file.variables), MATRIX_NAMES)
    keys, value = _metadata(file)
    with ExitStack() as stack:
        columns = stack.enter_context(file.columns(name))
        variable = file.variable(name)
        if len(variable.shape) != 2:
            raise DataFormatError(f"{path}: {name!r} has shape {variable.shape}, expected samples x columns")
        yield make_dataset([BData(path, keys, value, columns.shape, variable.is_single, _reader(columns))], choices)


def _metadata(file: Matlab5File) -> "tuple[list[str], NDArray[np.float64]]":
    name = one_of(file.path, list(file.variables), METADATA_NAMES)
    fields = file.struct(name)
    lacking = [key for key in ("key", "value") if key not in fields]
    if lacking:
        raise DataFormatError(f"{file.path}: struct {name!r} has no field {lacking[0]!r}; fields: {', '.join(fields) or 'none'}")
    keys, value = fields["key"], fields["value"]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or not isinstance(value, np.ndarray):
        raise DataFormatError(f"{file.path}: {name}.key must be a cell of names and {name}.value a matrix")
    return [key.strip() for key in keys], np.asarray(value, dtype=np.float64)


def _reader(columns: "Columns") -> Any:
    def read(wanted: "NDArray[np.int64]", dtype: "np.dtype[Any]") -> "NDArray[Any]":
        values = np.empty((columns.shape[0], wanted.size), dtype=dtype)
        for run in np.split(np.arange(wanted.size), np.flatnonzero(np.diff(wanted) != 1) + 1):
            if run.size:
                values[:, run] = columns.read(int(wanted[run[0]]), int(wanted[run[-1]]) + 1, dtype)
        return values

    return read
