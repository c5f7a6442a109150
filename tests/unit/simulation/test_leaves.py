import numpy as np

from brain2pix.simulation.leaves import SIZE_EXPONENT, SIZE_RANGE, _radii, dead_leaves


def test_radii_follow_the_power_law(rng):
    radii = _radii(200_000, rng)
    assert SIZE_RANGE[0] <= radii.min() and radii.max() <= SIZE_RANGE[1]
    edges = np.geomspace(0.021, 0.3, 12)
    density = np.histogram(radii, edges)[0] / np.diff(edges)
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(density), 1)[0]
    assert abs(slope + SIZE_EXPONENT) < 0.05


def test_canvases_are_reproducible_and_differ():
    one, same, other = (dead_leaves(96, np.random.default_rng(seed), 150) for seed in (1, 1, 2))
    assert (one == same).all() and one.shape == (96, 96, 3) and one.dtype == np.uint8
    assert np.abs(one.astype(float) - other).mean() > 20


def test_spectrum_falls_as_in_natural_images():
    """Power falls with about the square of frequency (exponents of 1.5 to 3 are what photographs have)."""
    power = np.zeros(64)
    for seed in range(6):
        light = dead_leaves(128, np.random.default_rng(seed)).mean(axis=2)
        spectrum = np.abs(np.fft.fft2(light - light.mean())) ** 2
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128) * 128, np.fft.fftfreq(128) * 128)).round().astype(int)
        power += (np.bincount(radius.ravel(), spectrum.ravel()) / np.bincount(radius.ravel()))[:64]
    slope = np.polyfit(np.log(np.arange(2, 40)), np.log(power[2:40]), 1)[0]
    assert -3 < slope < -1.5
