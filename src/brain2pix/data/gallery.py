"""A gallery: many classes of pictures, one sub-folder each, to classify reconstructions by."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.images import read_square_images
from brain2pix.data.stacks import image_files
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Gallery:
    """Classes and their pictures, still on disk.

    Parameters
    ----------
    folder : Path
    files : dict of class name to files, sorted by name
    left_out : tuple of Path, pictures that are held-out stimuli
    """

    folder: "Path"
    files: "dict[str, tuple[Path, ...]]"
    left_out: "tuple[Path, ...]"

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return list(self.files)

    def images(self, name: str, size: int) -> "NDArray[np.uint8]":
        """Read the pictures of a class, cut square, [n size size 3]."""
        return np.stack(list(read_square_images(self.files[name], size)))


def open_gallery(folder: "Path", *, per_class: int = 100, held_out: "Iterable[Path]" = (), seed: int = 0) -> Gallery:
    """List the classes of a folder.

    Parameters
    ----------
    folder : Path, with one sub-folder of image files for each class
    per_class : int, at most this many pictures of a class, drawn at random
    held_out : iterable of Path, files of test stimuli: pictures of the same name or content are left out
    seed : int, draws them

    Raises
    ------
    MissingDataError
        If there is no such folder.
    DataFormatError
        If it has fewer than two classes with pictures.
    """
    if not folder.is_dir():
        raise MissingDataError(f"gallery {folder} is not a folder; expected one sub-folder of pictures for each class")
    stimuli = [path for path in held_out if path.is_file()]
    stems = {path.stem for path in stimuli}
    digests = {(path.stat().st_size, digest(path)) for path in stimuli}
    sizes = {size for size, _ in digests}
    files: dict[str, tuple[Path, ...]] = {}
    left_out: list[Path] = []
    for place in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        kept: list[Path] = []
        for path in image_files(place):
            size = path.stat().st_size
            same = path.stem in stems or (size in sizes and (size, digest(path)) in digests)
            (left_out if same else kept).append(path)
        if kept:
            chosen = np.random.default_rng([seed, len(files)]).permutation(len(kept))[:per_class]
            files[place.name] = tuple(kept[number] for number in sorted(chosen))
    if len(files) < 2:
        raise DataFormatError(f"gallery {folder} has {len(files)} sub-folders with pictures; expected one for each class, at least 2")
    return Gallery(folder, files, tuple(left_out))


def digest(path: "Path") -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
