from itertools import combinations

import numpy as np
import pytest

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation import (
    chance_within_groups,
    exact_identification,
    identification_matrix,
    mean_rank,
    permutation_null,
    within_groups,
)


def by_enumeration(scores: np.ndarray, n: int) -> np.ndarray:
    """Every set of distractors, one by one; ties are shared among the best."""
    m = len(scores)
    rates = []
    for i in range(m):
        wins = []
        for distractors in combinations([j for j in range(m) if j != i], n - 1):
            rivals = scores[i, list(distractors)]
            best = rivals.max()
            wins.append(float(scores[i, i] > best) if scores[i, i] != best else 1 / (1 + np.sum(rivals == best)))
        rates.append(np.mean(wins))
    return np.array(rates)


@pytest.mark.parametrize("n", [2, 3, 5, 7])
@pytest.mark.parametrize("levels", [1000, 4])  # 4 levels: many ties
def test_closed_form_equals_enumeration(rng: np.random.Generator, n: int, levels: int) -> None:
    scores = rng.integers(0, levels, (7, 7)).astype(float)
    assert exact_identification(scores, n) == pytest.approx(by_enumeration(scores, n), abs=1e-12)


def test_closed_form_agrees_with_random_draws(rng: np.random.Generator) -> None:
    m, n, draws = 50, 10, 4000
    scores = rng.normal(size=(m, m)) + np.eye(m)
    exact = exact_identification(scores, n)
    for i in (0, 17, 49):
        others = np.delete(scores[i], i)
        wins = np.array([scores[i, i] > rng.choice(others, n - 1, replace=False).max() for _ in range(draws)])
        error = np.sqrt(max(exact[i] * (1 - exact[i]), 1e-3) / draws)
        assert abs(wins.mean() - exact[i]) < 3 * error


def test_a_reconstruction_that_says_nothing_is_at_chance() -> None:
    for n in (2, 10, 50):
        assert exact_identification(np.zeros((50, 50)), n) == pytest.approx(1 / n)


def test_perfect_and_worst() -> None:
    assert (exact_identification(np.eye(20), 20) == 1).all()
    assert exact_identification(-np.eye(20), 2) == pytest.approx(0, abs=1e-12)
    assert (mean_rank(np.eye(20)) == 0).all()
    assert (mean_rank(-np.eye(20)) == 1).all()


def test_two_way_is_the_rank(rng: np.random.Generator) -> None:
    scores = rng.integers(0, 9, (30, 30))
    assert exact_identification(scores, 2) == pytest.approx(1 - mean_rank(scores))


def test_large_pools_stay_finite(rng: np.random.Generator) -> None:
    rates = exact_identification(rng.normal(size=(1200, 1200)), 1000)
    assert np.isfinite(rates).all()
    assert rates.mean() == pytest.approx(1 / 1000, abs=2e-3)


def test_within_groups_sees_only_its_group(rng: np.random.Generator) -> None:
    groups = np.repeat([3, 1, 2], [4, 6, 1])
    scores = rng.normal(size=(11, 11))
    scores[groups[:, None] != groups[None, :]] = 100  # other photos always win: they must not count
    result = within_groups(scores, groups)
    assert result[:4] == pytest.approx(by_enumeration(scores[:4, :4], 4))
    assert result[4:10] == pytest.approx(by_enumeration(scores[4:10, 4:10], 6))
    assert np.isnan(result[10])
    assert within_groups(scores, groups, 5)[4:10] == pytest.approx(by_enumeration(scores[4:10, 4:10], 5))
    assert np.isnan(within_groups(scores, groups, 5)[:4]).all()
    assert chance_within_groups(groups) == pytest.approx((4 * 1 / 4 + 6 * 1 / 6) / 10)


def test_null_of_ten_way_lies_around_ten_percent(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(50, 50)) + 4 * np.eye(50)
    null = permutation_null(scores, 10, 500)
    assert null.mean() == pytest.approx(0.10, abs=0.01)
    assert 0.01 < null.std() < 0.05
    assert exact_identification(scores, 10).mean() > null.max()


def test_matrix_holds_the_exact_rates_on_its_diagonal(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(12, 12))
    matrix = identification_matrix(scores, 4)
    assert np.diagonal(matrix) == pytest.approx(exact_identification(scores, 4))
    moved = scores[:, np.r_[1:12, 0]]  # image j+1 in column j: the truth of row i is now what was column i+1
    assert exact_identification(moved, 4) == pytest.approx(matrix[np.arange(12), np.r_[1:12, 0]])


@pytest.mark.parametrize(
    ("scores", "n", "error", "text"),
    [
        (np.zeros((3, 4)), 2, ShapeError, r"scores must be square.*got \(3, 4\)"),
        (np.zeros((3, 3)), 4, ConfigError, r"4-way identification needs n in 2\.\.3"),
        (np.zeros((3, 3)), 1, ConfigError, r"1-way identification needs n in 2\.\.3"),
        (np.full((3, 3), np.nan), 2, ShapeError, r"scores must be finite, 9 of 9"),
    ],
)
def test_bad_scores_are_refused(scores: np.ndarray, n: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        exact_identification(scores, n)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"3 images need one group each, got shape \(2,\)"):
        within_groups(np.eye(3), [0, 1])
