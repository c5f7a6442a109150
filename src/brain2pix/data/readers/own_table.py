"""The table of trials that a laboratory keeps: TSV or CSV, by our names or by those of BIDS events."""

import csv
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.data.drawn_splits import draw_splits
from brain2pix.data.images import SUFFIXES
from brain2pix.data.readers._reading import check_table
from brain2pix.data.readers.base import with_repeats
from brain2pix.data.splits import HELD_OUT_SPLITS
from brain2pix.data.tables import MISSING, column
from brain2pix.data.volumes import join_names, require_file
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices

FILE_COLUMNS = ("image", "stim_file", "filename", "file", "image_file")
ID_COLUMNS = ("stimulus_id", *FILE_COLUMNS)
# What some call the splits, and what they are called here.
_SPLIT_WORDS = {"training": "train", "testing": "test", "val": "validation", "valid": "validation"}
_SPLITS = frozenset({"train", *HELD_OUT_SPLITS, "category_train", "imagery", *_SPLIT_WORDS})
_TEXT = frozenset({*ID_COLUMNS, "category", "split", "source", "trial_type"})
_TABLE_SUFFIXES = (".tsv", ".csv")


@dataclass(frozen=True)
class OwnTable:
    """What a table says.

    Parameters
    ----------
    path : Path
    trials : DataFrame, one row per response: `stimulus_id`, `split`, `run`, `session`, `repeat` and what else it has
    pictures : dict of stimulus id to what the table calls its picture
    kept : int array, rows of the file that are kept, one per row of `trials`
    has_runs, has_sessions : bool, whether the file itself tells them
    notes : tuple of str
    """

    path: "Path"
    trials: pd.DataFrame
    pictures: dict[str, str]
    kept: "NDArray[np.int64]"
    has_runs: bool
    has_sessions: bool
    notes: tuple[str, ...]

    @property
    def stimuli(self) -> pd.DataFrame:
        """One row per stimulus, with what the trials say of it."""
        names = ["stimulus_id", "split", *(name for name in ("category", "source") if name in self.trials)]
        stimuli = self.trials.drop_duplicates("stimulus_id")[names].reset_index(drop=True)
        return stimuli if "category" in stimuli else stimuli.assign(category=None)


def table_beside(responses: "Path") -> "Path | None":
    """Find the table of the same name beside a file of responses."""
    name = re.sub(r"(\.nii)?(\.gz)?$", "", responses.name) if ".nii" in responses.name else responses.stem
    found = [responses.with_name(name + suffix) for suffix in _TABLE_SUFFIXES]
    return next((place for place in found if place.is_file()), None)


def choose_table(responses: "Path", given: "Path | None") -> "Path":
    """Give the table that was given, or the one beside the responses.

    Raises
    ------
    MissingDataError
    """
    place = given or table_beside(responses)
    if place is None:
        raise MissingDataError(
            f"{responses} has no table of the same name (.tsv or .csv) beside it; give --table FILE, one row per response with a column "
            f"{' or '.join(ID_COLUMNS[:4])}"
        )
    return require_file(place, "table of trials")


def read_rows(path: "Path") -> dict[str, list[str]]:
    """Read a table as text, column by column. A ``.csv`` has commas or semicolons, anything else tabs.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "table of trials")
    check_table(path, "the table of trials", path.stat().st_size)
    try:
        text = path.read_text(encoding="utf-8-sig")
        start = text.partition("\n")[0]
        delimiter = "\t" if path.suffix != ".csv" else ";" if start.count(";") > start.count(",") else ","
        lines = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"table of trials {path} is not a text table: {error}; save it as UTF-8") from None
    rows = [(number, row) for number, row in enumerate(lines, start=1) if row]
    if not rows or "\0" in text:
        raise DataFormatError(
            f"table of trials {path} is {'not a text table' if rows else 'empty'}; expected a header line and a row per trial"
        )
    header = [re.sub(r"\W+", "_", name.strip()) or "column" for name in rows[0][1]]
    if len(set(header)) != len(header):
        raise DataFormatError(f"table of trials {path} names a column twice: {', '.join(header)}")
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise DataFormatError(f"table of trials {path}: row {number} has {len(row)} fields, the header {len(header)}; is it truncated?")
    if not any(name in header for name in ID_COLUMNS):
        other = "; it looks comma-separated: name it .csv" if len(header) == 1 and "," in start else ""
        raise DataFormatError(
            f"table of trials {path} has no column {', '.join(ID_COLUMNS[:3])} or {ID_COLUMNS[3]}; columns: {join_names(header, 12)}{other}"
        )
    if len(rows) == 1:
        raise DataFormatError(f"table of trials {path} has a header and no rows; expected one row per response")
    return {name: [row[place].strip() for _, row in rows[1:]] for place, name in enumerate(header)}


def make_table(path: "Path", rows: dict[str, list[str]], choices: "Choices") -> OwnTable:
    """Complete and check a table; splits are taken from it, or drawn.

    Parameters
    ----------
    path : Path
    rows : dict of column to texts, as `read_rows` gives them
    choices : Choices

    Raises
    ------
    DataFormatError, ConfigError
    """
    ids, pictures = _stimuli(path, rows)
    notes: list[str] = []
    trials = pd.DataFrame({"stimulus_id": pd.Series(ids, dtype=object)})
    for name in ("run", "session"):
        trials[name] = _numbers(path, name, rows[name]) if name in rows else 1
    for name, texts in rows.items():
        if name not in (*trials, "repeat"):
            trials[name] = _texts(texts) if name in _TEXT else column(name, texts)
    notes += _categories(path, trials)
    split, kept, said = _splits(path, trials, rows, choices)
    trials["split"] = split
    trials = trials[kept].reset_index(drop=True)
    _check_sides(path, trials)
    repeats = column("repeat", rows["repeat"])[kept] if "repeat" in rows else None
    trials = with_repeats(trials)
    if repeats is not None and repeats.dtype.kind == "i":
        trials["repeat"] = repeats.to_numpy()
    if not (trials["split"] == "train").any():
        said = [*said, f"no trial of {path.name} has the split train; a system trains on another split only if it is named"]
    first = ["stimulus_id", "split", "run", "session", "repeat"]
    trials = trials[[*first, *(name for name in trials if name not in first)]]
    return OwnTable(path, trials, pictures, np.flatnonzero(kept), "run" in rows, "session" in rows, (*notes, *said))


# ---------------------------------------------------------------------- stimuli


def _stimuli(path: "Path", rows: dict[str, list[str]]) -> tuple[list[str], dict[str, str]]:
    """Ids of all rows, and what the table calls the picture of each."""
    id_column = next(name for name in ID_COLUMNS if name in rows)
    file_column = next((name for name in FILE_COLUMNS if name in rows), id_column)
    texts = [text.replace("\\", "/") if id_column in FILE_COLUMNS else text for text in rows[id_column]]
    empty = [row for row, text in enumerate(texts) if text in MISSING]
    if empty:
        raise DataFormatError(
            f"{path}: {len(empty)} of {len(texts)} rows have no {id_column} (rows {join_names(str(row + 1) for row in empty)}); "
            "remove them from table and responses: one row per response"
        )
    odd = [text for text in texts if not text.isprintable()]
    if odd:
        raise DataFormatError(f"{path}: {id_column} {odd[0]!r} holds signs that cannot be printed")
    named = {text: text for text in texts} if id_column == "stimulus_id" else _short_names(texts)
    pictures: dict[str, str] = {}
    for text, file in zip(texts, rows[file_column], strict=True):
        told, file = named[text], text if file in MISSING else file
        if pictures.setdefault(told, file) != file:
            raise DataFormatError(
                f"{path}: stimulus {told!r} has two pictures, {pictures[told]!r} and {file!r}; give each picture its own id"
            )
    owners: dict[str, str] = {}
    for told, file in pictures.items():
        if owners.setdefault(file, told) != told:
            raise DataFormatError(f"{path}: picture {file!r} has two ids, {owners[file]!r} and {told!r}; one picture must have one id")
    return [named[text] for text in texts], pictures


def _short_names(texts: list[str]) -> dict[str, str]:
    """Names of files without their suffix and without the folders that all share, as far as they stay different."""
    paths = {text: PurePosixPath(text) for text in texts}
    shared = 0
    folders = [path.parts[:-1] for path in paths.values()]
    while all(len(parts) > shared and parts[shared] == folders[0][shared] for parts in folders):
        shared += 1
    names = {}
    for text, path in paths.items():
        inner = PurePosixPath(*path.parts[shared:])
        names[text] = str(inner.with_suffix("") if inner.suffix.lower() in SUFFIXES else inner)
    return names if len(set(names.values())) == len(names) and all(names.values()) else {text: text for text in texts}


def _categories(path: "Path", trials: pd.DataFrame) -> list[str]:
    """Make sure that a stimulus has one category and one source; BIDS' trial_type serves as category where it is one."""
    for name in ("category", "source"):
        if name in trials and not _one_each(trials, name):
            counts = trials.groupby("stimulus_id")[name].nunique(dropna=False)
            several = join_names(counts.index[counts > 1].astype(str))
            raise DataFormatError(f"{path}: stimuli with several values of {name}: {several}; give one, or rename the column")
    if "category" in trials or "trial_type" not in trials or set(trials["trial_type"]) <= _SPLITS:
        return []
    if not _one_each(trials, "trial_type"):
        return []
    trials["category"] = trials["trial_type"]
    return [f"trial_type of {path.name} is taken as the category of the images"]


def _one_each(trials: pd.DataFrame, name: str) -> bool:
    return bool((trials.groupby("stimulus_id")[name].nunique(dropna=False) == 1).all())


# ---------------------------------------------------------------------- numbers and splits


def _texts(texts: list[str]) -> "pd.Series[str]":
    return pd.Series([None if text in MISSING else text for text in texts], dtype=object)


def _numbers(path: "Path", name: str, texts: list[str]) -> "NDArray[np.int64]":
    """Read numbers of runs or sessions, also such as "run-01"; other names are numbered in their order."""
    missing = sum(text in MISSING for text in texts)
    if missing:
        raise DataFormatError(f"{path}: {missing} of {len(texts)} rows have no {name}; fill the column, or leave it out")
    found = [re.fullmatch(r"(?:run|ses|session)?[-_]?(\d{1,9})(?:\.0*)?", text, re.IGNORECASE) for text in texts]
    if all(found):
        return np.array([int(match[1]) for match in found if match], dtype=np.int64)
    return np.asarray(pd.factorize(np.array(texts, dtype=object))[0] + 1, dtype=np.int64)


def _splits(
    path: "Path", trials: pd.DataFrame, rows: dict[str, list[str]], choices: "Choices"
) -> "tuple[NDArray[np.str_], NDArray[np.bool_], list[str]]":
    every = np.ones(len(trials), dtype=bool)
    told = "split" if "split" in rows else None
    if told is None and "trial_type" in rows and trials["trial_type"].notna().all() and set(trials["trial_type"]) <= _SPLITS:
        told = "trial_type"
    if choices.split is not None:
        if told is not None or choices.splits.by != "table":
            raise ConfigError(f"--split {choices.split} is for a table that does not tell and draws none; {path} does: leave it out")
        return np.full(len(trials), choices.split), every, []
    if choices.splits.by != "table":
        drawn = draw_splits(trials, choices.splits, path)
        note = [f"the column {told} of {path.name} is not used: {choices.splits.by}s are drawn, as asked for"] if told else []
        return drawn.split, drawn.kept, [*note, *drawn.notes]
    if told is None:
        raise ConfigError(
            f"{path} has no column split (train, test, validation); add it, or let images, categories or runs be drawn and held out: "
            "--split-by image --test-share 0.1"
        )
    values = trials[told]
    if values.isna().any():
        lines = join_names(str(row + 1) for row in np.flatnonzero(values.isna().to_numpy()))
        raise DataFormatError(f"{path}: {int(values.isna().sum())} rows have no {told} (rows {lines}); say train, test or validation")
    return np.array([_SPLIT_WORDS.get(str(value), str(value)) for value in values]), every, []


def _check_sides(path: "Path", trials: pd.DataFrame) -> None:
    """Refuse images on both sides: training would refuse them later."""
    own = trials.groupby("split")["stimulus_id"].agg(set).to_dict()
    for split in HELD_OUT_SPLITS:
        both = sorted(own.get("train", set()) & own.get(split, set()))
        if both:
            raise DataFormatError(
                f"{path}: {len(both)} images have trials in train and in {split}: {join_names(both)}; give each image one split, "
                "or let images be drawn: --split-by image"
            )
