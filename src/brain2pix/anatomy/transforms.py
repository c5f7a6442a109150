"""Between voxels, world millimetres and mesh vertices."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def voxel_to_world(ijk: "ArrayLike", affine: "ArrayLike") -> "NDArray[np.float64]":
    """World coordinates of voxel centres.

    Parameters
    ----------
    ijk : array, [v 3], 0-based voxel indices
    affine : array, [4 4]

    Returns
    -------
    float64 array, [v 3], RAS mm
    """
    points, matrix = _check(ijk, affine)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def world_to_voxel(xyz: "ArrayLike", affine: "ArrayLike") -> "NDArray[np.float64]":
    """Voxel coordinates of world points, not rounded.

    Parameters
    ----------
    xyz : array, [v 3], RAS mm
    affine : array, [4 4]

    Returns
    -------
    float64 array, [v 3]
    """
    points, matrix = _check(xyz, affine)
    return np.asarray(np.linalg.solve(matrix[:3, :3], (points - matrix[:3, 3]).T).T, dtype=np.float64)


def nearest_voxel_of_vertices(mid_xyz: "ArrayLike", voxel_xyz: "ArrayLike", max_distance_mm: float) -> "NDArray[np.int64]":
    """Say for each vertex which voxel it shows: the nearest centre, sturdier than sampling a mostly empty volume.

    Parameters
    ----------
    mid_xyz : float array, [p 3], vertices of the mid-thickness surface, RAS mm
    voxel_xyz : float array, [v 3], voxel centres in the same space
    max_distance_mm : float, about 1.5 voxels

    Returns
    -------
    int64 array, [p], rows of `voxel_xyz`, -1 where none is near
    """
    points, centers = np.asarray(mid_xyz, dtype=np.float64), np.asarray(voxel_xyz, dtype=np.float64)
    for name, array in (("mid_xyz", points), ("voxel_xyz", centers)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise ShapeError(f"{name} needs three coordinates per row, got shape {array.shape}")
    if not len(centers):
        return np.full(len(points), -1, dtype=np.int64)
    distance, nearest = cKDTree(centers).query(points)
    return np.where(distance <= max_distance_mm, nearest, -1).astype(np.int64)


def _check(points: "ArrayLike", affine: "ArrayLike") -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    array, matrix = np.asarray(points, dtype=np.float64), np.asarray(affine, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ShapeError(f"points need three coordinates per row, got shape {array.shape}")
    if matrix.shape != (4, 4):
        raise ShapeError(f"an affine has shape (4, 4), got {matrix.shape}")
    return array, matrix
