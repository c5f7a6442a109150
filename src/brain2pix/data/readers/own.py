"""The files of one's own laboratory: responses with a table, and what lies beside them."""

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._bdata import choose_areas
from brain2pix.data.readers._hdf5 import is_hdf5
from brain2pix.data.readers._reading import first_bytes
from brain2pix.data.readers.base import Dataset, Found, subject_name
from brain2pix.data.readers.own_anatomy import read_anatomy
from brain2pix.data.readers.own_gathered import ChosenResponses, SeriesResponses
from brain2pix.data.readers.own_images import open_pictures
from brain2pix.data.readers.own_responses import NPY_MAGIC, MatrixSource, SeriesSource, open_responses
from brain2pix.data.readers.own_table import ID_COLUMNS, OwnTable, choose_table, make_table, read_rows, table_beside
from brain2pix.data.readers.own_voxels import place_voxels
from brain2pix.data.volumes import require_file, stem
from brain2pix.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices

UNITS = ("psc", "z-run", "z-session", "z-train", "a.u.")
SUFFIXES = (".npy", ".nii", ".nii.gz", ".h5", ".hdf5")
_MOST_SIDECAR_BYTES = 2**20


def sniff(path: "Path") -> Found | None:
    """Say that a file is one of responses, with a table of the same name beside it; or None."""
    try:
        if not path.is_file() or not path.name.endswith(SUFFIXES):
            return None
        is_responses = first_bytes(path, 6) == NPY_MAGIC or is_hdf5(path) or ".nii" in path.name
        table = table_beside(path) if is_responses else None
        if table is None:
            return None
        with table.open(encoding="utf-8-sig") as file:
            header = re.split(r"[\t,;]", file.readline(100_000).strip())
    except (OSError, ValueError):
        return None
    return Found(f"responses of one's own, with their table {table.name}") if set(header) & set(ID_COLUMNS) else None


@contextmanager
def open_dataset(path: "Path", choices: "Choices") -> "Iterator[Dataset]":
    """Open responses with what is given beside them; the responses stay on disk.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    _refuse(choices)
    require_file(path, "responses")
    subject = _subject(path, choices)
    place = choose_table(path, choices.own.table)
    rows = read_rows(place)
    source = open_responses(path, len(next(iter(rows.values()))), choices.own.dataset)
    try:
        yield _dataset(source, make_table(place, rows, choices), subject, choices)
    finally:
        if isinstance(source, SeriesSource):
            source.close()


def _dataset(source: MatrixSource | SeriesSource, table: OwnTable, subject: str, choices: "Choices") -> Dataset:
    path = source.path
    groups, scaled = _groups(table, choices)
    unit, said = _unit(source, choices)
    voxels = place_voxels(source, choices)
    anatomy = read_anatomy(path, voxels, choices)
    inner = source if isinstance(source, MatrixSource) else SeriesResponses(source, voxels.placement.ijk)
    regions = voxels.regions
    areas = choose_areas(regions.areas, choices.areas, path)
    simulated = _sidecar(path).get("Simulated") is True
    return Dataset(
        title=f"{'simulated data' if simulated else 'own data'} ({path.name})",
        subject=subject,
        trials=table.trials,
        stimuli=table.stimuli,
        responses=ChosenResponses(inner, table.kept, groups),
        areas=areas,
        placement=voxels.placement,
        unit=scaled or unit,
        field_of_view_deg=choices.field_of_view_deg or float("nan"),
        pictures=None if choices.images is None else open_pictures(choices.images, table.pictures),
        pictures_wanted="--images FOLDER, where the names in the table lead to files, or a stack (.npy, .h5) with numbers from 0",
        unknown=tuple(_unknown(table, unit, choices)),
        notes=(*table.notes, *said, *voxels.notes, *regions.notes, *anatomy.notes),
        simulated=simulated,
        t1w=anatomy.t1w,
        meshes=anatomy.meshes,
        sulc=anatomy.sulc,
        descriptions={name: regions.descriptions[name] for name in areas},
    )


def _refuse(choices: "Choices") -> None:
    if choices.masks is not None:
        raise ConfigError("--masks is for the masks of published scans; give your own one by one as --regions FILE")
    if choices.own.unit is not None and choices.own.unit not in UNITS:
        raise ConfigError(f"unit {choices.own.unit!r} is not known; expected {', '.join(UNITS)}")


def _subject(path: "Path", choices: "Choices") -> str:
    found = re.search(r"sub-([A-Za-z0-9]+)", path.name) or re.search(r"sub-([A-Za-z0-9]+)", path.parent.name)
    name = subject_name(choices, found[1] if found else "01")
    if not re.fullmatch(r"sub-[A-Za-z0-9]+", name):
        raise ConfigError(f"subject {choices.subject!r} cannot be a name of BIDS; expected letters and digits, such as sub-01")
    return name


def _groups(table: OwnTable, choices: "Choices") -> "tuple[NDArray[np.int64] | None, str]":
    """Trials that are scaled together, within each split, and the unit that this gives."""
    if choices.zscore == "none":
        return None, ""
    if not (table.has_runs if choices.zscore == "run" else table.has_sessions):
        raise ConfigError(f"{table.path} has no column {choices.zscore}: --zscore {choices.zscore} cannot be done")
    names = ["split", "session", "run"] if choices.zscore == "run" else ["split", "session"]
    groups = table.trials.groupby(names).ngroup().to_numpy().astype(np.int64)
    counts = np.bincount(groups)
    if counts.min() < 2:
        raise ConfigError(
            f"{table.path}: {int((counts < 2).sum())} of {counts.size} parts of a {choices.zscore} in one split have one trial only: "
            f"--zscore {choices.zscore} cannot be done"
        )
    return groups, f"z-{choices.zscore}"


def _unit(source: MatrixSource | SeriesSource, choices: "Choices") -> tuple[str, list[str]]:
    """Give the unit that the user, the sidecar or the file itself says."""
    values = _sidecar(source.path)
    told = choices.own.unit or values.get("Units") or _text(source.attributes.get("unit", source.attributes.get("units")))
    if choices.zscore != "none":
        return "a.u.", [f"responses in {told} are scaled again, within each {choices.zscore}"] if str(told).startswith("z-") else []
    if told is None or told in UNITS:
        return str(told or "a.u."), []
    return "a.u.", [
        f"the unit {str(told)[:40]!r} of {source.path.name} is not known here, a.u. is written; --unit gives {', '.join(UNITS)}"
    ]


def _unknown(table: OwnTable, unit: str, choices: "Choices") -> "Iterator[str]":
    if unit == "a.u." and choices.zscore == "none" and choices.own.unit is None:
        yield "unit of the responses: a.u.; --unit gives it"
    if not table.has_runs:
        yield "runs, so that no response can be scaled within its run"
    if choices.field_of_view_deg is None:
        yield "size of the pictures: --field-of-view-deg gives it"


def _sidecar(path: "Path") -> dict[str, Any]:
    """Read a JSON of the same name, if there is one that can be read."""
    place = path.with_name(f"{stem(path) if path.suffix != '.npy' else path.stem}.json")
    try:
        if not place.is_file() or place.stat().st_size > _MOST_SIDECAR_BYTES:
            return {}
        values = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _text(value: Any) -> str | None:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else None
