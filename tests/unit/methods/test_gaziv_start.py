import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import multivariate_normal, norm
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV

from brain2pix.config.models import DecoderSettings
from brain2pix.methods._empirical_bayes import image_means
from brain2pix.methods._encoder_phase import correlation, hold_out
from brain2pix.methods._features import shifted
from brain2pix.methods._gaziv_start import (
    _GRID,
    candidate_probabilities,
    cut_patches,
    inner_map,
    log_evidence,
    patch_basis,
    ridge_by_leave_one_out,
    ridge_start,
)
from brain2pix.models import ConvDecoder


def test_small_ridges_equal_scikit_learn_with_its_own_choice_of_penalty():
    rng = np.random.default_rng(0)
    penalties = (0.01, 0.1, 1.0, 10.0)
    inputs = rng.standard_normal((5, 80, 12))
    inputs = (inputs - inputs.mean(1, keepdims=True)) / inputs.std(1, keepdims=True)
    targets = inputs[:, :, 0] * np.array([0.0, 0.2, 1.0, 5.0, 1.0])[:, None] + rng.standard_normal((5, 80))
    targets -= targets.mean(1, keepdims=True)
    ours = ridge_by_leave_one_out(torch.from_numpy(inputs), torch.from_numpy(targets), penalties)
    chosen = []
    for voxel in range(5):
        theirs = RidgeCV([80 * penalty for penalty in penalties]).fit(inputs[voxel], targets[voxel])
        np.testing.assert_allclose(ours[voxel], theirs.coef_, rtol=1e-6)
        chosen.append(theirs.alpha_)
    assert len(set(chosen)) > 1  # voxels differ in what is best for them


def test_evidence_equals_the_density_of_a_gaussian():
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((2, 30, 4)), rng.standard_normal((30, 3))
    ours = log_evidence(torch.from_numpy(inputs), torch.from_numpy(targets)).numpy()
    theirs = np.full((2, 3), -np.inf)
    for share in (0.05, 0.15, 0.4):
        for k in range(2):
            covariance = share / 4 * inputs[k] @ inputs[k].T + (1 - 0.6 * share) * np.eye(30)
            theirs[k] = np.maximum(theirs[k], multivariate_normal(np.zeros(30), covariance).logpdf(targets.T))
    np.testing.assert_allclose(ours, theirs + 30 / 2 * np.log(2 * np.pi), rtol=1e-6)


def test_candidates_point_where_responses_come_from():
    rng = np.random.default_rng(0)
    fine, coarse = rng.standard_normal((400, 4, 16, 16)), rng.standard_normal((400, 4, 8, 8))
    responses = np.stack([fine[:, 1, 4, 11], coarse[:, 2, 6, 1]], axis=1) + rng.standard_normal((400, 2))
    chance = candidate_probabilities([torch.from_numpy(part).float() for part in (fine, coarse)], torch.from_numpy(responses).float())
    np.testing.assert_allclose(chance.sum(dim=0), 1, rtol=1e-5)
    maps = torch.einsum("kv,kyx->vyx", chance, _GRID.on(16, chance.device))
    assert np.unravel_index(int(maps[0].argmax()), (16, 16)) == (4, 11)
    row, column = np.unravel_index(int(maps[1].argmax()), (16, 16))
    assert row in (12, 13) and column in (2, 3)


def test_candidate_fields_are_gaussians_with_the_mass_of_their_cells():
    fields = _GRID.on(8).reshape(3, 16, 16, 8, 8)
    cells = norm.cdf((np.arange(1, 9) / 8 - 6.5 / 16) / 0.075) - norm.cdf((np.arange(8) / 8 - 6.5 / 16) / 0.075)
    expected = np.outer(cells, cells)
    np.testing.assert_allclose(fields[1, 6, 6], expected / expected.sum(), atol=1e-4)
    np.testing.assert_allclose(fields.sum(dim=(3, 4)), 1, rtol=1e-5)


def test_inner_map_keeps_mass_and_moves_the_border_inwards():
    where = torch.zeros(3, 16, 16)
    where[0, 8, 9] = where[1, 0, 0] = where[2, 15, 4] = 1
    inner = inner_map(where)
    assert inner.shape == (3, 14, 14)
    assert inner[0, 7, 8] == inner[1, 0, 0] == inner[2, 13, 3] == 1
    assert inner.sum() == 3


def test_means_over_trials_of_an_image():
    responses = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    assert image_means(responses, torch.tensor([1, 1, 0]), 2).tolist() == [[10.0, 20.0], [2.0, 3.0]]


def test_shift_equals_scipy():
    pictures = np.random.default_rng(0).random((3, 2, 12, 12)).astype(np.float32)
    shifts = np.array([[0, 0], [2, -3], [-1, 1]])
    moved = shifted(torch.from_numpy(pictures), shifts)
    for picture, shift, result in zip(pictures, shifts, moved, strict=True):
        np.testing.assert_allclose(result, ndimage.shift(picture, (0, *shift), order=0, mode="nearest"))


def test_held_out_groups_are_whole_and_about_the_share():
    groups = np.random.default_rng(0).integers(0, 40, 1000)
    mask = hold_out(groups, 0.1, seed=3)
    assert not set(groups[mask]) & set(groups[~mask])
    assert 0.08 < mask.mean() < 0.15
    np.testing.assert_array_equal(mask, hold_out(groups, 0.1, seed=3))
    assert not np.array_equal(mask, hold_out(groups, 0.1, seed=4))
    two = hold_out(np.array([0, 0, 0, 1]), 0.5, seed=0)
    assert 0 < two.sum() < 4


def test_correlation_equals_numpy():
    a, b = np.random.default_rng(0).standard_normal((2, 50, 4)).astype(np.float32)
    ours = correlation(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(ours, [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(4)], atol=1e-6)


def test_patches_are_cut_row_by_row():
    images = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    patches = cut_patches(images, 4)
    assert patches.shape == (2, 4, 48)
    np.testing.assert_allclose(patches[1, 1], np.moveaxis(images[1, 0:4, 4:8], -1, 0).ravel() / 255, atol=1e-6)


@pytest.mark.parametrize("channels", [20, 60])  # fewer and more than the 48 numbers of a patch
def test_patch_basis_whitens(channels):
    rng = np.random.default_rng(0)
    images = (ndimage.gaussian_filter(rng.random((64, 32, 32, 3)), (0, 1, 1, 0)) * 255).astype(np.uint8)
    mean, basis = patch_basis(images, 4, channels, rng)
    covariance = np.cov((cut_patches(images, 4).reshape(-1, 48) - mean) @ basis, rowvar=False)
    rank = min(channels, 48)
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    np.testing.assert_allclose(values[:rank], 1, rtol=0.1)
    np.testing.assert_allclose(values[rank:], 0, atol=1e-3)


def test_linear_layer_starts_as_scikit_learns_ridge():
    rng = np.random.default_rng(0)
    images = (ndimage.gaussian_filter(rng.random((90, 16, 16, 3)), (0, 2, 2, 0)) * 255).astype(np.uint8)
    values = rng.standard_normal((90, 30)).astype(np.float32)
    decoder = ConvDecoder(30, 16, DecoderSettings(start_divisor=4, channels=(8, 8, 8), kernel=3, groups=4))
    chunks = [(values[k : k + 40], images[k : k + 40]) for k in range(0, 90, 40)]
    ridge_start(decoder, chunks, images, 0.1, np.random.default_rng(5))
    mean, basis = patch_basis(images, 4, 8, np.random.default_rng(5))
    targets = (cut_patches(images, 4) - mean) @ basis  # [n places c]
    theirs = SklearnRidge(alpha=0.1 * 90 * values.var(axis=0).mean()).fit(values, targets.reshape(90, -1))
    made = decoder.start(torch.from_numpy(values)).detach().permute(0, 2, 3, 1).reshape(90, -1)
    np.testing.assert_allclose(made, theirs.predict(values), atol=1e-3)
