"""The conventions that everything shares: degrees, x right, y up."""

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap, SubjectInfo
from brain2pix.errors import ShapeError


def make_map(x0, y0):
    values = np.asarray(x0, np.float32), np.asarray(y0, np.float32)
    return RetinotopicMap(*values, np.ones(len(x0), np.float32), np.ones(len(x0), np.float32), 12.0)


def test_angle_and_eccentricity_follow_the_convention():
    right_up_left_down = make_map([1, 0, -2, 0], [0, 1, 0, -3])
    np.testing.assert_allclose(right_up_left_down.angle_deg, [0, 90, 180, 270])
    np.testing.assert_allclose(right_up_left_down.eccentricity_deg, [1, 1, 2, 3])


def test_parts_of_different_length_are_refused():
    with pytest.raises(ShapeError, match=r"one value per voxel.*\(2,\).*\(3,\)"):
        RetinotopicMap(np.zeros(2, np.float32), np.zeros(3, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32), 12.0)


def test_subject_info_survives_plain_values():
    info = SubjectInfo("sub-01", np.array([3, 1, 2]), "abc", "z-train", 12.0, True)
    again = SubjectInfo.from_dict(info.to_dict())
    np.testing.assert_array_equal(again.voxel_index, info.voxel_index)
    assert (again.subject, again.voxel_hash, again.n_voxels) == ("sub-01", "abc", 3)
