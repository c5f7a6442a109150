"""Read other people's files with bounded memory, and turn whatever a library says about a broken one into one clear error."""

import struct
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from brain2pix.data.volumes import UNREADABLE, require_file, unreadable
from brain2pix.errors import Brain2PixError, DataFormatError
from brain2pix.events import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What is held at once: a block of responses, and the largest table (metadata, masks) that a file may bring.
BLOCK_BYTES = 32 * 2**20
MOST_TABLE_BYTES = 64 * 2**20
# No deflate stream grows by more than this; a header that announces more is wrong.
MOST_INFLATION = 1032
# what numpy, scipy, h5py and zipfile raise on damaged files beside the usual; NotImplementedError: a zip compression nobody has
_MORE = (RuntimeError, KeyError, TypeError, MemoryError, OverflowError, NotImplementedError, struct.error, zipfile.BadZipFile)


@contextmanager
def reading(path: "Path", what: str) -> "Iterator[None]":
    """Turn what libraries raise about a broken file into `DataFormatError`.

    Raises
    ------
    MissingDataError
        If the file is absent or was not downloaded.
    DataFormatError
    """
    require_file(path, what)
    try:
        yield
    except (Brain2PixError, Cancelled):
        raise
    except (*UNREADABLE, *_MORE) as error:
        raise unreadable(path, what, error) from None


def check_size(path: "Path", what: str, announced: int, stored: int) -> None:
    """Refuse an array that announces more bytes than its stored bytes can hold, before any memory is taken for it.

    Parameters
    ----------
    path : Path
    what : str, name of the array
    announced, stored : int, bytes
    """
    if announced > stored * MOST_INFLATION + 4096:
        raise DataFormatError(f"{path}: {what} announces {announced:,} bytes, the file holds {stored:,}; it is truncated. Copy it again.")


def check_table(path: "Path", what: str, n_bytes: int) -> None:
    """Refuse a table that is too large to be one."""
    if n_bytes > MOST_TABLE_BYTES:
        limit = MOST_TABLE_BYTES // 2**20
        raise DataFormatError(f"{path}: {what} takes {n_bytes / 2**20:,.0f} MiB, expected at most {limit}; is it another file?")


def first_bytes(path: "Path", count: int = 512) -> bytes:
    """Start of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
