import nibabel as nib
import numpy as np
import pytest

from brain2pix.anatomy import nearest_voxel_of_vertices, voxel_to_world, world_to_voxel
from brain2pix.errors import ShapeError

AFFINE = np.array([[-2.0, 0.1, 0, 90], [0.2, 3, 0, -126], [0, 0.3, 2.5, -72], [0, 0, 0, 1]])


def test_world_agrees_with_nibabel_and_back(rng):
    ijk = rng.integers(0, 90, (40, 3))
    world = voxel_to_world(ijk, AFFINE)
    assert np.allclose(world, nib.affines.apply_affine(AFFINE, ijk))
    assert np.allclose(world_to_voxel(world, AFFINE), ijk)


def test_nearest_voxel_agrees_with_brute_force(rng):
    points, centers = rng.uniform(0, 20, (60, 3)), rng.uniform(0, 20, (30, 3))
    distance = np.linalg.norm(points[:, None] - centers[None], axis=2)
    expected = np.where(distance.min(axis=1) <= 3, distance.argmin(axis=1), -1)
    found = nearest_voxel_of_vertices(points, centers, 3)
    assert (found == expected).all() and (found == -1).any() and (found >= 0).any()
    assert (nearest_voxel_of_vertices(points, np.empty((0, 3)), 3) == -1).all()


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match=r"three coordinates per row, got shape \(3,\)"):
        voxel_to_world([1, 2, 3], AFFINE)
    with pytest.raises(ShapeError, match=r"an affine has shape \(4, 4\), got \(3, 3\)"):
        world_to_voxel([[1, 2, 3]], np.eye(3))
    with pytest.raises(ShapeError, match="voxel_xyz needs three coordinates"):
        nearest_voxel_of_vertices(np.zeros((2, 3)), np.zeros((2, 2)), 1)
