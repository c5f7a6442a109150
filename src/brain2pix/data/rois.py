"""Regions of interest from label volumes and masks."""

import logging
import re
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.betas import read_mask
from brain2pix.data.tables import read_json, read_table
from brain2pix.data.volumes import entities, join_names, nifti_files, read_on_grid, stem
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.space import Space

logger = logging.getLogger(__name__)

RESERVED = ("all", "L", "R")


def read_area_volumes(func: "Path", space: "Space") -> "tuple[dict[str, NDArray[np.bool_]], dict[str, str], list[str]]":
    """Read all regions of a ``func`` folder: ``*_seg-*_dseg`` with their tables, and ``*_label-<name>_mask``.

    Parameters
    ----------
    func : Path
    space : Space, the grid they must lie on

    Returns
    -------
    areas : dict of name to bool volume, [i j k]; files of one label (left and right) are joined
    descriptions : dict of name to text
    notes : list of str

    Raises
    ------
    DataFormatError
        If a file lies on another grid, holds labels that its table lacks, or was interpolated.
    """
    areas: dict[str, NDArray[np.bool_]] = {}
    descriptions: dict[str, str] = {}
    notes: list[str] = []
    for path in nifti_files(func, "*_seg-*_dseg"):
        labelled, texts, said = read_segmentation(path, space)
        notes += said
        descriptions |= texts
        for name, mask in labelled.items():
            areas[name] = mask | areas[name] if name in areas else mask
    for path in nifti_files(func, "*_label-*_mask"):
        name = entities(path)["label"]
        mask = read_mask(path, "ROI", space)
        descriptions |= _description(path, name)
        areas[name] = mask | areas[name] if name in areas else mask
    for name in RESERVED:
        if name in areas:
            notes.append(
                f"the area named {name!r} in {func} is replaced: this name means {'every voxel' if name == 'all' else 'a hemisphere'}"
            )
            del areas[name]
    return areas, descriptions, notes


def read_segmentation(path: "Path", space: "Space") -> "tuple[dict[str, NDArray[np.bool_]], dict[str, str], list[str]]":
    """Read one label volume with its table (`index`, `name`, perhaps `description`).

    Returns
    -------
    areas, descriptions, notes : as in `read_area_volumes`
    """
    labels = _whole_labels(path, read_on_grid(path, "ROI", space))
    place = path.with_name(stem(path) + ".tsv")
    table = read_table(place, "label table", ("index", "name"))
    if table["index"].dtype.kind != "i":
        raise DataFormatError(f"label table {place}: 'index' must hold whole numbers, got {join_names(map(str, table['index']))}")
    names = {int(index): str(name) for index, name in zip(table["index"], table["name"], strict=True)}
    present = {int(value) for value in np.unique(labels)} - {0}
    unknown = sorted(present - set(names))
    if unknown:
        raise DataFormatError(
            f"ROI {path}: labels {join_names(map(str, unknown))} are not in {place.name} (it names {join_names(map(str, sorted(names)))}); "
            "add a row with index and name"
        )
    notes = []
    unused = [name for index, name in sorted(names.items()) if index not in present and index != 0]
    if unused:
        notes.append(f"{place.name}: {join_names(unused)} label no voxel of {path.name}")
    texts = dict(zip(table["name"].astype(str), table["description"].astype(str), strict=True)) if "description" in table else {}
    areas: dict[str, NDArray[np.bool_]] = {}
    for index in sorted(present):
        mask = labels == index
        areas[names[index]] = mask | areas[names[index]] if names[index] in areas else mask
    return areas, texts, notes


def with_unions(areas: "dict[str, NDArray[np.bool_]]") -> "dict[str, NDArray[np.bool_]]":
    """Add the areas whose ventral and dorsal parts are named: V1 = V1v | V1d, unless V1 is there itself."""
    every = dict(areas)
    for name in areas:
        match = re.fullmatch(r"(h?V\d)[vd]", name)
        if match and match[1] not in areas:
            union = match[1]
            every[union] = every[union] | areas[name] if union in every else areas[name]
    return every


def names_of_voxels(areas: "Mapping[str, NDArray[np.bool_]]", index: "NDArray[np.int64]") -> list[str]:
    """Name the areas of each of some voxels, with commas; n/a for a voxel of none. Hemispheres and "all" are no areas."""
    masks = {name: mask[index] for name, mask in areas.items() if name not in RESERVED}
    found: list[list[str]] = [[] for _ in range(index.size)]
    for name, mask in masks.items():
        for row in np.flatnonzero(mask):
            found[row].append(name)
    return [",".join(names) or "n/a" for names in found]


def _description(path: "Path", name: str) -> dict[str, str]:
    place = path.with_name(stem(path) + ".json")
    text = read_json(place, "sidecar").get("Description") if place.exists() else None
    return {name: str(text)} if text else {}


def _whole_labels(path: "Path", volume: "NDArray[np.float32]") -> "NDArray[np.int32]":
    rounded = np.round(volume)
    odd = volume[(volume != rounded) | ~np.isfinite(volume)]
    if odd.size:
        raise DataFormatError(
            f"ROI {path}: label {float(odd[0]):.4g}: was this mask interpolated linearly? Resample it with nearest neighbour."
        )
    return rounded.astype(np.int32)


def read_hemispheres(func: "Path", space: "Space", ijk: "NDArray[np.int64]") -> "tuple[NDArray[np.str_], list[str]]":
    """Hemisphere of each voxel, from ``*_hemi-{L,R}_*_desc-brain_mask``, else from the sign of x.

    Returns
    -------
    hemi : array of "L", "R" and "n/a", [v]
    notes : list of str

    Raises
    ------
    DataFormatError
        If the masks put the left hemisphere to the right of the right one, or overlap.
    """
    x = space.to_world(ijk)[:, 0]
    hemi = np.full(len(ijk), "n/a", dtype="<U3")
    found = {side: nifti_files(func, f"*_hemi-{side}_*desc-brain_mask") for side in ("L", "R")}
    if not any(found.values()):
        hemi[x < 0], hemi[x > 0] = "L", "R"
        return hemi, [f"hemispheres are taken from the sign of x: {func} holds no *_hemi-L_*_desc-brain_mask.nii.gz"]
    for side, paths in found.items():
        for path in paths:
            inside = read_mask(path, "hemisphere mask", space)[tuple(ijk.T)]
            if (hemi[inside] != "n/a").any():
                raise DataFormatError(f"{path}: {int((hemi[inside] != 'n/a').sum())} voxels are in the masks of both hemispheres")
            hemi[inside] = side
    left, right = x[hemi == "L"], x[hemi == "R"]
    # Scanner coordinates may have their zero off the midline, so the two sides are compared with each other.
    if left.size and right.size and left.mean() >= right.mean():
        raise DataFormatError(
            f"{func}: the voxels of hemi-L lie to the right of hemi-R (mean x {left.mean():.1f} and {right.mean():.1f} mm); "
            "the masks, or the affine, exchange left and right"
        )
    lost = int((hemi == "n/a").sum())
    return hemi, [f"{lost} of {hemi.size} voxels are in no hemisphere mask"] if lost else []
