import dataclasses

import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.config.base import preset_names
from brain2pix.config.prf import PRFSettings
from brain2pix.config.retino import RetinoSettings
from brain2pix.errors import ConfigError
from brain2pix.methods._retino_decoder import LocalDecoderPhase
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.prf import gradient_maps, input_images, receptive_fields


def tiny(**changes):
    quick = {"encoder.n_steps": 4, "encoder.solve_every": 2, "decoder.n_steps": 4}
    return resolve_settings("retino", "tiny", changes=quick | {key.replace("__", "."): value for key, value in changes.items()})


def make(data, settings):
    torch.manual_seed(0)
    return make_method("retino", settings, [data.subject], data.image_size)


def train(data, settings, context):
    method = make(data, settings)
    for phase in method.phases(data):
        run_phase(phase, context)
    return method


def run_phase(phase, context):
    """Walk through a phase as the engine does."""
    phase.prepare(context)
    phase.initialise(context)
    optimizer = phase.optimizer()
    for step in range(phase.n_steps):
        optimizer.zero_grad()
        phase.loss(step)["total"].backward()
        optimizer.step()
        phase.after_step(step)
    phase.finish(context)


@pytest.fixture(scope="module")
def trained(planted):
    from brain2pix.events import CancelToken, ignore
    from brain2pix.methods.base import TrainingContext

    return train(planted.data, resolve_settings("retino", "tiny"), TrainingContext(torch.device("cpu"), 0, ignore, CancelToken()))


def test_every_preset_resolves():
    assert {"tiny", "demo", "preview", "paper"} <= set(preset_names("retino"))
    assert all(isinstance(resolve_settings("retino", preset), RetinoSettings) for preset in preset_names("retino"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_images": 0}, "weight_pairs or weight_images must be above 0"),
        ({"decoder.linear": {"size": 15, "blocks": 8}}, "size 15 is not a multiple of blocks 8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        resolve_settings("retino", "tiny", changes=changes)


def test_it_identifies_pictures_and_finds_fields(planted, trained):
    images = trained.decode(VoxelBatch(torch.from_numpy(planted.test_means))).detach()
    truth = torch.from_numpy(planted.test_images).permute(0, 3, 1, 2).float() / 255
    r = torch.corrcoef(torch.cat([images.flatten(1), truth.flatten(1)]))[:12, 12:]
    assert (r.argmax(dim=1) == torch.arange(12)).float().mean() >= 0.7  # chance 1/12
    own = trained.receptive_fields()
    assert np.median(np.hypot(own.x0_deg - planted.x_deg, own.y0_deg - planted.y_deg)) < 1.0  # permuted voxels: about 5 degrees
    maps = gradient_maps(lambda pictures: trained.encode(pictures).values, input_images(planted.data.images, PRFSettings(), 32), 60)
    both = receptive_fields(maps, PRFSettings(max_spread=1), 12.0, model=own).map
    assert np.median(np.hypot(both.x0_deg - planted.x_deg, both.y0_deg - planted.y_deg)) < 1.0


def test_voxels_with_more_noise_are_less_sure_of_their_fields(planted):
    rng = np.random.default_rng(0)
    noisy = np.arange(60) % 2 == 0
    responses = planted.data.responses + 3 * noisy * rng.standard_normal(planted.data.responses.shape, dtype=np.float32)
    method = make(planted.data, tiny())
    encoder, _ = method.phases(dataclasses.replace(planted.data, responses=responses.astype(np.float32)))
    run_phase(encoder, _context())
    own = method.receptive_fields()
    assert np.median(own.quality[noisy]) < np.quantile(own.quality[~noisy], 0.1)


def test_a_voxel_acts_where_it_looks(planted, trained):
    """The picture changes around the voxel's own field, more than with a map that lets far voxels help."""
    free = train(planted.data, tiny(decoder__linear={"size": 16, "blocks": 8, "averaged_trials": 8, "distance": 0.0}), _context())
    confined = train(planted.data, tiny(), _context())
    share = {}
    for name, method in (("free", free), ("confined", confined)):
        step = torch.eye(60)
        change = (method.decoder.linear_pictures(step) - method.decoder.linear_pictures(0 * step))[:, :3].square().sum(dim=1)
        along = (np.arange(16) + 0.5) / 16 * 12 - 6
        x, y = np.meshgrid(along, -along)
        near = np.hypot(x - planted.x_deg[:, None, None], y - planted.y_deg[:, None, None]) < 3
        share[name] = np.median((change.numpy() * near).sum(axis=(1, 2)) / change.sum(dim=(1, 2)).numpy())
    assert share["confined"] > 0.8 > share["free"] + 0.05


def test_same_seed_same_result(planted):
    first, again = (train(planted.data, tiny(), _context()) for _ in range(2))
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    other = train(planted.data, tiny(), _context(seed=1))
    assert not torch.equal(first.state_dict()["decoder.networks.0.enter.weight"], other.state_dict()["decoder.networks.0.enter.weight"])


def test_several_networks_differ_and_share_the_linear_map(planted):
    method = train(planted.data, tiny(decoder__n_runs=2), _context())
    one, two = method.decoder.networks
    assert not torch.equal(one.enter.weight, two.enter.weight)
    alone = train(planted.data, tiny(), _context())
    assert torch.equal(alone.decoder.pictures, method.decoder.pictures)
    assert torch.equal(alone.decoder.networks[0].enter.weight, one.enter.weight)


def test_pairs_alone_make_a_decoder_that_no_test_response_reached(planted):
    settings = tiny(weight_pairs=1, weight_images=0, weight_fmri=0, snr_source="none")
    method = train(dataclasses.replace(planted.data, unpaired=None, repeats=None), settings, _context())
    assert method.info.transductive == ()
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means)))
    assert images.shape == (12, 3, 32, 32) and 0 <= images.min() <= images.max() <= 1


def test_without_other_images_the_training_images_serve(planted):
    method = train(dataclasses.replace(planted.data, unpaired=None), tiny(), _context())
    again = train(dataclasses.replace(planted.data, unpaired=planted.data.images), tiny(), _context())
    assert torch.equal(method.decoder.pictures, again.decoder.pictures)
    assert method.decoder.pictures.abs().max() > 0


def test_a_pairs_picture_is_made_without_its_group(planted):
    settings = tiny(weight_pairs=1, weight_images=0, weight_fmri=0, snr_source="none")
    data = planted.data
    method = make(data, settings)
    encoder, *_ = method.phases(data)
    run_phase(encoder, _context())

    def pictures(of):
        phase = LocalDecoderPhase(method, of)
        phase.prepare(_context())
        return phase.cross_fitted

    changed = data.images.copy()
    group = data.groups[data.image_index[0]]
    changed[data.groups == group] = 255 - changed[data.groups == group]
    before, after = pictures(data), pictures(dataclasses.replace(data, images=changed))
    own = data.groups[data.image_index] == group
    assert torch.allclose(before[own], after[own], atol=1e-5)
    assert not torch.allclose(before[~own], after[~own], atol=1e-3)


def test_uses_of_test_responses_are_named(trained):
    assert trained.info.transductive == ("test responses without images", "SNR weights")


def test_the_kept_network_is_the_running_average(planted):
    method = make(planted.data, tiny())
    encoder, decoder = method.phases(planted.data)
    run_phase(encoder, _context())
    seen = []
    after_step = decoder.after_step

    def watch(step):
        seen.append(decoder.network.enter.weight.detach().clone())
        after_step(step)

    decoder.after_step = watch
    start = None
    initialise = decoder.initialise

    def remember(context):
        nonlocal start
        initialise(context)
        start = decoder.network.enter.weight.detach().clone()

    decoder.initialise = remember
    run_phase(decoder, _context())
    expected = start
    for step, weight in enumerate(seen):
        decay = min(0.98, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * weight
    assert torch.allclose(method.decoder.networks[0].enter.weight, expected, atol=1e-6)


def _context(seed=0):
    from brain2pix.events import CancelToken, ignore
    from brain2pix.methods.base import TrainingContext

    return TrainingContext(torch.device("cpu"), seed, ignore, CancelToken())
