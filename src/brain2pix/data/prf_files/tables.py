"""Plain tables of receptive fields: a header line, then one line for each voxel or vertex."""

import csv
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.readers._reading import check_table, reading
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TABLES = (".tsv", ".csv", ".txt")
_MISSING = ("", "n/a", "na", "nan", "none", "null")
_MOST_COLUMNS = 1000
_SIDES = {"l": "L", "lh": "L", "left": "L", "r": "R", "rh": "R", "right": "R"}


def read_columns(path: "Path") -> "tuple[dict[str, NDArray[np.float64]], NDArray[np.str_] | None]":
    """Read the numbers of a table; a column that holds text is left out.

    Parameters
    ----------
    path : Path, fields with tabs, commas or semicolons between them

    Returns
    -------
    columns : dict of name, in small letters, to float64 array, [n], NaN for ``n/a`` and the like
    hemi : array of "L", "R", "n/a", [n], from a column `hemi` or `hemisphere`; or None

    Raises
    ------
    MissingDataError, DataFormatError
        If it is no table, is cut off in a line, or a number in a column of numbers is none.
    """
    with reading(path, "table"):
        check_table(path, "the table", path.stat().st_size)
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            try:
                rows = [row for row in csv.reader(file, delimiter=_delimiter(first)) if row]
            except csv.Error as error:
                raise DataFormatError(f"table {path} is no text table: {error}") from None
    if len(rows) < 2:
        raise DataFormatError(f"table {path} has no lines after its header; expected one for each voxel or vertex")
    header = [name.strip().lower() for name in rows[0]]
    if len(set(header)) != len(header) or len(header) > _MOST_COLUMNS:
        raise DataFormatError(f"table {path} names a column twice, or has more than {_MOST_COLUMNS}; columns: {', '.join(header)[:200]}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataFormatError(f"table {path}: line {number} has {len(row)} fields, the header {len(header)}; is the file truncated?")
    texts = dict(zip(header, zip(*rows[1:], strict=True), strict=True))
    found = {name: _numbers(path, name, column) for name, column in texts.items()}
    sides = next((texts[name] for name in ("hemi", "hemisphere") if name in texts), None)
    return {name: column for name, column in found.items() if column is not None}, None if sides is None else _hemispheres(sides)


def whole_numbers(path: "Path", name: str, column: "NDArray[np.float64]") -> "NDArray[np.int64]":
    """Turn a column of indices into integers.

    Raises
    ------
    DataFormatError
    """
    with np.errstate(invalid="ignore"):
        wrong = ~(np.isfinite(column) & (column == np.round(column)) & (np.abs(column) < 2**31))
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0]) + 2
        raise DataFormatError(f"table {path}: column {name}, line {line}: expected a whole number, got {column[line - 2]:g}")
    return column.astype(np.int64)


def _delimiter(header: str) -> str:
    return max("\t,;", key=header.count)


def _numbers(path: "Path", name: str, texts: tuple[str, ...]) -> "NDArray[np.float64] | None":
    """Numbers of a column; None if its first words are text, for then it is no column of numbers."""
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        word = text.strip()
        if word.lower() in _MISSING:
            continue
        try:
            values[row] = float(word)
        except ValueError:
            if not np.isfinite(values).any():
                return None
            raise DataFormatError(f"table {path}: column {name}, line {row + 2}: expected a number, got {word[:40]!r}") from None
    return values


def _hemispheres(texts: tuple[str, ...]) -> "NDArray[np.str_]":
    return np.array([_SIDES.get(text.strip().lower(), "n/a") for text in texts])
