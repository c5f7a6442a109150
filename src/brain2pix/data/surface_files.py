"""Read and write GIFTI surfaces and per-vertex maps."""

import math
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.gifti.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.data.volumes import require_file, unreadable
from brain2pix.errors import Brain2PixError, DataFormatError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ANATOMICAL_KINDS = ("white", "pial", "midthickness")
# Vertices of the icosahedra: those of a coarser mesh are the first ones of each finer mesh.
FSAVERAGE_SIZES = {642: "fsaverage3", 2562: "fsaverage4", 10242: "fsaverage5", 40962: "fsaverage6", 163842: "fsaverage"}
_MOST_PACKED = 1100  # bytes that one byte of a gzip file can become, at most
_STRUCTURE = {"L": "CortexLeft", "R": "CortexRight"}
_SIDE = re.compile(r"(?:^|_)hemi-([LR])(?:_|\.|$)|(?:^|[._])(lh|rh)[._]|[._](left|right)\.|\.([LR])\.")
_TYPE = {"white": "GrayWhite", "pial": "Pial", "inflated": "Inflated", "sphere": "Spherical", "flat": "Flat"}


def read_mesh(path: "Path", hemi: str, kind: str) -> Mesh:
    """Read a surface, checking that its faces fit its vertices and that its hemisphere is the one its name says.

    Parameters
    ----------
    path : Path, ``.surf.gii``
    hemi : {"L", "R"}
    kind : str, white, pial, inflated, sphere or flat

    Raises
    ------
    MissingDataError, DataFormatError
    """
    mesh = mesh_of(path, load_gifti(path, "surface"))
    if kind in ANATOMICAL_KINDS:
        check_side(path, hemi, mesh.vertices)
    return mesh


def mesh_of(path: "Path", image: GiftiImage) -> Mesh:
    """Mesh in an opened file, its faces checked against its vertices.

    Raises
    ------
    DataFormatError
    """
    vertices = _by_intent(path, image, "NIFTI_INTENT_POINTSET").astype(np.float32)
    faces = _by_intent(path, image, "NIFTI_INTENT_TRIANGLE").astype(np.int32)
    check_faces(path, vertices, faces)
    return Mesh(vertices, faces)


def check_faces(path: "Path", vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]") -> None:
    """Refuse a mesh whose faces name vertices that it lacks.

    Raises
    ------
    DataFormatError
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise DataFormatError(f"surface {path}: expected vertices [p 3] and faces [f 3], got {vertices.shape} and {faces.shape}")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        wrong = int(faces.min() if faces.min() < 0 else faces.max())
        raise DataFormatError(f"surface {path}: faces name vertex {wrong}, but there are {len(vertices)} vertices (0-based)")


def check_announced(path: "Path", what: str, shape: "Sequence[int]", itemsize: int) -> None:
    """Refuse a file whose header announces more data than a file of its length can hold, before memory is taken for it.

    Raises
    ------
    DataFormatError
    """
    needed = math.prod(int(edge) for edge in shape) * itemsize
    size = path.stat().st_size
    if min(shape) < 1 or needed > size * (_MOST_PACKED if path.name.lower().endswith((".gz", ".mgz")) else 1):
        raise DataFormatError(f"{what} {path} is truncated: its header announces {needed:,} bytes, it has {size:,}. Copy it again.")


@contextmanager
def reading(path: "Path", what: str) -> "Iterator[None]":
    """Turn whatever a library raises on a damaged file into our error; they do not say what they may raise.

    Raises
    ------
    DataFormatError
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Brain2PixError:
        raise
    except Exception as error:
        raise unreadable(path, what, error) from None


def hemisphere_of(path: "Path", image: "GiftiImage | None" = None) -> str:
    """Say "L" or "R" by what an opened file tells of itself, else by its name (``hemi-L``, ``lh.``, ``.L.``); "" if neither does."""
    metas = [image.meta, *(array.meta for array in image.darrays)] if image is not None else []
    told = {meta.get("AnatomicalStructurePrimary") for meta in metas}
    sides = [side for side, name in _STRUCTURE.items() if name in told]
    if len(sides) == 1:
        return sides[0]
    match = _SIDE.search(path.name)
    return next(part for part in match.groups() if part)[0].upper() if match else ""


def other_side(path: "Path") -> "Path | None":
    """Path of the same file of the other hemisphere, by its name; None if the name speaks of no hemisphere."""
    match = _SIDE.search(path.name)
    if match is None:
        return None
    group = next(number for number, part in enumerate(match.groups(), 1) if part)
    start, end = match.span(group)
    other = {"L": "R", "R": "L", "lh": "rh", "rh": "lh", "left": "right", "right": "left"}[match[group]]
    return path.with_name(path.name[:start] + other + path.name[end:])


def read_vertex_values(path: "Path", n_vertices: int | None = None) -> "NDArray[np.float32]":
    """Read one value per vertex from ``.shape.gii`` or ``.func.gii``.

    Returns
    -------
    float32 array, [p]

    Raises
    ------
    DataFormatError
        If the number of values is not `n_vertices`.
    """
    image = load_gifti(path, "surface map")
    if len(image.darrays) != 1:
        raise DataFormatError(f"surface map {path}: expected one data array, got {len(image.darrays)}")
    values = np.asarray(image.darrays[0].data, dtype=np.float32).reshape(-1)
    if n_vertices is not None:
        check_count(path, values.size, n_vertices)
    return values


def check_count(path: "Path", n_values: int, n_vertices: int) -> None:
    """Refuse values of another number of vertices than the mesh has, and say whose they look like.

    Raises
    ------
    DataFormatError
    """
    if n_values == n_vertices:
        return
    names = [FSAVERAGE_SIZES.get(count) for count in (n_values, n_vertices)]
    likely = f": looks like {names[0]} data on {names[1]}; slice it or pick the matching mesh" if all(names) else "; pick the matching mesh"
    raise DataFormatError(f"surface map {path} has {n_values} values, mesh has {n_vertices} vertices{likely}")


def write_mesh(path: "Path", mesh: Mesh, hemi: str, kind: str, space_name: str) -> "Path":
    """Write a surface as GIFTI, atomically."""
    meta = {"AnatomicalStructurePrimary": _STRUCTURE[hemi], "GeometricType": _TYPE.get(kind, "Anatomical")}
    return _save(path, GiftiImage(meta=GiftiMetaData(meta), darrays=_mesh_arrays(mesh, meta, space_name)))


def write_surface(
    path: "Path",
    mesh: "Mesh | None",
    values: "NDArray[Any] | None",
    *,
    hemi: str = "",
    space_name: str = "",
    names: "Sequence[str]" = (),
    labels: "Mapping[int, tuple[str, Sequence[float]]] | None" = None,
) -> "Path":
    """Write a mesh, values of its vertices, or both in one GIFTI file, atomically.

    Parameters
    ----------
    path : Path
    mesh : Mesh or None
    values : array, [p] or [n p], NaN where there is none; or None
    hemi : "L", "R" or "" if it is not known
    space_name : str; names that begin with MNI get that code
    names : sequence of str, of the maps
    labels : mapping of label to name and RGBA in 0..1, if the values are labels
    """
    meta = {"AnatomicalStructurePrimary": _STRUCTURE[hemi]} if hemi else {}
    arrays = [] if mesh is None else _mesh_arrays(mesh, meta, space_name)
    rows = [] if values is None else list(np.atleast_2d(np.asarray(values, dtype=np.float32)))
    for number, row in enumerate(rows):
        named = GiftiMetaData({"Name": names[number]} if number < len(names) else {})
        if labels:
            whole = np.nan_to_num(row).astype(np.int32)
            arrays.append(GiftiDataArray(whole, intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32", meta=named))
        else:
            arrays.append(GiftiDataArray(row, intent="NIFTI_INTENT_SHAPE", datatype="NIFTI_TYPE_FLOAT32", meta=named))
    return _save(path, GiftiImage(meta=GiftiMetaData(meta), darrays=arrays, labeltable=_label_table(labels or {})))


def _label_table(labels: "Mapping[int, tuple[str, Sequence[float]]]") -> GiftiLabelTable:
    table = GiftiLabelTable()
    for key, (name, rgba) in labels.items():
        label: Any = GiftiLabel(key, *(float(part) for part in rgba))
        label.label = name
        table.labels.append(label)
    return table


def _mesh_arrays(mesh: Mesh, meta: "Mapping[str, str]", space_name: str) -> list[GiftiDataArray]:
    space = "NIFTI_XFORM_MNI_152" if space_name.upper().startswith("MNI") else "NIFTI_XFORM_ALIGNED_ANAT"
    coordinates = GiftiCoordSystem(dataspace=space, xformspace=space, xform=np.eye(4))
    points = GiftiDataArray(
        np.asarray(mesh.vertices, dtype=np.float32),
        intent="NIFTI_INTENT_POINTSET",
        datatype="NIFTI_TYPE_FLOAT32",
        coordsys=coordinates,
        meta=GiftiMetaData(dict(meta)),
    )
    return [
        points,
        GiftiDataArray(np.asarray(mesh.faces, dtype=np.int32), intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32"),
    ]


def write_vertex_values(
    path: "Path", values: "NDArray[Any]", hemi: str, *, intent: str = "NIFTI_INTENT_SHAPE", meta: "Mapping[str, str] | None" = None
) -> "Path":
    """Write one value per vertex as GIFTI, atomically.

    Parameters
    ----------
    path : Path, ending in .shape.gii or .func.gii
    values : array, [p], NaN where there is none
    hemi : {"L", "R"}
    intent : str, NIfTI intent of the array
    meta : mapping or None, text stored with the array (its name, units, ...)
    """
    array = GiftiDataArray(
        np.asarray(values, dtype=np.float32), intent=intent, datatype="NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(dict(meta or {}))
    )
    image = GiftiImage(meta=GiftiMetaData({"AnatomicalStructurePrimary": _STRUCTURE[hemi]}), darrays=[array])
    return _save(path, image)


def _save(path: "Path", image: GiftiImage) -> "Path":
    with atomic_path(path) as beside:
        nib.save(image, beside)
    return path


def load_gifti(path: "Path", what: str) -> GiftiImage:
    """Open a GIFTI file.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, what)
    with reading(path, what):
        image = nib.load(path)
    if not isinstance(image, GiftiImage):
        raise DataFormatError(f"{what} {path} is {type(image).__name__}, expected GIFTI (.gii)")
    return image


def _by_intent(path: "Path", image: GiftiImage, intent: str) -> "NDArray[Any]":
    """Writers differ in the order of the two arrays, so the intent decides."""
    arrays = image.get_arrays_from_intent(intent)
    if len(arrays) != 1:
        raise DataFormatError(f"surface {path}: expected one array of intent {intent}, got {len(arrays)}")
    data: NDArray[Any] = arrays[0].data
    if data is None:
        raise DataFormatError(f"surface {path}: the array of intent {intent} is empty; the file is truncated")
    return data


def check_side(path: "Path", hemi: str, vertices: "NDArray[np.float32]") -> None:
    """Refuse an anatomical mesh that lies on the other side than it says.

    Raises
    ------
    DataFormatError
    """
    x = float(vertices[:, 0].mean())
    if (x > 0) == (hemi == "L") and x != 0:
        side = "x > 0" if x > 0 else "x < 0"
        raise DataFormatError(
            f"surface {path}: file says {hemi}, mesh lies at {side} (mean x {x:.1f} mm); left and right look exchanged, "
            "or the file lacks its c_ras shift"
        )
