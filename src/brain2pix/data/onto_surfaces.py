"""From volumes to the surfaces of a subject."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.anatomy.sampling import map_to_surface, sample_volume
from brain2pix.data.loose_files import LooseVolume, read_loose_volume
from brain2pix.data.maps import CONVENTION, SCHEMA, StoredMaps, quantities, read_maps
from brain2pix.data.projection import SIDES, Options, Output, refuse_angles
from brain2pix.data.surface_files import write_surface, write_vertex_values
from brain2pix.data.volumes import MAX_CORNER_MM, stem
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject

_GREY = (0.5, 0.5, 0.5, 1.0)


def project_volume(source: "Path", output: Output, options: Options) -> None:
    """Write the values of a volume, the coverage and the voxel of each vertex, for each hemisphere.

    Raises
    ------
    DataFormatError
        If no vertex meets a voxel with a value.
    ConfigError
        If the volume holds polar angles and would be averaged.
    """
    volume = read_loose_volume(source)
    output.lines.extend(volume.notes)
    how = options.how or ("label" if volume.labels else "linear")
    if volume.labels and options.how is None:
        output.lines.append(f"{source.name} holds labels ({volume.why}): each vertex gets the most frequent one, none is averaged")
    if how == "linear" or (how == "nearest" and len(options.depths) > 1):
        refuse_angles(source, "; or take one voxel for each vertex: --how nearest --depths 0.5")
    maps = volume.data if volume.data.ndim == 4 else volume.data[None]
    base = re.sub(r"\.mg[hz](\.gz)?$", "", stem(source))
    found_any = False
    for hemi, (white, pial) in output.ribbons().items():
        sampled = [sample_volume(one, volume.affine, white, pial, options.depths, how) for one in maps]
        coverage = np.mean([part for _, part in sampled], axis=0)
        values = np.stack([np.where(part >= options.least_coverage, one, np.nan) for one, part in sampled])
        found_any |= bool(np.isfinite(values).any())
        _write_values(output, _name(base, hemi), values, hemi, volume if how == "label" else None)
        write_vertex_values(output.path(f"{_name(base, hemi)}_coverage.shape.gii"), coverage, hemi, meta={"Name": "coverage"})
        _write_voxels(output, hemi)
        known = np.isfinite(values) & ((values != 0) | (how != "label"))  # label 0 is nothing
        output.lines.append(covered(SIDES[hemi], np.asarray(known.any(axis=0)), coverage, "vertices"))
    if not found_any:
        raise DataFormatError(
            f"no vertex of {output.subject.name} lies in a voxel of {source} that has a value: surface and volume are not in one space "
            "(missing c_ras shift, or the brain of someone else), or the least coverage is too high"
        )


def project_maps(source: "Path", output: Output, options: Options) -> None:
    """Write maps of receptive fields on each hemisphere: Cartesian parts are sampled, angle and eccentricity derived.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    if options.how not in (None, "linear"):
        raise ConfigError(f"maps of receptive fields are projected linearly, part by part; --how {options.how} is for single files")
    stored = read_maps(source)
    subject = output.subject
    for hemi, (white, pial) in output.ribbons().items():
        retinotopy, ijk = _without(stored, _other_side(stored, subject, hemi))
        moved, coverage = map_to_surface(retinotopy, ijk, stored.space.shape, stored.space.affine, white, pial, options.depths)
        enough = coverage >= options.least_coverage
        for quantity, values in quantities(moved).items():
            file = output.path(f"{subject.name}_hemi-{hemi}_desc-projected_{quantity}.func.gii")
            write_vertex_values(file, np.where(enough, values, np.nan), hemi, intent="NIFTI_INTENT_NONE", meta={"Name": quantity})
        write_vertex_values(output.path(f"{subject.name}_hemi-{hemi}_coverage.shape.gii"), coverage, hemi, meta={"Name": "coverage"})
        output.lines.append(covered(SIDES[hemi], enough & np.isfinite(moved.x0_deg), coverage, "vertices"))
    write_json(output.path(f"{subject.name}_desc-projected_prf.json"), _describe(stored, output, options))


def _other_side(stored: StoredMaps, subject: "Subject", hemi: str) -> "NDArray[np.bool_]":
    """Voxels that the subject's table puts in the other hemisphere: across the midline they see the other half of the visual field."""
    if stored.space.shape != subject.space.shape or stored.space.corner_displacement_mm(subject.space.affine) > MAX_CORNER_MM:
        return np.zeros(len(stored.ijk), dtype=bool)
    other = np.zeros(subject.space.shape, dtype=bool)
    other[tuple(subject.ijk[subject.voxels["hemi"].to_numpy() == ("R" if hemi == "L" else "L")].T)] = True
    return np.asarray(other[tuple(stored.ijk.T)])


def _without(stored: StoredMaps, left_out: "NDArray[np.bool_]") -> "tuple[RetinotopicMap, NDArray[np.int64]]":
    whole, kept = stored.retinotopy, ~left_out
    predicted: dict[str, Any] = {name: part[kept] for name, part in whole.encoder_parts.items()}
    part = replace(
        whole,
        x0_deg=whole.x0_deg[kept],
        y0_deg=whole.y0_deg[kept],
        sigma_deg=whole.sigma_deg[kept],
        quality=whole.quality[kept],
        **predicted,
    )
    return part, stored.ijk[kept]


def _describe(stored: StoredMaps, output: Output, options: Options) -> dict[str, Any]:
    depths = ", ".join(f"{depth:g}" for depth in options.depths)
    return {
        "SchemaVersion": SCHEMA,
        **{
            key: stored.description[key]
            for key in ("Model", "FieldOfViewDeg", "QualityMeasure", "AccuracyMeasure")
            if key in stored.description
        },
        "Units": "deg",
        "Convention": CONVENTION,
        "Subject": output.subject.name,
        "Simulated": output.subject.simulated,
        "VertexSampling": f"x0, y0, sigma and quality: mean of the finite voxels of the hemisphere at depths {depths} between white "
        f"and pial; angle and eccentricity are derived. NaN below a coverage of {options.least_coverage:g}",
    }


def covered(side: str, known: "NDArray[np.bool_]", coverage: "NDArray[np.floating]", what: str) -> str:
    """Say how many vertices or voxels have a value, and how well they are covered."""
    share = f", mean coverage {float(np.mean(coverage[known])):.2f}" if known.any() else ""
    return f"{side}: {int(known.sum()):,} of {known.size:,} {what} have a value{share}"


def _name(base: str, hemi: str) -> str:
    """Name of a hemisphere's file: after the subject, where the name begins with one."""
    subject = re.match(r"sub-[^_]+_", base)
    start = subject[0] if subject else ""
    return f"{start}hemi-{hemi}_{base.removeprefix(start)}"


def _write_values(output: Output, name: str, values: "NDArray[np.floating]", hemi: str, volume: LooseVolume | None) -> None:
    titles = [f"map {number}" for number in range(1, len(values) + 1)] if len(values) > 1 else [name]
    if volume is None:
        write_surface(output.path(f"{name}.func.gii"), None, values, hemi=hemi, names=titles)
        return
    codes = np.unique(values[np.isfinite(values)]).astype(int)
    table: dict[int, tuple[str, Any]] = {0: ("???", (0.0, 0.0, 0.0, 0.0))}
    table |= {int(code): (volume.names.get(int(code), str(code)), _rgba(volume.colours.get(int(code)))) for code in codes if code}
    write_surface(output.path(f"{name}.label.gii"), None, values, hemi=hemi, names=titles, labels=table)


def _rgba(colour: str | None) -> tuple[float, ...]:
    if colour is None:
        return _GREY
    return (*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)), 1.0)


def _write_voxels(output: Output, hemi: str) -> None:
    """Write which row of the subject's voxel table each vertex shows, -1 where none is near."""
    index = output.subject.vertex_voxels(hemi)
    file = output.path(f"{output.subject.name}_hemi-{hemi}_voxel.shape.gii")
    write_vertex_values(file, index, hemi, meta={"Name": "row of the voxel table, -1 where none is near"})
