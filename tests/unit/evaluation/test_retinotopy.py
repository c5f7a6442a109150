import numpy as np
import pytest
from scipy import stats

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation import agreement_lines, angle_error_deg, compare_maps, fisher_lee, keep_best, score_map


def make_map(x: np.ndarray, y: np.ndarray, size: np.ndarray | None = None, quality: np.ndarray | None = None) -> RetinotopicMap:
    ones = np.ones(len(x), dtype=np.float32)
    parts = (x, y, ones if size is None else size, ones if quality is None else quality)
    return RetinotopicMap(*(np.asarray(part, dtype=np.float32) for part in parts), field_of_view_deg=12.0)


@pytest.fixture
def truth(rng: np.random.Generator) -> RetinotopicMap:
    """2000 voxels all around the field, denser near fixation, larger in the periphery."""
    eccentricity, angle = np.exp(rng.uniform(np.log(0.2), np.log(8), 2000)), rng.uniform(0, 2 * np.pi, 2000)
    return make_map(eccentricity * np.cos(angle), eccentricity * np.sin(angle), 0.3 + 0.1 * eccentricity)


def test_the_truth_itself_scores_perfectly(truth: RetinotopicMap) -> None:
    scores = score_map(truth, truth)
    assert (scores.median_error_deg, scores.median_angle_error_deg, scores.hemifield, scores.upper_lower) == (0, 0, 1, 1)
    assert (scores.fisher_lee, scores.log_ecc_r, scores.size_spearman) == pytest.approx((1, 1, 1))
    assert (scores.kept, scores.n_voxels) == (0.85, 1700)


def test_a_planted_shift_is_found(truth: RetinotopicMap) -> None:
    moved = make_map(truth.x0_deg + 0.3, truth.y0_deg - 0.4, truth.sigma_deg)
    scores = score_map(moved, truth, kept_share=1.0)
    assert scores.median_error_deg == pytest.approx(0.5, abs=1e-3)
    assert scores.median_error_sizes == pytest.approx(np.median(0.5 / truth.sigma_deg), rel=1e-3)


def test_a_planted_rotation_is_found(truth: RetinotopicMap) -> None:
    turn = np.radians(10)
    turned = make_map(truth.x0_deg * np.cos(turn) - truth.y0_deg * np.sin(turn), truth.x0_deg * np.sin(turn) + truth.y0_deg * np.cos(turn))
    scores = score_map(turned, truth, kept_share=1.0)
    assert scores.median_angle_error_deg == pytest.approx(10, abs=0.01)
    assert scores.fisher_lee == pytest.approx(1, abs=1e-3)  # rotation-free
    assert scores.log_ecc_r == pytest.approx(1, abs=1e-3)


def test_a_mirrored_map_is_found(truth: RetinotopicMap) -> None:
    scores = score_map(make_map(-truth.x0_deg, truth.y0_deg), truth)
    assert (scores.hemifield, scores.upper_lower) == (0, 1)
    assert scores.fisher_lee == pytest.approx(-1)


def test_permuted_voxels_are_at_chance(truth: RetinotopicMap, rng: np.random.Generator) -> None:
    order = rng.permutation(2000)
    scores = score_map(make_map(truth.x0_deg[order], truth.y0_deg[order], truth.sigma_deg[order]), truth)
    assert scores.median_angle_error_deg == pytest.approx(90, abs=6)
    assert (scores.fisher_lee, scores.log_ecc_r, scores.size_spearman) == pytest.approx((0, 0, 0), abs=0.08)
    assert scores.hemifield == pytest.approx(0.5, abs=0.05)


def test_masks_use_the_truth_not_the_estimate(truth: RetinotopicMap) -> None:
    # voxels near fixation are wrong in every way, the others right: scores with a mask on the true eccentricity must not see them
    foveal = truth.eccentricity_deg <= 1
    x, y = np.where(foveal, -5.0, truth.x0_deg), np.where(foveal, -5.0, truth.y0_deg)
    scores = score_map(make_map(x, y, truth.sigma_deg), truth, kept_share=1.0)
    assert scores.median_angle_error_deg == 0
    assert scores.log_ecc_r == pytest.approx(1)
    near = np.abs(truth.x0_deg) <= 0.5
    beside = score_map(make_map(np.where(near, -truth.x0_deg, truth.x0_deg), truth.y0_deg), truth, kept_share=1.0)
    assert beside.hemifield == 1


def test_correlations_equal_scipys(truth: RetinotopicMap, rng: np.random.Generator) -> None:
    noisy = make_map(
        truth.x0_deg + rng.normal(0, 0.5, 2000), truth.y0_deg + rng.normal(0, 0.5, 2000), truth.sigma_deg * rng.lognormal(0, 0.5, 2000)
    )
    scores = score_map(noisy, truth, kept_share=1.0)
    far = truth.eccentricity_deg > 1
    assert scores.log_ecc_r == pytest.approx(
        stats.pearsonr(np.log(noisy.eccentricity_deg[far]), np.log(truth.eccentricity_deg[far]))[0], abs=1e-5
    )
    assert scores.size_spearman == pytest.approx(stats.spearmanr(noisy.sigma_deg[far], truth.sigma_deg[far])[0])
    assert scores.median_error_deg == pytest.approx(stats.rayleigh.median(scale=0.5), rel=0.1)


def test_fisher_lee_equals_its_sum_over_pairs(rng: np.random.Generator) -> None:
    a = rng.uniform(0, 360, 40)
    b = a + rng.normal(0, 30, 40)
    i, j = np.triu_indices(40, 1)
    sin_a, sin_b = np.sin(np.radians(a[i] - a[j])), np.sin(np.radians(b[i] - b[j]))
    expected = (sin_a * sin_b).sum() / np.sqrt((sin_a**2).sum() * (sin_b**2).sum())
    assert fisher_lee(a, b) == pytest.approx(expected)
    assert np.isnan(fisher_lee(np.full(10, 20.0), a[:10]))
    assert np.isnan(fisher_lee(a[:2], b[:2]))


def test_angle_error_goes_the_short_way() -> None:
    assert angle_error_deg([350, 10, 0, 90], [10, 350, 180, 90]) == pytest.approx([20, 20, 180, 0])


def test_the_methods_own_quality_decides_what_is_kept(truth: RetinotopicMap) -> None:
    quality = np.linspace(0, 1, 2000)
    wrong = quality < 0.15  # the worst 15 % are far off
    x = np.where(wrong, truth.x0_deg + 9, truth.x0_deg)
    scores = score_map(make_map(x, truth.y0_deg, quality=quality), truth)
    assert scores.median_error_deg == 0
    assert scores.hemifield == 1
    kept = keep_best(make_map(x, truth.y0_deg, quality=quality))
    assert not (kept & wrong).any()
    assert kept.sum() == 1700


def test_voxels_without_a_centre_are_never_kept(truth: RetinotopicMap) -> None:
    x = truth.x0_deg.copy()
    x[:1000] = np.nan
    scores = score_map(make_map(x, truth.y0_deg), truth)
    assert (scores.kept, scores.n_voxels, scores.median_error_deg) == (0.5, 1000, 0)
    nothing = score_map(make_map(np.full(2000, np.nan), truth.y0_deg), truth)
    assert nothing.kept == 0
    assert np.isnan(nothing.median_error_deg) and np.isnan(nothing.fisher_lee) and np.isnan(nothing.hemifield)


def test_scope_and_areas(truth: RetinotopicMap) -> None:
    left, scope = truth.x0_deg < 0, truth.eccentricity_deg < 6
    x = np.where(left, truth.x0_deg - 1, truth.x0_deg)
    scores = score_map(make_map(x, truth.y0_deg), truth, scope=scope, areas={"left": left, "right": ~left, "none": np.zeros(2000, bool)})
    assert scores.areas["left"].median_error_deg == pytest.approx(1, abs=1e-3)
    assert scores.areas["right"].median_error_deg == 0
    assert scores.areas["left"].n_voxels + scores.areas["right"].n_voxels == scores.n_voxels == round(0.85 * scope.sum())
    assert scores.areas["none"].n_voxels == 0


def test_bad_input_is_refused(truth: RetinotopicMap) -> None:
    short = make_map(truth.x0_deg[:5], truth.y0_deg[:5])
    with pytest.raises(ShapeError, match=r"the estimated map needs one value for each of the 2000 voxels.*got shape \(5,\)"):
        score_map(short, truth)
    with pytest.raises(ShapeError, match=r"scope needs one value"):
        score_map(truth, truth, scope=np.ones(3, dtype=bool))
    with pytest.raises(ShapeError, match=r"area V1 needs one value"):
        score_map(truth, truth, areas={"V1": np.ones(3, dtype=bool)})
    with pytest.raises(ConfigError, match=r"share of voxels to keep must lie in 0\.\.1, got 85"):
        score_map(truth, truth, kept_share=85)
    with pytest.raises(ConfigError, match="no voxel is in scope"):
        score_map(truth, truth, scope=np.zeros(2000, dtype=bool))


def test_two_maps_of_the_same_voxels_agree_as_far_as_they_do(truth: RetinotopicMap, rng: np.random.Generator) -> None:
    same = compare_maps(truth, truth)
    assert (same.median_distance_deg, same.compared, same.n_voxels) == (0, 1, 2000)
    assert (same.fisher_lee, same.log_ecc_r, same.size_spearman) == pytest.approx((1, 1, 1))
    moved = make_map(truth.x0_deg + rng.normal(0, 0.5, 2000), truth.y0_deg + rng.normal(0, 0.5, 2000), truth.sigma_deg)
    moved.x0_deg[:500] = np.nan
    agreement = compare_maps(moved, truth)
    assert agreement.median_distance_deg == pytest.approx(stats.rayleigh.median(scale=0.5), rel=0.1)
    assert (agreement.compared, agreement.n_voxels) == (0.75, 1500)
    other = rng.permutation(2000)
    apart = np.hypot(moved.x0_deg[other] - truth.x0_deg, moved.y0_deg[other] - truth.y0_deg)
    assert agreement.shuffled_distance_deg == pytest.approx(np.nanmedian(apart), rel=0.1)
    far = (truth.eccentricity_deg > 1) & np.isfinite(moved.x0_deg)
    assert agreement.fisher_lee == pytest.approx(fisher_lee(moved.angle_deg[far], truth.angle_deg[far]))
    lines = {line.score: line for line in agreement_lines(agreement, "gaziv")}
    assert {line.part for line in lines.values()} == {"decoder fields"}
    assert lines["median_distance_deg"].chance == agreement.shuffled_distance_deg and lines["fisher_lee"].n == 1500
    with pytest.raises(ShapeError, match="the compared map needs one value"):
        compare_maps(make_map(truth.x0_deg[:5], truth.y0_deg[:5]), truth)
