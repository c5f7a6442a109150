"""Folders in words: recognised by what lies in them, with a bounded look."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from brain2pix.data.images import SUFFIXES
from brain2pix.data.readers import READERS, sniff
from brain2pix.data.what_is.said import WhatIs, fact, listed, quoted
from brain2pix.errors import MissingDataError
from brain2pix.files import read_json_if_there

# Of one folder, names that are looked at; a folder of stimuli has thousands.
_MOST_NAMES = 20_000
_MOST_FOLDERS = 200
_MOST_JSON_BYTES = 16 * 2**20
_DEEPEST = 5  # folders between a file and its dataset
_NOT_YET = "it is not imported yet"


def describe_folder(path: Path) -> WhatIs:
    """Describe a folder.

    Raises
    ------
    MissingDataError
        If it cannot be listed, or is empty.
    """
    names = _names(path)
    if not names:
        raise MissingDataError(f"{path} is an empty folder; give one with files in it")
    for look in (_ours, _bids, _published, _foreign):
        found = look(path, names)
        if found is not None:
            return found
    return _by_suffix(path, names)


def _ours(path: Path, names: list[str]) -> WhatIs | None:
    there = set(names)
    if {"alignment.json", "alignment.safetensors"} <= there:
        return _alignment(path)
    if "reproduce.json" in there:
        return _reproduction(path, there)
    if "sweep.json" in there:
        tables = [name for name in names if name.endswith((".tsv", ".md"))]
        return WhatIs(
            "sweep: many runs by one plan",
            (fact("tables", listed(tables) or "none yet"),),
            (f"goes on: brain2pix sweep {_plan(path)} {quoted(path)}",),
        )
    figures = [name for name in names if name.endswith((".png", ".svg", ".pdf")) and f"{Path(name).stem}.json" in there]
    if figures and _json(path / f"{Path(figures[0]).stem}.json").get("schema") == "b2p-figure-1":
        return WhatIs(
            "exported figures with their sidecars", (fact("figures", listed(figures)),), ("each NAME.json says how to make it again",)
        )
    return None


def _plan(path: Path) -> str:
    plan = _json(path / "sweep.json").get("plan")
    return quoted(Path(plan)) if isinstance(plan, str) else "PLAN"


def _reproduction(path: Path, there: set[str]) -> WhatIs:
    about = _json(path / "reproduce.json")
    paper, plan, data = (str(about.get(key)) for key in ("method", "plan", "data"))
    rows = about.get("rows")
    facts = (
        fact("paper", f"{paper}, plan {plan}"),
        fact("data", f"{data}{' (simulated)' * (about.get('simulated') is True)}"),
        fact("rows", str(len(rows) if isinstance(rows, list) else 0)),
        fact("report", "report.html" if "report.html" in there else "none yet"),
    )
    again = f"brain2pix reproduce {quoted(Path(paper))} {quoted(Path(data))} {quoted(path)} --plan {quoted(Path(plan))}"
    goes_on = f"goes on: {f'brain2pix run {quoted(path)}' if 'job.json' in there else again}"
    return WhatIs("evaluation of a paper (brain2pix reproduce)", facts, (goes_on,))


def _alignment(path: Path) -> WhatIs:
    about = _json(path / "alignment.json")
    subjects = [one for one in about.get("subjects") or () if isinstance(one, dict)] if isinstance(about.get("subjects"), list) else []
    made = "simulated " if about.get("simulated") else ""
    facts = [fact("subject", f"{one.get('key')}: {one.get('n_voxels')} voxels of {one.get('title')}") for one in subjects]
    fitted, components = _object(about, "fitted_on"), _object(about, "components")
    facts.append(fact("fitted", f"on {fitted.get('n_rows')} rows of split {fitted.get('split')} ({fitted.get('of')})"))
    facts.append(fact("space", str(about.get("common_space"))))
    facts.append(fact("kept", f"{components.get('n')} components"))
    action = "python: brain2pix.data.alignment_files.load_alignment(FOLDER), then .transform(responses, subject)"
    return WhatIs(
        f"alignment of {len(subjects)} {made}subjects", tuple(facts), (action, "KEY_split-NAME_responses.npy are the aligned responses")
    )


def _json(file: Path) -> dict[str, Any]:
    """Values of a JSON file of a foreign folder; empty if it is too long or too deep to be a description."""
    try:
        return read_json_if_there(file) if file.is_file() and file.stat().st_size <= _MOST_JSON_BYTES else {}
    except RecursionError:
        return {}


def _object(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _bids(path: Path, names: list[str]) -> WhatIs | None:
    inside = names if path.name.startswith(("sub-", "ses-")) else []
    subjects = sorted(name for name in names if name.startswith("sub-") and (path / name).is_dir())
    described = "dataset_description.json" in names
    if not described and not (subjects and any(_scans(path / name) for name in subjects[:3])):
        return _raw_subject(path) if inside else None
    about = _json(path / "dataset_description.json")
    kind = str(about.get("DatasetType", "raw"))
    facts = [fact("name", str(about.get("Name", "not told"))), fact("subjects", f"{len(subjects)}: {listed(subjects)}")]
    if kind == "derivative":
        several = tuple(f"brain2pix inspect {quoted(path)} --subject-name {name}" for name in subjects[:3])
        if not subjects or any(_names(path / subjects[0] / "prf")) or _has_responses(path / subjects[0] / "func"):
            return WhatIs("dataset in the native format (BIDS derivative)", tuple(facts), several)
        facts += [fact("files", text) for text in _scans(path / subjects[0])]
        facts.append(fact("note", "no responses of single trials are in it (*_betas.h5 or *_statmap.nii.gz): estimate them first"))
        return WhatIs("BIDS derivative dataset", tuple(facts), ("then: brain2pix import own RESPONSES OUT --table TABLE.tsv",))
    first = subjects[0] if subjects else ""
    facts += [fact("scans", text) for text in _scans(path / first)] if first else []
    facts += [fact("note", "raw scans: responses to single stimuli must be estimated first (preprocessing, then a GLM of single trials)")]
    return WhatIs(f"BIDS dataset ({kind})", tuple(facts), ("then: brain2pix import own RESPONSES OUT --table TABLE.tsv",))


def _has_responses(func: Path) -> bool:
    return any("_betas.h5" in name or "_statmap.nii" in name for name in _names(func))


def _raw_subject(path: Path) -> WhatIs | None:
    scans = _scans(path)
    if not scans:
        return None
    note = fact("note", "responses to single stimuli must be estimated first (preprocessing, then a GLM of single trials)")
    return WhatIs(
        "scans of one subject (BIDS)",
        (*(fact("scans", text) for text in scans), note),
        ("brain2pix import own RESPONSES OUT --table TABLE.tsv",),
    )


def _scans(subject: Path) -> list[str]:
    """Say what a subject's folder of BIDS holds, by suffix, with or without sessions."""
    counts: dict[str, int] = {}
    sessions = [name for name in _names(subject) if name.startswith("ses-")] or [""]
    for session in sessions[:100]:
        for kind in ("anat", "func", "fmap", "dwi", "beh"):
            for name in _names(subject / session / kind):
                if name.endswith((".nii", ".nii.gz", "_events.tsv")):
                    suffix = name.removesuffix(".gz").rsplit(".", 1)[0].rsplit("_", 1)[-1]
                    counts[f"{kind} {suffix}"] = counts.get(f"{kind} {suffix}", 0) + 1
    more = f" in {len(sessions)} sessions" if sessions != [""] else ""
    return [f"{subject.name}: {', '.join(f'{count} x {name}' for name, count in sorted(counts.items()))}{more}"] if counts else []


def _published(path: Path, names: list[str]) -> WhatIs | None:
    found = sniff(path)
    if found is not None:
        kind, said = found
        return WhatIs(
            said.text, (fact("holds", listed(names)),), (f"brain2pix import {kind} {quoted(path)} OUT",) if said.has_responses else ()
        )
    there = set(names)
    if "training_split" in there and "roi_masks" in there:
        pictures = len(_names(path / "training_split" / "training_images"))
        fmri = [name for name in _names(path / "training_split" / "training_fmri") if name.endswith(".npy")]
        facts = (fact("images", f"{pictures} training pictures"), fact("responses", listed(fmri)))
        return WhatIs("subject of the Algonauts 2023 challenge, by its layout", facts, (_NOT_YET,))
    if "nsddata" in there or any(name.startswith("nsddata") for name in names):
        return WhatIs("Natural Scenes Dataset, by its layout", (fact("holds", listed(names)),), (_NOT_YET,))
    betas = [name for name in names if name.startswith(("betas_session", "lh.betas_session", "rh.betas_session"))]
    if betas:
        return WhatIs(
            "betas of the Natural Scenes Dataset, by their names", (fact("sessions", f"{len(betas)}: {listed(betas, 4)}"),), (_NOT_YET,)
        )
    files = [name for name in names if (path / name).is_file() and name.lower().endswith((".mat", ".h5", ".hdf5", ".npz"))]
    told = [(name, one) for name in files[:20] if (one := sniff(path / name)) is not None and one[0] != "own"]
    if told:
        files_told = tuple(fact("file", f"{name}: {one[1].text}") for name, one in told)
        actions = tuple(f"brain2pix import {one[0]} {quoted(path / name)} OUT" for name, one in told if one[1].has_responses)
        return WhatIs("folder with files of a published dataset", files_told, actions[:3])
    return None


def _foreign(path: Path, names: list[str]) -> WhatIs | None:
    there = set(names)
    if {"surf", "mri"} <= there or {"surf", "label"} <= there:
        surfaces = [name for name in _names(path / "surf") if name.startswith(("lh.", "rh."))]
        labels = [name for name in _names(path / "label") if name.endswith(".annot")]
        facts = [fact("surfaces", listed(surfaces, 14)), fact("labels", listed(labels, 6) or "none")]
        return WhatIs(
            "FreeSurfer subject", tuple(facts), (f"with your responses: brain2pix import own RESPONSES OUT --surfaces {quoted(path)}",)
        )
    if any(name in there for name in ("lh.white", "lh.pial", "rh.white", "rh.pial")):
        surfaces = [name for name in names if name.startswith(("lh.", "rh."))]
        action = f"with your responses: brain2pix import own RESPONSES OUT --surfaces {quoted(path)}"
        return WhatIs("FreeSurfer surfaces", (fact("surfaces", listed(surfaces, 14)),), (action,))
    return None


def _by_suffix(path: Path, names: list[str]) -> WhatIs:
    """Count the files of any other folder by their suffix."""
    counts: dict[str, int] = {}
    for name in names:
        suffix = (
            "folders" if (path / name).is_dir() else "".join(Path(name).suffixes[-2:] if name.endswith(".gz") else Path(name).suffixes[-1:])
        )
        counts[suffix or "no suffix"] = counts.get(suffix or "no suffix", 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])
    facts = [fact("holds", listed(f"{count} {suffix}" for suffix, count in most)), fact("names", listed(names, 6))]
    pictures = sum(name.lower().endswith(SUFFIXES) for name in names)
    if not pictures and counts.get("folders") == len(names):  # one folder for each category
        inside = [_names(path / name) for name in names[:_MOST_FOLDERS]]
        pictures = sum(sum(one.lower().endswith(SUFFIXES) for one in each) for each in inside if len(each))
        if pictures and pictures * 2 > sum(map(len, inside)):
            said = f"pictures in {len(names)} folders, {pictures:,} in the first {len(inside)}"
            return WhatIs(said, tuple(facts), (f"pictures of an import: --images {quoted(path)}",))
        pictures = 0
    if pictures > len(names) // 2:
        return WhatIs(f"folder of {pictures:,} pictures", tuple(facts), (f"pictures of an import: --images {quoted(path)}",))
    if root_of(path) is not None:
        return WhatIs("folder of a BIDS dataset", tuple(facts))
    known = ", ".join(READERS)
    return WhatIs("folder of no known layout", tuple(facts), (f"inspect the file with the responses; kinds that are imported: {known}",))


def root_of(path: Path) -> Path | None:
    """Dataset folder that a file or folder lies in; None if it lies in none."""
    parents = path.absolute().parents
    return next((folder for folder in parents[:_DEEPEST] if (folder / "dataset_description.json").is_file()), None)


def _names(path: Path) -> list[str]:
    """Names in a folder, sorted, hidden ones left out; empty if it is none."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in islice(entries, _MOST_NAMES) if not entry.name.startswith("."))
    except NotADirectoryError:
        return []
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MissingDataError(f"{path} cannot be listed ({error.strerror}); ask for the right to read it") from None
