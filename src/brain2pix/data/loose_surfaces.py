"""Surfaces and values of vertices opened one by one, outside any subject, and the mesh that values belong to."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain2pix.data.freesurfer_files import kind_of, read_geometry, read_patch
from brain2pix.data.gifti_files import read_gifti
from brain2pix.data.surface_files import ANATOMICAL_KINDS, check_side, hemisphere_of
from brain2pix.data.vertex_files import read_vertex_file
from brain2pix.data.volumes import require_file, stem
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh

_SUFFIXES = (".gii", ".gz", ".nii", ".mgz", ".mgh", ".annot", ".label", ".npy")
_WHOLE = ("white", "pial", "inflated", "sphere")  # of FreeSurfer: meshes with all vertices of a hemisphere
# The mesh that values are shown on: the first two lie in the middle of what was measured.
_SHOWN_KINDS = ("midthickness", "pial", "white", "inflated", "very_inflated", "sphere", "flat")


@dataclass(frozen=True)
class LooseSurface:
    """One hemisphere of a file as it is.

    Parameters
    ----------
    path : Path
    mesh : Mesh in the file's own coordinates (RAS mm), or None if the file holds values only
    values : float32 array, [n p], one row for each map of the file, NaN where there is none; None without values
    names : tuple of str, of the maps
    label_names, label_colours : dict of label to name, and to RGBA in 0..1; empty if the values are no labels
    hemi : "L", "R" or "" if the file does not say
    notes : tuple of str, what may mislead
    """

    path: "Path"
    mesh: "Mesh | None"
    values: "NDArray[np.float32] | None" = None
    names: tuple[str, ...] = ()
    label_names: dict[int, str] = field(default_factory=dict)
    label_colours: dict[int, tuple[float, ...]] = field(default_factory=dict)
    hemi: str = ""
    notes: tuple[str, ...] = ()


def read_loose_surfaces(path: "Path", n_vertices: int | None = None) -> list[LooseSurface]:
    """Read a mesh or values of vertices in any container; CIFTI-2 gives one surface for each hemisphere.

    FreeSurfer meshes are moved from FreeSurfer's surface space to the world of their volume.

    Parameters
    ----------
    path : Path
    n_vertices : int or None, of the mesh that values belong to; needed for a ``.label``

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "surface file")
    if path.name.lower().endswith((".gii", ".gii.gz")):
        return [read_loose_surface(path)]
    kind = "" if path.suffix.lower() in _SUFFIXES else kind_of(path)
    if kind == "geometry":
        return [_freesurfer_mesh(path)]
    if kind == "patch":
        return [_flat_mesh(path)]
    maps = read_vertex_file(path, n_vertices)
    sides = sorted(maps.values.items())
    return [
        LooseSurface(path, None, values, maps.names, maps.label_names, maps.label_colours, hemi, maps.notes if not number else ())
        for number, (hemi, values) in enumerate(sides)
    ]


def read_loose_surface(path: "Path") -> LooseSurface:
    """Read a GIFTI file: a mesh, values for each vertex, labels for each vertex, or a mesh with its values.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    found = read_gifti(path)
    notes = _side_notes(path, found.mesh, found.hemi)
    return LooseSurface(path, found.mesh, found.values, found.names, found.label_names, found.label_colours, found.hemi, notes)


def is_loose_surface(path: "Path") -> bool:
    """Whether `read_loose_surfaces` is meant for a file: by its ending, or by its first bytes where it has none (``lh.white``)."""
    name = path.name.lower()
    if name.endswith((".gii", ".gii.gz", ".annot")):
        return True
    if not path.is_file():
        return False
    if name.endswith(".label"):  # a common ending
        with path.open("rb") as file:
            return file.read(6) == b"#!asci"
    return name.startswith(("lh.", "rh.")) and path.suffix.lower() not in _SUFFIXES and bool(kind_of(path))


def mesh_for(values: LooseSurface, folders: "Iterable[Path]") -> "Path | None":
    """Mesh that values belong to: of the same hemisphere, with as many vertices, in one of some folders; None if there is none."""
    assert values.values is not None
    return find_mesh(values.hemi, folders, values.values.shape[1])


def find_mesh(hemi: str, folders: "Iterable[Path]", n_vertices: int | None = None) -> "Path | None":
    """Mesh of a hemisphere in one of some folders, the middle of the cortex before others; None if there is none.

    Parameters
    ----------
    hemi : "L", "R" or ""
    folders : iterable of Path
    n_vertices : int or None, how many it must have
    """
    for folder in folders:
        for path in sorted((path for path in _meshes_in(folder) if hemisphere_of(path) == hemi), key=_kind_rank):
            try:
                mesh = read_loose_surfaces(path)[0].mesh
            except (DataFormatError, FileNotFoundError):
                continue  # a damaged neighbour is not what was asked for
            if mesh is not None and n_vertices in (None, mesh.n_vertices):
                return path
    return None


def _meshes_in(folder: "Path") -> "list[Path]":
    named = [path for kind in _WHOLE for path in folder.glob(f"[lr]h.{kind}")]
    return [*sorted(folder.glob("*.surf.gii")), *sorted(path for path in named if path.is_file())]


def _kind_rank(path: "Path") -> int:
    return next((rank for rank, kind in enumerate(_SHOWN_KINDS) if stem(path).endswith(kind)), len(_SHOWN_KINDS))


def _freesurfer_mesh(path: "Path") -> LooseSurface:
    geometry = read_geometry(path)
    hemi = hemisphere_of(path)
    anatomical = path.name.endswith(ANATOMICAL_KINDS)
    notes = _side_notes(path, geometry.mesh, hemi)
    if not anatomical:
        return LooseSurface(path, geometry.mesh, hemi=hemi, notes=notes)
    if geometry.to_scanner is None:
        lost = (
            f"{path.name} does not say where its volume lies (no c_ras): it is shown in FreeSurfer's surface space, "
            "up to centimetres from volumes"
        )
        return LooseSurface(path, geometry.mesh, hemi=hemi, notes=(*notes, lost))
    return LooseSurface(path, geometry.mesh.moved(geometry.to_scanner), hemi=hemi, notes=notes)


def _flat_mesh(path: "Path") -> LooseSurface:
    """Read a flat patch; its triangles are those of another mesh beside it."""
    side = path.name[:3]
    whole = next((path.with_name(side + kind) for kind in _WHOLE if path.with_name(side + kind).is_file()), None)
    if whole is None:
        raise DataFormatError(
            f"flat patch {path} has no triangles of its own; put the {side}white or {side}sphere that it was cut from beside it"
        )
    mesh = read_geometry(whole).mesh
    return LooseSurface(path, read_patch(path, mesh.n_vertices, mesh.faces), hemi=hemisphere_of(path))


def _side_notes(path: "Path", mesh: "Mesh | None", hemi: str) -> tuple[str, ...]:
    """Warn of a mesh that lies on the other side than it says; it is shown all the same."""
    if mesh is None or not hemi or not stem(path).endswith(ANATOMICAL_KINDS):
        return ()
    try:
        check_side(path, hemi, mesh.vertices)
    except DataFormatError as error:
        return (str(error),)
    return ()
