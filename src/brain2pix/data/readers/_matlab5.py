"""MATLAB v5 files, read from front to end: large matrices column by column, never a whole one.

The layout is that of MathWorks' "MAT-File Format": 128 bytes of header, then elements of (type, length, data), most of them deflated.
"""

import math
import struct
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._reading import check_size, check_table, reading
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_SINGLE = 7  # class of float32 matrices
_MOST_VARIABLES, _MOST_DEPTH, _MOST_AXES = 10_000, 4, 8
_PIECE = 2**20


def is_matlab5(start: bytes) -> bool:
    """Whether a file that starts like this is a MATLAB v5 file."""
    return len(start) >= 128 and start[126:128] in (b"IM", b"MI") and b"\x01" in start[124:126]


@dataclass(frozen=True)
class Variable:
    """Header of one variable.

    Parameters
    ----------
    name : str
    matlab_class : int, of the format's table of classes
    shape : tuple of int, in MATLAB's order
    offset, length : int, of its bytes in the file
    compressed : bool
    """

    name: str
    matlab_class: int
    shape: tuple[int, ...]
    offset: int
    length: int
    compressed: bool

    @property
    def is_numeric(self) -> bool:
        """Whether it is a plain matrix of numbers."""
        return self.matlab_class in _NUMBERS

    @property
    def is_single(self) -> bool:
        """Whether MATLAB holds it as float32."""
        return self.matlab_class == _SINGLE


class Matlab5File:
    """One file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingDataError, DataFormatError
    """

    def __init__(self, path: "Path") -> None:
        self.path = path
        with reading(path, "MATLAB file"), path.open("rb") as file:
            start = file.read(128)
            if not is_matlab5(start):
                raise DataFormatError(f"{path} is not a MATLAB v5 file; it starts with {start[:16].decode('latin1')!r}")
            self._order = "<" if start[126:128] == b"IM" else ">"
            self.variables = {one.name: one for one in self._walk(file)}

    def columns(self, name: str) -> "Columns":
        """Give the columns of a matrix, in their order; axes after the first are joined."""
        return Columns(self, self.variable(name))

    def numbers(self, name: str) -> "NDArray[np.float64]":
        """Read a small matrix whole, in MATLAB's axis order."""
        variable = self.variable(name)
        check_table(self.path, f"variable {name!r}", 8 * math.prod(variable.shape))
        with self.columns(name) as columns:
            values = columns.read(0, columns.shape[1], np.dtype(np.float64))
        return values.reshape(variable.shape, order="F")

    def struct(self, name: str) -> dict[str, Any]:
        """Read a struct of one element: numbers, texts, and cells of them."""
        variable = self.variable(name)
        if variable.matlab_class != _STRUCT:
            raise DataFormatError(f"{self.path}: variable {name!r} is no struct; save it as the published files have it")
        with reading(self.path, f"variable {name!r} of MATLAB file"), self._open(variable) as stream:
            value = self._matrix(stream, 0)
        if not isinstance(value, dict):
            raise DataFormatError(f"{self.path}: variable {name!r} is an array of structs, expected one with cells in its fields")
        return value

    def variable(self, name: str) -> Variable:
        """Header of a variable; `DataFormatError` with the names there are if it is absent."""
        if name not in self.variables:
            raise DataFormatError(f"{self.path} has no variable {name!r}; variables: {', '.join(self.variables) or 'none'}")
        return self.variables[name]

    # ------------------------------------------------------------------ parsing

    def _walk(self, file: "BinaryIO") -> "Iterator[Variable]":
        size = file.seek(0, 2)
        offset = 128
        for _ in range(_MOST_VARIABLES):
            if offset + 8 > size:
                return
            file.seek(offset)
            kind, length = struct.unpack(f"{self._order}II", file.read(8))
            if offset + 8 + length > size:
                raise DataFormatError(f"{self.path} is truncated: an element announces {length:,} bytes, {size - offset - 8:,} are left")
            if kind in (_MATRIX, _COMPRESSED):
                yield self._header(Variable("", 0, (), offset + 8, length, kind == _COMPRESSED))
            offset += 8 + length

    def _header(self, place: Variable) -> Variable:
        with self._open(place) as stream:
            matlab_class, shape, name = self._matrix_header(stream)
        return Variable(name, matlab_class, shape, place.offset, place.length, place.compressed)

    @contextmanager
    def _open(self, variable: Variable) -> "Iterator[_Stream]":
        """Open the bytes of a matrix after its tag."""
        with self.path.open("rb") as file:
            file.seek(variable.offset)
            stream = _Stream(file, variable.length, variable.compressed)
            if variable.compressed:
                kind, length, _ = self._tag(stream)
                if kind != _MATRIX:
                    raise DataFormatError(f"{self.path}: a compressed element holds type {kind}, expected a matrix")
                check_size(self.path, "a variable", length, variable.length)
            yield stream

    def _tag(self, stream: "_Stream") -> tuple[int, int, bytes]:
        """Type, length and, for a small element, the data that lies inside the tag."""
        first, second = struct.unpack(f"{self._order}II", raw := stream.take(8))
        if first >> 16:
            length = first >> 16
            if length > 4:
                raise DataFormatError(f"{self.path}: a small element of {length} bytes; the file is damaged. Copy it again.")
            return first & 0xFFFF, length, raw[4 : 4 + length]
        return first, second, b""

    def _element(self, stream: "_Stream") -> tuple[int, bytes]:
        kind, length, data = self._tag(stream)
        if data or not length:
            return kind, data
        check_table(self.path, "an element", length)
        data = stream.take(length)
        stream.skip(-length % 8)
        return kind, data

    def _matrix_header(self, stream: "_Stream") -> tuple[int, tuple[int, ...], str]:
        _, flags = self._element(stream)
        _, dims = self._element(stream)
        _, name = self._element(stream)
        if len(flags) < 4 or len(dims) % 4 or not 2 <= len(dims) // 4 <= _MOST_AXES:
            raise DataFormatError(f"{self.path}: the header of a variable is damaged. Copy the file again.")
        word = struct.unpack(f"{self._order}I", flags[:4])[0]
        shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims)
        if min(shape) < 0 or word >> 11 & 1:
            raise DataFormatError(f"{self.path}: variable {name.decode('latin1')!r} is complex or has a negative edge {shape}")
        return word & 0xFF, shape, name.decode("latin1")

    def _matrix(self, stream: "_Stream", depth: int) -> Any:
        matlab_class, shape, name = self._matrix_header(stream)
        count = math.prod(shape)
        if depth > _MOST_DEPTH:
            raise DataFormatError(f"{self.path}: cells within cells, more than {_MOST_DEPTH} deep; expected names and numbers")
        if matlab_class == _STRUCT:
            return self._fields(stream, count, depth)
        if matlab_class == _CELL:
            return [self._nested(stream, depth) for _ in range(count)]
        if matlab_class != _CHAR and matlab_class not in _NUMBERS:
            raise DataFormatError(f"{self.path}: {name or 'a field'!r} has MATLAB class {matlab_class}; expected numbers or text")
        kind, data = self._element(stream)
        if matlab_class == _CHAR:
            return self._text(kind, data)
        values = np.frombuffer(data, dtype=self._dtype(kind))
        if values.size != count:
            raise DataFormatError(f"{self.path}: a matrix of shape {shape} has {values.size} values; the file is damaged. Copy it again.")
        return values.reshape(shape, order="F")

    def _nested(self, stream: "_Stream", depth: int) -> Any:
        kind, length, _ = self._tag(stream)
        if kind != _MATRIX:
            raise DataFormatError(f"{self.path}: a cell holds type {kind}, expected a matrix; the file is damaged. Copy it again.")
        return self._matrix(stream, depth + 1) if length else ""

    def _fields(self, stream: "_Stream", count: int, depth: int) -> Any:
        _, width = self._element(stream)
        _, names = self._element(stream)
        edge = struct.unpack(f"{self._order}i", width)[0] if len(width) == 4 else 0
        if count != 1 or edge < 1:
            return None
        keys = [names[at : at + edge].split(b"\0")[0].decode("latin1") for at in range(0, len(names), edge)]
        return {key: self._nested(stream, depth) for key in keys}

    def _text(self, kind: int, data: bytes) -> str:
        name = _TEXTS.get(kind, "latin1")
        wide = {"<": "-le", ">": "-be"}[self._order] if name in ("utf-16", "utf-32") else ""
        return data.decode(name + wide, errors="replace")

    def _dtype(self, kind: int) -> "np.dtype[Any]":
        if kind not in _DTYPES:
            raise DataFormatError(f"{self.path}: numbers of stored type {kind} are unknown; the file is damaged. Copy it again.")
        return np.dtype(f"{self._order}{_DTYPES[kind]}")


class Columns:
    """Columns of one matrix, read forwards; going back begins again. Use as a context manager."""

    def __init__(self, file: Matlab5File, variable: Variable) -> None:
        self.path, self.name = file.path, variable.name
        if not variable.is_numeric:
            raise DataFormatError(f"{file.path}: variable {variable.name!r} holds no numbers")
        rest = math.prod(variable.shape[1:])
        self.shape = (variable.shape[0], rest)
        self._file, self._variable = file, variable
        self._opened: Any = None
        self._stream: _Stream
        self._at = 0
        self._dtype = np.dtype(np.uint8)

    def __enter__(self) -> "Columns":
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
            self._opened = None

    def read(self, start: int, stop: int, dtype: "np.dtype[Any] | None" = None) -> "NDArray[Any]":
        """Read columns `start` to `stop`.

        Returns
        -------
        array, [rows, stop - start], float32 unless another type is asked for
        """
        if not self.shape[0] or stop <= start:
            return np.empty((self.shape[0], max(stop - start, 0)), dtype=dtype or np.float32)
        values = np.empty((self.shape[0], stop - start), dtype=dtype or np.float32)
        with reading(self.path, f"variable {self.name!r} of MATLAB file"):
            if self._opened is None or start < self._at:
                self._begin()
            column = self.shape[0] * self._dtype.itemsize
            self._stream.skip((start - self._at) * column)
            self._at = stop
            step = max(1, _PIECE // column)
            for first in range(0, stop - start, step):
                count = min(step, stop - start - first)
                piece = np.frombuffer(self._stream.take(count * column), dtype=self._dtype)
                with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, and is reported as not finite
                    values[:, first : first + count] = piece.reshape(count, self.shape[0]).T
        return values

    def _begin(self) -> None:
        self.close()
        self._opened = self._file._open(self._variable)
        self._stream = self._opened.__enter__()
        self._file._matrix_header(self._stream)
        kind, length, data = self._file._tag(self._stream)
        self._dtype = self._file._dtype(kind)
        expected = math.prod(self.shape) * self._dtype.itemsize
        if length != expected:
            raise DataFormatError(
                f"{self.path}: variable {self.name!r} has {length:,} bytes, its shape {self._variable.shape} needs {expected:,}"
            )
        check_size(self.path, f"variable {self.name!r}", length, self._variable.length)
        self._at = 0
        if data:
            self._stream.push(data)


class _Stream:
    """Bytes of one element, inflated on the way if they are deflated."""

    def __init__(self, file: "BinaryIO", length: int, compressed: bool) -> None:
        self._file, self._left = file, length
        self._inflate = zlib.decompressobj() if compressed else None
        self._ready = bytearray()

    def push(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._ready[:0] = data

    def take(self, count: int) -> bytes:
        """Take exactly so many bytes; memory grows only as they come."""
        while len(self._ready) < count:
            self._fill(count - len(self._ready))
        taken = bytes(memoryview(self._ready)[:count])
        del self._ready[:count]
        return taken

    def skip(self, count: int) -> None:
        """Pass over bytes without keeping them."""
        while count > 0:
            step = min(count, _PIECE)
            self.take(step)
            count -= step

    def _fill(self, wanted: int) -> None:
        more = self._next(min(wanted, _PIECE))
        if not more:
            raise EOFError("it ends before its last value")
        self._ready += more

    def _next(self, wanted: int) -> bytes:
        if self._inflate is None:
            return self._raw(wanted)
        while True:
            data = self._inflate.unconsumed_tail or self._raw(_PIECE)
            more = self._inflate.decompress(data, _PIECE)
            if more or self._inflate.eof or not data:
                return more

    def _raw(self, wanted: int) -> bytes:
        data = self._file.read(min(wanted, self._left))
        self._left -= len(data)
        return data
