"""napari writers: images and labels to NIfTI, surfaces to GIFTI. World coordinates are taken to be R A S in mm.

``NAME.nii``, ``NAME.nii.gz``: the voxels as they are, with the whole transform of the layer as affine; names of labels go to ``NAME.tsv``.
``NAME.surf.gii``: the mesh alone, its values beside it in ``NAME.shape.gii`` (labels in ``NAME.label.gii``).
``NAME.shape.gii``, ``NAME.func.gii``, ``NAME.label.gii``: the values alone.
Any other ``NAME.gii``: mesh and values in one file.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import Brain2PixError, NotSupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORIGIN = "brain2pix_file"  # as in _readers
Writer = Callable[[str, Any, dict[str, Any]], list[str]]


def _heard(writer: Writer) -> Writer:
    """Raise what napari passes on: it takes any ValueError of a writer for "no writer found" and says nothing."""

    @wraps(writer)
    def write(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
        try:
            return writer(path, data, meta)
        except Brain2PixError as error:
            raise error if not isinstance(error, ValueError) else NotSupportedError(str(error)) from error

    return write


@_heard
def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as NIfTI.

    Raises
    ------
    NotSupportedError
        If it is no volume or series of single numbers.
    """
    return [_write_nifti(Path(path), data, meta)]


@_heard
def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer as NIfTI, and the names of its labels beside it.

    Raises
    ------
    NotSupportedError
        If it is no volume or series.
    """
    written = [_write_nifti(Path(path), _narrow(np.asarray(data)), meta)]
    table = _write_names(Path(path), meta)
    return [*written, table] if table else written


@_heard
def write_surface(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a surface layer as GIFTI, in world coordinates.

    Raises
    ------
    NotSupportedError
        If it is flat, or has no values where only values are asked for.
    """
    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.data import surface_files

    place = Path(path)
    vertices, faces = np.asarray(data[0]), np.asarray(data[1])
    values, names = _vertex_values(data, meta)
    if vertices.shape[1] != 3:
        raise NotSupportedError(
            f"{place.name}: the layer {meta.get('name')!r} has vertices with {vertices.shape[1]} coordinates, GIFTI needs 3"
        )
    affine = world_affine(meta, place.name)[-4:, -4:]
    # identity keeps the very numbers
    moved = vertices if np.array_equal(affine, np.eye(4)) else vertices @ affine[:3, :3].T + affine[:3, 3]
    mesh = Mesh(moved.astype(np.float32), faces.astype(np.int32))
    origin = meta.get("metadata", {}).get(ORIGIN, {})
    hemi, space = _hemisphere(place, meta), str(origin.get("space", ""))
    labels = origin.get("labels")
    only_values = place.name.lower().endswith((".shape.gii", ".func.gii", ".label.gii"))
    if only_values and values is None:
        raise NotSupportedError(f"{place.name} can only hold values, and the layer {meta.get('name')!r} has none; save it as .surf.gii")
    if place.name.lower().endswith(".surf.gii"):
        surface_files.write_surface(place, mesh, None, hemi=hemi, space_name=space)
        if values is None:
            return [path]
        beside = place.with_name(place.name[: -len(".surf.gii")] + (".label.gii" if labels else ".shape.gii"))
        surface_files.write_surface(beside, None, values, hemi=hemi, names=names, labels=labels)
        return [path, str(beside)]
    surface_files.write_surface(place, None if only_values else mesh, values, hemi=hemi, space_name=space, names=names, labels=labels)
    return [path]


def world_affine(meta: dict[str, Any], name: str) -> "NDArray[np.float64]":
    """Give the whole transform of a layer, data to world: its scale, rotation, shear and shift, then its affine.

    Parameters
    ----------
    meta : dict, of a layer data tuple
    name : str, of the file, for the message
    """
    from napari.utils.transforms import Affine

    affine = np.asarray(meta.get("affine", np.eye(len(meta["scale"]) + 1)), dtype=np.float64)
    parts = {key: np.asarray(meta[key], dtype=np.float64) for key in ("scale", "translate", "rotate", "shear") if meta.get(key) is not None}
    own = np.asarray(Affine(**parts).affine_matrix, dtype=np.float64)
    if own.shape != affine.shape:
        raise NotSupportedError(f"{name}: the layer has transforms of {len(own) - 1} and {len(affine) - 1} axes; reset one of them")
    return affine if np.array_equal(own, np.eye(len(own))) else affine @ own


def _write_nifti(path: Path, data: Any, meta: dict[str, Any]) -> str:
    from brain2pix.data.volumes import write_volume

    array = np.asarray(data)
    if meta.get("rgb"):
        raise NotSupportedError(
            f"{path.name}: the layer {meta.get('name')!r} holds colours, NIfTI one number in each voxel; split it first"
        )
    if array.dtype.kind not in "iufb":
        raise NotSupportedError(f"{path.name}: the layer {meta.get('name')!r} holds {array.dtype}, NIfTI needs real numbers")
    if array.ndim not in (3, 4):
        raise NotSupportedError(f"{path.name}: the layer {meta.get('name')!r} has {array.ndim} axes, NIfTI needs 3, or 4 with time first")
    affine = world_affine(meta, path.name)
    step = 1.0
    if array.ndim == 4:
        if np.any(affine[0, 1:4]) or np.any(affine[1:4, 0]):
            raise NotSupportedError(f"{path.name}: the first axis of the layer is mixed with the others; it must be time")
        step, affine, array = float(affine[0, 0]), affine[1:, 1:], np.moveaxis(array, 0, -1)
    space = str(meta.get("metadata", {}).get(ORIGIN, {}).get("space", ""))
    write_volume(path, array, space, affine, step_s=step if array.ndim == 4 else None)
    return str(path)


def _narrow(labels: "NDArray[Any]") -> "NDArray[Any]":
    """Store 64-bit labels in fewer bits where they fit: other programs refuse them."""
    if labels.dtype.itemsize < 8 or not labels.size:
        return labels
    low, high = int(labels.min()), int(labels.max())
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return labels.astype(kind)
    return labels


def _write_names(path: Path, meta: dict[str, Any]) -> str:
    """Write a table of names, unless one with all of them is there (it may say more); say where, or "" if there is nothing to write."""
    from brain2pix.data.loose_files import label_names
    from brain2pix.data.volumes import stem
    from brain2pix.files import atomic_path

    features = meta.get("features")
    if features is None or "index" not in features or "name" not in features:
        return ""
    names = {int(index): str(name) for index, name in zip(features["index"], features["name"], strict=True) if name and int(index)}
    place = path.with_name(stem(path) + ".tsv")
    if not names or names.items() <= label_names(path).items():
        return ""
    rows = "".join(f"{index}\t{' '.join(name.split())}\n" for index, name in sorted(names.items()))
    with atomic_path(place) as beside:
        beside.write_text(f"index\tname\n{rows}", encoding="utf-8")
    return str(place)


def _vertex_values(data: Any, meta: dict[str, Any]) -> "tuple[NDArray[np.float32] | None, tuple[str, ...]]":
    """Values of a surface layer, [p] or [n p]: what its reader kept, with NaN, else its own, but not the ones of a bare mesh."""
    names = tuple(meta.get("metadata", {}).get(ORIGIN, {}).get("names", ()))
    features = meta.get("features")
    columns = [name for name in (features.columns if features is not None else ()) if name in names]
    if columns and len(columns) == len(names):
        return np.stack([np.asarray(features[name], dtype=np.float32) for name in columns]), names
    own = np.asarray(data[2], dtype=np.float32) if len(data) > 2 else None
    if own is None or (own == 1).all():
        return None, ()
    return own.reshape(-1, own.shape[-1]), ()


def _hemisphere(path: Path, meta: dict[str, Any]) -> str:
    from brain2pix.data.surface_files import hemisphere_of
    from napari_brain2pix.brain.layers import HEMISPHERES

    sides = {name: hemi for hemi, name in HEMISPHERES.items()}
    known = meta.get("metadata", {}).get(ORIGIN, {}).get("hemi") or sides.get(str(meta.get("name")), "")
    return str(known or hemisphere_of(path))
