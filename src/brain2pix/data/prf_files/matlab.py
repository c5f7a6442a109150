"""Results of analyzePRF: a struct with `ang`, `ecc`, `expt`, `rfsize`, `R2`, or these as variables; MATLAB v5 or v7.3."""

from typing import TYPE_CHECKING

import h5py
import numpy as np

from brain2pix.data.readers._hdf5 import is_hdf5, open_hdf5, small
from brain2pix.data.readers._matlab5 import Matlab5File, is_matlab5
from brain2pix.data.readers._reading import first_bytes
from brain2pix.data.volumes import join_names, require_file
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

FIELDS = ("ang", "ecc", "expt", "rfsize", "R2", "gain")
_NEEDED = ("ang", "ecc")


def read_results(path: "Path") -> "dict[str, NDArray[np.float64]]":
    """Read the fields of a result, in MATLAB's axis order, trailing axes of length one left out.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of field (`FIELDS`, those there are) to float64 array, [v] or [i j k]

    Raises
    ------
    MissingDataError
    DataFormatError
        If the file is damaged, or holds no such result.
    """
    require_file(path, "MATLAB file")
    start = first_bytes(path)
    if is_hdf5(path):
        found = _from_hdf5(path)
    elif is_matlab5(start):
        found = _from_matlab5(path)
    else:
        raise DataFormatError(f"{path} is not a MATLAB file (v5 or v7.3); it starts with {start[:16].decode('latin1')!r}")
    shapes = {name: values.shape for name, values in found.items()}
    if len(set(shapes.values())) != 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataFormatError(f"{path}: the fields of the result differ in shape: {told}; are they of one analysis?")
    return found


def _from_matlab5(path: "Path") -> "dict[str, NDArray[np.float64]]":
    file = Matlab5File(path)
    plain = [name for name, one in file.variables.items() if one.is_numeric]
    if all(name in plain for name in _NEEDED):
        return {name: _trim(file.numbers(name)) for name in FIELDS if name in plain}
    for name, variable in file.variables.items():
        if variable.is_numeric:
            continue
        try:
            value: Any = file.struct(name)
        except DataFormatError:  # a variable of another class beside the result is no fault
            if name == "results":
                raise
            continue
        fields = {field: part for field, part in value.items() if field in FIELDS and isinstance(part, np.ndarray) and part.size}
        if all(field in fields for field in _NEEDED):
            return {field: _trim(np.asarray(fields[field], dtype=np.float64)) for field in FIELDS if field in fields}
    raise _absent(path, file.variables)


def _from_hdf5(path: "Path") -> "dict[str, NDArray[np.float64]]":
    with open_hdf5(path) as file:
        tops = [str(name) for name in file]
        groups = [name for name in tops if _own(file, name) and isinstance(file[name], h5py.Group)]
        for prefix, parent in (("", file), *((f"{name}/", file[name]) for name in groups)):
            there = [field for field in FIELDS if _own(parent, field) and "MATLAB_empty" not in parent[field].attrs]
            if all(field in there for field in _NEEDED):
                return {field: _trim(small(path, file, f"{prefix}{field}").T) for field in there}
        raise _absent(path, tops)


def _own(parent: h5py.Group, name: str) -> bool:
    """Whether an item lies in this file: links may lead to others."""
    return isinstance(parent.get(name, getlink=True), h5py.HardLink)


def _absent(path: "Path", names: "Iterable[str]") -> DataFormatError:
    return DataFormatError(
        f"{path} holds no result of analyzePRF: expected a struct with ang and ecc (or variables of these names), "
        f"found {join_names(names, 8) or 'nothing'}. Save it with save('results.mat', 'results')"
    )


def _trim(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Take a column or row as what it is, [v]."""
    shape = [edge for edge in values.shape if edge != 1] or [1]
    return values.reshape(shape) if len(shape) == 1 else values
