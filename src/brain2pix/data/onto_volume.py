"""From values of vertices to the grid of a subject's voxels."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brain2pix.anatomy.sampling import RibbonValues, map_to_volume, sample_surface
from brain2pix.arrays import ENCODER_PARTS, RetinotopicMap
from brain2pix.data.maps import quantities
from brain2pix.data.onto_surfaces import covered
from brain2pix.data.projection import UNNAMED, Options, Output, refuse_angles
from brain2pix.data.surface_files import check_count, hemisphere_of, other_side
from brain2pix.data.tables import write_table
from brain2pix.data.vertex_files import VertexMaps, read_vertex_file
from brain2pix.data.volumes import join_names, write_volume
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PARTS = ("x0", "y0", "sigma", "quality", *ENCODER_PARTS)


def project_values(source: "Path", output: Output, options: Options) -> None:
    """Write values of vertices as a volume, with the coverage and the vertex of each voxel.

    Raises
    ------
    MissingDataError, DataFormatError
        If the values are not of the subject's meshes.
    ConfigError
        If they are polar angles.
    """
    values, maps = _read_sides(source, output)
    how = options.how or ("label" if maps.label_names else "linear")
    if how != "label":
        refuse_angles(source, "")
    shift = 0
    if how == "label":
        values, shift = _free_zero(values, maps)
    found = {
        hemi: sample_surface(values[hemi], white, pial, output.subject.space.shape, output.subject.space.affine, how)
        for hemi, (white, pial) in output.ribbons().items()
        if hemi in values
    }
    if not found:
        raise MissingDataError(f"{source} holds values of hemisphere {', '.join(values)}, {output.subject.name} has no such surfaces")
    base = _name(source, output)
    joined = _join(found)
    kept = np.where(joined.coverage >= options.least_coverage, joined.values, np.nan)
    _write(output, f"{base}.nii.gz", kept, joined.ijk, as_labels=how == "label")
    if how == "label":
        _write_names(output, base, maps, shift)
    _write_index(output, base, found, joined)
    _say(output, np.asarray(np.isfinite(kept).any(axis=0)), joined)


def project_maps(source: "Path", output: Output, options: Options) -> None:
    """Write maps of receptive fields of vertices as volumes: Cartesian parts are sampled, angle and eccentricity derived.

    Raises
    ------
    MissingDataError
        If the folder holds no maps of x0 and y0.
    """
    if options.how not in (None, "linear"):
        raise ConfigError(f"maps of receptive fields are projected linearly, part by part; --how {options.how} is for single files")
    space = output.subject.space
    moved, found = {}, {}
    for hemi, (white, pial) in output.ribbons().items():
        retinotopy = _read_fields(source, hemi, white.n_vertices)
        if retinotopy is None:
            output.lines.append(f"{source} holds no maps of x0 and y0 of hemisphere {hemi}; it is left out")
            continue
        moved[hemi], found[hemi] = map_to_volume(retinotopy, white, pial, space.shape, space.affine)
    if not found:
        raise MissingDataError(
            f"{source} holds no maps of receptive fields: expected volumes *_x0.nii.gz and *_y0.nii.gz, or surfaces "
            "*_hemi-L_*_x0.func.gii and *_hemi-L_*_y0.func.gii; positions must be Cartesian, in degrees, x right and y up"
        )
    base = f"{output.subject.name}_space-{space.name}_desc-projected"
    parts = {hemi: quantities(one) for hemi, one in moved.items()}
    joined = _join(found)
    enough = joined.coverage >= options.least_coverage
    for quantity in next(iter(parts.values())):
        rows = {hemi: _with_values(found[hemi], one[quantity]) for hemi, one in parts.items() if quantity in one}
        volume = _join(rows)
        _write(output, f"{base}_{quantity}.nii.gz", np.where(enough, volume.values, np.nan)[None], volume.ijk)
    _write_index(output, base, found, joined)
    _say(output, enough & np.isfinite(joined.values), joined)


def _read_sides(source: "Path", output: Output) -> "tuple[dict[str, NDArray[np.float32]], VertexMaps]":
    """Values of each hemisphere, [n p], and the maps they are of; the other hemisphere's file beside the one given is read too."""
    first = read_vertex_file(source, _count(output, hemisphere_of(source)))
    values = dict(first.values)
    output.lines.extend(first.notes)
    if "" in values:
        raise DataFormatError(f"{source.name} does not say which hemisphere it is of; name it hemi-L_… or lh.… (hemi-R_…, rh.…)")
    other = other_side(source)
    if len(values) == 1 and other is not None and other.is_file():
        second = read_vertex_file(other, _count(output, hemisphere_of(other)))
        output.lines.extend([f"{other.name}, beside it, is taken for the other hemisphere", *second.notes])
        clash = [name for key, name in first.label_names.items() if second.label_names.get(key, name) != name]
        if clash:
            raise DataFormatError(
                f"{source.name} and {other.name} name the same label differently ({join_names(clash)}); project them one by one"
            )
        values |= second.values
        first = VertexMaps(
            values, first.names, {**second.label_names, **first.label_names}, {**second.label_colours, **first.label_colours}
        )
    counts = {hemi: len(rows) for hemi, rows in values.items()}
    if len(set(counts.values())) > 1:
        raise DataFormatError(f"{source.name}: the hemispheres have different numbers of maps ({counts}); project them one by one")
    for hemi, rows in values.items():
        expected = _count(output, hemi)
        if expected is not None:
            check_count(source, rows.shape[1], expected)
    return values, first


def _count(output: Output, hemi: str) -> int | None:
    return output.subject.mesh(hemi, "white").n_vertices if (hemi, "white") in output.subject.meshes() else None


def _free_zero(values: "dict[str, NDArray[np.float32]]", maps: VertexMaps) -> "tuple[dict[str, NDArray[np.float32]], int]":
    """Labels for a volume, where 0 is nothing: vertices without one are NaN, and a label 0 that names an area moves all up by one."""
    shift = int(maps.label_names.get(0, "").lower() not in UNNAMED)
    return {hemi: np.where(rows + shift > 0, rows + shift, np.nan).astype(np.float32) for hemi, rows in values.items()}, shift


def _read_fields(folder: "Path", hemi: str, n_vertices: int) -> RetinotopicMap | None:
    parts: dict[str, NDArray[np.float32]] = {}
    for part in _PARTS:
        files = sorted(file for pattern in ("*.func.gii", "*.shape.gii") for file in folder.glob(f"*hemi-{hemi}*_{part}{pattern[1:]}"))
        if len(files) > 1:
            raise DataFormatError(
                f"{folder} holds {len(files)} maps of {part} of hemisphere {hemi}: {join_names(file.name for file in files)}"
            )
        if files:
            (rows,) = read_vertex_file(files[0], n_vertices).values.values()
            parts[part] = rows[0]
    if not {"x0", "y0"} <= set(parts):
        return None
    unknown = np.full(n_vertices, np.nan, dtype=np.float32)
    predicted: dict[str, Any] = {part: parts[part] for part in ENCODER_PARTS if part in parts}
    return RetinotopicMap(parts["x0"], parts["y0"], parts.get("sigma", unknown), parts.get("quality", unknown), float("nan"), **predicted)


def _with_values(found: RibbonValues, values: "NDArray[np.float32]") -> RibbonValues:
    return RibbonValues(found.ijk, values, found.coverage, found.vertex, found.weight)


def _join(found: "dict[str, RibbonValues]") -> RibbonValues:
    """Voxels of both hemispheres; one that both run through goes to the one with more cortex in it."""
    sides = list(found.values())
    ijk, weight = np.concatenate([side.ijk for side in sides]), np.concatenate([side.weight for side in sides])
    order = np.lexsort((-weight, ijk[:, 2], ijk[:, 1], ijk[:, 0]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (ijk[order][1:] != ijk[order][:-1]).any(axis=1)
    keep = order[first]
    return RibbonValues(
        ijk[keep],
        np.concatenate([side.values for side in sides], axis=-1)[..., keep],
        np.concatenate([side.coverage for side in sides])[keep],
        np.concatenate([side.vertex for side in sides])[keep],
        weight[keep],
    )


def _name(source: "Path", output: Output) -> str:
    base = re.sub(r"(\.(shape|func|label|dscalar|dlabel|dtseries))?\.(gii|nii|mg[hz]|annot|label|npy)(\.gz)?$", "", source.name)
    if hemisphere_of(source):
        base = re.sub(r"(^|_)hemi-[LR](?=_|$)|(^|[._])[lr]h(?=[._])|\.[LR](?=\.|$)|[._](left|right)$", "", base).lstrip("._")
    return f"{re.sub(r'_space-[A-Za-z0-9]+', '', base)}_space-{output.subject.space.name}"


def _write(output: Output, name: str, rows: "NDArray[np.float32]", ijk: "NDArray[np.int64]", *, as_labels: bool = False) -> None:
    space = output.subject.space
    volume = (
        np.zeros((*space.shape, len(rows)), dtype=np.int32) if as_labels else np.full((*space.shape, len(rows)), np.nan, dtype=np.float32)
    )
    volume[tuple(ijk.T)] = (np.nan_to_num(rows) if as_labels else rows).T
    write_volume(output.path(name), volume if len(rows) > 1 else volume[..., 0], space.name, space.affine)


def _write_index(output: Output, base: str, found: "dict[str, RibbonValues]", joined: RibbonValues) -> None:
    """Write the coverage, and for each hemisphere the vertex that has most of a voxel, -1 elsewhere."""
    space = output.subject.space
    _write(output, f"{base}_coverage.nii.gz", joined.coverage[None], joined.ijk)
    for hemi, side in found.items():
        vertices = np.full(space.shape, -1, dtype=np.int32)
        vertices[tuple(side.ijk.T)] = side.vertex
        write_volume(output.path(f"{base}_hemi-{hemi}_vertex.nii.gz"), vertices, space.name, space.affine)


def _write_names(output: Output, base: str, maps: VertexMaps, shift: int) -> None:
    rows = [
        (key + shift, name or f"label {key}", "#" + "".join(f"{round(255 * part):02x}" for part in maps.label_colours[key][:3]))
        for key, name in sorted(maps.label_names.items())
        if key + shift > 0
    ]
    if shift:
        output.lines.append(
            f"labels are one higher than in the file: its label 0 ({maps.label_names[0]}) names an area, and 0 is nothing in a volume"
        )
    if rows:
        write_table(output.path(f"{base}.tsv"), pd.DataFrame(rows, columns=["index", "name", "color"]))


def _say(output: Output, known: "NDArray[np.bool_]", joined: RibbonValues) -> None:
    output.lines.append(covered("ribbon", known, joined.coverage, "voxels of the grid"))
    place = np.full(output.subject.space.shape, -1, dtype=np.int64)
    place[tuple(output.subject.ijk.T)] = 1
    own = (place[tuple(joined.ijk[known].T)] > 0).sum()
    output.lines.append(f"{int(own):,} of {output.subject.n_voxels:,} voxels of {output.subject.name} have a value")
