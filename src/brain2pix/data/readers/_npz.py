"""Numpy archives, read row by row; never a pickled object."""

import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._reading import check_size, check_table, reading
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

_PIECE = 2**22


class NpzFile:
    """One archive.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    arrays : dict of name to (shape, dtype)

    Raises
    ------
    MissingDataError
        If it is absent or was not downloaded.
    DataFormatError
        If it is no archive of arrays, or one of them holds Python objects.
    """

    def __init__(self, path: "Path") -> None:
        self.path = path
        self.arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        with reading(path, "npz file"), zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    self.arrays[entry.filename.removesuffix(".npy")] = self._header_of(archive, entry)

    def rows(self, name: str) -> "Iterator[NDArray[Any]]":
        """Go through the first axis of an array, in blocks of rows of some megabytes."""
        shape, dtype = self.need(name)
        per_row = math.prod(shape[1:]) * dtype.itemsize
        step = max(1, _PIECE // max(per_row, 1))
        with reading(self.path, f"array {name!r} of npz file"), zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
            self._header(file, name)
            for start in range(0, shape[0], step):
                count = min(step, shape[0] - start)
                yield np.frombuffer(_exactly(file, count * per_row), dtype=dtype).reshape(count, *shape[1:])

    def small(self, name: str) -> "NDArray[Any]":
        """Read a small array whole."""
        shape, dtype = self.need(name)
        check_table(self.path, f"array {name!r}", math.prod(shape) * dtype.itemsize)
        blocks = list(self.rows(name))
        return np.concatenate(blocks) if blocks else np.zeros(shape, dtype=dtype)

    def need(self, name: str) -> "tuple[tuple[int, ...], np.dtype[Any]]":
        """Shape and type of an array; `DataFormatError` with the names there are if it is absent."""
        if name not in self.arrays:
            raise DataFormatError(f"{self.path} has no array {name!r}; arrays: {', '.join(self.arrays) or 'none'}")
        return self.arrays[name]

    def _header_of(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> "tuple[tuple[int, ...], np.dtype[Any]]":
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as file:
            shape, dtype = self._header(file, name)
        needed = math.prod(shape) * dtype.itemsize
        if needed > entry.file_size:
            raise DataFormatError(
                f"{self.path}: array {name!r} of shape {shape} needs {needed:,} bytes, has {entry.file_size:,}; copy it again"
            )
        check_size(self.path, f"array {name!r}", needed, entry.compress_size)
        return shape, dtype

    def _header(self, file: "IO[bytes]", name: str) -> "tuple[tuple[int, ...], np.dtype[Any]]":
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read(file)
        if dtype.kind not in "fiub":
            raise DataFormatError(f"{self.path}: array {name!r} holds {dtype}, expected numbers; Python objects are never loaded")
        if columns_first and len(shape) > 1:
            raise DataFormatError(f"{self.path}: array {name!r} is in Fortran order; save it again as np.ascontiguousarray")
        if not shape or any(edge < 0 for edge in shape):
            raise DataFormatError(f"{self.path}: array {name!r} has shape {shape}, expected at least one axis")
        return tuple(int(edge) for edge in shape), dtype


def _exactly(file: "IO[bytes]", count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError("it ends before its last value")
    return data
