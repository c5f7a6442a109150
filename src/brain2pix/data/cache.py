"""Responses as training reads them: in memory, or, where they are large, as a memory map in the user's cache folder.

A cache is one ``.npy`` file, float32 in C order (one row per trial, so that a batch is a few pieces of the disk), made once from the
HDF5 file, where all trials of 256 voxels lie together. Its name is a hash of all that decides it; a checksum stands behind the array.
"""

import hashlib
import logging
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
from platformdirs import user_cache_path

from brain2pix.errors import Brain2PixError
from brain2pix.files import atomic_path
from brain2pix.signals.repeats import sum_by_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from io import BufferedReader
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

logger = logging.getLogger(__name__)

FORMAT = 1  # of the caches; another number makes them all anew
# Below this, responses are read from HDF5 in about a second and fit beside a training in any memory: a file more would only take room.
LARGE_BYTES = 2**28
_CHECKSUM = struct.Struct("<I")
_PIECE = 2**20  # bytes of a file that are checked at once
_ROWS_BYTES = 2**26  # of rows that are put together at once


@dataclass(frozen=True, eq=False)
class Rows:
    """Trials to be prepared.

    Parameters
    ----------
    rows : int array, [n], trial rows
    average : int array, [n], 0..m-1, or None: which image each trial showed, for one mean response per image
    """

    rows: "NDArray[np.int64]"
    average: "NDArray[np.int64] | None" = None

    @property
    def n_rows(self) -> int:
        """Number of rows once they are prepared."""
        return self.rows.size if self.average is None else int(self.average.max()) + 1

    def of(self, values: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Prepare responses [n v] of these trials."""
        if self.average is None:
            return values
        counts = np.bincount(self.average, minlength=self.n_rows)
        return (sum_by_image(values.astype(np.float64), self.average, self.n_rows) / counts[:, None]).astype(np.float32)


def prepared_responses(subject: "Subject", voxel_index: "NDArray[np.int64]", parts: "Sequence[Rows]") -> "list[NDArray[np.float32]]":
    """Read responses of some voxels in one pass, a few voxels at a time.

    Parameters
    ----------
    subject : Subject
    voxel_index : int array, [v]
    parts : sequence of Rows

    Returns
    -------
    list of float32 arrays, [n v], one for each part. If all of them together are larger than `LARGE_BYTES` they are memory-mapped, and
    writing to them changes no file; in memory if the cache folder cannot be written.
    """
    shape = (sum(part.n_rows for part in parts), len(voxel_index))
    found: NDArray[np.float32] | None = None
    if 4 * shape[0] * shape[1] > LARGE_BYTES:
        found = _cached(_cache_of(subject, voxel_index, parts), shape, _blocks(subject, voxel_index, parts))
    if found is None:
        found = np.empty(shape, dtype=np.float32)
        for columns, values in _blocks(subject, voxel_index, parts):
            found[:, columns] = values
    ends = np.cumsum([part.n_rows for part in parts])
    return [found[end - part.n_rows : end] for part, end in zip(parts, ends, strict=True)]


def cache_folder() -> "Path":
    """Where caches of responses lie."""
    return user_cache_path("napari-brain2pix") / "responses"


def open_cache(path: "Path", shape: tuple[int, int]) -> "NDArray[np.float32] | None":
    """Map a cache.

    Parameters
    ----------
    path : Path
    shape : tuple of two ints, [n v], what it must hold

    Returns
    -------
    float32 memory map, [n v], whose file nothing can change through it; None if there is no cache, or it is cut short or damaged
    """
    header = _header(shape)
    size = len(header) + 4 * shape[0] * shape[1] + _CHECKSUM.size
    try:
        with path.open("rb") as file:
            if path.stat().st_size != size or file.read(len(header)) != header:
                return None
            file.seek(0)
            checksum = _checksum(file, size - _CHECKSUM.size)
            if file.read() != _CHECKSUM.pack(checksum):
                return None
        # "c": private pages. A read-only map would do, were it not for torch, which warns of arrays that cannot be written.
        return np.memmap(path, dtype=np.float32, mode="c", offset=len(header), shape=shape)
    except OSError:
        return None


def write_cache(path: "Path", shape: tuple[int, int], blocks: "Iterable[tuple[slice, NDArray[np.float32]]]") -> "Path":
    """Write a cache from blocks of columns, atomically.

    The blocks go into a temporary file first, and from there into the cache a few rows at a time. So both are written from beginning to
    end, and a row lies in one piece. No writable memory map: on a full disk that ends the process instead of raising an error.

    Parameters
    ----------
    path : Path
    shape : tuple of two ints, [n v]
    blocks : iterable of slice of columns and float32 array [n w]; together they are the whole
    """
    header = _header(shape)
    with atomic_path(path) as beside, TemporaryFile(dir=path.parent) as stored, beside.open("wb") as file:
        places = []
        for columns, values in blocks:
            places.append((columns, stored.tell()))
            stored.write(np.ascontiguousarray(values, dtype="<f4").data)
        file.write(header)
        checksum = zlib.crc32(header)
        height = max(_ROWS_BYTES // (4 * max(shape[1], 1)), 1)
        for start in range(0, shape[0], height):
            rows = np.empty((min(height, shape[0] - start), shape[1]), dtype="<f4")
            for columns, place in places:
                width = columns.stop - columns.start
                stored.seek(place + 4 * start * width)
                rows[:, columns] = np.frombuffer(stored.read(4 * len(rows) * width), dtype="<f4").reshape(-1, width)
            file.write(rows.data)
            checksum = zlib.crc32(rows.data, checksum)
        file.write(_CHECKSUM.pack(checksum))
    return path


def cached_files() -> "list[Path]":
    """List the caches there are: responses, measured and predicted, and stacks made of folders of images."""
    root = user_cache_path("napari-brain2pix")
    return sorted(path for name in ("responses", "predictions", "stacks") for path in (root / name).glob("*.npy"))


def _blocks(subject: "Subject", voxel_index: "NDArray[np.int64]", parts: "Sequence[Rows]") -> "Iterator[tuple[slice, NDArray[np.float32]]]":
    """Prepare a few columns at a time: all parts, one below the other."""
    rows = np.concatenate([part.rows for part in parts])
    ends = np.cumsum([part.rows.size for part in parts])
    for columns, values in subject.blocks(voxel_index, rows):
        yield columns, np.concatenate([part.of(values[end - part.rows.size : end]) for part, end in zip(parts, ends, strict=True)])


def _cached(path: "Path", shape: tuple[int, int], blocks: "Iterator[tuple[slice, NDArray[np.float32]]]") -> "NDArray[np.float32] | None":
    """Open a cache, or make it first; None if that cannot be done here."""
    found = open_cache(path, shape)
    if found is not None:
        return found
    logger.info("responses are prepared for training in %s (%.1f GB), once", path, 4 * shape[0] * shape[1] / 1e9)
    reason: Exception | str = "it does not hold what was written"
    try:
        write_cache(path, shape, blocks)
    except (OSError, Brain2PixError) as error:
        if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):
            raise
        reason = error
    found = open_cache(path, shape)  # another process may have made it meanwhile
    if found is None:
        logger.warning("responses are kept in memory: the cache %s cannot be written (%s)", path.parent, reason)
    return found


def _cache_of(subject: "Subject", voxel_index: "NDArray[np.int64]", parts: "Sequence[Rows]") -> "Path":
    digest = hashlib.sha256(f"{FORMAT}\0{subject.fingerprint(voxel_index)}".encode())
    for part in parts:
        digest.update(b"rows" + part.rows.tobytes())
        digest.update(b"" if part.average is None else b"average" + part.average.tobytes())
    return cache_folder() / f"{subject.root.name}_{subject.name}_{digest.hexdigest()[:32]}.npy"


def _header(shape: tuple[int, int]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _checksum(file: "BufferedReader", size: int) -> int:
    """CRC-32 of the next `size` bytes: it tells what a disk or a copy did, in a second for a whole study."""
    found = 0
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        found = zlib.crc32(piece, found)
        size -= len(piece)
    return found
