"""Draw a coloured mesh flat on the page: project, sort by depth, shade, and let matplotlib fill the triangles."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.collections import LineCollection, TriMesh
from matplotlib.patheffects import withStroke
from matplotlib.tri import Triangulation
from scipy.sparse import csr_array

from brain2pix.errors import ShapeError
from brain2pix.figures._style import INK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

# Where the eye stands for a curved surface, seen from behind and from the midline: x right, y front, z up
_EYE = {"L": np.array([0.64, -0.76, 0.10]), "R": np.array([-0.64, -0.76, 0.10])}


class MeshLike(Protocol):
    """A triangle mesh, such as `brain2pix.anatomy.surfaces.Mesh`."""

    @property
    def vertices(self) -> "NDArray[np.float32]":
        """Float array, [p 3], RAS mm."""
        ...

    @property
    def faces(self) -> "NDArray[np.int32]":
        """Int array, [f 3]."""
        ...


@dataclass(frozen=True)
class Projection:
    """A mesh on the page.

    Parameters
    ----------
    places : float array, [p 2], mm right and up
    faces : int array, [f 3], visible ones, the farthest first
    shade : float array, [p], brightness factor of each vertex
    """

    places: "NDArray[np.float64]"
    faces: "NDArray[np.int64]"
    shade: "NDArray[np.float64]"

    def visible(self) -> "NDArray[np.bool_]":
        """Vertices of the drawn triangles, bool [p]."""
        seen = np.zeros(len(self.places), dtype=bool)
        seen[self.faces] = True
        return seen


def project(mesh: MeshLike, hemi: str, kind: str) -> Projection:
    """Look at a surface: flat ones from above, all others from behind and from the midline.

    Parameters
    ----------
    mesh : mesh with vertices [p 3] and faces [f 3]
    hemi : str, "L" or "R"
    kind : str, "flat" or any curved surface
    """
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    if kind == "flat":
        return Projection(vertices[:, :2], faces, np.ones(len(vertices)))
    eye = _EYE[hemi] / np.linalg.norm(_EYE[hemi])
    right = np.cross((0, 0, 1), eye)
    right /= np.linalg.norm(right)
    up = np.cross(eye, right)
    corners = vertices[faces]  # [f 3 xyz]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ eye
    if facing[(corners.mean(axis=1) @ eye).argmax()] < 0:  # the triangle nearest to the eye must face it
        normals, facing = -normals, -facing
    depth = corners.mean(axis=1) @ eye
    front = np.flatnonzero(facing > 0)
    order = front[np.argsort(depth[front], kind="stable")]
    return Projection(vertices @ np.stack([right, up], axis=1), faces[order], _shading(normals, faces, len(vertices), eye))


def draw_mesh(axes: "Axes", view: Projection, colors: "ArrayLike") -> TriMesh:
    """Fill the triangles with colours that run smoothly between the vertices.

    Parameters
    ----------
    axes : Axes
    view : Projection
    colors : float array, [p 4], opaque RGBA of the vertices

    Raises
    ------
    ShapeError
        If there is not one colour per vertex.
    """
    rgba = np.array(colors, dtype=np.float64)
    if rgba.shape != (len(view.places), 4):
        raise ShapeError(f"a mesh of {len(view.places)} vertices needs colours of shape ({len(view.places)}, 4), got {rgba.shape}")
    rgba[:, :3] *= view.shade[:, None]
    used = np.unique(view.faces)
    index = np.zeros(len(rgba), dtype=np.int64)
    index[used] = np.arange(len(used))
    places = view.places[used]
    collection = TriMesh(Triangulation(places[:, 0], places[:, 1], index[view.faces]))
    collection.set_facecolor(rgba[used])  # type: ignore[arg-type]
    collection.set_rasterized(True)  # a gradient per triangle would make vector files of many megabytes
    axes.add_collection(collection)
    return collection


@dataclass(frozen=True)
class Outlines:
    """Borders of areas on the page, and where names may stand.

    Parameters
    ----------
    lines : list of float arrays, [2 2], mm
    seats : dict of name to float array, [k 2], places inside what the name is for, mm, the deepest first
    """

    lines: "list[NDArray[np.float64]]"
    seats: "dict[str, NDArray[np.float64]]"


def find_outlines(
    view: Projection, areas: "Mapping[str, NDArray[np.bool_]]", labels: "Mapping[str, NDArray[np.bool_]] | None" = None
) -> Outlines:
    """Find the borders of areas on a projected mesh.

    An area ends where a neighbour, or no area, outweighs it after a little averaging: borders lose the teeth of the triangles, and
    narrow areas do not shrink.

    Parameters
    ----------
    view : Projection
    areas : mapping of name to bool array, [p]
    labels : mapping of name to bool array, [p], parts of the cortex that are named instead of the areas, e.g. V2d and V2v; no borders
    """
    result = Outlines([], {})
    for lead in _leads(view, areas).values():
        result.lines.extend(_crossing(view, lead))
    triangles = view.places[view.faces].mean(axis=1)
    visible = view.visible()
    for name, lead in _leads(view, areas if labels is None else labels).items():
        inside = np.flatnonzero(visible & (lead > 0))
        if len(inside) >= 3:
            middles = (lead[view.faces] > 0).all(axis=1)
            depth = np.concatenate([lead[inside], lead[view.faces[middles]].mean(axis=1)])
            places = np.concatenate([view.places[inside], triangles[middles]])
            deepest = np.argsort(-depth, kind="stable")[: max(3, int(0.6 * len(depth)))]
            result.seats[name] = places[deepest]
    return result


def draw_outlines(axes: "Axes", outlines: Outlines, mm_per_inch: float) -> None:
    """Draw borders as a thin dark line in a white one, and the names where they cross neither borders nor each other.

    Parameters
    ----------
    axes : Axes, with its limits
    outlines : Outlines
    mm_per_inch : float, of the drawing
    """
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    middles = [line.mean(axis=0) for line in outlines.lines]
    seen = [bool(((middle > low) & (middle < high)).all()) for middle in middles]
    lines = [line for line, inside in zip(outlines.lines, seen, strict=True) if inside]  # not every program clips what an SVG holds
    for width, color in ((1.5, "white"), (0.6, INK)):
        axes.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="round"))
    borders = np.concatenate([np.empty((0, 2)), *(line.mean(axis=0, keepdims=True) for line in lines)])
    letter = mm_per_inch * np.array([0.075, 0.12])  # width and height of one, in 6.5 pt
    corners = [np.array([x, high[1]]) for x in (low[0], high[0])]  # where the hemisphere's letter stands
    taken: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = [(corner, 3 * letter) for corner in corners]
    for name, seats in outlines.seats.items():
        half = letter * np.array([len(name), 1.0]) / 2
        seats = seats[((seats - half > low) & (seats + half < high)).all(axis=1)]
        if not len(seats):
            continue
        crossed = (np.abs(seats[:, None] - borders) < half + 0.2 * letter).all(axis=2).sum(axis=1)
        clash = np.sum([(np.abs(seats - place) < half + other).all(axis=1) for place, other in taken], axis=0)
        middle = np.square((seats - np.median(seats, axis=0)) / np.ptp(seats, axis=0).max(initial=1e-9)).sum(axis=1)
        x, y = seats[(middle + 0.5 * crossed + 1e6 * clash).argmin()]
        taken.append((np.array([x, y]), half))
        halo = [withStroke(linewidth=1.6, foreground="white")]
        axes.text(x, y, name, ha="center", va="center", fontsize=6.5, fontweight="bold", color=INK, path_effects=halo, clip_on=True)


def _leads(view: Projection, areas: "Mapping[str, NDArray[np.bool_]]") -> "dict[str, NDArray[np.float64]]":
    """How far each area outweighs all others, and no area, at each vertex; [p], above 0 inside."""
    masks = np.array([np.asarray(mask, dtype=np.float64) for mask in areas.values()]).reshape(len(areas), len(view.places))
    soft = _soften(np.vstack([masks, 1 - masks.max(axis=0, initial=0)]).T, view.faces)  # [p areas+1]
    return {name: soft[:, column] - np.delete(soft, column, axis=1).max(axis=1) for column, name in enumerate(areas)}


def windows_around(
    views: "Mapping[str, Projection]", focus: "Mapping[str, NDArray[np.bool_]]", margin: float = 12.0
) -> "dict[str, NDArray[np.float64]]":
    """Choose windows of one size for both hemispheres, around the vertices of interest and hardly beyond the mesh.

    Parameters
    ----------
    views : mapping of hemi to Projection
    focus : mapping of hemi to bool array, [p]; all, if none is visible
    margin : float, mm

    Returns
    -------
    dict of hemi to (left, right, bottom, top), mm
    """
    boxes = {}
    for hemi, view in views.items():
        visible = view.visible()
        chosen = visible & focus[hemi] if (visible & focus[hemi]).any() else visible
        low, high = view.places[visible].min(axis=0) - 2, view.places[visible].max(axis=0) + 2
        around = view.places[chosen].min(axis=0) - margin, view.places[chosen].max(axis=0) + margin
        boxes[hemi] = np.maximum(around[0], low), np.minimum(around[1], high)
    size = np.max([high - low for low, high in boxes.values()], axis=0)
    windows = {}
    for hemi, (low, high) in boxes.items():
        spare = size - (high - low)
        outward = np.array([1.0 if hemi == "L" else 0.0, 0.5])  # the narrower one grows away from the midline
        low = low - spare * outward
        windows[hemi] = np.array([low[0], low[0] + size[0], low[1], low[1] + size[1]])
    return windows


def _shading(
    normals: "NDArray[np.float64]", faces: "NDArray[np.int64]", n_vertices: int, eye: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Soft light from the eye and a little from above; colours stay close to their legend."""
    sums = np.zeros((n_vertices, 3))
    for corner in range(3):
        np.add.at(sums, faces[:, corner], normals)
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    light = eye + np.array([0, 0, 0.35])
    return np.asarray(0.72 + 0.28 * np.clip(unit @ (light / np.linalg.norm(light)), 0, 1))


def _crossing(view: Projection, values: "NDArray[np.float64]") -> "list[NDArray[np.float64]]":
    """Line pieces [2 2] where values [p] pass zero, through each drawn triangle that they cross."""
    inside = values[view.faces] > 0  # [f 3]
    crossed = view.faces[inside.any(axis=1) & ~inside.all(axis=1)]
    inside = values[crossed] > 0
    lone = np.where(inside.sum(axis=1) == 1, inside.argmax(axis=1), (~inside).argmax(axis=1))  # the corner unlike the two others
    rows = np.arange(len(crossed))
    corner = crossed[rows, lone]
    ends = []
    for step in (1, 2):
        other = crossed[rows, (lone + step) % 3]
        share = values[corner] / (values[corner] - values[other])
        ends.append(view.places[corner] + share[:, None] * (view.places[other] - view.places[corner]))
    return list(np.stack(ends, axis=1))


def _soften(values: "NDArray[np.float64]", faces: "NDArray[np.int64]", rounds: int = 3) -> "NDArray[np.float64]":
    """Average vertices with their neighbours a few times, [p k]."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    links = csr_array((np.ones(2 * len(ends)), (ends.ravel(), ends[:, ::-1].ravel())), shape=(len(values), len(values)))
    counts = links.sum(axis=1)[:, None] + 1
    for _ in range(rounds):
        values = (values + links @ values) / counts
    return values
