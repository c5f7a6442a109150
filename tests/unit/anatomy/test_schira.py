import math

import numpy as np
import pytest

from brain2pix.anatomy import (
    HEMISPHERES,
    SimulatedAtlas,
    cortical_position,
    individual_placement,
    load_fsaverage5,
    plane_coordinates,
    schira,
    visual_field,
)
from brain2pix.errors import ConfigError


def test_constants_are_those_of_the_sheet():
    assert (schira.FOVEAL_POLE_DEG, schira.PERIPHERAL_POLE_DEG, schira.BAND_DEG) == (1.05, 90.0, 0.4)
    assert schira.SHEAR == (0.1821, 0.76) and schira.WIDTHS == (1.0, 0.5, 0.4)
    left, right = schira.PLACEMENTS["L"], schira.PLACEMENTS["R"]
    assert left.center == (28.62, -78.76, -54.57) and right.center == (-56.21, -63.94, -52.46)
    fit = [(p.scale_x, p.scale_y, p.rotation, p.center_x, p.center_y, p.shear) for p in (left, right)]
    assert fit == [(22.24, -18.22, 0.038, -33.41, -2.55, 0.314), (22.03, -18.80, 0.254, -32.40, -9.81, 0.295)]
    assert (schira.MAX_DISTANCE, schira.MIN_COSINE, schira.MAX_ECCENTRICITY_DEG) == (1.5, 0.2, 20.0)


def _by_hand(area, ecc, theta):
    """The same map in real numbers: shear the angle of the banded point once per pole, then two distances and two bearings."""
    sign = -1.0 if theta < 0 else 1.0
    if area == 1:
        phi = theta
    elif area == 2:
        phi = sign * (math.pi / 2 + 0.5 * (math.pi / 2 - abs(theta)))
    else:
        phi = sign * (0.75 * math.pi + 0.4 * abs(theta))
    x = ecc * math.cos(phi) + 0.4 * min(1, 2 - 2 * abs(phi) / math.pi)
    y = ecc * math.sin(phi)
    e, p = math.hypot(x, y), math.atan2(y, x)
    real, imaginary = [], []
    for pole in (1.05, 90.0):
        strength = 0.1821 * (2 / (math.exp(0.76 * math.log(e / pole)) + math.exp(-0.76 * math.log(e / pole))))
        q = p * (2 / (math.exp(p) + math.exp(-p))) ** strength
        real.append(math.log(math.hypot(e * math.cos(q) + pole, e * math.sin(q))))
        imaginary.append(math.atan2(e * math.sin(q), e * math.cos(q) + pole))
    return real[0] - real[1] - math.log((0.4 + 1.05) / (0.4 + 90)), imaginary[0] - imaginary[1]


@pytest.mark.parametrize("area", [1, 2, 3])
def test_agrees_with_the_formula_in_real_numbers(area, rng):
    ecc, theta = rng.uniform(0.05, 20, 200), rng.uniform(-math.pi / 2, math.pi / 2, 200)
    w = cortical_position(area, ecc, theta)
    by_hand = np.array([_by_hand(area, e, t) for e, t in zip(ecc, theta, strict=True)])
    assert np.allclose(w.real, by_hand[:, 0], atol=1e-9)
    assert np.allclose(w.imag, by_hand[:, 1], atol=1e-9)


def test_without_shear_and_band_it_is_the_dipole_map(monkeypatch):
    """Schwartz's log-polar dipole, whose magnification at E on the horizontal is 1/(E+a) - 1/(E+b)."""
    monkeypatch.setattr(schira, "SHEAR", (0.0, 0.76))
    monkeypatch.setattr(schira, "BAND_DEG", 0.0)
    ecc = np.array([0.5, 2.0, 8.0])
    step = 1e-5
    slope = (cortical_position(1, ecc + step, 0.0).real - cortical_position(1, ecc - step, 0.0).real) / (2 * step)
    assert np.allclose(slope, 1 / (ecc + 1.05) - 1 / (ecc + 90), rtol=1e-6)


def test_areas_share_their_borders():
    ecc = np.geomspace(0.1, 20, 30)
    for side in (-1, 1):
        vertical = side * np.pi / 2
        assert np.allclose(cortical_position(1, ecc, vertical), cortical_position(2, ecc, vertical))
        # side * 0.0 has the sign that tells upper from lower field only as a tiny angle
        assert np.allclose(cortical_position(2, ecc, side * 1e-9), cortical_position(3, ecc, side * 1e-9), atol=1e-6)


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_inverse_recovers_what_was_placed(hemi, rng):
    atlas = SimulatedAtlas(hemi)
    for area in (1, 2, 3):
        ecc = np.exp(rng.uniform(np.log(0.5), np.log(15), 200))
        theta = rng.uniform(0.15, 1.4, 200) * rng.choice([-1, 1], 200)
        found, e, t, ventral = atlas.lookup_plane(atlas.place(area, ecc, theta))
        assert (found == area).mean() > 0.97  # a few lie nearer to a tabulated point across the border
        same = found == area
        assert np.abs(np.log(e[same] / ecc[same])).max() < 0.05
        assert np.abs(t[same] - theta[same]).max() < 0.05
        assert (ventral[same] == (theta[same] > 0)).all()


def test_far_points_belong_to_no_area():
    area, ecc, theta, ventral = SimulatedAtlas("L").lookup_plane(np.array([[500.0, 500.0], [np.nan, 0.0]]))
    assert area.tolist() == [0, 0] and np.isnan(ecc).all() and np.isnan(theta).all() and not ventral.any()


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_plane_keeps_areas(hemi):
    """Lambert's projection: a triangle of the unit sphere keeps its area, times 100 squared."""
    sphere = load_fsaverage5(hemi)["sphere"]
    plane = plane_coordinates(sphere.vertices, hemi)
    known = np.isfinite(plane[sphere.faces]).all(axis=(1, 2))
    corners = sphere.vertices[sphere.faces[known]] / np.linalg.norm(sphere.vertices[sphere.faces[known]], axis=2, keepdims=True)
    solid = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    flat = plane[sphere.faces[known]]
    (ux, uy), (vx, vy) = (flat[:, 1] - flat[:, 0]).T, (flat[:, 2] - flat[:, 0]).T
    assert np.allclose(np.abs(ux * vy - uy * vx) / 2 / solid, 100**2, rtol=0.03)
    assert 0.3 < known.mean() < 0.5  # a cap with cosine > .2 is 40 % of a sphere


def test_each_hemisphere_sees_the_other_side():
    x, y = visual_field("L", [2.0, 2.0], [0.0, np.pi / 4])
    assert np.allclose(x, [2, np.sqrt(2)]) and np.allclose(y, [0, np.sqrt(2)])
    assert np.allclose(visual_field("R", 2.0, 0.0)[0], -2)


def test_people_differ_reproducibly():
    one, same, other = (individual_placement("L", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other
    turned = [individual_placement("L", np.random.default_rng(seed)).rotation - schira.PLACEMENTS["L"].rotation for seed in range(200)]
    assert np.degrees(np.std(turned)) == pytest.approx(3, rel=0.2)


def test_wrong_names_are_refused():
    with pytest.raises(ConfigError, match="area must be 1, 2 or 3, got 4"):
        cortical_position(4, 1.0, 0.0)
    with pytest.raises(ConfigError, match="unknown hemisphere"):
        visual_field("left", 1.0, 0.0)
