import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from brain2pix.arrays import VoxelBatch
from brain2pix.config.base import preset_names
from brain2pix.config.methods import RidgeSettings
from brain2pix.errors import ConfigError, DataFormatError, NotSupportedError, ShapeError
from brain2pix.events import Cancelled
from brain2pix.methods._linear import RidgePath, choose_penalty, group_folds
from brain2pix.methods.registry import make_method, resolve_settings


def fit(data, settings, context):
    method = make_method("ridge", settings, [data.subject], data.image_size)
    for phase in method.phases(data):
        assert phase.n_steps == 0 and phase.optimizer() is None
        phase.prepare(context)
        phase.initialise(context)
        phase.finish(context)
    return method


def test_every_preset_resolves():
    assert {"tiny", "demo", "preview", "released", "paper", "unpaired"} <= set(preset_names("ridge"))
    for preset in preset_names("ridge"):
        assert isinstance(resolve_settings("ridge", preset), RidgeSettings)


@pytest.mark.parametrize("n_samples", [40, 300])  # both shapes of the problem
def test_solution_equals_scikit_learn(n_samples):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((n_samples, 90), dtype=np.float32) * 3 + 1
    targets = rng.standard_normal((n_samples, 7), dtype=np.float32) + 2
    for penalty in (0.03, 2.0):
        ours = RidgePath(inputs, targets).solve(penalty)
        theirs = SklearnRidge(alpha=penalty * n_samples * inputs.var(axis=0).mean()).fit(inputs, targets)
        np.testing.assert_allclose(ours.weight, theirs.coef_.T, atol=2e-5)
        np.testing.assert_allclose(ours.offset, theirs.intercept_, atol=2e-4)


def test_folds_never_cut_a_group_and_cover_everything():
    groups = np.random.default_rng(1).integers(0, 11, 200)
    folds = list(group_folds(groups, 4))
    assert np.sum(folds, axis=0).tolist() == [1] * 200
    for held_out in folds:
        assert not set(groups[held_out]) & set(groups[~held_out])
        assert 30 <= held_out.sum() <= 70


def test_noisier_responses_choose_a_larger_penalty():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((300, 20))
    targets = (truth @ rng.standard_normal((20, 5))).astype(np.float32)
    mixing = rng.standard_normal((20, 80))
    chosen = []
    for noise in (0.1, 30.0):
        inputs = (truth @ mixing + noise * rng.standard_normal((300, 80))).astype(np.float32)
        chosen.append(choose_penalty(inputs, targets, np.arange(300) // 10, (1e-4, 1e-2, 1.0, 100.0), 5)[0])
    assert chosen[0] < 0.1 < 0.9 < chosen[1]


def test_planted_subject_is_decoded(planted, context):
    method = fit(planted.data, resolve_settings("ridge", "tiny"), context)
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means), ("sub-01",) * 12))
    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.float32
    assert 0 <= images.min() and images.max() <= 1
    truth = torch.from_numpy(planted.test_images).permute(0, 3, 1, 2).float() / 255
    r = torch.corrcoef(torch.cat([images.flatten(1), truth.flatten(1)]))[:12, 12:]
    assert (r.argmax(dim=1) == torch.arange(12)).float().mean() > 0.7  # chance 1/12
    assert any("held-out squared error" in event.name for event in context.events)


def test_fixed_penalty_is_used_and_repeats_and_unpaired_are_never_looked_at(planted, context):
    blind = dataclasses.replace(planted.data, repeats=None, unpaired=None, groups=np.zeros(96, dtype=np.int64))
    method = fit(blind, RidgeSettings(penalty=0.25, size=16), context)
    assert method.penalty == 0.25 and not context.events
    assert method.info.transductive == () and not method.info.has_encoder


def test_state_round_trip_gives_the_same_pictures(planted, context):
    settings = RidgeSettings(penalty=0.25, size=16)
    method = fit(planted.data, settings, context)
    again = make_method("ridge", settings, [planted.data.subject], 32)
    again.load_state_dict({key: value.clone() for key, value in method.state_dict().items()})
    batch = VoxelBatch(torch.from_numpy(planted.test_means))
    assert torch.equal(method.decode(batch), again.decode(batch))


def test_state_of_another_model_is_refused(planted, context):
    method = fit(planted.data, RidgeSettings(penalty=0.25, size=16), context)
    other = make_method("ridge", RidgeSettings(size=8), [planted.data.subject], 32)
    with pytest.raises(DataFormatError, match=r"weight \(60, 768\) instead of \(60, 192\)"):
        other.load_state_dict(method.state_dict())
    with pytest.raises(DataFormatError, match="missing penalty"):
        method.load_state_dict({"weight": method.weight, "offset": method.offset})


def test_one_group_cannot_choose_a_penalty(planted, context):
    data = dataclasses.replace(planted.data, groups=np.zeros(96, dtype=np.int64))
    with pytest.raises(ConfigError, match="at least 2 groups of training images, got 1; give a fixed value"):
        fit(data, RidgeSettings(), context)


def test_cancel_stops_before_the_work(planted, context):
    context.cancel.cancel()
    with pytest.raises(Cancelled):
        fit(planted.data, RidgeSettings(), context)


def test_other_voxels_and_encoding_are_refused(planted):
    method = make_method("ridge", RidgeSettings(), [planted.data.subject], 32)
    with pytest.raises(ShapeError, match="trained on 60 voxels of sub-01, the batch has 59"):
        method.decode(VoxelBatch(torch.zeros(2, 59)))
    with pytest.raises(NotSupportedError, match="ridge has no encoder"):
        method.encode(torch.zeros(1, 3, 32, 32))
