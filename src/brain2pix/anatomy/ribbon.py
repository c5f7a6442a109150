"""The voxels of the cortical ribbon, and where each lies on the plane of the visual-area model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.anatomy.schira import plane_coordinates
from brain2pix.anatomy.surfaces import HEMISPHERES, load_fsaverage5, mni305_to_mni152

if TYPE_CHECKING:
    from numpy.typing import NDArray

# the box of the usual MNI152 grids, RAS mm; world 0 is the centre of a voxel whatever its size
BOX_MM = ((-90.0, -126.0, -72.0), (90.0, 90.0, 108.0))
POSTERIOR_MM = -25.0  # only triangles behind it are sampled: visual cortex and a margin
DEPTHS = (0.05, 0.275, 0.5, 0.725, 0.95)  # between white (0) and pial (1)
MAX_SPREAD = 12.0  # plane units; a voxel that spreads more lies on both banks of a sulcus
_STEPS = 6
# 28 points of a triangle, corners and edges included
_BARYCENTRIC = np.array([(i, j, _STEPS - i - j) for i in range(_STEPS + 1) for j in range(_STEPS + 1 - i)]) / _STEPS


@dataclass(frozen=True)
class Ribbon:
    """Voxels of the posterior cortical ribbon, ordered by (i, j, k) within a hemisphere, left first.

    Parameters
    ----------
    ijk : int array, [v 3]
    xyz : float array, [v 3], voxel centres, RAS mm
    hemi : str array, [v], "L" or "R"
    plane_xy : float array, [v 2], mean plane coordinates; NaN off the plane or where both banks of a sulcus meet
    """

    ijk: "NDArray[np.int64]"
    xyz: "NDArray[np.float64]"
    hemi: "NDArray[np.str_]"
    plane_xy: "NDArray[np.float64]"


def mni_grid(voxel_mm: float) -> tuple["NDArray[np.float64]", tuple[int, int, int]]:
    """Affine and shape of an MNI152 grid.

    Parameters
    ----------
    voxel_mm : float

    Returns
    -------
    affine : float64 array, [4 4]
    shape : tuple of three ints
    """
    below = [int(-low // voxel_mm) for low in BOX_MM[0]]
    above = [int(high // voxel_mm) for high in BOX_MM[1]]
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = [-n * voxel_mm for n in below]
    x, y, z = (low + high + 1 for low, high in zip(below, above, strict=True))
    return affine, (x, y, z)


def posterior_ribbon(affine: "NDArray[np.float64]", shape: tuple[int, int, int]) -> Ribbon:
    """Fill the cortex of fsaverage5, moved to MNI152, with voxels.

    Plane coordinates are averaged, never angles. A voxel that both hemispheres touch goes to the one with more sample points in it.

    Parameters
    ----------
    affine : float array, [4 4], of the voxel grid in MNI152
    shape : tuple of three ints
    """
    sides = [_sample_hemisphere(hemi, affine, shape) for hemi in HEMISPHERES]
    voxel = np.concatenate([side[0] for side in sides])
    count = np.concatenate([side[1] for side in sides])
    plane = np.concatenate([side[2] for side in sides])
    hemi = np.repeat(HEMISPHERES, [len(side[0]) for side in sides])
    # of two rows of one voxel keep the one with more points (the left one if equal)
    order = np.lexsort((-count, voxel))
    first = np.ones(len(order), dtype=bool)
    first[1:] = voxel[order][1:] != voxel[order][:-1]
    keep = np.sort(order[first])
    ijk = np.stack(np.unravel_index(voxel[keep], shape), axis=1).astype(np.int64)
    return Ribbon(ijk, ijk @ affine[:3, :3].T + affine[:3, 3], hemi[keep], plane[keep])


def _sample_hemisphere(
    hemi: str, affine: "NDArray[np.float64]", shape: tuple[int, int, int]
) -> tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]:
    """Flat voxel indices, sample points in each and their mean plane coordinates."""
    meshes = load_fsaverage5(hemi)
    white, pial = (mni305_to_mni152(meshes[kind].vertices) for kind in ("white", "pial"))
    faces = meshes["white"].faces
    faces = faces[white[faces, 1].min(axis=1) < POSTERIOR_MM]
    to_voxel = np.linalg.inv(affine)
    voxels = []
    for depth in DEPTHS:
        points = np.einsum("bk,fkc->fbc", _BARYCENTRIC, (white * (1 - depth) + pial * depth)[faces]).reshape(-1, 3)
        ijk = np.round(points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(np.int64)
        voxels.append(np.ravel_multi_index(tuple(ijk.T), shape))
    sampled = np.einsum("bk,fkc->fbc", _BARYCENTRIC, plane_coordinates(meshes["sphere"].vertices, hemi)[faces]).reshape(-1, 2)
    voxel, row = np.unique(np.concatenate(voxels), return_inverse=True)
    return voxel, np.bincount(row), _average(np.tile(sampled, (len(DEPTHS), 1)), row, len(voxel))


def _average(plane: "NDArray[np.float64]", row: "NDArray[np.int64]", n_voxels: int) -> "NDArray[np.float64]":
    """Mean plane coordinates per voxel; NaN without points or with points far apart (root mean square distance)."""
    known = np.isfinite(plane).all(axis=1)
    plane, row = plane[known], row[known]
    count = np.bincount(row, minlength=n_voxels)
    divisor = np.maximum(count, 1)
    mean = np.stack([np.bincount(row, plane[:, axis], minlength=n_voxels) for axis in (0, 1)], axis=1) / divisor[:, None]
    spread = np.sqrt(np.bincount(row, ((plane - mean[row]) ** 2).sum(axis=1), minlength=n_voxels) / divisor)
    mean[(count == 0) | (spread > MAX_SPREAD)] = np.nan
    return mean
