from dataclasses import replace

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap
from brain2pix.config.base import build
from brain2pix.config.stimulation import StimulationSettings
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.stimulation import describe_part, disc_mask, quadrant_mask, quadrant_masks, select_voxels

NAN = float("nan")
X = np.array([3, -3, -3, 3, 0, NAN, 0.2], dtype=np.float32)
Y = np.array([2, 2, -2, -2, 5, 1, 4], dtype=np.float32)
MAP = RetinotopicMap(X, Y, np.ones(7, np.float32), np.array([0.9, 0.8, 0.7, 0.6, 0.5, NAN, 0.1], np.float32), 12.0)
AREAS = {"V1": np.array([1, 1, 1, 1, 1, 1, 0], bool), "V2": np.array([0, 0, 0, 0, 0, 0, 1], bool)}


def test_quadrants_follow_the_visual_field() -> None:
    assert np.flatnonzero(quadrant_mask(MAP, "upper_right")).tolist() == [0, 6]
    assert np.flatnonzero(quadrant_mask(MAP, "upper_left")).tolist() == [1]
    assert np.flatnonzero(quadrant_mask(MAP, "lower_left")).tolist() == [2]
    assert np.flatnonzero(quadrant_mask(MAP, "lower_right")).tolist() == [3]
    assert np.flatnonzero(quadrant_mask(MAP, "upper_right", margin_deg=0.3)).tolist() == [0]


def test_four_quadrants_share_no_voxel_and_leave_out_the_meridian() -> None:
    masks = quadrant_masks(MAP, AREAS["V1"])
    assert list(masks) == ["upper_right", "upper_left", "lower_left", "lower_right"]
    assert np.sum(list(masks.values()), axis=0).tolist() == [1, 1, 1, 1, 0, 0, 0]


def test_disc() -> None:
    assert np.flatnonzero(disc_mask(MAP, 3, 2, 0.5)).tolist() == [0]
    assert np.flatnonzero(disc_mask(MAP, 0, 4.5, 1)).tolist() == [4, 6]
    with pytest.raises(ConfigError, match="radius of a disc must be positive, got 0"):
        disc_mask(MAP, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"region": "V1"}, [0, 1, 2, 3, 4, 5]),
        ({"region": "V1 + V2", "field": "upper_right", "kept_share": 1.0}, [0, 6]),
        ({"region": "V1 + V2", "field": "upper_right", "kept_share": 0.8}, [0]),  # the worst of six is not trusted
        ({"region": "V1", "field": "disc", "disc_x_deg": -3, "disc_y_deg": 0, "disc_radius_deg": 2.5, "kept_share": 1.0}, [1, 2]),
    ],
)
def test_settings_select_voxels(changes: dict[str, object], expected: list[int]) -> None:
    assert np.flatnonzero(select_voxels(build(StimulationSettings, changes), AREAS, MAP)).tolist() == expected


def test_what_selects_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown area 'V3'"):
        select_voxels(StimulationSettings(region="V3"), AREAS, MAP)
    with pytest.raises(ConfigError, match="none of the 1 voxels of 'V2' has a trusted receptive field in the lower left quadrant"):
        select_voxels(StimulationSettings(region="V2", field="lower_left"), AREAS, MAP)
    with pytest.raises(ConfigError, match="field 'disc' needs receptive fields"):
        select_voxels(StimulationSettings(field="disc"), AREAS)
    with pytest.raises(ConfigError, match=r"unknown quadrant 'right'\. Did you mean"):
        quadrant_mask(MAP, "right")
    short = RetinotopicMap(X[:2], Y[:2], X[:2], X[:2], 12.0)
    with pytest.raises(ShapeError, match="the map has 2 voxels, the areas have 7"):
        select_voxels(StimulationSettings(field="upper_left"), AREAS, short)
    unknown = replace(MAP, quality=np.full(7, np.nan, np.float32))
    with pytest.raises(ConfigError, match="trusted receptive field"):
        select_voxels(StimulationSettings(field="upper_left"), AREAS, unknown)


def test_parts_are_named() -> None:
    assert describe_part(StimulationSettings(field="upper_left")) == "the upper left quadrant"
    assert describe_part(StimulationSettings(field="disc")) == "the disc at (3, 3) degrees of radius 2"
    assert describe_part(StimulationSettings()) == "the whole visual field"


def test_settings_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match=r"option 'mode': .*'set', 'add', 'scale' or 'silence', got 'burn'"):
        build(StimulationSettings, {"mode": "burn"})
    with pytest.raises(ConfigError, match=r"unknown option 'amplitud'\. Did you mean 'amplitude'"):
        build(StimulationSettings, {"amplitud": 1})
