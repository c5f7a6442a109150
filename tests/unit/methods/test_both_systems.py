"""gaziv and beliy alike: what phase II leaves alone, what a weight of 0 saves, the papers' losses, weights from training repeats."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cosine

from brain2pix.config.base import resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ConfigError
from brain2pix.methods import _beliy_phases, _decoder_phase
from brain2pix.methods._beliy_phases import BeliyDecoderPhase, BeliyEncoderPhase
from brain2pix.methods._gaziv_decoder import GazivDecoderPhase
from brain2pix.methods._gaziv_encoder import GazivEncoderPhase, readout_penalty
from brain2pix.methods._sampling import RepeatSampler
from brain2pix.methods._self_supervised import SelfSupervised
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.models import FeatureNetwork, ShallowEncoder
from brain2pix.prf import enlarge_maps, gradient_maps, input_images, receptive_fields

SYSTEMS = ("gaziv", "beliy")
LOSSES = ("pairs", "images", "fmri")
ENCODER_PHASES = {"gaziv": GazivEncoderPhase, "beliy": BeliyEncoderPhase}
DECODER_PHASES = {"gaziv": GazivDecoderPhase, "beliy": BeliyDecoderPhase}
UNTRAINED = {"backbone.name": "random", "image_loss.backbone.name": "random"}
QUICK = {"encoder.n_steps": 6, "encoder.check_every": 3, "decoder.n_steps": 4} | UNTRAINED


def make(system, data, **changes):
    torch.manual_seed(0)
    settings = resolve_settings(system, "tiny", changes=QUICK | {key.replace("__", "."): value for key, value in changes.items()})
    return make_method(system, settings, [data.subject], data.image_size)


def second(system, data, context, **changes):
    phase = DECODER_PHASES[system](make(system, data, **changes), data)
    phase.prepare(context)
    phase.initialise(context)
    return phase


def only(*names):
    return {f"weight_{name}": float(name in names) for name in LOSSES}


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


# ---------------------------------------------------------------- phase I


@pytest.mark.parametrize("system", SYSTEMS)
def test_how_well_voxels_are_predicted_is_measured_over_all_held_out_pairs_at_once(planted, context, system, monkeypatch):
    monkeypatch.setattr("brain2pix.methods._encoder_phase._CHUNK", 5)  # not a divisor of their number
    method = make(system, planted.data, encoder__validation_share=0.3)
    phase = next(iter(method.phases(planted.data)))
    assert type(phase) is ENCODER_PHASES[system]
    phase.prepare(context)
    phase.initialise(context)
    optimizer = phase.optimizer()
    for step in range(phase.n_steps):
        optimizer.zero_grad()
        phase.loss(step)["total"].backward()
        optimizer.step()
        phase.after_step(step)
    rows = phase.held_out_rows
    assert not set(planted.data.groups[rows]) & set(planted.data.groups[phase.train_rows])
    phase.finish(context)
    images = torch.from_numpy(planted.data.images[rows]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        predicted = method.encode(images).values.numpy()
    expected = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, planted.data.responses[rows].T, strict=True)]
    # the features that training keeps are rounded to half precision
    np.testing.assert_allclose(method.held_out_r, expected, atol=0.05)


# ---------------------------------------------------------------- phase II


@pytest.mark.parametrize("system", SYSTEMS)
def test_steps_of_phase_two_move_the_decoder_and_nothing_else(planted, context, system):
    phase = second(system, planted.data, context)
    method = phase.method
    frozen = [method.encoder, method.backbone, method.perceptual_network]
    before, decoder = [copied(module) for module in frozen], copied(method.decoder)
    optimizer = phase.optimizer()
    for step in range(3):
        optimizer.zero_grad()
        phase.loss(step)["total"].backward()
        optimizer.step()
        phase.after_step(step)
    for module, state in zip(frozen, before, strict=True):
        after = module.state_dict()
        assert len(state) > 0 and all(torch.equal(value, after[key]) for key, value in state.items())  # parameters and buffers
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in module.parameters())
        assert not any(each.training for each in module.modules())
    moved = {key for key, value in method.decoder.state_dict().items() if not torch.equal(value, decoder[key])}
    assert {name for name, _ in method.decoder.named_parameters()} <= moved


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_alone_gives_every_parameter_of_the_decoder_a_gradient(planted, context, system, loss):
    phase = second(system, planted.data, context, **only(loss), decoder__linear_l1=0, decoder__linear_group=0)
    terms = phase.loss(0)
    assert [name for name in LOSSES if name in terms] == [loss]
    terms[f"{loss} weighted"].backward()
    for name, parameter in phase.decoder.named_parameters():
        if system == "beliy" and name.startswith("blocks") and name.endswith("bias") and not torch.is_nonzero(parameter.grad.abs().sum()):
            continue  # a bias that the ReLU of all its places hides
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.fixture
def calls(monkeypatch):
    """Count what is computed, by name."""
    counted = Counter()

    def count(owner, name, key):
        real = getattr(owner, name)

        def counting(*args, **kwargs):
            counted[key] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(SelfSupervised, "encode", "encode")
    count(FeatureNetwork, "forward", "networks")
    count(RepeatSampler, "draw", "repeats")
    for module in (_decoder_phase, _beliy_phases):
        for name in ("tv", "scaled_l1"):
            count(module, name, name)
    for name in ("perceptual_loss", "snr_l1_cosine"):
        count(_decoder_phase, name, name)
    count(_beliy_phases, "scaled_features", "scaled_features")
    count(_beliy_phases, "decoder_group_lasso", "group lasso")
    return counted


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("off", LOSSES)
def test_a_loss_of_weight_zero_is_not_computed(planted, context, calls, system, off):
    left = [name for name in LOSSES if name != off]
    phase = second(system, planted.data, context, **only(*left))
    looked_ahead = calls["encode"]  # at the images without responses, before the first step
    assert (looked_ahead > 0) == ("images" in left)
    calls.clear()
    terms = phase.loss(0)
    assert set(terms) == {*left, *(f"{name} weighted" for name in left), "penalty", "total"}
    image_losses = len(set(left) & {"pairs", "images"})
    assert calls["encode"] == calls["repeats"] == calls["snr_l1_cosine"] == ("fmri" in left)
    assert calls["tv"] == calls["scaled_l1"] == image_losses
    # targets and reconstructions of an image loss, and the encoder's look at what was made of responses
    assert calls["networks"] == 2 * image_losses + ("fmri" in left)
    terms["total"].backward()
    assert phase.decoder.fc.weight.grad.abs().sum() > 0


FEATURES = {"gaziv": ("image_loss__perceptual", (1.0, 1.0, 1.0, 1.0)), "beliy": ("image_loss__features", (0.7, 0.15))}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("part", ["pixel", "tv", "features"])
def test_a_part_of_the_image_loss_of_weight_zero_is_not_computed(planted, context, calls, system, part):
    key, weights = FEATURES[system]
    change = {key: (0.0,) * len(weights)} if part == "features" else {f"image_loss__{part}": 0.0}
    phase = second(system, planted.data, context, **only("pairs"), **change)
    calls.clear()
    total = phase.loss(0)["pairs"]
    assert total > 0
    assert calls["scaled_l1"] == (part != "pixel") and calls["tv"] == (part != "tv")
    compared = calls["perceptual_loss"] + calls["scaled_features"]
    assert compared == (part != "features") and calls["networks"] == 2 * compared
    if part == "features":
        assert not phase.method._backbones  # not even loaded


@pytest.mark.parametrize("system", SYSTEMS)
def test_blocks_behind_the_last_one_that_counts_are_not_computed(planted, context, system):
    key, weights = FEATURES[system]
    phase = second(system, planted.data, context, **only("pairs"), **{key: (weights[0], *[0.0] * (len(weights) - 1))})
    network = phase.method.perceptual_network
    seen = []
    for number, layer in enumerate(network.features):
        layer.register_forward_hook(lambda *_, number=number: seen.append(number))
    assert phase.loss(0)["pairs"] > 0
    assert max(seen) == (network.perceptual_taps if system == "gaziv" else network.encoder_taps)[0]


def test_penalties_of_weight_zero_are_not_computed(planted, context, calls):
    off = {"linear_l1": 0.0, "linear_group": 0.0, "conv_l1": 0.0}
    changes = {f"{network}__{name}": value for network in ("encoder", "decoder") for name, value in off.items()}
    method = make("beliy", planted.data, **changes, encoder__conv_l2=0.0)
    for kind in (BeliyEncoderPhase, BeliyDecoderPhase):
        phase = kind(method, planted.data)
        phase.prepare(context)
        phase.initialise(context)
        terms = phase.loss(0)
        assert terms["penalty"] == 0 and terms["total"] > 0
    assert calls["group lasso"] == 0


# ---------------------------------------------------------------- the papers' loss on responses


def papers_loss(predicted, measured, alpha):
    """Equation 1 of both papers."""
    a, b = predicted.detach().double().numpy(), measured.double().numpy()
    angle = np.mean([1 - cosine(x, y) for x, y in zip(a, b, strict=True)])
    return alpha * np.mean((a - b) ** 2) - (1 - alpha) * angle


def test_the_encoder_of_gaziv_may_learn_with_the_papers_loss(planted, context):
    phase = GazivEncoderPhase(make("gaziv", planted.data, encoder__alpha=0.7, encoder__solve_every=0), planted.data)
    phase.prepare(context)
    predicted, measured = torch.randn(5, 60), torch.randn(5, 60)
    assert phase._fit(predicted, measured).item() == pytest.approx(papers_loss(predicted, measured, 0.7), rel=1e-5)
    assert phase._fit(measured, measured) < phase._fit(measured + 0.01 * predicted, measured)


@pytest.mark.parametrize("system", SYSTEMS)
def test_unpaired_responses_may_be_compared_with_the_papers_loss(planted, context, system):
    phase = second(system, planted.data, context, **only("fmri"), repeats__alpha=0.7)
    drawn, _ = phase.sampler.draw(0)
    measured = torch.from_numpy(drawn)
    found = phase.loss(0)["fmri"]
    predicted = phase.method.encode(phase.decoder.train()(measured)).values
    # the papers subtract the cosine: a constant is added, so that a perfect prediction costs nothing and sizes can be balanced
    assert found.item() == pytest.approx(papers_loss(predicted, measured, 0.7) + 0.3, rel=1e-4)
    assert phase._response_loss(torch.rand(3, 3, 32, 32), torch.randn(3, 60), 0) > 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_papers_losses_are_balanced_by_their_sizes(planted, context, system):
    weights = {"weight_pairs": 1, "weight_images": 1, "weight_fmri": 1}
    phase = second(system, planted.data, context, balance="equalise", repeats__alpha=0.9, snr_source="none", **weights)
    terms = phase.loss(0)
    assert [terms[f"{name} weighted"].item() for name in LOSSES] == pytest.approx([1, 1, 1])


# ---------------------------------------------------------------- SNR weights from training repeats


@pytest.fixture
def repeated(planted):
    """Each of 24 training images shown four times; half of the voxels follow the image, the others do not."""
    rng = np.random.default_rng(3)
    index = np.repeat(np.arange(24), 4)
    signal = rng.standard_normal((24, 60)) * (np.arange(60) < 30)
    responses = signal[index] + 0.5 * rng.standard_normal((96, 60))
    return dataclasses.replace(planted.data, responses=responses.astype(np.float32), image_index=index)


@pytest.mark.parametrize("system", SYSTEMS)
def test_snr_weights_may_come_from_training_repeats(repeated, context, system):
    phase = second(system, repeated, context, snr_source="train_repeats")
    trials = repeated.responses.reshape(24, 4, 60).astype(np.float64)
    ratio = trials.mean(axis=1).var(axis=0, ddof=1) / trials.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(phase.snr.numpy(), ratio / ratio.mean(), rtol=1e-4)
    assert phase.snr[:30].min() > phase.snr[30:].max()
    assert phase.method.info.transductive == ("test responses without images",)
    inductive = second(system, dataclasses.replace(repeated, repeats=None), context, snr_source="train_repeats", weight_fmri=0)
    assert torch.equal(inductive.snr, phase.snr) and inductive.method.info.transductive == ()


@pytest.mark.parametrize("system", SYSTEMS)
def test_training_images_shown_once_give_no_snr_weights(planted, context, system):
    with pytest.raises(ConfigError, match=r"need two images and repeats .* got 96 images with at most 1 trials; set snr_source"):
        second(system, planted.data, context, snr_source="train_repeats")


# ---------------------------------------------------------------- penalties of gaziv's read-out


def test_penalties_of_the_readout_by_a_second_formula(planted):
    names = ("conv_l1", "locality", "space_l1", "neighbour", "space_tv", "mix_l1", "mix_l2", "branch_l1")
    encoder = make("gaziv", planted.data).encoder
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    four = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    sums = dict.fromkeys(names, 0.0)
    for branch in range(4):  # two maps, each read by two branches: each counts twice
        sums["conv_l1"] += encoder.branches[branch].conv.weight.abs().sum().item()
        for one in encoder.space_of(branch).detach().double().numpy():
            y, x = np.mgrid[: len(one), : len(one)]
            middle = ndimage.center_of_mass(one**2)
            sums["locality"] += (one**2 * ((y - middle[0]) ** 2 + (x - middle[1]) ** 2)).sum() / (2 * len(one)) / 60
            sums["space_l1"] += np.abs(one).sum() / 60
            sums["neighbour"] += np.sqrt(ndimage.correlate(one**2, four, mode="mirror")).sum() / 60
            sums["space_tv"] += (np.abs(np.diff(one, axis=0)).sum() + np.abs(np.diff(one, axis=1)).sum()) / 60
        sums["mix_l1"] += encoder.channel_mix[branch].abs().sum().item() / 60
        sums["mix_l2"] += encoder.channel_mix[branch].square().sum().item() / 60
    sums["branch_l1"] = encoder.branch_mix.abs().sum().item() / 60
    assert len(encoder.space) == 2
    off = resolve_settings("gaziv", "tiny").encoder.penalties.with_changes(dict.fromkeys(names, 0.0))
    for name, expected in sums.items():
        assert readout_penalty(encoder, off.with_changes({name: 0.5})).item() == pytest.approx(0.5 * expected, rel=1e-4), name
    assert readout_penalty(encoder, off) == 0
    together = readout_penalty(encoder, off.with_changes(dict.fromkeys(names, 0.1))).item()
    assert together == pytest.approx(0.1 * sum(sums.values()), rel=1e-4)


def test_the_penalty_on_branch_weights_does_not_drown_the_responses(planted, context):
    """As a sum over voxels, as published, it would: the misfit is a mean over 4,500 of them."""
    penalties = resolve_settings("gaziv", "released").encoder.penalties.model_dump()
    changes = {f"encoder__penalties__{name}": value for name, value in penalties.items()}
    phase = GazivEncoderPhase(make("gaziv", planted.data, start="glorot", encoder__solve_every=0, **changes), planted.data)
    phase.prepare(context)
    phase.initialise(context)
    mix = phase.encoder.branch_mix
    terms = phase.loss(0)
    (of_misfit,) = torch.autograd.grad(terms["fit"], mix, retain_graph=True)
    (of_penalty,) = torch.autograd.grad(terms["penalty"], mix)
    torch.testing.assert_close(of_penalty, torch.full_like(mix, 0.05 / 60))
    of_a_voxel = 60 * of_misfit.abs().median().item()
    assert 0.05 < of_a_voxel < 4500 * 0.05


# ---------------------------------------------------------------- receptive fields


def test_a_diffuse_voxel_of_gaziv_is_flagged_and_a_pointed_one_is_not(planted):
    data = dataclasses.replace(planted.data, images=np.zeros((96, 64, 64, 3), np.uint8))
    method = make("gaziv", data)
    with torch.no_grad():
        for space in method.encoder.space:
            space.zero_()
            space[::2, space.shape[1] // 3, space.shape[1] // 2] = 1
            space[1::2] = 1
    method.freeze_encoder()
    options = resolve(PRFSettings, "prf", "paper")
    maps = gradient_maps(lambda pictures: method.encode(pictures).values, input_images(None, options, 64), 60)
    fields = receptive_fields(maps, options, 12.0)
    assert fields.confined[::2].all() and not fields.confined[1::2].any()
    assert fields.discarded == 0.5 and np.isnan(fields.map.x0_deg[1::2]).all()


def test_planted_weights_of_beliys_encoder_are_found_within_a_cell(planted):
    data = dataclasses.replace(planted.data, images=np.zeros((96, 64, 64, 3), np.uint8))
    method = make("beliy", data)
    assert isinstance(method.encoder, ShallowEncoder) and method.encoder.grid == 8
    places = [(voxel // 8 % 6 + 1, voxel % 6 + 1) for voxel in range(60)]
    with torch.no_grad():
        method.encoder.fc.weight.zero_()
        for voxel, (y, x) in enumerate(places):
            method.encoder.linear_weight()[:, y, x, voxel] = torch.randn(method.encoder.settings.channels)
    method.freeze_encoder()
    options = PRFSettings(n_images=2, inputs="noise", max_spread=1, power=1)
    maps = gradient_maps(lambda pictures: method.encode(pictures).values, input_images(None, options, 64), 60)
    for found in (maps, enlarge_maps(method.weight_maps("encoder").numpy(), 64)):
        fields = receptive_fields(found, options, 12.0).map
        for voxel, (y, x) in enumerate(places):
            assert abs(fields.x0_deg[voxel] - ((x + 0.5) * 8 - 32) * 12 / 64) < 8 * 12 / 64
            assert abs(fields.y0_deg[voxel] - (32 - (y + 0.5) * 8) * 12 / 64) < 8 * 12 / 64


def test_weight_maps_of_gazivs_encoder_are_sums_written_out(planted):
    method = make("gaziv", planted.data)
    encoder = method.encoder
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    found = method.weight_maps("encoder")
    assert found.shape == (60, 8, 8)
    for voxel in (0, 17):
        expected = np.zeros((8, 8))
        for branch, grid in enumerate((8, 8, 4, 4)):
            strength = abs(encoder.branch_mix[voxel, branch].item()) * encoder.channel_mix[branch][voxel].square().sum().item()
            space = encoder.space_of(branch)[voxel].detach().double().numpy()
            for y in range(grid - 2):
                for x in range(grid - 2):
                    times = 8 // grid
                    block = np.s_[(y + 1) * times : (y + 2) * times, (x + 1) * times : (x + 2) * times]
                    expected[block] += strength * space[y, x] ** 2 / times**2
        np.testing.assert_allclose(found[voxel], expected, rtol=1e-4)


@pytest.mark.parametrize("system", SYSTEMS)
def test_weight_maps_of_the_decoder_are_those_of_its_linear_layer(planted, system):
    method = make(system, planted.data)
    weight = method.decoder.start_weight().detach().numpy()
    np.testing.assert_allclose(method.weight_maps("decoder"), np.moveaxis(np.abs(weight).max(axis=0) ** 2, -1, 0), rtol=1e-5)
    supervised = make(system, planted.data, weight_images=0, weight_fmri=0)
    assert supervised.weight_maps("encoder") is None and supervised.weight_maps("decoder") is not None
