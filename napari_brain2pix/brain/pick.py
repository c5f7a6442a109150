"""What lies under a click: the vertex that a ray meets first, the voxel at a place or on a ray, the receptive fields at a place. No Qt.

napari's own picking of surfaces returns a face and takes 0.8 s on a full mesh: a tree over the vertices leaves a few triangles to test.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from brain2pix.anatomy.transforms import world_to_voxel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject
    from napari_brain2pix.brain.cortex import Cortex, Shape

PARALLEL = 1e-12  # determinant below which a ray runs along a triangle


@dataclass(frozen=True)
class Hit:
    """Where a ray meets the cortex.

    Parameters
    ----------
    hemi : "L" or "R"
    vertex : int, of that hemisphere, nearest to the place
    row : int, voxel that the vertex shows; -1 where none is near
    """

    hemi: str
    vertex: int
    row: int


class ShapePicker:
    """Finds where rays meet one hemisphere in one view.

    Parameters
    ----------
    shape : Shape
    """

    def __init__(self, shape: "Shape") -> None:
        self._vertices = shape.vertices.astype(np.float64)
        self._faces = shape.faces
        used = np.unique(shape.faces)  # what was cut away from a flat map lies somewhere, and is not there
        self._used, self._tree = used, cKDTree(self._vertices[used])
        corners = self._vertices[shape.faces]
        self._edge = float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max())
        order = np.argsort(shape.faces, axis=None, kind="stable")
        self._faces_by_vertex = order // 3
        self._first = np.searchsorted(shape.faces.ravel()[order], np.arange(len(shape.vertices) + 1))
        low, high = self._vertices[used].min(axis=0), self._vertices[used].max(axis=0)
        self._centre, self._radius = (low + high) / 2, float(np.linalg.norm(high - low) / 2)

    def first(self, origin: "ArrayLike", direction: "ArrayLike") -> tuple[int, float] | None:
        """Vertex nearest to where a line first meets the surface, and how far along the line that is; None if it misses.

        Parameters
        ----------
        origin : float array, [3], any point of the line, also one beyond the surface
        direction : float array, [3], away from the viewer

        Returns
        -------
        (int, float) or None
        """
        start = np.asarray(origin, dtype=np.float64)
        along = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
        faces = self._near(start, along)
        distance = ray_triangles(start, along, self._vertices[self._faces[faces]])
        if not np.isfinite(distance).any():
            return None
        nearest = int(np.argmin(np.where(np.isfinite(distance), distance, np.inf)))
        corners = self._faces[faces[nearest]]
        place = start + distance[nearest] * along
        return int(corners[np.argmin(np.linalg.norm(self._vertices[corners] - place, axis=1))]), float(distance[nearest])

    def _near(self, start: "NDArray[np.float64]", along: "NDArray[np.float64]") -> "NDArray[np.int64]":
        """Triangles that a line may meet: those with a corner near it. No point of a triangle is farther than edge / sqrt(3) from one."""
        middle = float((self._centre - start) @ along)
        steps = np.arange(middle - self._radius, middle + self._radius + self._edge, self._edge)
        balls = self._tree.query_ball_point(start + steps[:, None] * along, self._edge * (0.5 + 1 / np.sqrt(3)))
        vertices = self._used[np.unique(np.concatenate([np.asarray(ball, dtype=np.int64) for ball in balls]))]
        parts = [self._faces_by_vertex[self._first[vertex] : self._first[vertex + 1]] for vertex in vertices]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def ray_triangles(origin: "NDArray[np.float64]", direction: "NDArray[np.float64]", corners: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """How far along a line each triangle is met, from either side, [f]; NaN where it is missed.

    Parameters
    ----------
    origin, direction : float arrays, [3]
    corners : float array, [f 3 3]

    References
    ----------
    .. [1] Moeller, Trumbore, 1997, doi:10.1080/10867651.1997.10487468, without culling.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    determinant = (first * across).sum(axis=1)
    usable = np.abs(determinant) > PARALLEL
    inverse = 1 / np.where(usable, determinant, 1)
    offset = origin - corners[:, 0]
    u = (offset * across).sum(axis=1) * inverse
    turned = np.cross(offset, first)
    v = turned @ direction * inverse
    inside = usable & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    return np.where(inside, (second * turned).sum(axis=1) * inverse, np.nan)


class CortexPicker:
    """Finds what a click on the cortex means; trees are made on first use.

    Parameters
    ----------
    cortex : Cortex
    """

    def __init__(self, cortex: "Cortex") -> None:
        self._cortex = cortex
        self._pickers: dict[tuple[str, str], ShapePicker] = {}

    def first(self, view: str, origin: "ArrayLike", direction: "ArrayLike") -> Hit | None:
        """Find what a line meets first, of both hemispheres.

        Parameters
        ----------
        view : str, a shape of the hemispheres
        origin, direction : float arrays, [3], display mm
        """
        found = []
        for hemi, side in self._cortex.hemispheres.items():
            if (hemi, view) not in self._pickers:
                self._pickers[hemi, view] = ShapePicker(side.shapes[view])
            met = self._pickers[hemi, view].first(origin, direction)
            if met is not None:
                vertex, distance = met
                found.append((distance, Hit(hemi, vertex, int(side.voxel[vertex]))))
        return min(found, key=lambda item: item[0])[1] if found else None


def voxel_at(subject: "Subject", place: "ArrayLike") -> int:
    """Row of the voxel that a world point lies in; -1 if it lies in none.

    Parameters
    ----------
    subject : Subject
    place : float array, [3], RAS mm
    """
    cell = np.floor(world_to_voxel(np.asarray(place, dtype=np.float64)[None], subject.space.affine)[0] + 0.5).astype(np.int64)
    found = np.flatnonzero((subject.ijk == cell).all(axis=1))
    return int(found[0]) if found.size else -1


def voxel_on_ray(subject: "Subject", origin: "ArrayLike", direction: "ArrayLike", candidates: "NDArray[np.bool_]") -> int:
    """Row of the first of some voxels that a line passes through; -1 if it misses them all.

    Parameters
    ----------
    subject : Subject
    origin, direction : float arrays, [3], RAS mm; the direction leads away from the viewer
    candidates : bool array, [v], e.g. those that are drawn
    """
    rows = np.flatnonzero(candidates)
    ends = world_to_voxel(np.stack([np.asarray(origin), np.asarray(origin) + np.asarray(direction)]), subject.space.affine)
    start, along = ends[0], ends[1] - ends[0]
    along = np.where(np.abs(along) < PARALLEL, PARALLEL, along)
    # Slabs: each voxel is the cube of edge 1 around its indices.
    low, high = (subject.ijk[rows] - 0.5 - start) / along, (subject.ijk[rows] + 0.5 - start) / along
    enter, leave = np.minimum(low, high).max(axis=1, initial=-np.inf), np.maximum(low, high).min(axis=1, initial=np.inf)
    met = enter <= leave
    return int(rows[np.argmin(np.where(met, enter, np.inf))]) if met.any() else -1


def rows_at(found: "RetinotopicMap", x_deg: float, y_deg: float, reach_deg: float, candidates: "NDArray[np.bool_]") -> "NDArray[np.int64]":
    """Voxels whose receptive fields have their centre within reach of a place in the visual field; if there is none, the nearest one.

    Parameters
    ----------
    found : RetinotopicMap, over all voxels of the subject
    x_deg, y_deg, reach_deg : float
    candidates : bool array, [v], voxels to choose from
    """
    away = np.hypot(found.x0_deg - x_deg, found.y0_deg - y_deg)
    away = np.where(candidates & np.isfinite(away), away, np.inf)
    near = np.flatnonzero(away <= reach_deg)
    if near.size or not np.isfinite(away).any():
        return near
    return np.array([int(np.argmin(away))])


def vertices_of(cortex: "Cortex", rows: "NDArray[np.integer]") -> "dict[str, NDArray[np.int64]]":
    """Vertices of each hemisphere that show one of some voxels."""
    return {hemi: np.flatnonzero(np.isin(side.voxel, rows) & (side.voxel >= 0)) for hemi, side in cortex.hemispheres.items()}
