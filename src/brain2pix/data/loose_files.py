"""Volumes opened one by one, outside any subject: what a file holds, whether it holds labels, and what their names are."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.freesurfer.mghformat import MGHImage

from brain2pix.data.cifti_files import is_cifti
from brain2pix.data.freesurfer_files import MGH, is_vertex_box, open_mgh
from brain2pix.data.surface_files import reading
from brain2pix.data.tables import read_json, read_table
from brain2pix.data.volumes import UNREADABLE, count_axes, entities, open_volume, orientation_note, require_file, stem, unreadable
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Whole numbers with more values than these are measurements, unless the name or a table says that they are labels.
MOST_LABELS = 64
_LABEL_WORDS = frozenset({"dseg", "mask", "seg", "aseg", "aparc", "atlas", "label", "labels", "roi", "rois", "parc", "parcellation"})
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


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


def read_loose_volume(path: "Path") -> LooseVolume:
    """Read a volume or series, NIfTI or FreeSurfer's ``.mgz`` and ``.mgh``.

    It holds labels if its header says so (intent "label"), if a table beside it names its values (``<name>.tsv`` with index and name, or
    a JSON), if its name does (``_dseg``, ``_mask``, ``aseg``, ``atlas``, ``roi``, ...), or if it holds at most 64 different whole numbers,
    stored as whole numbers, none below 0. Fractions are never labels, whatever a name says.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    if path.name.lower().endswith(MGH):
        image, said = _open_mgh_volume(path), None
    else:
        axes = count_axes(path, "volume")
        if axes not in (3, 4):
            raise DataFormatError(f"volume {path} has {axes} axes, expected 3, or 4 for a series; take one part of it")
        image = open_volume(path, "volume", n_axes=axes)
        said = orientation_note(path, image)
    data = _values(path, image)
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
    step = _step_s(image) if data.ndim == 4 else 0.0
    affine = np.asarray(image.affine, dtype=np.float64)
    return LooseVolume(path, data, affine, step, bool(why), why, names, colours, tuple(notes))


def is_volume(path: "Path") -> bool:
    """Whether a file is a volume; CIFTI-2 and values of vertices in an image box share the endings ``.nii`` and ``.mgz`` with volumes.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "volume")
    name = path.name.lower()
    if name.endswith(MGH):
        return not is_vertex_box(open_mgh(path).shape)
    if not name.endswith((".nii", ".nii.gz")) or is_cifti(path):
        return False
    with reading(path, "volume"):
        image: Any = nib.load(path)
    return not is_vertex_box(image.shape)


def label_names(path: "Path") -> dict[int, str]:
    """Names that a file beside a volume gives to its values; empty if none does."""
    return _label_table(path)[0]


def _open_mgh_volume(path: "Path") -> Any:
    image = open_mgh(path)
    if is_vertex_box(image.shape):
        raise DataFormatError(f"volume {path} has shape {image.shape}: it holds values of vertices, not a volume; open it as a surface map")
    if not image.header["goodRASFlag"]:
        raise DataFormatError(f"volume {path} does not say where it lies (no orientation in its header); expected a volume with one")
    return image


def _step_s(image: Any) -> float:
    if isinstance(image, MGHImage):
        return float(image.header.get_zooms()[-1]) * _SECONDS["msec"]
    return float(image.header.get_zooms()[-1]) * _SECONDS.get(image.header.get_xyzt_units()[1], 0.0)


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
    if not isinstance(image, MGHImage) and image.header.get_intent()[0] == "label":
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
