"""Classification against scikit-learn's top-k accuracy, Monte Carlo draws and planted centroids."""

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import top_k_accuracy_score

from brain2pix.errors import ShapeError
from brain2pix.evaluation.classification import classification_lines, classify


@pytest.fixture
def planted():
    """30 pictures of 12 classes: noisy centroids, in another unit."""
    rng = np.random.default_rng(0)
    centroids = rng.standard_normal((12, 50))
    truth = rng.integers(12, size=30)
    return 3 + 5 * (centroids[truth] + 3 * rng.standard_normal((30, 50))), centroids, truth


def test_a_planted_centroid_is_found(planted):
    _, centroids, truth = planted
    found = classify(7 - 2 * -centroids[truth], centroids, truth)  # gain and offset do not matter
    assert (found.ranks == 1).all() and (found.best[:, 0] == truth).all()
    assert found.ways(12).min() == found.within(1).min() == 1


def test_ranks_are_those_of_correlations(planted):
    features, centroids, truth = planted
    found = classify(features, centroids, truth)
    r = np.corrcoef(np.r_[features, centroids])[:30, 30:]
    expected = np.array([rankdata(-row)[true] for row, true in zip(r, truth, strict=True)])
    np.testing.assert_array_equal(found.ranks, expected)
    assert 1 < expected.mean() < 6
    for k in (1, 5):
        assert found.within(k).mean() == pytest.approx(top_k_accuracy_score(truth, r, k=k, labels=np.arange(12)))
    np.testing.assert_array_equal(found.best, np.argsort(-r, axis=1)[:, :5])


def test_ways_equal_random_draws(planted):
    features, centroids, truth = planted
    found, rng = classify(features, centroids, truth), np.random.default_rng(1)
    draws = 4000
    for n in (2, 5):
        hits = 0
        for above in found.above:
            better = np.arange(11) < above  # which of the 11 other classes are more similar
            hits += sum(not better[rng.choice(11, n - 1, replace=False)].any() for _ in range(draws // 10))
        expected = found.ways(n).mean()
        total = len(found.above) * draws // 10
        assert hits / total == pytest.approx(expected, abs=3 * np.sqrt(0.25 / total))


def test_pictures_that_say_nothing_are_at_chance(planted):
    _, centroids, truth = planted
    found = classify(np.zeros((30, 50)), centroids, truth)
    assert (found.ranks == 6.5).all()
    assert found.within(1) == pytest.approx(1 / 12) and found.within(5) == pytest.approx(5 / 12)
    assert found.ways(2) == pytest.approx(0.5) and found.ways(12) == pytest.approx(1 / 12)


def test_lines_have_chance_n_and_interval(planted):
    features, centroids, truth = planted
    found = classify(features, centroids, truth)
    lines = {line.score: line for line in classification_lines("gaziv", found, np.arange(30), "alexnet")}
    assert set(lines) == {"median rank", "top 1", "top 5", "2-way"}  # 50-way and more need as many classes
    rank = lines["median rank"]
    assert rank.value == np.median(found.ranks) and rank.low <= rank.value <= rank.high and rank.chance == 6.5
    assert lines["top 5"].chance == pytest.approx(500 / 12) and lines["2-way"].n == 30
    assert all(line.note == "features of alexnet, 12 classes" for line in lines.values())
    alone = classification_lines("gaziv", found, np.zeros(30, dtype=np.int64), "alexnet")[0]
    assert alone.low is None  # one photograph has no spread


@pytest.mark.parametrize(
    ("features", "truth", "message"),
    [((3, 4), [0, 1, 0], r"one length, \[m d\] and \[k d\], got \(3, 4\) and \(2, 5\)"), ((3, 5), [0, 1, 2], r"a true class in 0..1")],
)
def test_parts_that_do_not_fit_are_refused(features, truth, message):
    with pytest.raises(ShapeError, match=message):
        classify(np.ones(features), np.ones((2, 5)), np.array(truth))
