"""The layout of brain decoding toolboxes: one matrix with labels and voxels in its columns, and metadata that say which is which."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.config.importing import Choices
from brain2pix.data.readers.base import Dataset, Placement, subject_name, with_repeats
from brain2pix.data.readers.grids import arranged, derived, fitted, flip_coordinates, on_grid
from brain2pix.data.readers.masks import read_masks
from brain2pix.data.readers.pictures import FolderPictures
from brain2pix.data.rois import RESERVED
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.signals.zscore import zscore_by_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SPLITS = {1: "train", 2: "test", 3: "imagery"}
MATRIX_NAMES = ("dataset", "dataSet")
METADATA_NAMES = ("metadata", "metaData")
MOST_TRIALS = 1_000_000
_FIELD_OF_VIEW_DEG = 12.0
# An id of the form 1518878.010042 is exact to 1e-9 at float64, and off by up to 0.06 at float32.
_ID_TOLERANCE = 1e-7


@dataclass(frozen=True)
class BData:
    """One file.

    Parameters
    ----------
    path : Path
    keys : list of str, [k]
    value : float array, [k c], what each key says of each column
    shape : tuple of int, rows and columns of the matrix
    single : bool, whether the matrix is float32
    read : callable, takes column numbers (ascending), gives float64 [n columns] of them
    names : mapping of column key to number to text
    """

    path: Path
    keys: list[str]
    value: "NDArray[np.float64]"
    shape: tuple[int, int]
    single: bool
    read: "Callable[[NDArray[np.int64], np.dtype[np.floating]], NDArray[np.floating]]"
    names: dict[str, dict[float, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value.ndim != 2 or self.value.shape[1] != self.shape[1]:
            n_columns = self.value.shape[-1] if self.value.ndim else 0
            raise DataFormatError(
                f"{self.path}: metadata describes {n_columns} columns, matrix has {self.shape[1]}; the file is truncated. Copy it again."
            )
        if len(self.keys) != len(self.value):
            raise DataFormatError(f"{self.path}: metadata has {len(self.keys)} keys and {len(self.value)} rows of values; it is damaged")
        if self.shape[0] > MOST_TRIALS:
            raise DataFormatError(f"{self.path}: {self.shape[0]:,} rows, more than {MOST_TRIALS:,} trials; are its axes transposed?")

    def flags(self, key: str) -> "NDArray[np.bool_]":
        """Columns that a key selects, [c]; NaN selects nothing."""
        return np.asarray(self.value[self.keys.index(key)] == 1)

    def of_voxels(self, key: str, voxels: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """Give what a key says of some columns."""
        return np.asarray(self.value[self.keys.index(key)][voxels])

    def label(self, key: str) -> "NDArray[np.float64]":
        """One column of labels, [n]."""
        found = np.flatnonzero(self.flags(key))
        if found.size != 1:
            raise DataFormatError(f"{self.path}: key {key!r} selects {found.size} columns, expected one column of labels")
        return np.asarray(self.read(found, np.dtype(np.float64))[:, 0], dtype=np.float64)


def voxel_columns(data: BData) -> "NDArray[np.int64]":
    """Columns that hold voxels.

    Raises
    ------
    DataFormatError
        If there are none; a file of image features is called that.
    """
    if "VoxelData" in data.keys:
        chosen = data.flags("VoxelData")
    else:
        rois = [data.flags(key) for key in data.keys if key.startswith("ROI_")]
        if not rois:
            if "ImageID" in data.keys:
                raise DataFormatError(f"{data.path}: this is a feature file (has ImageID, no VoxelData); choose SubjectN.h5")
            raise DataFormatError(f"{data.path} has neither VoxelData nor ROI_ keys; keys: {join_names(data.keys, 12)}")
        chosen = np.logical_or.reduce(rois)
    if not chosen.any():
        raise DataFormatError(f"{data.path}: VoxelData selects no column; expected the columns of voxels")
    return np.flatnonzero(chosen).astype(np.int64)


def no_matrix(path: Path, names: list[str]) -> DataFormatError:
    """Say that a file has no response matrix."""
    return DataFormatError(
        f"{path} has no response matrix ('dataset' or 'dataSet'); top-level items: {join_names(names, 12) or 'none'}. "
        "Is this an image-feature file?"
    )


def one_of(path: Path, names: list[str], wanted: tuple[str, str]) -> str:
    """Choose between two spellings of a name."""
    for name in wanted:
        if name in names:
            return name
    if wanted == MATRIX_NAMES:
        raise no_matrix(path, names)
    raise DataFormatError(f"{path} has no {' or '.join(map(repr, wanted))}; top-level items: {join_names(names, 12) or 'none'}")


# ---------------------------------------------------------------------- stimuli


def decode_ids(path: Path, ids: "NDArray[np.float64]") -> list[str]:
    """Turn numbers such as 1518878.010042 into names such as "n01518878_10042"; whole numbers are synsets.

    Raises
    ------
    DataFormatError
        If they went through float32, or are no such numbers.
    """
    if not np.isfinite(ids).all() or (ids < 0).any() or (ids >= 1e8).any():
        raise DataFormatError(f"{path}: stimulus ids must be numbers such as 1518878.010042, got {join_names(map(str, ids[:3]))}")
    synsets = np.floor(ids + _ID_TOLERANCE).astype(np.int64)
    images = np.round((ids - synsets) * 1e6).astype(np.int64)
    broken = images > 0
    narrow = broken.any() and (ids[broken].astype(np.float32) == ids[broken]).all()
    if narrow or np.abs(synsets + images / 1e6 - ids).max(initial=0) > _ID_TOLERANCE:
        raise precision_lost(path)
    return [f"n{synset:08d}_{image}" if image else f"n{synset:08d}" for synset, image in zip(synsets, images, strict=True)]


def precision_lost(path: Path) -> DataFormatError:
    """Say that ids went through float32."""
    return DataFormatError(f"{path}: stimulus ids lost precision (float32); re-export as float64")


def stimulus_ids(data: BData) -> list[str]:
    """Names of the stimuli of all rows, from the first of the published label columns that the file has."""
    if "stimulus_name" in data.keys and data.names.get("stimulus_name"):
        names = data.names["stimulus_name"]
        numbers = data.label("stimulus_name")
        unknown = sorted(set(numbers.tolist()) - set(names))
        if unknown:
            raise DataFormatError(f"{data.path}: '/vmap/stimulus_name' has no name for {join_names(map(str, unknown))}; it is damaged")
        return [Path(names[number]).stem if "." in names[number] else names[number] for number in numbers.tolist()]
    key = next((key for key in ("stimulus_id", "Label") if key in data.keys), None)
    if key is None:
        raise DataFormatError(f"{data.path} has no stimulus_name, stimulus_id or Label; keys: {join_names(data.keys, 12)}")
    if data.single:
        raise precision_lost(data.path)
    return decode_ids(data.path, data.label(key))


def splits_of(data: BData, choices: Choices) -> "NDArray[np.str_]":
    """Split of each row: by DataType, by the file's name, or as the user says."""
    if "DataType" in data.keys:
        numbers = data.label("DataType")
        odd = sorted(set(numbers.tolist()) - set(SPLITS))
        if odd:
            raise DataFormatError(f"{data.path}: DataType {join_names(map(str, odd))}; expected 1 (train), 2 (test) or 3 (imagery)")
        return np.array([SPLITS[int(number)] for number in numbers])
    split = split_of_name(data.path) or choices.split
    if split is None:
        raise ConfigError(f"{data.path}: cannot tell train from test: pass split=train, test or imagery (--split train)")
    return np.full(data.shape[0], split)


def split_of_name(path: Path) -> str | None:
    """Split that the name of a file of one split says."""
    for word, split in (("training", "train"), ("imagery", "imagery"), ("test", "test")):
        if word in path.stem.lower():
            return split
    return None


def trial_table(data: BData, choices: Choices) -> pd.DataFrame:
    """Table of all rows of a file, in their order."""
    runs = data.label("Run") if "Run" in data.keys else np.ones(data.shape[0])
    if not np.isfinite(runs).all() or np.abs(runs).max(initial=0) > 1e6:
        raise DataFormatError(f"{data.path}: column Run holds values that are no run numbers")
    table = pd.DataFrame({"stimulus_id": stimulus_ids(data), "split": splits_of(data, choices), "run": runs.astype(np.int64)})
    unnamed = int((~table["stimulus_id"].str.contains(r"\w")).sum())
    if unnamed:
        raise DataFormatError(f"{data.path}: {unnamed} trials have a stimulus without a name; the file is damaged. Copy it again.")
    whole = table["stimulus_id"].str.fullmatch(r"n\d{8}") & (table["split"] != "imagery")
    if whole.any():  # a picture whose number is gone
        raise precision_lost(data.path)
    return table


# ---------------------------------------------------------------------- voxels


def area_masks(data: BData, voxels: "NDArray[np.int64]") -> "dict[str, NDArray[np.bool_]]":
    """Areas over the voxels, by their names without "ROI_"; several may hold one voxel, those without any are left out."""
    found: dict[str, NDArray[np.bool_]] = {}
    for key in data.keys:
        if key.startswith(("ROI_", "hcp180_")) and key.removeprefix("ROI_") not in RESERVED:
            mask, name = data.flags(key)[voxels], file_word(key.removeprefix("ROI_"))
            if mask.any():
                found[name if name not in found else f"{name}{len(found)}"] = mask
    return found


def choose_areas(found: "dict[str, NDArray[np.bool_]]", wanted: tuple[str, ...], path: Path) -> "dict[str, NDArray[np.bool_]]":
    """Take the areas asked for; all if none are."""
    absent = [name for name in wanted if name.removeprefix("ROI_") not in found]
    if absent:
        raise ConfigError(f"{path}: ROI {absent[0]!r} not in file; available: {', '.join(found) or 'none'}")
    return {name: mask for name, mask in found.items() if not wanted or name in {one.removeprefix("ROI_") for one in wanted}}


def file_word(name: str) -> str:
    """Letters and digits of a name: BIDS allows no others in a label."""
    return re.sub(r"[^A-Za-z0-9]", "", name) or "area"


def place_voxels(data: BData, voxels: "NDArray[np.int64]", choices: Choices) -> tuple[Placement, "dict[str, NDArray[np.bool_]]", list[str]]:
    """Put the voxels on a grid: that of the masks, of the file's indices, or of its coordinates.

    Returns
    -------
    placement, areas of the masks, notes
    """
    if not {"voxel_x", "voxel_y", "voxel_z"} <= set(data.keys):
        if choices.flip or choices.masks:
            raise ConfigError(f"{data.path} has no voxel_x, voxel_y, voxel_z: there is nothing to flip or to lay masks on")
        return arranged(voxels.size), {}, ["voxels have no coordinates: no brain views, no left and right"]
    xyz = np.stack([data.of_voxels(f"voxel_{axis}", voxels) for axis in "xyz"], axis=1)
    if not np.isfinite(xyz).all() or np.abs(xyz).max(initial=0) > 1e4:
        bad = int((~np.isfinite(xyz) | (np.abs(xyz) > 1e4)).any(axis=1).sum())
        raise DataFormatError(f"{data.path}: {bad} of {voxels.size} voxels have no usable voxel_x, voxel_y, voxel_z; the file is damaged")
    xyz = flip_coordinates(xyz, choices.flip)
    if choices.masks is not None:
        masks = read_masks(choices.masks, subject_name(choices, subject_of(data.path)))
        placed = on_grid(data.path, xyz, masks.space)
        return masks.hemispheres(placed), masks.areas(placed.ijk), []
    if {"voxel_i", "voxel_j", "voxel_k"} <= set(data.keys):
        ijk = np.stack([data.of_voxels(f"voxel_{axis}", voxels) for axis in "ijk"], axis=1)
        if np.isfinite(ijk).all() and np.abs(ijk).max(initial=0) < 1e4:
            return fitted(data.path, xyz, np.round(ijk).astype(np.int64), "T1w"), {}, []
    placement = derived(data.path, xyz, "T1w")
    if placement is not None:
        return placement, {}, ["the grid is derived from the coordinates, along their axes; --masks gives that of the scans"]
    return arranged(voxels.size), {}, ["coordinates lie on no grid along the axes: give --masks for brain views, left and right"]


def subject_of(path: Path) -> str:
    """Find the number of the subject in a file's name ("Subject3.mat"), else its letters and digits."""
    match = re.search(r"(?:sub(?:ject)?|sbj)[-_ ]?(\d+)", path.stem, re.IGNORECASE)
    return match[1] if match else file_word(path.stem)


# ---------------------------------------------------------------------- together


class StackedResponses:
    """Voxels of one or several files, one under the other.

    Parameters
    ----------
    parts : list of (BData, voxel columns)
    groups : int array, [n], rows of one number are z-scored together; None: left as they are
    """

    def __init__(self, parts: "list[tuple[BData, NDArray[np.int64]]]", groups: "NDArray[np.integer] | None") -> None:
        self._parts, self._groups = parts, groups

    @property
    def shape(self) -> tuple[int, int]:
        """Trials and voxels."""
        return sum(data.shape[0] for data, _ in self._parts), int(self._parts[0][1].size)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some voxels."""
        blocks = [data.read(columns[start:stop], np.dtype(np.float32)) for data, columns in self._parts]
        values = np.asarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), dtype=np.float32)
        if self._groups is None:
            return values
        with np.errstate(over="ignore", invalid="ignore"):  # voxels that are not finite stay so, and are reported
            return zscore_by_group(values, self._groups)


def make_dataset(parts: list[BData], choices: Choices) -> Dataset:
    """Join files of one subject into a dataset."""
    columns = [voxel_columns(data) for data in parts]
    first, voxels = parts[0], columns[0]
    placement, more_areas, notes = place_voxels(first, voxels, choices)
    areas = area_masks(first, voxels)
    for data, other in zip(parts[1:], columns[1:], strict=True):
        _check_same_voxels(first, voxels, data, other)
    areas = choose_areas({**more_areas, **areas}, choices.areas, first.path)
    trials = with_repeats(pd.concat([trial_table(data, choices) for data in parts], ignore_index=True))
    if not len(trials):
        raise DataFormatError(f"{first.path}: the response matrix has no rows")
    if choices.zscore == "session":
        raise ConfigError(f"{first.path} knows no sessions: --zscore session cannot be done, --zscore run can")
    if choices.zscore == "run" and not all("Run" in data.keys for data in parts):
        raise ConfigError(f"{first.path} has no column Run: --zscore run cannot be done")
    groups = trials.groupby(["split", "run"]).ngroup().to_numpy() if choices.zscore == "run" else None
    if groups is not None and np.bincount(groups).min() < 2:
        raise ConfigError(f"{first.path}: a run has one trial only: --zscore run cannot be done")
    if len(parts) > 1:
        notes.append(f"splits are joined from {', '.join(data.path.name for data in parts)}")
    stimuli = trials.drop_duplicates("stimulus_id")[["stimulus_id", "split"]].reset_index(drop=True)
    stimuli.insert(1, "category", stimuli["stimulus_id"].str.split("_").str[0])
    return Dataset(
        title="Generic Object Decoding",
        subject=subject_name(choices, subject_of(first.path)),
        trials=trials,
        stimuli=stimuli,
        responses=StackedResponses(list(zip(parts, columns, strict=True)), groups),
        areas=areas,
        placement=placement,
        unit="a.u." if groups is None else "z-run",
        field_of_view_deg=choices.field_of_view_deg or _FIELD_OF_VIEW_DEG,
        pictures=None if choices.images is None else FolderPictures(choices.images),
        pictures_wanted="the files hold none; --images FOLDER with n01518878_10042.JPEG and the like, in sub-folders or not",
        unknown=(
            "unit of the responses: run-wise normalised averages of a block; --zscore run makes it z-run",
            *(() if choices.field_of_view_deg else (f"size of the pictures: {_FIELD_OF_VIEW_DEG:g} degrees, from the paper",)),
            *(() if placement.has_world else ("where the voxels lie",)),
        ),
        notes=tuple(notes),
    )


def _check_same_voxels(first: BData, voxels: "NDArray[np.int64]", other: BData, others: "NDArray[np.int64]") -> None:
    if voxels.size != others.size:
        raise DataFormatError(f"{other.path} has {others.size} voxels, {first.path.name} {voxels.size}; files of one subject have the same")
    for key in (f"voxel_{axis}" for axis in "xyz"):
        if key in first.keys and (
            key not in other.keys or not np.array_equal(first.of_voxels(key, voxels), other.of_voxels(key, others), equal_nan=True)
        ):
            raise DataFormatError(f"{other.path}: {key} differs from {first.path.name}; files of one subject have the same voxels")
