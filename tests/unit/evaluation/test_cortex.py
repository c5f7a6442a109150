"""Maps on the simulated areas of fsaverage5: the truth shows what a textbook says, a wrong map does not."""

import numpy as np
import pytest

from brain2pix.anatomy import SimulatedAtlas, load_fsaverage5, visual_field
from brain2pix.arrays import RetinotopicMap
from brain2pix.evaluation import Sheet, angle_profile, cortex_lines, field_sign_map, score_cortex
from brain2pix.evaluation.cortex import across_areas, foveal_confluence

FIELD = 12.0


@pytest.fixture(scope="module")
def cortex():
    """Both hemispheres with a voxel at each labelled vertex and in each labelled triangle, and the true map of these voxels."""
    sheets, parts = [], []
    labelled = {hemi: _labelled(hemi) for hemi in "LR"}
    n_voxels = sum(len(xyz) for _, xyz, *_ in labelled.values())
    start = 0
    for hemi, (mesh, xyz, field, voxel, areas) in labelled.items():
        place = np.zeros((n_voxels, 3))
        place[start : start + len(xyz)] = xyz
        own = (np.arange(n_voxels) >= start) & (np.arange(n_voxels) < start + len(xyz))
        sheets.append(Sheet(hemi, mesh.vertices, mesh.faces, np.where(voxel >= 0, voxel + start, -1), areas, place, own))
        parts.append(field)
        start += len(xyz)
    x, y = np.concatenate(parts, axis=1)
    scope = (np.abs(x) < FIELD / 2) & (np.abs(y) < FIELD / 2)
    return sheets, make_map(x, y), scope


def _labelled(hemi):
    """Mesh, places of the voxels, what they see, the voxel of each vertex, and the areas of the vertices."""
    surfaces = load_fsaverage5(hemi)
    mesh, sphere = surfaces["white"], surfaces["sphere"].vertices

    def at_all(values):
        return np.concatenate([values, values[mesh.faces].mean(axis=1)])  # vertices, then middles of the triangles

    area, ecc, theta, _ = SimulatedAtlas(hemi).lookup(at_all(sphere))
    n = mesh.n_vertices
    areas = {f"V{code}": area[:n] == code for code in (1, 2, 3)}
    areas |= {f"V{code}{letter}": (area[:n] == code) & ((theta[:n] > 0) == (letter == "v")) for code in (1, 2, 3) for letter in "dv"}
    seen = area > 0
    voxel = np.where(seen[:n], np.cumsum(seen[:n]) - 1, -1)
    x, y = visual_field(hemi, ecc[seen], theta[seen])
    return mesh, at_all(mesh.vertices)[seen], np.stack([x, y]), voxel, areas


def make_map(x, y):
    """A map whose quality drops 15 % of the voxels anywhere."""
    quality = np.random.default_rng(1).random(len(x))
    return RetinotopicMap(*(np.asarray(part, dtype=np.float32) for part in (x, y, np.ones(len(x)), quality)), field_of_view_deg=FIELD)


def test_the_truth_shows_what_a_textbook_says(cortex):
    sheets, truth, scope = cortex
    scores = score_cortex(sheets, truth, truth, scope=scope)
    assert len(scores.reversals) == 8 and scores.reversals_found == 1  # two borders, two streams, two hemispheres
    assert all(r > 0.8 for r, _, _ in scores.from_fovea.values()) and scores.one_fovea
    assert {area: share > 0.85 for area, (share, _, _) in scores.field_sign.items()} == {"V1": True, "V2": True, "V3": True}


def test_noise_on_the_positions_leaves_the_borders(cortex, rng):
    sheets, truth, scope = cortex
    noise = rng.normal(0, 0.5, (2, len(truth.x0_deg)))
    scores = score_cortex(sheets, make_map(truth.x0_deg + noise[0], truth.y0_deg + noise[1]), truth, scope=scope)
    assert scores.reversals_found >= 7 / 8
    assert all(share > 0.8 for share, _, _ in scores.field_sign.values())
    assert scores.one_fovea


def test_shuffled_voxels_show_nothing(cortex, rng):
    sheets, truth, scope = cortex
    found, signs = [], []
    for _ in range(5):
        order = rng.permutation(len(truth.x0_deg))
        scores = score_cortex(sheets, make_map(truth.x0_deg[order], truth.y0_deg[order]), truth, scope=scope)
        found.append(scores.reversals_found)
        signs.append([share for share, _, _ in scores.field_sign.values()])
        assert not scores.one_fovea
    assert np.mean(found) < 0.1
    assert np.mean(signs) == pytest.approx(0.5, abs=0.06)


def test_a_mirrored_map_has_the_opposite_sign_and_no_reversal_where_it_should_be(cortex):
    sheets, truth, scope = cortex
    flipped = score_cortex(sheets, make_map(truth.x0_deg, -truth.y0_deg), truth, scope=scope)
    assert all(share < 0.15 for share, _, _ in flipped.field_sign.values())
    assert flipped.reversals_found == 0  # upper and lower exchanged: every turn goes the other way
    assert all(true for _, true in flipped.reversals.values())


def test_an_angle_that_goes_on_through_a_border_is_no_reversal(cortex):
    """One big V1: the angle runs on from the horizontal meridian to the outer border of V3."""
    sheets, truth, scope = cortex
    angle = np.full(len(truth.x0_deg), np.nan)
    for sheet in sheets:
        for stream, sign in (("dorsal", -1), ("ventral", 1)):
            place = sheet.voxel_positions[stream]
            angle = np.where(np.isfinite(place) & np.isnan(angle), sign * 60 * place, angle)
    own_side = np.sign(truth.x0_deg)
    wrong = make_map(own_side * 3 * np.cos(np.radians(angle)), 3 * np.sin(np.radians(angle)))
    assert score_cortex(sheets, wrong, truth, scope=scope).reversals_found == 0


def test_positions_put_the_borders_at_whole_numbers(cortex):
    sheets, _, _ = cortex
    for sheet in sheets:
        for stream, letter in (("dorsal", "d"), ("ventral", "v")):
            position = across_areas(sheet, stream)
            for place, area in enumerate(("V1", "V2", "V3")):
                inside = position[sheet.areas[area + letter]]
                assert place <= inside.min() < inside.max() <= place + 1
            other = sheet.areas["V1" + ("v" if letter == "d" else "d")]
            assert np.isnan(position[other]).all()


def test_the_profile_follows_the_true_angle(cortex):
    sheets, truth, scope = cortex
    far = scope & (truth.eccentricity_deg > 1)
    profile = angle_profile(sheets, truth, far, "dorsal", np.array([0.1, 0.95, 1.5, 2.0]))
    assert profile.median_deg[0] > -30 and profile.median_deg[1] < -60 and profile.median_deg[3] > -30
    assert -70 < profile.median_deg[2] < -25
    assert np.all(profile.low_deg <= profile.median_deg) and np.all(profile.median_deg <= profile.high_deg)
    upper = angle_profile(sheets, truth, far, "ventral", np.array([0.95]))
    assert upper.median_deg[0] > 60
    nothing = angle_profile(sheets, truth, np.zeros_like(far), "dorsal", np.array([0.5]))
    assert np.isnan(nothing.median_deg).all() and nothing.n.tolist() == [0]


def test_the_foveas_meet_at_the_occipital_pole(cortex):
    sheets, truth, _ = cortex
    for sheet in sheets:
        (at,) = np.flatnonzero(foveal_confluence(sheet))
        assert truth.eccentricity_deg[sheet.voxel[at]] < 1.0
        place = sheet.vertices[at]
        assert place[1] < -85 and abs(place[0]) > 10  # far behind, and lateral


def test_field_sign_needs_the_voxels_in_use(cortex):
    sheets, truth, scope = cortex
    sign = field_sign_map(sheets[0], truth, scope)
    shown = (sheets[0].voxel >= 0) & scope[sheets[0].voxel]
    assert np.isfinite(sign[shown]).mean() > 0.95 and np.isnan(sign[~shown]).all()


def test_lines_name_every_border_with_its_chance(cortex):
    sheets, truth, scope = cortex
    scores = score_cortex(sheets, truth, truth, scope=scope)
    lines = {(line.row, line.score): line for line in cortex_lines(scores, "permuted")}
    assert {line.part for line in lines.values()} == {"prf"}
    assert lines["permuted V2", "field_sign"].chance == 0.5
    assert lines["permuted", "reversal V1/V2 dorsal L"].value == 1
    assert lines["permuted", "reversals_found"].n == 8
    assert ("V1", "field_sign") in {(line.row, line.score) for line in cortex_lines(scores)}


def test_areas_without_dorsal_and_ventral_parts_have_signs_only(cortex):
    sheets, truth, scope = cortex
    plain = [
        Sheet(s.hemi, s.vertices, s.faces, s.voxel, {name: s.areas[name] for name in ("V1", "V2", "V3")}, s.voxel_xyz, s.own)
        for s in sheets
    ]
    scores = score_cortex(plain, truth, truth, scope=scope)
    assert scores.field_sign and not scores.reversals and not scores.from_fovea
    assert np.isnan(scores.reversals_found) and not scores.one_fovea
