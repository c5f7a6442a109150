"""Volumes and surfaces opened one by one, outside any subject: what a file holds, whether it holds labels, and what their names are."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.nifti1 import intent_codes

from brain2pix.data.surface_files import ANATOMICAL_KINDS, check_side, hemisphere_of, load_gifti, mesh_of
from brain2pix.data.tables import read_json, read_table
from brain2pix.data.volumes import UNREADABLE, count_axes, entities, join_names, open_volume, orientation_note, stem, unreadable
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh

# Whole numbers with more values than these are measurements, unless the name or a table says that they are labels.
MOST_LABELS = 64
_LABEL_WORDS = frozenset({"dseg", "mask", "seg", "aseg", "aparc", "atlas", "label", "labels", "roi", "rois", "parc", "parcellation"})
_NODE_INDEX, _LABEL, *_MESH = (intent_codes[name] for name in ("node index", "label", "pointset", "triangle"))
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
# The mesh that values are shown on: the first two lie in the middle of what was measured.
_SHOWN_KINDS = ("midthickness", "pial", "white", "inflated", "very_inflated", "sphere", "flat")


@dataclass(frozen=True)
class LooseVolume:
    """A NIfTI file as it is: its own axes, never flipped, never resampled.

    Parameters
    ----------
    path : Path
    data : array, [i j k], or [t i j k] of a series: time comes first, as napari has it
    affine : float64 array, [4 4], voxel indices to RAS mm
    step_s : float, between the volumes of a series; 0 if the file does not say
    labels : bool, whether the numbers name things
    why : str, how that was decided
    names : dict of label to name
    colours : dict of label to "#rrggbb"
    notes : tuple of str, what may mislead
    """

    path: "Path"
    data: "NDArray[Any]"
    affine: "NDArray[np.float64]"
    step_s: float = 0.0
    labels: bool = False
    why: str = ""
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LooseSurface:
    """A GIFTI file as it is.

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


def read_loose_volume(path: "Path") -> LooseVolume:
    """Read a NIfTI volume or series.

    It holds labels if its header says so (intent "label"), if a table beside it names its values (``<name>.tsv`` with index and name, or
    a JSON), if its name does (``_dseg``, ``_mask``, ``aseg``, ``atlas``, ``roi``, ...), or if it holds at most 64 different whole numbers,
    stored as whole numbers, none below 0. Fractions are never labels, whatever a name says.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    axes = count_axes(path, "volume")
    if axes not in (3, 4):
        raise DataFormatError(f"volume {path} has {axes} axes, expected 3, or 4 for a series; take one part of it")
    image = open_volume(path, "volume", n_axes=axes)
    data = _values(path, image)
    said = orientation_note(path, image)
    notes = [said] if said else []
    names, colours, table = _label_table(path)
    why = _why_labels(path, image, data, table)
    if why and not _whole(data):
        odd = data[np.isfinite(data) & (data != np.round(data))]
        example = f"{float(odd.flat[0]):.4g}" if odd.size else "a number that is not finite"
        notes.append(f"{path.name}: label {example}: was this mask interpolated linearly? It is shown as an image, not as labels.")
        why = ""
    if why and data.dtype.kind == "f":
        data = data.astype(np.int32)
    if why and not names:
        names = _mask_name(path, data)
    step = float(image.header.get_zooms()[-1]) * _SECONDS.get(image.header.get_xyzt_units()[1], 0.0) if data.ndim == 4 else 0.0
    affine = np.asarray(image.affine, dtype=np.float64)
    return LooseVolume(path, data, affine, step, bool(why), why, names, colours, tuple(notes))


def read_loose_surface(path: "Path") -> LooseSurface:
    """Read a GIFTI file: a mesh, values for each vertex, labels for each vertex, or a mesh with its values.

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
    hemi = hemisphere_of(path, image)
    return LooseSurface(
        path=path,
        mesh=mesh,
        values=values,
        names=names,
        label_names={key: str(one.label) for key, one in found.items()},
        label_colours={key: _rgba(one) for key, one in found.items()},
        hemi=hemi,
        notes=_side_notes(path, mesh, hemi),
    )


def label_names(path: "Path") -> dict[int, str]:
    """Names that a file beside a volume gives to its values; empty if none does."""
    return _label_table(path)[0]


def mesh_for(values: LooseSurface, folders: "Iterable[Path]") -> "Path | None":
    """Mesh that values belong to: of the same hemisphere, with as many vertices, in one of some folders; None if there is none."""
    assert values.values is not None
    n_vertices = values.values.shape[1]
    for folder in folders:
        found = [path for path in sorted(folder.glob("*.surf.gii")) if hemisphere_of(path) == values.hemi]
        for path in sorted(found, key=_kind_rank):
            try:
                mesh = read_loose_surface(path).mesh
            except (DataFormatError, FileNotFoundError):
                continue  # a damaged neighbour is not what was asked for
            if mesh is not None and mesh.n_vertices == n_vertices:
                return path
    return None


def _kind_rank(path: "Path") -> int:
    return next((rank for rank, kind in enumerate(_SHOWN_KINDS) if stem(path).endswith(kind)), len(_SHOWN_KINDS))


def _values(path: "Path", image: Any) -> "NDArray[Any]":
    """Numbers of a volume: whole ones stay whole where the file does not scale them; a series gets time first."""
    try:
        data = np.asanyarray(image.dataobj)
    except UNREADABLE as error:
        raise unreadable(path, "volume", error) from None
    if data.dtype.kind not in "iufb":
        raise DataFormatError(f"volume {path} holds numbers of type {data.dtype}, expected one real number in each voxel (no colours)")
    if data.dtype.kind == "f":
        data = data.astype(np.float32)
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    native = np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="), copy=False))
    return np.moveaxis(native, -1, 0) if native.ndim == 4 else native


def _why_labels(path: "Path", image: Any, data: "NDArray[Any]", table: str) -> str:
    if image.header.get_intent()[0] == "label":
        return "its header says so (intent label)"
    if table:
        return f"{table} names its values"
    words = [word for word in re.split(r"[_.+ ]", stem(path).lower()) if "-" not in word]  # BIDS pairs such as label-GM say nothing
    said = [word for word in words if word in _LABEL_WORDS]
    if said:
        return f"its name says so ({said[-1]})"
    if data.dtype.kind in "iub" and data.min() >= 0 and np.unique(data).size <= MOST_LABELS:
        return f"it holds at most {MOST_LABELS} different whole numbers"
    return ""


def _whole(data: "NDArray[Any]") -> bool:
    return data.dtype.kind in "iub" or bool(np.isfinite(data).all() and (data == np.round(data)).all())


def _label_table(path: "Path") -> tuple[dict[int, str], dict[int, str], str]:
    """Names and colours of labels, and the file that has them; nothing if no file beside it does."""
    place = path.with_name(stem(path) + ".tsv")
    if place.is_file():
        table = read_table(place, "label table", ())
        if {"index", "name"} <= set(table) and table["index"].dtype.kind == "i":  # else it is the table of a series of responses
            names = {int(index): str(name) for index, name in zip(table["index"], table["name"], strict=True)}
            colours = dict(zip(names, table["color"].astype(str), strict=False)) if "color" in table and len(names) == len(table) else {}
            return names, {key: text for key, text in colours.items() if re.fullmatch(r"#[0-9a-fA-F]{6}", text)}, place.name
    place = path.with_name(stem(path) + ".json")
    if place.is_file():
        values = read_json(place, "sidecar")
        for found in (values, *(values.get(key) for key in ("LabelMap", "Labels", "Levels", "labels"))):
            if isinstance(found, dict) and found and all(re.fullmatch(r"\d+", str(key)) for key in found):
                return {int(key): str(name) for key, name in found.items()}, {}, place.name
    return {}, {}, ""


def _mask_name(path: "Path", data: "NDArray[Any]") -> dict[int, str]:
    """Name of the one label of a mask: its description, or what its file name says."""
    if data.size and data.max() != 1:
        return {}
    place = path.with_name(stem(path) + ".json")
    text = read_json(place, "sidecar").get("Description") if place.is_file() else None
    return {1: str(text or entities(path).get("label") or stem(path))}


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


def _side_notes(path: "Path", mesh: "Mesh | None", hemi: str) -> tuple[str, ...]:
    """Warn of a mesh that lies on the other side than it says; it is shown all the same."""
    if mesh is None or not hemi or not stem(path).endswith(ANATOMICAL_KINDS):
        return ()
    try:
        check_side(path, hemi, mesh.vertices)
    except DataFormatError as error:
        return (str(error),)
    return ()
