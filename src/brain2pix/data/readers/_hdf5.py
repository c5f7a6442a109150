"""HDF5 files of other people: opened for each look, read in blocks, refused where they announce more than they hold."""

import math
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py
import numpy as np

from brain2pix.data.readers._reading import check_size, check_table, reading
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray


# A chunk is inflated whole, whatever part of it is read.
_MOST_CHUNK_BYTES = 256 * 2**20


@contextmanager
def open_hdf5(path: "Path") -> "Iterator[h5py.File]":
    """Open a file for one look: an open HDF5 file must not cross a fork."""
    with reading(path, "HDF5 file"), h5py.File(path, "r") as file:
        yield file


def is_hdf5(path: "Path") -> bool:
    """Whether the file has the mark of HDF5, with or without MATLAB's header of 512 bytes before it."""
    try:
        return bool(h5py.is_hdf5(path))
    except (OSError, ValueError):
        return False


def names_in(path: "Path") -> list[str]:
    """Names at the top of a file."""
    with open_hdf5(path) as file:
        return [str(name) for name in file]


def matrix(path: "Path", file: h5py.File, name: str) -> h5py.Dataset:
    """Give a dataset of numbers that holds what it announces.

    Raises
    ------
    DataFormatError
        If it is absent, no dataset of numbers, or truncated.
    """
    item = file.get(name)
    if item is None:
        raise DataFormatError(f"{path} has no {name!r}; top-level items: {', '.join(map(str, file)) or 'none'}")
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub" or item.ndim == 0:
        raise DataFormatError(f"{path}: {name!r} is no array of numbers; is it another kind of file?")
    if item.external or item.is_virtual or item.file.filename != file.filename:
        raise DataFormatError(f"{path}: {name!r} lies in another file; give a file that holds its own numbers")
    check_size(path, repr(name), math.prod(item.shape) * item.dtype.itemsize, int(item.id.get_storage_size()))
    if item.chunks and math.prod(item.chunks) * item.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise DataFormatError(f"{path}: {name!r} is stored in chunks of {item.chunks}; save it in chunks of at most 256 MiB")
    return item


def small(path: "Path", file: h5py.File, name: str) -> "NDArray[np.float64]":
    """Read a table of numbers whole."""
    item = matrix(path, file, name)
    check_table(path, repr(name), math.prod(item.shape) * 8)
    return np.asarray(item[()], dtype=np.float64)


def texts(path: "Path", file: h5py.File, name: str) -> list[str]:
    """Read a list of texts, or one text.

    Raises
    ------
    DataFormatError
        If it is absent, something else, or damaged.
    """
    item = file.get(name)
    if not isinstance(item, h5py.Dataset) or item.ndim > 1 or item.dtype.kind not in "OS" or h5py.check_ref_dtype(item.dtype) is not None:
        raise DataFormatError(f"{path}: {name!r} is no list of texts; if MATLAB 7.3 saved it, save it with -v7")
    if item.external or item.is_virtual or item.file.filename != file.filename:
        raise DataFormatError(f"{path}: {name!r} lies in another file; give a file that holds its own names")
    n_bytes = item.size * (_HEAP_ID.size if item.dtype.kind == "O" else item.dtype.itemsize)
    check_size(path, repr(name), n_bytes, int(item.id.get_storage_size()))
    check_table(path, repr(name), n_bytes)
    raw = _from_heap(path, file, item) if item.dtype.kind == "O" else np.atleast_1d(item[()]).tolist()
    return [value.rstrip(b"\0").decode("utf-8", errors="replace") for value in raw]


# Length, address of a collection in the global heap, number of an object in it; and the heads of both.
_HEAP_ID, _COLLECTION, _OBJECT = struct.Struct("<IQI"), struct.Struct("<4sB3xQ"), struct.Struct("<HHIQ")


def _from_heap(path: "Path", file: h5py.File, item: h5py.Dataset) -> list[bytes]:
    """Read texts of any length. By hand: HDF5 itself goes round for ever in a damaged heap, where nothing can stop it."""
    offset = item.id.get_offset()
    if offset is None or file.id.get_create_plist().get_sizes() != (8, 8):
        raise DataFormatError(f"{path}: {item.name} holds texts in chunks; save them in one piece, or as texts of fixed length")
    base, collections = int(file.userblock_size), dict[int, dict[int, bytes]]()
    found = []
    left = path.stat().st_size  # collections do not overlap
    with path.open("rb") as raw:
        raw.seek(offset)
        ids = raw.read(item.size * _HEAP_ID.size)
        for length, address, number in _HEAP_ID.iter_unpack(ids[: len(ids) // _HEAP_ID.size * _HEAP_ID.size]):
            if length and address not in collections:
                collections[address] = _collection(path, raw, base + address, left)
                left -= sum(map(len, collections[address].values()))
            value = collections.get(address, {}).get(number) if length else b""
            if value is None or len(value) < length:
                raise DataFormatError(f"{path}: {item.name} names texts that are not there; the file is damaged. Copy it again.")
            found.append(value[:length])
    if len(found) != item.size:
        raise DataFormatError(f"{path}: {item.name} is truncated. Copy the file again.")
    return found


def _collection(path: "Path", raw: "BinaryIO", address: int, most: int) -> dict[int, bytes]:
    """Objects of one collection of the global heap, by number."""
    raw.seek(min(address, path.stat().st_size))
    head = raw.read(_COLLECTION.size)
    mark, _, size = _COLLECTION.unpack(head) if len(head) == _COLLECTION.size else (b"", 0, 0)
    if mark != b"GCOL" or not _COLLECTION.size <= size <= most:
        raise DataFormatError(f"{path}: a collection of texts is damaged. Copy the file again.")
    content, at = raw.read(size - _COLLECTION.size), 0
    objects: dict[int, bytes] = {}
    while at + _OBJECT.size <= len(content):
        number, _, _, length = _OBJECT.unpack_from(content, at)
        if not number:  # what follows is free
            break
        objects[number] = content[at + _OBJECT.size : at + _OBJECT.size + length]
        at += _OBJECT.size + -(-length // 8) * 8
    return objects
