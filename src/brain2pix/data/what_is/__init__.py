"""Say what any file or folder is: by its content first, with bounded time and memory, and without writing anything."""

import os
import re
import stat
import zlib
from typing import TYPE_CHECKING

from brain2pix.data.readers import READERS, Choices, sniff, unknown_format
from brain2pix.data.readers._hdf5 import is_hdf5
from brain2pix.data.readers._matlab5 import is_matlab5
from brain2pix.data.readers._reading import first_bytes, reading
from brain2pix.data.volumes import require_file
from brain2pix.data.what_is.arrays import describe_hdf5, describe_matlab5, describe_npy, describe_npz, describe_safetensors
from brain2pix.data.what_is.brains import describe_freesurfer, describe_gifti, describe_mgh, describe_nifti
from brain2pix.data.what_is.folders import describe_folder, root_of
from brain2pix.data.what_is.media import describe_media
from brain2pix.data.what_is.said import WhatIs, fact, quoted
from brain2pix.data.what_is.texts import as_text, describe_json, describe_lines, describe_table, describe_text, describe_toml, read_whole
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WhatIs", "what_is"]

_START = 16_384
_KINDS = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}


def what_is(path: "Path") -> WhatIs:
    """Say what a file or folder is.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingDataError
        If there is nothing, or its content is not on this machine or may not be read.
    DataFormatError
        If it is damaged, or of no known format.
    """
    found = _what(path)
    root = root_of(path)
    if root is None:
        return found
    command = f"brain2pix inspect {quoted(root)}"
    more = () if command in found.actions else (command,)
    return WhatIs(found.title, (*found.facts, fact("part of", f"the dataset {root}")), (*found.actions, *more))


def _what(path: "Path") -> WhatIs:
    _check_there(path)
    if path.is_dir():
        return describe_folder(path)
    start = first_bytes(path, _START)
    if not start:
        raise DataFormatError(f"{path} is empty (0 bytes); its download or copy failed. Copy it again.")
    require_file(path, "file")
    if re.match(rb"\s*<(!doctype html|html)", start[:200], re.IGNORECASE):
        shown = start[:16].decode("latin1")
        raise DataFormatError(
            f"{path} is a web page, not a MATLAB, HDF5 or npz file; it starts with {shown!r}. The download failed, or needs a login"
        )
    with reading(path, "file"):
        return _published(path) or _by_content(path, start)


def _check_there(path: "Path") -> None:
    """Refuse what cannot be read, before anything opens it: opening a pipe would wait for ever."""
    if path.is_symlink() and not path.exists():
        require_file(path, "file")  # says that the link is broken
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MissingDataError(f"{path} does not exist; give a file, a dataset folder, a subject folder or a run folder") from None
    except (OSError, ValueError) as error:
        raise MissingDataError(f"{path} cannot be looked at: {error}") from None
    for test, what in _KINDS.items():
        if test(mode):
            raise DataFormatError(f"{path} is {what}, expected a file or a folder")
    if not os.access(path, os.R_OK):
        raise MissingDataError(f"{path} may not be read by this user; ask for the right to read it (chmod, or its owner)")


def _published(path: "Path") -> WhatIs | None:
    """Describe a file of a published dataset; responses of one's own are described by what contains them."""
    found = sniff(path)
    if found is None or found[0] == "own":
        return None
    kind, said = found
    if not said.has_responses:
        return WhatIs(said.text)
    with READERS[kind].open(path, Choices()) as dataset:
        return WhatIs(said.text, tuple(dataset.lines()), (f"brain2pix import {kind} {quoted(path)} OUT",))


def _by_content(path: "Path", start: bytes) -> WhatIs:
    inner = _unpacked(start)
    name = path.name.lower()
    if _is_nifti(inner):
        return describe_nifti(path)
    if b"<GIFTI" in inner:
        return describe_gifti(path)
    if name.endswith((".mgz", ".mgh", ".mgh.gz")):
        return describe_mgh(path)
    binary = _binary(path, start)
    if binary is not None:
        return binary
    text = as_text(start)
    if text is not None:
        return _text(path, text)
    raise unknown_format(path)


def _binary(path: "Path", start: bytes) -> WhatIs | None:
    if start.startswith(b"\x93NUMPY"):
        return describe_npy(path)
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return describe_npz(path)
    if is_hdf5(path):
        return describe_hdf5(path)
    if is_matlab5(start):
        return describe_matlab5(path)
    if path.name.lower().endswith(".safetensors") or (start[8:9] == b"{" and start[5:8] == b"\0\0\0"):
        return describe_safetensors(path)
    return describe_media(path, start) or describe_freesurfer(path)


def _text(path: "Path", text: str) -> WhatIs:
    name = path.name.lower()
    if name.endswith((".jsonl", ".ndjson")):
        return describe_lines(path, text)
    if name.endswith(".toml"):  # its first line may be a [table], which JSON would take for a list
        return describe_toml(path, read_whole(path, "TOML"))
    if name.endswith(".json") or text.lstrip()[:1] in ("{", "["):
        return describe_json(path, read_whole(path, "JSON"))
    header = text.splitlines()[0] if text.splitlines() else ""
    for delimiter in ("\t", ",", ";"):
        known = name.endswith((".tsv", ".csv", ".txt")) and delimiter in header
        found = describe_table(path, delimiter) if known or name.endswith((".tsv", ".csv")[delimiter != "\t"]) else None
        if found is not None:
            return found
    return describe_text(path, text)


def _unpacked(start: bytes) -> bytes:
    """First bytes of what a gzip file holds; the bytes themselves otherwise."""
    if not start.startswith(b"\x1f\x8b"):
        return start
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, 4096)
    except zlib.error:
        return start


def _is_nifti(start: bytes) -> bool:
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} if len(start) >= 348 else set()
    return (348 in sizes and start[344:347] in (b"n+1", b"ni1")) or (540 in sizes and start[4:7] in (b"n+2", b"ni2"))
