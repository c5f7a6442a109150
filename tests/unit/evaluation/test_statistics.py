import numpy as np
import pytest
from scipy import stats

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation import bootstrap_interval, paired_difference, wilcoxon_p
from brain2pix.evaluation.statistics import describe_p


def test_interval_agrees_with_scipys_bootstrap(rng: np.random.Generator) -> None:
    values = rng.exponential(size=80)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert (ours.n, ours.n_clusters) == (80, 80)


def test_cluster_interval_covers_the_truth_where_the_naive_one_does_not(rng: np.random.Generator) -> None:
    hits = {"clusters": 0, "images": 0}
    clusters = np.repeat(np.arange(12), 10)
    for _ in range(200):
        values = np.repeat(rng.normal(size=12), 10) + 0.3 * rng.normal(size=120)  # crops of one photo share most of their score
        for name, labels in (("clusters", clusters), ("images", None)):
            interval = bootstrap_interval(values, labels, n_draws=400)
            hits[name] += interval.low <= 0 <= interval.high
    assert hits["clusters"] > 165  # nominally 190; the percentile bootstrap of 12 clusters is a little narrow
    assert hits["images"] < 120


def test_clusters_of_unequal_size_weigh_by_their_images() -> None:
    interval = bootstrap_interval([1, 1, 1, 0], [5, 5, 5, 9])
    assert interval.mean == pytest.approx(0.75)
    assert (interval.low, interval.high) == (0, 1)
    assert interval.n_clusters == 2


def test_missing_values_are_left_out() -> None:
    interval = bootstrap_interval([np.nan, 2.0, 2.0], [0, 1, 2])
    assert (interval.mean, interval.low, interval.high, interval.n) == (2, 2, 2, 2)
    nothing = bootstrap_interval([np.nan, np.nan])
    assert nothing.n == 0
    assert np.isnan(nothing.mean)
    single = bootstrap_interval([1.0, 3.0], [4, 4])
    assert single.mean == 2
    assert np.isnan(single.low) and np.isnan(single.high)


def test_same_seed_same_interval(rng: np.random.Generator) -> None:
    values = rng.normal(size=20)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_paired_difference_is_narrower_than_its_parts(rng: np.random.Generator) -> None:
    shared = rng.normal(size=60)
    first, second = shared + 0.5, shared + 0.05 * rng.normal(size=60)
    difference = paired_difference(first, second)
    assert difference.mean == pytest.approx(0.5, abs=0.05)
    assert difference.low > 0.4
    assert difference.high - difference.low < 0.3 * (bootstrap_interval(first).high - bootstrap_interval(first).low)


def test_wilcoxon_agrees_with_a_permutation_of_signs(rng: np.random.Generator) -> None:
    difference = rng.normal(0.4, 1, size=40)
    ranks = stats.rankdata(np.abs(difference))
    observed = abs((np.sign(difference) * ranks).sum())
    signs = rng.choice([-1, 1], (20_000, 40))
    expected = (np.abs(signs @ ranks) >= observed - 1e-9).mean()
    assert wilcoxon_p(difference, np.zeros(40)) == pytest.approx(expected, abs=0.01)
    assert wilcoxon_p([1, 2, 3], [1, 2, 3]) == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"one value and one cluster per image, got shapes \(3,\) and \(2,\)"):
        bootstrap_interval([1, 2, 3], [0, 1])
    with pytest.raises(ShapeError, match=r"same images, got shapes \(3,\) and \(2,\)"):
        paired_difference([1, 2, 3], [1, 2])
    with pytest.raises(ConfigError, match=r"level of an interval must lie between 0 and 1, got 95"):
        bootstrap_interval([1, 2], level=95)


def test_equal_differences_of_shares_are_ties(rng: np.random.Generator) -> None:
    """Differences of shares of 19 rivals are whole numbers of them; what their last binary digit says must not rank them."""
    first, second = rng.integers(0, 20, 30), rng.integers(0, 20, 30)
    assert wilcoxon_p(first / 19, second / 19) == pytest.approx(stats.wilcoxon(first - second, method="approx").pvalue, rel=1e-9)


@pytest.mark.parametrize(("p", "words"), [(0.0, "< .0001"), (9.9e-5, "< .0001"), (1e-4, "0.0001"), (0.04996, "0.0500"), (1.0, "1.0000")])
def test_no_p_is_written_as_zero(p, words):
    assert describe_p(p) == words
