"""What a named convention means, what is refused, and that each way out is a way back in."""

import numpy as np
import prf_published as published
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from brain2pix.arrays import RetinotopicMap
from brain2pix.data.prf_files import CONVENTIONS, convention_names, find_convention
from brain2pix.data.prf_files.conventions import by_range, check_angles
from brain2pix.data.prf_files.converting import QUALITY_R2, from_fields, to_fields
from brain2pix.errors import ConfigError, DataFormatError

WRITTEN = [name for name, one in CONVENTIONS.items() if not one.refuse and one.length != "px"]


def fields(x0, y0, sigma=1.0, quality=0.5, field=10.0):
    x0, y0 = np.atleast_1d(np.float32(x0)), np.atleast_1d(np.float32(y0))
    return RetinotopicMap(x0, y0, np.full_like(x0, sigma), np.full_like(x0, quality), field, QUALITY_R2)


@examples(max_examples=300)
@given(
    name=st.sampled_from(WRITTEN),
    side=st.sampled_from(["L", "R"]),
    x=st.floats(0, 20, width=32),
    y=st.floats(-20, 20, width=32),
    sigma=st.floats(0.0625, 10, width=32),
    quality=st.floats(-1, 1, width=32),
)
def test_what_is_written_reads_back(name, side, x, y, sigma, quality):
    """Over every convention and both hemispheres, in the half of the field that the hemisphere sees."""
    found = fields(x if side == "L" else -x, y, sigma, quality)
    hemi = np.array([side])
    written = {key: np.float32(part) for key, part in from_fields(CONVENTIONS[name], found, hemi).items()}
    if CONVENTIONS[name].angle is not None and x == y == 0:
        written["area"] = np.float32([1])  # a template is 0 where it says nothing; at fixation its areas decide
    back = to_fields(CONVENTIONS[name], written, hemi, scale_deg=10.0 if name == "fraction" else None)
    np.testing.assert_allclose([back.x0[0], back.y0[0]], [found.x0_deg[0], y], atol=2e-5)
    np.testing.assert_allclose(back.sigma[0], sigma, rtol=1e-5)
    np.testing.assert_allclose(back.quality[0], quality, atol=1e-6)


@pytest.mark.parametrize("name", ["nsd", "benson14", "neuropythy-visual", "neuropythy-standard"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_written_angles_are_those_of_the_table(name, side):
    rng = np.random.default_rng(4)
    x0, y0 = np.abs(rng.normal(3, 2, 50)) * (1 if side == "L" else -1), rng.normal(0, 3, 50)
    hemi = np.full(50, side)
    ours = from_fields(CONVENTIONS[name], fields(x0, y0), hemi)["angle"]
    theirs = published.angles(x0, y0, hemi, name)
    turn = 2 * np.pi if name == "neuropythy-standard" else 360
    np.testing.assert_allclose((ours - theirs + turn / 2) % turn, turn / 2, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "hemi", "angle", "xy"),
    [  # by hand: the four ends of the meridians
        ("nsd", "L", 90, (0, 1)),
        ("nsd", "R", 180, (-1, 0)),
        ("benson14", "L", 90, (1, 0)),
        ("benson14", "R", 90, (-1, 0)),
        ("benson14", "R", 0, (0, 1)),
        ("benson14", "L", 180, (0, -1)),
        ("neuropythy-visual", "R", -90, (-1, 0)),
        ("neuropythy-visual", "L", 180, (0, -1)),
        ("neuropythy-standard", "L", np.pi / 2, (0, 1)),
        ("neuropythy-standard", "R", np.pi, (-1, 0)),
    ],
)
def test_meridians(name, hemi, angle, xy):
    back = to_fields(CONVENTIONS[name], {"angle": np.array([angle]), "ecc": np.array([1.0])}, np.array([hemi]))
    np.testing.assert_allclose([back.x0[0], back.y0[0]], xy, atol=1e-9)


def test_an_unsigned_angle_cannot_tell_the_own_side():
    written = from_fields(CONVENTIONS["benson14"], fields([2, -2], [1, 1]), np.array(["L", "L"]))
    assert np.isfinite(written["angle"]).tolist() == [True, False] and np.isfinite(written["ecc"]).tolist() == [True, False]
    nowhere = to_fields(CONVENTIONS["benson14"], {"angle": np.array([90.0]), "ecc": np.array([1.0])}, np.array(["n/a"]))
    assert np.isnan(nowhere.x0[0])


def test_names():
    assert find_convention("HCP").name == "nsd" and find_convention("prfpy").name == "prfanalyze"
    assert set(convention_names()) >= {"benson14", "neuropythy-visual", "neuropythy-standard", "nsd", "hcp", "analyzeprf", "prfanalyze"}
    with pytest.raises(ConfigError, match=r"unknown convention 'benson'\. Did you mean 'benson14'\?"):
        find_convention("benson")


@pytest.mark.parametrize(("name", "why"), [("fsfast", "depends on the paradigm"), ("pycortex", "the colour map decides")])
def test_nobody_guesses(name, why):
    with pytest.raises(ConfigError, match=rf"{name} does not say what its angles mean: .*{why}.*Say all of --zero right\|up"):
        find_convention(name)
    with pytest.raises(ConfigError, match="does not say"):
        find_convention(name, zero="up", unit="rad")
    said = find_convention(name, zero="up", direction="clockwise", unit="rad")
    back = to_fields(said, {"angle": np.array([np.pi / 2]), "ecc": np.array([2.0])}, np.array(["R"]))
    np.testing.assert_allclose([back.x0[0], back.y0[0]], (2, 0), atol=1e-9)


def test_what_the_user_says_of_an_angle_stands():
    turned = find_convention("nsd", direction="clockwise")
    back = to_fields(turned, {"angle": np.array([90.0]), "ecc": np.array([2.0])}, np.array(["L"]))
    np.testing.assert_allclose([back.x0[0], back.y0[0]], (0, -2), atol=1e-9)
    with pytest.raises(ConfigError, match="convention prfanalyze has x0 and y0, no angle"):
        find_convention("prfanalyze", zero="up")


RADIANS, TURN, HALF, SIGNED = np.linspace(0, 2 * np.pi, 50), np.linspace(0, 359, 50), np.linspace(0, 180, 50), np.linspace(-179, 180, 50)


@pytest.mark.parametrize(
    ("name", "angles", "message"),
    [
        ("nsd", RADIANS, r"angle reaches 6\.28: radians\? use neuropythy-standard, or say --unit deg"),
        ("benson14", RADIANS / 2, r"angle reaches 3\.14: radians\? use neuropythy-standard"),
        ("neuropythy-visual", RADIANS - np.pi, r"radians\? use neuropythy-standard"),
        ("neuropythy-standard", TURN, r"angle reaches 359: degrees\? use nsd"),
        ("neuropythy-standard", HALF, r"angle reaches 180: degrees\? use benson14"),
        ("nsd", SIGNED, r"angle goes from -179 to 180, expected 0 to 360: use neuropythy-visual"),
        ("benson14", TURN, r"angle goes from 0 to 359, expected 0 to 180: use nsd"),
        ("benson14", SIGNED, r"expected 0 to 180: use neuropythy-visual"),
        ("neuropythy-visual", TURN, r"expected -180 to 180: use nsd, or say --zero, --direction and --unit"),
    ],
)
def test_ranges_that_do_not_fit_are_refused_with_the_one_that_does(name, angles, message):
    with pytest.raises(DataFormatError, match=rf"^{name} \(.*{message}"):
        check_angles(CONVENTIONS[name], angles)


def test_ranges_that_fit_pass():
    check_angles(CONVENTIONS["nsd"], TURN)
    check_angles(CONVENTIONS["benson14"], HALF)
    check_angles(CONVENTIONS["neuropythy-visual"], SIGNED)
    check_angles(CONVENTIONS["neuropythy-standard"], RADIANS)
    check_angles(CONVENTIONS["nsd"], np.array([3.0, 5.0, np.nan]))  # too few to have a range
    check_angles(find_convention("nsd", unit="deg"), RADIANS)  # the user knows better
    assert by_range(TURN)[0] == "nsd" and by_range(HALF)[0] == "benson14" and by_range(SIGNED)[0] == "neuropythy-visual"
    assert by_range(RADIANS) == ("neuropythy-standard", "angles go from 0 to 6.283")
    with pytest.raises(DataFormatError, match="3 angles do not say which convention they follow; name it with --convention"):
        by_range(np.array([1.0, 2.0, 3.0]))


def test_units_of_r2():
    hemi = np.full(30, "L")
    place = {"x0": np.ones(30), "y0": np.ones(30)}
    polar = {"angle": np.linspace(0, 350, 30), "ecc": np.ones(30)}
    with pytest.raises(DataFormatError, match=r"R2 reaches 80, expected at most 1: percent\? say --r2-unit percent"):
        to_fields(CONVENTIONS["prfanalyze"], {**place, "quality": np.full(30, 80.0)}, hemi)
    with pytest.raises(DataFormatError, match=r"R2 reaches 0\.8 percent: a fraction\? say --r2-unit fraction"):
        to_fields(CONVENTIONS["nsd"], {**polar, "quality": np.full(30, 0.8)}, hemi)
    assert to_fields(CONVENTIONS["prfanalyze"], {**place, "quality": np.full(30, 80.0)}, hemi, percent=True).quality[0] == 0.8
    assert to_fields(CONVENTIONS["nsd"], {**polar, "quality": np.full(30, 0.8)}, hemi, percent=False).quality[0] == 0.8
    kept = to_fields(CONVENTIONS["nsd"], {**polar, "quality": np.r_[-20.0, np.nan, np.full(28, 50.0)]}, hemi).quality
    assert kept[0] == -0.2 and np.isnan(kept[1])  # unknown stays unknown


def test_lengths():
    hemi = np.array(["L"])
    with pytest.raises(DataFormatError, match="eccentricity reaches -2, it cannot be below 0; are files exchanged"):
        to_fields(CONVENTIONS["nsd"], {"angle": np.array([1.0]), "ecc": np.array([-2.0])}, hemi)
    with pytest.raises(ConfigError, match="convention fraction has lengths in shares of the field of view; give --field-of-view-deg"):
        to_fields(CONVENTIONS["fraction"], {"x0": np.ones(1), "y0": np.ones(1)}, hemi)
    with pytest.raises(ConfigError, match="--degrees-per-pixel must be a number above 0, got -1"):
        to_fields(CONVENTIONS["analyzeprf"], {"angle": np.ones(1), "ecc": np.ones(1)}, hemi, scale_deg=-1.0)
    with pytest.raises(ConfigError, match="convention analyzeprf counts pixels of an aperture, which a map does not know; write nsd"):
        from_fields(CONVENTIONS["analyzeprf"], fields(1, 1), hemi)
    with pytest.raises(ConfigError, match="convention fraction needs the field of view of the map"):
        from_fields(CONVENTIONS["fraction"], fields(1, 1, field=float("nan")), hemi)
    round_ = to_fields(CONVENTIONS["prfanalyze"], {"x0": np.ones(1), "y0": np.ones(1), "sigma": np.array([4.0]), "minor": np.ones(1)}, hemi)
    assert round_.sigma[0] == 2 and round_.size == "root of the product of both sigmas of the Gaussian"
