"""Areas of the papers among those of a subject: expressions against masks made by hand."""

import numpy as np
import pytest

from brain2pix.compute.reproduce.regions import find_regions
from brain2pix.data import open_subject


@pytest.fixture(scope="module")
def subject(tiny_subject):
    return open_subject(tiny_subject)


def test_a_region_without_one_area_is_the_main_one_less_its_voxels(subject):
    regions = find_regions(subject)
    main = subject.select(regions.main)
    assert regions.main in ("V1 + V2 + V3 - outside", "V1 + V2 + V3")
    for area in ("V1", "V2", "V3"):
        expected = [voxel for voxel in main if not subject.areas[area][voxel]]
        np.testing.assert_array_equal(subject.select(regions.found[f"without {area}"]), expected)
        assert 0 < len(expected) < len(main)
    assert regions.lacking["without V4"] == "sub-01 has no V4 or hV4"
    assert "without LOC" in regions.lacking and "LVC" in regions.same
