import numpy as np
import pytest

from brain2pix.config.base import preset_names, resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ShapeError
from brain2pix.prf import receptive_fields

SIZE = 64
FIELD = 12.0


def gaussian_maps(x_deg, y_deg, sigma_deg):
    """Gaussian bumps evaluated in degrees, independent of the pixel arithmetic under test."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * FIELD - FIELD / 2
    x, y = np.meshgrid(axis, -axis)
    square = (x - np.reshape(x_deg, (-1, 1, 1))) ** 2 + (y - np.reshape(y_deg, (-1, 1, 1))) ** 2
    return np.exp(-square / (2 * np.reshape(sigma_deg, (-1, 1, 1)) ** 2)).astype(np.float32)


def test_presets_resolve():
    assert preset_names("prf") == ["default", "paper"]
    paper = resolve(PRFSettings, "prf", "paper")
    assert (paper.power, paper.n_images, paper.inputs) == (10.0, 1, "noise")
    assert paper.blur * 112 == pytest.approx(3, abs=0.03)


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_planted_centres_come_back_with_their_signs(preset):
    x, y = np.array([2.0, -3.0, 2.5, -1.0]), np.array([1.5, 2.0, -2.5, -3.0])
    found = receptive_fields(gaussian_maps(x, y, 0.5), resolve(PRFSettings, "prf", preset), FIELD)
    np.testing.assert_allclose(found.map.x0_deg, x, atol=0.02)
    np.testing.assert_allclose(found.map.y0_deg, y, atol=0.02)
    assert found.discarded == 0


def test_upper_right_pixel_is_right_and_up():
    maps = np.zeros((1, SIZE, SIZE), dtype=np.float32)
    maps[0, 5, 60] = 1  # near the top, near the right edge
    found = receptive_fields(maps, PRFSettings(blur=0), FIELD).map
    assert found.x0_deg[0] == pytest.approx((60.5 / SIZE - 0.5) * FIELD)
    assert found.y0_deg[0] == pytest.approx((0.5 - 5.5 / SIZE) * FIELD)
    assert 0 < found.angle_deg[0] < 90


@pytest.mark.parametrize("gradient", ["squared", "absolute"])
def test_size_has_the_blur_and_the_square_taken_out(gradient):
    sigma = np.array([0.6, 1.0, 1.6])
    of_map = sigma / np.sqrt(2) if gradient == "squared" else sigma
    found = receptive_fields(gaussian_maps([0, 1, 0], [0, 0, -1], of_map), PRFSettings(gradient=gradient, max_spread=0.5), FIELD).map
    np.testing.assert_allclose(found.sigma_deg, sigma, rtol=0.1)  # areas count whole pixels


def test_diffuse_two_peaked_and_empty_maps_are_discarded():
    rng = np.random.default_rng(0)
    good = gaussian_maps([1.0], [1.0], [0.5])
    diffuse = rng.random((1, SIZE, SIZE), dtype=np.float32)
    two_peaked = gaussian_maps([-4.0], [0.0], [0.4]) + gaussian_maps([4.0], [0.0], [0.4])
    empty = np.zeros_like(good)
    found = receptive_fields(np.concatenate([good, diffuse, two_peaked, empty]), PRFSettings(), FIELD)
    assert found.confined.tolist() == [True, False, False, False]
    assert found.discarded == 0.75
    assert np.isnan(found.map.x0_deg).tolist() == [False, True, True, True]
    assert np.isnan(found.map.sigma_deg).tolist() == [False, True, True, True]
    one_peak, noise, two_peaks, nothing = found.map.quality
    assert one_peak > 2 * two_peaks > 4 * noise > nothing == 0


def test_a_faint_floor_under_a_clear_peak_is_no_reason_to_discard():
    maps = gaussian_maps([2.0], [1.0], [0.5]) + 0.05  # most of the mass is floor, but not of the powered map the centre comes from
    found = receptive_fields(maps, PRFSettings(), FIELD)
    assert found.confined.tolist() == [True] and found.map.x0_deg[0] == pytest.approx(2.0, abs=0.2)


def test_quality_is_the_callers_where_given():
    quality = np.array([0.3, 0.6], dtype=np.float32)
    found = receptive_fields(gaussian_maps([0, 1], [0, 1], 0.5), PRFSettings(), FIELD, quality=quality, quality_name="held-out r").map
    np.testing.assert_array_equal(found.quality, quality)
    assert found.quality_name == "held-out r"


def test_median_over_voxels_removes_a_pattern_of_the_network():
    border = np.zeros((SIZE, SIZE), dtype=np.float32)
    border[:, :4] = 3  # every voxel shows the same bright left edge
    x = np.linspace(-3, 3, 9)
    maps = gaussian_maps(x, 0.5 * x, 0.5) + border
    kept = receptive_fields(maps, PRFSettings(subtract_median=True, max_spread=1), FIELD).map
    plain = receptive_fields(maps, PRFSettings(max_spread=1), FIELD).map
    assert np.abs(kept.x0_deg - x).max() < 0.2
    assert np.abs(plain.x0_deg - x).min() > 1


def test_window_ignores_a_second_island():
    maps = gaussian_maps([2.0], [0.0], [0.4]) + 0.4 * gaussian_maps([-4.0], [0.0], [0.4])
    island = receptive_fields(maps, PRFSettings(window="half_maximum", max_spread=1, power=1), FIELD).map
    assert island.x0_deg[0] == pytest.approx(2.0, abs=0.1)
    whole = receptive_fields(maps, PRFSettings(max_spread=1, power=1), FIELD).map
    assert whole.x0_deg[0] < 1


def test_misfit_inputs_are_refused():
    with pytest.raises(ShapeError, match="square maps"):
        receptive_fields(np.zeros((3, 8, 9), np.float32), PRFSettings(), FIELD)
    with pytest.raises(ShapeError, match="2 maps need one quality each"):
        receptive_fields(np.ones((2, 8, 8), np.float32), PRFSettings(), FIELD, quality=np.zeros(3, np.float32))
