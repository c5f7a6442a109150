"""Write receptive fields for other tools: FreeSurfer's MGZ, GIFTI and NIfTI by quantity, and one table, in a convention of choice."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.freesurfer.mghformat import MGHImage

from brain2pix.data.maps import CONVENTION, SCHEMA
from brain2pix.data.prf_files.conventions import find_convention
from brain2pix.data.prf_files.converting import from_fields
from brain2pix.data.prf_files.finding import CONVENTION_KEY
from brain2pix.data.rois import names_of_voxels
from brain2pix.data.surface_files import write_vertex_values
from brain2pix.data.tables import write_table
from brain2pix.data.volumes import write_volume
from brain2pix.errors import ConfigError, ShapeError, unknown_name
from brain2pix.files import atomic_folder, atomic_path, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.maps import StoredMaps
    from brain2pix.data.prf_files.conventions import Convention
    from brain2pix.data.subject import Subject

KINDS = ("nifti", "gifti", "mgz", "tsv")
_SIDES = {"L": "lh", "R": "rh"}
_ANGLE_TEXT = "polar angle, 0 = right horizontal, 90 = up, counter-clockwise"
_LENGTH_UNITS = {"deg": "deg", "px": "pixel", "field": "share of the field of view"}


def write_prf_files(
    folder: "Path",
    found: "RetinotopicMap",
    subject: "Subject",
    voxel_index: "NDArray[np.integer]",
    *,
    convention: str = "brain2pix",
    kinds: "Sequence[str]" = KINDS,
    label: str = "prf",
) -> "list[Path]":
    """Write a map in the files and names of a convention.

    Parameters
    ----------
    folder : Path, an empty one or none
    found : RetinotopicMap, [v]
    subject : Subject
    voxel_index : int array, [v], the voxels of the map
    convention : str, name of a convention
    kinds : sequence of str, of `KINDS`; "gifti" and "mgz" for hemispheres that have white and pial
    label : str, in the names of our own files

    Returns
    -------
    list of Path

    Raises
    ------
    ConfigError
        If a kind or the convention is unknown, the convention cannot be written, or vertices are asked for and there are no surfaces.
    ShapeError
        If map and voxels differ in number.
    ComputeError
        If the disk is full.
    """
    index = np.asarray(voxel_index, dtype=np.int64)
    if found.x0_deg.shape != index.shape:
        raise ShapeError(f"the map has {found.x0_deg.size} voxels, voxel_index {index.size}")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ConfigError(unknown_name("kind of file", unknown[0], KINDS))
    chosen = find_convention(convention)
    sides = [hemi for hemi in ("L", "R") if {(hemi, "white"), (hemi, "pial")} <= set(subject.meshes())]
    if {"gifti", "mgz"} & set(kinds) and not sides:
        raise ConfigError(f"{subject.name} has no white and pial surfaces, so that its voxels have no vertices; leave out gifti and mgz")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; choose another place, so that nothing is replaced")
    hemi = subject.voxels["hemi"].to_numpy(dtype=str)[index]
    values = {name: part.astype(np.float32) for name, part in from_fields(chosen, found, hemi).items()}
    with atomic_folder(folder) as beside:
        if "nifti" in kinds:
            _volumes(beside, chosen, values, subject, index, label)
        for side in sides if {"gifti", "mgz"} & set(kinds) else ():
            place = subject.vertex_voxels(side, index)
            shown = {name: np.where(place >= 0, part[place], np.nan).astype(np.float32) for name, part in values.items()}
            _surface(beside, chosen, shown, subject, side, kinds, label)
        if "tsv" in kinds:
            table = voxel_table(chosen, values, found, subject, index)
            file = write_table(beside / f"{subject.name}_desc-{label}_voxels.tsv", table)
            write_json(file.with_suffix(".json"), table_sidecar(chosen, table, found, subject))
        write_json(beside / f"{subject.name}_desc-{label}_prf.json", _about(chosen, values, found, subject))
    return sorted(folder.iterdir())


def rows_of(stored: "StoredMaps", subject: "Subject") -> "NDArray[np.int64]":
    """Rows of the subject's voxels that some stored maps speak of, [v]."""
    wanted = {tuple(place) for place in stored.ijk.tolist()}
    return np.array([row for row, place in enumerate(subject.ijk.tolist()) if tuple(place) in wanted], dtype=np.int64)


def with_field_of_view(found: "RetinotopicMap", stored_deg: float, said_deg: float | None) -> "RetinotopicMap":
    """Give a map the field of view that the user says, else the one of its file, NaN where neither knows it."""
    return replace(found, field_of_view_deg=stored_deg if said_deg is None else said_deg)


def voxel_table(
    convention: "Convention",
    values: "dict[str, NDArray[np.float32]]",
    found: "RetinotopicMap",
    subject: "Subject",
    index: "NDArray[np.int64]",
) -> pd.DataFrame:
    """One line for each voxel: place, hemisphere, areas, and its field in the convention; for ours angle and ecc besides."""
    table = pd.DataFrame(subject.ijk[index], columns=["i", "j", "k"])
    for axis, part in zip(("x_mm", "y_mm", "z_mm"), subject.xyz[index].T, strict=True):
        table[axis] = np.round(part.astype(float), 3)
    table["hemi"] = subject.voxels["hemi"].to_numpy(dtype=str)[index]
    table["areas"] = names_of_voxels(subject.areas, index)
    for quantity, part in values.items():
        table[convention.names[quantity][0]] = part
    if convention.name == "brain2pix":
        table.insert(len(table.columns) - 2, "angle", found.angle_deg)
        table.insert(len(table.columns) - 2, "ecc", found.eccentricity_deg)
        for part, of_voxels in found.encoder_parts.items():
            table[part] = of_voxels
    return table


def table_sidecar(convention: "Convention", table: pd.DataFrame, found: "RetinotopicMap", subject: "Subject") -> dict[str, Any]:
    """Describe each column as BIDS does: Description, Units."""
    texts: dict[str, tuple[str, str]] = {
        **{axis: (f"voxel index along axis {axis}, counted from 0", "n/a") for axis in "ijk"},
        **{f"{axis}_mm": (f"world {axis} of the voxel's centre, RAS, {subject.space.name}", "mm") for axis in "xyz"},
        "hemi": ("hemisphere: L, R or n/a", "n/a"),
        "areas": ("areas that hold the voxel, with commas", "n/a"),
        "angle": (_ANGLE_TEXT, "deg"),
        "ecc": ("distance from fixation", "deg"),
        "prediction": ("correlation of predicted with measured responses", "r"),
        "ceiling": ("noise ceiling: the correlation that a perfect model reaches", "r"),
        "accuracy": (found.accuracy_name or "accuracy of the encoder", "r / noise ceiling"),
        "quality": (found.quality_name, "n/a"),
    }
    ours = texts if convention.name == "brain2pix" else {key: texts[key] for key in table.columns[:8]}
    meant = {**_columns(convention, found), **ours}
    columns = {str(name): {"Description": meant[str(name)][0], "Units": meant[str(name)][1]} for name in table.columns}
    return {
        CONVENTION_KEY: convention.name,
        "Convention": _words(convention),
        "MissingValues": "n/a",
        "QualityMeasure": found.quality_name,
        **columns,
    }


def _columns(convention: "Convention", found: "RetinotopicMap") -> dict[str, tuple[str, str]]:
    """Say what the first name of each quantity means, and its unit."""
    length = _LENGTH_UNITS[convention.length]
    angle = convention.angle
    texts = {
        "x0": ("centre of the field, right positive", length),
        "y0": (f"centre of the field, {'down' if convention.y_down else 'up'} positive", length),
        "angle": (f"polar angle, {angle}", angle.unit if angle is not None else "deg"),
        "ecc": ("distance from fixation", length),
        "sigma": ("size: standard deviation of the field", length),
        "quality": (found.quality_name, "percent" if convention.percent else "n/a"),
    }
    return {convention.names[quantity][0]: text for quantity, text in texts.items() if quantity in convention.names}


def _volumes(
    folder: "Path",
    convention: "Convention",
    values: "dict[str, NDArray[np.float32]]",
    subject: "Subject",
    index: "NDArray[np.int64]",
    label: str,
) -> None:
    place = tuple(subject.ijk[index].T)
    for quantity, part in values.items():
        volume = np.full(subject.space.shape, np.nan, dtype=np.float32)
        volume[place] = part
        name = convention.names[quantity][0]
        start = f"{subject.name}_space-{subject.space.name}_desc-{label}_" if convention.name == "brain2pix" else convention.volume_prefix
        start = start or f"{subject.name}_"
        write_volume(folder / f"{start}{name}.nii.gz", volume, subject.space.name, subject.space.affine)


def _surface(
    folder: "Path",
    convention: "Convention",
    shown: "dict[str, NDArray[np.float32]]",
    subject: "Subject",
    hemi: str,
    kinds: "Sequence[str]",
    label: str,
) -> None:
    for quantity, part in shown.items():
        name = convention.surface_names[quantity]
        if "mgz" in kinds:
            write_mgz(folder / f"{_SIDES[hemi]}.{name}.mgz", part)
        if "gifti" in kinds:
            file = folder / f"{subject.name}_hemi-{hemi}_desc-{label}_{convention.names[quantity][0]}.func.gii"
            write_vertex_values(file, part, hemi, intent="NIFTI_INTENT_NONE", meta={"Name": name})


def write_mgz(path: "Path", values: "NDArray[Any]") -> "Path":
    """Write one value per vertex as FreeSurfer does: float32 of shape (p, 1, 1), atomically.

    Parameters
    ----------
    path : Path, ending in .mgz
    values : array, [p], NaN where there is none
    """
    image = MGHImage(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1), np.eye(4))
    with atomic_path(path) as beside:
        nib.save(image, beside)
    return path


def _words(convention: "Convention") -> str:
    return CONVENTION if convention.name == "brain2pix" else str(convention)


def _about(
    convention: "Convention", values: "dict[str, NDArray[np.float32]]", found: "RetinotopicMap", subject: "Subject"
) -> dict[str, Any]:
    first = convention.position[0]
    lost = int((np.isfinite(found.x0_deg) & ~np.isfinite(values[first])).sum())
    field = found.field_of_view_deg
    return {
        "SchemaVersion": SCHEMA,
        CONVENTION_KEY: convention.name,
        "Convention": _words(convention),
        "Files": {convention.names[quantity][0]: quantity for quantity in values},
        "Columns": {name: {"Description": text, "Units": unit} for name, (text, unit) in _columns(convention, found).items()},
        "SizeMeaning": "effective size, in whatever the source of the map says of it",
        "QualityMeasure": found.quality_name,
        "FieldOfViewDeg": float(field) if np.isfinite(field) else None,
        "Model": found.source,
        "Subject": subject.name,
        "Dataset": subject.title,
        "Space": subject.space.name,
        "Simulated": subject.simulated,
        "VoxelsThatTheConventionCannotTell": lost,
        "VertexSampling": "nearest voxel of the hemisphere within 1.5 voxels of the mid-thickness; NaN elsewhere",
    }
