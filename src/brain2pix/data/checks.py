"""The checks that a dataset folder must pass, each with one message that says what to do."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from brain2pix.data.tables import read_json
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

# Trials without a picture on the screen: their stimulus needs no image file.
IMAGELESS_SPLITS = frozenset({"imagery"})


def find_subjects(root: "Path") -> list[str]:
    """Names of the subjects of a dataset folder ("sub-01", ...)."""
    return sorted(path.name for path in root.glob("sub-*") if path.is_dir())


def find_root(path: "Path") -> "tuple[Path, str | None]":
    """Tell the dataset folder from the subject's folder in it.

    Returns
    -------
    root : Path
    name : str or None, the subject whose folder was given

    Raises
    ------
    MissingDataError, DataFormatError
    """
    if not path.exists():
        raise MissingDataError(f"{path} does not exist; give the folder of a dataset or of one of its subjects")
    if not path.is_dir():
        raise DataFormatError(f"{path} is a file; give the folder of a dataset or of one of its subjects")
    place = path.resolve()
    if place.name.startswith("sub-") and not (place / "dataset_description.json").exists():
        return place.parent, place.name
    return place, None


def choose_subject(root: "Path", given: str | None, wanted: str | None) -> str:
    """Name of the subject to open: that of the folder given, the one asked for, or the only one there is.

    Raises
    ------
    ConfigError
        If the one asked for is not there, or there are several and none is named.
    """
    found = find_subjects(root)
    name = given if wanted is None else _full_name(wanted)
    if given is not None and name != given:
        raise ConfigError(f"{root / given} is the folder of {given}, but subject {wanted!r} was asked for")
    if name is None:
        if len(found) > 1:
            raise ConfigError(f"{root} holds {len(found)} subjects, say which one: {', '.join(found)}")
        if not found:
            raise MissingDataError(f"{root} holds no subject folder (sub-01, ...)")
        return found[0]
    if name not in found:
        raise ConfigError(f"{root}: {unknown_name('subject', name, found)}")
    return name


def _full_name(subject: str) -> str:
    return subject if subject.startswith("sub-") else f"sub-{subject}"


def read_description(root: "Path") -> dict[str, Any]:
    """Read and check dataset_description.json.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    place = root / "dataset_description.json"
    if not place.exists():
        raise MissingDataError(
            f"{root} holds no dataset_description.json; is it a native folder? `brain2pix simulate` writes one to compare with"
        )
    description = read_json(place, "dataset description")
    missing = [key for key in ("Name", "BIDSVersion") if not description.get(key)]
    if missing:
        raise DataFormatError(f"dataset description {place} has no {' and no '.join(missing)}; BIDS requires them")
    kind = description.get("DatasetType", "raw")
    if kind != "derivative":
        raise DataFormatError(
            f"dataset description {place}: DatasetType is {kind!r}, expected 'derivative' (single-trial responses, not raw scans)"
        )
    return description


def check_images(root: "Path", trials: "pd.DataFrame", stimuli: "pd.DataFrame") -> None:
    """Refuse trials whose stimulus has no row or no image file.

    Raises
    ------
    MissingDataError
        Naming the first ids and how many there are.
    """
    shown = trials.loc[~trials["split"].isin(IMAGELESS_SPLITS), "stimulus_id"].drop_duplicates()
    unknown = sorted(set(shown) - set(stimuli["stimulus_id"]))
    if unknown:
        raise MissingDataError(
            f"{len(unknown)} stimuli of the trial table are not in {root / 'stimuli' / 'stimuli.tsv'}: {join_names(unknown)}"
        )
    rows = stimuli[stimuli["stimulus_id"].isin(set(shown))]
    absent = [
        f"{key} ({'no file named' if pd.isna(file) else file})"
        for key, file in zip(rows["stimulus_id"], rows["file"], strict=True)
        if pd.isna(file) or not (root / "stimuli" / file).is_file()
    ]
    if absent:
        raise MissingDataError(
            f"{len(absent)} stimuli have no image in {root / 'stimuli'}: {join_names(absent)}; add the files, or remove their trials from "
            "betas and table"
        )


def field_of_view(stimuli: "pd.DataFrame", place: "Path") -> float:
    """Edge of the centred square that is cut out of each stimulus [degrees]."""
    lacking = [name for name in ("width_deg", "height_deg") if name not in stimuli]
    if lacking:
        raise DataFormatError(
            f"stimulus table {place} has no column {', '.join(lacking)}; give the size of the pictures in degrees of visual angle"
        )
    try:
        edges = stimuli[["width_deg", "height_deg"]].astype(float).min(axis=1).dropna().unique()
    except ValueError:
        raise DataFormatError(f"stimulus table {place}: width_deg and height_deg must be numbers") from None
    if len(edges) != 1 or not edges[0] > 0:
        got = join_names(f"{edge:g}" for edge in edges) or "none"
        raise DataFormatError(f"stimulus table {place}: expected one positive size in degrees for all stimuli, got {got}")
    return float(edges[0])
