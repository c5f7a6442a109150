from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from brain2pix.methods._empirical_bayes import (
    FieldGrid,
    Moments,
    field_moments,
    field_posterior,
    posterior_weights,
    standardised,
)

GRID = FieldGrid(8, (0.06, 0.15))


def planted(n=300, n_voxels=60, noise=3.0, seed=0):
    """Voxels that look at one place each, with weights of few kinds: what a shared prior can learn."""
    rng = np.random.default_rng(seed)
    activations = torch.from_numpy(rng.standard_normal((n, 12, 8, 8))).float()
    field = rng.integers(64, size=n_voxels)  # of the small size
    kinds = rng.standard_normal((2, 12))
    weights = torch.from_numpy(rng.standard_normal((n_voxels, 2)) @ kinds).float()
    maps = GRID.on(8)[field]
    pooled = standardised(torch.einsum("ncyx,vyx->vnc", activations, maps))
    clean = torch.einsum("vnc,vc->nv", pooled, weights)
    targets = clean + noise * torch.from_numpy(rng.standard_normal(clean.shape)).float()
    return activations, targets - targets.mean(dim=0), field, weights, pooled


def test_fields_have_the_mass_of_a_gaussian_in_each_cell():
    fields = FieldGrid(4, (0.1,)).on(5)
    edges = np.linspace(0, 1, 6)
    for k, (column, row) in enumerate(FieldGrid(4, (0.1,)).centres().numpy()):
        along = [np.diff(norm.cdf(edges, centre, 0.1)) for centre in (row, column)]
        expected = np.outer(*along)
        np.testing.assert_allclose(fields[k], expected / expected.sum(), atol=1e-4)
    assert torch.allclose(fields.sum(dim=(1, 2)), torch.ones(16))


def test_evidence_equals_the_density_of_a_gaussian():
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((2, 30, 4)), rng.standard_normal((30, 3))
    moments = Moments(
        *(torch.from_numpy(part) for part in (np.swapaxes(inputs, 1, 2) @ inputs, np.swapaxes(inputs, 1, 2) @ targets)),
        torch.from_numpy(np.square(targets).sum(axis=0)),
        30,
    )
    root = rng.standard_normal((4, 4))
    covariance = root @ root.T
    posterior = field_posterior(moments, 0, torch.from_numpy(covariance))
    variance = np.square(targets).mean(axis=0)
    regular = covariance + 1e-4 * np.diag(covariance).mean() * np.eye(4)
    log = np.empty((2, 3))
    for k in range(2):
        for v in range(3):
            whole = variance[v] * (0.15 * inputs[k] @ regular @ inputs[k].T + 0.85 * np.eye(30))
            log[k, v] = multivariate_normal(np.zeros(30), whole).logpdf(targets[:, v])
    chance = np.exp(log - log.max(axis=0))
    np.testing.assert_allclose(posterior.chance, chance / chance.sum(axis=0), rtol=1e-6)
    nothing = [norm(0, variance[v] ** 0.5).logpdf(targets[:, v]).sum() for v in range(3)]
    np.testing.assert_allclose(posterior.gain, np.log(np.exp(log - nothing).mean(axis=0)), rtol=1e-6)


def test_posterior_weights_equal_the_other_form_of_the_same_regression():
    rng = np.random.default_rng(1)
    inputs, targets, root = rng.standard_normal((3, 20, 5)), rng.standard_normal((20, 3)), rng.standard_normal((5, 5))
    covariance = root @ root.T + 0.1 * np.eye(5)
    share, noise = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.3, 2.0])
    ours = posterior_weights(*(torch.from_numpy(part) for part in (inputs, targets, covariance, share, noise)))
    for v in range(3):
        prior = share[v] * covariance
        theirs = prior @ inputs[v].T @ np.linalg.solve(inputs[v] @ prior @ inputs[v].T + noise[v] * np.eye(20), targets[:, v])
        np.testing.assert_allclose(ours[v], theirs, rtol=1e-2, atol=1e-3)  # the covariance is kept away from the edge of inversion


def test_each_round_makes_the_responses_more_likely():
    activations, targets, *_ = planted()
    moments = field_moments([activations], targets, GRID)
    gains = [field_posterior(moments, rounds).gain.sum().item() for rounds in range(6)]
    assert all(later > earlier for earlier, later in pairwise(gains))


def test_the_shared_prior_finds_fields_and_weights_better():
    activations, targets, field, weights, pooled = planted(noise=6.0)
    moments = field_moments([activations], targets, GRID)
    errors, found = {}, {}
    for rounds in (0, 15):
        posterior = field_posterior(moments, rounds)
        found[rounds] = (posterior.chance.argmax(dim=0).numpy() == field).mean()
        estimate = posterior_weights(pooled, targets, posterior.covariance, posterior.share, posterior.noise)
        errors[rounds] = ((estimate - weights).square().sum() / weights.square().sum()).item()
    assert errors[15] < 0.6 * errors[0]
    assert found[15] > found[0]
    top = torch.linalg.eigvalsh(posterior.covariance)
    assert top[-2:].sum() > 0.8 * top.sum()  # two kinds of weights were planted


def test_a_voxel_that_does_not_respond_is_known_by_its_evidence():
    activations, targets, *_ = planted(noise=1.0)
    silent = torch.from_numpy(np.random.default_rng(5).standard_normal((len(targets), 5))).float()
    posterior = field_posterior(field_moments([activations], torch.cat([targets, silent - silent.mean(dim=0)], dim=1), GRID), 5)
    assert posterior.gain[-5:].max() < posterior.gain[:-5].median()
    assert posterior.gain[-5:].max() < 3


def test_work_can_be_stopped():
    activations, targets, *_ = planted(n=40, n_voxels=3)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        field_moments([activations], targets, GRID, stop)
