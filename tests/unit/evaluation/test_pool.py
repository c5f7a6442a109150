"""Identification in a pool against drawing every set of distractors."""

from itertools import combinations

import numpy as np
import pytest

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation.identification import identification_in_pool, rank_in_pool
from brain2pix.evaluation.pool import score_in_pool


def drawn(own: float, others: np.ndarray, n: int) -> float:
    """Share of all sets of n - 1 distractors in which the truth is picked; of several best ones, one at random."""
    shares = []
    for chosen in combinations(others, n - 1):
        best = max(own, *chosen)
        shares.append(0.0 if own < best else 1 / (1 + sum(other == best for other in chosen)))
    return float(np.mean(shares))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_closed_form_is_the_mean_over_all_sets(n: int, rng: np.random.Generator) -> None:
    own = np.array([0.9, 0.1, 0.5, 0.5])
    others = rng.choice([0.0, 0.2, 0.5, 0.7, 1.0], (4, 7))  # with ties
    expected = [drawn(truth, row, n) for truth, row in zip(own, others, strict=True)]
    np.testing.assert_allclose(identification_in_pool(own, others, n), expected, atol=1e-12)


def test_rank_is_the_share_of_the_pool_that_beats_the_truth() -> None:
    np.testing.assert_allclose(rank_in_pool([0.5, 2.0], [[0.1, 0.6, 0.5, 0.4], [0.0, 1.0, 1.5, 1.9]]), [1.5 / 4, 0.0])


def test_bad_pools_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"a pool needs one row of similarities per reconstruction, not empty: got \(2,\) and \(3, 4\)"):
        identification_in_pool(np.zeros(2), np.zeros((3, 4)), 2)
    with pytest.raises(ConfigError, match=r"6-way identification in a pool of 4 pictures needs n in 2\.\.5"):
        identification_in_pool(np.zeros(2), np.zeros((2, 4)), 6)
    with pytest.raises(ShapeError, match="at least one picture"):
        score_in_pool(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), [0, 1])


def test_pictures_against_numpy(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    made = np.clip(images * 0.3 + rng.normal(128, 60, images.shape), 0, 255).astype(np.uint8)
    pool = rng.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)  # more than are compared at once
    luminance = {"grey": lambda pictures: [pictures.mean(axis=(1, 2))]}
    found = score_in_pool(made, images, pool, [0, 0, 1, 1, 2], luminance)
    flat = made.reshape(5, -1).astype(float)
    own = [np.corrcoef(a, b)[0, 1] for a, b in zip(flat, images.reshape(5, -1).astype(float), strict=True)]
    others = np.corrcoef(flat, pool.reshape(300, -1).astype(float))[:5, 5:]
    beaten = (others < np.array(own)[:, None]).mean(axis=1)
    np.testing.assert_allclose(found.rates["pixel"][2], beaten, atol=1e-9)
    np.testing.assert_allclose(found.ranks["pixel"], 1 - beaten, atol=1e-9)

    def cosine(first: np.ndarray, second: np.ndarray) -> float:
        a, b = first.mean(axis=(0, 1)), second.mean(axis=(0, 1))
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    share = np.mean([cosine(made[1], other) < cosine(made[1], images[1]) for other in pool.astype(float)])
    assert found.rates["grey"][2][1] == pytest.approx(share, abs=1 / 300)
    line = next(line for line in found.lines("mine", "a folder") if line.score == "pixel 10-way, pool")
    assert (line.chance, line.n, line.note) == (10, 5, "distractors: 300 pictures of a folder") and line.low <= line.value <= line.high
