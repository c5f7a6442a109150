import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.figures import MAP_NAMES, map_colors, retinotopic_colors, wheel_image
from brain2pix.figures.colormaps import (
    ANGLE_ANCHORS,
    GYRUS,
    SULCUS,
    color_table,
    curvature_colors,
    eccentricity_limits,
    over,
    quality_alpha,
    scale_position,
    scale_ticks,
    visible,
)

# Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def seen_by(rgb: np.ndarray, vision: str) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shifted = np.clip(linear @ VISION[vision].T, 0, 1)
    return np.where(shifted <= 0.0031308, shifted * 12.92, 1.055 * shifted ** (1 / 2.4) - 0.055)


def least_difference(table: np.ndarray, vision: str) -> float:
    """Smallest CIE76 difference between two angles at least 60 degrees apart."""
    lab = rgb2lab(seen_by(table, vision)[None])[0]
    i, j = np.triu_indices(len(table), 1)
    apart = np.minimum(j - i, len(table) - (j - i)) * 360 / len(table)
    return float(np.linalg.norm(lab[i] - lab[j], axis=1)[apart >= 60].min())


@pytest.mark.parametrize("vision", VISION)
def test_angles_can_be_told_apart_by_everyone(vision: str) -> None:
    assert least_difference(color_table("angle", 360), vision) > 28


def test_the_same_measure_condemns_hsv() -> None:
    hsv = mpl.colormaps["hsv"](np.arange(360) / 360)[:, :3]
    assert least_difference(hsv, "normal") > 30
    assert least_difference(hsv, "deutan") < 2


@pytest.mark.parametrize("map_name", MAP_NAMES)
def test_no_colour_looks_like_the_curvature_beneath(map_name: str) -> None:
    greys = rgb2lab(np.array([[[GYRUS] * 3, [SULCUS] * 3]]))[0]
    lab = rgb2lab(color_table(map_name, 360)[None])[0]
    assert np.linalg.norm(lab[:, None] - greys, axis=-1).min() > 20


@pytest.mark.parametrize(
    ("map_name", "reference"), [("eccentricity", "viridis"), ("size", "plasma"), ("quality", "magma"), ("accuracy", "inferno")]
)
def test_sequential_maps_are_the_published_ones(map_name: str, reference: str) -> None:
    assert color_table(map_name, 256) == pytest.approx(mpl.colormaps[reference](np.arange(256))[:, :3], abs=0.025)


def test_angle_map_runs_straight_through_lab() -> None:
    table = color_table("angle", 360)
    assert table[[0, 90, 180, 270]] == pytest.approx(ANGLE_ANCHORS, abs=1e-6)
    lab = rgb2lab(ANGLE_ANCHORS[None])[0]
    assert table[45] == pytest.approx(lab2rgb(((lab[0] + lab[1]) / 2)[None, None])[0, 0], abs=2e-3)
    assert table[315] == pytest.approx(lab2rgb(((lab[3] + lab[0]) / 2)[None, None])[0, 0], abs=2e-3)


def test_colours_follow_the_angle_and_close_the_circle() -> None:
    rgba = map_colors([0, 90, 180, 270, 360, -90, 359.9], "angle")
    assert rgba[:4, :3] == pytest.approx(ANGLE_ANCHORS, abs=1e-3)
    assert rgba[4] == pytest.approx(rgba[0])
    assert rgba[5] == pytest.approx(rgba[3])
    assert rgba[6] == pytest.approx(rgba[0], abs=0.01)
    assert (rgba[:, 3] == 1).all()


def test_meridian_map_folds_left_and_right() -> None:
    angles = np.array([0.0, 30, 80, 90, -45, -90])
    assert map_colors(angles, "meridian") == pytest.approx(map_colors(180 - angles, "meridian"))
    assert scale_position([-90, 0, 90, 180], "meridian") == pytest.approx([0, 0.5, 1, 0.5])


def test_eccentricity_is_logarithmic() -> None:
    place = scale_position([0, 0.5, 1, 2, 4, 8, 30, np.nan], "eccentricity", (0.5, 8))
    assert place == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, np.nan], nan_ok=True)
    assert eccentricity_limits(12) == (0.5, 6)
    assert eccentricity_limits(8.4) == pytest.approx((0.35, 4.2))


def test_missing_values_are_transparent_and_quality_fades() -> None:
    assert map_colors([np.nan, 0], "angle")[:, 3].tolist() == [0, 1]
    rgba = map_colors(np.zeros(5), "angle", quality=[0.1, 0.25, 0.4, 2, np.nan])
    assert rgba[:, 3] == pytest.approx([0, 0.5, 1, 1, 0])
    assert quality_alpha([0.2, 0.3, 0.4], (0.3, 0.3)).tolist() == [0, 1, 1]
    assert quality_alpha([-np.inf, np.inf]).tolist() == [0, 1]


def test_voxels_are_coloured_by_their_fields() -> None:
    fields = RetinotopicMap(
        *np.array([[3, -3, 0, 9, np.nan], [0, 0, 3, 0, 1], [1, 1, 1, 1, 1], [1, 1, 0.25, 1, 1]], dtype=np.float32), field_of_view_deg=12.0
    )
    assert visible(fields).tolist() == [True, True, True, False, False]  # the fourth misses the stimulus by more than two sigma
    angle = retinotopic_colors(fields, "angle")
    assert angle[:3, :3] == pytest.approx(ANGLE_ANCHORS[[0, 2, 1]], abs=1e-3)  # right, left, up
    assert angle[:, 3] == pytest.approx([1, 1, 0.5, 0, 0])
    assert retinotopic_colors(fields, "angle", threshold=None)[:, 3].tolist() == [1, 1, 1, 0, 0]
    assert retinotopic_colors(fields, "eccentricity")[0, :3] == pytest.approx(map_colors([3], "eccentricity", limits=(0.5, 6))[0, :3])
    assert retinotopic_colors(fields, "size")[0, :3] == pytest.approx(map_colors([1], "size")[0, :3])
    assert retinotopic_colors(fields, "quality", threshold=None)[2, :3] == pytest.approx(map_colors([0.25], "quality")[0, :3])
    assert (retinotopic_colors(fields, "accuracy", threshold=None)[:, 3] == 0).all()  # these fields come without one
    scored = replace(fields, accuracy=np.array([0.5, 1.3, -0.2, 0.5, np.nan], dtype=np.float32))
    assert retinotopic_colors(scored, "accuracy", threshold=None)[:3, :3] == pytest.approx(map_colors([0.5, 1, 0], "accuracy")[:, :3])


def test_wheel_shows_the_field_with_up_at_the_top() -> None:
    wheel = wheel_image("angle", 201, 12.0) / 255
    middle, edge = 100, 15
    for row, column, angle in ((middle, 200 - edge, 0), (edge, middle, 90), (middle, edge, 180), (200 - edge, middle, 270)):
        assert wheel[row, column] == pytest.approx(map_colors([angle], "angle")[0], abs=0.03)
    assert (wheel[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()
    assert wheel[..., 3].mean() == pytest.approx(np.pi / 4, abs=0.02)


def test_eccentricity_wheel_is_to_scale() -> None:
    wheel = wheel_image("eccentricity", 400, 12.0) / 255
    for degrees in (2, 4, 5.5):
        column = round(200 + 200 * degrees / 6) - 1
        expected = map_colors([degrees], "eccentricity", limits=(0.5, 6))[0]
        assert wheel[205, column] == pytest.approx(expected, abs=0.03)


def test_wider_wheel_marks_the_edge_of_the_stimulus() -> None:
    plain, wide = wheel_image("angle", 300, 12.0), wheel_image("angle", 300, 12.0, max_ecc_deg=8.0)
    column = round(150 + 150 * 6 / 8) - 1
    ring = wide[150, column - 3 : column + 4, :3].astype(int).sum(axis=1)
    assert ring.min() < 200 and ring.max() > 600  # dark line in a white one, on vermilion
    assert np.ptp(plain[150, column - 3 : column + 4, :3].astype(int).sum(axis=1)) < 20


@pytest.mark.parametrize("map_name", ["size", "quality", "accuracy"])
def test_bar_has_high_values_at_the_top(map_name: str) -> None:
    bar = wheel_image(map_name, 90) / 255
    assert bar[0, 45, :3] == pytest.approx(color_table(map_name)[-1], abs=0.01)
    assert bar[-1, 45, :3] == pytest.approx(color_table(map_name)[0], abs=0.01)
    assert (bar[:, :30, 3] == 0).all()
    ticks = scale_ticks(map_name)
    assert [place for place, _ in ticks] == sorted(place for place, _ in ticks)
    shown = ["0.25", "0.5", "1", "2", "4"] if map_name == "size" else ["0", "0.25", "0.5", "0.75", "1"]
    assert shown == [label for _, label in ticks]


def test_layers_mix_by_opacity() -> None:
    below = curvature_colors(np.array([1.0, -1.0]))
    assert below[:, 0] == pytest.approx([SULCUS, GYRUS])
    top = np.array([[1, 0, 0, 0.5], [1, 0, 0, 0]], dtype=np.float32)
    assert over(top, below)[0] == pytest.approx([(1 + SULCUS) / 2, SULCUS / 2, SULCUS / 2, 1])
    assert over(top, below)[1] == pytest.approx(below[1])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown map 'angel'\. Did you mean 'angle'"):
        map_colors([0], "angel")
    with pytest.raises(ShapeError, match=r"\(2,\) values need one quality each, got shape \(1,\)"):
        map_colors([0, 1], "angle", quality=[1])
    with pytest.raises(ConfigError, match="limits of the eccentricity map must rise and be positive, got 0 and 8"):
        map_colors([1], "eccentricity", limits=(0, 8))
    with pytest.raises(ConfigError, match=r"limits of the quality map must rise, got 1 and 0\.5"):
        map_colors([1], "quality", limits=(1, 0.5))
    with pytest.raises(ConfigError, match=r"quality thresholds must rise, got 0\.4 and 0\.1"):
        quality_alpha([1], (0.4, 0.1))
    with pytest.raises(ConfigError, match="unknown map with a scale 'angle'"):
        scale_ticks("angle")


def test_colours_need_numpy_only() -> None:
    code = "import sys, brain2pix.figures; print(sorted({'matplotlib', 'scipy', 'torch', 'skimage'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
