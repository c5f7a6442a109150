"""Texts in words: tables, JSON, TOML, labels and colour tables."""

import csv
import json
import tomllib
from typing import TYPE_CHECKING

from brain2pix.data.readers.own_table import ID_COLUMNS
from brain2pix.data.what_is.said import WhatIs, fact, listed, quoted, size_text
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

# Read whole only up to this; a longer table is counted up to it.
_MOST_BYTES = 16 * 2**20
_JSON_SCHEMAS = {
    "b2p-job-1": ("job", "brain2pix run {path}"),
    "b2p-sweep-1": ("state of a sweep", "brain2pix inspect {folder}"),
    "b2p-figure-1": ("sidecar of an exported figure: what it shows and the command that makes it again", ""),
    "b2p-alignment-1": ("description of an alignment of subjects", "brain2pix inspect {folder}"),
    "b2p-server-1": ("connection file of a compute server", "brain2pix server status {path}"),
    "b2p-import-1": ("note on how a dataset was imported", "brain2pix inspect, of the dataset folder"),
}
_RECORD_KEYS = {"operations", "base"}


def describe_json(path: "Path", text: str) -> WhatIs:
    """Describe a JSON file, ours by its schema or its name."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"{path} looks like JSON and is not valid: {str(error)[:200]}") from None
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else type(values).__name__
        return WhatIs(f"JSON {kind}", (fact("items", str(len(values))),) if isinstance(values, list) else (), ())
    keys = fact("keys", listed(map(str, values)))
    known = _JSON_SCHEMAS.get(str(values.get("schema")))
    if known is None and path.name == "dataset_description.json":
        kind = str(values.get("DatasetType", "raw"))
        name = fact("name", str(values.get("Name", "not told")))
        return WhatIs(f"description of a BIDS dataset ({kind})", (name,), (f"brain2pix inspect {quoted(path.parent)}",))
    if known is None and isinstance(values.get("kind"), str) and isinstance(values.get("params"), dict):
        known = _JSON_SCHEMAS["b2p-job-1"]
    if known is not None:
        what, action = known
        told = [fact("kind", str(values["kind"]))] if isinstance(values.get("kind"), str) else []
        if path.name == "job.json" and path.with_name("status.json").is_file():
            action = "brain2pix inspect {folder}"
        filled = action.format(path=quoted(path), folder=quoted(path.parent))
        return WhatIs(f"JSON: {what}", (*told, keys), (filled,) if filled else ())
    if _RECORD_KEYS <= set(values) or "stimulation" in str(values.get("schema", "")):
        return WhatIs("JSON: record of a stimulation", (keys,), (f"brain2pix stimulate RUN --record {quoted(path)}",))
    if values.get("SchemaVersion"):
        return WhatIs("JSON: sidecar of a native dataset, what the numbers beside it mean", (keys,))
    named = {
        "scores.json": "scores of a run",
        "settings.json": "settings of a run",
        "status.json": "state of a run",
        "model.json": "a model",
    }
    if path.name in named:
        return WhatIs(f"JSON: {named[path.name]}", (keys,), (f"brain2pix inspect {quoted(path.parent)}",))
    return WhatIs("JSON", (keys,), ())


def describe_lines(path: "Path", start: str) -> WhatIs:
    """Describe a file of one JSON object a line, by its first line."""
    try:
        values = json.loads(start.splitlines()[0])
    except (ValueError, RecursionError, IndexError) as error:
        raise DataFormatError(f"{path} looks like lines of JSON, and the first is none: {str(error)[:200]}") from None
    facts = (fact("keys", listed(map(str, values)) if isinstance(values, dict) else "none"), fact("size", size_text(path.stat().st_size)))
    if path.name == "events.jsonl":
        return WhatIs("JSON lines: events of a run", facts, (f"brain2pix inspect {quoted(path.parent)}",))
    return WhatIs("JSON lines", facts)


def describe_toml(path: "Path", text: str) -> WhatIs:
    """Describe settings or a plan of a sweep."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataFormatError(f"{path} is not valid TOML: {error}") from None
    keys = fact("keys", listed(map(str, values)))
    if "subjects" in values and {"methods", "method", "cells", "seeds"} & set(values):
        return WhatIs("TOML: plan of a sweep", (keys,), (f"brain2pix sweep {quoted(path)} OUT",))
    if {"sha256", "title", "file"} <= set(values):
        return WhatIs("TOML: card of a weight file", (fact("title", str(values["title"])), keys), ("brain2pix weights list",))
    return WhatIs("TOML: settings", (keys,), (f"brain2pix train SUBJECT --method NAME --settings {quoted(path)}",))


def describe_table(path: "Path", delimiter: str) -> WhatIs | None:
    """Describe a table with a header line; None if the lines are no table."""
    header, rows, ragged, complete = _scan(path, delimiter)
    if len(header) < 2 and not set(header) & {*ID_COLUMNS, "participant_id"}:
        return None
    more = "" if complete else f" in the first {size_text(_MOST_BYTES)}"
    facts = [fact("rows", f"{rows:,}{more}"), fact("columns", f"{len(header)}: {listed(header)}")]
    facts += [fact("note", f"{ragged:,} lines have another number of fields than the header")] if ragged else []
    kind = "tab-separated table" if delimiter == "\t" else "table separated by " + {",": "commas", ";": "semicolons"}[delimiter]
    what, action = _which_table(path, set(header))
    return WhatIs(f"{kind}{what}", tuple(facts), (action,) if action else ())


def _which_table(path: "Path", columns: set[str]) -> tuple[str, str]:
    table = f"--table {quoted(path)}"
    if path.name == "stimuli.tsv" and {"stimulus_id", "file"} <= columns:
        return ": stimuli of a native dataset", ""
    if "split" in columns and "stimulus_id" in columns:
        return ": trials with their split", f"with their responses: brain2pix import own RESPONSES OUT {table}"
    if {"onset", "duration"} <= columns:
        return ": events of a run (BIDS)", "responses must be estimated from the scans first, one for each event; then import those"
    if {"index", "name"} <= columns:
        return ": names of labels", "put it beside the volume of labels, with the same name"
    if "participant_id" in columns:
        return ": participants of a BIDS dataset", f"brain2pix inspect {quoted(path.parent)}"
    if columns & set(ID_COLUMNS):
        return ": perhaps trials, without a split", f"with their responses: brain2pix import own RESPONSES OUT {table} --split-by image"
    if {"x0", "y0"} <= columns or {"angle", "eccentricity"} <= columns or {"angle", "eccen"} <= columns:
        return ": receptive fields of voxels or vertices, by its columns", f"brain2pix prf import {quoted(path)} SUBJECT"
    return "", ""


def _scan(path: "Path", delimiter: str) -> tuple[list[str], int, int, bool]:
    """Header, number of rows, rows of another length, and whether the end was reached."""
    rows = ragged = read = 0
    header: list[str] = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        while read < _MOST_BYTES:
            line = file.readline(2**20)
            if not line:
                return header, rows, ragged, True
            read += len(line)
            if not line.strip():
                continue
            if not header:
                header = _fields(line, delimiter)
                continue
            rows += 1
            count = len(_fields(line, delimiter)) if '"' in line else line.count(delimiter) + 1
            ragged += count != len(header)
    return header, rows, ragged, False


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return line.split(delimiter)


def describe_text(path: "Path", start: str) -> WhatIs:
    """Describe any other text by its beginning."""
    first = start.splitlines()[0][:100] if start.splitlines() else ""
    if start.startswith("#!ascii label"):
        count = start.splitlines()[1].strip() if len(start.splitlines()) > 1 else "?"
        return WhatIs("FreeSurfer label: vertices of one area", (fact("vertices", count[:20]),), ("drag its surface into the window",))
    colours = _colour_rows(start)
    if colours:
        return WhatIs(
            "FreeSurfer colour table: names of labels",
            (fact("names", listed(colours)),),
            ("put it beside the volume of labels, with the same name",),
        )
    return WhatIs("text", (fact("begins", first), fact("size", size_text(path.stat().st_size))), ())


def _colour_rows(text: str) -> list[str]:
    """Names in lines of index, name, red, green, blue, alpha; empty if the lines are something else."""
    whole = text[: text.rfind("\n") + 1]  # what was read may end within a line
    lines = [line.split() for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines or any(len(words) < 5 or not words[0].isdigit() or not all(_byte(word) for word in words[-4:]) for words in lines):
        return []
    return [words[1] for words in lines]


def _byte(word: str) -> bool:
    return word.isdigit() and int(word[:4]) < 256


def as_text(raw: bytes) -> str | None:
    """Give the beginning of a file as text; None if it is no text."""
    if b"\0" in raw[:4096]:
        return None
    for cut in range(4):  # a character of several bytes may be cut at the end
        try:
            text = raw[: len(raw) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        odd = sum(1 for sign in text if not sign.isprintable() and not sign.isspace())
        return text if odd <= 3 + len(text) // 50 else None
    return None


def read_whole(path: "Path", what: str) -> str:
    """Read a text that must be whole to be understood.

    Raises
    ------
    DataFormatError
        If it is too long to be one of ours, or no text.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise DataFormatError(f"{path} looks like {what} of {size_text(size)}; expected at most {size_text(_MOST_BYTES)}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFormatError(f"{path} looks like {what} and is not UTF-8: {error}") from None
