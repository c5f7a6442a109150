"""vim-1 (Kay et al. 2008; Naselaris et al. 2009): ``EstimatedResponses.mat`` with ``Stimuli.mat``, each MATLAB v5 or v7.3."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from brain2pix.config.importing import Choices
from brain2pix.data.readers._bdata import choose_areas
from brain2pix.data.readers._hdf5 import is_hdf5, matrix, names_in, open_hdf5
from brain2pix.data.readers._matlab5 import Matlab5File, is_matlab5
from brain2pix.data.readers._reading import check_table, first_bytes
from brain2pix.data.readers.base import Dataset, Found, with_repeats
from brain2pix.data.readers.grids import indexed
from brain2pix.data.readers.pictures import MOST_PICTURE_BYTES, ArrayPictures, numbered
from brain2pix.data.volumes import require_file
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_RESPONSES, _STIMULI = "EstimatedResponses.mat", "Stimuli.mat"
_SHAPE, _VOXEL_MM, _FIELD_OF_VIEW_DEG = (64, 64, 18), (2.0, 2.0, 2.5), 20.0
_COUNTS = {"train": 1750, "validation": 120}
_AREAS = {1: "V1", 2: "V2", 3: "V3", 4: "V3A", 5: "V3B", 6: "V4", 7: "LatOcc"}
_PICTURES = {"train": "stimTrn", "validation": "stimVal"}


class _Matrices(Protocol):
    """A MATLAB file, whichever version: shapes in MATLAB's order, read in slabs along the last axis."""

    path: "Path"

    def shape(self, name: str) -> tuple[int, ...]: ...
    def vector(self, name: str) -> "NDArray[np.float64]": ...
    def slabs(self, name: str) -> "Iterator[NDArray[np.float64]]": ...
    def block(self, name: str, axis: int, start: int, stop: int) -> "NDArray[np.float32]": ...


def sniff(path: "Path") -> Found | None:
    """Say that a file or folder is of this format, or None."""
    file = path / _RESPONSES if path.is_dir() else path
    if not file.is_file() or not (is_hdf5(file) or is_matlab5(first_bytes(file))):
        return None
    try:
        names = set(_names(file))
    except Brain2PixError:
        return None
    if any(name.startswith("dataTrnS") for name in names):
        subjects = ", ".join(sorted(name[len("dataTrnS") :] for name in names if name.startswith("dataTrnS")))
        return Found(f"vim-1, responses of subjects {subjects}; --subject says which")
    return Found("vim-1, pictures; the responses are in EstimatedResponses.mat", False) if names & set(_PICTURES.values()) else None


@contextmanager
def open_dataset(path: "Path", choices: Choices) -> "Iterator[Dataset]":
    """Open one subject; its responses stay on disk.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    path = path / _RESPONSES if path.is_dir() else path
    number = (choices.subject or "1").removeprefix("sub-").lstrip("0S")
    if number not in ("1", "2"):
        raise ConfigError(f"{path}: dataTrnS{number or choices.subject}: subject must be 1 or 2 (--subject)")
    if choices.flip or choices.masks or choices.zscore != "none":
        raise ConfigError(f"{path} has voxel indices of unknown orientation and no runs: --flip, --masks and --zscore do not apply")
    with ExitStack() as stack:
        file = _open(path, stack)
        codes, index = (file.vector(f"{name}S{number}") for name in ("roi", "voxIdx"))
        _check_voxels(path, codes, index)
        responses = _Responses(file, number, codes.size, choices)
        stimuli_file = choices.images or path.with_name(_STIMULI)
        pictures = None
        if choices.images is not None or stimuli_file.is_file():
            pictures = _pictures(_open(stimuli_file, stack), responses.counts)
        yield _dataset(path, number, responses, codes, index, choices, pictures)


def _dataset(
    path: "Path",
    number: str,
    responses: "_Responses",
    codes: "NDArray[np.float64]",
    index: "NDArray[np.float64]",
    choices: Choices,
    pictures: ArrayPictures | None,
) -> Dataset:
    rows = [(numbered(split, row), name) for split, name in _SPLITS.items() for row in range(responses.counts[split])]
    trials = with_repeats(pd.DataFrame(rows, columns=["stimulus_id", "split"]).assign(run=1))
    ijk = np.stack(np.unravel_index(index.astype(np.int64) - 1, _SHAPE, order="F"), axis=1).astype(np.int64)
    areas = {name: codes == code for code, name in _AREAS.items() if (codes == code).any()}
    return Dataset(
        title="vim-1",
        subject=f"sub-{number.zfill(2)}",
        trials=trials,
        stimuli=trials[["stimulus_id", "split"]].assign(category=None),
        responses=responses,
        areas=choose_areas(areas, choices.areas, path),
        placement=indexed(ijk, _SHAPE, _VOXEL_MM),
        unit="a.u.",
        field_of_view_deg=choices.field_of_view_deg or _FIELD_OF_VIEW_DEG,
        pictures=pictures,
        pictures_wanted=f"{_STIMULI} beside it, or --images FILE",
        unknown=(
            "which way the voxel grid points: no left and right, no world coordinates",
            "single trials: responses are averages over 2 repeats (train) and 13 (test), so that noise ceilings are n/a",
        ),
        notes=(
            "responses are in standard deviations of each voxel, scaled by the authors",
            "pictures: contrast 0 becomes grey 128, the largest contrast (0.5 or more) white or black, on one scale for all",
        ),
    )


_SPLITS = {"train": "train", "validation": "test"}


class _Responses:
    """Training and validation responses; which axis is which is told by the counts, not by the position."""

    def __init__(self, file: _Matrices, number: str, n_voxels: int, choices: Choices) -> None:
        self._file, self._axis = file, {}
        self.counts: dict[str, int] = {}
        asked = {"train": choices.n_train, "validation": choices.n_validation}
        for split, name in self._names(number).items():
            expected = asked[split] or _COUNTS[split]
            self._axis[name], self.counts[split] = _voxel_axis(file.path, name, file.shape(name), n_voxels, expected, split)
        self._number = number
        self.shape = (sum(self.counts.values()), n_voxels)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some voxels."""
        return np.concatenate([self._file.block(name, self._axis[name], start, stop) for name in self._names(self._number).values()])

    @staticmethod
    def _names(number: str) -> dict[str, str]:
        return {"train": f"dataTrnS{number}", "validation": f"dataValS{number}"}


def _voxel_axis(path: "Path", name: str, shape: tuple[int, ...], n_voxels: int, expected: int, split: str) -> tuple[int, int]:
    """Which axis of a response matrix, in MATLAB's order, is that of the voxels; and how many pictures the other has."""
    if len(shape) != 2:
        raise DataFormatError(f"{path}: {name} has shape {shape}, expected voxels x pictures")
    for axis in (0, 1):
        if shape[axis] == n_voxels and shape[1 - axis] == expected:
            return axis, expected
    if n_voxels not in shape:
        entries = shape[1] if shape[0] == expected else shape[0]
        raise DataFormatError(
            f"{path}: roi has {n_voxels} entries, responses {name} have {entries} voxels; are they of different subjects?"
        )
    other = shape[1 - shape.index(n_voxels)]
    option = "--n-train" if split == "train" else "--n-validation"
    raise DataFormatError(f"{path}: {name}: image axis is {other}, expected count {expected}: axes look transposed (or {option} {other})")


def _check_voxels(path: "Path", codes: "NDArray[np.float64]", index: "NDArray[np.float64]") -> None:
    n_grid = int(np.prod(_SHAPE))
    if codes.size != index.size or not codes.size:
        raise DataFormatError(f"{path}: roi has {codes.size} entries, voxIdx {index.size}; expected one of each per voxel")
    if not (np.isfinite(index).all() and (index == np.round(index)).all() and index.min() >= 1 and index.max() <= n_grid):
        raise DataFormatError(f"{path}: voxIdx must hold whole numbers from 1 to {n_grid} (a grid of {_SHAPE})")
    if np.unique(index).size != index.size:
        raise DataFormatError(f"{path}: voxIdx names {index.size - np.unique(index).size} voxels twice")


# ---------------------------------------------------------------------- pictures


def _pictures(file: _Matrices, counts: dict[str, int]) -> ArrayPictures:
    """Look at the pictures; they are read at first use."""
    for split, name in _PICTURES.items():
        shape = file.shape(name)
        if len(shape) != 3 or shape[0] != counts[split] or min(shape) < 1:
            raise DataFormatError(f"{file.path}: {name} has shape {shape}, expected {counts[split]} pictures x rows x columns")
        if shape[0] * shape[1] * shape[2] > MOST_PICTURE_BYTES:
            raise DataFormatError(f"{file.path}: {name} of shape {shape} is more than 256 MiB at 8 bit; make the pictures smaller")
    return ArrayPictures(counts, lambda: _read_pictures(file))


def _read_pictures(file: _Matrices) -> "dict[str, NDArray[np.uint8]]":
    """Turn contrasts into 8 bit by one scale for all pictures: a scale for each would destroy the contrast between them."""
    half = 0.5
    for name in _PICTURES.values():
        for slab in file.slabs(name):
            if not np.isfinite(slab).all():
                raise DataFormatError(f"{file.path}: {name} has pixels that are not finite; copy the file again")
            half = max(half, float(np.abs(slab).max(initial=0)))
    return {split: _scaled(file, name, half) for split, name in _PICTURES.items()}


def _scaled(file: _Matrices, name: str, half: float) -> "NDArray[np.uint8]":
    shape = file.shape(name)
    pixels = np.empty(shape, dtype=np.uint8)
    for column, slab in enumerate(file.slabs(name)):
        pixels[:, :, column] = np.round((slab / (2 * half) + 0.5) * 255).clip(0, 255)
    return pixels


# ---------------------------------------------------------------------- files


def _names(path: "Path") -> list[str]:
    return names_in(path) if is_hdf5(path) else list(Matlab5File(path).variables)


def _open(path: "Path", stack: ExitStack) -> _Matrices:
    """Open a file of either version: which one the first bytes say, not an error of a library."""
    require_file(path, "file of vim-1")
    return _Hdf5Matrices(path) if is_hdf5(path) else _Matlab5Matrices(path, stack)


class _Hdf5Matrices:
    """MATLAB v7.3: HDF5, whose axes are in the reverse order of MATLAB's."""

    def __init__(self, path: "Path") -> None:
        self.path = path

    def shape(self, name: str) -> tuple[int, ...]:
        with open_hdf5(self.path) as file:
            return tuple(int(edge) for edge in reversed(matrix(self.path, file, name).shape))

    def vector(self, name: str) -> "NDArray[np.float64]":
        with open_hdf5(self.path) as file:
            item = matrix(self.path, file, name)
            check_table(self.path, name, item.size * 8)
            return np.asarray(item[()], dtype=np.float64).reshape(-1)

    def slabs(self, name: str) -> "Iterator[NDArray[np.float64]]":
        with open_hdf5(self.path) as file:
            item = matrix(self.path, file, name)
            for number in range(item.shape[0]):
                yield np.asarray(item[number], dtype=np.float64).T

    def block(self, name: str, axis: int, start: int, stop: int) -> "NDArray[np.float32]":
        with open_hdf5(self.path) as file:
            item = matrix(self.path, file, name)
            with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, and is reported as not finite
                return np.asarray(item[:, start:stop] if axis == 0 else item[start:stop].T, dtype=np.float32)


class _Matlab5Matrices:
    """MATLAB v5."""

    def __init__(self, path: "Path", stack: ExitStack) -> None:
        self.path, self._file, self._stack = path, Matlab5File(path), stack
        self._columns: dict[str, Any] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file.variable(name).shape

    def vector(self, name: str) -> "NDArray[np.float64]":
        return self._file.numbers(name).reshape(-1)

    def slabs(self, name: str) -> "Iterator[NDArray[np.float64]]":
        shape = self.shape(name)
        columns = self._open(name)
        for number in range(shape[-1]):
            yield columns.read(number * shape[1], (number + 1) * shape[1], np.dtype(np.float64))

    def block(self, name: str, axis: int, start: int, stop: int) -> "NDArray[np.float32]":
        columns = self._open(name)
        if axis == 1:
            return np.asarray(columns.read(start, stop))
        n_pictures = columns.shape[1]
        values = np.empty((n_pictures, stop - start), dtype=np.float32)
        for picture in range(n_pictures):
            values[picture] = columns.read(picture, picture + 1)[start:stop, 0]
        return values

    def _open(self, name: str) -> Any:
        if name not in self._columns:
            self._columns[name] = self._stack.enter_context(self._file.columns(name))
        return self._columns[name]
