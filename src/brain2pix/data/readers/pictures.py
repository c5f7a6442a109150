"""Pictures of published datasets: a folder of files, or arrays."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.images import read_image
from brain2pix.data.stacks import image_files
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# At 8 bit, of each split.
MOST_PICTURE_BYTES = 256 * 2**20


class FolderPictures:
    """Files of a folder and its sub-folders, found by their name without suffix.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: "Path") -> None:
        if not folder.is_dir():
            raise MissingDataError(f"image folder {folder} does not exist; give the folder with the pictures")
        self._files: dict[str, Path] = {}
        for path in image_files(folder):
            self._files.setdefault(path.stem, path)
        if not self._files:
            raise DataFormatError(f"{folder} holds no image files; give the folder with the pictures, in sub-folders or not")

    def missing(self, ids: list[str]) -> list[str]:
        """Those of some ids for which there is no file."""
        return [name for name in ids if name not in self._files]

    def read(self, stimulus_id: str) -> "NDArray[np.uint8]":
        """Read one, [h w 3]."""
        return read_image(self._files[stimulus_id])


class ArrayPictures:
    """Pictures of arrays, read at first use and then kept at 8 bit.

    Parameters
    ----------
    counts : dict of split to int; the id of picture 0 of "train" is "train-0001"
    load : callable, gives for each split a uint8 array, [n h w] or [n h w 3]
    """

    def __init__(self, counts: dict[str, int], load: "Callable[[], dict[str, NDArray[np.uint8]]]") -> None:
        self._counts, self._load = counts, load
        self._arrays: dict[str, NDArray[np.uint8]] | None = None

    def missing(self, ids: list[str]) -> list[str]:
        """Those of some ids for which there is no picture."""
        return [name for name in ids if not 0 <= _index(name)[1] < self._counts.get(_index(name)[0], 0)]

    def read(self, stimulus_id: str) -> "NDArray[np.uint8]":
        """Read one, [h w 3]."""
        if self._arrays is None:
            self._arrays = self._load()
        split, index = _index(stimulus_id)
        picture = self._arrays[split][index]
        return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))


def _index(stimulus_id: str) -> tuple[str, int]:
    split, _, number = stimulus_id.rpartition("-")
    return split, int(number) - 1


def numbered(split: str, index: int) -> str:
    """Id of a picture that has no name of its own; `index` counts from 0."""
    return f"{split}-{index + 1:04d}"
