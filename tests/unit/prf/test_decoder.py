import numpy as np
import pytest

from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ShapeError
from brain2pix.events import Cancelled, CancelToken
from brain2pix.prf import base_patterns, change_maps, receptive_fields

SIZE, FIELD = 48, 12.0


@pytest.fixture
def planted(rng):
    """Voxels that paint a Gaussian each, in a colour of its own; places and sizes in degrees."""
    x, y, sigma = rng.uniform(-4, 4, 21), rng.uniform(-4, 4, 21), rng.uniform(0.5, 1.2, 21)
    axis = (np.arange(SIZE) + 0.5) / SIZE * FIELD - FIELD / 2
    square = (axis - x[:, None, None]) ** 2 + (-axis[:, None] - y[:, None, None]) ** 2
    bumps = np.exp(-square / (2 * sigma[:, None, None] ** 2))
    colors = rng.uniform(-1, 1, (21, 3))
    return x, y, sigma, np.einsum("vhw,vc->vchw", bumps, colors).astype(np.float32)


def painter(writes):
    """Linear decoder: every voxel adds its own picture."""
    return lambda responses: np.einsum("bv,vchw->bchw", responses, writes)


def test_maps_of_a_linear_decoder_are_the_energy_of_what_each_voxel_writes(planted, rng):
    writes = planted[3]
    steps = rng.uniform(0.5, 2, 21).astype(np.float32)
    patterns = rng.normal(size=(3, 21)).astype(np.float32)
    maps = change_maps(painter(writes), patterns, steps, chunk=8)  # 21 voxels are not a multiple of the chunk
    np.testing.assert_allclose(maps, ((steps[:, None, None, None] * writes) ** 2).sum(axis=1), rtol=1e-3, atol=1e-5)
    absolute = change_maps(painter(writes), patterns, steps, energy="absolute")
    np.testing.assert_allclose(absolute, np.abs(steps[:, None, None, None] * writes).sum(axis=1), rtol=1e-3, atol=1e-5)


def test_planted_fields_of_a_decoder_come_back(planted):
    x, y, sigma, writes = planted
    maps = change_maps(painter(writes), np.zeros((1, 21), np.float32), np.ones(21, np.float32))
    found = receptive_fields(maps, PRFSettings(max_spread=1), FIELD).map
    np.testing.assert_allclose(np.stack([found.x0_deg, found.y0_deg]), [x, y], atol=0.1)
    np.testing.assert_allclose(found.sigma_deg, sigma, rtol=0.02)


def test_a_voxel_that_is_clipped_in_one_pattern_shows_in_another(planted):
    writes = np.abs(planted[3])
    clipped = lambda responses: np.clip(painter(writes)(responses), 0, 1)  # noqa: E731
    bright, dark = np.full((1, 21), 50, np.float32), np.zeros((1, 21), np.float32)
    seen = [change_maps(clipped, patterns, np.ones(21, np.float32)).max() for patterns in (bright, np.concatenate([bright, dark]))]
    assert seen[0] < 1e-3 < seen[1]


def test_progress_counts_every_batch_and_cancel_stops(planted):
    seen = []
    patterns = np.zeros((2, 21), np.float32)
    change_maps(painter(planted[3]), patterns, np.ones(21, np.float32), chunk=8, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        change_maps(painter(planted[3]), patterns, np.ones(21, np.float32), cancel=token)


def test_base_patterns_are_the_mean_and_held_out_trials(rng):
    training, held_out = rng.normal(size=(50, 7)).astype(np.float32), rng.normal(size=(5, 7)).astype(np.float32)
    patterns = base_patterns(training, held_out, 4, seed=1)
    np.testing.assert_allclose(patterns[0], training.mean(axis=0), atol=1e-6)
    assert all((held_out == pattern).all(axis=1).any() for pattern in patterns[1:])
    assert len(np.unique(patterns, axis=0)) == 4
    few = base_patterns(training, held_out[:0], 4)
    assert all((training == pattern).all(axis=1).any() for pattern in few[1:])
    assert len(base_patterns(training, held_out, 1)) == 1


def test_misfit_inputs_are_refused(planted):
    writes = painter(planted[3])
    with pytest.raises(ShapeError, match=r"patterns of 21 voxels need one step each, got shape \(3,\)"):
        change_maps(writes, np.zeros((1, 21), np.float32), np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"pictures of shape \(1, 48, 48\) for 1 patterns"):
        change_maps(lambda responses: writes(responses)[:, 0], np.zeros((1, 21), np.float32), np.ones(21, np.float32))
    with pytest.raises(ShapeError, match="at least one pattern"):
        change_maps(writes, np.zeros((0, 21), np.float32), np.ones(21, np.float32))
