"""How the responses of a subject are z-scored, and which of its voxels are reliable enough to train on.

No statistic here is made of a held-out trial where training trials can give it, but for the voxels chosen by test repeats when that is
asked for by name.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from brain2pix.config.preparation import ZScore
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.signals.ceilings import ncsnr, split_half_ceiling
from brain2pix.signals.zscore import zscore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.preparation import PreparationSettings
    from brain2pix.data.subject import Subject

TRAIN = "train"  # the split whose trials scale the others
CHOSEN_BY_TEST = "voxels chosen by test repeats"  # among what a transductive system used
# Splits of the repeats: with the hundreds of repeated images that a choice needs, more of them move no voxel over the threshold.
_N_SPLITS = 20


@dataclass(frozen=True, eq=False)
class TrialGroups:
    """Trials that are scaled together.

    Parameters
    ----------
    group : int array, [n], 0..g-1
    reference : bool array, [n], the trials whose mean and deviation scale their group
    """

    group: "NDArray[np.int64]"
    reference: "NDArray[np.bool_]"

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and deviation of each group of trials; a voxel that is constant in a group is 0 there.

    Parameters
    ----------
    group : int array, [n], of each trial
    mean, deviation : float32 arrays, [g v]
    """

    group: "NDArray[np.int64]"
    mean: "NDArray[np.float32]"
    deviation: "NDArray[np.float32]"

    def apply(self, values: "NDArray[np.float32]", rows: "NDArray[np.integer]", voxel_index: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Z-score responses [n v] of some trials and voxels."""
        group = self.group[rows]
        if group.size and (group == group[0]).all():
            return self._apply(values, int(group[0]), voxel_index)
        scaled = np.empty(values.shape, dtype=np.float32)
        for number in np.unique(group):
            trials = group == number
            scaled[trials] = self._apply(values[trials], int(number), voxel_index)
        return scaled

    def _apply(self, values: "NDArray[np.float32]", number: int, voxel_index: "NDArray[np.int64]") -> "NDArray[np.float32]":
        deviation = self.deviation[number, voxel_index]
        scaled = zscore(values, self.mean[number, voxel_index], deviation)
        constant = deviation == 0
        if constant.any():
            scaled[:, constant] = np.where(np.isfinite(values[:, constant]), 0, np.nan)
        return scaled

    def of(self, voxel_index: "NDArray[np.int64]") -> "tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]":
        """Give groups, mean and deviation of some voxels: all that decides their scale."""
        return self.group, self.mean[:, voxel_index], self.deviation[:, voxel_index]


def whole_training(trials: pd.DataFrame) -> TrialGroups:
    """One group, scaled by the training trials; by all of them where there is no training trial."""
    training = trials["split"].to_numpy() == TRAIN
    reference = training if training.any() else np.ones(len(trials), dtype=np.bool_)
    return TrialGroups(np.zeros(len(trials), dtype=np.int64), reference)


def resolve_zscore(zscore: "ZScore", unit: str) -> "ZScore":
    """Say what ``auto`` means for responses of a unit: z-scores stay, all else is scaled by the training trials.

    Raises
    ------
    ConfigError
        If there are no such z-scores.
    """
    if zscore not in get_args(ZScore):
        raise ConfigError(unknown_name("zscore", str(zscore), get_args(ZScore)))
    if zscore == "auto":
        return "none" if unit.startswith("z-") else "train"
    return zscore


def trial_groups(trials: pd.DataFrame, zscore: "ZScore", place: "Path") -> TrialGroups:
    """Say which trials are scaled together, and by which.

    A run (of one session) or a session is scaled by its training trials. One without training trials, as the test runs of many studies,
    is scaled by its own, each split by itself. Numbers that start anew in each split do not make one run of two: where the trials of one
    number do not follow one another in the table, each split is taken by itself.

    Parameters
    ----------
    trials : DataFrame, with split, run, session
    zscore : "none", "train", "run" or "session"
    place : Path, for messages

    Raises
    ------
    ConfigError
        If there is no training trial, a trial has no run or session, or only one trial would scale its group.
    """
    training = trials["split"].to_numpy() == TRAIN
    if zscore not in ("run", "session"):
        if zscore == "train" and not training.any():
            raise ConfigError(f"{place}: no trial has the split {TRAIN!r} to z-score the others by; choose zscore run, session or none")
        return whole_training(trials)
    keys = ["session", "run"] if zscore == "run" else ["session"]
    for key in keys:
        unknown = int(trials[key].isna().to_numpy().sum())
        if unknown:
            raise ConfigError(f"{place}: {unknown} trials have no {key}; choose zscore train or none, or complete the table")
    number = trials.groupby(keys, sort=False).ngroup().to_numpy()
    begins = np.r_[True, number[1:] != number[:-1]]
    apart = np.bincount(number[begins])[number] > 1
    alone = apart | (np.bincount(number, weights=training) == 0)[number]
    split = pd.factorize(trials["split"])[0]
    group = pd.factorize(number * (split.max() + 2) + np.where(alone, split + 1, 0))[0].astype(np.int64)
    reference = training | (np.bincount(group, weights=training) == 0)[group]
    counts = np.bincount(group[reference])
    few = np.flatnonzero(counts == 1)
    if few.size:
        names = [_name(trials, np.flatnonzero((group == one) & reference)[0], keys) for one in few]
        others = "session, train or none" if zscore == "run" else "train or none"
        raise ConfigError(f"{place}: one trial alone cannot z-score {join_names(names)}; choose zscore {others}")
    return TrialGroups(group, reference)


def choose_reliable(
    subject: "Subject",
    voxel_index: "NDArray[np.int64]",
    rows: "NDArray[np.int64]",
    image_index: "NDArray[np.int64]",
    settings: "PreparationSettings",
) -> "NDArray[np.int64]":
    """Keep the voxels whose responses to repeated images are reliable.

    Parameters
    ----------
    subject : Subject
    voxel_index : int array, [v]
    rows : int array, [n], trials of the split whose repeats are used
    image_index : int array, [n], 0..m-1, which image each of them showed
    settings : PreparationSettings

    Returns
    -------
    int array, [w], of `voxel_index`, in its order

    Raises
    ------
    ConfigError
        If the split has no repeated images, or no voxel is left.
    """
    _check_repeats(subject, image_index, settings)
    ratio = np.empty(voxel_index.size, dtype=np.float32)
    ceiling = np.full(voxel_index.size, np.nan, dtype=np.float32)
    for block, values in subject.blocks(voxel_index, rows):
        ratio[block] = ncsnr(values, image_index)
        if settings.min_ceiling is not None:
            ceiling[block] = split_half_ceiling(values, image_index, n_splits=_N_SPLITS).ceiling
    kept = np.isfinite(ratio)
    if settings.min_ncsnr is not None:
        kept &= np.nan_to_num(ratio) >= settings.min_ncsnr
    if settings.min_ceiling is not None:
        kept &= np.nan_to_num(ceiling) >= settings.min_ceiling
    if settings.max_voxels is not None:
        best = np.argsort(np.where(kept, -ratio, np.inf), kind="stable")[: settings.max_voxels]
        kept &= np.isin(np.arange(kept.size), best)
    if not kept.any():
        raise ConfigError(
            f"{subject.name}: none of {voxel_index.size} voxels is reliable enough (largest noise-ceiling signal-to-noise ratio "
            f"{np.nanmax(ratio, initial=0):.3g}); lower prepare.min_ncsnr or prepare.min_ceiling"
        )
    return voxel_index[kept]


def _check_repeats(subject: "Subject", image_index: "NDArray[np.int64]", settings: "PreparationSettings") -> None:
    repeated = int((np.bincount(image_index) > 1).sum())
    needed = 3 if settings.min_ceiling is not None else 2
    if repeated < needed:
        ways = ["leave prepare.min_ncsnr, min_ceiling and max_voxels out"]
        if settings.repeats_of == TRAIN:
            ways.append("or choose by test repeats (prepare.repeats_of test), which makes the system transductive")
        raise ConfigError(
            f"{subject.name}: voxels cannot be chosen by their noise ceiling, which needs {needed} images with several trials each; "
            f"{repeated} of {image_index.max() + 1} {settings.repeats_of} images have them; {', '.join(ways)}"
        )


def _name(trials: pd.DataFrame, row: int, keys: list[str]) -> str:
    where = " of ".join(f"{key} {trials[key].iloc[row]}" for key in reversed(keys))
    return f"{where} ({trials['split'].iloc[row]})"
