"""Statistics of repeats against known noise, plain loops, scipy and pandas."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from brain2pix.errors import ShapeError
from brain2pix.signals import (
    ceiling_from_ncsnr,
    ceilings,
    ncsnr,
    noise_ceiling_percent,
    repeat_statistics,
    snr_weights,
    split_half_ceiling,
    statistics,
    zscore,
    zscore_by_group,
)


def planted(n_images, repeats, nc1, seed=0, offset=0.0):
    """Trials of unit signal variance over images; nc1 = share of signal in the variance of single trials, one per voxel."""
    rng = np.random.default_rng(seed)
    nc1 = np.asarray(nc1)
    index = np.repeat(np.arange(n_images), repeats)
    signal = rng.standard_normal((n_images, nc1.size))
    noise = rng.standard_normal((index.size, nc1.size)) * np.sqrt((1 - nc1) / nc1)
    shuffle = rng.permutation(index.size)
    return (offset + signal[index] + noise)[shuffle].astype(np.float32), index[shuffle]


NC1 = np.tile([0.05, 0.15, 0.3, 0.6], 20)


def by_level(values):
    """Mean over the 20 voxels that share a planted ceiling."""
    return np.nanmean(np.reshape(values, (20, 4)), axis=0)


def true_ceiling(repeats):
    signal_to_noise = NC1[:4] / (1 - NC1[:4])
    return np.sqrt(signal_to_noise / (signal_to_noise + 1 / repeats))


def test_split_half_finds_the_planted_ceiling():
    found = split_half_ceiling(*planted(500, 20, NC1), n_splits=50)
    np.testing.assert_allclose(by_level(found.ceiling), true_ceiling(20), atol=0.01)
    error = np.abs(found.ceiling - np.tile(true_ceiling(20), 20)).reshape(20, 4)
    assert error.mean(axis=0).max() < 0.03 and error[:, 1:].max() < 0.03  # the weakest voxels (nc1 .05) scatter by sampling alone
    np.testing.assert_allclose(found.ceiling**2, found.reliability, rtol=1e-5)


@pytest.mark.parametrize("repeats", [2, 3, 7])
def test_few_and_odd_repeats(repeats):
    found = split_half_ceiling(*planted(800, repeats, NC1), n_splits=20)
    np.testing.assert_allclose(by_level(found.ceiling)[1:], true_ceiling(repeats)[1:], atol=0.03)


def test_two_repeats_have_one_split():
    """h is then the correlation of the two, up to which of an image's two comes first: with many splits that averages out."""
    values, index = planted(300, 2, [0.4])
    order = np.argsort(index, kind="stable")
    pairs = values[order, 0].reshape(300, 2)
    both_ways = np.r_[pairs, pairs[:, ::-1]]  # the symmetric (intraclass) correlation
    expected = scipy.stats.pearsonr(both_ways[:, 0], both_ways[:, 1]).statistic
    assert split_half_ceiling(values, index, n_splits=400).half[0] == pytest.approx(expected, abs=0.005)


def test_ragged_repeats_and_images_shown_once():
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 12, 600)
    values, index = planted(600, counts, np.full(20, 0.3), seed=3)
    found = split_half_ceiling(values, index, n_splits=30)
    again = split_half_ceiling(values[counts[index] > 1], pd.factorize(index[counts[index] > 1], sort=True)[0], n_splits=30)
    np.testing.assert_allclose(found.half, again.half, atol=1e-6)  # images shown once are left out
    # By plain loops, with splits of its own.
    halves = []
    for _ in range(30):
        first, second = [], []
        for image in np.flatnonzero(counts > 1):
            rows = rng.permutation(np.flatnonzero(index == image))
            first.append(values[rows[: len(rows) // 2], 0].mean())
            second.append(values[rows[len(rows) // 2 :], 0].mean())
        halves.append(np.arctanh(scipy.stats.pearsonr(first, second).statistic))
    assert found.half[0] == pytest.approx(np.tanh(np.mean(halves)), abs=0.015)


def test_ceiling_obeys_the_identity_with_snr():
    """NC^2 = 1 - 1 / (R * SNR), with unbiased variances."""
    repeats = 20
    values, index = planted(400, repeats, NC1)
    found = split_half_ceiling(values, index, n_splits=50)
    snr = repeat_statistics(values, index).snr * 400 / 399
    np.testing.assert_allclose(by_level(found.reliability), by_level(1 - 1 / (repeats * snr)), atol=0.01)


def test_no_ceiling_without_repeats_or_signal():
    rng = np.random.default_rng(0)
    once = split_half_ceiling(rng.standard_normal((30, 4)).astype(np.float32), np.arange(30))
    assert np.isnan(once.ceiling).all() and np.isnan(once.half).all()
    assert np.isnan(ncsnr(rng.standard_normal((30, 4)), np.arange(30))).all()
    two_images = split_half_ceiling(*planted(2, 10, [0.3]))
    assert np.isnan(two_images.ceiling).all()
    noise, index = rng.standard_normal((40 * 6, 200)).astype(np.float32), np.repeat(np.arange(40), 6)
    found = split_half_ceiling(noise, index, n_splits=20)
    assert np.isnan(found.ceiling[found.half <= 0]).all() and (found.half <= 0).sum() > 50
    constant = split_half_ceiling(np.ones((30, 1), np.float32), np.repeat(np.arange(10), 3), n_splits=5)
    assert np.isnan(constant.ceiling).all()


def test_perfect_data_has_ceiling_one():
    signal = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    found = split_half_ceiling(np.repeat(signal, 4, axis=0), np.repeat(np.arange(50), 4))
    np.testing.assert_allclose(found.ceiling, 1, atol=1e-3)
    assert np.isfinite(found.ceiling).all()


def test_seed_decides_and_nothing_else():
    values, index = planted(40, 6, NC1)
    one, two = split_half_ceiling(values, index, seed=4), split_half_ceiling(values, index, seed=4)
    np.testing.assert_array_equal(one.half, two.half)
    assert (one.half != split_half_ceiling(values, index, seed=5).half).any()


def test_ncsnr_finds_the_planted_ratio():
    ratio = np.sqrt(NC1[:4] / (1 - NC1[:4]))
    values, index = planted(500, 12, NC1, offset=3.0)
    np.testing.assert_allclose(by_level(ncsnr(values, index)), ratio, rtol=0.05)
    np.testing.assert_allclose(by_level(ceiling_from_ncsnr(ncsnr(values, index), 12)), true_ceiling(12), atol=0.02)


def test_noise_ceiling_in_percent_is_that_of_nsd():
    """Their formulas on z-scored responses: the noise from images with three trials, the signal what is left of the variance 1."""
    values, index = planted(2000, 3, NC1, seed=5)
    z = scipy.stats.zscore(values.astype(np.float64), axis=0)
    noise = pd.DataFrame(z).groupby(index).var(ddof=1).mean().to_numpy()
    theirs = np.sqrt(np.clip(1 - noise, 0, None)) / np.sqrt(noise)
    found = ncsnr(z, index)
    np.testing.assert_allclose(found, theirs, atol=1e-3)
    for n in (1, 3):
        expected = 100 * theirs**2 / (theirs**2 + 1 / n)
        np.testing.assert_allclose(noise_ceiling_percent(found, np.full(9, n)), expected, rtol=1e-2)
        np.testing.assert_allclose(by_level(expected), 100 * NC1[:4] / (NC1[:4] + (1 - NC1[:4]) / n), atol=1)
    a, b, c = 515, 251, 141  # images with three, two, one trial
    mixed = 100 * theirs**2 / (theirs**2 + (a / 3 + b / 2 + c) / (a + b + c))
    np.testing.assert_allclose(noise_ceiling_percent(theirs, np.repeat([3, 2, 1], [a, b, c])), mixed, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(noise_ceiling_percent(theirs, np.full(4, 12)) / 100), ceiling_from_ncsnr(theirs, 12), rtol=1e-6)


def test_many_images_are_taken_fewer_voxels_at_a_time(monkeypatch):
    values, index = planted(60, np.random.default_rng(0).integers(1, 5, 60), NC1)
    whole = split_half_ceiling(values, index, n_splits=10)
    monkeypatch.setattr(ceilings, "_HALVES_BYTES", 1)
    np.testing.assert_allclose(split_half_ceiling(values, index, n_splits=10).half, whole.half, atol=1e-6)


def test_signal_variance_is_unbiased_with_few_images():
    found = np.mean([repeat_statistics(*planted(4, [2, 5, 3, 9], np.full(400, 0.5), seed)).signal_variance for seed in range(20)])
    # max(0, .) lifts the mean a little: 4 images rarely give an estimate below 0 at this ratio
    assert found == pytest.approx(1.0, abs=0.05)


@given(st.integers(2, 5), st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 100))
def test_repeat_statistics_like_pandas(n_voxels, counts, seed):
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    values = rng.standard_normal((index.size, n_voxels))
    found = repeat_statistics(values, index)
    table = pd.DataFrame(values).groupby(index)
    np.testing.assert_allclose(found.mean, table.mean(), atol=1e-6)
    assert found.counts.tolist() == counts
    variance = table.var(ddof=1).mean()  # NaN of images shown once are skipped
    np.testing.assert_allclose(found.noise_variance, variance, rtol=1e-9)
    np.testing.assert_allclose(found.snr, table.mean().var(ddof=0) / variance, rtol=1e-5, atol=1e-8)


def test_snr_weights_have_mean_one():
    values, index = planted(60, 10, NC1)
    weights = snr_weights(values, index)
    assert weights.dtype == np.float32 and weights.mean() == pytest.approx(1, rel=1e-5)
    assert (np.diff(by_level(weights)) > 0).all()
    assert snr_weights(values[:10], np.arange(10)).tolist() == [1.0] * 80


def test_repeats_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"expected values \[n v\] and one image index per trial, got \(4, 2\) and \(3,\)"):
        repeat_statistics(np.zeros((4, 2)), np.zeros(3, dtype=int))
    with pytest.raises(ShapeError, match=r"image_index must use each of 0\.\.3; no trial of image 1, 2"):
        split_half_ceiling(np.zeros((2, 2)), np.array([0, 3]))


def test_zscore_like_scipy():
    values = np.random.default_rng(0).normal(1e4, 3, (200, 5)).astype(np.float32)
    np.testing.assert_allclose(zscore(values, *statistics(values)), scipy.stats.zscore(values.astype(np.float64), axis=0), atol=2e-3)
    train = values[:50]
    held = zscore(values[50:], *statistics(train))
    np.testing.assert_allclose(held, scipy.stats.zmap(values[50:].astype(float), train.astype(float), axis=0), atol=2e-3)
    assert np.isnan(zscore(values, values.mean(axis=0), np.zeros(5))).all()


def test_zscore_by_group_like_pandas():
    rng = np.random.default_rng(1)
    values, runs = rng.normal(5, 2, (60, 3)), rng.integers(0, 4, 60)
    expected = pd.DataFrame(values).groupby(runs).transform(lambda column: (column - column.mean()) / column.std(ddof=0))
    np.testing.assert_allclose(zscore_by_group(values, runs), expected, atol=1e-5)
    with pytest.raises(ShapeError, match="60 trials need one group each, got 4"):
        zscore_by_group(values, np.arange(4))
