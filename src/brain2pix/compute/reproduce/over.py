"""The orderings of a paper over several subjects: what each reproduction found, their mean, and an interval over subjects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from brain2pix.compute.reproduce.compare import MISSING, judge_interval
from brain2pix.compute.reproduce.folder import NOTE
from brain2pix.data.tables import read_table, write_table
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.files import read_json_if_there

TABLE = "orderings.tsv"
_COLUMNS = ("ordering", "judge", "bound", "difference")


@dataclass(frozen=True)
class Over:
    """One ordering over several subjects.

    Parameters
    ----------
    ordering, judge : str
    bound : float, the claim is that the difference is above 0, or, where this is not 0, below this
    differences : tuple of float, of each reproduction; NaN where it is missing
    mean, low, high : float, over the reproductions that have it, with the 95 % interval of Student's t; NaN where there are fewer than two
    """

    ordering: str
    judge: str
    bound: float
    differences: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the interval lies on the side that the ordering claims."""
        return MISSING if np.isnan(self.mean) else judge_interval(self.low, self.high, self.bound or None)


def over_reproductions(folders: Sequence[Path]) -> list[Over]:
    """Put the orderings of several reproductions together.

    Parameters
    ----------
    folders : sequence of Path, of one method and plan, each on a subject of its own

    Returns
    -------
    list of Over, in the order of the first folder

    Raises
    ------
    ConfigError
        If there are fewer than two, or they are of different methods or plans, or of the same subject.
    MissingDataError
        If one is no reproduction with a report.
    """
    _check(folders)
    tables = [read_table(folder / TABLE, "orderings of a reproduction", _COLUMNS).set_index(["ordering", "judge"]) for folder in folders]
    found = []
    for ordering, judge, bound in tables[0].reset_index()[["ordering", "judge", "bound"]].itertuples(index=False):
        values = [float(table["difference"].get((ordering, judge), np.nan)) for table in tables]
        found.append(Over(ordering, judge, float(bound), tuple(values), *_interval(np.array(values))))
    return found


def write_over(path: Path, found: Sequence[Over], folders: Sequence[Path]) -> None:
    """Write them as a table: one row for each ordering, one column for each reproduction."""
    rows = [
        {"ordering": each.ordering, "judge": each.judge, "bound": each.bound, "verdict": each.verdict}
        | {"mean": each.mean, "low": each.low, "high": each.high, "n": int(np.isfinite(each.differences).sum())}
        | dict(zip(map(str, folders), each.differences, strict=True))
        for each in found
    ]
    write_table(path, pd.DataFrame(rows))


def _check(folders: Sequence[Path]) -> None:
    if len(folders) < 2:
        raise ConfigError(f"an interval over subjects needs two reproductions or more, got {len(folders)}")
    notes = {folder: read_json_if_there(folder / NOTE) for folder in folders}
    for folder, note in notes.items():
        if not note or not (folder / TABLE).is_file():
            raise MissingDataError(f"{folder} is no reproduction with a report ({NOTE}, {TABLE}); `brain2pix reproduce` makes one")
    for key in ("method", "plan"):
        if len(values := {str(note.get(key)) for note in notes.values()}) > 1:
            raise ConfigError(f"these reproductions differ in their {key}: {', '.join(sorted(values))}; give those of one {key}")
    data = [str(note.get("data")) for note in notes.values()]
    if twice := sorted({each for each in data if data.count(each) > 1} or ([str(folders[0])] if len(notes) < len(folders) else [])):
        raise ConfigError(f"{', '.join(twice)} is there twice; give one reproduction of each subject")


def _interval(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    if known.size < 2:
        return (np.nan,) * 3
    half = student.ppf(0.975, known.size - 1) * known.std(ddof=1) / np.sqrt(known.size)
    return float(known.mean()), float(known.mean() - half), float(known.mean() + half)
