"""The field sign beside left and right: each mistake is seen by one, the other or both, and the remedy is the one that agrees with both."""

from dataclasses import replace

import numpy as np
import pytest
from nilearn.surface import load_surf_mesh

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.arrays import RetinotopicMap
from brain2pix.data import open_subject
from brain2pix.data.field_signs import FIELD_SIGNS, SignCheck, cortex_of, field_signs
from brain2pix.data.hemifield import check_hemifields, check_sides
from brain2pix.simulation import load_truth


@pytest.fixture(scope="module")
def subject(tiny_subject):
    return open_subject(tiny_subject)


@pytest.fixture(scope="module")
def truth(tiny_subject, subject):
    true = load_truth(tiny_subject)
    parts = [np.asarray(part, dtype=np.float32) for part in (true.x0_deg, true.y0_deg, true.size_deg)]
    return RetinotopicMap(*parts, np.linspace(0, 1, subject.n_voxels, dtype=np.float32), 12.0)


def flipped(fields, x=1, y=1):
    return replace(fields, x0_deg=x * fields.x0_deg, y0_deg=y * fields.y0_deg)


def with_names_exchanged(subject):
    """The same brain, whose masks call the left hemisphere right."""
    voxels = subject.voxels.assign(hemi=subject.voxels["hemi"].map({"L": "R", "R": "L"}))
    return replace(subject, voxels=voxels)


def test_the_truth_has_the_signs_of_every_brain(subject, truth):
    check = check_sides(subject, truth)
    assert check.ok and check.mirrored is False and check.remedies == () and check.warning() == ""
    found = {sign.area: sign for sign in check.signs}
    assert list(found) == ["V1", "V2", "V3"] and all(sign.right_share > 0.9 and sign.n_triangles > 100 for sign in found.values())
    assert str(found["V1"]) == f"V1 field sign is negative in {found['V1'].right_share:.0%} of {found['V1'].n_triangles} triangles"
    assert str(found["V2"]).startswith("V2 field sign is positive in 9") and all(str(sign) in check.lines() for sign in check.signs)


def test_the_sign_is_that_of_the_turn_around_the_corners(subject, truth):
    """A second formula on files that nilearn reads: going around a triangle as seen from outside, the field goes the other way in V1."""
    points = np.array([load_surf_mesh(subject.path / "anat" / f"sub-01_hemi-L_{kind}.surf.gii").coordinates for kind in ("white", "pial")])
    faces = load_surf_mesh(subject.path / "anat" / "sub-01_hemi-L_white.surf.gii").faces
    place = subject.vertex_voxels("L")
    inside = (place >= 0) & np.append(subject.areas["V1"], False)[place]
    outward = points[1] - points[0]
    turns = []
    for face in faces[inside[faces].all(axis=1)]:
        corners = points.mean(axis=0)[face]
        wound_outwards = np.dot(np.cross(corners[1] - corners[0], corners[2] - corners[0]), outward[face].mean(axis=0)) > 0
        field = truth.x0_deg[place[face]] + 1j * truth.y0_deg[place[face]]
        turn = np.imag(np.conj(field[1] - field[0]) * (field[2] - field[0]))
        turns.append(np.sign(turn) * (1 if wound_outwards else -1))
    turns = np.array(turns)
    share = np.mean(turns[turns != 0] < 0)  # one hemisphere, not smoothed
    sign = field_signs(cortex_of(subject), truth)[0]
    assert (sign.area, sign.expected) == ("V1", -1) and share > 0.85 and sign.right_share == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(
    ("x", "y", "names", "remedy", "mirrored", "told"),
    [
        (-1, 1, False, "flip x", True, "the map is mirrored (the sign of x0: flip x)"),
        (1, -1, False, "flip y", True, "the map is upside down (the sign of y0: flip y)"),
        (-1, -1, False, "flip x and y", False, "turned by half a circle"),
        (1, 1, True, "swap hemispheres", False, "the hemispheres of the subject are exchanged"),
        (1, -1, True, "swap hemispheres and flip y", True, "exchanged and the map is upside down"),
    ],
)
def test_the_remedy_agrees_with_both(subject, truth, x, y, names, remedy, mirrored, told):
    looked_at = with_names_exchanged(subject) if names else subject
    check = check_sides(looked_at, flipped(truth, x, y))
    assert not check.ok and check.mirrored is mirrored and check.remedies == (remedy,)
    assert f"try: {remedy}" in check.lines()
    assert "What agrees with all of this: " in check.warning() and told in check.warning() and "Either" not in check.warning()
    if not (x == y == -1 or (names and y == -1)):  # of two readings, why not the other
        against = "flip x would turn the field sign over" if names else "would leave the field sign mirrored"
        assert against in check.warning()
    if mirrored:
        assert any(line.startswith("V1 field sign is positive in") and line.endswith("triangles: mirrored") for line in check.lines())


def test_a_mirrored_surface_is_seen_by_the_sign_alone(subject, truth):
    """A mesh wound inside out: left and right of the map are right."""
    inside_out = open_subject(subject.root)
    for hemi in "LR":
        for kind in ("white", "pial"):
            mesh = inside_out.mesh(hemi, kind)
            inside_out._meshes[hemi, kind] = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    check = check_sides(inside_out, truth)
    assert all(side.ok for side in check.sides) and check.mirrored and not check.ok and check.remedies == ()
    assert "lies mirrored on the cortex" in check.warning() and "the surfaces look mirrored or inside out" in check.warning()


def test_noise_has_no_sign(subject, truth):
    rng = np.random.default_rng(0)
    noise = replace(
        truth, x0_deg=rng.normal(size=subject.n_voxels).astype(np.float32), y0_deg=rng.normal(size=subject.n_voxels).astype(np.float32)
    )
    check = check_sides(subject, noise)
    assert check.mirrored is None and all("unclear" in str(sign) for sign in check.signs)
    assert "may be noise" in check.warning()


def test_weak_voxels_take_no_part(subject, truth):
    weak = truth.quality < 0.4
    spoiled = replace(truth, x0_deg=np.where(weak, -truth.x0_deg, truth.x0_deg), y0_deg=np.where(weak, 7, truth.y0_deg).astype(np.float32))
    all_of_them = {sign.area: sign for sign in field_signs(cortex_of(subject), spoiled)}
    strong = {sign.area: sign for sign in field_signs(cortex_of(subject), spoiled, min_quality=0.4)}
    assert strong["V1"].right_share > max(0.85, all_of_them["V1"].right_share) and strong["V1"].n_triangles < all_of_them["V1"].n_triangles


def test_without_surfaces_areas_or_fields(subject, truth, tiny_copy):
    for file in (tiny_copy / "sub-01" / "anat").glob("*_white.surf.gii"):
        file.unlink()
    bare = open_subject(tiny_copy)
    check = check_sides(bare, flipped(truth, x=-1))
    assert check.signs == () and check.mirrored is None and check.remedies == ("flip x", "swap hemispheres")
    assert "Either the map is mirrored" in check.warning() and "or the hemispheres of the subject are exchanged" in check.warning()
    assert field_signs(cortex_of(replace(subject, areas={"L": subject.areas["L"]})), truth) == ()
    nothing = np.full_like(truth.x0_deg, np.nan)
    assert field_signs(cortex_of(subject), replace(truth, x0_deg=nothing)) == ()


def test_a_damaged_surface_does_not_stop_the_other_check(truth, tiny_copy):
    file = next((tiny_copy / "sub-01" / "anat").glob("*hemi-L_pial.surf.gii"))
    file.write_bytes(file.read_bytes()[:2000])
    check = check_sides(open_subject(tiny_copy), truth)
    assert check.ok and check.signs == ()


def test_rounding_on_a_meridian_is_no_side():
    x0 = np.float32([1, 1, -1e-7, -1e-7, -1, -1])
    fields = RetinotopicMap(x0, x0, np.ones_like(x0), np.ones_like(x0), 12.0)
    check = check_hemifields(fields, np.array(["L"] * 4 + ["R"] * 2), {})
    assert check.sides[0].wrong_share == 0 and check.ok


def test_words_of_a_sign():
    assert str(SignCheck("hV4", 1, 40, 0.1)) == "hV4 field sign is negative in 90% of 40 triangles: mirrored"
    assert str(SignCheck("VO1", -1, 40, 0.6)) == "VO1 field sign is negative in 60% of 40 triangles: unclear"
    assert not SignCheck("V1", -1, 40, 0.2).ok and SignCheck("V1", -1, 40, 0.5).ok
    expected = {"V1": -1, "V2": 1, "V3": -1, "hV4": 1, "VO1": -1, "VO2": 1, "LO1": 1, "LO2": -1, "V3a": 1, "V3b": -1, "TO1": -1, "TO2": 1}
    assert {name: FIELD_SIGNS[name] for name in expected} == expected
