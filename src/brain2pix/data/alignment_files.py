"""An alignment on disk: tensors in one file, their description in another, and the aligned responses as plain arrays beside them."""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load, save

from brain2pix import __version__
from brain2pix.arrays import SubjectInfo
from brain2pix.config.alignment import AlignmentSettings
from brain2pix.config.base import build
from brain2pix.data.agreement import Agreement, held_out_agreement
from brain2pix.data.alignment import AlignedSubject, Alignment
from brain2pix.data.tables import column, read_json, write_table
from brain2pix.data.volumes import require_file
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.events import CancelToken
from brain2pix.files import atomic_folder, atomic_path, write_json
from brain2pix.signals.components import Components

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

SCHEMA = "b2p-alignment-1"
TENSORS, DESCRIPTION = "alignment.safetensors", "alignment.json"
# What each subject brings, and whether it is there for a single subject too.
_OF_SUBJECT = {"voxel_index": True, "mean": True, "deviation": True, "trials": True, "events": True, "rotation": False}


def save_alignment(alignment: Alignment, folder: "Path", agreement: "list[Agreement] | None" = None) -> "Path":
    """Write an alignment into a folder, ``alignment.safetensors`` and ``alignment.json``, each atomically.

    Parameters
    ----------
    alignment : Alignment
    folder : Path
    agreement : list of Agreement or None, is put into the description

    Returns
    -------
    Path, `folder`
    """
    content = save({name: np.ascontiguousarray(values) for name, values in _tensors(alignment).items()})
    with atomic_path(folder / TENSORS) as beside:
        beside.write_bytes(content)
    about = {"tensors_sha256": hashlib.sha256(content).hexdigest(), **_describe(alignment, agreement or [])}
    write_json(folder / DESCRIPTION, about)
    return folder


def load_alignment(folder: "Path") -> Alignment:
    """Read what `save_alignment` wrote. Tensors only: nothing in the files is run.

    Raises
    ------
    MissingDataError
        If a file is absent.
    DataFormatError
        If one was changed or truncated, or the two do not belong together.
    """
    about = read_json(folder / DESCRIPTION, "alignment")
    if about.get("schema") != SCHEMA:
        raise DataFormatError(f"{folder / DESCRIPTION} has schema {about.get('schema')!r}, this version reads {SCHEMA!r}")
    content = require_file(folder / TENSORS, "alignment").read_bytes()
    if hashlib.sha256(content).hexdigest() != about.get("tensors_sha256"):
        raise DataFormatError(f"{folder / TENSORS} is truncated or was changed: its sha256 is not the one in {DESCRIPTION}. Align again.")
    try:
        return _alignment(about, load(content))
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataFormatError(f"{folder / DESCRIPTION} does not describe {TENSORS} beside it ({error!r}). Align again.") from None


def write_alignment(
    out: "Path", alignment: Alignment, subjects: "Mapping[str, Subject]", cancel: CancelToken | None = None
) -> list[Agreement]:
    """Write an alignment with the aligned responses of every split that all subjects have; nothing half-written is left.

    For a split S there are ``split-S_rows.tsv``, the events in order, and float32 arrays in that order: ``KEY_split-S_responses.npy`` of
    each subject and ``mean_split-S_responses.npy`` in the common space, ``mean_split-S_components.npy`` the scores of the mean.
    ``voxels.tsv`` says which voxels of the reference the columns are; ``agreement.tsv`` what `held_out_agreement` found.

    Parameters
    ----------
    out : Path, folder to make; must not exist or be empty
    alignment : Alignment
    subjects : mapping of key to Subject
    cancel : CancelToken or None, asked between the files

    Returns
    -------
    list of Agreement

    Raises
    ------
    ConfigError
        If the folder is there and not empty.
    """
    token = cancel or CancelToken()
    agreement = held_out_agreement(alignment, subjects)
    try:
        with atomic_folder(out) as beside:
            save_alignment(alignment, beside, agreement)
            reference = subjects[alignment.reference]
            write_table(beside / "voxels.tsv", reference.voxels.iloc[alignment.one(alignment.reference).info.voxel_index])
            if agreement:
                write_table(beside / "agreement.tsv", agreement_table(agreement))
            for split in shared_splits(alignment, subjects):
                _write_split(beside, alignment, subjects, split, token)
    except FileExistsError as error:
        raise ConfigError(str(error)) from None
    return agreement


def shared_splits(alignment: Alignment, subjects: "Mapping[str, Subject]") -> list[str]:
    """List the splits in which all subjects saw some same stimulus, the training one first."""
    first, *others = (subject.trials for subject in subjects.values())
    found = [alignment.settings.train_split]
    for split, rows in first.groupby("split", sort=False):
        shown = set(rows["stimulus_id"])
        for other in others:
            shown &= set(other.loc[other["split"] == split, "stimulus_id"])
        if shown and split not in found:
            found.append(str(split))
    return found


def agreement_table(agreement: "list[Agreement]") -> pd.DataFrame:
    """One row for each subject."""
    names = {"key": "subject", "before": "correlation_before", "after": "correlation_after"}
    return pd.DataFrame([one.__dict__ for one in agreement]).rename(columns=names)


def _write_split(folder: "Path", alignment: Alignment, subjects: "Mapping[str, Subject]", split: str, token: CancelToken) -> None:
    token.check()
    found = alignment.training(subjects) if split == alignment.settings.train_split else alignment.averages(subjects, split)
    write_table(folder / f"split-{split}_rows.tsv", found.matched.table)
    mean = found.mean
    for name, values in found.values.items():
        token.check()
        np.save(folder / f"{name}_split-{split}_responses.npy", values)
    if len(found.values) > 1:
        np.save(folder / f"mean_split-{split}_responses.npy", mean)
    np.save(folder / f"mean_split-{split}_components.npy", alignment.components.project(mean))


def _tensors(alignment: Alignment) -> "dict[str, NDArray[Any]]":
    tensors: dict[str, NDArray[Any]] = {
        "coordinates": alignment.coordinates,
        "components.mean": alignment.components.mean,
        "components.vectors": alignment.components.vectors,
        "components.variances": alignment.components.variances,
    }
    if alignment.basis is not None:
        tensors["basis"] = alignment.basis
    for place, one in enumerate(alignment.subjects):
        parts = {name: one.info.voxel_index if name == "voxel_index" else getattr(one, name) for name in _OF_SUBJECT}
        tensors |= {f"subjects.{place}.{name}": values for name, values in parts.items() if values is not None}
    return tensors


def _describe(alignment: Alignment, agreement: "list[Agreement]") -> dict[str, Any]:
    components = alignment.components
    return {
        "schema": SCHEMA,
        "what": "responses of several subjects in one space" if len(alignment.subjects) > 1 else "one subject: nothing to align",
        "simulated": any(one.info.simulated for one in alignment.subjects),
        "reference": alignment.reference,
        "common_space": f"the {alignment.n_voxels} voxels of {alignment.reference}, z-scored with its training trials",
        "fitted_on": {
            "split": alignment.settings.train_split,
            "n_rows": len(alignment.rows),
            "of": "averages over repetitions" if "repeat" not in alignment.rows else "single trials",
            "random": "nothing is drawn: no seed",
        },
        "subjects": [_describe_subject(one) for one in alignment.subjects],
        "components": {
            "n": components.n_components,
            "share_of_variance": components.kept,
            "total_variance": components.total_variance,
            "whiten": components.whiten,
        },
        "agreement": [one.__dict__ for one in agreement],
        "settings": alignment.settings.model_dump(mode="json"),
        "rows": {name: values.tolist() for name, values in alignment.rows.items()},
        "versions": {"brain2pix": __version__, "numpy": np.__version__},
    }


def _describe_subject(one: AlignedSubject) -> dict[str, Any]:
    info = {name: value for name, value in one.info.to_dict().items() if name != "voxel_index"}  # that one is a tensor
    numbers = {"n_voxels": one.info.n_voxels, "left_out": one.left_out, "n_trials": len(one.trials), "scale": one.scale}
    return {"key": one.key, "title": one.title, **numbers, "info": info}


def _alignment(about: dict[str, Any], tensors: "dict[str, NDArray[Any]]") -> Alignment:
    kept = about["components"]
    vectors, mean = tensors["components.vectors"], tensors["components.mean"]
    subjects = tuple(_subject(values, place, tensors, len(about["subjects"]) > 1) for place, values in enumerate(about["subjects"]))
    rows = pd.DataFrame({name: column(name, values) for name, values in about["rows"].items()})
    found = Alignment(
        subjects=subjects,
        reference=about["reference"],
        rows=rows,
        coordinates=tensors["coordinates"],
        basis=tensors.get("basis"),
        components=Components(mean, vectors, tensors["components.variances"], float(kept["total_variance"]), bool(kept["whiten"])),
        settings=build(AlignmentSettings, about["settings"]),
    )
    reference = found.one(found.reference)
    size = reference.mean.size
    rank = size if found.basis is None else len(found.basis)
    shapes = [(vectors, (kept["n"], size)), (mean, (size,)), (found.coordinates, (len(rows), rank))]
    shapes += [] if found.basis is None else [(found.basis, (rank, size))]
    for one in subjects:
        shapes += [(one.mean, (one.info.n_voxels,)), (one.deviation, (one.info.n_voxels,)), (one.events, one.trials.shape)]
        shapes += [] if one.rotation is None else [(one.rotation, (one.info.n_voxels, rank))]
    wrong = [f"{values.shape} instead of {shape}" for values, shape in shapes if values.shape != shape]
    if wrong:
        raise ValueError(f"arrays have shapes {', '.join(wrong)}")
    return found


def _subject(values: dict[str, Any], place: int, tensors: "dict[str, NDArray[Any]]", several: bool) -> AlignedSubject:
    parts = {name: tensors[f"subjects.{place}.{name}"] for name, always in _OF_SUBJECT.items() if always or several}
    return AlignedSubject(
        key=values["key"],
        info=SubjectInfo.from_dict({**values["info"], "voxel_index": parts["voxel_index"]}),
        title=values["title"],
        mean=parts["mean"],
        deviation=parts["deviation"],
        rotation=parts.get("rotation"),
        scale=float(values["scale"]),
        trials=parts["trials"],
        events=parts["events"],
        left_out=int(values["left_out"]),
    )


def subject_lines(alignment: Alignment, agreement: "list[Agreement]") -> list[str]:
    """Table of the subjects in lines of text: voxels, rows, and how like the others they are on held-out stimuli."""
    told = {one.key: one for one in agreement}
    table = [("subject", "voxels", "left out", "rows", "r before", "r after")]
    for one in alignment.subjects:
        found = told.get(one.key)
        values = (found.before, found.after) if found else (None, None)
        r_before, r_after = ("n/a" if value is None else f"{value:.3f}" for value in values)
        table.append((one.key, str(one.info.n_voxels), str(one.left_out), str(len(one.trials)), r_before, r_after))
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]) for row in table
    ]


def agreement_line(agreement: "list[Agreement]") -> str:
    """Say what "before" and "after" compare."""
    one = agreement[0]
    where = f"{one.n_voxels} voxels" if one.before is None else f"the {one.n_voxels} places of the grid that all have"
    return (
        f"r           mean over {where} of the correlation with the mean of the other subjects, over {one.n_stimuli} held-out stimuli; "
        f"chance 0{'; before: n/a, the subjects share no grid' if one.before is None else ''}"
    )
