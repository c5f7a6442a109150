"""Where each hemisphere stands in the inflated, the spherical and the flat view, and the lines around its areas. No napari.

Left is left in every view: the left hemisphere is drawn at smaller x, and the camera looks with x to the right.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from brain2pix.anatomy.surfaces import GAP_MM, used_vertices
from brain2pix.errors import Brain2PixError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

OPENING_DEG = 17.0  # each inflated hemisphere turns its medial face towards a viewer behind the head, like an opened book
SMOOTHING = 3  # rounds of averaging over neighbours before a border is drawn: voxels are square, areas are not
GYRUS, SULCUS = 0.58, 0.40  # mid greys: the maps use light and dark
LIGHT = (0.0, -1.0, 0.35)  # from behind and a little above: the same for both hemispheres


@dataclass(frozen=True)
class Shape:
    """One hemisphere in one view.

    Parameters
    ----------
    vertices : float32 array, [p 3], display mm
    faces : int array, [f 3]; outward normals
    normals : float32 array, [p 3]
    """

    vertices: "NDArray[np.float32]"
    faces: "NDArray[np.int32]"
    normals: "NDArray[np.float32]"


@dataclass(frozen=True)
class Hemisphere:
    """One hemisphere for display.

    Parameters
    ----------
    name : "L" or "R"
    shapes : dict, what the subject has of "inflated", "sphere", "flat" and "pial"; only the last lies in world mm
    grey : float32 array, [p], binarised folding
    voxel : int array, [p], row of the subject's voxel table; -1 where none is near
    """

    name: str
    shapes: dict[str, Shape]
    grey: "NDArray[np.float32]"
    voxel: "NDArray[np.int64]"


@dataclass(frozen=True)
class Cortex:
    """Both hemispheres; empty if the subject has no surfaces.

    Parameters
    ----------
    hemispheres : dict of Hemisphere, keys "L" and "R"
    missing : dict, view to the reason why it cannot be shown
    """

    hemispheres: dict[str, Hemisphere] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def has(self, view: str) -> bool:
        """Whether both hemispheres can be shown in this view."""
        return len(self.hemispheres) == 2 and all(view in hemisphere.shapes for hemisphere in self.hemispheres.values())


def build_cortex(subject: "Subject") -> Cortex:
    """Prepare a subject's surfaces for display; what is missing or does not fit is named, never raised.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    Cortex
    """
    hemispheres: dict[str, Hemisphere] = {}
    missing: dict[str, str] = {}
    for name in "LR":
        try:
            voxel = subject.vertex_voxels(name)
        except Brain2PixError as error:
            return Cortex({}, dict.fromkeys(PLACES, str(error)))
        shapes = {}
        for view, place in PLACES.items():
            try:
                mesh = subject.mesh(name, view)
            except Brain2PixError as error:
                missing.setdefault(view, str(error))
                continue
            shapes[view] = place(mesh.vertices, mesh.faces, name)
        hemispheres[name] = Hemisphere(name, shapes, _folding(subject, name, voxel.size), voxel)
    return Cortex(hemispheres, missing)


def place_inflated(vertices: "NDArray[np.float32]", faces: "NDArray[np.int32]", hemi: str) -> Shape:
    """Put an inflated hemisphere on its side of the midline, slightly opened towards a viewer behind the head.

    Parameters
    ----------
    vertices : float array, [p 3]
    faces : int array, [f 3]
    hemi : "L" or "R"
    """
    turn = np.radians(-OPENING_DEG if hemi == "L" else OPENING_DEG)
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    placed = (vertices - vertices.mean(axis=0)) @ rotation.T
    return _shape(_beside_midline(placed, placed, hemi), faces)


def place_flat(vertices: "NDArray[np.float32]", faces: "NDArray[np.int32]", hemi: str) -> Shape:
    """Put a flat map on its side of the midline, facing the same viewer; vertices that were cut away are parked at its centre.

    Parameters
    ----------
    vertices : float array, [p 3]; x and y are the map
    faces : int array, [f 3], without the cut-away part
    hemi : "L" or "R"
    """
    used = used_vertices(faces, len(vertices))
    centre = vertices[used].mean(axis=0)
    sheet = np.where(used[:, None], vertices, centre)
    upright = np.stack([sheet[:, 0], np.zeros(len(sheet)), sheet[:, 1] - centre[1]], axis=1)
    return _shape(_beside_midline(upright, upright[used], hemi), faces)


def place_as_is(vertices: "NDArray[np.float32]", faces: "NDArray[np.int32]", hemi: str) -> Shape:
    """Leave a hemisphere where the head has it."""
    return _shape(vertices, faces)


def vertex_normals(vertices: "NDArray[np.float32]", faces: "NDArray[np.int32]") -> "NDArray[np.float32]":
    """Area-weighted unit normals, [p 3]; zero for vertices without a face."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros(vertices.shape, dtype=np.float64)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(length, 1e-12)).astype(np.float32)


def shade(shape: Shape) -> "NDArray[np.float32]":
    """Brightness of each vertex under a soft light from behind the head, [p] in 0.6..1; napari's own light darkens one hemisphere."""
    light = np.asarray(LIGHT) / np.linalg.norm(LIGHT)
    lit: NDArray[np.float32] = (0.62 + 0.38 * np.clip(shape.normals @ light, 0, 1)).astype(np.float32)
    return lit if np.ptp(shape.vertices[:, 1]) > 1 else np.ones_like(lit)  # a flat map has no relief


def area_borders(
    shape: Shape, label: "NDArray[np.integer]", width_mm: float, lift_mm: float
) -> tuple["NDArray[np.float32]", "NDArray[np.int32]"]:
    """Lay ribbons on the surface where the label changes.

    Labels come from voxels, so their edges are jagged: membership is averaged over neighbours first, and a line crosses the edge of a
    triangle where the two memberships are equal. A triangle with two labels is crossed by one line; in one with three labels, three
    lines meet in the centre.

    Parameters
    ----------
    shape : Shape
    label : int array, [p], 0 for none
    width_mm : float, of the ribbon
    lift_mm : float, height above the surface

    Returns
    -------
    vertices : float32 array, [q 3]
    faces : int32 array, [g 3]
    """
    start, end, normal = _border_lines(shape, _membership(shape.faces, label))
    along = end - start
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    aside = np.cross(normal, along)
    aside *= width_mm / 2 / np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-9)
    longer = along * width_mm / 3  # closes the gaps at bends
    lift = normal * lift_mm
    corners = np.stack([start - longer - aside, start - longer + aside, end + longer + aside, end + longer - aside], axis=1) + lift[:, None]
    first = 4 * np.arange(len(start), dtype=np.int32)[:, None]
    faces = np.concatenate([first + np.array([0, 1, 2]), first + np.array([0, 2, 3])]).astype(np.int32)
    return corners.reshape(-1, 3).astype(np.float32), faces


def label_places(shape: Shape, label: "NDArray[np.integer]", codes: "list[int]", preferred: "NDArray[np.bool_]") -> dict[int, int]:
    """Vertex nearest to the middle of each label, or of its preferred part if that is not too small; labels without a vertex are left out.

    Parameters
    ----------
    shape : Shape
    label : int array, [p]
    codes : list of int
    preferred : bool array, [p]
    """
    places = {}
    for code in codes:
        inside = label == code
        better = inside & preferred
        members = np.flatnonzero(better if better.sum() > 0.2 * inside.sum() else inside)
        if members.size:
            points = shape.vertices[members]
            places[code] = int(members[np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1))])
    return places


PLACES = {"inflated": place_inflated, "sphere": place_inflated, "flat": place_flat, "pial": place_as_is}  # a mesh of each kind to its view


def _shape(vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]") -> Shape:
    placed = np.ascontiguousarray(vertices, dtype=np.float32)
    corners = np.ascontiguousarray(faces, dtype=np.int32)
    return Shape(placed, corners, vertex_normals(placed, corners))


def _beside_midline(vertices: "NDArray[np.floating]", used: "NDArray[np.floating]", hemi: str) -> "NDArray[np.floating]":
    shift = -GAP_MM / 2 - used[:, 0].max() if hemi == "L" else GAP_MM / 2 - used[:, 0].min()
    return vertices + np.array([shift, 0, 0])


def _folding(subject: "Subject", hemi: str, n_vertices: int) -> "NDArray[np.float32]":
    try:
        deep = np.asarray(subject.sulc(hemi)) > 0
    except Brain2PixError:
        deep = np.zeros(n_vertices, dtype=bool)
    return np.where(deep, SULCUS, GYRUS).astype(np.float32)


def _membership(faces: "NDArray[np.integer]", label: "NDArray[np.integer]") -> "NDArray[np.float32]":
    """How much each vertex belongs to each label, [p n], averaged over neighbours."""
    codes, index = np.unique(label, return_inverse=True)
    share = np.eye(codes.size, dtype=np.float32)[index]
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    beside = csr_array((np.ones(len(ends), dtype=np.float32), ends.T), shape=(len(label), len(label)))
    beside = beside + beside.T
    degree = beside.sum(axis=1)[:, None]
    for _ in range(SMOOTHING):
        around = beside @ share
        share = np.where(degree > 0, 0.5 * share + 0.5 * around / np.maximum(degree, 1), share)
    return share


def _border_lines(shape: Shape, share: "NDArray[np.floating]") -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]]":
    """Start, end and surface normal of the lines between labels, each [s 3]."""
    own = share.argmax(axis=1)
    here, there = shape.faces, shape.faces[:, [1, 2, 0]]  # ends of the edges 01, 12, 20
    cut = own[here] != own[there]
    crossing = _crossings(shape.vertices, share, own, here, there)
    normal = shape.normals[shape.faces].mean(axis=1)
    two = np.flatnonzero(cut.sum(axis=1) == 2)
    edges = np.argsort(~cut[two], axis=1, kind="stable")[:, :2]
    start, end = crossing[two, edges[:, 0]], crossing[two, edges[:, 1]]
    three = np.flatnonzero(cut.sum(axis=1) == 3)
    centre = np.repeat(shape.vertices[shape.faces[three]].mean(axis=1), 3, axis=0)
    return (
        np.concatenate([start, crossing[three].reshape(-1, 3)]),
        np.concatenate([end, centre]),
        np.concatenate([normal[two], np.repeat(normal[three], 3, axis=0)]),
    )


def _crossings(
    vertices: "NDArray[np.floating]",
    share: "NDArray[np.floating]",
    own: "NDArray[np.integer]",
    here: "NDArray[np.integer]",
    there: "NDArray[np.integer]",
) -> "NDArray[np.floating]":
    """Point of each edge where the labels of its two ends are equally strong, [f 3 3]; meaningless where they are the same."""
    ahead = share[here, own[here]] - share[here, own[there]]
    behind = share[there, own[there]] - share[there, own[here]]
    part = (ahead / np.maximum(ahead + behind, 1e-9))[..., None]
    return vertices[here] * (1 - part) + vertices[there] * part
