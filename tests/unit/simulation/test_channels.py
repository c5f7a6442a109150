import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.filters import gabor

from brain2pix.simulation.channel_names import CHANNEL_NAMES, WAVELENGTHS_DEG
from brain2pix.simulation.channels import channel_maps, gabor_kernels
from brain2pix.simulation.crops import crop
from brain2pix.simulation.photos import photo

FOV = 12.0


def _maps(image):
    return dict(zip(CHANNEL_NAMES, channel_maps(image[None], FOV)[0].numpy(), strict=True))


def _flat(red, green, blue, size=64):
    return np.full((size, size, 3), (red, green, blue), np.uint8)


def _grating(wavelength_deg, degrees, size=64):
    """A grating whose brightness varies along a direction, counter-clockwise from the right."""
    axis = (np.arange(size) + 0.5) / size * FOV - FOV / 2
    x, y = axis[None, :], -axis[:, None]
    turn = np.radians(degrees)
    light = 127.5 + 100 * np.cos(2 * np.pi / wavelength_deg * (x * np.cos(turn) + y * np.sin(turn)))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2)


def test_there_are_twenty_channels_on_half_the_resolution():
    maps = channel_maps(np.stack([_flat(1, 2, 3), _flat(9, 9, 9)]), FOV)
    assert len(CHANNEL_NAMES) == len(set(CHANNEL_NAMES)) == 20
    assert maps.shape == (2, 20, 32, 32) and maps.dtype == torch.float32
    assert (maps >= 0).all()


def test_uniform_light_has_no_contrast():
    maps = _maps(_flat(200, 200, 200))
    assert maps["luminance-on"] == pytest.approx(200 / 255 - 0.5, abs=1e-5)
    for name, values in maps.items():
        if name != "luminance-on":
            assert np.abs(values).max() < 1e-4, name
    assert _maps(_flat(20, 20, 20))["luminance-off"].mean() == pytest.approx(0.5 - 20 / 255, abs=1e-5)


@pytest.mark.parametrize(
    ("colour", "on", "off"),
    [
        ((255, 0, 0), {"red-green": 1.0, "yellow-blue": 0.5}, ("green-red", "blue-yellow")),
        ((0, 255, 0), {"green-red": 1.0, "yellow-blue": 0.5}, ("red-green", "blue-yellow")),
        ((0, 0, 255), {"blue-yellow": 1.0}, ("red-green", "green-red", "yellow-blue")),
    ],
)
def test_opponent_channels_know_hue(colour, on, off):
    maps = _maps(_flat(*colour))
    for name, value in on.items():
        assert maps[name] == pytest.approx(value, abs=1e-5)
    assert all(np.abs(maps[name]).max() < 1e-6 for name in off)


@pytest.mark.parametrize("wavelength", WAVELENGTHS_DEG)
@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_energy_is_largest_for_the_matching_grating(wavelength, degrees):
    maps = {name: values[8:-8, 8:-8].mean() for name, values in _maps(_grating(wavelength, degrees)).items() if name.startswith("energy")}
    assert max(maps, key=maps.get) == f"energy-{wavelength:g}deg-{degrees}"


def test_energy_does_not_depend_on_phase():
    """Quadrature: the energy of a grating is flat where its luminance is not."""
    maps = _maps(_grating(1.5, 0))
    inner = maps["energy-1.5deg-0"][8:-8, 8:-8]
    assert inner.std() / inner.mean() < 0.05
    assert inner.mean() == pytest.approx(100 / 255, rel=0.1)


@pytest.mark.parametrize(("level", "wavelength"), [(1, 0.75), (2, 1.5)])
@pytest.mark.parametrize("turn", range(4))
def test_energy_agrees_with_scikit_image(level, wavelength, turn):
    """Both wavelengths are four pixels at their level of the pyramid, where scikit-image filters the same light."""
    image = crop(photo("coffee")[0], (100, 50, 300), 64)
    light = image @ np.array([0.2126, 0.7152, 0.0722]) / 255
    light = light.reshape(64 // level, level, 64 // level, level).mean(axis=(1, 3))
    # scikit-image turns clockwise as seen (its y runs down); its default bandwidth is another, so sigma is given
    even, odd = gabor(light - light.mean(), frequency=0.25, theta=-np.pi * turn / 4, sigma_x=2, sigma_y=2, mode="nearest")
    theirs = np.hypot(even, odd)
    theirs = theirs.reshape(32, theirs.shape[0] // 32, 32, -1).mean(axis=(1, 3))
    ours = _maps(image)[f"energy-{wavelength:g}deg-{45 * turn}"]
    assert np.corrcoef(ours[4:-4, 4:-4].ravel(), theirs[4:-4, 4:-4].ravel())[0, 1] > 0.99


def test_difference_of_gaussians_agrees_with_scipy():
    image = crop(photo("chelsea")[0], (100, 0, 300), 64)
    light = (image @ np.array([0.2126, 0.7152, 0.0722]) / 255).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    difference = gaussian_filter(light, 0.3 / 12 * 32, mode="nearest") - gaussian_filter(light, 0.6 / 12 * 32, mode="nearest")
    maps = _maps(image)
    assert np.allclose(maps["dog-on"] - maps["dog-off"], difference, atol=1e-4)
    assert (np.minimum(maps["dog-on"], maps["dog-off"]) == 0).all()


def test_filters_are_balanced_pairs():
    kernels = gabor_kernels()
    assert kernels.shape[:2] == (8, 1)
    assert np.abs(kernels.sum(axis=(2, 3))).max() < 1e-5
    assert np.allclose(kernels[:4], kernels[:4, :, ::-1, ::-1], atol=1e-6)
    assert np.allclose(kernels[4:], -kernels[4:, :, ::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("size", [32, 112])
def test_other_sizes_see_the_same_degrees(size):
    """The wavelengths are degrees, not pixels: a picture twice as fine gives about the same maps."""
    picture = photo("flower")[0]
    reference = _maps(crop(picture, (100, 0, 400), 64))["energy-3deg-0"]
    other = _maps(crop(picture, (100, 0, 400), size))["energy-3deg-0"]
    assert other.mean() == pytest.approx(reference.mean(), rel=0.1)
