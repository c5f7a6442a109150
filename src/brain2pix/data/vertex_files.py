"""Values of vertices in whatever container a lab has them."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from brain2pix.data.cifti_files import is_cifti, read_cifti
from brain2pix.data.freesurfer_files import MGH, is_vertex_box, open_mgh, read_annotation, read_label, read_morphometry, vertex_rows
from brain2pix.data.gifti_files import read_gifti
from brain2pix.data.surface_files import FSAVERAGE_SIZES, check_count, hemisphere_of, reading
from brain2pix.data.volumes import require_file
from brain2pix.errors import DataFormatError, ShapeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LABEL_COLOUR = (0.9, 0.6, 0.0, 1.0)  # of the vertices that a .label file lists
_CLEAR = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class VertexMaps:
    """Maps over the vertices of a mesh, or of both meshes.

    Parameters
    ----------
    values : dict of hemi ("L", "R", or "" where the file does not say) to float32 array, [n p], NaN where there is none
    names : tuple of str, of the n maps
    label_names, label_colours : dict of label to name, and to RGBA in 0..1; empty if the values are no labels.
        -1 is a vertex that an annotation leaves out
    notes : tuple of str, what may mislead, and what the file holds besides
    """

    values: "dict[str, NDArray[np.float32]]"
    names: tuple[str, ...]
    label_names: dict[int, str] = field(default_factory=dict)
    label_colours: dict[int, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_vertex_file(path: "Path", n_vertices: int | None = None) -> VertexMaps:
    """Read ``.shape/.func/.label.gii``, ``.mgz/.mgh``, ``.annot``, ``.label``, CIFTI-2, ``.npy``, or FreeSurfer morphometry (no suffix).

    Parameters
    ----------
    path : Path
    n_vertices : int or None, of the mesh they belong to; needed for a ``.label``, which lists vertices

    Raises
    ------
    MissingDataError
    DataFormatError
        If the file is damaged, is a volume or a mesh, or has another number of values than `n_vertices`.
    """
    require_file(path, "surface map")
    name = path.name.lower()
    if name.endswith((".gii", ".gii.gz")):
        maps = _from_gifti(path)
    elif name.endswith(MGH):
        maps = _one_side(path, vertex_rows(path, open_mgh(path)))
    elif name.endswith(".annot"):
        maps = _from_annotation(path)
    elif name.endswith(".label"):
        mask = read_label(path, n_vertices).astype(np.float32)[None]
        maps = _one_side(path, mask, {0: "", 1: _title(path)}, {0: _CLEAR, 1: _LABEL_COLOUR})
    elif name.endswith((".nii", ".nii.gz")):
        maps = _from_nifti(path)
    elif name.endswith(".npy"):
        maps = _one_side(path, _from_numpy(path))
    else:
        maps = _one_side(path, read_morphometry(path)[None])
    if n_vertices is not None:
        for values in maps.values.values():
            check_count(path, values.shape[1], n_vertices)
    return maps


def slice_fsaverage(values: "NDArray[Any]", n_vertices: int) -> "NDArray[Any]":
    """Take a map of a finer fsaverage to a coarser one: its vertices are the first of the finer mesh, nothing is interpolated.

    Parameters
    ----------
    values : array, [... p]
    n_vertices : int, of the coarser mesh: 642, 2562, 10242, 40962 or 163842

    Returns
    -------
    array, [... n_vertices]

    Raises
    ------
    ShapeError
        If either number is not one of fsaverage, or the map is the coarser one.
    """
    count = values.shape[-1]
    if count not in FSAVERAGE_SIZES or n_vertices not in FSAVERAGE_SIZES or count < n_vertices:
        known = ", ".join(f"{name} {size}" for size, name in FSAVERAGE_SIZES.items())
        raise ShapeError(
            f"a map of {count} vertices cannot be cut to {n_vertices}; expected two meshes of fsaverage, the finer first ({known})"
        )
    return values[..., :n_vertices]


def _one_side(
    path: "Path",
    values: "NDArray[np.float32]",
    label_names: dict[int, str] | None = None,
    label_colours: dict[int, tuple[float, ...]] | None = None,
    notes: tuple[str, ...] = (),
) -> VertexMaps:
    title = _title(path)
    names = (title,) if len(values) == 1 else tuple(f"{title} {number}" for number in range(1, len(values) + 1))
    return VertexMaps({hemisphere_of(path): values}, names, label_names or {}, label_colours or {}, notes)


def _title(path: "Path") -> str:
    return re.sub(r"^[lr]h\.|\.(annot|label|npy|nii|mg[hz])(\.gz)?$", "", path.name)


def _from_gifti(path: "Path") -> VertexMaps:
    found = read_gifti(path)
    if found.values is None:
        raise DataFormatError(
            f"surface map {path} holds a mesh and no values of its vertices; expected .shape.gii, .func.gii or .label.gii"
        )
    return VertexMaps({found.hemi: found.values}, found.names, found.label_names, found.label_colours)


def _from_annotation(path: "Path") -> VertexMaps:
    found = read_annotation(path)
    lost = f"{path.name}: {found.n_lost:,} vertices have a colour code that its table lacks; they are shown as unknown"
    return _one_side(path, found.labels.astype(np.float32)[None], found.names, dict(found.colours), (lost,) if found.n_lost else ())


def _from_nifti(path: "Path") -> VertexMaps:
    if is_cifti(path):
        found = read_cifti(path)
        return VertexMaps(found.values, found.names, found.label_names, found.label_colours, found.notes)
    with reading(path, "surface map"):
        image: Any = nib.load(path)
    shape = tuple(int(edge) for edge in image.shape)
    if not is_vertex_box(shape):
        raise DataFormatError(
            f"surface map {path} has shape {shape}: it is a volume, expected values of vertices (CIFTI-2, or FreeSurfer's (vertices, 1, 1))"
        )
    return _one_side(path, vertex_rows(path, image))


def _from_numpy(path: "Path") -> "NDArray[np.float32]":
    with reading(path, "surface map"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iufb" or array.ndim not in (1, 2) or not array.size:
        raise DataFormatError(
            f"surface map {path} holds {array.dtype} of shape {array.shape}, expected real numbers [vertices] or [maps, vertices]"
        )
    return np.ascontiguousarray(np.atleast_2d(array), dtype=np.float32)
