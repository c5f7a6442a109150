"""From volumes to surfaces and back. A voxel or vertex without a value (NaN) takes no part; coverage says how much did.

Receptive fields go through their Cartesian parts only: the mean of the angles 350 and 10 is 180, of the positions it is 0.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_matrix

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.anatomy.transforms import world_to_voxel
from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

How = Literal["linear", "nearest", "label"]
# Between white (0) and pial (1). The innermost and outermost fifth is left out: there a voxel is in part white matter or fluid.
DEPTHS = (0.2, 0.35, 0.5, 0.65, 0.8)
LARGEST_LABEL = 2**24  # that a 32-bit fraction holds exactly
_STEP_VOXELS = 0.5  # between the points that a triangle and the thickness of cortex are filled with
_MOST_STEPS = 12
_POINTS_AT_ONCE = 500_000


@dataclass(frozen=True)
class RibbonValues:
    """Values of the voxels that a hemisphere's cortex runs through, ordered by (i, j, k).

    Parameters
    ----------
    ijk : int64 array, [v 3]
    values : float32 array, [... v], NaN where no vertex in the voxel has a value
    coverage : float32 array, [v], share of the cortex in the voxel that has a value (0..1)
    vertex : int64 array, [v], the vertex that has most of the voxel
    weight : float32 array, [v], cortex in the voxel, area times share of depth [mm²]; of two hemispheres the one with more has it
    """

    ijk: "NDArray[np.int64]"
    values: "NDArray[np.float32]"
    coverage: "NDArray[np.float32]"
    vertex: "NDArray[np.int64]"
    weight: "NDArray[np.float32]"


def sample_volume(
    volume: "ArrayLike", affine: "ArrayLike", white: Mesh, pial: Mesh, depths: "Sequence[float]" = DEPTHS, how: How = "linear"
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Give each vertex the value of the volume, averaged over depths between white and pial.

    Parameters
    ----------
    volume : array, [i j k]; NaN where there is no value
    affine : float array, [4 4], voxel indices to RAS mm, the world of the meshes
    white, pial : Mesh, [p 3]
    depths : sequence of float, 0 = white, 1 = pial
    how : {"linear", "nearest", "label"}: weighted mean over the finite ones of the eight voxels about each point; mean over the nearest
        voxels; the most frequent value of the nearest voxels (the smallest of equals), for whole numbers that name things

    Returns
    -------
    values : float32 array, [p], NaN where no finite voxel was met
    coverage : float32 array, [p], share of the weights that met a finite voxel (0..1)

    Raises
    ------
    ShapeError
        If the volume has not three axes, or white and pial differ in their vertices.
    ConfigError
        If `how` is unknown, a depth is not in 0..1, or labels are no whole numbers.
    """
    data = np.asarray(volume, dtype=np.float64)
    if data.ndim != 3:
        raise ShapeError(f"a volume to sample has three axes, got shape {data.shape}; take one part of a series")
    _check_pair(white, pial)
    if how not in get_args(How):
        raise ConfigError(unknown_name("way of sampling", how, get_args(How)))
    if not depths or not all(0 <= depth <= 1 for depth in depths):
        raise ConfigError(f"depths are shares of the way from white (0) to pial (1), got {list(depths)}")
    inside, outside = white.vertices.astype(np.float64), pial.vertices.astype(np.float64)
    points = [world_to_voxel(inside * (1 - depth) + outside * depth, affine).T for depth in depths]
    finite = np.isfinite(data)
    filled = np.where(finite, data, 0.0)
    if how == "label":
        _check_labels(filled)
        return _vote(np.stack([_at(filled, place, 0) for place in points]), np.stack([_at(finite, place, 0) > 0 for place in points]))
    order = 1 if how == "linear" else 0
    total = np.sum([_at(filled, place, order) for place in points], axis=0)
    weight = np.sum([_at(finite, place, order) for place in points], axis=0)
    weight[weight < 1e-9] = 0.0  # rounding
    values = np.divide(total, weight, out=np.full(weight.shape, np.nan), where=weight > 0)
    return values.astype(np.float32), (weight / len(points)).clip(0, 1).astype(np.float32)


def sample_surface(
    values: "ArrayLike", white: Mesh, pial: Mesh, shape: "tuple[int, int, int]", affine: "ArrayLike", how: How = "linear"
) -> RibbonValues:
    """Give each voxel of the cortical ribbon the mean of the cortex in it.

    Triangles and depths are filled with points half a voxel apart, each weighted by the area that it stands for; so a voxel between two
    vertices gets a value too, and large triangles count more.

    Parameters
    ----------
    values : array, [... p]; NaN where there is no value
    white, pial : Mesh, [p 3], RAS mm
    shape, affine : of the voxel grid
    how : {"linear", "nearest", "label"}: mean of the values interpolated in the triangles; mean of those of the nearest vertices; the label
        that most of the cortex in the voxel has (the smallest of equals)

    Returns
    -------
    RibbonValues

    Raises
    ------
    ShapeError
        If the values are not one for each vertex, or white and pial differ.
    ConfigError
        If `how` is unknown, or labels are no whole numbers.
    """
    _check_pair(white, pial)
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim < 1 or rows.shape[-1] != white.n_vertices:
        raise ShapeError(f"values have shape {rows.shape}, the mesh {white.n_vertices} vertices; they need one value for each vertex")
    if how not in get_args(How):
        raise ConfigError(unknown_name("way of sampling", how, get_args(How)))
    flat = rows.reshape(-1, white.n_vertices)
    if how == "label":
        _check_labels(flat[np.isfinite(flat)])
    voxels, shares, parts = _ribbon(white, pial, shape, np.asarray(affine, dtype=np.float64))
    known = np.isfinite(flat)
    chosen = shares if how == "linear" else parts
    area = chosen @ known.T.astype(np.float64)  # [v n]
    if how == "label":
        found = np.stack([_most_of(parts, row) for row in flat]) if len(flat) else np.empty((0, len(voxels)))
    else:
        found = np.divide(chosen @ np.where(known, flat, 0.0).T, area, out=np.full(area.shape, np.nan), where=area > 0).T
    weight = np.asarray(parts.sum(axis=1)).reshape(-1)
    coverage = (area.mean(axis=1) / weight).clip(0, 1) if len(flat) else np.zeros(len(voxels))
    return RibbonValues(
        np.stack(np.unravel_index(voxels, shape), axis=1).astype(np.int64),
        found.reshape(*rows.shape[:-1], len(voxels)).astype(np.float32),
        coverage.astype(np.float32),
        np.asarray(parts.argmax(axis=1)).reshape(-1).astype(np.int64),
        weight.astype(np.float32),
    )


def map_to_surface(
    retinotopy: RetinotopicMap,
    ijk: "NDArray[np.integer]",
    shape: "tuple[int, int, int]",
    affine: "ArrayLike",
    white: Mesh,
    pial: Mesh,
    depths: "Sequence[float]" = DEPTHS,
) -> "tuple[RetinotopicMap, NDArray[np.float32]]":
    """Take the receptive fields of voxels to vertices: x0, y0, sigma and quality one by one, never an angle.

    Parameters
    ----------
    retinotopy : RetinotopicMap, [v]
    ijk : int array, [v 3], its voxels
    shape, affine : of their grid
    white, pial : Mesh, [p 3], RAS mm

    Returns
    -------
    retinotopy : RetinotopicMap, [p]; angle and eccentricity are derived from it
    coverage : float32 array, [p], of the positions
    """
    place = tuple(np.asarray(ijk, dtype=np.int64).T)
    coverages = {}

    def moved(name: str, part: "NDArray[np.float32]") -> "NDArray[np.float32]":
        volume = np.full(shape, np.nan)
        volume[place] = part
        values, coverages[name] = sample_volume(volume, affine, white, pial, depths)
        return values

    return _move(retinotopy, moved), coverages["x0_deg"]


def map_to_volume(
    retinotopy: RetinotopicMap, white: Mesh, pial: Mesh, shape: "tuple[int, int, int]", affine: "ArrayLike"
) -> tuple[RetinotopicMap, RibbonValues]:
    """Take the receptive fields of vertices to voxels: x0, y0, sigma and quality one by one, never an angle.

    Returns
    -------
    retinotopy : RetinotopicMap, [v]
    RibbonValues of x0, with the voxels, their vertices and the coverage
    """
    found: dict[str, RibbonValues] = {}

    def moved(name: str, part: "NDArray[np.float32]") -> "NDArray[np.float32]":
        found[name] = sample_surface(part, white, pial, shape, affine)
        return found[name].values

    return _move(retinotopy, moved), found["x0_deg"]


def _move(retinotopy: RetinotopicMap, moved: "Callable[[str, NDArray[np.float32]], NDArray[np.float32]]") -> RetinotopicMap:
    known = np.isfinite(retinotopy.x0_deg) & np.isfinite(retinotopy.y0_deg)  # a position is both or none
    parts = {name: np.where(known, getattr(retinotopy, name), np.nan) for name in ("x0_deg", "y0_deg", "sigma_deg", "quality")}
    predicted: dict[str, Any] = {name: moved(name, np.where(known, part, np.nan)) for name, part in retinotopy.encoder_parts.items()}
    return replace(
        retinotopy,
        x0_deg=moved("x0_deg", parts["x0_deg"]),
        y0_deg=moved("y0_deg", parts["y0_deg"]),
        sigma_deg=moved("sigma_deg", parts["sigma_deg"]),
        quality=moved("quality", parts["quality"]),
        **predicted,
    )


def _at(volume: "NDArray[np.generic]", place: "NDArray[np.float64]", order: int) -> "NDArray[np.float64]":
    """Values at voxel coordinates [3 p]; 0 outside the grid."""
    return np.asarray(map_coordinates(volume.astype(np.float64), place, order=order, mode="grid-constant", cval=0.0, prefilter=False))


def _vote(labels: "NDArray[np.float64]", known: "NDArray[np.bool_]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Give the most frequent of the known labels [depths p]; the smallest of equals."""
    codes, number = np.unique(labels, return_inverse=True)
    best, most = np.full(labels.shape[1], np.nan), np.zeros(labels.shape[1], dtype=np.int64)
    for position, code in enumerate(codes):
        votes = ((number.reshape(labels.shape) == position) & known).sum(axis=0)
        best[votes > most] = code
        most = np.maximum(most, votes)
    return best.astype(np.float32), known.mean(axis=0).astype(np.float32)


def _ribbon(
    white: Mesh, pial: Mesh, shape: "tuple[int, int, int]", affine: "NDArray[np.float64]"
) -> "tuple[NDArray[np.int64], csr_matrix, csr_matrix]":
    """Fill the cortex with points: the voxels it runs through, and the area of each vertex in each of them, [v p].

    In the first matrix a point belongs to the three vertices of its triangle by its distance from them, in the second to the nearest.
    """
    inside, outside = world_to_voxel(white.vertices, affine), world_to_voxel(pial.vertices, affine)
    middle = (white.vertices.astype(np.float64) + pial.vertices) / 2
    first, second, third = (middle[white.faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    corners = ((inside + outside) / 2)[white.faces]
    shares = _barycentric(_steps(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)))
    n_depths = _steps(np.linalg.norm(outside - inside, axis=1))
    n_faces = max(1, _POINTS_AT_ONCE // len(shares))
    by_share, by_nearest = _Sums(white.n_vertices), _Sums(white.n_vertices)
    for depth in (np.arange(n_depths) + 0.5) / n_depths:
        at_depth = inside * (1 - depth) + outside * depth
        for start in range(0, len(white.faces), n_faces):
            faces = white.faces[start : start + n_faces].astype(np.int64)
            ijk = np.floor(np.einsum("bk,fkc->fbc", shares, at_depth[faces]) + 0.5).astype(np.int64)
            within = ((ijk >= 0) & (ijk < np.asarray(shape))).all(axis=2)
            face, point = np.nonzero(within)
            voxel = np.ravel_multi_index(tuple(ijk[within].T), shape)
            weight = area[start + face] / (len(shares) * n_depths)
            by_nearest.add(voxel, faces[:, shares.argmax(axis=1)][within], weight)
            for corner in range(3):
                by_share.add(voxel, faces[face, corner], weight * shares[point, corner])
    voxels = np.unique(by_nearest.keys() // white.n_vertices)
    return voxels, by_share.matrix(voxels), by_nearest.matrix(voxels)


class _Sums:
    """Weights of pairs of voxel and vertex, added up as they come."""

    def __init__(self, n_vertices: int) -> None:
        self.n_vertices = n_vertices
        self.parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []

    def add(self, voxel: "NDArray[np.int64]", vertex: "NDArray[np.int64]", weight: "NDArray[np.float64]") -> None:
        keys, place = np.unique(voxel * self.n_vertices + vertex, return_inverse=True)
        self.parts.append((keys, np.asarray(np.bincount(place, weight, minlength=len(keys)), dtype=np.float64)))

    def keys(self) -> "NDArray[np.int64]":
        return np.concatenate([keys for keys, _ in self.parts]) if self.parts else np.zeros(0, dtype=np.int64)

    def matrix(self, voxels: "NDArray[np.int64]") -> csr_matrix:
        keys = self.keys()
        weights = np.concatenate([weights for _, weights in self.parts]) if self.parts else np.zeros(0)
        rows = np.searchsorted(voxels, keys // self.n_vertices)
        return csr_matrix((weights, (rows, keys % self.n_vertices)), shape=(len(voxels), self.n_vertices))


def _steps(lengths: "NDArray[np.float64]") -> int:
    """How often the longer ones of some lengths [voxels] are divided."""
    return int(np.clip(np.ceil(np.percentile(lengths, 95) / _STEP_VOXELS), 1, _MOST_STEPS)) if lengths.size else 1


def _barycentric(steps: int) -> "NDArray[np.float64]":
    """Centres of the `steps`² equal triangles that a triangle is made of, [q 3]; none lies on an edge, so none counts twice."""
    up = [(3 * i + 1, 3 * j + 1) for i in range(steps) for j in range(steps - i)]
    down = [(3 * i + 2, 3 * j + 2) for i in range(steps - 1) for j in range(steps - 1 - i)]
    first = np.array([*up, *down], dtype=np.float64) / (3 * steps)
    return np.column_stack([first, 1 - first.sum(axis=1)])


def _most_of(parts: csr_matrix, labels: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Label with the largest area in each voxel, the smallest of equals; NaN where no vertex has one."""
    best, most = np.full(parts.shape[0], np.nan), np.zeros(parts.shape[0])
    for code in np.unique(labels[np.isfinite(labels)]):
        area = parts @ (labels == code).astype(np.float64)
        more = area > most + 1e-9
        best[more], most[more] = code, area[more]
    return best


def _check_pair(white: Mesh, pial: Mesh) -> None:
    if white.n_vertices != pial.n_vertices:
        raise ShapeError(f"white has {white.n_vertices} vertices, pial {pial.n_vertices}; they must be of one hemisphere and one mesh")


def _check_labels(labels: "NDArray[np.float64]") -> None:
    odd = labels[labels != np.round(labels)]
    if odd.size:
        raise ConfigError(f"label {float(odd[0]):.4g} is no whole number; sample measurements linear, not as labels")
    if labels.size and np.abs(labels).max() > LARGEST_LABEL:
        raise ConfigError(f"label {int(np.abs(labels).max())} is larger than {LARGEST_LABEL}; number the labels anew")
