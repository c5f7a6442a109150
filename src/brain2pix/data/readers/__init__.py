"""Read published datasets in their published layouts, and the files of one's own. Each format has a file here and a row in `READERS`."""

from typing import TYPE_CHECKING

from brain2pix.config.importing import Choices
from brain2pix.data.readers import god_hdf5, god_matlab, god_npz, own, vim1
from brain2pix.data.readers._reading import first_bytes
from brain2pix.data.readers.base import Dataset, Found, Reader
from brain2pix.data.volumes import require_file
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["READERS", "Choices", "Dataset", "Found", "Reader", "choose_reader", "sniff", "unknown_format"]

READERS: dict[str, Reader] = {
    "god-matlab": Reader("fMRI on ImageNet (GOD), MATLAB v5", god_matlab.sniff, god_matlab.open_dataset),
    "god-hdf5": Reader("fMRI on ImageNet (GOD), HDF5", god_hdf5.sniff, god_hdf5.open_dataset),
    "god-npz": Reader("fMRI on ImageNet (GOD), npz release", god_npz.sniff, god_npz.open_dataset),
    "vim-1": Reader("vim-1, MATLAB v5 or v7.3", vim1.sniff, vim1.open_dataset),
    "own": Reader("one's own responses (4-D NIfTI, HDF5, npy) with a table", own.sniff, own.open_dataset),  # last: it knows the least
}
AUTO = "auto"


def sniff(path: "Path") -> tuple[str, Found] | None:
    """Tell what a file or folder is.

    Returns
    -------
    kind and description, or None if no reader knows it
    """
    for kind, reader in READERS.items():
        said = reader.sniff(path)
        if said is not None:
            return kind, said
    return None


def choose_reader(kind: str, path: "Path") -> Reader:
    """Row of a kind; "auto" looks into the file.

    Raises
    ------
    ConfigError
        If there is no such kind.
    MissingDataError, DataFormatError
        If the path is absent, was not downloaded, or is of no known format.
    """
    if kind != AUTO and kind not in READERS:
        raise ConfigError(unknown_name("kind of dataset", kind, [AUTO, *READERS]))
    if not path.is_dir():
        require_file(path, "source")
    if kind != AUTO:
        return READERS[kind]
    found = sniff(path)
    if found is None:
        raise unknown_format(path)
    return READERS[found[0]]


def unknown_format(path: "Path") -> "DataFormatError | MissingDataError":
    """Say that a path is of no known format, and what it looks like."""
    known = ", ".join(f"{kind} ({reader.title})" for kind, reader in READERS.items())
    if (path / "dataset_description.json").is_file():
        return DataFormatError(
            f"{path} is a BIDS dataset: nothing to import if it is in the native format; brain2pix inspect {path} says so, "
            f"brain2pix window {path} opens it"
        )
    if path.is_dir():
        return MissingDataError(f"{path} holds no file that a reader finds by its name; give the file itself. Known formats: {known}")
    start = first_bytes(path, 16).decode("latin1")
    looks = "not a MATLAB, HDF5 or npz file" if start.lstrip().startswith("<") else "of no known format"
    return DataFormatError(
        f"{path} is {looks}; it starts with {start!r}. Known: {known}. If you know which it is, name it{_own_hint(path)}"
    )


def _own_hint(path: "Path") -> str:
    if not path.name.endswith((*own.SUFFIXES, ".mat")):
        return ""
    return f"; if it holds your own responses: brain2pix import own {path.name} OUT --table TABLE.tsv (one row per response)"
