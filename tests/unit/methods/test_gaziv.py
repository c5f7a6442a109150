import copy
import dataclasses

import numpy as np
import pytest
import torch

from brain2pix.arrays import SubjectInfo, VoxelBatch
from brain2pix.config.base import preset_names
from brain2pix.config.methods import GazivSettings
from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, NotSupportedError, ShapeError
from brain2pix.events import Cancelled, Metric
from brain2pix.losses import mse_cosine
from brain2pix.methods import predict_responses, unpaired_as_pairs
from brain2pix.methods._gaziv_decoder import GazivDecoderPhase
from brain2pix.methods._gaziv_encoder import GazivEncoderPhase, GazivRefit
from brain2pix.methods.gaziv import Gaziv
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.prf import gradient_maps, input_images, receptive_fields

LOSSES = ("pairs", "images", "fmri")


def tiny(**changes):
    quick = {"encoder.n_steps": 6, "encoder.check_every": 3, "encoder.solve_every": 3, "decoder.n_steps": 4}
    untrained = {"backbone.name": "random", "image_loss.backbone.name": "random"}
    given = {key.replace("__", "."): value for key, value in changes.items()}
    return resolve_settings("gaziv", "tiny", changes=quick | untrained | given)


def make(data, settings):
    torch.manual_seed(0)
    return make_method("gaziv", settings, [data.subject], data.image_size)


def run_phase(phase, context, n_steps=None):
    """Walk through a phase as the engine does."""
    phase.prepare(context)
    phase.initialise(context)
    steps = phase.n_steps if n_steps is None else n_steps
    if steps:
        optimizer = phase.optimizer()
        rates = [group["lr"] for group in optimizer.param_groups]
        for step in range(steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * phase.learning_rate(step)
            optimizer.zero_grad()
            phase.loss(step)["total"].backward()
            optimizer.step()
            phase.after_step(step)
    phase.finish(context)


def train(data, settings, context):
    method = make(data, settings)
    for phase in method.phases(data):
        run_phase(phase, context)
    return method


@pytest.fixture(scope="module")
def trained(planted):
    from brain2pix.events import CancelToken, ignore
    from brain2pix.methods.base import TrainingContext

    return train(planted.data, tiny(), TrainingContext(torch.device("cpu"), 0, ignore, CancelToken()))


def decoder_phase(method, data, context):
    phase = GazivDecoderPhase(method, data)
    phase.prepare(context)
    return phase


# ---------------------------------------------------------------- settings and sizes


def test_every_preset_resolves():
    assert {"tiny", "demo", "preview", "released", "paper"} <= set(preset_names("gaziv"))
    for preset in preset_names("gaziv"):
        assert isinstance(resolve_settings("gaziv", preset), GazivSettings)


# the paper has a space map for each branch, and 3x3 instead of 1x1 in the last one
@pytest.mark.parametrize(("preset", "encoder_size"), [("released", 9_057_712), ("paper", 12_747_712 + 512 * 32 * 8)])
def test_published_sizes_at_4500_voxels(preset, encoder_size):
    info = SubjectInfo("sub-01", np.arange(4500), "hash", "z-train", 12.0, False)
    with torch.device("meta"):
        method = make_method("gaziv", resolve_settings("gaziv", preset), [info], 112)
    assert sum(parameter.numel() for parameter in method.decoder.parameters()) == 56_773_123
    assert sum(parameter.numel() for parameter in method.encoder.parameters()) == encoder_size


def test_nothing_to_learn_is_refused():
    with pytest.raises(ConfigError, match="at least one of weight_pairs"):
        resolve_settings("gaziv", "tiny", changes={"weight_pairs": 0, "weight_images": 0, "weight_fmri": 0})


# ---------------------------------------------------------------- the whole


def test_tiny_training_decodes_and_finds_fields(planted, context):
    method = train(planted.data, resolve_settings("gaziv", "tiny"), context)
    held_out = [event.value for event in context.events if isinstance(event, Metric) and event.name == "held-out loss"]
    assert held_out[-1] < held_out[0]
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means))).detach()
    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.float32 and 0 <= images.min() <= images.max() <= 1
    truth = torch.from_numpy(planted.test_images).permute(0, 3, 1, 2).float() / 255
    r = torch.corrcoef(torch.cat([images.flatten(1), truth.flatten(1)]))[:12, 12:]
    assert (r.argmax(dim=1) == torch.arange(12)).float().mean() >= 0.4  # chance 1/12
    maps = gradient_maps(lambda pictures: method.encode(pictures).values, input_images(planted.data.images, PRFSettings(), 32), 60)
    fields = receptive_fields(maps, PRFSettings(max_spread=1), 12.0, quality=method.held_out_quality())
    error = np.hypot(fields.map.x0_deg - planted.x_deg, fields.map.y0_deg - planted.y_deg)
    assert np.median(error) < 1.5  # permuted voxels: about 5 degrees
    assert method.info.transductive == ("test responses without images", "SNR weights")


def test_same_seed_same_result(planted, context, trained):
    again = train(planted.data, tiny(), context)
    for key, value in trained.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    other = train(planted.data, tiny(), dataclasses.replace(context, seed=1))
    assert not torch.equal(trained.state_dict()["decoder.fc.weight"], other.state_dict()["decoder.fc.weight"])


def test_state_round_trip(planted, trained):
    again = make(planted.data, tiny())
    again.load_state_dict({key: value.clone() for key, value in trained.state_dict().items()})
    batch = VoxelBatch(torch.from_numpy(planted.test_means))
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(trained.decode(batch), again.decode(batch))
    assert torch.equal(trained.encode(pictures).values, again.encode(pictures).values)
    assert again.info == trained.info
    np.testing.assert_array_equal(again.held_out_quality(), trained.held_out_quality())


def test_other_backbone_weights_are_refused(planted, trained):
    other = make(planted.data, tiny(**{"backbone.seed": 1}))
    other.load_state_dict(trained.state_dict())
    with pytest.raises(DataFormatError, match="not those this model was trained with"):
        other.encode(torch.rand(1, 3, 32, 32))


def test_state_of_other_settings_is_refused(planted, trained):
    with pytest.raises(DataFormatError, match=r"unknown backbone, best_step"):
        make(planted.data, tiny(weight_images=0, weight_fmri=0)).load_state_dict(trained.state_dict())


def test_encode_reaches_the_pixels_and_refuses_other_sizes(trained):
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    batch = trained.encode(pictures)
    batch.values.sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert batch.n_voxels == 60 and batch.subjects == ("sub-01", "sub-01")
    with pytest.raises(ShapeError, match=r"reads images \[b 3 32 32\]"):
        trained.encode(torch.rand(1, 3, 64, 64))


# ---------------------------------------------------------------- phase I


def test_closed_form_start_predicts_before_any_step(planted, context):
    method = train(planted.data, tiny(encoder__n_steps=0, decoder__n_steps=0), context)
    assert float(method.held_out_r.median()) > 0.4
    shuffled = dataclasses.replace(planted.data, image_index=np.random.default_rng(0).permutation(96))
    null = train(shuffled, tiny(encoder__n_steps=0, decoder__n_steps=0), context)
    assert abs(float(null.held_out_r.median())) < 0.2


def test_solved_readout_leaves_gradients_to_the_convolutions(planted, context):
    method = make(planted.data, tiny(decoder__n_steps=0))
    phase = GazivEncoderPhase(method, planted.data)
    phase.prepare(context)
    phase.initialise(context)
    before = {key: value.clone() for key, value in method.encoder.state_dict().items()}
    optimizer = phase.optimizer()
    terms = phase.loss(0)
    terms["total"].backward()
    optimizer.step()
    changed = {key for key, value in method.encoder.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"branches.{k}.conv.{name}" for k in range(4) for name in ("weight", "bias")}
    # the fixed linear map is the encoder: the same loss through the whole network, with its statistics as they are
    method.encoder.load_state_dict(before)
    method.encoder.eval()
    rows = phase.train_rows[phase.epochs.rows(0)]
    predicted = method.encoder(phase.features.batch(planted.data.image_index[rows], 0))
    torch.testing.assert_close(terms["fit"], mse_cosine(predicted, phase.responses[torch.from_numpy(rows)], 0.3), rtol=1e-4, atol=1e-5)


def test_encoder_only(planted, context):
    method = make(planted.data, tiny(decoder__n_steps=0))
    assert [phase.name for phase in method.phases(planted.data)] == ["encoder"]


def test_best_step_is_kept_when_training_destroys_the_encoder(planted, context):
    settings = tiny(
        encoder__learning_rate=3.0, encoder__n_steps=9, decoder__n_steps=0, encoder__validation_share=0.2, encoder__solve_every=0
    )
    method = make(planted.data, settings)
    phase = next(method.phases(planted.data))
    run_phase(phase, context)
    losses = {event.step: event.value for event in context.events if isinstance(event, Metric) and event.name == "held-out loss"}
    assert list(losses) == [3, 6, 9]
    assert int(method.best_step) == min(losses, key=losses.get)
    assert method.training_state == {}


def test_refit_runs_on_everything_for_the_best_number_of_steps(planted, context):
    method = make(planted.data, tiny(encoder__refit=True, decoder__n_steps=0))
    search, refit = method.phases(planted.data)
    assert type(search) is GazivEncoderPhase and type(refit) is GazivRefit
    run_phase(search, context)
    assert len(search.train_rows) < 96 and refit.n_steps == int(method.best_step) > 0
    measured = method.held_out_r.clone()
    run_phase(refit, context)
    assert len(refit.train_rows) == 96
    assert torch.equal(method.held_out_r, measured)


def test_without_hold_out_the_last_step_counts(planted, context):
    one_group = dataclasses.replace(planted.data, groups=np.zeros(96, dtype=np.int64))
    method = train(one_group, tiny(encoder__validation_share=0, decoder__n_steps=0), context)
    assert int(method.best_step) == 6 and method.held_out_quality() is None
    with pytest.raises(ConfigError, match=r"at least 2 groups.*set encoder.validation_share to 0"):
        train(one_group, tiny(decoder__n_steps=0), context)


@pytest.mark.parametrize("copies", [0, 1, 3])
def test_cached_features_are_the_features(planted, context, copies):
    settings = tiny(**{"encoder.cached_copies": copies, "encoder.half_precision_cache": False, "encoder.shift_px": 0})
    method = make(planted.data, settings)
    phase = GazivEncoderPhase(method, planted.data)
    phase.prepare(context)
    index = np.array([5, 90, 5, 17])
    pictures = torch.from_numpy(planted.data.images[index]).permute(0, 3, 1, 2).float() / 255
    for found in (phase.features.batch(index, 3), phase.features.plain(index)):
        for tap, expected in zip(found, method.encoder.compact(method.backbone(pictures)), strict=True):
            torch.testing.assert_close(tap, expected, rtol=1e-4, atol=1e-5)


def test_published_start_and_penalties_train(planted, context):
    penalties = dict.fromkeys(("conv_l1", "locality", "space_l1", "neighbour", "space_tv", "mix_l1", "mix_l2", "branch_l1"), 0.001)
    settings = tiny(
        start="glorot",
        encoder__solve_every=0,
        **{"encoder.penalties": penalties, "encoder.dropout_on": "stack", "encoder.freeze_norms": False, "encoder.input_affine": True},
        **{"decoder.conv_l1": 1e-4, "decoder.linear_l1": 4.0, "decoder.linear_group": 40.0, "decoder.linear_l2": 1e-6},
    )
    method = train(planted.data, settings, context)
    penalty = [event.value for event in context.events if isinstance(event, Metric)]
    assert np.isfinite(penalty).all() and torch.isfinite(method.decoder.fc.weight).all()


def test_interrupted_training_goes_on_to_the_same_result(planted, context):
    def steps(phase, optimizer, start, stop):
        for step in range(start, stop):
            optimizer.zero_grad()
            phase.loss(step)["total"].backward()
            optimizer.step()
            phase.after_step(step)

    results = []
    for interrupted in (False, True):
        method = make(planted.data, tiny())
        for make_phase in (GazivEncoderPhase, GazivDecoderPhase):
            phase = make_phase(method, planted.data)
            phase.prepare(context)
            phase.initialise(context)
            optimizer = phase.optimizer()
            steps(phase, optimizer, 0, 4)
            if interrupted:
                saved = {key: value.clone() for key, value in method.state_dict().items()}
                moments = copy.deepcopy(optimizer.state_dict()["state"])
                method = make(planted.data, tiny())
                method.load_state_dict(saved)
                phase = make_phase(method, planted.data)
                phase.prepare(context)
                optimizer = phase.optimizer()
                optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
            steps(phase, optimizer, 4, 7)
            phase.finish(context)
        results.append(method.state_dict())
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key


def test_cancel_stops_the_closed_form_work(planted, context):
    method = make(planted.data, tiny())
    phase = next(method.phases(planted.data))
    phase.prepare(context)
    context.cancel.cancel()
    with pytest.raises(Cancelled):
        phase.initialise(context)


# ---------------------------------------------------------------- phase II


def test_a_decoder_step_leaves_encoder_and_backbones_alone(planted, context, trained):
    phase = decoder_phase(trained, planted.data, context)
    frozen = [trained.encoder, trained.backbone, trained.perceptual_network]
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in frozen]
    optimizer = phase.optimizer()
    phase.loss(0)["total"].backward()
    optimizer.step()
    for module, state in zip(frozen, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in module.parameters())
        assert not module.training


@pytest.mark.parametrize("only", LOSSES)
def test_each_loss_alone_reaches_the_decoder(planted, context, only):
    weights = {f"weight_{name}": float(name == only) for name in LOSSES}
    method = make(planted.data, tiny(**weights))
    phase = decoder_phase(method, planted.data, context)
    terms = phase.loss(0)
    assert [name for name in LOSSES if name in terms] == [only]
    terms["total"].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.decoder.parameters())


def test_a_weight_of_zero_skips_the_computation(planted, context, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("must not be computed")

    monkeypatch.setattr(Gaziv, "encode", refuse)
    method = make(planted.data, tiny(weight_images=0, weight_fmri=0))
    terms = decoder_phase(method, planted.data, context).loss(0)
    assert set(terms) == {"pairs", "pairs weighted", "penalty", "total"}
    monkeypatch.setattr(Gaziv, "perceptual_network", property(refuse))
    plain = make(planted.data, tiny(weight_images=0, weight_fmri=0, **{"image_loss.perceptual": (0.0, 0.0)}))
    assert decoder_phase(plain, planted.data, context).loss(0)["total"] > 0


def test_supervised_training_has_no_encoder(planted, context):
    method = train(planted.data, tiny(weight_images=0, weight_fmri=0), context)
    assert method.encoder is None and not method.info.has_encoder and method.info.transductive == ()
    assert not any(key.startswith("encoder.") for key in method.state_dict())
    with pytest.raises(NotSupportedError, match="trained on pairs only"):
        method.encode(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("changes", "uses"),
    [
        ({"weight_fmri": 0}, ()),
        ({"snr_source": "none"}, ("test responses without images",)),
        ({}, ("test responses without images", "SNR weights")),
    ],
)
def test_what_used_test_responses_is_labelled(planted, context, changes, uses):
    method = make(planted.data, tiny(**changes))
    assert method.info.transductive == ()
    decoder_phase(method, planted.data, context)
    assert method.info.transductive == uses


def test_without_test_responses_nothing_depends_on_them(planted, context):
    blind = dataclasses.replace(planted.data, repeats=None)
    settings = tiny(weight_fmri=0)
    with_repeats, without = train(planted.data, settings, context), train(blind, settings, context)
    assert torch.equal(with_repeats.decoder.fc.weight, without.decoder.fc.weight)


def test_missing_data_are_left_out_with_a_warning(planted, context, caplog):
    data = dataclasses.replace(planted.data, unpaired=None, repeats=None)
    terms = decoder_phase(make(planted.data, tiny()), data, context).loss(0)
    assert "pairs" in terms and "images" not in terms and "fmri" not in terms
    assert "weight_images is 1 but the subject has no such data" in caplog.text
    with pytest.raises(MissingDataError, match="weight_images, weight_fmri is set, but the subject has no such data"):
        GazivDecoderPhase(make(planted.data, tiny(weight_pairs=0)), data)


def test_equalised_losses_start_at_their_weights(planted, context):
    method = make(planted.data, tiny(weight_pairs=1, weight_images=2, weight_fmri=0.5))
    terms = decoder_phase(method, planted.data, context).loss(0)
    assert [round(terms[f"{name} weighted"].item(), 5) for name in LOSSES] == [1, 2, 0.5]
    fixed = decoder_phase(make(planted.data, tiny(balance="fixed")), planted.data, context).loss(0)
    for name in LOSSES:
        assert fixed[name] == fixed[f"{name} weighted"]


def test_noise_is_added_to_predicted_responses_and_to_nothing_else(planted, context, trained):
    drawn = {}
    for noise in (0.0, 0.5):
        method = make(planted.data, tiny(**{"decoder.response_noise": noise}))
        method.load_state_dict(trained.state_dict())
        phase = decoder_phase(method, planted.data, context)
        drawn[noise] = phase._draw(3)[0]
        again = phase._draw(3)[0]
        assert all(torch.equal(value, again[name]) for name, value in drawn[noise].items())
    added = drawn[0.5]["images"] - drawn[0.0]["images"]
    assert abs(added.std().item() - 0.5) < 0.05 and abs(added.mean().item()) < 0.1
    assert torch.equal(drawn[0.5]["pairs"], drawn[0.0]["pairs"]) and torch.equal(drawn[0.5]["fmri"], drawn[0.0]["fmri"])


def test_excluded_test_images_touch_nothing(planted, context):
    values = planted.data.repeats.values.copy()
    values[planted.data.repeats.image_index == 2] = 1e6  # would wreck SNR weights and losses
    repeats = dataclasses.replace(planted.data.repeats, values=values)
    poisoned = dataclasses.replace(planted.data, repeats=repeats)
    settings = tiny(**{"repeats.exclude": (2,)})
    totals = [decoder_phase(make(data, settings), data, context).loss(0)["fmri"].item() for data in (planted.data, poisoned)]
    assert totals[0] == totals[1]


def test_grey_decoders_give_three_equal_channels(planted, context):
    method = train(planted.data, tiny(**{"decoder.out_channels": 1}), context)
    images = method.decode(VoxelBatch(torch.from_numpy(planted.test_means)))
    assert images.shape == (12, 3, 32, 32) and torch.equal(images[:, 0], images[:, 2])


# ---------------------------------------------------------------- predictions for other methods


def test_predictions_equal_the_encoder(planted, trained):
    seen = []
    predicted = predict_responses(trained, planted.data.unpaired, on_progress=lambda *done: seen.append(done), chunk=20)
    pictures = torch.from_numpy(planted.data.unpaired).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(predicted, trained.encode(pictures).values, rtol=2e-3, atol=2e-3)
    assert seen == [(20, 64), (40, 64), (60, 64), (64, 64)]


def test_large_predictions_live_in_a_file(planted, trained, monkeypatch):
    monkeypatch.setattr("brain2pix.methods.predictions._IN_MEMORY_BYTES", 100)
    predicted = predict_responses(trained, planted.data.unpaired)
    assert isinstance(predicted, np.memmap) and np.isfinite(predicted).all() and predicted.std() > 0.1


def test_unpaired_images_become_pairs(planted, trained):
    data = unpaired_as_pairs(trained, planted.data, max_images=40)
    assert data.responses.shape == (40, 60) and data.responses.dtype == np.float32
    assert data.unpaired is None and data.repeats is None
    np.testing.assert_array_equal(data.images, planted.data.unpaired[:40])
    with pytest.raises(MissingDataError, match="unpaired images"):
        unpaired_as_pairs(trained, data)


# ---------------------------------------------------------------- receptive fields of planted maps


@pytest.mark.parametrize(("branches", "cell"), [((0, 1), 4), ((2, 3), 8)])
def test_planted_one_hot_maps_are_found_within_a_cell(branches, cell):
    info = SubjectInfo("sub-01", np.arange(9), "hash", "z-train", 12.0, True)
    method = make_method("gaziv", resolve_settings("gaziv", "tiny", changes={"backbone.name": "random"}), [info], 64)
    encoder = method.encoder
    places = [(y, x) for y in (1, 2, 4) for x in (1, 3, 4)] if cell == 8 else [(y, x) for y in (2, 6, 11) for x in (3, 7, 10)]
    with torch.no_grad():
        for space in encoder.space:
            space.zero_()
        for voxel, (y, x) in enumerate(places):
            encoder.space_of(branches[0])[voxel, y, x] = 1
        encoder.branch_mix.zero_()
        encoder.branch_mix[:, list(branches)] = 1
    encoder.freeze()
    settings = PRFSettings(n_images=3, inputs="noise", max_spread=1)
    maps = gradient_maps(lambda pictures: method.encode(pictures).values, input_images(None, settings, 64), 9, chunk=4)
    fields = receptive_fields(maps, settings, 12.0).map
    for voxel, (y, x) in enumerate(places):
        # a patch that begins at cell (y, x) is centred one cell further
        assert abs(fields.x0_deg[voxel] - ((x + 1.5) * cell - 32) * 12 / 64) < cell * 12 / 64
        assert abs(fields.y0_deg[voxel] - (32 - (y + 1.5) * cell) * 12 / 64) < cell * 12 / 64


@pytest.mark.parametrize("left", [{"repeats__max_repeats": 1}, {"repeats__exclude": tuple(range(11))}])
def test_snr_weights_without_repeats_are_refused(planted, context, left):
    method = make(planted.data, tiny(**left))
    with pytest.raises(ConfigError, match=r"SNR weights need two images and repeats of one of them, got .* set snr_source to none"):
        decoder_phase(method, planted.data, context)
