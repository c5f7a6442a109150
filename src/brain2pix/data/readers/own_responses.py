"""Responses as laboratories keep them: a matrix (.npy, HDF5) or a series of volumes (NIfTI, HDF5). The table says which axis is trials."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._hdf5 import is_hdf5, matrix, open_hdf5
from brain2pix.data.readers._reading import BLOCK_BYTES, check_size, first_bytes, reading
from brain2pix.data.readers.own_arrays import find_dataset, map_npy
from brain2pix.data.readers.own_gathered import Gathered
from brain2pix.data.volumes import open_volume
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.readers.own_gathered import RowBlocks

# Half a millimetre over a whole brain has fewer.
MOST_VOXELS_OF_GRID = 2**25
NPY_MAGIC = b"\x93NUMPY"


class MatrixSource(ABC):
    """A matrix with one column per voxel.

    Attributes
    ----------
    path : Path
    shape : (trials, columns)
    attributes : mapping, what the file itself says of it
    """

    path: "Path"
    shape: tuple[int, int]
    attributes: dict[str, Any]

    @abstractmethod
    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of columns `start` to `stop`, [n v]."""


class SeriesSource(ABC):
    """A volume for each trial.

    Attributes
    ----------
    path : Path
    n_trials : int
    grid : tuple of three ints
    image : nibabel image with affine and header, or None
    attributes : mapping, what the file itself says of it
    """

    path: "Path"
    n_trials: int
    grid: tuple[int, int, int]
    image: Any
    attributes: dict[str, Any]

    @abstractmethod
    def slabs(self) -> "Iterator[tuple[slice, NDArray[Any]]]":
        """Go once through all trials, [i j k t] each, of at most 32 MiB at float64 or of one volume."""

    def varying(self) -> "NDArray[np.bool_]":
        """Voxels whose responses are not all the same, bool [i j k]; one way through the file."""
        low, high = np.full(self.grid, np.inf, np.float32), np.full(self.grid, -np.inf, np.float32)
        for _, slab in self.slabs():
            with np.errstate(over="ignore", invalid="ignore"):
                values = slab.astype(np.float32)
            np.fmin(low, np.fmin.reduce(values, axis=3), out=low)
            np.fmax(high, np.fmax.reduce(values, axis=3), out=high)
        return np.asarray(high > low)

    def close(self) -> None:
        """Let go of what is open."""
        self.image = None

    def volumes_at_once(self) -> int:
        """How many volumes make a slab."""
        return max(1, BLOCK_BYTES // (8 * int(np.prod(self.grid))))


def open_responses(path: "Path", n_rows: int, dataset: str | None) -> MatrixSource | SeriesSource:
    """Open a file of responses; the axis of trials is the one that is as long as the table.

    Parameters
    ----------
    path : Path
    n_rows : int, rows of the table of trials
    dataset : str or None, name within an HDF5 file

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    is_npy, is_h5 = first_bytes(path, 6) == NPY_MAGIC, is_hdf5(path)
    if dataset is not None and not is_h5:
        raise ConfigError(f"{path} is no HDF5 file: it has no dataset {dataset!r}; leave out --dataset")
    if is_npy or path.suffix == ".npy":
        return NpyMatrix(path, n_rows)
    if is_h5 or path.suffix in (".h5", ".hdf5"):
        name, shape = find_dataset(path, dataset, lambda shape: _fits(shape, n_rows), f"(trials, voxels) with {n_rows} trials as the table")
        return Hdf5Series(path, name, shape, n_rows) if len(shape) == 4 else Hdf5Matrix(path, name, shape, n_rows)
    if path.name.endswith((".nii", ".nii.gz")):
        return NiftiSeries(path, n_rows)
    raise DataFormatError(
        f"{path} is no file of responses; expected a 4-D NIfTI (.nii, .nii.gz), an HDF5 matrix (.h5) or an array of numpy "
        "(.npy); MATLAB writes HDF5 with -v7.3"
    )


def trials_first(path: "Path", shape: tuple[int, ...], n_rows: int) -> bool:
    """Whether the first axis of a matrix is trials, or the second.

    Raises
    ------
    DataFormatError
        If neither axis, or both, are as long as the table.
    """
    if len(shape) != 2:
        raise DataFormatError(f"{path}: responses have shape {shape}, expected a matrix (trials, voxels) with {n_rows} trials")
    if n_rows not in shape:
        raise DataFormatError(
            f"{path}: responses have {shape[0]} and {shape[1]} entries along their axes, table {n_rows} rows; "
            "expected one row per response, in the same order: nothing is cut to fit"
        )
    if shape[0] == shape[1]:
        raise DataFormatError(
            f"{path}: responses are {shape[0]} x {shape[1]}, table {n_rows} rows: which axis is trials cannot be told; "
            "save the responses as 4-D NIfTI, volume n for row n"
        )
    return shape[0] == n_rows


def _fits(shape: tuple[int, ...], n_rows: int) -> bool:
    return (len(shape) == 2 and n_rows in shape) or (len(shape) == 4 and n_rows in (shape[0], shape[3]))


class NpyMatrix(MatrixSource):
    """``.npy``, mapped into memory."""

    def __init__(self, path: "Path", n_rows: int) -> None:
        array = map_npy(path, "responses")
        self.path, self.attributes = path, {}
        self._array = array if trials_first(path, array.shape, n_rows) else array.T
        self.shape = (int(self._array.shape[0]), int(self._array.shape[1]))

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some columns."""
        with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, and is reported as not finite
            return np.array(self._array[:, start:stop], dtype=np.float32, order="C")


class Hdf5Matrix(MatrixSource):
    """A dataset with two axes; the file is opened for each look."""

    def __init__(self, path: "Path", name: str, shape: tuple[int, ...], n_rows: int) -> None:
        self.path, self._name = path, name
        self._trials_first = trials_first(path, shape, n_rows)
        self.shape = (int(shape[0]), int(shape[1])) if self._trials_first else (int(shape[1]), int(shape[0]))
        with open_hdf5(path) as file:
            item = matrix(path, file, name)
            self.attributes = {**dict(file.attrs), **dict(item.attrs)}
            chunks = item.chunks
        self._rows_at_once = 0 if chunks is None else self._rows_if_quicker(chunks if self._trials_first else chunks[::-1])
        self._gathered = Gathered(self.shape)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some columns."""
        if self._rows_at_once:
            return self._gathered.read(start, stop, self._row_blocks)
        with open_hdf5(self.path) as file:
            return self._part(matrix(self.path, file, self._name), slice(None), slice(start, stop))

    def _rows_if_quicker(self, chunk: tuple[int, ...]) -> int:
        """How many trials to read at once; 0 if it is quicker to read all trials of some voxels. A chunk is inflated whole each time."""
        columns, rows = (max(1, BLOCK_BYTES // (size * count)) for size, count in ((4, self.shape[0]), (8, self.shape[1])))
        if max(1.0, chunk[1] / columns) <= max(1.0, chunk[0] / rows):
            return 0
        return rows // chunk[0] * chunk[0] or rows

    def _row_blocks(self, columns: "NDArray[np.int64]") -> "RowBlocks":
        span = slice(int(columns[0]), int(columns[-1]) + 1)
        with open_hdf5(self.path) as file:
            item = matrix(self.path, file, self._name)
            for start in range(0, self.shape[0], self._rows_at_once):
                rows = slice(start, min(start + self._rows_at_once, self.shape[0]))
                yield rows, self._part(item, rows, span)

    def _part(self, item: Any, rows: slice, columns: slice) -> "NDArray[np.float32]":
        values = item[rows, columns] if self._trials_first else item[columns, rows].T
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(values, dtype=np.float32, order="C")


class NiftiSeries(SeriesSource):
    """4-D NIfTI, volume n is row n; values are scaled as the header says."""

    def __init__(self, path: "Path", n_rows: int) -> None:
        with reading(path, "responses"):
            self.image = open_volume(path, "responses", n_axes=4)
            shape = tuple(int(edge) for edge in self.image.shape)
            if self.image.get_data_dtype().kind not in "fiu":
                raise DataFormatError(f"{path}: voxels hold {self.image.get_data_dtype()}, expected one real number each")
            _check_grid(path, shape[:3])
            item = self.image.get_data_dtype().itemsize
            check_size(path, "the header", int(np.prod(shape, dtype=object)) * item, path.stat().st_size)
        if shape[3] != n_rows:
            raise DataFormatError(
                f"{path}: responses have {shape[3]} volumes, table {n_rows} rows; expected one row per volume, in the same order: "
                "nothing is cut to fit"
            )
        self.path, self.attributes = path, {}
        self.n_trials, self.grid = n_rows, (shape[0], shape[1], shape[2])

    def slabs(self) -> "Iterator[tuple[slice, NDArray[Any]]]":
        """Go once through all volumes."""
        step = self.volumes_at_once()
        for start in range(0, self.n_trials, step):
            rows = slice(start, min(start + step, self.n_trials))
            with reading(self.path, "responses"), np.errstate(over="ignore", invalid="ignore"):
                slab = np.asarray(self.image.dataobj[..., rows])
            yield rows, slab


class Hdf5Series(SeriesSource):
    """A dataset with four axes, trials first or last. MATLAB's files have their axes the other way round."""

    def __init__(self, path: "Path", name: str, shape: tuple[int, ...], n_rows: int) -> None:
        if n_rows not in (shape[0], shape[3]) or len(shape) != 4:
            raise DataFormatError(
                f"{path}: {name!r} has shape {shape}, table {n_rows} rows; expected trials along the first or the last axis"
            )
        if shape[0] == shape[3]:
            raise DataFormatError(
                f"{path}: {name!r} has shape {shape}, table {n_rows} rows: whether the first or the last axis is trials cannot be told; "
                "save a matrix (trials, voxels) with a mask"
            )
        self.path, self._name, self.n_trials, self.image = path, name, n_rows, None
        self._first = shape[0] == n_rows
        with open_hdf5(path) as file:
            item = matrix(path, file, name)
            self.attributes = {**dict(file.attrs), **dict(item.attrs)}
            chunks = item.chunks
        self._turned = "MATLAB_class" in self.attributes
        edges = shape[1:] if self._first else shape[:3]
        self.grid = (edges[2], edges[1], edges[0]) if self._turned else (edges[0], edges[1], edges[2])
        _check_grid(path, self.grid)
        self._chunk = 1 if chunks is None else int(chunks[0 if self._first else 3])

    def slabs(self) -> "Iterator[tuple[slice, NDArray[Any]]]":
        """Go once through all trials, in whole chunks where they are small."""
        step = self.volumes_at_once()
        step = step // self._chunk * self._chunk or step
        with open_hdf5(self.path) as file:
            item = matrix(self.path, file, self._name)
            for start in range(0, self.n_trials, step):
                rows = slice(start, min(start + step, self.n_trials))
                part = item[rows] if self._first else np.moveaxis(item[..., rows], 3, 0)
                yield rows, np.moveaxis(part.transpose(0, 3, 2, 1) if self._turned else part, 0, 3)


def _check_grid(path: "Path", grid: tuple[int, ...]) -> None:
    n_voxels = int(np.prod(grid, dtype=object))
    if not 0 < n_voxels <= MOST_VOXELS_OF_GRID:
        raise DataFormatError(f"{path}: a grid {grid} has {n_voxels:,} voxels, expected 1 to {MOST_VOXELS_OF_GRID:,}; is it another file?")
