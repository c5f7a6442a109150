"""What a GIFTI file holds: a mesh, values for each vertex, labels for each vertex, or a mesh with its values."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.nifti1 import intent_codes

from brain2pix.data.surface_files import hemisphere_of, load_gifti, mesh_of
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh

_NODE_INDEX, _LABEL, *_MESH = (intent_codes[name] for name in ("node index", "label", "pointset", "triangle"))


@dataclass(frozen=True)
class GiftiContent:
    """Parts of a GIFTI file.

    Parameters
    ----------
    mesh : Mesh in the file's own coordinates (RAS mm), or None
    values : float32 array, [n p], one row for each map, NaN where there is none; or None
    names : tuple of str, of the maps
    label_names, label_colours : dict of label to name, and to RGBA in 0..1; empty if the values are no labels
    hemi : "L", "R" or "" if neither the file nor its name says
    """

    mesh: "Mesh | None"
    values: "NDArray[np.float32] | None" = None
    names: tuple[str, ...] = ()
    label_names: dict[int, str] = field(default_factory=dict)
    label_colours: dict[int, tuple[float, ...]] = field(default_factory=dict)
    hemi: str = ""


def read_gifti(path: "Path") -> GiftiContent:
    """Read a GIFTI file.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    image = load_gifti(path, "surface file")
    intents = [int(array.intent) for array in image.darrays]
    if _NODE_INDEX in intents:
        raise DataFormatError(
            f"surface file {path} names values of some vertices only (NIFTI_INTENT_NODE_INDEX); expected one value for each vertex: "
            "write it again without node indices"
        )
    mesh = mesh_of(path, image) if set(_MESH) & set(intents) else None
    rest = [array for array in image.darrays if int(array.intent) not in _MESH]
    values, names = _rows(path, rest)
    if mesh is None and values is None:
        raise DataFormatError(f"surface file {path} is empty: expected a mesh (points and triangles) or values of vertices")
    if mesh is not None and values is not None and values.shape[1] != mesh.n_vertices:
        raise DataFormatError(f"surface file {path}: {values.shape[1]} values for a mesh of {mesh.n_vertices} vertices; write it again")
    found = {int(one.key): one for one in image.labeltable.labels} if _LABEL in intents else {}
    label_names = {key: str(one.label) for key, one in found.items()}
    return GiftiContent(mesh, values, names, label_names, {key: _rgba(one) for key, one in found.items()}, hemisphere_of(path, image))


def _rows(path: "Path", arrays: "list[Any]") -> "tuple[NDArray[np.float32] | None, tuple[str, ...]]":
    rows, names = [], []
    for number, array in enumerate(arrays, 1):
        if array.data is None:
            raise DataFormatError(f"surface file {path}: array {number} is empty; the file is truncated. Copy it again.")
        block = np.asarray(array.data, dtype=np.float32)
        name = str(array.meta.get("Name") or f"map {number}")
        if block.ndim > 2:
            raise DataFormatError(f"surface file {path}: array {number} has shape {block.shape}, expected one value for each vertex")
        columns = block.reshape(len(block), -1).T
        rows += list(columns)
        names += [name] if len(columns) == 1 else [f"{name} {column}" for column in range(1, len(columns) + 1)]
    sizes = sorted({row.size for row in rows})
    if len(sizes) > 1:
        raise DataFormatError(f"surface file {path}: its maps have {join_names(map(str, sizes))} values; expected one number of vertices")
    return (np.stack(rows), tuple(names)) if rows else (None, ())


def _rgba(label: Any) -> tuple[float, ...]:
    parts = (label.red, label.green, label.blue, label.alpha)
    return tuple(1.0 if part is None else float(part) for part in parts)
