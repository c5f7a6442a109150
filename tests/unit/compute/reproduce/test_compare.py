"""Comparisons against scipy, and verdicts on planted differences."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from brain2pix.compute.reproduce.compare import (
    CLAIMS,
    FAILS,
    HOLDS,
    MISSING,
    RANK,
    UNCLEAR,
    Claim,
    compare_all,
    repeat_rows,
    verdict,
    with_averages,
)
from brain2pix.compute.reproduce.rows import Scored

GROUPS = np.arange(40)


def scored(name, rates):
    return Scored(name, {"pixel": {2: rates}}, {"pixel": 1 - rates}, rates, GROUPS)


@pytest.fixture
def rows(rng):
    base = rng.uniform(0.5, 0.8, 40)
    shifts = {"full": 0.0, "images": -0.1, "supervised": 0.1, "excluded": 0.0, "1 repeat": -0.2, "all repeats": 0.0, "full, 3 runs": 0.05}
    return {name: scored(name, base + shift + rng.normal(0, 0.02, 40)) for name, shift in shifts.items()}


def test_p_values_are_scipys(rows):
    found = {(each.better, each.worse): each for each in compare_all(rows, {}, ())}
    difference = rows["full"].ways["pixel"][2] - rows["images"].ways["pixel"][2]
    assert found["full", "images"].p == pytest.approx(wilcoxon(difference, method="approx").pvalue)
    assert found["full", "images"].difference.mean == pytest.approx(100 * difference.mean())
    assert all(each.corrected >= each.p for each in found.values())


def test_a_mean_over_runs_is_compared_with_one_run_only(rows):
    pairs = {(each.better, each.worse) for each in compare_all(rows, {}, ())}
    assert ("full, 3 runs", "full") in pairs and not any("3 runs" in worse for _, worse in pairs)
    assert not any("repeat" in side for pair in pairs for side in pair)  # only where a claim speaks of them


def test_verdicts(rows):
    claims = (
        Claim("planted", "", "full", "images"),
        Claim("planted the other way", "", "full", "supervised"),
        Claim("planted equal", "", "full", "excluded"),
        Claim("repeats", "", "all repeats", "1 repeat"),
        Claim("no such row", "", "LVC", "HVC"),
    )
    found = compare_all(rows, {}, claims)
    assert [verdict(claim, found, "pixel")[0] for claim in claims] == [HOLDS, FAILS, UNCLEAR, HOLDS, MISSING]


def test_one_photograph_gives_no_verdict(rows):
    one = {name: Scored(name, each.ways, each.ranks, each.pixel_r, np.zeros(40, dtype=int)) for name, each in rows.items()}
    claim = Claim("planted", "", "full", "images")
    assert verdict(claim, compare_all(one, {}, ()), "pixel")[0] == UNCLEAR


def test_smaller_ranks_are_better(rows, rng):
    ranks = {"full": (np.arange(1.0, 21.0), np.arange(20)), "supervised": (np.arange(1.0, 21.0) + rng.uniform(1, 3, 20), np.arange(20))}
    found = compare_all(rows, ranks, ())
    claim = next(claim for claim in CLAIMS["gaziv"] if claim.family == RANK)
    assert verdict(claim, found, "pixel")[0] == HOLDS


def test_claims_take_means_over_runs_where_both_rows_have_them():
    claims = (Claim("a", "", "full", "images"), Claim("b", "", "full", "HVC"))
    rows = ["full", "images", "HVC", "full, 3 runs", "images, 3 runs"]
    assert [(each.better, each.worse) for each in with_averages(claims, rows, 3)] == [("full, 3 runs", "images, 3 runs"), ("full", "HVC")]


def test_names_of_repeats():
    assert repeat_rows([1, 2, 8]) == {1: "1 repeat", 2: "2 repeats", 8: "all repeats"}


def test_that_something_hardly_matters(rows):
    near, far = Claim("equal", "", "full", "excluded", within=5.0), Claim("not equal", "", "full", "images", within=5.0)
    found = compare_all(rows, {}, (near, far))
    assert [verdict(claim, found, "pixel")[0] for claim in (near, far)] == [HOLDS, FAILS]
    edge = Claim("at the bound", "", "full", "images", within=10.0)
    assert verdict(edge, found, "pixel")[0] == UNCLEAR
