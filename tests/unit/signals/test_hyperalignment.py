"""Hyperalignment against scipy's Procrustes, a plain version with whole maps, and planted rotations."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group, pearsonr

from brain2pix.errors import ShapeError
from brain2pix.signals.hyperalignment import hyperalign, intersubject_correlation, procrustes


def rotated(rng, n, sizes, *, noise=0.0, rank=None):
    """One matrix of rows seen through random orthonormal columns, `sizes` voxels of each person; noise is added in their voxels."""
    width = rank or min(sizes)
    shared = rng.standard_normal((n, width))
    frames = [np.linalg.qr(rng.standard_normal((size, width)))[0] for size in sizes]
    return shared, [shared @ frame.T + noise * rng.standard_normal((n, size)) for frame, size in zip(frames, sizes, strict=True)], frames


def plain(matrices, *, n_rounds=1):
    """The same steps with scipy's rotations between square matrices, zeros standing for the voxels that a person lacks."""
    width = max(rows.shape[1] for rows in matrices)
    full = [np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in matrices]
    reference = int(np.argmax([rows.shape[1] for rows in matrices]))

    def turn(rows, target):
        return rows @ orthogonal_procrustes(rows, target)[0]

    aligned, so_far = {reference: full[reference]}, [full[reference]]
    for person in (each for each in range(len(full)) if each != reference):
        aligned[person] = turn(full[person], np.mean(so_far, axis=0))
        so_far.append(aligned[person])
    for _ in range(n_rounds):
        aligned = {
            person: turn(full[person], np.mean([rows for other, rows in aligned.items() if other != person], axis=0)) for person in aligned
        }
    template = np.mean(list(aligned.values()), axis=0)
    return template, [turn(rows, template) for rows in full]


@pytest.mark.parametrize("shape", [(40, 6, 6), (40, 5, 9), (40, 9, 5)])
def test_one_rotation_is_scipys(rng, shape):
    n, v, k = shape
    rows, target = rng.standard_normal((n, v)), rng.standard_normal((n, k))
    width = max(v, k)
    expected, total = orthogonal_procrustes(np.pad(rows, ((0, 0), (0, width - v))), np.pad(target, ((0, 0), (0, width - k))))
    found, scale = procrustes(rows, target)
    assert scale == 1
    # scipy fills up what the smaller side does not say; what is said is the same
    np.testing.assert_allclose(rows @ found, (np.pad(rows, ((0, 0), (0, width - v))) @ expected)[:, :k], atol=1e-10)
    scaled, factor = procrustes(rows, target, scale=True)
    assert factor == pytest.approx(total / np.square(rows).sum())
    np.testing.assert_allclose(scaled, found * factor)


def test_the_order_of_arguments():
    """From rows to target: a turn by 90 degrees, not its inverse."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    np.testing.assert_allclose(procrustes(rows, rows @ turn)[0], turn, atol=1e-12)


@pytest.mark.parametrize("n_rounds", [1, 3])
@pytest.mark.parametrize("sizes", [(12, 12, 12), (8, 12, 10), (9, 9)])
def test_the_steps_with_many_rows(rng, sizes, n_rounds):
    _, matrices, _ = rotated(rng, 60, sizes, noise=0.5)
    fit = hyperalign(matrices, n_rounds=n_rounds)
    template, aligned = plain(matrices, n_rounds=n_rounds)
    np.testing.assert_allclose(fit.template, template, atol=1e-8)
    for person, rows in enumerate(matrices):
        np.testing.assert_allclose(fit.apply(rows, person), aligned[person], atol=1e-8)


@pytest.mark.parametrize("sizes", [(70, 80, 75), (60, 60)])
def test_the_steps_with_few_rows(rng, sizes):
    """Fewer rows than voxels: thin factors give what whole maps of all voxels give."""
    _, matrices, _ = rotated(rng, 20, sizes, noise=0.5)
    fit = hyperalign(matrices)
    template, aligned = plain(matrices)
    np.testing.assert_allclose(fit.template, template, atol=1e-8)
    for person, rows in enumerate(matrices):
        np.testing.assert_allclose(fit.apply(rows, person), aligned[person], atol=1e-8)


@pytest.mark.parametrize("n", [15, 60])
def test_maps_are_rotations_of_what_the_rows_say(rng, n):
    _, matrices, _ = rotated(rng, n, (30, 24, 27), noise=1.0)
    fit = hyperalign(matrices)
    assert fit.reference == 0
    for rotation, rows in zip(fit.rotations, matrices, strict=True):
        whole = rotation @ fit.basis
        assert whole.shape == (rows.shape[1], 30)
        values = np.linalg.svd(whole, compute_uv=False)
        rank = min(n, rows.shape[1])
        np.testing.assert_allclose(values[:rank], 1, atol=1e-8)
        np.testing.assert_allclose(values[rank:], 0, atol=1e-8)
        # distances between rows stay as they were
        np.testing.assert_allclose(rows @ whole @ whole.T, rows, atol=1e-8)


@given(st.integers(0, 1000), st.integers(2, 4), st.booleans())
def test_random_rotations_are_recovered(seed, people, few_rows):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 40, people)
    n = 12 if few_rows else 80
    shared, matrices, frames = rotated(rng, n, sizes, noise=0.02, rank=8)
    fit = hyperalign(matrices)
    new = rng.standard_normal((30, 8))
    aligned = [fit.apply(new @ frame.T, person) for person, frame in enumerate(frames)]
    for other in aligned[1:]:
        assert pearsonr(aligned[0].ravel(), other.ravel())[0] > 0.99
    assert shared.shape == (n, 8)


def test_a_smaller_partner_takes_nothing_from_the_reference(rng):
    """The mean of the others has 7 directions, the reference 9: the other two stay where they were."""
    rows = rng.standard_normal((60, 9))
    fit = hyperalign([rows, rows[:, :7] + 0.1 * rng.standard_normal((60, 7))])
    whole = fit.rotations[0] @ fit.basis
    np.testing.assert_allclose(whole.T @ whole, np.eye(9), atol=1e-8)
    np.testing.assert_allclose(whole[7:, 7:], np.eye(2), atol=0.05)


def test_the_same_rotation_for_a_known_one(rng):
    """Two people, one the other turned: the map of one into the other's voxels is that turn."""
    rows = rng.standard_normal((50, 10))
    turn = ortho_group.rvs(10, random_state=3)
    fit = hyperalign([rows, rows @ turn])
    between = (fit.rotations[0] @ fit.basis) @ (fit.rotations[1] @ fit.basis).T
    np.testing.assert_allclose(between, turn, atol=1e-8)


def test_scale(rng):
    rows = rng.standard_normal((50, 10))
    turn = ortho_group.rvs(10, random_state=3)
    plain_fit, scaled = hyperalign([rows, 3 * rows @ turn]), hyperalign([rows, 3 * rows @ turn], scale=True)
    assert plain_fit.scales == (1, 1)
    assert scaled.scales[0] / scaled.scales[1] == pytest.approx(3)
    np.testing.assert_allclose(scaled.apply(rows, 0), scaled.apply(3 * rows @ turn, 1), atol=1e-8)


def test_float32_rows_and_memory(rng):
    """Few rows of many voxels: nothing of voxels by voxels is made."""
    matrices = [rng.standard_normal((40, size)).astype(np.float32) for size in (9000, 8000)]
    tracemalloc.start()
    fit = hyperalign(matrices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20 < 8000 * 9000 * 4
    assert fit.rotations[0].dtype == fit.basis.dtype == np.float32
    reference = hyperalign([rows.astype(np.float64) for rows in matrices])
    np.testing.assert_allclose(fit.apply(matrices[1], 1), reference.apply(matrices[1].astype(np.float64), 1), atol=1e-3)


def test_constant_voxels_and_repeated_rows(rng):
    """Rows of less than full rank: no direction is made up."""
    _, matrices, _ = rotated(rng, 30, (12, 10), noise=0.3)
    doubled = [np.concatenate([rows[:10]] * 3) for rows in matrices]
    doubled[1][:, 4] = 0
    fit = hyperalign(doubled)
    whole = fit.rotations[1] @ fit.basis
    assert np.linalg.matrix_rank(whole, tol=1e-6) <= 10
    np.testing.assert_allclose(whole[4], 0, atol=1e-8)


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ([np.ones((5, 3))], "at least two people, got 1"),
        ([np.ones((5, 3)), np.ones((4, 3))], r"same rows for all people, got shapes \[\(5, 3\), \(4, 3\)\]"),
        ([np.ones((5, 3)), np.ones((5, 0))], "got shapes"),
        ([np.ones((5, 3)), np.full((5, 3), np.nan)], "person 2 hold values that are not finite"),
        ([np.zeros((5, 3)), np.ones((5, 3))], "person 1 are all zero"),
    ],
)
def test_what_is_refused(matrices, message):
    with pytest.raises(ShapeError, match=message):
        hyperalign(matrices)


def test_apply_refuses_other_voxels(rng):
    fit = hyperalign([rng.standard_normal((9, 5)), rng.standard_normal((9, 4))])
    with pytest.raises(ShapeError, match=r"responses have shape \(2, 5\), the map is for 4 voxels"):
        fit.apply(np.zeros((2, 5)), 1)


def test_intersubject_correlation_is_scipys(rng):
    people = [rng.standard_normal((20, 4)) + np.arange(4) for _ in range(3)]
    found = intersubject_correlation(people)
    for person, rows in enumerate(people):
        others = np.mean([each for place, each in enumerate(people) if place != person], axis=0)
        assert found[person] == pytest.approx(np.mean([pearsonr(rows[:, v], others[:, v])[0] for v in range(4)]))
    people[0][:, 1] = 2.0  # says nothing
    assert np.isfinite(intersubject_correlation(people)).all()
    assert np.isnan(intersubject_correlation([rows[:2] for rows in people])).all()
    with pytest.raises(ShapeError, match="two people or more"):
        intersubject_correlation(people[:1])
