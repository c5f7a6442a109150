"""Beliy et al.: each loss by a second formula, what training leaves alone, and the whole on planted fields."""

import dataclasses

import numpy as np
import pytest
import torch

from brain2pix.arrays import SubjectInfo, VoxelBatch
from brain2pix.config.base import preset_names
from brain2pix.config.beliy import BeliySettings
from brain2pix.errors import ConfigError, NotSupportedError
from brain2pix.events import Metric
from brain2pix.methods._beliy_phases import BeliyDecoderPhase, BeliyEncoderPhase
from brain2pix.methods.beliy import Beliy
from brain2pix.methods.registry import make_method, resolve_settings

QUICK = {
    "encoder.n_steps": 6,
    "encoder.check_every": 3,
    "decoder.n_steps": 4,
    "backbone.name": "random",
    "image_loss.backbone.name": "random",
}


def settings(**changes):
    return resolve_settings("beliy", "tiny", changes=QUICK | {key.replace("__", "."): value for key, value in changes.items()})


def make(data, options):
    torch.manual_seed(0)
    return make_method("beliy", options, [data.subject], data.image_size)


def run_phase(phase, context):
    phase.prepare(context)
    phase.initialise(context)
    optimizer = phase.optimizer()
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(phase.n_steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * phase.learning_rate(step)
        optimizer.zero_grad()
        phase.loss(step)["total"].backward()
        optimizer.step()
        phase.after_step(step)
    phase.finish(context)


def train(data, options, context):
    method = make(data, options)
    for phase in method.phases(data):
        run_phase(phase, context)
    return method


def ready(phase, context):
    phase.prepare(context)
    phase.initialise(context)
    return phase


def test_every_preset_resolves():
    assert set(preset_names("beliy")) == {"tiny", "demo", "preview", "released", "paper"}
    for preset in preset_names("beliy"):
        assert isinstance(resolve_settings("beliy", preset), BeliySettings)


def test_published_sizes_at_4500_voxels():
    info = SubjectInfo("sub-01", np.arange(4500), "hash", "z-train", 12.0, False)
    with torch.device("meta"):
        method = make_method("beliy", resolve_settings("beliy", "released"), [info], 112)
    assert sum(parameter.numel() for parameter in method.encoder.parameters()) == 28_256_468
    assert sum(parameter.numel() for parameter in method.decoder.parameters()) == 56_573_443


def test_nothing_to_learn_is_refused():
    with pytest.raises(ConfigError, match="at least one of weight_pairs"):
        settings(weight_pairs=0, weight_images=0, weight_fmri=0)


def test_training_decodes_and_predicts(planted, context):
    steps = {"encoder__n_steps": 100, "encoder__check_every": 10, "decoder__n_steps": 120}
    method = train(planted.data, settings(backbone__name="tiny", image_loss__backbone__name="tiny", **steps), context)
    held_out = [event.value for event in context.events if isinstance(event, Metric) and event.name == "held-out loss"]
    assert min(held_out) < held_out[0]
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means))).detach()
    truth = torch.from_numpy(planted.test_images).permute(0, 3, 1, 2).float() / 255
    r = torch.corrcoef(torch.cat([images.flatten(1), truth.flatten(1)]))[:12, 12:]
    assert (r.argmax(dim=1) == torch.arange(12)).float().mean() >= 0.4  # chance 1/12
    predicted, measured = method.encode(truth).values.detach().numpy(), planted.test_means
    assert np.median([np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, measured.T, strict=True)]) > 0.3  # of unseen pictures
    assert method.info.transductive == ("test responses without images", "SNR weights")


def test_encoder_loss_is_alpha_times_error_minus_the_rest_times_cosine(planted, context):
    method = make(planted.data, settings(encoder__dropout=0, encoder__shift_px=0, encoder__cached_copies=0))
    phase = ready(BeliyEncoderPhase(method, planted.data), context)
    rows = phase.train_rows[phase.epochs.rows(0)]
    terms = phase.loss(0)
    images = torch.from_numpy(planted.data.images[rows]).permute(0, 3, 1, 2) / 255
    predicted = method.encoder.train()(method.features(images)).detach().double().numpy()
    measured = planted.data.responses[rows].astype(np.float64)
    lengths = np.linalg.norm(predicted, axis=1) * np.linalg.norm(measured, axis=1)
    cosine = np.mean((predicted * measured).sum(axis=1) / lengths)
    assert terms["fit"].item() == pytest.approx(0.9 * np.mean((predicted - measured) ** 2) - 0.1 * cosine, rel=1e-4)
    assert torch.isclose(terms["total"], terms["fit"] + terms["penalty"])


def test_encoder_penalty_by_loops(planted, context):
    options = settings(encoder__conv_l1=0.5, encoder__conv_l2=0.25, encoder__linear_l1=10, encoder__linear_group=800)
    phase = ready(BeliyEncoderPhase(make(planted.data, options), planted.data), context)
    weights = [weight.detach().double().numpy() for weight in phase.encoder.convolution_weights()]
    expected = sum(0.5 * np.abs(weight).sum() + 0.25 * (weight**2).sum() for weight in weights)
    grid = phase.encoder.linear_weight().detach().double().numpy()  # [c h w v]
    power = np.pad(grid**2, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    around = (power[:, :-2, 1:-1] + power[:, 2:, 1:-1] + power[:, 1:-1, :-2] + power[:, 1:-1, 2:]) / 4
    blended = (grid**2 + 0.5 * around) / 1.5
    expected += 10 * np.abs(grid).mean() + 800 * np.sqrt(blended.mean(axis=0)).mean()
    assert phase._penalty().item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("power", [1, 2])
def test_image_loss_by_a_second_formula(planted, context, power):
    method = make(planted.data, settings(image_loss__power=power))
    phase = ready(BeliyDecoderPhase(method, planted.data), context)
    rng = np.random.default_rng(0)
    made, wanted = (torch.from_numpy(rng.random((2, 3, 32, 32), dtype=np.float32)) for _ in range(2))
    network = method.perceptual_network
    training = torch.from_numpy(planted.data.images).permute(0, 3, 1, 2) / 255
    a, b = made.double().numpy(), wanted.double().numpy()
    scale = np.abs(training.double().numpy()).mean(axis=(0, 2, 3))
    expected = 0.15 * np.mean(np.abs(a - b) / scale[:, None, None])
    dx, dy = a[:, :, :-1, 1:] - a[:, :, :-1, :-1], a[:, :, 1:, :-1] - a[:, :, :-1, :-1]
    expected += np.mean((dx**2 + dy**2) ** 1.25)
    for weight, tap in ((0.70, 3), (0.15, 8)):
        size, found, target = (network(each, (tap,))[0].double().numpy() for each in (training, made, wanted))
        expected += weight * np.mean(np.abs((found - target) / np.abs(size).mean(axis=(0, 2, 3))[:, None, None]) ** power)
    assert phase._image_loss(made, wanted).item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_on_responses_is_that_of_the_program(planted, context):
    method = make(planted.data, settings(weight_pairs=0, weight_images=0))
    phase = ready(BeliyDecoderPhase(method, planted.data), context)
    drawn, _ = phase.sampler.draw(0)
    terms = phase.loss(0)
    made = phase.decoder.train()(torch.from_numpy(drawn))
    predicted = method.encode(made).values.detach().double().numpy()
    snr = phase.snr.double().numpy()
    cosine = (predicted * drawn).sum(axis=1) / np.linalg.norm(predicted, axis=1) / np.linalg.norm(drawn, axis=1)
    # the program subtracts 0.1 cosine; 0.1 is added so that a perfect prediction costs nothing
    assert terms["fmri"].item() == pytest.approx(np.mean(snr * np.abs(predicted - drawn)) - 0.1 * cosine.mean() + 0.1, rel=1e-4)


def test_phase_two_leaves_the_encoder_alone(planted, context):
    method = make(planted.data, settings())
    run_phase(BeliyEncoderPhase(method, planted.data), context)
    before = {key: value.clone() for key, value in method.encoder.state_dict().items()}
    run_phase(BeliyDecoderPhase(method, planted.data), context)
    assert all(torch.equal(before[key], value) for key, value in method.encoder.state_dict().items())
    frozen = [*method.encoder.parameters(), *method.backbone.parameters(), *method.perceptual_network.parameters()]
    assert all(parameter.grad is None for parameter in frozen)


@pytest.mark.parametrize("loss", ["pairs", "images", "fmri"])
def test_each_loss_alone_moves_the_decoder(planted, context, loss):
    weights = {f"weight_{name}": float(name == loss) for name in ("pairs", "images", "fmri")}
    phase = ready(BeliyDecoderPhase(make(planted.data, settings(**weights)), planted.data), context)
    terms = phase.loss(0)
    assert set(terms) == {loss, f"{loss} weighted", "penalty", "total"}
    (gradient,) = torch.autograd.grad(terms[loss], phase.decoder.fc.weight)
    assert gradient.abs().sum() > 0


def test_the_stochastic_encoder_is_another_loss_and_moves_no_statistics(planted, context):
    made = {}
    for stochastic in (False, True):
        method = make(planted.data, settings(decoder__encoder_stochastic=stochastic, weight_pairs=0, weight_images=0))
        before = {key: value.clone() for key, value in method.encoder.state_dict().items()}
        made[stochastic] = ready(BeliyDecoderPhase(method, planted.data), context).loss(0)["fmri"]
        assert all(torch.equal(before[key], value) for key, value in method.encoder.state_dict().items())
    assert made[False] != made[True]


def test_repeats_are_kept_by_chance(planted, context):
    phase = ready(BeliyDecoderPhase(make(planted.data, settings()), planted.data), context)
    rng = np.random.default_rng(0)
    image = max(phase.sampler.trials, key=lambda image: len(phase.sampler.trials[image]))
    sizes = [len(phase.sampler.subset(image, rng)) for _ in range(4000)]
    n, p = len(phase.sampler.trials[image]), 1 / 3
    expected = n * p / (1 - (1 - p) ** n)  # a binomial that is never 0
    assert min(sizes) >= 1 and np.mean(sizes) == pytest.approx(expected, abs=0.06)


def test_grey_datasets(planted, context):
    grey = planted.data.images.mean(axis=3, keepdims=True).repeat(3, axis=3).astype(np.uint8)
    data = dataclasses.replace(planted.data, images=grey)
    method = train(data, settings(decoder__out_channels=1), context)
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means)))
    assert images.shape == (12, 3, 32, 32) and torch.equal(images[:, 0], images[:, 2])


def test_supervised_training_has_no_encoder(planted, context):
    method = train(planted.data, settings(weight_images=0, weight_fmri=0), context)
    assert method.encoder is None and not method.info.has_encoder and method.info.transductive == ()
    with pytest.raises(NotSupportedError, match="trained on pairs only"):
        method.encode(torch.rand(1, 3, 32, 32))


def test_a_refit_takes_all_pairs_for_the_best_number_of_steps(planted, context):
    method = make(planted.data, settings(encoder__refit=True, decoder__n_steps=0))
    first, again = method.phases(planted.data)
    run_phase(first, context)
    best, quality = int(method.best_step), method.held_out_r.clone()
    again.prepare(context)
    assert len(again.train_rows) == len(planted.data.responses) > len(first.train_rows) and again.n_steps == best
    again.initialise(context)
    again.finish(context)
    assert int(method.best_step) == best and torch.equal(method.held_out_r, quality)


def test_same_seed_same_result(planted, context):
    first, second = (train(planted.data, settings(), context).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert isinstance(make(planted.data, settings()), Beliy)
