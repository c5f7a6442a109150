"""Retinotopic maps on disk: NIfTI volumes, GIFTI surfaces and one JSON that says what the numbers mean."""

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.arrays import ENCODER_PARTS, RetinotopicMap
from brain2pix.data.betas import read_mask
from brain2pix.data.space import Space
from brain2pix.data.surface_files import write_vertex_values
from brain2pix.data.tables import read_json
from brain2pix.data.volumes import check_grid, entities, nifti_files, open_volume, read_on_grid, write_volume
from brain2pix.data.voxel_volumes import write_voxel_volumes
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, ShapeError
from brain2pix.files import atomic_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

SCHEMA = "b2p-1"
CONVENTION = "x0 right, y0 up, degrees from fixation; angle = atan2(y0, x0) in 0..360, 0 = right horizontal, 90 = up, counter-clockwise"
# What other programs call the same quantity: prfanalyze writes the second names.
_ALIASES = {
    "x0": ("x0", "centerx0"),
    "y0": ("y0", "centery0"),
    "sigma": ("sigma", "sigmamajor"),
    "quality": ("quality", "r2"),
    **{part: (part,) for part in ENCODER_PARTS},  # ours alone, and not in our older maps
}


@dataclass(frozen=True)
class StoredMaps:
    """Maps as read from a folder.

    Parameters
    ----------
    retinotopy : RetinotopicMap, [v]
    ijk : int array, [v 3], its voxels, 0-based
    space : Space
    description : dict, the JSON beside the volumes; empty if there was none
    """

    retinotopy: RetinotopicMap
    ijk: "NDArray[np.int64]"
    space: Space
    description: dict[str, Any]

    def on(self, subject: "Subject", voxel_index: "NDArray[np.integer] | None" = None) -> RetinotopicMap:
        """Map for the voxels of a subject, in their order; NaN where the file says nothing.

        Where the file does not say how wide the stimulus of its scan was, the subject's own field of view stands for it.

        Parameters
        ----------
        subject : Subject
        voxel_index : int array or None, [v]; None for all voxels

        Raises
        ------
        DataFormatError
            If the maps lie on another grid.
        """
        if self.space.shape != subject.space.shape or self.space.corner_displacement_mm(subject.space.affine) > 0.1:
            raise DataFormatError(f"maps lie on {self.space}, {subject.name} on {subject.space}; resample x0 and y0, never the angle")
        wanted = subject.ijk if voxel_index is None else subject.ijk[np.asarray(voxel_index)]
        row = np.full(self.space.shape, -1, dtype=np.int64)
        row[tuple(self.ijk.T)] = np.arange(len(self.ijk))
        place = row[tuple(wanted.T)]
        source = self.retinotopy

        def placed(part: "NDArray[np.float32]") -> "NDArray[np.float32]":
            return np.where(place >= 0, part[place], np.nan).astype(np.float32)

        field = source.field_of_view_deg
        predicted: dict[str, Any] = {name: placed(part) for name, part in source.encoder_parts.items()}
        return replace(
            source,
            field_of_view_deg=field if np.isfinite(field) else subject.field_of_view_deg,
            x0_deg=placed(source.x0_deg),
            y0_deg=placed(source.y0_deg),
            sigma_deg=placed(source.sigma_deg),
            quality=placed(source.quality),
            **predicted,
        )


def write_maps(
    folder: "Path",
    retinotopy: RetinotopicMap,
    subject: "Subject",
    voxel_index: "NDArray[np.integer]",
    *,
    label: str = "encoder",
    about: "Mapping[str, Any] | None" = None,
) -> "list[Path]":
    """Write a map as volumes (NaN outside), as surfaces of each hemisphere that has white and pial, and describe it in one JSON.

    Parameters
    ----------
    folder : Path; files of the same names are replaced, all together or not at all
    retinotopy : RetinotopicMap, [v]
    subject : Subject
    voxel_index : int array, [v], the voxels of the map
    label : str, letters and digits, what made the map: "encoder" or "prf"
    about : mapping or None, more for the JSON: where the map comes from

    Returns
    -------
    list of Path

    Raises
    ------
    ShapeError
        If map and voxels differ in number.
    ComputeError
        If the disk is full.
    """
    index = np.asarray(voxel_index, dtype=np.int64)
    if retinotopy.x0_deg.shape != index.shape:
        raise ShapeError(f"the map has {retinotopy.x0_deg.size} voxels, voxel_index {index.size}")
    if not label.isalnum():
        raise ConfigError(f"label {label!r} of a map must be letters and digits, for it becomes part of file names")
    staging = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    with atomic_folder(staging) as beside:
        _write_volumes(beside, retinotopy, subject, index, label)
        _write_surfaces(beside, retinotopy, subject, index, label)
        write_json(beside / f"{subject.name}_desc-{label}_prf.json", {**_describe(retinotopy, subject), **(about or {})})
    folder.mkdir(exist_ok=True)
    for part in ENCODER_PARTS:
        for stale in folder.glob(f"*_desc-{label}_{part}.*"):  # of a map of before: it must not stand beside one without
            if not (staging / stale.name).exists():
                stale.unlink()
    written = [file.replace(folder / file.name) for file in sorted(staging.iterdir())]
    staging.rmdir()
    return written


def read_maps(folder: "Path", label: str | None = None) -> StoredMaps:
    """Read the volumes of a map: ours, or Cartesian ones of prfanalyze.

    Angles are never read: they are derived from x0 and y0.

    Parameters
    ----------
    folder : Path
    label : str or None, needed if the folder holds maps of several labels

    Raises
    ------
    MissingDataError, DataFormatError
    """
    files = {quantity: _find(folder, names, label) for quantity, names in _ALIASES.items()}
    for quantity in ("x0", "y0"):
        if files[quantity] is None:
            raise MissingDataError(
                f"{folder} holds no map of {quantity} (*_{quantity}.nii.gz); positions must be Cartesian, in degrees, x right and y up"
            )
    first = files["x0"]
    assert first is not None
    image = open_volume(first, "map")
    space = Space(entities(first).get("space", "T1w"), image.affine, image.shape[:3])
    values = {quantity: read_on_grid(file, "map", space) for quantity, file in files.items() if file is not None}
    inside = _inside(folder, label, space, values["x0"])
    ijk = np.argwhere(inside).astype(np.int64)
    parts = {quantity: volume[inside] for quantity, volume in values.items()}
    unknown = np.full(len(ijk), np.nan, dtype=np.float32)
    description = _read_description(folder, label)
    retinotopy = RetinotopicMap(
        x0_deg=parts["x0"],
        y0_deg=parts["y0"],
        sigma_deg=parts.get("sigma", unknown),
        quality=parts.get("quality", unknown),
        field_of_view_deg=_number(description.get("FieldOfViewDeg")),
        quality_name=str(description.get("QualityMeasure", "unknown")),
        source=str(description.get("Model", first.name)),
        **{part: parts[part] for part in ENCODER_PARTS if part in parts},
        accuracy_name=str(description.get("AccuracyMeasure", "")),
    )
    return StoredMaps(retinotopy, ijk, space, description)


def imported_maps(subject_folder: "Path") -> "Path | None":
    """Folder of the maps that were brought to a subject from elsewhere, ``prf/`` in its own; None if there are none."""
    folder = subject_folder / "prf"
    return folder if folder.is_dir() and _label_there(folder) is not None else None


def read_imported(folder: "Path") -> StoredMaps:
    """Read the maps of a folder that `imported_maps` gave: those labelled prf before others.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    return read_maps(folder, _label_there(folder) or None)


def compare_maps(first: RetinotopicMap, second: RetinotopicMap) -> str:
    """Say how alike the places of two maps over the same voxels are; "" if fewer than three voxels have a field in both."""
    both = np.isfinite(first.x0_deg + first.y0_deg + second.x0_deg + second.y0_deg)
    if both.sum() < 3:
        return ""
    parts = [(name, getattr(first, f"{name}_deg")[both], getattr(second, f"{name}_deg")[both]) for name in ("x0", "y0")]
    told = [f"{name} r {np.corrcoef(a, b)[0, 1]:.2f}" for name, a, b in parts if np.ptp(a) > 0 and np.ptp(b) > 0]
    apart = np.median(np.hypot(*(a - b for _, a, b in parts)))
    return ", ".join([*told, f"{apart:.2f} degrees apart in the median"]) + f", over {int(both.sum()):,} voxels with a field in both"


def quantities(retinotopy: RetinotopicMap) -> "dict[str, NDArray[np.float32]]":
    """Name the maps as their files: x0, y0, sigma, quality, those of `ENCODER_PARTS` that there are, derived angle and ecc; each [v]."""
    return {
        "x0": retinotopy.x0_deg,
        "y0": retinotopy.y0_deg,
        "sigma": retinotopy.sigma_deg,
        "angle": retinotopy.angle_deg,
        "ecc": retinotopy.eccentricity_deg,
        "quality": retinotopy.quality,
        **retinotopy.encoder_parts,
    }


def _write_volumes(folder: "Path", retinotopy: RetinotopicMap, subject: "Subject", index: "NDArray[np.int64]", label: str) -> None:
    base = f"{subject.name}_space-{subject.space.name}_desc-{label}"
    write_voxel_volumes(folder, base, quantities(retinotopy), subject, index)
    mask = np.zeros(subject.space.shape, dtype=np.uint8)
    mask[tuple(subject.ijk[index].T)] = 1
    write_volume(folder / f"{base}_mask.nii.gz", mask, subject.space.name, subject.space.affine)


def _write_surfaces(folder: "Path", retinotopy: RetinotopicMap, subject: "Subject", index: "NDArray[np.int64]", label: str) -> None:
    available = set(subject.meshes())
    for hemi in ("L", "R"):
        if not {(hemi, "white"), (hemi, "pial")} <= available:
            continue
        place = subject.vertex_voxels(hemi, index)
        for quantity, values in quantities(retinotopy).items():
            shown = np.where(place >= 0, values[place], np.nan)
            file = folder / f"{subject.name}_hemi-{hemi}_desc-{label}_{quantity}.func.gii"
            write_vertex_values(
                file, shown, hemi, intent="NIFTI_INTENT_NONE", meta={"Name": quantity, "Units": _unit(quantity, retinotopy)}
            )


def _describe(retinotopy: RetinotopicMap, subject: "Subject") -> dict[str, Any]:
    return {
        "SchemaVersion": SCHEMA,
        "Model": retinotopy.source,
        "Units": "deg",
        "Convention": CONVENTION,
        "FieldOfViewDeg": retinotopy.field_of_view_deg if np.isfinite(retinotopy.field_of_view_deg) else None,
        "QualityMeasure": retinotopy.quality_name,
        "AccuracyMeasure": retinotopy.accuracy_name,
        "Subject": subject.name,
        "Dataset": subject.title,
        "Space": subject.space.name,
        "Simulated": subject.simulated,
        "VertexSampling": "nearest voxel of the hemisphere within 1.5 voxels of the mid-thickness; NaN elsewhere",
    }


def _unit(quantity: str, retinotopy: RetinotopicMap) -> str:
    measures = {"quality": retinotopy.quality_name, "prediction": "r", "ceiling": "r", "accuracy": "r / noise ceiling"}
    return measures.get(quantity, "deg")


def _number(value: Any) -> float:
    """Take a number from a JSON, NaN for null and for what is none."""
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _label_there(folder: "Path") -> str | None:
    """Label to read: "prf", "" for maps of one label or none, None without maps."""
    names = [path for name in _ALIASES["x0"] for path in nifti_files(folder, f"*_{name}")]
    return None if not names else "prf" if any("_desc-prf_" in path.name for path in names) else ""


def _find(folder: "Path", names: tuple[str, ...], label: str | None) -> "Path | None":
    desc = f"*_desc-{label}" if label else "*"
    for name in names:
        found = [path for path in nifti_files(folder, f"{desc}_{name}") if "hemi-" not in path.name]
        if len(found) > 1:
            raise DataFormatError(f"{folder} holds {len(found)} maps of {name}: {', '.join(path.name for path in found)}; say which label")
        if found:
            return found[0]
    return None


def _inside(folder: "Path", label: str | None, space: Space, x0: "NDArray[np.float32]") -> "NDArray[np.bool_]":
    """Voxels that the map speaks of, also those where it found nothing."""
    mask = _find(folder, ("mask",), label)
    if mask is None:
        return np.isfinite(x0)
    check_grid(mask, "mask", open_volume(mask, "mask"), space)
    return read_mask(mask, "mask", space)


def _read_description(folder: "Path", label: str | None) -> dict[str, Any]:
    found = sorted(folder.glob(f"*_desc-{label or '*'}_prf.json"))
    return read_json(found[0], "description of maps") if len(found) == 1 else {}
