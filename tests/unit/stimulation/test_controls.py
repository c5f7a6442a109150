import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.stimulation import ResponseSpace, describe_distance, fit_space, largest_amplitude, size_matched, stimulate


def responses(rng: np.random.Generator, n: int, v: int = 40) -> np.ndarray:
    """Two strong shared factors and independent noise."""
    loads = np.random.default_rng(1).normal(size=(2, v))
    return 2 * rng.normal(size=(n, 2)) @ loads + rng.normal(size=(n, v)) + 0.3


@pytest.fixture
def space(rng: np.random.Generator) -> ResponseSpace:
    return fit_space(responses(rng, 600), responses(rng, 300), n_components=2)


@pytest.mark.parametrize("n", [600, 30])  # more trials than voxels, and fewer
def test_distance_equals_mahalanobis_in_sklearns_probabilistic_pca(rng: np.random.Generator, n: int) -> None:
    training, others = responses(rng, n), responses(rng, 20)
    space = fit_space(training, others, n_components=2)
    reference = PCA(2).fit(training)
    total = training.var(axis=0, ddof=1).sum()
    rest = (total - reference.explained_variance_.sum()) / (40 - 2)
    axes = reference.components_
    covariance = rest * np.eye(40) + axes.T @ np.diag(reference.explained_variance_ - rest) @ axes
    inverse = np.linalg.inv(covariance)
    expected = [mahalanobis(row, training.mean(axis=0), inverse) for row in others]
    assert space.distance(others) == pytest.approx(expected, rel=1e-6)
    assert space.limit == pytest.approx(np.quantile(expected, 0.95), rel=1e-6)


def test_typical_trials_are_inside_and_odd_ones_out(space: ResponseSpace, rng: np.random.Generator) -> None:
    fresh = responses(rng, 2000)
    assert (space.excess(fresh) <= 1).mean() == pytest.approx(0.95, abs=0.03)
    assert space.distance(fresh).mean() == pytest.approx(np.sqrt(40), rel=0.1)
    assert space.percentile(fresh).mean() == pytest.approx(0.5, abs=0.05)
    odd = fresh[:5].copy()
    odd[:, ::2] += 6  # each value is possible, their combination is not
    assert (space.excess(odd) > 1.5).all()
    assert (space.percentile(odd) == 1).all()


@pytest.mark.parametrize("mode", ["add", "set", "scale"])
def test_largest_amplitude_meets_the_limit(space: ResponseSpace, rng: np.random.Generator, mode: str) -> None:
    base = responses(rng, 30)
    base = base[space.excess(base) < 0.9]
    mask = np.arange(40) < 8
    amplitudes = largest_amplitude(space, base, mask, mode, upper=1000)
    assert np.isfinite(amplitudes).sum() > 5
    for row, amplitude in zip(base, amplitudes, strict=True):

        def beyond(strength: float, row: np.ndarray = row) -> float:
            return float(space.excess(stimulate(row[None], mask, mode, strength))[0]) - 1

        if np.isnan(amplitude):  # equal values in all voxels are far from what the factors allow, however small
            assert min(beyond(strength) for strength in np.linspace(0, 20, 2001)) > -1e-3
            continue
        assert beyond(amplitude) == pytest.approx(0, abs=1e-9)
        assert beyond(amplitude + 0.01) > 0
        assert amplitude == pytest.approx(brentq(beyond, amplitude - 1e-3, 1000), rel=1e-6)


def test_larger_regions_bear_less(space: ResponseSpace, rng: np.random.Generator) -> None:
    base = np.broadcast_to(space.mean, (1, 40))
    few, many = np.arange(40) < 3, np.arange(40) < 30
    assert largest_amplitude(space, base, few)[0] > largest_amplitude(space, base, many)[0] > 0
    assert largest_amplitude(space, base, few, upper=0.5).tolist() == [0.5]


def test_a_base_far_outside_bears_nothing(space: ResponseSpace) -> None:
    far = space.mean + np.where(np.arange(40) % 2, 50.0, -50.0)
    assert np.isnan(largest_amplitude(space, far[None], np.arange(40) < 3)).all()
    with pytest.raises(ConfigError, match="silence has no amplitude"):
        largest_amplitude(space, far[None], np.arange(40) < 3, "silence")


def test_controls_are_size_matched_and_in_scope(rng: np.random.Generator) -> None:
    mask, scope = np.arange(50) < 7, np.arange(50) % 2 == 0
    drawn = [size_matched(mask, scope, rng) for _ in range(200)]
    assert {int(draw.sum()) for draw in drawn} == {7}
    assert not any((draw & ~scope).any() for draw in drawn)
    assert np.mean(drawn, axis=0)[scope] == pytest.approx(7 / 25, abs=0.15)
    with pytest.raises(ConfigError, match="a control needs 30 random voxels, only 25 are in scope"):
        size_matched(np.arange(50) < 30, scope, rng)


def test_badge_says_in_or_out() -> None:
    assert describe_distance(0.62, 0.8) == "like measured responses (farther than 62% of held-out trials)"
    assert describe_distance(1.0, 3.21).startswith("out of distribution: 3.2 x the distance that 95% of held-out trials keep")


def test_bad_input_is_refused(space: ResponseSpace, rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=r"the response space knows 40 voxels, got patterns of shape \(2, 39\)"):
        space.distance(np.zeros((2, 39)))
    with pytest.raises(ShapeError, match=r"must share their voxels, got shapes \(600, 40\) and \(10, 39\)"):
        fit_space(responses(rng, 600), responses(rng, 10, 40)[:, :39])
    with pytest.raises(ShapeError, match="at least 8 training and 2 held-out trials, got 7 and 5"):
        fit_space(responses(rng, 7), responses(rng, 5))
