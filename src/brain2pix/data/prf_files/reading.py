"""Where receptive fields of other programs lie: volumes, maps of vertices, tables or a result of analyzePRF, as one kind of source."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.freesurfer_files import is_vertex_box
from brain2pix.data.prf_files.finding import description_of, is_volume, key_of, maps_in_folder, maps_like, of_one_kind, single_file
from brain2pix.data.prf_files.matlab import read_results
from brain2pix.data.prf_files.tables import read_columns, whole_numbers
from brain2pix.data.surface_files import FSAVERAGE_SIZES, hemisphere_of
from brain2pix.data.vertex_files import read_vertex_file, slice_fsaverage
from brain2pix.data.volumes import join_names, open_volume, read_on_grid
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

_OTHER_SIDE = {"L": "R", "R": "L"}


@dataclass(frozen=True)
class Source:
    """Maps before anyone says what they mean.

    Parameters
    ----------
    files : tuple of Path
    values : dict of key, in small letters, to float64 array, [n]
    hemi : str array, [n], "L", "R" or "n/a"
    rows : int array, [n], voxels of the subject; None where the values are of vertices
    sizes : dict of hemi to int, vertices of each hemisphere, whose values follow each other; empty for voxels
    about : dict, the JSON beside the files; empty without
    notes : tuple of str
    """

    files: "tuple[Path, ...]"
    values: "dict[str, NDArray[np.float64]]"
    hemi: "NDArray[np.str_]"
    rows: "NDArray[np.int64] | None" = None
    sizes: dict[str, int] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def find(self, names: "Sequence[str]", start: str | None = None) -> str:
        """Key that bears the first of some names; "" if none does. A name may stand at the end of a key: sub-01_prf_angle is an angle.

        Parameters
        ----------
        names : sequence of str
        start : str or None, what stood before the name of a sister map: a key with the same start comes first

        Raises
        ------
        DataFormatError
            If several do.
        """
        for name in (name.lower() for name in names):
            found = [key for key in self.values if key in (name, f"{start or ''}{name}")]
            found = found if len(found) == 1 else [key for key in found if key == f"{start or ''}{name}"]
            found = found or [key for key in self.values if key.endswith(f"_{name}")]
            if len(found) > 1:
                raise DataFormatError(f"{len(found)} maps are called {name}: {join_names(found)}; give one of the files as SOURCE")
            if found:
                return found[0]
        return ""


def read_source(path: "Path", subject: "Subject", *, swap_hemispheres: bool = False, first_index: int = 0) -> Source:
    """Read the maps of a folder, or those that belong to a file.

    Parameters
    ----------
    path : Path, a folder, one of its maps (those named alike are taken with it), a table or a result of analyzePRF
    subject : Subject, whose voxels or vertices they are
    swap_hemispheres : bool, whether the files of the left hemisphere are the right one's
    first_index : int, 0 or 1: what the first voxel or vertex of a table is called

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    if not path.exists() and not path.is_symlink():
        raise MissingDataError(f"{path} does not exist; give a folder with maps, or one of them")
    if first_index not in (0, 1):
        raise ConfigError(f"the first index of a table is 0 or 1, got {first_index}")
    candidates = maps_in_folder(path) if path.is_dir() else maps_like(path)
    surfaces = [file for file in candidates if not is_volume(file)]
    volumes = [file for file in candidates if file not in surfaces]
    if volumes:
        _needs_sides(swap_hemispheres, "a volume does")
        return _from_volumes(volumes, subject)
    if surfaces:
        return _from_surfaces(of_one_kind(surfaces), subject, swap_hemispheres)
    file = single_file(path)
    if file.suffix.lower() == ".mat":
        return _from_matlab(file, subject, swap_hemispheres)
    return _from_table(file, subject, swap_hemispheres, first_index)


def _from_volumes(files: "list[Path]", subject: "Subject") -> Source:
    values: dict[str, NDArray[np.float64]] = {}
    for file in files:
        if is_vertex_box(tuple(int(edge) for edge in open_volume(file, "map").shape)):
            raise DataFormatError(
                f"map {file} holds values of vertices and its name no hemisphere; name it lh. or rh., or hemi-L or hemi-R"
            )
        key = key_of(file)
        if key in values:
            raise DataFormatError(f"{file.parent} holds {key} twice; give one of the files in a folder of its own")
        values[key] = read_on_grid(file, "map", subject.space)[tuple(subject.ijk.T)].astype(np.float64)
    return Source(tuple(files), values, _hemi(subject), np.arange(subject.n_voxels), about=description_of(files[0]))


def _from_surfaces(files: "list[Path]", subject: "Subject", swap: bool) -> Source:
    parts: dict[str, dict[str, NDArray[np.float64]]] = {"L": {}, "R": {}}
    notes: dict[str, None] = {}
    meshes = _sides_with_mesh(subject)
    for file in files:
        maps = read_vertex_file(file)
        for side, rows in maps.values.items():
            hemi = side or hemisphere_of(file)
            if hemi not in parts:
                raise DataFormatError(f"map {file} says no hemisphere; name it lh. or rh., or hemi-L or hemi-R")
            hemi = _OTHER_SIDE[hemi] if swap else hemi
            if hemi not in meshes:
                raise MissingDataError(f"{subject.name} has no surface of hemisphere {hemi}: maps of vertices need its white and pial")
            key = key_of(file)
            if key in parts[hemi]:
                raise DataFormatError(
                    f"{file.parent} holds {key} of {hemi} twice ({file.name}); give one of the files in a folder of its own"
                )
            if len(rows) != 1:
                raise DataFormatError(f"map {file} holds {len(rows)} maps, expected one for each file")
            values, note = _on_mesh(file, rows[0], subject.mesh(hemi, meshes[hemi]).n_vertices)
            parts[hemi][key] = values
            notes |= {note: None} if note else {}
    sizes = {hemi: len(next(iter(part.values()))) for hemi, part in parts.items() if part}
    keys = dict.fromkeys(key for part in parts.values() for key in part)
    joined = {key: np.concatenate([parts[side].get(key, np.full(size, np.nan)) for side, size in sizes.items()]) for key in keys}
    sides = np.repeat(list(sizes), list(sizes.values()))
    return Source(tuple(files), joined, sides, None, sizes, description_of(files[0]), tuple(notes))


def _on_mesh(file: "Path", values: "NDArray[np.float32]", n_vertices: int) -> "tuple[NDArray[np.float64], str]":
    """Values of the subject's vertices; those of a finer fsaverage are cut, which is exact."""
    if values.size == n_vertices:
        return values.astype(np.float64), ""
    if values.size > n_vertices and {values.size, n_vertices} <= set(FSAVERAGE_SIZES):
        cut = slice_fsaverage(values, n_vertices).astype(np.float64)
        return cut, f"{FSAVERAGE_SIZES[values.size]} cut to {FSAVERAGE_SIZES[n_vertices]}, whose vertices are its first"
    raise DataFormatError(
        f"map {file} has {values.size} values, the subject's mesh {n_vertices} vertices: it belongs to another surface. "
        "Bring it to the subject's own (mri_surf2surf, or neuropythy), x0 and y0 rather than angles"
    )


def _from_table(file: "Path", subject: "Subject", swap: bool, first_index: int) -> Source:
    columns, sides = read_columns(file)
    if swap and sides is None:
        _needs_sides(True, f"{file.name} does, for it has no column hemi,")
    if swap and sides is not None:
        sides = np.array([_OTHER_SIDE.get(side, side) for side in sides])
    about = description_of(file)
    if {"i", "j", "k"} <= set(columns):
        place = np.stack([whole_numbers(file, name, columns.pop(name)) for name in "ijk"], axis=1) - first_index
        kept, rows = _voxels_at(file, place, subject, first_index)
    elif "vertex" in columns:
        return _vertices(file, columns, sides, subject, first_index, about)
    elif "voxel" in columns:
        rows = whole_numbers(file, "voxel", columns.pop("voxel")) - first_index
        _check_range(file, "voxel", rows, subject.n_voxels, first_index)
        kept = np.ones(len(rows), dtype=bool)
    else:
        raise DataFormatError(
            f"table {file} does not say where its lines lie: expected columns i, j, k (voxel of the grid), vertex with hemi, or voxel "
            f"(row of the subject's voxel table); columns: {join_names(columns, 12)}"
        )
    _check_once(file, rows[kept])
    lost = int((~kept).sum())
    notes = (f"{lost} of {len(kept)} lines lie at no voxel of {subject.name} and are left out",) if lost else ()
    hemi = _hemi(subject)[rows[kept]] if sides is None else sides[kept]
    return Source((file,), {key: part[kept] for key, part in columns.items()}, hemi, rows[kept], about=about, notes=notes)


def _voxels_at(
    file: "Path", place: "NDArray[np.int64]", subject: "Subject", first_index: int
) -> "tuple[NDArray[np.bool_], NDArray[np.int64]]":
    """Which lines lie at a voxel of the subject, and rows of all of them (-1 where none)."""
    for axis, name in enumerate("ijk"):
        _check_range(file, name, place[:, axis], subject.space.shape[axis], first_index)
    row = np.full(subject.space.shape, -1, dtype=np.int64)
    row[tuple(subject.ijk.T)] = np.arange(subject.n_voxels)
    rows = row[tuple(place.T)]
    if not (rows >= 0).any():
        raise DataFormatError(
            f"table {file}: none of its {len(rows)} voxels is one of {subject.name} {subject.space}; is it of another subject?"
        )
    return rows >= 0, rows


def _vertices(
    file: "Path", columns: "dict[str, Any]", sides: "NDArray[np.str_] | None", subject: "Subject", first_index: int, about: dict[str, Any]
) -> Source:
    if sides is None or not np.isin(sides, ("L", "R")).all():
        raise DataFormatError(f"table {file} counts vertices: it needs a column hemi with L or R (lh, rh) in every line")
    vertex = whole_numbers(file, "vertex", columns.pop("vertex")) - first_index
    meshes = _sides_with_mesh(subject)
    absent = sorted(set(sides.tolist()) - set(meshes))
    if absent:
        raise MissingDataError(f"{subject.name} has no surface of hemisphere {absent[0]}: vertices need its white and pial")
    sizes = {hemi: subject.mesh(hemi, meshes[hemi]).n_vertices for hemi in ("L", "R") if hemi in set(sides.tolist())}
    start, place = 0, np.zeros(len(vertex), dtype=np.int64)
    for hemi, size in sizes.items():
        own = sides == hemi
        _check_range(file, f"vertex of {hemi}", vertex[own], size, first_index)
        place[own] = vertex[own] + start
        start += size
    _check_once(file, place)
    values = {}
    for key, part in columns.items():
        values[key] = np.full(start, np.nan)
        values[key][place] = part
    return Source((file,), values, np.repeat(list(sizes), list(sizes.values())), None, sizes, about)


def _from_matlab(file: "Path", subject: "Subject", swap: bool) -> Source:
    """Place a result, which says nothing of places, by its shape alone."""
    found = read_results(file)
    shape = next(iter(found.values())).shape
    grid = subject.space.shape
    count = int(np.prod(shape))
    values = {key.lower(): part for key, part in found.items()}
    meshes = _sides_with_mesh(subject)
    sizes = {hemi: subject.mesh(hemi, kind).n_vertices for hemi, kind in meshes.items()}
    side = hemisphere_of(file)
    if shape == grid or (len(shape) > 1 and (*shape, 1) == grid):
        on_grid = {key: part.reshape(grid) for key, part in values.items()}
        return _of_grid(file, on_grid, subject, swap)
    if len(shape) == 1 and count == int(np.prod(grid)):
        return _of_grid(file, {key: part.reshape(grid, order="F") for key, part in values.items()}, subject, swap)
    if len(shape) == 1 and count == subject.n_voxels:
        _needs_sides(swap, f"{file.name} does")
        return Source((file,), values, _hemi(subject), np.arange(count))
    if len(shape) == 1 and side in sizes and count == sizes[side]:
        hemi = _OTHER_SIDE[side] if swap else side
        return Source((file,), values, np.full(count, hemi), None, {hemi: count})
    if len(shape) == 1 and count == sum(sizes.values()) and len(sizes) == 2:
        _needs_sides(swap, f"{file.name} does")
        return Source((file,), values, np.repeat(list(sizes), list(sizes.values())), None, sizes)
    told = f", or {' + '.join(map(str, sizes.values()))} vertices" if sizes else ""
    raise DataFormatError(
        f"{file}: the result has shape {shape}; {subject.name} has a grid of {grid}, {subject.n_voxels} voxels{told}. "
        "Give a result over one of these, or a table with i, j, k"
    )


def _of_grid(file: "Path", volumes: "dict[str, NDArray[np.float64]]", subject: "Subject", swap: bool) -> Source:
    _needs_sides(swap, f"{file.name} does")
    place = tuple(subject.ijk.T)
    values = {key: part[place] for key, part in volumes.items()}
    return Source((file,), values, _hemi(subject), np.arange(subject.n_voxels))


def _sides_with_mesh(subject: "Subject") -> dict[str, str]:
    """Hemispheres with white and pial, and the one to count vertices on."""
    there = set(subject.meshes())
    return {hemi: "white" for hemi in ("L", "R") if {(hemi, "white"), (hemi, "pial")} <= there}


def _needs_sides(swap: bool, who: str) -> None:
    if swap:
        raise ConfigError(
            f"hemispheres cannot be swapped here: {who} not say which hemisphere a value belongs to. "
            "Exchange the subject's masks hemi-L and hemi-R, or mend its affine"
        )


def _check_range(file: "Path", name: str, index: "NDArray[np.int64]", count: int, first_index: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= count):
        ones = " It may count from 1: say --first-index 1" if index.min() == 1 and index.max() == count else ""
        raise DataFormatError(
            f"table {file}: {name} goes from {index.min() + first_index} to {index.max() + first_index}, "
            f"expected {first_index} to {count - 1 + first_index}.{ones}"
        )


def _check_once(file: "Path", rows: "NDArray[np.int64]") -> None:
    unique, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise DataFormatError(
            f"table {file}: {int((counts > 1).sum())} places stand in more than one line, e.g. row {int(unique[counts.argmax()])}"
        )


def _hemi(subject: "Subject") -> "NDArray[np.str_]":
    return np.asarray(subject.voxels["hemi"].to_numpy(dtype=str))
