"""Volumes and surfaces in words: NIfTI, CIFTI-2, MGH, GIFTI and FreeSurfer's own files."""

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from brain2pix.data.cifti_files import is_cifti, read_cifti
from brain2pix.data.freesurfer_files import is_vertex_box, kind_of, open_mgh, read_annotation, read_geometry, read_morphometry, vertex_rows
from brain2pix.data.gifti_files import read_gifti
from brain2pix.data.loose_files import read_loose_volume
from brain2pix.data.prf_files.conventions import CONVENTIONS
from brain2pix.data.prf_files.finding import key_of
from brain2pix.data.readers import own
from brain2pix.data.surface_files import FSAVERAGE_SIZES, check_announced, hemisphere_of, reading
from brain2pix.data.volumes import count_axes, open_volume, orientation_note
from brain2pix.data.what_is.said import MOST_BYTES, WINDOW, WhatIs, fact, listed, own_import, quoted, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_SIDES = {"L": "left hemisphere", "R": "right hemisphere", "": "hemisphere not told"}
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
# Names of maps that mean receptive fields wherever they stand; others only beside one of the words.
_SURE = frozenset({"polar_angle", "eccentricity", "eccen", "centerx0", "centery0", "sigmamajor", "rfsize", "varea", "visual_area"})
_WORDS = ("prf", "benson14", "inferred", "retino")
_ROLES = {"x0": "x", "y0": "y", "ecc": "eccentricity", "sigma": "size", "area": "visual area"}


def describe_nifti(path: "Path") -> WhatIs:
    """Describe a volume, a series, a map of receptive fields, or CIFTI-2."""
    if is_cifti(path):
        return _cifti(path)
    n_axes = count_axes(path, "volume")
    if n_axes not in (3, 4):
        image = open_volume(path, "volume", n_axes=n_axes)
        return WhatIs(
            f"NIfTI with {n_axes} axes", (fact("shape", shape_text(image.shape)),), ("take one part of it: 3 axes, or 4 for a series",)
        )
    image = open_volume(path, "volume", n_axes=n_axes)
    check_announced(path, "volume", image.shape, image.get_data_dtype().itemsize)
    return _series(path, image) if n_axes == 4 else _volume(path, image)


def _volume(path: "Path", image: Any) -> WhatIs:
    facts = [_grid(image)]
    if np.prod(image.shape, dtype=np.int64) * max(image.get_data_dtype().itemsize, 4) > MOST_BYTES:
        note = orientation_note(path, image)
        return WhatIs("NIfTI volume, too large to look at every value", (*facts, *_noted([note] if note else [])), (WINDOW,))
    found = read_loose_volume(path)
    values = found.data
    quantity = prf_quantity(path)
    if quantity:
        facts += [fact("values", _range(values)), *_noted(found.notes)]
        return WhatIs(f"NIfTI volume; by its name a map of receptive fields: {quantity}", tuple(facts), prf_actions(path))
    if not found.labels:
        return WhatIs(
            "NIfTI volume", (*facts, fact("values", _range(values)), *_noted(found.notes)), (WINDOW, _anatomy(path), _project(path))
        )
    keys, counts = np.unique(values, return_counts=True)
    parts = [(int(key), int(count)) for key, count in zip(keys, counts, strict=True) if key]
    masks = len(parts) == 1
    names = [f"{found.names.get(key, key)} ({count} voxels)" for key, count in parts]
    facts += [fact("labels", f"{len(parts)}: {listed(names)}" if parts else "none: every voxel is 0"), fact("why", found.why)]
    lost = [key for key, _ in parts if found.names and key not in found.names]
    notes = [*found.notes, *([f"values without a name in the table: {listed(map(str, lost))}"] if lost else [])]
    if not parts:
        return WhatIs("NIfTI volume without content: every voxel is 0", (*facts, *_noted(notes)), (WINDOW,))
    title = "NIfTI mask" if masks else "NIfTI volume of labels"
    return WhatIs(title, (*facts, *_noted(notes)), (f"give it to an import of your responses: --regions {quoted(path)}", WINDOW))


def _series(path: "Path", image: Any) -> WhatIs:
    step = float(image.header.get_zooms()[3]) * _SECONDS.get(image.header.get_xyzt_units()[1], 0.0)
    n_volumes = int(image.shape[3])
    facts = [_grid(image, f", {n_volumes} volumes" + (f", one each {step:g} s" if step else ""))]
    one = int(np.prod(image.shape[:3], dtype=np.int64)) * max(image.get_data_dtype().itemsize, 8)
    if one <= MOST_BYTES:
        with reading(path, "volume"):
            facts.append(fact("values", f"{_range(np.asanyarray(image.dataobj[..., 0]))} in the first volume"))
    note = orientation_note(path, image)
    facts += _noted([note] if note else [])
    said = own.sniff(path)
    if said is not None:
        return WhatIs(f"NIfTI series; {said.text}", tuple(facts), (own_import(path, table=True), WINDOW))
    if "_bold" in path.name:
        raw = "responses to single stimuli must be estimated first (a GLM of single trials); then import those"
        return WhatIs("NIfTI series of scans, by its name (BIDS bold)", tuple(facts), (raw, WINDOW))
    return WhatIs("NIfTI series", tuple(facts), (f"if each volume is the response to one stimulus: {own_import(path)}", WINDOW))


def _cifti(path: "Path") -> WhatIs:
    found = read_cifti(path)
    facts = []
    for hemi, values in sorted(found.values.items()):
        there = int(np.isfinite(values).any(axis=0).sum())
        facts.append(fact("surface", f"{_SIDES[hemi]}: {there:,} of {values.shape[1]:,} vertices, the others are medial wall"))
    facts.append(fact("maps", f"{len(found.names)}: {listed(found.names, 6)}"))
    facts += _labels(found.label_names) if found.label_names else [fact("values", _range(np.concatenate([*found.values.values()], axis=1)))]
    quantity = prf_quantity(path)
    actions = prf_actions(path) if quantity else _of_vertices(path)
    return WhatIs("CIFTI-2" + (f"; by its name receptive fields: {quantity}" if quantity else ""), (*facts, *_noted(found.notes)), actions)


def describe_mgh(path: "Path") -> WhatIs:
    """Describe ``.mgz`` and ``.mgh``: a volume, or values of vertices in an image box."""
    image = open_mgh(path)
    n_bytes = int(np.prod(image.shape, dtype=np.int64)) * 4
    if not is_vertex_box(image.shape):
        facts = [_grid(image)]
        if n_bytes <= MOST_BYTES:
            with reading(path, "volume"):
                facts.append(fact("values", _range(np.asanyarray(image.dataobj))))
        convert = f"mri_convert {quoted(path)} {quoted(path.with_name(path.name.split('.')[0] + '.nii.gz'))}   (FreeSurfer), then open that"
        return WhatIs("FreeSurfer volume (MGH)", tuple(facts), (_project(path), convert))
    n_vertices = max(image.shape[:3])
    facts = [fact("vertices", _vertices(n_vertices)), fact("side", _SIDES[hemisphere_of(path)])]
    if n_bytes <= MOST_BYTES:
        rows = vertex_rows(path, image)
        facts += [fact("maps", str(len(rows))), fact("values", _range(rows))]
    quantity = prf_quantity(path)
    title = f"values of vertices (MGH){f'; by its name a map of receptive fields: {quantity}' if quantity else ''}"
    return WhatIs(title, tuple(facts), prf_actions(path) if quantity else _of_vertices(path))


def describe_gifti(path: "Path") -> WhatIs:
    """Describe a GIFTI mesh, values or labels."""
    found = read_gifti(path)
    facts = [fact("side", _SIDES[found.hemi])]
    parts = []
    if found.mesh is not None:
        parts.append("mesh")
        facts += _mesh(found.mesh.vertices, found.mesh.faces)
    if found.values is not None:
        parts.append("labels of vertices" if found.label_names else "values of vertices")
        if found.mesh is None:
            facts.append(fact("vertices", _vertices(found.values.shape[1])))
        facts.append(fact("maps", f"{len(found.names)}: {listed(found.names, 6)}"))
        facts += _labels(found.label_names) if found.label_names else [fact("values", _range(found.values))]
    quantity = prf_quantity(path) if found.mesh is None else ""
    title = f"GIFTI {' with '.join(parts)}" + (f"; by its name a map of receptive fields: {quantity}" if quantity else "")
    return WhatIs(title, tuple(facts), prf_actions(path) if quantity else _of_vertices(path) if found.values is not None else (WINDOW,))


def describe_freesurfer(path: "Path") -> WhatIs | None:
    """Describe a file without a suffix that nibabel's names know, or an annotation; None if it is none of FreeSurfer's."""
    side = fact("side", _SIDES[hemisphere_of(path)])
    if path.name.endswith(".annot"):
        found = read_annotation(path)
        lost = [f"{found.n_lost} vertices have a colour that the table lacks"] if found.n_lost else []
        facts = (fact("vertices", _vertices(found.labels.size)), side, *_labels(found.names), *_noted(lost))
        return WhatIs("FreeSurfer annotation: labels of vertices", facts, _of_vertices(path))
    kind = kind_of(path)
    if kind == "geometry":
        geometry = read_geometry(path)
        where = "moved to the world of its volume when opened" if geometry.to_scanner is not None else "does not say where its volume lies"
        mesh = geometry.mesh
        return WhatIs("FreeSurfer mesh", (side, *_mesh(mesh.vertices, mesh.faces), fact("space", f"FreeSurfer's; {where}")), (WINDOW,))
    if kind == "morphometry" and hemisphere_of(path):  # by its length alone: the name must be one of FreeSurfer's too
        values = read_morphometry(path)
        return WhatIs(
            "FreeSurfer values of vertices", (side, fact("vertices", _vertices(values.size)), fact("values", _range(values))), (WINDOW,)
        )
    if kind == "patch":
        return WhatIs("FreeSurfer patch: a flat piece of cortex", (side,), ("opens with the other surfaces of its FreeSurfer subject",))
    return None


def prf_quantity(path: "Path") -> str:
    """Say which quantity of receptive fields a map holds by its name, and whose names these are; "" if it is none."""
    key = key_of(path)
    by_quantity: dict[str, list[str]] = {}
    for convention in CONVENTIONS.values():
        for quantity, names in convention.names.items():
            known = [name for name in (one.lower() for one in names) if key == name or key.endswith(("_" + name, "." + name))]
            if any(name in _SURE or any(word in key for word in _WORDS) or name in ("x0", "y0") for name in known):
                by_quantity.setdefault(quantity, []).append(convention.name)
    if not by_quantity:
        return ""
    quantity, conventions = max(by_quantity.items(), key=lambda item: len(item[1]))
    return f"{_ROLES.get(quantity, quantity)} (as in {listed(conventions, 4)})"


def prf_actions(path: "Path") -> tuple[str, ...]:
    """Say what can be done with maps of receptive fields."""
    return (f"brings it, and the maps named like it, to a subject: brain2pix prf import {quoted(path)} SUBJECT", WINDOW)


def _project(path: "Path") -> str:
    return f"to the surfaces of a subject: brain2pix project {quoted(path)} SUBJECT OUT"


def _of_vertices(path: "Path") -> tuple[str, ...]:
    return (WINDOW, f"to the volume of a subject: brain2pix project {quoted(path)} SUBJECT OUT")


def _anatomy(path: "Path") -> str:
    return f"as the anatomy of an import: --anatomy {quoted(path)}"


def _grid(image: Any, more: str = "") -> str:
    edges = " x ".join(f"{edge:.4g}" for edge in np.sqrt((np.asarray(image.affine)[:3, :3] ** 2).sum(axis=0)))
    try:
        axes = "".join(code or "?" for code in nib.aff2axcodes(image.affine))
    except (ValueError, np.linalg.LinAlgError):
        axes = "?"
    return fact("grid", f"{shape_text(image.shape[:3])}, {edges} mm, axes run to {axes}{more}; stored as {image.get_data_dtype()}")


def _range(values: "NDArray[Any]") -> str:
    """Smallest and largest finite value, and how much is missing or zero."""
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iufb" or not numbers.size:
        return f"{numbers.dtype}, {numbers.size} of them"
    finite = np.isfinite(numbers) if numbers.dtype.kind == "f" else np.ones(numbers.shape, dtype=bool)
    if not finite.any():
        return "none is finite"
    good = numbers[finite]
    text = f"{float(good.min()):.4g} to {float(good.max()):.4g}, {np.count_nonzero(good == 0) / numbers.size:.0%} are 0"
    odd = numbers.size - good.size
    return f"{text}, {odd:,} not finite" if odd else text


def _mesh(vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]") -> list[str]:
    if not len(vertices):
        return [fact("vertices", "none")]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    box = ", ".join(f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True))
    return [fact("vertices", f"{_vertices(len(vertices))}, {len(faces):,} triangles"), fact("extent", f"{box} mm")]


def _vertices(count: int) -> str:
    mesh = FSAVERAGE_SIZES.get(count)
    return f"{count:,}" + (f", as many as {mesh}" if mesh else ", as many as fs_LR 32k" if count == 32492 else "")


def _labels(names: "Mapping[int, str]") -> list[str]:
    return [fact("labels", f"{len(names)}: {listed(names.values())}")]


def _noted(notes: "list[str] | tuple[str, ...]") -> list[str]:
    return [fact("note", note) for note in notes]
