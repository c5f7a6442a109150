"""The cortex of a simulated subject as scores and figures take it: which voxel a vertex shows, and what the truth looks like on it."""

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap
from brain2pix.compute.scoring import cortex_sheets
from brain2pix.compute.showing import quality_threshold
from brain2pix.data.subject import open_subject
from brain2pix.evaluation import score_cortex
from brain2pix.simulation.truth import load_truth


@pytest.fixture(scope="module")
def cortex(tiny_subject):
    subject = open_subject(tiny_subject)
    index = subject.select("V1 + V2 + V3 - outside")
    return subject, index, cortex_sheets(subject, index)


def test_vertices_show_the_voxel_they_lie_in(cortex):
    subject, index, sheets = cortex
    hemi = subject.voxels["hemi"].to_numpy()[index]
    for sheet in sheets:
        shown = sheet.voxel >= 0
        assert shown.sum() > 100
        assert set(hemi[sheet.voxel[shown]]) == {sheet.hemi} == set(hemi[sheet.own])
        apart = np.linalg.norm(sheet.vertices[shown] - subject.xyz[index][sheet.voxel[shown]], axis=1)
        assert apart.max() <= 1.5 * 4.0  # mm, voxels of 4 mm
        for area in ("V1", "V2", "V3", "V2d", "V3v"):
            here = sheet.areas[area]
            assert here[shown].any() and np.array_equal(here[shown], subject.areas[area][index][sheet.voxel[shown]])
    assert np.array_equal(sheets[0].own, ~sheets[1].own)


def test_areas_go_on_beyond_the_stimulus(cortex):
    _, _, sheets = cortex
    assert all((sheet.areas["V1"] & (sheet.voxel < 0)).any() for sheet in sheets)


def test_the_true_map_has_its_reversals_signs_and_fovea(cortex):
    subject, index, sheets = cortex
    truth = load_truth(subject.path)
    parts = (getattr(truth, name)[index].astype(np.float32) for name in ("x0_deg", "y0_deg", "size_deg"))
    quality = np.random.default_rng(0).random(len(index), dtype=np.float32)
    true_map = RetinotopicMap(*parts, quality, field_of_view_deg=12.0)
    scores = score_cortex(sheets, true_map, true_map, scope=truth.in_scope[index])
    assert len(scores.reversals) >= 6 and scores.reversals_found >= 0.7  # voxels of 4 mm: an area is two or three wide
    assert all(share > 0.75 for share, _, _ in scores.field_sign.values())
    assert scores.one_fovea
    order = np.random.default_rng(1).permutation(len(index))
    shuffled = RetinotopicMap(true_map.x0_deg[order], true_map.y0_deg[order], true_map.sigma_deg, quality, 12.0)
    assert score_cortex(sheets, shuffled, true_map, scope=truth.in_scope[index]).reversals_found < 0.3


@pytest.mark.parametrize(
    ("quality", "shown"),
    [(np.linspace(-0.2, 0.9, 200), 0.72), (-np.geomspace(0.2, 6, 200), 0.85), (np.geomspace(1, 50, 200), 0.85), (np.full(200, np.nan), 0)],
    ids=["correlation", "negative spread in degrees", "peak over background", "nothing known"],
)
def test_a_map_is_shown_whatever_the_unit_of_its_quality(quality, shown):
    parts = np.array([np.ones(200), np.ones(200), np.ones(200), quality], dtype=np.float32)
    low, high = quality_threshold(RetinotopicMap(*parts, field_of_view_deg=12.0))
    assert low <= high
    assert (parts[3] > low).mean() == pytest.approx(shown, abs=0.02)
