"""Tab-separated tables as BIDS writes them: a header line, ``n/a`` for missing."""

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brain2pix.data.volumes import join_names, require_file
from brain2pix.errors import DataFormatError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Identity is text inside the program: "0012" and "12" are two stimuli.
TEXT_COLUMNS = frozenset(
    {"stimulus_id", "file", "category", "split", "source", "name", "color", "participant_id", "trial_type", "stim_file"}
)
MISSING = ("n/a", "")


def read_table(path: "Path", what: str, required: "Sequence[str]") -> pd.DataFrame:
    """Read a table; text columns stay text, the others become numbers where every value is one.

    Parameters
    ----------
    path : Path
    what : str, what the table is, for messages
    required : sequence of str, columns that must be there

    Raises
    ------
    MissingDataError
        If the file does not exist.
    DataFormatError
        If it is not text, not tab-separated, cut off in a line or lacks a column.
    """
    require_file(path, what)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{what} {path} is not a text table: {error}") from None
    if not rows or not rows[0]:
        raise DataFormatError(f"{what} {path} is empty; expected a header line with {', '.join(required)}")
    header, body = rows[0], [row for row in rows[1:] if row]
    _check_header(path, what, header, required)
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(header):
            raise DataFormatError(f"{what} {path}: line {number} has {len(row)} fields, the header {len(header)}; is the file truncated?")
    columns = list(zip(*body, strict=True)) if body else [()] * len(header)
    return pd.DataFrame({name: column(name, values) for name, values in zip(header, columns, strict=True)})


def column(name: str, values: "Sequence[Any]") -> "pd.Series[Any]":
    """Turn text values into a column: text, integers or floats."""
    text = pd.Series([None if value in MISSING else str(value) for value in values], dtype=object)
    if name in TEXT_COLUMNS:
        return text
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().to_numpy().sum() != text.notna().to_numpy().sum() or text.isna().all():
        return text
    # At float64 an id such as 1518878.010042 keeps all its digits; whole numbers become ints where none is missing.
    whole = numbers.notna().all() and bool((numbers == np.floor(numbers)).all())
    return numbers.astype(np.int64) if whole else numbers.astype(np.float64)


def write_table(path: "Path", table: pd.DataFrame) -> "Path":
    """Write a table atomically, tab-separated, ``n/a`` for missing."""
    with atomic_path(path) as beside:
        table.to_csv(beside, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    return path


def read_json(path: "Path", what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, what)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataFormatError(f"{what} {path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise DataFormatError(f"{what} {path}: expected a JSON object, got {type(values).__name__}")
    return values


def check_trials(table: pd.DataFrame, place: "Path") -> pd.DataFrame:
    """Complete and check the table of trials.

    Returns
    -------
    DataFrame with `trial, stimulus_id, split, run, session, repeat` and what else it had

    Raises
    ------
    DataFormatError
        If a trial has no stimulus or no split.
    """
    trials = table.reset_index(drop=True).copy()
    for name in ("stimulus_id", "split"):
        empty = trials[name].isna().to_numpy()
        if empty.any():
            lines = join_names(str(row + 1) for row in np.flatnonzero(empty))
            raise DataFormatError(f"{place}: {int(empty.sum())} trials have no {name} (rows {lines}); remove them from betas and table")
        trials[name] = trials[name].astype(str)
    if "trial" not in trials:
        trials.insert(0, "trial", np.arange(1, len(trials) + 1))
    for name in ("run", "session"):
        if name not in trials:
            trials[name] = 1
    if "repeat" not in trials:
        trials["repeat"] = trials.groupby("stimulus_id").cumcount() + 1
    return trials


def check_stimuli(table: pd.DataFrame, place: "Path") -> pd.DataFrame:
    """Check the table of stimuli, one row per stimulus, and complete its optional columns.

    Returns
    -------
    DataFrame with `stimulus_id, file, category, split, source` and what else it had

    Raises
    ------
    DataFormatError
        If an id is missing or occurs twice.
    """
    stimuli = table.reset_index(drop=True).copy()
    if stimuli["stimulus_id"].isna().any():
        raise DataFormatError(f"{place}: {int(stimuli['stimulus_id'].isna().sum())} rows have no stimulus_id")
    twice = stimuli["stimulus_id"][stimuli["stimulus_id"].duplicated()]
    if len(twice):
        raise DataFormatError(f"{place}: {len(twice)} stimulus ids occur twice: {join_names(twice.astype(str))}")
    for name in ("category", "split"):
        if name not in stimuli:
            stimuli[name] = None
    if "source" not in stimuli:
        stimuli["source"] = stimuli["category"]
    return stimuli


def _check_header(path: "Path", what: str, header: list[str], required: "Sequence[str]") -> None:
    missing = [name for name in required if name not in header]
    if missing:
        commas = "; it looks comma-separated, expected tabs" if len(header) == 1 and "," in header[0] else ""
        raise DataFormatError(f"{what} {path} has no column {', '.join(missing)}; columns: {', '.join(header)}{commas}")
    if len(set(header)) != len(header):
        raise DataFormatError(f"{what} {path} names a column twice: {', '.join(header)}")
