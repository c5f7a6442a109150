"""'fMRI on ImageNet' as the self-supervised systems' authors released it: ``sbj_X.npz`` with ``images_112.npz``."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.config.importing import Choices
from brain2pix.data.readers._bdata import MOST_TRIALS, choose_areas, subject_of
from brain2pix.data.readers._npz import NpzFile
from brain2pix.data.readers._reading import first_bytes
from brain2pix.data.readers.base import Dataset, Found, subject_name, with_repeats
from brain2pix.data.readers.grids import arranged
from brain2pix.data.readers.pictures import MOST_PICTURE_BYTES, ArrayPictures, numbered
from brain2pix.data.rois import RESERVED
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# In the order in which they were saved: the archive has no names for them.
_TRAIN, _TEST, _TEST_MEAN, _TRAIN_LABELS, _TEST_LABELS, _CEILING, _SNR = (f"arr_{number}" for number in range(7))
_NEEDED = (_TRAIN, _TEST, _TRAIN_LABELS, _TEST_LABELS)
_IMAGES = "images_112.npz"
_MEAN_TOLERANCE = 1e-4
_FIELD_OF_VIEW_DEG = 12.0


def sniff(path: "Path") -> Found | None:
    """Say that a file is of this format, or None."""
    if not path.is_file() or first_bytes(path, 4) != b"PK\x03\x04" or path.suffix != ".npz":
        return None
    try:
        names = set(NpzFile(path).arrays)
    except Brain2PixError:
        return None
    if {"train_images", "test_images"} <= names:
        return Found("pictures of fMRI on ImageNet, npz release; the responses are in sbj_X.npz", False)
    return Found("fMRI on ImageNet (Generic Object Decoding), npz release of one subject") if set(_NEEDED) <= names else None


@contextmanager
def open_dataset(path: "Path", choices: Choices) -> "Iterator[Dataset]":
    """Open a file; its responses stay on disk.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    file = NpzFile(path)
    if {"train_images", "test_images"} <= set(file.arrays):
        raise DataFormatError(f"{path} holds the pictures; give the responses, sbj_X.npz, and this file as --images")
    _refuse(path, choices)
    responses = NpzResponses(file)
    labels = {split: _labels(file, name, n) for (split, name), n in zip(_LABELS.items(), responses.rows, strict=True)}
    responses.test_labels = labels["test"]
    rows = [(numbered(split, int(label)), split) for split, own in labels.items() for label in own]
    trials = with_repeats(pd.DataFrame(rows, columns=["stimulus_id", "split"]).assign(run=1))
    stimuli = trials.drop_duplicates("stimulus_id")[["stimulus_id", "split"]].sort_values("stimulus_id", kind="stable")
    images = choices.images or path.with_name(_IMAGES)
    pictures = _pictures(images) if choices.images is not None or images.is_file() else None
    n_voxels = responses.shape[1]
    yield Dataset(
        title="Generic Object Decoding (npz release)",
        subject=subject_name(choices, subject_of(path)),
        trials=trials,
        stimuli=stimuli.assign(category=None)[["stimulus_id", "category", "split"]].reset_index(drop=True),
        responses=responses,
        areas=choose_areas(_areas(file, n_voxels), choices.areas, path),
        placement=arranged(n_voxels),
        unit="a.u.",
        field_of_view_deg=choices.field_of_view_deg or _FIELD_OF_VIEW_DEG,
        pictures=pictures,
        pictures_wanted=f"{_IMAGES} beside it, or --images FILE",
        unknown=(
            "unit of the responses",
            "runs, so that no response can be scaled within its run",
            "names and categories of the pictures: they are numbered, and a split by category is not possible",
            "where the voxels lie",
            *(() if choices.field_of_view_deg else (f"size of the pictures: {_FIELD_OF_VIEW_DEG:g} degrees, from the paper",)),
        ),
        notes=("voxels have no coordinates: no brain views, no left and right", "the noise ceilings and SNRs of the file are not taken"),
    )


_LABELS = {"train": _TRAIN_LABELS, "test": _TEST_LABELS}


class NpzResponses:
    """Training responses, and test responses below them.

    Parameters
    ----------
    file : NpzFile
    """

    def __init__(self, file: NpzFile) -> None:
        self._file = file
        shapes = [file.need(name)[0] for name in (_TRAIN, _TEST)]
        if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1] or not shapes[0][1]:
            raise DataFormatError(f"{file.path}: {_TRAIN} is {shapes[0]}, {_TEST} {shapes[1]}; expected (trials, voxels) twice")
        self.rows = (shapes[0][0], shapes[1][0])
        self.shape = (sum(self.rows), shapes[0][1])
        if not self.rows[0] or self.shape[0] > MOST_TRIALS:
            raise DataFormatError(f"{file.path}: {_TRAIN} and {_TEST} have {self.shape[0]:,} rows; expected 1 to {MOST_TRIALS:,} trials")
        self.test_labels: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some voxels; the mean over the repeats is held against the one in the file."""
        values = np.empty((self.shape[0], stop - start), dtype=np.float32)
        at = 0
        for name in (_TRAIN, _TEST):
            for block in self._file.rows(name):
                with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, and is reported as not finite
                    values[at : at + len(block)] = block[:, start:stop]
                at += len(block)
        self._check_mean(values[self.rows[0] :], start, stop)
        return values

    def _check_mean(self, test: "NDArray[np.float32]", start: int, stop: int) -> None:
        if _TEST_MEAN not in self._file.arrays:
            return
        stored = np.concatenate([block[:, start:stop] for block in self._file.rows(_TEST_MEAN)])
        for label, row in enumerate(stored):
            own = test[self.test_labels == label]
            if not len(own):
                continue
            off = np.abs(own.mean(axis=0, dtype=np.float64) - row)
            limit = _MEAN_TOLERANCE * max(1.0, float(np.nanmax(np.abs(row), initial=0)))
            if np.nanmax(off, initial=0) > limit:
                raise DataFormatError(
                    f"{self._file.path}: row {label} of {_TEST_MEAN} is not the mean of its repeats (off by {np.nanmax(off):.2g}): "
                    f"the labels {_TEST_LABELS} belong to other responses"
                )


def _refuse(path: "Path", choices: Choices) -> None:
    if choices.zscore != "none":
        raise ConfigError(f"{path} has neither runs nor sessions: --zscore cannot be done")
    if choices.flip or choices.masks:
        raise ConfigError(f"{path} has no voxel coordinates: there is nothing to flip or to lay masks on")


def _labels(file: NpzFile, name: str, n_rows: int) -> "NDArray[np.int64]":
    values = file.small(name).reshape(-1)
    if values.size != n_rows:
        raise DataFormatError(f"{file.path}: {name} has {values.size} labels for {n_rows} rows of responses; another order of arrays?")
    whole = values.astype(np.float64)
    if not np.isfinite(whole).all() or (whole != np.round(whole)).any() or (whole < 0).any() or whole.max(initial=0) > MOST_TRIALS:
        raise DataFormatError(f"{file.path}: {name} must hold row numbers of the pictures, from 0")
    return whole.astype(np.int64)


def _areas(file: NpzFile, n_voxels: int) -> "dict[str, NDArray[np.bool_]]":
    """Areas are masks or lists of voxel numbers, under their own names."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, (shape, dtype) in file.arrays.items():
        if name.startswith("arr_") or name == "select_voxels" or len(shape) != 1:
            continue
        values = file.small(name)
        if shape == (n_voxels,) and (dtype.kind == "b" or np.isin(values, (0, 1)).all()):
            mask = values.astype(bool)
        elif dtype.kind in "iu" and (not values.size or (values.min() >= 0 and values.max() < n_voxels)):
            mask = np.zeros(n_voxels, dtype=bool)
            mask[values] = True
        else:
            raise DataFormatError(f"{file.path}: area {name!r} of shape {shape} is no mask of {n_voxels} voxels, nor numbers of voxels")
        if mask.any() and name.isalnum() and name not in RESERVED:
            found[name] = mask
    return found


def _pictures(path: "Path") -> ArrayPictures:
    """Look at the pictures; they are read at first use, as 8 bit: 38 kB each at 112 px."""
    file = NpzFile(path)
    names = {split: f"{split}_images" for split in ("train", "test")}
    counts: dict[str, int] = {}
    for split, name in names.items():
        shape, _ = file.need(name)
        if len(shape) != 4 or shape[3] not in (3, 4) or min(shape) < 1:
            raise DataFormatError(f"{path}: {name} is {shape}, expected (pictures, height, width, 3), or 4 with depth")
        size = shape[0] * shape[1] * shape[2] * 3
        if size > MOST_PICTURE_BYTES:
            raise DataFormatError(f"{path}: {name} takes {size / 2**20:.0f} MiB at 8 bit, at most 256 are read; make the pictures smaller")
        counts[split] = shape[0]
    return ArrayPictures(counts, lambda: {split: _read_pictures(file, name) for split, name in names.items()})


def _read_pictures(file: NpzFile, name: str) -> "NDArray[np.uint8]":
    shape, dtype = file.need(name)
    pictures = np.empty((*shape[:3], 3), dtype=np.uint8)
    at = 0
    for block in file.rows(name):
        pictures[at : at + len(block)] = _eight_bit(file.path, name, block[..., :3], dtype.kind)
        at += len(block)
    return pictures


def _eight_bit(path: "Path", name: str, block: "NDArray[np.generic]", kind: str) -> "NDArray[np.uint8]":
    values = block.astype(np.float64)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    top = 1.0 if kind == "f" else 255.0
    if not (low >= 0 and high <= top + 1e-6):
        raise DataFormatError(f"{path}: {name} reaches from {low:g} to {high:g}, expected 0 to {top:g}")
    return np.round(values * (255 / top)).clip(0, 255).astype(np.uint8)
