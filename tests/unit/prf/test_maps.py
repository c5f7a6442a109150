import numpy as np
import pytest
import torch
from scipy import stats

from brain2pix.arrays import RetinotopicMap
from brain2pix.config.base import preset_names, resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.errors import NotSupportedError, ShapeError
from brain2pix.prf import enlarge_maps, gradient_maps, receptive_fields

SIZE = 64
FIELD = 12.0


def gaussian_maps(x_deg, y_deg, sigma_deg, size=SIZE):
    """Gaussian bumps evaluated in degrees, independent of the pixel arithmetic under test."""
    axis = (np.arange(size) + 0.5) / size * FIELD - FIELD / 2
    x, y = np.meshgrid(axis, -axis)
    square = (x - np.reshape(x_deg, (-1, 1, 1))) ** 2 + (y - np.reshape(y_deg, (-1, 1, 1))) ** 2
    return np.exp(-square / (2 * np.reshape(sigma_deg, (-1, 1, 1)) ** 2)).astype(np.float32)


def test_presets_resolve():
    assert preset_names("prf") == ["default", "paper"]
    paper = resolve(PRFSettings, "prf", "paper")
    assert (paper.power, paper.n_images, paper.inputs) == (10.0, 1, "noise")
    assert (paper.centre, paper.size, paper.estimator, paper.gradient) == ("gradient", "gradient", "centre_of_mass", "squared")
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


def linear_encoder_maps(x_deg, y_deg, sigma_deg, gradient, size=SIZE):
    """Gradient maps of voxels that sum the image under Gaussians of known place and size."""
    weights = torch.from_numpy(np.repeat(gaussian_maps(x_deg, y_deg, sigma_deg, size)[:, None], 3, axis=1))
    return gradient_maps(
        lambda images: torch.einsum("bchw,vchw->bv", images, weights), torch.rand(1, 3, size, size), len(weights), gradient=gradient
    )


@pytest.mark.parametrize("size", [32, 64, 112])
@pytest.mark.parametrize("blur", [0.0, 0.015, 0.027, 0.05])
@pytest.mark.parametrize("gradient", ["squared", "absolute"])
def test_sizes_of_a_linear_encoder_come_back_without_the_blur(gradient, blur, size, rng):
    sigma = np.repeat([0.3, 0.5, 0.8, 1.2, 2.0], 8)
    x, y = rng.uniform(-1, 1, (2, 40)) * (FIELD / 2 - 2 * sigma)  # two sizes away from the edge, anywhere on the pixel grid
    maps = linear_encoder_maps(x, y, sigma, gradient, size)
    found = receptive_fields(maps, PRFSettings(gradient=gradient, blur=blur, max_spread=1), FIELD).map
    np.testing.assert_allclose(found.sigma_deg, sigma, rtol=0.02)


@pytest.mark.parametrize("blur", [0.0, 0.027])
@pytest.mark.parametrize("gradient", ["squared", "absolute"])
def test_sizes_at_the_edge_are_those_of_the_whole_field(gradient, blur, rng):
    sigma = np.repeat([0.3, 0.5, 0.8, 1.2, 2.0, 3.0], 8)
    x = FIELD / 2 + rng.uniform(-1, 0.5, 48) * sigma  # from one size inside to half a size beyond the border
    y = rng.uniform(-3, 3, 48)
    maps = linear_encoder_maps(x, y, sigma, gradient)
    found = receptive_fields(maps, PRFSettings(gradient=gradient, blur=blur, max_spread=1), FIELD).map
    np.testing.assert_allclose(found.sigma_deg, sigma, rtol=0.1)
    assert np.all(np.abs(found.x0_deg) <= FIELD / 2)  # the centre of mass cannot leave the image


def test_sizes_survive_speckle(rng):
    sigma = rng.uniform(0.3, 2.0, 200)
    x, y = rng.uniform(-1, 1, (2, 200)) * 5
    speckled = gaussian_maps(x, y, sigma / np.sqrt(2)) * rng.exponential(size=(200, SIZE, SIZE)).astype(np.float32)
    found = receptive_fields(speckled, PRFSettings(max_spread=1), FIELD).map
    ratio = found.sigma_deg / sigma
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.3
    assert stats.spearmanr(found.sigma_deg, sigma).statistic > 0.93


def test_the_fitted_gaussian_gives_centres_that_a_centre_of_mass_pulls_inwards():
    x, y, sigma = np.array([5.6, -5.8]), np.array([0.3, -5.7]), np.array([1.0, 0.8])
    maps = linear_encoder_maps(x, y, sigma, "squared")
    fitted = receptive_fields(maps, PRFSettings(estimator="gaussian", max_spread=1), FIELD).map
    np.testing.assert_allclose(np.stack([fitted.x0_deg, fitted.y0_deg]), [x, y], atol=0.02)
    mass = receptive_fields(maps, PRFSettings(max_spread=1, power=1), FIELD).map
    assert np.all(np.abs(mass.x0_deg) < np.abs(x) - 0.15)


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


X, Y = np.array([2.0, -1.0, 0.5]), np.array([1.0, 0.5, -2.0])


@pytest.fixture
def own():
    """What a model says of three voxels: half a degree further right, twice as large; of the last one nothing."""
    parts = np.array([X + 0.5, Y, [1.0, 1.0, 1.0], [0.7, 0.2, 0.4]], dtype=np.float32)
    parts[:3, 2] = np.nan
    return RetinotopicMap(*parts, field_of_view_deg=FIELD, quality_name="confidence", source="fields of the model")


@pytest.mark.parametrize(("centre", "shift"), [("gradient", 0.0), ("mean", 0.25), ("model", 0.5)])
def test_centres_come_from_where_they_were_asked(own, centre, shift):
    maps = linear_encoder_maps(X, Y, np.full(3, 0.5), "squared")
    fields = receptive_fields(maps, PRFSettings(centre=centre), FIELD, model=own, source="gradients")
    np.testing.assert_allclose(fields.map.x0_deg[:2], X[:2] + shift, atol=0.02)
    if centre == "model":
        assert np.isnan(fields.map.x0_deg[2]) and fields.confined.tolist() == [True, True, False]
    else:
        assert fields.map.x0_deg[2] == pytest.approx(X[2], abs=0.02)  # where the model says nothing: the gradient alone
    assert fields.used["centre"] == centre
    names = {"gradient": "gradients", "mean": "mean of gradients and fields of the model", "model": "fields of the model; sizes: gradients"}
    assert fields.map.source == names[centre]


def test_sizes_may_be_the_models_own(own):
    maps = linear_encoder_maps(X, Y, np.full(3, 0.5), "squared")
    fields = receptive_fields(maps, PRFSettings(centre="gradient", size="model"), FIELD, model=own, source="gradients")
    np.testing.assert_allclose(fields.map.sigma_deg, [1.0, 1.0, 0.5], rtol=0.02)
    assert fields.map.source == "gradients; sizes: fields of the model"


def test_without_fields_of_its_own_a_model_is_read_from_its_gradients(own):
    maps = linear_encoder_maps(X, Y, np.full(3, 0.5), "squared")
    plain = receptive_fields(maps, PRFSettings(centre="gradient"), FIELD)
    nothing = RetinotopicMap(*np.full((4, 3), np.nan, np.float32), field_of_view_deg=FIELD)
    for model in (None, nothing):
        fields = receptive_fields(maps, PRFSettings(centre="mean", size="model"), FIELD, model=model)
        np.testing.assert_array_equal(fields.map.x0_deg, plain.map.x0_deg)
        np.testing.assert_array_equal(fields.map.sigma_deg, plain.map.sigma_deg)
        assert (fields.used["centre"], fields.used["size"], fields.map.source) == ("gradient", "gradient", "encoder gradients")
    with pytest.raises(NotSupportedError, match="no receptive fields of its own; set centre='gradient'"):
        receptive_fields(maps, PRFSettings(centre="model"), FIELD)


def test_quality_is_the_one_that_was_asked_for(own):
    maps = linear_encoder_maps(X, Y, np.array([0.3, 0.9, 1.5]), "squared")
    r = np.array([0.1, 0.2, 0.3], dtype=np.float32)

    def ranked(name, **given):
        fields = receptive_fields(maps, PRFSettings(quality=name), FIELD, **given)
        return fields.map.quality, fields.map.quality_name, fields.used["quality"]

    np.testing.assert_array_equal(ranked("held_out_r", quality=r, model=own)[0], r)
    np.testing.assert_array_equal(ranked("model", quality=r, model=own)[0], own.quality)
    assert ranked("model", quality=r, model=own)[1:] == ("confidence", "model")
    spread, name, used = ranked("spread", quality=r)
    assert 1 > spread[0] > spread[1] > spread[2] > 0.2 and "confinement" in name and used == "spread"
    peak, name, used = ranked("peak", quality=r)
    assert peak[0] > peak[1] > peak[2] and "peak over background" in name and used == "peak"
    # what is missing: held-out r, then the peak
    assert ranked("model", quality=r)[1:] == ("held-out r", "held_out_r")
    assert ranked("held_out_r")[2] == "peak"


def test_spread_ranks_a_flat_map_at_zero():
    flat = np.ones((1, SIZE, SIZE), dtype=np.float32)
    fields = receptive_fields(flat, PRFSettings(quality="spread", blur=0, power=1), FIELD)
    assert fields.map.quality[0] == pytest.approx(0, abs=1e-3)


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
    with pytest.raises(ShapeError, match="2 maps need one field of the model each, got 3"):
        receptive_fields(
            np.ones((2, 8, 8), np.float32),
            PRFSettings(),
            FIELD,
            model=RetinotopicMap(*np.ones((4, 3), np.float32), field_of_view_deg=FIELD),
        )


@pytest.mark.parametrize(("grid", "size"), [(8, 32), (14, 112), (14, 64)])
def test_enlarged_maps_keep_their_places(grid, size):
    maps = np.zeros((3, grid, grid), np.float32)
    places = [(1, 2), (grid // 2, grid - 3), (grid - 2, 4)]
    for voxel, (row, column) in enumerate(places):
        maps[voxel, row, column] = 1
    enlarged = enlarge_maps(maps, size)
    assert enlarged.shape == (3, size, size) and enlarged.dtype == np.float32
    found = receptive_fields(enlarged, PRFSettings(blur=0, max_spread=1, power=1), FIELD).map
    for voxel, (row, column) in enumerate(places):
        assert found.x0_deg[voxel] == pytest.approx(((column + 0.5) / grid - 0.5) * FIELD, abs=0.05)
        assert found.y0_deg[voxel] == pytest.approx((0.5 - (row + 0.5) / grid) * FIELD, abs=0.05)
