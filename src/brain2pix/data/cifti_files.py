"""CIFTI-2 files: values of both hemispheres, without the medial wall, and of structures in the volume, side by side in one matrix."""

import gzip
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.cifti2.cifti2 import Cifti2Image
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, ScalarAxis, SeriesAxis

from brain2pix.data.surface_files import check_announced, reading
from brain2pix.data.volumes import check_extensions, join_names, require_file
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_CORTEX = {"CIFTI_STRUCTURE_CORTEX_LEFT": "L", "CIFTI_STRUCTURE_CORTEX_RIGHT": "R"}
_HEADER_BYTES, _INTENT_AT = 540, 504  # of NIfTI-2
MOST_VERTICES = 2**22  # of one hemisphere; fsaverage has 163842
MOST_BYTES = 2**31  # of both hemispheres once the medial wall is filled in


@dataclass(frozen=True)
class CiftiMaps:
    """Values on the full meshes.

    Parameters
    ----------
    values : dict of hemi ("L", "R") to float32 array, [n p], NaN on the medial wall
    names : tuple of str, of the maps
    label_names, label_colours : dict of label to name, and to RGBA in 0..1; empty if the values are no labels
    notes : tuple of str, what the file holds besides
    """

    values: "dict[str, NDArray[np.float32]]"
    names: tuple[str, ...]
    label_names: dict[int, str]
    label_colours: dict[int, tuple[float, ...]]
    notes: tuple[str, ...]


def is_cifti(path: "Path") -> bool:
    """Whether a file is CIFTI-2, by its header: the name ends in ``.nii`` as that of a volume does."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return False
    for order in "<>":
        if len(start) == _HEADER_BYTES and struct.unpack(order + "i", start[:4])[0] == _HEADER_BYTES:
            return 3000 <= int(struct.unpack(order + "i", start[_INTENT_AT : _INTENT_AT + 4])[0]) < 3100
    return False


def read_cifti(path: "Path") -> CiftiMaps:
    """Read a ``.dscalar.nii``, ``.dlabel.nii`` or ``.dtseries.nii``.

    Raises
    ------
    MissingDataError
    DataFormatError
        If it is damaged, parcellated, or holds no cortex.
    """
    require_file(path, "CIFTI file")
    if path.name.lower().endswith(".gz"):
        raise DataFormatError(f"CIFTI file {path} is packed, which the format does not allow; unpack it first (gunzip)")
    with reading(path, "CIFTI file"):
        check_extensions(path, "CIFTI file")
        image: Any = Cifti2Image.from_filename(path)
        check_announced(path, "CIFTI file", image.shape, image.get_data_dtype().itemsize)
        axes = [image.header.get_axis(number) for number in range(len(image.shape))]
        if len(axes) != 2 or not isinstance(axes[1], BrainModelAxis) or not isinstance(axes[0], ScalarAxis | LabelAxis | SeriesAxis):
            have = " by ".join(type(axis).__name__.removesuffix("Axis") for axis in axes)
            raise DataFormatError(
                f"CIFTI file {path} holds {have}, expected maps by vertices (.dscalar.nii, .dlabel.nii, .dtseries.nii); "
                "write it again without parcels"
            )
        if len(axes[0]) != image.shape[0] or len(axes[1]) != image.shape[1]:
            raise DataFormatError(
                f"CIFTI file {path}: its matrix has shape {image.shape}, its header describes "
                f"({len(axes[0])}, {len(axes[1])}); it is damaged"
            )
        values, notes = _scatter(path, image, axes[1])
        labels, colours, said = _labels(path, axes[0])
        return CiftiMaps(values, _names(axes[0]), labels, colours, (*notes, *said))


def _scatter(path: "Path", image: Any, axis: BrainModelAxis) -> "tuple[dict[str, NDArray[np.float32]], list[str]]":
    """Values of each hemisphere on its full mesh, and what is said of the other structures."""
    models: dict[str, list[tuple[slice, Any]]] = {}
    others: list[str] = []
    for structure, place, model in axis.iter_structures():
        if structure in _CORTEX:
            models.setdefault(_CORTEX[structure], []).append((place, model))
        else:
            name = str(structure).removeprefix("CIFTI_STRUCTURE_")
            others.append(f"{name} ({len(model)} {'vertices' if structure in axis.nvertices else 'voxels'})")
    if not models:
        raise DataFormatError(
            f"CIFTI file {path} holds no cortex, only {join_names(others) or 'nothing'}; expected CORTEX_LEFT, CORTEX_RIGHT or both"
        )
    sizes = {hemi: int(axis.nvertices[parts[0][1].name[0]]) for hemi, parts in models.items()}
    n_maps = int(image.shape[0])
    if max(sizes.values()) > MOST_VERTICES or 4 * n_maps * sum(sizes.values()) > MOST_BYTES:
        raise DataFormatError(
            f"CIFTI file {path} announces {n_maps:,} maps of {sum(sizes.values()):,} vertices, more than {MOST_BYTES / 2**30:g} GiB; "
            "take fewer maps"
        )
    data = np.asanyarray(image.dataobj)
    values = {}
    for hemi, parts in sorted(models.items()):
        full = np.full((n_maps, sizes[hemi]), np.nan, dtype=np.float32)
        for place, model in parts:
            vertex = np.asarray(model.vertex)
            if vertex.min() < 0 or vertex.max() >= sizes[hemi]:
                raise DataFormatError(
                    f"CIFTI file {path}: hemisphere {hemi} names vertex {int(vertex.max())}, its mesh has {sizes[hemi]} vertices (0-based)"
                )
            full[:, vertex] = data[:, place]
        values[hemi] = full
    return values, [f"{path.name} holds more than the cortex, not shown on a surface: {join_names(others, 20)}"] if others else []


def _names(axis: Any) -> tuple[str, ...]:
    if isinstance(axis, SeriesAxis):
        unit = {"SECOND": "s", "HERTZ": "Hz"}.get(str(axis.unit), str(axis.unit).lower())
        return tuple(f"{value:g} {unit}" for value in np.atleast_1d(axis.time))
    return tuple(str(name) or f"map {number}" for number, name in enumerate(axis.name, 1))


def _labels(path: "Path", axis: Any) -> "tuple[dict[int, str], dict[int, tuple[float, ...]], list[str]]":
    """Names and colours of labels, those of the first map where maps differ."""
    names: dict[int, str] = {}
    colours: dict[int, tuple[float, ...]] = {}
    differ = []
    for map_name, table in zip(axis.name, axis.label, strict=True) if isinstance(axis, LabelAxis) else ():
        for key, (name, rgba) in table.items():
            if names.setdefault(int(key), str(name)) != str(name):
                differ.append(str(map_name))
            colours.setdefault(int(key), tuple(float(part) for part in rgba))
    if not differ:
        return names, colours, []
    return (
        names,
        colours,
        [f"{path.name}: maps {join_names(dict.fromkeys(differ))} name labels otherwise than the first; its names are used"],
    )
