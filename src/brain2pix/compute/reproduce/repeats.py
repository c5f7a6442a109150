"""Decode from the mean of the first repeats only: how much averaging the test responses buys."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.compute.reproduce.prepare import SPLIT
from brain2pix.compute.reproduce.rows import load_pictures
from brain2pix.data.splits import evaluation_set
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.compute.sweep_cells import SweepCell
    from brain2pix.data.splits import EvaluationSet
    from brain2pix.data.training import RepeatedResponses
    from brain2pix.events import CancelToken

_STEPS = (1, 2, 3, 5, 8, 13, 21, 34)
_FILE = "repeats.npy"


def numbers_of_repeats(image_index: "NDArray[np.integer]") -> list[int]:
    """How many repeats are averaged: few at first, at last all that every image has."""
    most = int(np.bincount(image_index).min())
    return [*(n for n in _STEPS if n < most), most]


def first_repeats(repeats: "RepeatedResponses", n: int) -> "NDArray[np.float32]":
    """Mean of the first n repeats of each image, [m v]."""
    return np.stack(
        [repeats.values[np.flatnonzero(repeats.image_index == image)[:n]].mean(axis=0) for image in range(repeats.n_images)]
    ).astype(np.float32)


def decode_repeats(cell: "SweepCell", test: "EvaluationSet", device: str, cancel: "CancelToken") -> "dict[int, NDArray[np.uint8]]":
    """Reconstruct the test images from 1, 2, 3, 5, ... repeats with a trained cell; what was decoded before is read.

    Parameters
    ----------
    cell : SweepCell
    test : EvaluationSet
    device : str
    cancel : CancelToken

    Returns
    -------
    dict of number of repeats to uint8 array, [m h w 3]

    Raises
    ------
    MissingDataError
        If nothing was decoded before and the trained system is not there any more.
    DataFormatError
        If the file of what was decoded before is damaged.
    """
    file: Path = cell.folder / _FILE
    numbers = numbers_of_repeats(test.repeats.image_index)
    if not file.is_file():
        trained = open_run(cell.train.folder, None, device)
        shown = evaluation_set(trained.subject, trained.voxel_index, SPLIT, trained.method.image_size)
        ids = shown.stimulus_ids
        made = [decode_images(trained.method, first_repeats(shown.repeats, n), trained.device, cancel, stimulus_ids=ids) for n in numbers]
        with atomic_path(file) as beside:
            np.save(beside, np.stack(made))
    return dict(zip(numbers, load_pictures(file, (len(numbers), *test.images.shape)), strict=True))
