"""Core results to napari layers: the only place that knows layer types. Plain functions of plain arrays.

Volumes go to napari as they are, x y z = R A S with their affine in mm: transposing them would mirror the brain.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import MissingDataError
from napari_brain2pix.brain.cortex import area_borders, label_places, shade
from napari_brain2pix.folders.contents import NOT_AREAS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject
    from napari_brain2pix.brain.cortex import Cortex, Shape
    from napari_brain2pix.brain.maps import MapView

LayerTuple = tuple[Any, dict[str, Any], str]

T1, MAP, AREAS, REGION, CHOSEN = "T1w", "Retinotopic map", "Areas", "Region", "Selected voxels"
CHOSEN_DOTS = "Selected places"
LEFT, RIGHT, BORDERS, REGION_LINE, NAMES = "Left hemisphere", "Right hemisphere", "Area borders", "Region border", "Area names"
HEMISPHERES = {"L": LEFT, "R": RIGHT}

SPACE = {"units": ("mm", "mm", "mm"), "axis_labels": ("R", "A", "S")}
# Okabe-Ito, safe for colour-blind eyes; V1-V3 first, then the category areas in turn
EARLY = {"V1": "#0072B2", "V2": "#E69F00", "V3": "#009E73", "hV4": "#F0E442"}
OTHERS = ("#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MAP_RELIEF = 0.35  # of the relief that the cortex around a map has
OUTLINE_MM, MOST_CELLS = 0.6, 48e6
GLASS_LOOK = (0.35, 1.0, -0.35)  # of the first look at the 3-D volume
INK, PAPER, REGION_COLOUR = (0.06, 0.07, 0.09), (0.96, 0.96, 0.96), (1.0, 0.86, 0.25)
CHOSEN_COLOUR = (0.25, 1.0, 0.65)  # in none of the maps
DOT_MM, DOT_LIFT_MM = 4.5, 1.5
# Colours and opacities of a map in a volume: with one entry for nothing they fill the 1024 texels of a colour map on the graphics card.
VALUE_STEPS, OPACITY_STEPS = 93, 11


def area_names(subject: "Subject") -> list[str]:
    """Whole areas, early ones first: unions such as V1 instead of V1v and V1d."""
    names = [name for name in subject.areas if name not in NOT_AREAS and subject.areas[name].any()]
    parts = {name for name in names if name[-1] in "vd" and name[:-1] in names}
    whole = [name for name in names if name not in parts]
    return sorted(whole, key=lambda name: (name not in EARLY, list(EARLY).index(name) if name in EARLY else 0))


def area_parts(subject: "Subject") -> list[str]:
    """Areas without overlap among themselves where possible: V1v and V1d instead of V1."""
    parts = []
    for name in area_names(subject):
        halves = [name + end for end in "vd" if name + end in subject.areas and subject.areas[name + end].any()]
        parts += halves or [name]
    return parts


def area_colour(name: str, names: list[str]) -> str:
    """Colour of an area; halves share that of the whole."""
    whole = name if name in EARLY else name[:-1] if name[:-1] in EARLY else name
    others = [other for other in names if other not in EARLY]
    return EARLY.get(whole) or OTHERS[others.index(whole) % len(OTHERS)]


def t1_layer(subject: "Subject", folder: Path) -> LayerTuple | None:
    """Anatomy as an image; None if the subject has none."""
    try:
        volume, affine = subject.t1w()
    except MissingDataError:
        return None
    low, high = (float(value) for value in np.percentile(volume[volume > 0], (1, 99.5))) if (volume > 0).any() else (0.0, 1.0)
    settings = {"name": T1, "affine": affine, "colormap": "gray", "contrast_limits": (0.6 * low, 1.4 * max(high, low + 1e-6)), **SPACE}
    return np.asarray(volume), {**settings, "metadata": _origin(folder)}, "image"


def area_layer(subject: "Subject", folder: Path, finer: int = 1) -> LayerTuple:
    """Areas as labels with names and colours; where areas overlap, the later one shows.

    Parameters
    ----------
    subject : Subject
    folder : Path, noted in the layer
    finer : int, cells per voxel edge; thin outlines need a finer grid than the voxels
    """
    names = area_names(subject)
    volume = np.zeros(subject.space.shape, dtype=np.uint8)
    for code, name in enumerate(names, 1):
        volume[_cells(subject, subject.areas[name])] = code
    colours: dict[int | None, Any] = {code: area_colour(name, names) for code, name in enumerate(names, 1)}
    simulated = "simulated " if subject.simulated else ""
    features = {"index": range(len(names) + 1), "name": ["", *(simulated + name for name in names)]}
    cells, affine = _finer(volume, subject.space.affine, finer)
    settings = {"name": AREAS, "affine": affine, "features": features, "colormap": {**colours, None: "transparent"}, **SPACE}
    return cells, {**settings, "metadata": _origin(folder)}, "labels"


def region_layer(subject: "Subject", mask: "NDArray[np.bool_]", folder: Path, finer: int = 1) -> LayerTuple:
    """Chosen voxels as a label of their own."""
    volume = np.zeros(subject.space.shape, dtype=np.uint8)
    volume[_cells(subject, mask)] = 1
    cells, affine = _finer(volume, subject.space.affine, finer)
    settings = {"name": REGION, "affine": affine, "colormap": {1: REGION_COLOUR, None: "transparent"}, **SPACE}
    return cells, {**settings, "metadata": _origin(folder)}, "labels"


def chosen_layer(subject: "Subject", rows: "NDArray[np.integer]", folder: Path, finer: int = 1) -> LayerTuple:
    """Label selected voxels, in a box of its own around them: to move a selection must not mean to fill the whole volume."""
    cells = subject.ijk[rows] if len(rows) else np.zeros((0, 3), dtype=np.int64)
    low = cells.min(axis=0) - 1 if len(cells) else np.zeros(3, dtype=np.int64)
    volume = np.zeros(cells.max(axis=0) + 2 - low if len(cells) else (3, 3, 3), dtype=np.uint8)
    volume[tuple((cells - low).T)] = 1
    affine = subject.space.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    fine, affine = _finer(volume, affine, finer)
    settings = {"name": CHOSEN, "affine": affine, "colormap": {1: CHOSEN_COLOUR, None: "transparent"}, "opacity": 1.0, **SPACE}
    return fine, {**settings, "metadata": _origin(folder)}, "labels"


def dots_layer(places: "NDArray[np.floating]", folder: Path) -> LayerTuple:
    """Mark selected places of a 3-D view with dots.

    Parameters
    ----------
    places : float array, [n 3], display mm
    folder : Path, noted in the layer
    """
    settings = {
        "name": CHOSEN_DOTS,
        "size": DOT_MM,
        "face_color": [*CHOSEN_COLOUR, 1.0],
        "border_color": [*INK, 1.0],
        "border_width": 0.18,
        **SPACE,
        "metadata": _origin(folder),
    }
    return np.asarray(places, dtype=np.float32).reshape(-1, 3), settings, "points"


def dot_places(cortex: "Cortex", view: str, vertices: "dict[str, NDArray[np.int64]]") -> "NDArray[np.float32]":
    """Places a little above chosen vertices of both hemispheres, [n 3]: dots would sink into the curved surface."""
    shapes = {hemi: side.shapes[view] for hemi, side in cortex.hemispheres.items()}
    lifted = [shapes[hemi].vertices[chosen] + DOT_LIFT_MM * shapes[hemi].normals[chosen] for hemi, chosen in vertices.items()]
    return np.concatenate(lifted) if lifted else np.zeros((0, 3), dtype=np.float32)


def outline_grid(subject: "Subject") -> int:
    """Cells per voxel edge that make an outline of one cell look thin, within what memory allows."""
    wanted = round(float(np.mean(subject.space.voxel_mm)) / OUTLINE_MM)
    possible = int((MOST_CELLS / np.prod(subject.space.shape)) ** (1 / 3))
    return max(1, min(wanted, possible))


def map_layer(subject: "Subject", view: "MapView", folder: Path) -> LayerTuple:
    """One map as a volume of its values: nearest neighbour, because angles must not be averaged; transparent where there is none.

    Parameters
    ----------
    subject : Subject
    view : MapView
    folder : Path, noted in the layer
    """
    from napari.utils.colormaps import Colormap

    volume = np.full(subject.space.shape, np.nan, dtype=np.float32)
    volume[_cells(subject, view.shown)] = view.value[view.shown]
    settings = {
        "name": MAP,
        "affine": subject.space.affine,
        "colormap": Colormap(view.kind.table(), name=f"brain2pix {view.kind.name}", interpolation="zero", nan_color="transparent"),
        "contrast_limits": (view.kind.low, view.kind.high),
        "interpolation2d": "nearest",
        "interpolation3d": "nearest",
        "rendering": "translucent",
        **SPACE,
        "metadata": _origin(folder),
    }
    return volume, settings, "image"


def faded_map_layer(subject: "Subject", view: "MapView", folder: Path) -> LayerTuple:
    """One map as a volume of codes that stand for colour and opacity: voxels fade with their quality, in slices and in 3-D alike.

    An image layer has one opacity for all, and 3-D rendering takes no colours per voxel; 0 is nothing.

    Parameters
    ----------
    subject : Subject
    view : MapView
    folder : Path, noted in the layer
    """
    from napari.utils.colormaps import Colormap

    table = view.kind.colours(np.linspace(view.kind.low, view.kind.high, VALUE_STEPS))
    opacity = np.linspace(0, 1, OPACITY_STEPS + 1)[1:]
    entries = np.concatenate([np.tile(table, (OPACITY_STEPS, 1)), np.repeat(opacity, VALUE_STEPS)[:, None]], axis=1)
    volume = np.zeros(subject.space.shape, dtype=np.float32)
    volume[_cells(subject, view.shown)] = _codes(view)[view.shown]
    settings = {
        "name": MAP,
        "affine": subject.space.affine,
        "colormap": Colormap(np.concatenate([np.zeros((1, 4)), entries]), name=f"brain2pix {view.kind.name}", interpolation="zero"),
        "contrast_limits": (-0.5, len(entries) + 0.5),  # each code in the middle of its texel
        "interpolation2d": "nearest",
        "interpolation3d": "nearest",
        "rendering": "translucent",
        **SPACE,
        "metadata": _origin(folder),
    }
    return volume, settings, "image"


def _codes(view: "MapView") -> "NDArray[np.int64]":
    """Entry of each voxel in the colours of `faded_map_layer`, [v]; meaningless where nothing is shown."""
    span = np.nan_to_num((view.value - view.kind.low) / (view.kind.high - view.kind.low))
    value = np.clip(np.rint(span * (VALUE_STEPS - 1)), 0, VALUE_STEPS - 1).astype(np.int64)
    opacity = np.clip(np.rint(view.alpha * OPACITY_STEPS), 1, OPACITY_STEPS).astype(np.int64)
    return 1 + (opacity - 1) * VALUE_STEPS + value


def surface_layer(cortex: "Cortex", hemi: str, view: str, colours: "NDArray[np.float32]", folder: Path) -> LayerTuple:
    """One hemisphere with its colours."""
    shape = cortex.hemispheres[hemi].shapes[view]
    settings = {"name": HEMISPHERES[hemi], "vertex_colors": colours, "shading": "none", **SPACE, "metadata": _origin(folder)}
    return (shape.vertices, shape.faces), settings, "surface"


def glass_colours(shape: "Shape") -> "NDArray[np.float32]":
    """Cortex as glass around the volume: faint where it faces the viewer, denser at its rim, [p 4]."""
    facing = np.abs(shape.normals @ (np.asarray(GLASS_LOOK) / np.linalg.norm(GLASS_LOOK)))
    alpha = 0.05 + 0.45 * (1 - facing) ** 2
    return np.concatenate([np.full((len(alpha), 3), 0.75), alpha[:, None]], axis=1).astype(np.float32)


def vertex_colours(cortex: "Cortex", hemi: str, shape_name: str, view: "MapView | None") -> "NDArray[np.float32]":
    """Blend a map over the folding by its quality: NaN and weak voxels show the cortex below, never black.

    Parameters
    ----------
    cortex : Cortex
    hemi : "L" or "R"
    shape_name : "inflated" or "flat"
    view : MapView over the subject's voxels, or None

    Returns
    -------
    float32 array, [p 4]
    """
    hemisphere = cortex.hemispheres[hemi]
    light = shade(hemisphere.shapes[shape_name])[:, None]
    base = np.repeat(hemisphere.grey[:, None], 3, axis=1) * light
    if view is not None:
        near = hemisphere.voxel
        alpha = np.where(near >= 0, view.alpha[near], 0)[:, None]
        colour = np.where(alpha > 0, view.colours[near], 0) * (1 - MAP_RELIEF * (1 - light))  # colours must stay those of the legend
        base = alpha * colour + (1 - alpha) * base
    return np.concatenate([base, np.ones_like(light)], axis=1).astype(np.float32)


def border_mesh(cortex: "Cortex", view: str, labels: "dict[str, NDArray[np.integer]]", width_mm: float) -> tuple[Any, Any, Any]:
    """Light lines with dark edges where areas meet, over both hemispheres: vertices, faces, colours."""
    strokes = [(width_mm * 2.2, 0.30, INK), (width_mm, 0.45, PAPER)]
    return _join([_stroke(cortex, view, labels, *stroke) for stroke in strokes])


def region_mesh(cortex: "Cortex", view: str, mask: "NDArray[np.bool_]", width_mm: float) -> tuple[Any, Any, Any]:
    """Draw a bright line around chosen voxels: vertices, faces, colours."""
    labels = {hemi: (mask[side.voxel] & (side.voxel >= 0)).astype(np.int32) for hemi, side in cortex.hemispheres.items()}
    strokes = [(width_mm * 2.0, 0.50, INK), (width_mm * 1.15, 0.65, REGION_COLOUR)]
    return _join([_stroke(cortex, view, labels, *stroke) for stroke in strokes])


def mesh_layer(mesh: tuple[Any, Any, Any], name: str, folder: Path) -> LayerTuple:
    """Give a coloured mesh, e.g. border lines, as a layer."""
    vertices, faces, colours = mesh
    return (vertices, faces), {"name": name, "vertex_colors": colours, "shading": "none", **SPACE, "metadata": _origin(folder)}, "surface"


def vertex_labels(subject: "Subject", cortex: "Cortex", names: list[str]) -> "dict[str, NDArray[np.int32]]":
    """Area of each vertex, by its voxel: 1..n in the order of `names`, 0 for none."""
    code = np.zeros(len(subject.voxels), dtype=np.int32)
    for number, name in enumerate(names, 1):
        code[subject.areas[name]] = number
    return {hemi: np.where(side.voxel >= 0, code[side.voxel], 0).astype(np.int32) for hemi, side in cortex.hemispheres.items()}


def name_layer(
    cortex: "Cortex",
    view: str,
    labels: "dict[str, NDArray[np.int32]]",
    names: list[str],
    colours: "dict[str, NDArray[np.float32]]",
    folder: Path,
) -> LayerTuple:
    """Names of the areas, each in the middle of its area, dark on light colours.

    The features carry vertex and outward normal: names on the far side are hidden, and inks follow the map.
    """
    rows = []
    for hemi, side in cortex.hemispheres.items():
        shape = side.shapes[view]
        coloured = np.ptp(colours[hemi][:, :3], axis=1) > 0.02  # what shows the map: an ink that suits its middle suits the name
        for code, vertex in label_places(shape, labels[hemi], list(range(1, len(names) + 1)), coloured).items():
            rows.append((names[code - 1], hemi, vertex, shape.vertices[vertex], shape.normals[vertex]))
    places = np.array([place + 2 * normal for _, _, _, place, normal in rows]).reshape(-1, 3)
    normals = np.array([normal for *_, normal in rows]).reshape(-1, 3)
    features: dict[str, Any] = {"area": [row[0] for row in rows], "hemi": [row[1] for row in rows], "vertex": [row[2] for row in rows]}
    features |= {f"n{axis}": normals[:, number] for number, axis in enumerate("xyz")}
    # What faces the viewer is chosen by the normals, not by depth: letters would sink into the curved surface.
    text = {"string": "{area}", "size": 8, "anchor": "center", "blending": "translucent_no_depth"}
    settings = {
        "name": NAMES,
        "features": features,
        "text": {**text, "color": name_inks(features["hemi"], features["vertex"], colours)},
        "size": 0.1,
        "face_color": "transparent",
        "border_color": "transparent",
        **SPACE,
        "metadata": _origin(folder),
    }
    return places, settings, "points"


def name_inks(hemis: Any, vertices: Any, colours: "dict[str, NDArray[np.float32]]") -> "NDArray[np.float32]":
    """Ink of each name, [n 4]: dark where the cortex below it is light."""
    below = np.array([colours[hemi][vertex, :3] for hemi, vertex in zip(hemis, vertices, strict=True)]).reshape(-1, 3)
    light = below @ np.array([0.2126, 0.7152, 0.0722]) > 0.62
    return np.where(light[:, None], [*INK, 1.0], [1.0, 1.0, 1.0, 1.0]).astype(np.float32)


def reader_layers(subject: "Subject", cortex: "Cortex", view: "MapView | None", folder: Path) -> list[LayerTuple]:
    """Everything a viewer without our dock should see: anatomy, map and areas; the inflated hemispheres are there but hidden."""
    layers = [t1_layer(subject, folder), map_layer(subject, view, folder) if view else None, area_layer(subject, folder)]
    if cortex.has("inflated"):
        for hemi in cortex.hemispheres:
            data, settings, kind = surface_layer(cortex, hemi, "inflated", vertex_colours(cortex, hemi, "inflated", view), folder)
            layers.append((data, {**settings, "visible": False}, kind))
    fresh = [(data, {**settings, "metadata": _origin(folder, fresh=True)}, kind) for data, settings, kind in filter(None, layers)]
    return fresh


def came_from(metadata: dict[str, Any]) -> Path | None:
    """Folder that a layer of ours was made from; None for other people's layers."""
    ours = metadata.get("brain2pix")
    return Path(ours["folder"]) if isinstance(ours, dict) and "folder" in ours else None


def is_fresh(metadata: dict[str, Any]) -> bool:
    """Whether a layer came from our reader, and no dock has taken it over."""
    return came_from(metadata) is not None and bool(metadata["brain2pix"].get("fresh"))


def _origin(folder: Path, *, fresh: bool = False) -> dict[str, Any]:
    return {"brain2pix": {"folder": str(folder), "fresh": fresh}}


def _cells(subject: "Subject", mask: "NDArray[np.bool_]") -> tuple["NDArray[np.int64]", ...]:
    """Give indices of the chosen voxels into a volume."""
    return tuple(subject.voxels[axis].to_numpy()[mask] for axis in "ijk")


def _finer(volume: "NDArray[np.uint8]", affine: "NDArray[np.float64]", factor: int) -> tuple["NDArray[np.uint8]", "NDArray[np.float64]"]:
    """Split each voxel into `factor` cells along each edge, and say where they lie."""
    for axis in range(3):
        volume = np.repeat(volume, factor, axis=axis)
    split = np.diag([1 / factor] * 3 + [1.0])
    split[:3, 3] = (1 / factor - 1) / 2  # the first cell's centre, seen from the first voxel's
    return volume, affine @ split


def _stroke(
    cortex: "Cortex", view: str, labels: "dict[str, NDArray[np.integer]]", width: float, lift: float, colour: tuple[float, ...]
) -> tuple[Any, Any, Any]:
    parts = []
    for hemi, side in cortex.hemispheres.items():
        vertices, faces = area_borders(side.shapes[view], labels[hemi], width, lift)
        parts.append((vertices, faces, np.tile(np.array([*colour, 1], dtype=np.float32), (len(vertices), 1))))
    return _join(parts)


def _join(parts: list[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    """Several meshes as one; a speck nobody sees if there is nothing, because napari refuses an empty mesh."""
    shifts = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts[:-1])])
    vertices = np.concatenate([part[0] for part in parts])
    faces = np.concatenate([part[1] + shift for part, shift in zip(parts, shifts, strict=True)])
    colours = np.concatenate([part[2] for part in parts])
    if not len(faces):
        return np.zeros((3, 3), dtype=np.float32), np.array([[0, 1, 2]], dtype=np.int32), np.zeros((3, 4), dtype=np.float32)
    return vertices, faces, colours
