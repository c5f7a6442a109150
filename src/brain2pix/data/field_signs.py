"""Field sign of visual areas: whether the visual field lies mirrored on a subject's cortex, as it must in some of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import eye_array

from brain2pix.anatomy.field_sign import EXPECTED_SIGN, triangle_field_sign
from brain2pix.anatomy.geodesic import edge_graph
from brain2pix.anatomy.transforms import nearest_voxel_of_vertices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject

# More than this: not even a map of nothing but noise would do that.
CLEARLY_WRONG = 0.7
# As retinotopy toolboxes list them: -1 mirrored, 1 not. V1-V3 decide, the others are shown.
FIELD_SIGNS = {
    **EXPECTED_SIGN,
    **{"hV4": 1, "V4": 1, "VO1": -1, "VO2": 1, "LO1": 1, "LO2": -1, "V3A": 1, "V3a": 1, "V3B": -1, "V3b": -1, "TO1": -1, "TO2": 1},
}
_SMOOTHING_MM = 3.0  # of x0 and y0 along the cortex before the sign is taken
_MOST_AVERAGES = 300
_FEWEST_TRIANGLES = 20
_VERTEX_REACH = 1.5  # voxel edges, as `Subject.vertex_voxels`


@dataclass(frozen=True)
class SignCheck:
    """Field sign of one area: whether the visual field lies mirrored on the cortex, as it must in some areas and must not in others.

    Parameters
    ----------
    area : str
    expected : int, -1 mirrored or 1
    n_triangles : int, of the mesh, with all corners in the area and a sign
    right_share : float, of these triangles, that have the expected sign, 0..1
    """

    area: str
    expected: int
    n_triangles: int
    right_share: float

    @property
    def ok(self) -> bool:
        """Whether the area is not clearly the mirror image of what it must be."""
        return not self.right_share < 1 - CLEARLY_WRONG

    def __str__(self) -> str:
        names = {-1: "negative", 1: "positive"}
        if not self.ok:
            return (
                f"{self.area} field sign is {names[-self.expected]} in {1 - self.right_share:.0%} of {self.n_triangles} triangles: mirrored"
            )
        unclear = "" if self.right_share > CLEARLY_WRONG else ": unclear"
        return f"{self.area} field sign is {names[self.expected]} in {self.right_share:.0%} of {self.n_triangles} triangles{unclear}"


@dataclass(frozen=True)
class Cortex:
    """Voxels on the surfaces that they belong to.

    Parameters
    ----------
    meshes : mapping of (hemi, kind) to Mesh; hemispheres with white and pial are looked at
    xyz : float array, [v 3], of the voxels, RAS mm
    hemi : array of "L", "R", "n/a", [v]
    areas : mapping of area name to bool array, [v]
    voxel_mm : float, longest edge of a voxel
    """

    meshes: "Mapping[tuple[str, str], Mesh]"
    xyz: "NDArray[np.floating]"
    hemi: "NDArray[np.str_]"
    areas: "Mapping[str, NDArray[np.bool_]]"
    voxel_mm: float


def cortex_of(subject: "Subject") -> Cortex:
    """Read what `field_signs` looks at; no mesh where the subject has no area with a known sign.

    Raises
    ------
    MissingDataError, DataFormatError
        If a surface is damaged.
    """
    there = subject.meshes() if any(name in subject.areas for name in FIELD_SIGNS) else []
    meshes = {each: subject.mesh(*each) for each in there if each[1] in ("white", "pial")}
    return Cortex(meshes, subject.xyz, subject.voxels["hemi"].to_numpy(dtype=str), subject.areas, max(subject.space.voxel_mm))


def field_signs(cortex: Cortex, retinotopy: "RetinotopicMap", *, min_quality: float | None = None) -> tuple[SignCheck, ...]:
    """Take the field sign of each area on a person's own cortex, from x0 and y0 smoothed along it.

    Parameters
    ----------
    cortex : Cortex
    retinotopy : RetinotopicMap, [v], of all its voxels
    min_quality : float or None, voxels below it are left out

    Returns
    -------
    tuple of SignCheck, areas with at least 20 triangles; empty without white and pial surfaces
    """
    good = np.isfinite(retinotopy.x0_deg) & np.isfinite(retinotopy.y0_deg)
    if min_quality is not None:
        good &= retinotopy.quality >= min_quality
    areas = {name: cortex.areas[name] for name in FIELD_SIGNS if name in cortex.areas}
    if not areas:
        return ()
    good &= np.logical_or.reduce(list(areas.values()))
    signs: dict[str, list[NDArray[np.float64]]] = {name: [] for name in areas}
    for hemi in _whole_hemispheres(cortex):
        for name, found in _signs_of(cortex, hemi, retinotopy, good, areas).items():
            signs[name].append(found)
    every = {name: np.concatenate(parts) for name, parts in signs.items() if parts}
    return tuple(
        SignCheck(name, FIELD_SIGNS[name], found.size, float(np.mean(found == FIELD_SIGNS[name])))
        for name, found in every.items()
        if found.size >= _FEWEST_TRIANGLES
    )


def _whole_hemispheres(cortex: Cortex) -> list[str]:
    there = set(cortex.meshes)
    return [hemi for hemi in ("L", "R") if {(hemi, "white"), (hemi, "pial")} <= there]


def _signs_of(
    cortex: Cortex,
    hemi: str,
    retinotopy: "RetinotopicMap",
    good: "NDArray[np.bool_]",
    areas: "Mapping[str, NDArray[np.bool_]]",
) -> "dict[str, NDArray[np.float64]]":
    """Signs of the triangles of each area in one hemisphere, -1 or 1."""
    mesh = cortex.meshes[hemi, "white"]
    middle = (mesh.vertices + cortex.meshes[hemi, "pial"].vertices) / 2
    own = np.flatnonzero(_lies_at(cortex, hemi) & good)
    nearest = nearest_voxel_of_vertices(middle, cortex.xyz[own], _VERTEX_REACH * cortex.voxel_mm)
    known = np.flatnonzero(nearest >= 0)
    if not known.size:
        return {}
    # the part of the mesh that shows a voxel, with vertices counted anew: the rest costs time only
    number = np.full(len(middle), -1, dtype=np.int64)
    number[known] = np.arange(known.size)
    faces = number[mesh.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    voxel, points = own[nearest[known]], middle[known]
    places = np.stack([retinotopy.x0_deg[voxel], retinotopy.y0_deg[voxel]], axis=-1)
    smooth = _spread(edge_graph(points, faces), places)
    signs = triangle_field_sign(points, faces, smooth[:, 0], smooth[:, 1])
    return {name: signs[mask[voxel][faces].all(axis=1) & (np.abs(signs) == 1)] for name, mask in areas.items()}


def _spread(graph: "csr_array", values: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Smooth values [p k] along the cortex by about `_SMOOTHING_MM`, averaging neighbours again and again.

    On the meshes of one person (130,000 vertices) this takes milliseconds where distances along the cortex take many seconds.
    """
    smooth = np.asarray(values, dtype=np.float64)
    if not graph.nnz:
        return smooth
    mean = (graph > 0).astype(np.float64) + eye_array(graph.shape[0], format="csr")
    weight = np.asarray(mean.sum(axis=1)).reshape(-1, 1)
    # with six neighbours, one average spreads a point by 3/7 of an edge squared along each axis
    n_times = max(1, round(_SMOOTHING_MM**2 / (3 / 7 * float(np.median(graph.data)) ** 2)))
    for _ in range(min(n_times, _MOST_AVERAGES)):
        smooth = mean @ smooth / weight
    return smooth


def _lies_at(cortex: Cortex, hemi: str) -> "NDArray[np.bool_]":
    """Voxels of a hemisphere by where they lie: where L and R have each other's names, a surface shows the voxels of the other name."""
    label, x = cortex.hemi, cortex.xyz[:, 0]
    if not ((label == "L").any() and (label == "R").any()):
        return np.asarray((label == hemi) | (label == "n/a"))
    exchanged = np.median(x[label == "L"]) > np.median(x[label == "R"])
    return np.asarray(label == ({"L": "R", "R": "L"}[hemi] if exchanged else hemi))
