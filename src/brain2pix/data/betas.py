"""Single-trial responses on disk: HDF5 (trials x voxels) or a 4-D NIfTI (one volume per trial)."""

from abc import ABC, abstractmethod
from contextlib import contextmanager
from io import FileIO
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from brain2pix.data.space import Space
from brain2pix.data.tables import column, read_json, read_table
from brain2pix.data.volumes import (
    UNREADABLE,
    check_grid,
    entities,
    join_names,
    nifti_files,
    open_volume,
    orientation_note,
    require_file,
    stem,
    unreadable,
    volume_data,
)
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

# Voxels per HDF5 chunk: all trials of 256 voxels lie together, because training reads all trials of some voxels.
VOXELS_PER_CHUNK = 256
_VOLUMES_AT_ONCE = 64
_READ_BYTES = 2**26
_BETAS = "betas"


class Betas(ABC):
    """Responses of one subject as a file holds them.

    Attributes
    ----------
    path : Path
    table : DataFrame, one row per trial
    space : Space
    unit : str or None
    sidecar : dict, the JSON beside the file
    notes : list of str, what a user should know
    """

    path: "Path"
    table: pd.DataFrame
    space: Space
    unit: str | None
    sidecar: dict[str, Any]
    notes: list[str]
    ijk: "NDArray[np.int64]"

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.table)

    @abstractmethod
    def read(self, columns: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Read all trials of some voxels, [n v]; `columns` are rows of `ijk`."""

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """Go once through all voxels, in blocks of columns."""
        for start in range(0, len(self.ijk), VOXELS_PER_CHUNK):
            stop = min(start + VOXELS_PER_CHUNK, len(self.ijk))
            yield slice(start, stop), self.read(np.arange(start, stop))


def open_betas(func: "Path") -> Betas:
    """Find and open the one file of single-trial responses in a ``func`` folder.

    Raises
    ------
    MissingDataError
        If there is none.
    DataFormatError
        If there are several, or the file is not what its format says.
    """
    if not func.is_dir():
        raise MissingDataError(f"{func} does not exist; it must hold the responses and the regions of the subject")
    found = [*sorted(func.glob("*_desc-singletrial_betas.h5")), *nifti_files(func, "*_desc-singletrial_stat-effect_statmap")]
    if not found:
        raise MissingDataError(
            f"{func} holds no single-trial responses; expected *_desc-singletrial_betas.h5 or "
            "*_desc-singletrial_stat-effect_statmap.nii.gz (see the page on the native format)"
        )
    if len(found) > 1:
        names = join_names(path.name for path in found)
        raise DataFormatError(f"{func} holds {len(found)} files of single-trial responses ({names}); keep one, joined over tasks and runs")
    return Hdf5Betas(found[0]) if found[0].suffix == ".h5" else NiftiBetas(found[0])


class Hdf5Betas(Betas):
    """``/betas`` (trials, voxels), ``/ijk`` (voxels, 3), ``/affine`` (4, 4), ``/shape`` (3,), ``/trials/<column>``."""

    def __init__(self, path: "Path") -> None:
        self.path = path
        self.sidecar = _sidecar(path)
        self.notes = []
        with self._open() as file:
            n_trials, n_voxels = self._matrix_shape(file)
            self.table = self._table(file)
            _check_length(path, n_trials, len(self.table))
            self.ijk = self._item(file, "ijk", (n_voxels, 3)).astype(np.int64)
            shape = self._item(file, "shape", (3,))
            self.space = Space(
                str(file.attrs.get("space") or entities(path).get("space", "T1w")),
                self._item(file, "affine", (4, 4)).astype(np.float64),
                (int(shape[0]), int(shape[1]), int(shape[2])),
            )
            self.unit = _text(file.attrs.get("unit"))
        self._check_ijk()

    def read(self, columns: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Read all trials of some voxels, [n v]."""
        found = np.empty((self.n_trials, columns.size), dtype=np.float32)
        with self._open() as file:
            matrix = file[_BETAS]
            for first, last in _spans(columns, self._step(matrix)):
                inside = np.flatnonzero((columns >= first) & (columns < last))
                span: NDArray[np.float32] = np.empty((self.n_trials, last - first), dtype=np.float32)
                matrix.read_direct(span, np.s_[:, first:last])
                found[:, inside] = span[:, columns[inside] - first]
        return found

    def _step(self, matrix: h5py.Dataset) -> int:
        """Columns that are read at once: whole chunks, as many as memory should hold."""
        width = 1 if matrix.chunks is None else int(matrix.chunks[1])
        most = max(_READ_BYTES // (4 * max(self.n_trials, 1)), VOXELS_PER_CHUNK)
        return max(most // width, 1) * width

    @contextmanager
    def _open(self) -> "Iterator[h5py.File]":
        """Open the file for one read: an open HDF5 file must not cross a fork."""
        require_file(self.path, "betas")
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except (DataFormatError, MissingDataError):
            raise
        except (*UNREADABLE, RuntimeError, KeyError) as error:
            raise unreadable(self.path, "betas", error) from None

    def _matrix_shape(self, file: h5py.File) -> tuple[int, int]:
        if _BETAS not in file:
            raise DataFormatError(f"{self.path} has no response matrix '/betas'; top-level items: {join_names(file)}")
        matrix = file[_BETAS]
        if not isinstance(matrix, h5py.Dataset) or matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
            raise DataFormatError(f"{self.path}: '/betas' must be a numeric (trials, voxels) matrix")
        return int(matrix.shape[0]), int(matrix.shape[1])

    def _item(self, file: h5py.File, key: str, shape: tuple[int, ...]) -> "NDArray[Any]":
        if key not in file:
            raise DataFormatError(f"{self.path} has no '/{key}' of shape {shape}; top-level items: {join_names(file)}")
        values = np.asarray(file[key][()])
        if values.shape != shape:
            swapped = "; '/betas' must be (trials, voxels), are its axes transposed?" if key == "ijk" else ""
            raise DataFormatError(f"{self.path}: '/{key}' has shape {values.shape}, expected {shape}{swapped}")
        return values

    def _table(self, file: h5py.File) -> pd.DataFrame:
        """Take the table beside the file; the one inside it must then name the same stimuli."""
        inside = self._table_inside(file)
        beside = self.path.with_name(stem(self.path) + ".tsv")
        if not beside.exists() and not beside.is_symlink():
            if inside is None:
                raise MissingDataError(
                    f"trial table {beside} does not exist, and {self.path.name} has no '/trials'; write one row per trial"
                )
            return inside
        table = read_table(beside, "trial table", ("stimulus_id", "split"))
        if inside is not None and len(inside) == len(table) and list(inside["stimulus_id"]) != list(table["stimulus_id"]):
            raise DataFormatError(
                f"{beside.name} and '/trials' in {self.path} name different stimuli; remove the wrong one (sub folder {self.path.parent})"
            )
        return table

    def _table_inside(self, file: h5py.File) -> pd.DataFrame | None:
        if "trials" not in file:
            return None
        columns = {}
        for name in file["trials"]:
            values = file["trials"][name][()]
            columns[name] = [_text(value) for value in values]
        if "stimulus_id" not in columns or "split" not in columns:
            raise DataFormatError(f"{self.path}: '/trials' needs stimulus_id and split, has {join_names(columns)}")
        if len({len(values) for values in columns.values()}) != 1:
            lengths = join_names(f"{name} {len(values)}" for name, values in columns.items())
            raise DataFormatError(f"{self.path}: columns of '/trials' differ in length: {lengths}")
        return pd.DataFrame({name: column(name, [value or "" for value in values]) for name, values in columns.items()})

    def _check_ijk(self) -> None:
        outside = ((self.ijk < 0) | (self.ijk >= np.array(self.space.shape))).any(axis=1)
        if outside.any():
            raise DataFormatError(
                f"{self.path}: {int(outside.sum())} voxels of '/ijk' lie outside the grid {self.space}; indices are 0-based (i, j, k)"
            )
        flat = np.ravel_multi_index(tuple(self.ijk.T), self.space.shape)
        if np.unique(flat).size != flat.size:
            raise DataFormatError(f"{self.path}: '/ijk' names {flat.size - np.unique(flat).size} voxels twice")


class NiftiBetas(Betas):
    """A 4-D NIfTI, volume n = row n of the table beside it. Its voxels are set by `use_mask`."""

    def __init__(self, path: "Path") -> None:
        self.path = path
        self.sidecar = _sidecar(path)
        self._image = open_volume(path, "betas", n_axes=4)
        self.table = read_table(path.with_name(stem(path) + ".tsv"), "trial table", ("stimulus_id", "split"))
        _check_length(path, int(self._image.shape[3]), len(self.table))
        self.space = Space(entities(path).get("space", "T1w"), self._image.affine, self._image.shape[:3])
        self.unit = None
        note = orientation_note(path, self._image)
        self.notes = [note] if note else []
        self.ijk = np.zeros((0, 3), dtype=np.int64)
        self._values: NDArray[np.float32] | None = None

    def use_mask(self, mask: "NDArray[np.bool_]") -> None:
        """Take the voxels of a mask [i j k], in the order of `numpy.argwhere`."""
        self.ijk = np.argwhere(mask).astype(np.int64)
        self._values = None

    def read(self, columns: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Read all trials of some voxels, [n v]; the file is read once, the voxels of the mask are kept."""
        if self._values is None:
            self._values = self._load()
        return np.ascontiguousarray(self._values[:, columns])

    def _load(self) -> "NDArray[np.float32]":
        values = np.empty((self.n_trials, len(self.ijk)), dtype=np.float32)
        i, j, k = self.ijk.T
        try:
            # In slabs of volumes: the whole series may be larger than memory. A compressed file is read forwards only.
            for start in range(0, self.n_trials, _VOLUMES_AT_ONCE):
                slab = np.asarray(self._image.dataobj[..., start : start + _VOLUMES_AT_ONCE])
                values[start : start + _VOLUMES_AT_ONCE] = slab[i, j, k].T
        except UNREADABLE as error:
            raise unreadable(self.path, "betas", error) from None
        return values


@contextmanager
def create_hdf5(path: "Path") -> "Iterator[h5py.File]":
    """Create an HDF5 file; a full disk raises `OSError` here.

    HDF5 itself may end the process when it cannot flush its caches to a full disk, so it never hears of it.

    Parameters
    ----------
    path : Path, must not exist
    """
    with _RememberingFile(path, "x+") as raw:
        try:
            with h5py.File(raw, "w") as file:
                yield file
        finally:
            if raw.error is not None:
                raise raw.error


class _RememberingFile(FileIO):
    """Takes every write, and remembers the first that failed."""

    error: OSError | None = None

    def write(self, data: "ReadableBuffer") -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


def read_mask(path: "Path", what: str, space: Space) -> "NDArray[np.bool_]":
    """Read a mask on the grid of the betas, bool [i j k].

    Raises
    ------
    DataFormatError
        If it lies on another grid or is not a mask.
    """
    image = open_volume(path, what)
    check_grid(path, what, image, space)
    volume = volume_data(path, what, image)
    if not np.isin(volume, (0, 1)).all():
        odd = float(volume[~np.isin(volume, (0, 1))][0])
        raise DataFormatError(f"{what} {path}: value {odd:.4g} found, a mask holds 0 and 1; was this mask interpolated linearly?")
    return volume > 0


def _spans(columns: "NDArray[np.int64]", step: int) -> "Iterator[tuple[int, int]]":
    """Cut the columns of a file into ranges that begin at multiples of `step`; those that hold none of some columns are left out."""
    for number in np.unique(columns // step):
        inside = columns[columns // step == number]
        yield int(inside.min()), int(inside.max()) + 1


def _check_length(path: "Path", n_volumes: int, n_rows: int) -> None:
    if n_volumes != n_rows:
        raise DataFormatError(
            f"betas have {n_volumes} volumes, table {n_rows} rows ({path}); one row per volume, in the same order: nothing is cut to fit"
        )


def _sidecar(path: "Path") -> dict[str, Any]:
    place = path.with_name(stem(path) + ".json")
    return read_json(place, "sidecar") if place.exists() else {}


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return None
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
