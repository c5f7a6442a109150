"""Whether an alignment helped: how much subjects' held-out responses are alike, before and after it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.alignment import read_scaled
from brain2pix.data.volumes import MAX_CORNER_MM
from brain2pix.signals.hyperalignment import intersubject_correlation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from brain2pix.data.alignment import Alignment
    from brain2pix.data.matched_rows import MatchedRows
    from brain2pix.data.subject import Subject


@dataclass(frozen=True)
class Agreement:
    """How much one subject's held-out responses are like the others'.

    Parameters
    ----------
    key : str
    before : float or None, mean correlation with the mean of the others at the same places of the grid; None if they share no grid
    after : float or None, the same in the common space, at the same voxels of the reference if they share a grid
    n_stimuli : int
    n_voxels : int, that were compared
    """

    key: str
    before: float | None
    after: float | None
    n_stimuli: int
    n_voxels: int


def held_out_agreement(alignment: "Alignment", subjects: "Mapping[str, Subject]") -> list[Agreement]:
    """Measure the inter-subject correlation over held-out stimuli, before and after; empty for one subject or without such trials."""
    split = alignment.settings.heldout_split
    opened = [subjects[key] for key in alignment.keys]
    if len(opened) < 2 or any(not (subject.trials["split"] == split).any() for subject in opened):
        return []
    after = alignment.averages(subjects, split)
    shared = _shared_voxels(alignment, opened)
    count = len(after.matched.table)
    columns = shared[alignment.keys.index(alignment.reference)] if shared else np.arange(alignment.n_voxels)
    told_after = intersubject_correlation([values[:, columns] for values in after.values.values()])
    told_before = np.full(len(opened), np.nan)
    if shared:
        told_before = intersubject_correlation(
            [_unaligned(alignment, opened, place, after.matched, shared) for place in range(len(opened))]
        )
    return [
        Agreement(key, _known(a), _known(b), count, len(columns)) for key, a, b in zip(alignment.keys, told_before, told_after, strict=True)
    ]


def _unaligned(
    alignment: "Alignment", subjects: "Sequence[Subject]", place: int, matched: "MatchedRows", shared: "list[NDArray[np.int64]]"
) -> "NDArray[np.float32]":
    values = read_scaled(subjects[place], alignment.subjects[place], matched.trials[place])
    return matched.gather(values, place)[:, shared[place]]


def _shared_voxels(alignment: "Alignment", subjects: "Sequence[Subject]") -> "list[NDArray[np.int64]]":
    """Positions of the voxels at the same places in all subjects; empty if their grids differ or share none."""
    first = subjects[0].space
    for subject in subjects[1:]:
        if subject.space.shape != first.shape or first.corner_displacement_mm(subject.space.affine) > MAX_CORNER_MM:
            return []
    flat = [
        np.ravel_multi_index(tuple(subject.ijk[one.info.voxel_index].T), first.shape)
        for subject, one in zip(subjects, alignment.subjects, strict=True)
    ]
    places = flat[0]
    for each in flat[1:]:
        places = np.intersect1d(places, each)
    if not places.size:
        return []
    orders = [np.argsort(each) for each in flat]
    return [order[np.searchsorted(each, places, sorter=order)].astype(np.int64) for each, order in zip(flat, orders, strict=True)]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
