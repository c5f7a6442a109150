"""One pass over all responses: which voxels can be used, and how they scale."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from brain2pix.data.betas import Betas

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
    """What one pass over all responses tells, per voxel, [v]."""

    finite: "NDArray[np.bool_]"
    mean: "NDArray[np.float32]"
    deviation: "NDArray[np.float32]"


def screen_responses(betas: "Betas", trials: "pd.DataFrame") -> Screen:
    """Find values that are not finite, and the training mean and deviation, in one pass over the file.

    Raises
    ------
    DataFormatError
        If a trial has no finite value at all: dropping voxels would leave none.
    """
    n_voxels = len(betas.ijk)
    if n_voxels == 0 or len(trials) == 0:
        raise DataFormatError(f"{betas.path} holds {len(trials)} trials of {n_voxels} voxels; nothing to work with")
    finite = np.empty(n_voxels, dtype=np.bool_)
    mean, deviation = np.zeros(n_voxels, dtype=np.float32), np.ones(n_voxels, dtype=np.float32)
    finite_in_row = np.zeros(len(trials), dtype=np.int64)
    training = trials["split"].to_numpy() == "train"
    reference = training if training.any() else np.ones(len(trials), dtype=np.bool_)
    for block, values in betas.blocks():
        good = np.isfinite(values)
        finite[block] = good.all(axis=0)
        finite_in_row += good.sum(axis=1)
        mean[block], deviation[block] = _statistics(values[reference], good[reference])
    empty = np.flatnonzero(finite_in_row == 0)
    if empty.size:
        raise DataFormatError(
            f"{betas.path}: {empty.size} trials have no finite response (rows {join_names(str(row + 1) for row in empty)}); "
            "remove them from betas and table"
        )
    return Screen(finite, mean, deviation)


def choose_voxels(
    screen: Screen, areas: "dict[str, NDArray[np.bool_]]", unit: str, nan: NanPolicy, path: "Path"
) -> "tuple[NDArray[np.bool_], tuple[Dropped, ...], bool]":
    """Decide which voxels stay, count the others per area, and say whether responses must be z-scored."""
    scaled = not unit.startswith("z-")
    kept = np.ones(screen.finite.size, dtype=np.bool_)
    dropped = []
    bad = ~screen.finite
    if bad.any() and nan == "error":
        raise DataFormatError(f"{path}: {_count(bad, areas, 'responses that are not finite')}; clean them, or open with nan='drop-voxels'")
    if bad.any() and nan == "drop-voxels":
        dropped.append(_count(bad, areas, "responses that are not finite"))
        kept &= ~bad
    flat = kept & (screen.deviation == 0)
    if scaled and flat.any():
        dropped.append(_count(flat, areas, "constant responses"))
        kept &= ~flat
    if not kept.any():
        raise DataFormatError(f"{path}: no voxel is left; {'; '.join(map(str, dropped))}")
    return kept, tuple(dropped), scaled


def _statistics(values: "NDArray[np.float32]", good: "NDArray[np.bool_]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Mean and deviation over the finite values of each voxel."""
    count = np.maximum(good.sum(axis=0), 1)
    mean = np.where(good, values, 0).sum(axis=0, dtype=np.float64) / count
    apart = np.where(good, values - mean, 0)
    return mean, np.sqrt((apart * apart).sum(axis=0) / count)


def _count(which: "NDArray[np.bool_]", areas: "dict[str, NDArray[np.bool_]]", reason: str) -> Dropped:
    counts = {name: int((mask & which).sum()) for name, mask in areas.items()}
    return Dropped(int(which.sum()), which.size, {name: count for name, count in counts.items() if count}, reason)
