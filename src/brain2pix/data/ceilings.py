"""Noise ceilings of a subject: how well repeats of an image agree, voxel by voxel and area by area."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brain2pix.data.splits import images_of
from brain2pix.data.tables import write_table
from brain2pix.data.voxel_volumes import write_voxel_volumes
from brain2pix.errors import ConfigError
from brain2pix.files import atomic_folder, write_json
from brain2pix.signals.ceilings import ncsnr, noise_ceiling_percent, split_half_ceiling

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

# What each number is: in the sidecar, and as the order of columns and maps.
QUANTITIES = {
    "splithalf": "split-half noise ceiling: the correlation that a perfect model reaches with the mean over repeats, sqrt(2h / (1 + h)); "
    "n/a where h <= 0",
    "half": "h: correlation of the means over random halves of the repeats, across images, Fisher-z averaged over the splits",
    "ncsnr": "noise-ceiling signal-to-noise ratio: deviation of the signal over deviation of the noise",
    "nc1": "noise ceiling of a single trial, 100 ncsnr^2 / (ncsnr^2 + 1), percent of its variance",
    "ncmean": "noise ceiling of the mean over the repeats, 100 ncsnr^2 / (ncsnr^2 + mean(1 / repeats)), percent of its variance",
}
_N_SPLITS, _SEED = 100, 0


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Noise ceilings of all voxels of a subject.

    Parameters
    ----------
    split : str
    n_trials, n_images, n_repeated : int, images and those of them that were shown more than once
    repeats : tuple of two ints, fewest and most trials of a repeated image; (1, 1) where there is none
    values : dict of the names of `QUANTITIES` to float32 array, [v], NaN where unknown
    reason : str, why there is no ceiling; empty if there is one
    """

    split: str
    n_trials: int
    n_images: int
    n_repeated: int
    repeats: tuple[int, int]
    values: "dict[str, NDArray[np.float32]]"
    reason: str

    def __str__(self) -> str:
        low, high = self.repeats
        each = f", {low} trials each" if low == high else f", {low} to {high} trials each"
        return (
            f"{self.split}: {self.n_trials} trials, {self.n_repeated} of {self.n_images} images have repeats{each * (self.n_repeated > 0)}"
        )


def measure_ceilings(subject: "Subject", split: str = "test") -> Ceilings:
    """Measure the noise ceilings of all voxels, a few at a time.

    Parameters
    ----------
    subject : Subject
    split : str, whose repeats are used

    Raises
    ------
    ConfigError
        If no trial has this split.
    """
    rows = subject.rows(split)
    _, image_index = images_of(subject, rows)
    counts = np.bincount(image_index)
    repeated = counts[counts > 1]
    values = {name: np.full(subject.n_voxels, np.nan, dtype=np.float32) for name in QUANTITIES}
    reason = why_no_ceiling(counts, split)
    if not reason:
        for block, trials in subject.blocks(np.arange(subject.n_voxels), rows):
            halves = split_half_ceiling(trials, image_index, n_splits=_N_SPLITS, seed=_SEED)
            values["splithalf"][block], values["half"][block] = halves.ceiling, halves.half
            ratio = values["ncsnr"][block] = ncsnr(trials, image_index)
            values["nc1"][block] = noise_ceiling_percent(ratio, np.ones(1, dtype=np.int64))
            values["ncmean"][block] = noise_ceiling_percent(ratio, counts)
    repeats = (int(repeated.min()), int(repeated.max())) if repeated.size else (1, 1)
    return Ceilings(split, rows.size, counts.size, repeated.size, repeats, values, reason)


def area_table(subject: "Subject", found: Ceilings) -> pd.DataFrame:
    """Summarise ceilings per area: the median over the voxels for which a number is known.

    Returns
    -------
    DataFrame, one row per area: `area`, `voxels`, `known` (with a split-half ceiling), and the names of `QUANTITIES`; NaN where unknown
    """
    rows = []
    for name, mask in subject.areas.items():
        parts = {key: values[mask][np.isfinite(values[mask])] for key, values in found.values.items()}
        medians = {key: float(np.median(part)) if part.size else np.nan for key, part in parts.items()}
        rows.append({"area": name, "voxels": int(mask.sum()), "known": parts["splithalf"].size, **medians})
    return pd.DataFrame(rows)


def write_ceilings(folder: "Path", subject: "Subject", found: Ceilings) -> "list[Path]":
    """Write a table of all voxels, a table of areas, one volume for each quantity and a JSON that says what they are; all or nothing.

    Parameters
    ----------
    folder : Path, must not exist or be empty
    subject : Subject
    found : Ceilings, of this subject. Without repeats no volume is written.

    Returns
    -------
    list of Path

    Raises
    ------
    ConfigError
        If something lies in the folder.
    ComputeError
        If the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; choose another place or remove it first")
    base = f"{subject.name}_space-{subject.space.name}_desc-{''.join(filter(str.isalnum, found.split))}"
    with atomic_folder(folder) as beside:
        write_table(beside / f"{base}_ceilings.tsv", pd.concat([subject.voxels, pd.DataFrame(found.values)], axis=1))
        write_table(beside / f"{base}_areas.tsv", area_table(subject, found))
        write_voxel_volumes(beside, base, {} if found.reason else found.values, subject)
        write_json(beside / f"{base}_ceilings.json", _describe(subject, found))
        written = sorted(path.name for path in beside.iterdir())
    return [folder / name for name in written]


def _describe(subject: "Subject", found: Ceilings) -> dict[str, Any]:
    return {
        "Subject": subject.name,
        "Dataset": subject.title,
        "Simulated": subject.simulated,
        "Units": subject.unit,
        "ZScore": subject.zscore,
        "Split": found.split,
        "Trials": found.n_trials,
        "Images": found.n_images,
        "ImagesWithRepeats": found.n_repeated,
        "Repeats": list(found.repeats),
        "SplitHalves": {"N": _N_SPLITS, "Seed": _SEED},
        "NotAvailable": found.reason or None,
        "Quantities": QUANTITIES,
    }


def why_no_ceiling(counts: "NDArray[np.integer]", split: str) -> str:
    """Say why repeats give no noise ceiling; empty if they do.

    Parameters
    ----------
    counts : int array, [m], trials of each image
    split : str
    """
    n_repeated, n_images = int((counts > 1).sum()), counts.size
    if n_repeated == 0:
        return (
            f"no image of split {split!r} has more than one trial; where responses are averages over repeats already (as those of vim-1), "
            "single trials are needed"
        )
    if n_repeated < 3:
        return f"{n_repeated} of {n_images} images of split {split!r} have repeats, a correlation across images needs three"
    return ""
