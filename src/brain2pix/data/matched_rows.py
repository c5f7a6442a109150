"""Which trials of several subjects are the same event: the same stimulus, shown for the same time or averaged over repetitions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from brain2pix.data.splits import HELD_OUT_SPLITS
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

# Pictures are compared at this edge, for so many stimuli; less alike than this is another picture, more is another file of the same.
_EDGE, _COMPARED, _ALIKE = 32, 20, 0.8


@dataclass(frozen=True, eq=False)
class MatchedRows:
    """Events that all subjects share.

    Parameters
    ----------
    table : DataFrame, [n]: `stimulus_id`, `repeat` (not there for averages)
    trials : tuple of int arrays, [t_s], rows of each subject's trial table
    events : tuple of int arrays, [t_s], 0..n-1, which event each of these trials belongs to
    """

    table: pd.DataFrame
    trials: "tuple[NDArray[np.int64], ...]"
    events: "tuple[NDArray[np.int64], ...]"

    @property
    def averaged(self) -> bool:
        """Whether an event is the average over a subject's repetitions."""
        return "repeat" not in self.table

    def gather(self, values: "NDArray[np.floating]", subject: int) -> "NDArray[np.float32]":
        """Bring the values of one subject's `trials`, [t v], into the order of the events, averaged within each, [n v]."""
        events, count = self.events[subject], len(self.table)
        if len(events) == count:
            return np.asarray(values[np.argsort(events)], dtype=np.float32)
        sums = np.zeros((count, values.shape[1]))
        np.add.at(sums, events, values)
        return (sums / np.bincount(events, minlength=count)[:, None]).astype(np.float32)


def match_rows(
    subjects: "Sequence[Subject]",
    split: str,
    rows: Literal["auto", "trials", "averages"] = "auto",
    cap_repeats: int | None = None,
) -> MatchedRows:
    """Match the trials of one split by (stimulus, repetition), or by stimulus.

    Repetitions are those of the column `repeat` of the trials; a subject whose column names one twice for a stimulus gets them counted in
    the order of the trials. With one subject, all its trials are taken.

    Parameters
    ----------
    subjects : sequence of Subject
    split : str
    rows : {"auto", "trials", "averages"}; auto takes averages where a shared stimulus has no repetition that all subjects share
    cap_repeats : int or None, use the first so many repetitions of each stimulus

    Raises
    ------
    ConfigError
        If a subject has no such split, or nothing is shared.
    """
    tables = [_numbered(subject, split, cap_repeats) for subject in subjects]
    shared = _in_all([set(table["stimulus_id"]) for table in tables], subjects, split)
    pairs = set.intersection(*({*zip(table["stimulus_id"], table["repeat"], strict=True)} for table in tables))
    lost = shared - {stimulus for stimulus, _ in pairs}
    if rows == "trials" and lost:
        raise ConfigError(
            f"{len(lost)} of {len(shared)} stimuli that all subjects saw have no repetition that all share ({join_names(sorted(lost))}); "
            "align on averages (rows=averages)"
        )
    if rows == "averages" or lost:
        order = [name for name in dict.fromkeys(tables[0]["stimulus_id"]) if name in shared]
        keys = [table["stimulus_id"].tolist() for table in tables]
        return _matched(pd.DataFrame({"stimulus_id": order}), order, keys, tables)
    every = [*zip(tables[0]["stimulus_id"], tables[0]["repeat"], strict=True)]
    kept = [pair for pair in every if pair in pairs]
    keys = [[*zip(table["stimulus_id"], table["repeat"], strict=True)] for table in tables]
    return _matched(pd.DataFrame(kept, columns=["stimulus_id", "repeat"]), kept, keys, tables)


def check_held_out(subjects: "Sequence[Subject]", matched: MatchedRows, train_split: str) -> None:
    """Refuse rows to fit on whose stimulus is held out, in any of the subjects, by trial or by stimulus table.

    Raises
    ------
    DataFormatError
    """
    splits = [split for split in HELD_OUT_SPLITS if split != train_split]
    fitted = set(matched.table["stimulus_id"])
    for subject in subjects:
        held = {
            name
            for table in (subject.trials, subject.stimuli)
            for name in table.loc[table["split"].isin(splits), "stimulus_id"]
            if name in fitted
        }
        if held:
            raise DataFormatError(
                f"{subject.root}: {len(held)} stimuli to align on are held out there ({', '.join(splits)}): {join_names(sorted(held))}; "
                "give each stimulus one split in all subjects"
            )


def check_pictures(subjects: "Sequence[Subject]", stimulus_ids: "Sequence[str]") -> None:
    """Refuse stimuli of one name that show different pictures to different subjects, by a look at some of them.

    Raises
    ------
    DataFormatError
    """
    shown = [set(subject.stimuli.loc[subject.stimuli["file"].notna(), "stimulus_id"]) for subject in subjects]
    with_file = [name for name in stimulus_ids if all(name in names for names in shown)]
    looked = with_file[:: max(1, -(-len(with_file) // _COMPARED))]
    if not looked:
        return
    first, *others = (subject.images(looked, _EDGE).astype(np.float64).mean(axis=3).reshape(len(looked), -1) for subject in subjects)
    for subject, pictures in zip(subjects[1:], others, strict=True):
        apart = [name for name, a, b in zip(looked, first, pictures, strict=True) if not _alike(a, b)]
        if apart:
            raise DataFormatError(
                f"{len(apart)} of {len(looked)} pictures compared differ between {subjects[0].root} and {subject.root}: "
                f"{join_names(apart)}; subjects are aligned by the names of stimuli, so one name must be one picture "
                "(compare_pictures=false goes on all the same)"
            )


def _alike(first: "NDArray[np.float64]", second: "NDArray[np.float64]") -> bool:
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return bool(a @ b > _ALIKE * norm) if norm else bool(not a.any() and not b.any())


def _numbered(subject: "Subject", split: str, cap_repeats: int | None) -> pd.DataFrame:
    """Rows of a split with their number in the trial table; repetitions counted where the column does not tell them apart."""
    rows = subject.rows(split)
    table = subject.trials.iloc[rows][["stimulus_id", "repeat"]].assign(row=rows)
    if table.duplicated(["stimulus_id", "repeat"]).any() or table["repeat"].isna().any():
        table = table.assign(repeat=table.groupby("stimulus_id").cumcount() + 1)
    if cap_repeats is None:
        return table
    return table[table.groupby("stimulus_id")["repeat"].rank(method="first") <= cap_repeats]


def _in_all(names: list[set[str]], subjects: "Sequence[Subject]", split: str) -> set[str]:
    shared = set.intersection(*names)
    if not shared:
        counts = ", ".join(f"{len(each)} in {subject.path}" for each, subject in zip(names, subjects, strict=True))
        raise ConfigError(
            f"no stimulus of split {split!r} was seen by all subjects ({counts}); subjects can be aligned only on stimuli of the same name"
        )
    return shared


def _matched(table: pd.DataFrame, events: "Sequence[object]", keys: "Sequence[list[object]]", tables: list[pd.DataFrame]) -> MatchedRows:
    place = {event: number for number, event in enumerate(events)}
    numbers = [np.array([place.get(key, -1) for key in each], dtype=np.int64) for each in keys]
    trials = tuple(table["row"].to_numpy(dtype=np.int64)[number >= 0] for table, number in zip(tables, numbers, strict=True))
    return MatchedRows(table, trials, tuple(number[number >= 0] for number in numbers))
