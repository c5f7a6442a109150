"""Pictures of a laboratory: files found by what the table calls them, or a stack of pictures indexed by number."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.images import as_rgb, read_image
from brain2pix.data.readers._hdf5 import is_hdf5, matrix, open_hdf5
from brain2pix.data.readers.own_arrays import find_dataset, map_npy
from brain2pix.data.stacks import image_files
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.readers.base import Pictures

_MOST_PIXELS = 2**26  # of one picture of a stack


def open_pictures(path: "Path", pictures: "Mapping[str, str]") -> "Pictures":
    """Open a folder of pictures, or a stack.

    Parameters
    ----------
    path : Path, folder, ``.npy`` [n h w 3] or HDF5 file with such a dataset
    pictures : mapping of stimulus id to what the table calls its picture

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    return StackPictures(path, pictures) if path.is_file() else NamedPictures(path, pictures)


class NamedPictures:
    """Files of a folder and its sub-folders. A name may be a path, a file name, or one without suffix; the longest match wins.

    Parameters
    ----------
    folder : Path
    pictures : mapping of stimulus id to name
    """

    def __init__(self, folder: "Path", pictures: "Mapping[str, str]") -> None:
        if not folder.is_dir():
            raise MissingDataError(f"image folder {folder} does not exist; give the folder with the pictures")
        by_name: dict[str, list[Path]] = {}
        for path in image_files(folder):
            for name in {path.name, path.stem}:
                by_name.setdefault(name, []).append(path)
        if not by_name:
            raise DataFormatError(f"{folder} holds no image files; give the folder with the pictures, in sub-folders or not")
        self._files = {key: found for key, name in pictures.items() if (found := _find(folder, by_name, name)) is not None}

    def missing(self, ids: list[str]) -> list[str]:
        """Those of some ids for which there is no file."""
        return [name for name in ids if name not in self._files]

    def read(self, stimulus_id: str) -> "NDArray[np.uint8]":
        """Read one, [h w 3]."""
        return read_image(self._files[stimulus_id])


def _find(folder: "Path", by_name: "Mapping[str, list[Path]]", text: str) -> "Path | None":
    told = PurePosixPath(text.replace("\\", "/"))
    candidates = by_name.get(told.name, [])
    if not candidates:
        return None
    shared = [_shared_parents(told, PurePosixPath(path.relative_to(folder).as_posix())) for path in candidates]
    best = [path for path, count in zip(candidates, shared, strict=True) if count == max(shared)]
    if len(best) > 1:
        names = join_names((str(path.relative_to(folder)) for path in best), 3)
        raise DataFormatError(f"{folder}: picture {text!r} may be {names}; write the path within the folder, with suffix, into the table")
    return best[0]


def _shared_parents(told: PurePosixPath, there: PurePosixPath) -> int:
    """How many folders agree, from the file upwards."""
    count = 0
    for one, other in zip(told.parts[-2::-1], there.parts[-2::-1], strict=False):
        if one != other:
            break
        count += 1
    return count


class StackPictures:
    """A stack of pictures; the table gives their numbers, from 0.

    Parameters
    ----------
    path : Path, ``.npy`` or HDF5, uint8 [n h w 3] or grey [n h w]
    pictures : mapping of stimulus id to number
    """

    def __init__(self, path: "Path", pictures: "Mapping[str, str]") -> None:
        self._path, self._name = path, ""
        if is_hdf5(path):
            self._name, self._shape = find_dataset(path, None, _is_stack, "one stack of pictures (pictures, height, width, 3)")
            with open_hdf5(path) as file:
                dtype: np.dtype[Any] = matrix(path, file, self._name).dtype
        else:
            array = map_npy(path, "image stack")
            self._shape, dtype = array.shape, array.dtype
        if not _is_stack(self._shape) or dtype != np.uint8 or int(np.prod(self._shape[1:3])) > _MOST_PIXELS:
            raise DataFormatError(
                f"image stack {path}: expected 8-bit pictures (pictures, height, width, 3), got {dtype} {tuple(self._shape)}"
            )
        odd = [text for text in pictures.values() if not (text.isascii() and text.isdigit())]
        if odd:
            raise DataFormatError(
                f"image stack {path}: pictures are found by number, the table calls one {odd[0]!r}; give numbers from 0, or a folder"
            )
        self._numbers = {key: int(text) for key, text in pictures.items()}
        if self._numbers and min(self._numbers.values()) > 0 and max(self._numbers.values()) == self._shape[0]:
            raise DataFormatError(
                f"image stack {path} has {self._shape[0]} pictures, the table counts from 1 to {self._shape[0]}; count from 0"
            )

    def missing(self, ids: list[str]) -> list[str]:
        """Those of some ids whose number the stack has not."""
        return [name for name in ids if self._numbers.get(name, self._shape[0]) >= self._shape[0]]

    def read(self, stimulus_id: str) -> "NDArray[np.uint8]":
        """Read one, [h w 3]."""
        number = self._numbers[stimulus_id]
        if not self._name:
            return as_rgb(np.asarray(map_npy(self._path, "image stack")[number]))
        with open_hdf5(self._path) as file:
            return as_rgb(np.asarray(matrix(self._path, file, self._name)[number]))


def _is_stack(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
