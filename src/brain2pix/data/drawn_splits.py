"""Draw which trials are held out, so that what is held out was never seen in training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.importing import SplitParams

_WORDS = {"image": "images", "category": "categories", "run": "runs"}


@dataclass(frozen=True)
class DrawnSplits:
    """Which trials go where.

    Parameters
    ----------
    split : array of "train", "test", "validation", [n]
    kept : bool array, [n]; False for trials that must be left out, because their image is held out
    notes : tuple of str
    """

    split: "NDArray[np.str_]"
    kept: "NDArray[np.bool_]"
    notes: tuple[str, ...]


def draw_splits(trials: pd.DataFrame, params: "SplitParams", place: object = "the table of trials") -> DrawnSplits:
    """Hold out images, categories or runs.

    The same table, shares and seed give the same splits, in whatever order the rows are. By image and by category an image is on one side
    with all its trials; images of one `source` stay together, where the table has that column. By run, an image may be shown in runs of
    several sides: its trials stay with test, else with validation, and the others are left out.

    Parameters
    ----------
    trials : DataFrame, [n] rows: `stimulus_id`; `category`, or `run` and `session`, for those
    params : SplitParams, `by` other than "table"
    place : where the trials come from, for messages

    Returns
    -------
    DrawnSplits

    Raises
    ------
    ConfigError
        If there are too few images, categories or runs for the shares.
    DataFormatError
        If a trial lacks what is held out.
    """
    units, what = _units(trials, params.by, place)
    every = sorted(set(units))
    n_test, n_validation = _counts(params, len(every), what)
    order = np.random.default_rng(params.seed).permutation(len(every))
    side = {every[index]: "test" for index in order[:n_test]}
    side |= {every[index]: "validation" for index in order[n_test : n_test + n_validation]}
    split = np.array([side.get(unit, "train") for unit in units], dtype="<U10")
    drawn = f"{len(every)} {what} were drawn by seed {params.seed}: {len(every) - n_test - n_validation} for training, {n_test} for test"
    notes = [f"{drawn}, {n_validation} for validation" if n_validation else drawn]
    kept = np.ones(len(trials), dtype=bool)
    if params.by == "run":
        kept = _one_side(trials["stimulus_id"].to_numpy(), split)
        notes += _lost(trials, split, kept)
    return DrawnSplits(split, kept, tuple(notes))


def _units(trials: pd.DataFrame, by: str, place: object) -> tuple[list[str], str]:
    """Say for each trial what it is held out with."""
    if by == "run":
        return [f"{session}\t{run}" for session, run in zip(trials["session"], trials["run"], strict=True)], "runs"
    name = "stimulus_id" if by == "image" and "source" not in trials else "source" if by == "image" else "category"
    if name not in trials:
        raise DataFormatError(f"{place} has no column {name}; add it, or hold out images or runs")
    values = trials[name]
    if by == "image" and name == "source":
        return [
            str(own if pd.isna(value) else value) for own, value in zip(trials["stimulus_id"], values, strict=True)
        ], "images (by source)"
    if values.isna().any():
        rows = join_names(str(row + 1) for row in np.flatnonzero(values.isna().to_numpy()))
        raise DataFormatError(
            f"{place}: {int(values.isna().sum())} trials have no {name} (rows {rows}); each needs one to be held out by {by}"
        )
    return [str(value) for value in values], _WORDS[by]


def _counts(params: "SplitParams", n_units: int, what: str) -> tuple[int, int]:
    if params.test_share + params.validation_share >= 1:
        raise ConfigError(
            f"test share {params.test_share:g} and validation share {params.validation_share:g} leave nothing for training; "
            "their sum must be below 1"
        )
    # A share that is asked for gives at least one.
    n_test, n_validation = (
        max(1, int(np.floor(share * n_units + 0.5))) if share else 0 for share in (params.test_share, params.validation_share)
    )
    if n_test + n_validation >= n_units:
        raise ConfigError(
            f"{n_units} {what} are too few for a test share of {params.test_share:g} and a validation share of "
            f"{params.validation_share:g} with training left; hold out something else, or take other shares"
        )
    return n_test, n_validation


def _one_side(ids: "NDArray[np.object_]", split: "NDArray[np.str_]") -> "NDArray[np.bool_]":
    """Trials on the most held-out side of their image."""
    in_test, in_validation = set(ids[split == "test"]), set(ids[split == "validation"])
    home = ["test" if name in in_test else "validation" if name in in_validation else "train" for name in ids]
    return np.asarray(split == np.array(home))


def _lost(trials: pd.DataFrame, split: "NDArray[np.str_]", kept: "NDArray[np.bool_]") -> list[str]:
    if kept.all():
        return []
    names = trials["stimulus_id"][~kept]
    if not (kept & (split == "train")).any():
        raise ConfigError(
            "every image of the training runs is also shown in a held-out run: nothing is left to train on; draw images instead"
        )
    return [
        f"{int((~kept).sum())} trials of {names.nunique()} images are left out: these images are also shown in held-out runs "
        f"({join_names(sorted(names.astype(str).unique()), 3)})"
    ]
