"""Holm's correction against a worked example and against the closed test that it is a short cut for."""

from itertools import combinations

import numpy as np
import pytest

from brain2pix.errors import ShapeError
from brain2pix.evaluation import holm


def closed_bonferroni(p_values):
    """Largest Bonferroni p of all sets of hypotheses that a hypothesis is in (Marcus, Peritz and Gabriel 1976)."""
    k = len(p_values)
    sets = [each for size in range(1, k + 1) for each in combinations(range(k), size)]
    return [max(min(1.0, len(each) * min(p_values[i] for i in each)) for each in sets if one in each) for one in range(k)]


def test_the_worked_example():
    """Four hypotheses of the encyclopedia's article on the method: at .05 the fourth and the first are rejected, the others not."""
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(corrected, [0.03, 0.06, 0.06, 0.02])
    assert (corrected < 0.05).tolist() == [True, False, False, True]


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_it_is_the_closed_test_of_bonferroni(rng, k):
    p_values = rng.uniform(0, 0.3, k).round(2)  # rounded, so that some are equal
    np.testing.assert_allclose(holm(p_values), closed_bonferroni(p_values.tolist()))


def test_none_is_none():
    assert holm([]).size == 0


@pytest.mark.parametrize("wrong", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1]]])
def test_what_is_no_list_of_p_values(wrong):
    with pytest.raises(ShapeError, match=r"list of p-values in 0\.\.1"):
        holm(wrong)
