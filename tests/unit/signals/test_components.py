"""Principal components against scikit-learn."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.signals.components import fit_components


def responses(rng, n, v):
    """Rows of decreasing variance along random directions, off centre."""
    frame = np.linalg.qr(rng.standard_normal((v, v)))[0]
    return rng.standard_normal((n, v)) * np.geomspace(5, 0.05, v) @ frame.T + rng.standard_normal(v)


def same_up_to_sign(ours, theirs, **tolerance):
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, **tolerance)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("share", [0.9, 0.99])
@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (30, 30)])
def test_the_same_as_sklearn(rng, shape, share, whiten):
    rows = responses(rng, *shape)
    new = rng.standard_normal((7, shape[1]))
    theirs = PCA(n_components=share, svd_solver="full", whiten=whiten).fit(rows)
    ours = fit_components(rows, share, whiten=whiten)
    assert ours.n_components == theirs.n_components_
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-6)
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_, rtol=1e-8)
    assert ours.kept == pytest.approx(theirs.explained_variance_ratio_.sum())
    same_up_to_sign(ours.vectors.T, theirs.components_.T, atol=1e-6)
    for given_rows in (rows, new):
        same_up_to_sign(ours.project(given_rows), theirs.transform(given_rows), atol=2e-5)
        np.testing.assert_allclose(
            ours.restore(ours.project(given_rows)), theirs.inverse_transform(theirs.transform(given_rows)), atol=2e-5
        )


def test_the_smallest_number_that_reaches_the_share(rng):
    """Known variances 8, 1, 1 along the axes: 0.8 is reached by one, 0.81 by two, 0.9 by two, 1 by three."""
    axes = np.diag(np.sqrt([8.0, 1.0, 1.0]))
    rows = np.concatenate([axes, -axes])
    assert [fit_components(rows, share).n_components for share in (0.5, 0.8, 0.81, 0.9, 0.91, 1.0)] == [1, 1, 2, 2, 3, 3]


def test_all_components_restore_the_rows(rng):
    rows = responses(rng, 12, 40)
    fit = fit_components(rows, 1.0)
    assert fit.n_components == 11  # demeaned rows have one direction less
    np.testing.assert_allclose(fit.restore(fit.project(rows)), rows, atol=1e-4)
    np.testing.assert_allclose(fit.vectors @ fit.vectors.T, np.eye(11), atol=1e-5)


def test_averaging_before_and_after_is_the_same(rng):
    fit = fit_components(responses(rng, 30, 50), 0.9)
    repeats = rng.standard_normal((6, 4, 50))
    after = fit.project(repeats.reshape(24, 50)).reshape(6, 4, -1).mean(axis=1)
    np.testing.assert_allclose(fit.project(repeats.mean(axis=1)), after, atol=1e-5)


@given(st.integers(0, 10**6))
def test_signs_do_not_depend_on_the_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    rows = responses(rng, 15, 20)
    one, other = fit_components(rows, 0.9), fit_components(rows[rng.permutation(15)], 0.9)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


def test_few_rows_of_many_voxels_take_little_memory(rng):
    rows = rng.standard_normal((50, 20000)).astype(np.float32)
    tracemalloc.start()
    fit = fit_components(rows, 0.99)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit.vectors.shape[1] == 20000
    assert peak < 8 * rows.nbytes < 20000**2 * 4


@pytest.mark.parametrize(
    ("rows", "share", "error", "message"),
    [
        (np.ones((4, 3)), 0.0, ConfigError, "must lie above 0 and at most at 1, got 0.0"),
        (np.ones((4, 3)), 1.5, ConfigError, "got 1.5"),
        (np.ones((1, 3)), 0.9, ShapeError, r"at least two rows of responses \[n v\], got shape \(1, 3\)"),
        (np.ones((4, 3)), 0.9, ShapeError, "all rows are the same"),
        (np.array([[1.0, np.nan], [2.0, 1.0]]), 0.9, ShapeError, "not finite"),
    ],
)
def test_what_is_refused(rows, share, error, message):
    with pytest.raises(error, match=message):
        fit_components(rows, share)


def test_other_shapes_are_refused(rng):
    fit = fit_components(rng.standard_normal((6, 5)), 1.0)
    with pytest.raises(ShapeError, match=r"responses have shape \(2, 4\), the components are for \[b 5\]"):
        fit.project(np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"scores have shape \(2, 9\), expected \[b 5\]"):
        fit.restore(np.zeros((2, 9)))
