"""Whole maps of an encoder and a decoder beside each other, against numpy's correlation of block means."""

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ShapeError
from brain2pix.evaluation import agreement_lines, compare_maps


@pytest.fixture
def fields(rng):
    x, y = rng.uniform(-4, 4, (2, 80))
    ones = np.ones(80)
    return RetinotopicMap(*(part.astype(np.float32) for part in (x, y, ones, ones)), field_of_view_deg=12.0)


def bumps(fields, size, noise, rng):
    axis = (np.arange(size) + 0.5) / size * 12 - 6
    square = (axis - fields.x0_deg[:, None, None]) ** 2 + (-axis[:, None] - fields.y0_deg[:, None, None]) ** 2
    return (np.exp(-square / 2) + noise * rng.random((80, size, size))).astype(np.float32)


@pytest.mark.parametrize("size", [28, 56])
def test_maps_are_correlated_in_blocks(fields, rng, size):
    first, second = bumps(fields, size, 0.8, rng), bumps(fields, size, 0.8, rng)
    found = compare_maps(fields, fields, maps=(first, second))
    k = size // 14
    one, other = (maps.reshape(80, 14, k, 14, k).mean(axis=(2, 4)).reshape(80, -1).astype(float) for maps in (first, second))
    expected = np.corrcoef(one, other)[:80, 80:]
    assert found.map_r == pytest.approx(np.median(np.diagonal(expected)), rel=1e-5)
    apart = expected[~np.eye(80, dtype=bool)]
    assert found.shuffled_map_r == pytest.approx(np.median(apart), abs=0.1)
    assert found.map_r > found.shuffled_map_r + 0.2
    line = {line.score: line for line in agreement_lines(found)}["map_r"]
    assert (line.value, line.chance) == (found.map_r, found.shuffled_map_r)


def test_sizes_that_are_no_multiple_of_the_blocks_and_small_maps(fields, rng):
    for size in (8, 32, 45):
        maps = bumps(fields, size, 0, rng)
        found = compare_maps(fields, fields, maps=(maps, 3 * maps + 1))
        assert found.map_r == pytest.approx(1, abs=1e-5) and found.shuffled_map_r < 0.5


def test_flat_maps_say_nothing_and_the_scope_decides(fields, rng):
    maps = bumps(fields, 28, 0, rng)
    flat = maps.copy()
    flat[:40] = 1
    assert compare_maps(fields, fields, maps=(maps, flat)).map_r == pytest.approx(1)
    nothing = compare_maps(fields, fields, scope=np.arange(80) < 40, maps=(maps, flat))
    assert np.isnan(nothing.map_r) and "map_r" not in {line.score for line in agreement_lines(nothing)}


def test_without_maps_nothing_is_said_of_them(fields):
    found = compare_maps(fields, fields)
    assert np.isnan(found.map_r) and "map_r" not in {line.score for line in agreement_lines(found)}


def test_maps_of_other_voxels_are_refused(fields, rng):
    maps = bumps(fields, 28, 0, rng)
    with pytest.raises(ShapeError, match=r"the compared maps need one \[h w\] for each voxel, got shape \(5, 28, 28\)"):
        compare_maps(fields, fields, maps=(maps[:5], maps))
    with pytest.raises(ShapeError, match=r"the reference maps need one"):
        compare_maps(fields, fields, maps=(maps, maps[:, 0]))
