"""One pass over all responses: which voxels can be used, and how they are scaled."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from brain2pix.data.preparation import trial_groups, whole_training
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from brain2pix.config.preparation import ZScore
    from brain2pix.data.betas import Betas
    from brain2pix.data.preparation import TrialGroups

_SCALED_BY = {"train": "the training trials", "run": "at least one run", "session": "at least one session"}
NanPolicy = Literal["drop-voxels", "keep", "error"]


@dataclass(frozen=True)
class Dropped:
    """Voxels left out when a subject was opened.

    Parameters
    ----------
    n_voxels : int
    n_total : int, voxels in the file
    per_area : dict of area name to count; areas that lost none are not named
    reason : str
    """

    n_voxels: int = 0
    n_total: int = 0
    per_area: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def __str__(self) -> str:
        where = ", ".join(f"{name} {count}" for name, count in self.per_area.items()) or "no named area"
        return f"{self.n_voxels} of {self.n_total} voxels left out: {self.reason} ({where})"


@dataclass(frozen=True)
class Screen:
    """What one pass over all responses tells.

    Parameters
    ----------
    groups : TrialGroups
    finite : bool array, [v], whether all responses are
    constant : bool array, [v], whether all training responses are the same
    mean, deviation : float32 arrays, [g v], of the trials that scale each group
    """

    groups: "TrialGroups"
    finite: "NDArray[np.bool_]"
    constant: "NDArray[np.bool_]"
    mean: "NDArray[np.float32]"
    deviation: "NDArray[np.float32]"


def screen_responses(betas: "Betas", trials: "pd.DataFrame", zscore: "ZScore") -> Screen:
    """Find values that are not finite, and the mean and deviation that scale each group of trials, in one pass over the file.

    Parameters
    ----------
    betas : Betas
    trials : DataFrame, [n] rows
    zscore : "none", "train", "run" or "session"

    Raises
    ------
    DataFormatError
        If a trial has no finite value at all: dropping voxels would leave none.
    ConfigError
        If the trials cannot be z-scored so.
    """
    n_voxels = len(betas.ijk)
    if n_voxels == 0 or len(trials) == 0:
        raise DataFormatError(f"{betas.path} holds {len(trials)} trials of {n_voxels} voxels; nothing to work with")
    groups = trial_groups(trials, zscore, betas.path)
    training = whole_training(trials).reference
    finite, constant = np.empty(n_voxels, dtype=np.bool_), np.empty(n_voxels, dtype=np.bool_)
    mean, deviation = (np.empty((groups.n_groups, n_voxels), dtype=np.float32) for _ in range(2))
    finite_in_row = np.zeros(len(trials), dtype=np.int64)
    for block, values in betas.blocks():
        good = np.isfinite(values)
        finite[block] = good.all(axis=0)
        finite_in_row += good.sum(axis=1)
        for number in range(groups.n_groups):
            rows = np.flatnonzero(groups.reference & (groups.group == number))
            mean[number, block], deviation[number, block] = _statistics(values[rows], good[rows])
        over_training = deviation[0, block] if groups.n_groups == 1 else _statistics(values[training], good[training])[1]
        constant[block] = over_training == 0
    empty = np.flatnonzero(finite_in_row == 0)
    if empty.size:
        raise DataFormatError(
            f"{betas.path}: {empty.size} trials have no finite response (rows {join_names(str(row + 1) for row in empty)}); "
            "remove them from betas and table"
        )
    return Screen(groups, finite, constant, mean, deviation)


def choose_voxels(
    screen: Screen, areas: "dict[str, NDArray[np.bool_]]", unit: str, nan: NanPolicy, path: "Path"
) -> "tuple[NDArray[np.bool_], tuple[Dropped, ...]]":
    """Decide which voxels stay, and count the others per area. How responses are z-scored does not change it."""
    kept = np.ones(screen.finite.size, dtype=np.bool_)
    dropped = []
    bad = ~screen.finite
    if bad.any() and nan == "error":
        raise DataFormatError(
            f"{path}: {count_voxels(bad, areas, 'responses that are not finite')}; clean them, or open with nan='drop-voxels'"
        )
    if bad.any() and nan == "drop-voxels":
        dropped.append(count_voxels(bad, areas, "responses that are not finite"))
        kept &= ~bad
    flat = kept & screen.constant
    if flat.any() and not unit.startswith("z-"):
        dropped.append(count_voxels(flat, areas, "constant responses"))
        kept &= ~flat
    if not kept.any():
        raise DataFormatError(f"{path}: no voxel is left; {'; '.join(map(str, dropped))}")
    return kept, tuple(dropped)


def scaling_notes(
    screen: Screen, areas: "dict[str, NDArray[np.bool_]]", kept: "NDArray[np.bool_]", unit: str, zscore: "ZScore"
) -> list[str]:
    """Say how responses are z-scored, where that was not so already, and which voxels could not be."""
    if zscore == "none":
        return [] if unit.startswith("z-") else [f"responses stay in {unit}: no z-scores were asked for"]
    by = "of the training trials" if zscore == "train" else f"of each {zscore}, by its training trials where it has any"
    again = " a second time" if unit.startswith("z-") else ""
    notes = [f"responses in {unit} are z-scored{again} per voxel with the mean and deviation {by}"]
    flat = kept & (screen.deviation == 0).any(axis=0)
    if flat.any():
        counted = count_voxels(flat, areas, "")
        where = ", ".join(f"{name} {number}" for name, number in counted.per_area.items()) or "no named area"
        notes.append(f"{counted.n_voxels} of {counted.n_total} voxels are constant in {_SCALED_BY[zscore]}: they are 0 there ({where})")
    return notes


def _statistics(values: "NDArray[np.float32]", good: "NDArray[np.bool_]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Mean and deviation over the finite values of each voxel."""
    count = np.maximum(good.sum(axis=0), 1)
    mean = np.where(good, values, 0).sum(axis=0, dtype=np.float64) / count
    apart = np.where(good, values - mean, 0)
    return mean.astype(np.float32), np.sqrt((apart * apart).sum(axis=0) / count).astype(np.float32)


def count_voxels(which: "NDArray[np.bool_]", areas: "dict[str, NDArray[np.bool_]]", reason: str) -> Dropped:
    """Count voxels, over all and per area."""
    counts = {name: int((mask & which).sum()) for name, mask in areas.items()}
    return Dropped(int(which.sum()), which.size, {name: count for name, count in counts.items() if count}, reason)
