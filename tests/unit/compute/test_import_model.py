"""Checkpoints in the layout of the released program of Gaziv et al., written by networks that are built here from plain torch layers.

Their forward passes are the formulas of the paper, place by place: no code of `brain2pix.models` is used.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as nnf

from brain2pix.arrays import SubjectInfo, VoxelBatch
from brain2pix.cli._main import run_arguments
from brain2pix.compute.jobs.import_model import read_selection
from brain2pix.compute.jobs.train import pairs_of_encoder
from brain2pix.config.preparation import PreparationSettings
from brain2pix.data.splits import training_data
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, NotSupportedError
from brain2pix.methods.registry import make_method, read_published, resolve_settings
from brain2pix.training.run_folder import load_model, model_description, save_model

N_VOXELS = 5
REGION = "V3 & L - outside"  # few voxels: each costs a gradient through VGG19
# VGG19 by its published table: number of the layer: channels in, channels out; poolings
CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256), 16: (256, 256)}
CONVOLUTIONS |= {19: (256, 512), **dict.fromkeys((21, 23, 25, 28, 30, 32, 34), (512, 512))}
POOLINGS, TAPS, CHANNELS = (4, 9, 18, 27, 36), (3, 8, 17, 26), (64, 128, 256, 512)
MEAN, SD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class ChannelMix(nn.Module):
    def __init__(self, n_channels, n_voxels):
        super().__init__()
        self.chan_mix = nn.Parameter(torch.randn(n_voxels, n_channels) * 0.06)
        self.bias = nn.Parameter(torch.randn(n_voxels))


class PublishedEncoder(nn.Module):
    """The separable encoder: names of its tensors as in the released program."""

    def __init__(self, vgg, n_voxels=N_VOXELS, size=32, kernel=1, separate=False, frozen=True):
        super().__init__()
        self.multi_branch_bbn = nn.Module()
        for number, (before, after) in CONVOLUTIONS.items():
            if frozen and number <= TAPS[-1]:
                layer = nn.utils.skip_init(nn.Conv2d, before, after, 3, padding=1)
                layer.load_state_dict({name: vgg[f"features.{number}.{name}"] for name in ("weight", "bias")}, assign=True)
                self.multi_branch_bbn.add_module(f"_features_{number}", layer)
        for branch, channels in enumerate(CHANNELS):
            pooling = [nn.MaxPool2d(2)] if branch == 0 else []
            width, stride = (kernel, 1) if branch == 3 else (3, 2)
            convolution = nn.Conv2d(channels, 32, width, stride=stride, padding=width // 2)
            layers = [nn.BatchNorm2d(channels), *pooling, convolution, nn.ReLU(), nn.BatchNorm2d(32)]
            self.add_module(f"conv{branch + 1}", nn.Sequential(*layers))
        edges = [size // 4 - 2, size // 4 - 2, size // 8 - 2, size // 8 - 2]
        self.map_of = [str(branch) if separate else str(edge) for branch, edge in enumerate(edges)]
        maps = dict(zip(self.map_of, edges, strict=True))
        self.space_maps = nn.ModuleDict({name: nn.Linear(edge**2, n_voxels, bias=False) for name, edge in maps.items()})
        self.chan_mixes = nn.ModuleList(ChannelMix(288, n_voxels) for _ in CHANNELS)
        self.branch_mix = nn.Parameter(torch.randn(n_voxels, 4))  # of either sign: its absolute value counts
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    nn.init.normal_(tensor)  # gains of either sign: then pooling does not commute with them
                nn.init.uniform_(module.running_var, 0.5, 2)

    def forward(self, images):
        hidden, features = (images - MEAN) / SD, []
        for number in range(TAPS[-1] + 1):
            if number in CONVOLUTIONS:
                hidden = getattr(self.multi_branch_bbn, f"_features_{number}")(hidden)
            else:
                hidden = nnf.max_pool2d(hidden, 2) if number in POOLINGS else hidden.relu()
            if number in TAPS:
                features.append(hidden)
        total = 0
        for branch, tap in enumerate(features):
            reduced = getattr(self, f"conv{branch + 1}")(tap)
            space = self.space_maps[self.map_of[branch]].weight
            edge = round(space.shape[1] ** 0.5)
            space, mix = space.view(-1, edge, edge), self.chan_mixes[branch].chan_mix.view(-1, 32, 3, 3)
            unit = self.chan_mixes[branch].bias
            for y in range(3):
                for x in range(3):
                    seen = torch.einsum("bcij,vij->bcv", reduced[:, :, y : y + edge, x : x + edge], space)
                    unit = unit + torch.einsum("bcv,vc->bv", seen, mix[:, :, y, x])
            total = total + self.branch_mix[:, branch].abs() * unit
        return total


class PublishedDecoder(nn.Module):
    """The decoder: names of its tensors as in the released program."""

    def __init__(self, n_voxels=N_VOXELS, size=32, paper=False):
        super().__init__()
        self.start = size // 8
        self.input_fc = nn.Linear(n_voxels, 64 * self.start**2)
        self.blocks = nn.ModuleList()
        for _ in range(3):
            norm = nn.GroupNorm(16 if paper else 32, 64)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            doubling = nn.Upsample(scale_factor=2, mode="bicubic")
            self.blocks.append(nn.Sequential(doubling, nn.ReflectionPad2d(2), nn.Conv2d(64, 64, 5), norm, nn.SiLU()))
        self.top = nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(64, 3, 5), nn.Sigmoid())

    def forward(self, voxels):
        hidden = self.input_fc(voxels).view(-1, 64, self.start, self.start)
        for block in self.blocks:
            hidden = block(hidden)
        return self.top(hidden)


def checkpoint(network, path, wrapped=True):
    """Save as the program does: a dict around the state dict of a network in DataParallel."""
    state = (nn.DataParallel(network) if wrapped else network).state_dict()
    optimizer = {"state": {0: {"step": 5, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]}
    torch.save({"epoch": 37, "state_dict": state, "best_loss": torch.tensor(0.5), "optimizer": optimizer}, path)
    return path


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(3)
    state = {}
    for number, (before, after) in CONVOLUTIONS.items():
        state[f"features.{number}.weight"] = torch.randn(after, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"features.{number}.bias"] = torch.randn(after) * 0.1
    return state


@pytest.fixture(scope="module")
def vgg_file(vgg, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19-own.pth"
    torch.save(vgg, path)
    return path


@pytest.fixture
def encoder(vgg, tmp_path):
    """Give a published encoder and its file."""

    def make(name="sub3_rgb_only_best.pth.tar", change=None, wrapped=True, **options):
        network = PublishedEncoder(vgg, **options).eval()
        path = checkpoint(network, tmp_path / name, wrapped)
        if change is not None:
            content = torch.load(path, weights_only=True)
            content["state_dict"] = {key.removeprefix("module."): value for key, value in content["state_dict"].items()}
            change(content["state_dict"])
            torch.save(content, path)
        return network, path

    return make


@pytest.fixture
def decoder(tmp_path):
    """Give a published decoder and its file."""

    def make(name="sub3_rgb_only_noDE_best.pth.tar", change=None, wrapped=True, **options):
        network = PublishedDecoder(**options).eval()
        path = checkpoint(network, tmp_path / name, wrapped)
        if change is not None:
            state = dict(network.state_dict())
            change(state)
            torch.save(state, path)
        return network, path

    return make


def system(vgg_file, encoder=None, decoder=None, preset="released", info=None, **asked):
    """Import without a subject, or with what is known of one."""
    published = read_published("gaziv", encoder, decoder)
    asked = {key.replace("__", "."): value for key, value in asked.items()}
    given = resolve_settings("gaziv", preset, None, {"backbone.weights": str(vgg_file), **asked})
    settings = published.settings(given, asked)
    info = info or SubjectInfo("sub-03", np.arange(published.n_voxels), "there", "a.u.", 12.0, simulated=False, zscore="none")
    method = make_method("gaziv", settings, [info], published.image_size)
    published.fill(method, given)
    return method


def close(found, wanted):
    """To 1e-5 of the largest value."""
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def test_these_networks_have_the_published_sizes():
    with torch.device("meta"):
        networks = PublishedEncoder({}, 4500, 112, frozen=False), PublishedDecoder(4500, 112)
    assert [sum(parameter.numel() for parameter in network.parameters()) for network in networks] == [9_057_712, 56_773_123]


@pytest.mark.parametrize(
    "options",
    [
        {"size": 112},  # the released one
        {"kernel": 3},
        {"separate": True},
        {"kernel": 3, "separate": True, "size": 48, "n_voxels": 3},
        {"wrapped": False},
    ],
)
def test_the_imported_encoder_is_the_published_one(encoder, vgg_file, options):
    network, path = encoder(**options)
    method = system(vgg_file, encoder=path)
    size = options.get("size", 32)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        wanted = network(images)
        close(method.encode(images).values, wanted)
        method.encoder.unfreeze().eval()  # the read-out in the paper's order, too
        close(method.encode(images).values, wanted)
    assert method.image_size == size and wanted.std() > 0.1
    settings = method.settings.encoder
    assert settings.last_kernel == options.get("kernel", 1) and settings.share_space is not options.get("separate", False)


@pytest.mark.parametrize("options", [{"size": 112}, {"n_voxels": 9}, {"wrapped": False}])
def test_the_imported_decoder_is_the_published_one(decoder, vgg_file, options):
    network, path = decoder(**options)
    method = system(vgg_file, decoder=path)
    voxels = torch.randn(3, options.get("n_voxels", N_VOXELS))
    with torch.no_grad():
        wanted = network(voxels)
        close(method.decode(VoxelBatch(voxels)), wanted)
    assert wanted.std() > 0.05 and method.image_size == options.get("size", 32)


def test_a_decoder_of_the_papers_text_needs_its_preset(decoder, vgg_file):
    """Groups, activation and their order show in no shape."""
    network, path = decoder(paper=True)
    voxels = torch.randn(3, N_VOXELS)
    hidden = network.input_fc(voxels).view(-1, 64, 4, 4)
    for block in network.blocks:
        hidden = block[3](block[2](block[1](block[0](hidden))).relu())
    with torch.no_grad():
        close(system(vgg_file, decoder=path, preset="paper").decode(VoxelBatch(voxels)), network.top(hidden))


def test_settings_that_the_files_decide_and_those_they_cannot(encoder, decoder, vgg_file):
    both = system(vgg_file, encoder()[1], decoder()[1], preset="paper", encoder__n_steps=7)
    assert both.settings.encoder.n_steps == 7 and both.settings.decoder.activation == "relu"  # asked for, or of the preset
    assert both.settings.encoder.share_space and both.settings.encoder.last_kernel == 1  # of the file, not of the preset
    assert both.settings.backbone.name == "vgg19" and both.info.has_encoder and both.info.has_decoder
    with pytest.raises(ConfigError, match=r"encoder.last_kernel=3 was asked for, the checkpoint decides .*kernel=1; leave it out"):
        system(vgg_file, encoder()[1], encoder__last_kernel=3)
    with pytest.raises(ConfigError, match=r"backbone.name=tiny was asked for, the checkpoint decides backbone.name=vgg19"):
        system(vgg_file, encoder()[1], backbone__name="tiny")
    with pytest.raises(ConfigError, match=r"decoder.n_runs=4 was asked for"):
        system(vgg_file, decoder=decoder()[1], decoder__n_runs=4)


def test_what_the_published_training_used_of_test_responses(encoder, decoder, vgg_file):
    chosen, weights, responses = "encoder chosen on test responses", "SNR weights", "test responses without images"
    enc, dec = encoder()[1], decoder()[1]
    assert set(system(vgg_file, enc, dec).info.transductive) == {chosen, weights, responses}
    assert set(system(vgg_file, enc, dec, weight_fmri=0).info.transductive) == {chosen, weights}  # as in the released scripts
    assert set(system(vgg_file, decoder=dec).info.transductive) == {weights, responses}
    lender = system(vgg_file, enc)
    assert lender.info.transductive == (chosen,)
    borrower = make_method("gaziv", lender.settings, lender.subjects, 32)
    borrower.adopt_encoder(lender)
    assert borrower.info.transductive == (chosen,)


def test_an_encoder_alone_makes_no_pictures_and_a_decoder_alone_predicts_nothing(encoder, decoder, vgg_file):
    alone = system(vgg_file, encoder()[1])
    assert not alone.info.has_decoder
    with pytest.raises(NotSupportedError, match=r"has an encoder only .* it makes no pictures"):
        alone.decode(VoxelBatch(torch.zeros(1, N_VOXELS)))
    alone = system(vgg_file, decoder=decoder()[1])
    assert not alone.info.has_encoder
    with pytest.raises(NotSupportedError, match="has no encoder"):
        alone.encode(torch.zeros(1, 3, 32, 32))


def test_models_of_versions_that_knew_fewer_uses_still_load(decoder, vgg_file):
    method = system(vgg_file, decoder=decoder()[1])
    state = method.state_dict() | {"transductive": torch.tensor([0, 1], dtype=torch.uint8)}
    method.load_state_dict(state)
    assert method.info.transductive == ("SNR weights",)


def renamed(before, after):
    return lambda state: state.update({after: state.pop(before)})


def put(key, *shape, value=0.0):
    return lambda state: state.update({key: torch.full(shape, value)})


ENCODERS = [
    (lambda state: state.pop("branch_mix"), r"pth.tar has no tensor 'branch_mix'; is it whole, and of this program\?"),
    (lambda state: state.pop("conv2.1.bias"), r"pth.tar has no tensor 'conv2.1.bias' of shape \(32,\)"),
    (put("conv1.2.weight", 32, 64, 5, 5), r"pth.tar: 'conv1.2.weight' is \(32, 64, 5, 5\), expected \(32, 64, 3, 3\)"),
    (put("chan_mixes.1.chan_mix", 5, 200), r"'chan_mixes.1.chan_mix' is \(5, 200\), expected \(5, 288\)"),
    (put("space_maps.6.weight", 7, 36), r"'space_maps.6.weight' is \(7, 36\), expected \(5, 36\)"),
    (put("branch_mix", 5), r"'branch_mix' is \(5,\), expected 2 axes, none of them empty"),
    (put("chan_mixes.3.bias", 5, value=float("nan")), r"'chan_mixes.3.bias' holds values that are not finite"),
    (put("extra.weight", 2, 3), r"has 1 tensors that this network does not have: 'extra.weight' \(2, 3\)"),
    (put("conv4.1.weight", 32, 512, 5, 5), "last branch has kernels of 5 px, expected 1 or 3"),
    (put("conv4.1.weight", 600, 512, 1, 1), r"has sizes that this network cannot have: .*'channels'.* less than or equal to 512"),
    (put("space_maps.6.weight", 5, 37), "'space_maps.6.weight' has 37 places, which are no square"),
    (renamed("space_maps.6.weight", "space_maps.7.weight"), r"has space maps .*; expected two, named by their edges, or 4, one per branch"),
    (put("fc_head.0.weight", 5, 9408), "encoder without separable read-out"),
    (put("multi_branch_bbn.features_0.weight", 64, 4, 3, 3), r"reads pictures of 4 channels \(depth\); encoders of 3, plain colour"),
    (put("multi_branch_bbn._features_0.weight", 64, 1, 3, 3), r"reads pictures of 1 channels \(depth\)"),
]


@pytest.mark.parametrize(("change", "message"), ENCODERS)
def test_what_is_wrong_with_an_encoder_is_said(encoder, change, message):
    with pytest.raises(DataFormatError, match=message):
        read_published("gaziv", encoder(change=change, frozen=False)[1], None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("multi_branch_bbn._features_0.weight", 64, 3, 3, 3),
            r"'features.0.weight' .* not that of backbone 'vgg19' \(up to .* apart\)",
        ),
        (put("multi_branch_bbn._features_2.bias", 3), r"'features.2.bias' of .* \(shape \(3,\), not \(64,\)\): the encoder was trained"),
        (lambda state: state.pop("multi_branch_bbn._features_5.bias"), r"backbone 'vgg19' differ in the tensor 'features.5.bias'"),
    ],
)
def test_the_network_that_was_saved_with_the_encoder_is_the_backbone(encoder, vgg_file, change, message):
    with pytest.raises(DataFormatError, match=message):
        system(vgg_file, encoder(change=change)[1])


def test_an_encoder_without_the_network_under_it_is_taken(encoder, vgg_file):
    assert system(vgg_file, encoder(frozen=False)[1]).info.has_encoder


DECODERS = [
    (lambda state: state.pop("input_fc.weight"), "has no tensor 'input_fc.weight'"),
    (lambda state: state.pop("blocks.1.3.bias"), r"has no tensor 'blocks.1.3.bias' of shape \(64,\)"),
    (put("blocks.2.2.weight", 64, 64, 3, 3), r"'blocks.2.2.weight' is \(64, 64, 3, 3\), expected \(64, 64, 5, 5\)"),
    (put("input_fc.weight", 1000, 5), "'input_fc.weight' has 15 places, which are no square"),
    (put("top.1.weight", 3, 64, 4, 4), r"has sizes that this network cannot have: option 'kernel'"),
    (put("blocks.0.5.weight", 64), r"that this network does not have: 'blocks.0.5.weight' \(64,\)"),
    (put("top.1.weight", 4, 64, 5, 5), r"makes pictures of 4 channels \(colour with depth\); decoders of 3"),
    (put("top.1.weight", 1, 64, 5, 5), r"makes pictures of 1 channels \(depth alone\)"),
    (put("depth_extractor.model.weight", 1), "carries a network for depth"),
    (put("branch_mix", 5, 4), "is an encoder; give it as encoder, and the decoder as decoder"),
]


@pytest.mark.parametrize(("change", "message"), DECODERS)
def test_what_is_wrong_with_a_decoder_is_said(decoder, vgg_file, change, message):
    with pytest.raises(DataFormatError, match=message):
        system(vgg_file, decoder=decoder(change=change)[1])


def test_files_that_do_not_belong_together(encoder, decoder, vgg_file, tmp_path):
    with pytest.raises(ConfigError, match="nothing to import: give the checkpoint of the encoder, of the decoder, or of both"):
        read_published("gaziv", None, None)
    with pytest.raises(DataFormatError, match="is a decoder; give it as decoder, and the encoder as encoder"):
        read_published("gaziv", decoder()[1], None)
    with pytest.raises(DataFormatError, match="do not belong together: encoder 5 voxels and 32 px and decoder 1,234 voxels and 48 px"):
        read_published("gaziv", encoder()[1], decoder(n_voxels=1234, size=48)[1])
    with pytest.raises(ConfigError, match=r"unknown method with published checkpoints 'beliy'.*Known: gaziv"):
        read_published("beliy", None, tmp_path / "x.pth")
    with pytest.raises(MissingDataError, match=r"nowhere.pth does not exist"):
        read_published("gaziv", None, tmp_path / "nowhere.pth")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_checkpoint_that_would_run_code_runs_nothing(old_format, tmp_path):
    path = tmp_path / "evil.pth.tar"
    content = {"state_dict": {"branch_mix": torch.zeros(5, 4)}, "optimizer": Harmful(tmp_path / "it-ran")}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(DataFormatError, match=r"evil.pth.tar holds more than tensors"):
        read_published("gaziv", path, None)
    assert not (tmp_path / "it-ran").exists()


def test_files_of_the_programs_own_time_are_read(decoder, vgg_file, tmp_path):
    """Torch 1.4 wrote another container."""
    network, path = decoder()
    torch.save(torch.load(path, weights_only=True), tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    method = system(vgg_file, decoder=tmp_path / "old.pth.tar")
    assert torch.equal(method.decoder.fc.weight, network.input_fc.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds a list; expected a state dict, or a dict with one under 'state_dict'"),
        ({}, "holds a dict of nothing; expected a state dict"),
        ({"state_dict": {}, "epoch": 3}, "holds a dict of 'state_dict', 'epoch'; expected"),
        ({"state_dict": {"branch_mix": 3}}, "'branch_mix' is int, expected a tensor"),
        ({1: torch.zeros(2)}, "holds a dict of 1; expected"),
    ],
)
def test_files_without_a_state_dict(content, message, tmp_path):
    torch.save(content, tmp_path / "some.pth")
    with pytest.raises(DataFormatError, match=message):
        read_published("gaziv", tmp_path / "some.pth", None)


def test_the_backbone_is_needed(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(tmp_path))
    published = read_published("gaziv", encoder()[1], None)
    given = resolve_settings("gaziv", "released")
    info = SubjectInfo("sub-03", np.arange(N_VOXELS), "there", "a.u.", 12.0, simulated=False)
    with pytest.raises(MissingDataError, match="brain2pix weights fetch vgg19"):
        published.fill(make_method("gaziv", published.settings(given, {}), [info], 32), given)


# ---------------------------------------------------------------- the command, on the simulated subject


@pytest.fixture
def say(capsys):
    def run(*arguments):
        capsys.readouterr()
        code = run_arguments([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def subject(tiny_subject):
    return open_subject(tiny_subject, zscore="none")


def test_from_files_to_pictures_and_maps(say, subject, tiny_subject, encoder, decoder, vgg_file, tmp_path):
    index = subject.select(REGION)
    _, enc_file = encoder(n_voxels=index.size)
    dec, dec_file = decoder(n_voxels=index.size)
    run = tmp_path / "imported"
    files = ("--encoder", enc_file, "--decoder", dec_file)
    code, out, err = say("import-model", "gaziv", tiny_subject, run, *files, "--region", REGION, "--set", f"backbone.weights={vgg_file}")
    assert (code, err) == (0, "")
    assert f"nothing in a checkpoint tells the order of its voxels: taken is that of region {REGION!r}" in out
    about = model_description(run)
    assert set(about["transductive"]) == {"encoder chosen on test responses", "SNR weights", "test responses without images"}
    kept = json.loads((run / "settings.json").read_text())
    assert kept["imported"] == about["imported"] and kept["region"] == REGION and kept["n_voxels"] == index.size
    assert about["imported"]["encoder"]["sha256"] == hashlib.sha256(enc_file.read_bytes()).hexdigest()
    assert about["imported"]["encoder"]["names"]["chan_mixes.2.chan_mix"] == "channel_mix.2"
    assert about["imported"]["encoder"]["epoch"] == 37 and len(about["imported"]["encoder"]["compared"]) == 24
    assert set(about["imported"]["decoder"]["ignored"]) == {"epoch", "best_loss", "optimizer"}

    assert say("decode", run, "--device", "cpu")[0] == 0
    rows = subject.rows("test")
    ids = subject.trials["stimulus_id"].to_numpy()[rows]
    place = json.loads((run / "decode-test" / "results" / "reconstructions.json").read_text())["stimulus_ids"].index(ids[0])
    responses = torch.from_numpy(subject.responses(rows, index)[ids == ids[0]].mean(axis=0, keepdims=True))
    with torch.no_grad():
        wanted = dec(responses)[0].permute(1, 2, 0).numpy() * 255
    found = np.load(run / "decode-test" / "results" / "reconstructions.npy")[place]
    assert np.abs(found - wanted).max() < 0.51

    assert say("maps", run, "--device", "cpu", "--set", "n_images=1", "--out", run / "maps")[0] == 0
    assert json.loads((run / "maps" / "results" / "summary.json").read_text())["n_voxels"] == index.size
    code, out, _ = say("inspect", run)
    assert code == 0 and "imported  from github.com/WeizmannVision/SelfSuperReconst, encoder sub3_rgb_only_best.pth.tar (sha256" in out


def test_one_file_alone(say, subject, tiny_subject, encoder, decoder, vgg_file, tmp_path):
    n_voxels = subject.select(REGION).size
    wanted = (("--encoder", encoder(n_voxels=n_voxels)[1]), ("--decoder", decoder(n_voxels=n_voxels)[1]))
    for name, file in wanted:
        run = tmp_path / name.strip("-")
        asked = ("import-model", "gaziv", tiny_subject, run, name, file, "--region", REGION, "--set", f"backbone.weights={vgg_file}")
        assert say(*asked)[0] == 0
    code, _, err = say("decode", tmp_path / "encoder", "--device", "cpu")
    assert code == 1 and "has an encoder only" in err
    assert say("evaluate", tmp_path / "encoder", "--device", "cpu")[0] == 0
    scores = (tmp_path / "encoder" / "evaluate-test" / "results" / "scores.tsv").read_text()
    assert "encoder" in scores and "way" not in scores
    code, _, err = say("maps", tmp_path / "decoder", "--device", "cpu")
    assert code == 1 and "has no encoder to read receptive fields from" in err
    assert say("decode", tmp_path / "decoder", "--device", "cpu")[0] == 0


def test_what_an_imported_encoder_predicts_carries_its_label(subject, encoder, vgg_file, tmp_path):
    index = subject.select(REGION)
    save_model(system(vgg_file, encoder(n_voxels=index.size)[1], info=subject.describe(index)), tmp_path / "model")
    data = training_data(subject, REGION, preparation=PreparationSettings(zscore="none"))
    pairs = pairs_of_encoder(tmp_path, dataclasses.replace(data, unpaired=data.unpaired[:4]), REGION, torch.device("cpu"))
    assert pairs.subject.transductive == ("encoder chosen on test responses",) and data.subject.transductive == ()


def test_voxels_that_were_selected_come_in_the_order_of_the_file(say, subject, tiny_subject, decoder, vgg_file, tmp_path):
    network, path = decoder(n_voxels=3)
    np.savez(tmp_path / "some.npz", select_voxels=np.array([4, 0, 2]))
    run = tmp_path / "run"
    selected = ("--region", REGION, "--select-voxels", tmp_path / "some.npz")
    assert say("import-model", "gaziv", tiny_subject, run, "--decoder", path, *selected)[0] == 0
    index = subject.select(REGION)[[4, 0, 2]]
    method = load_model(run)
    assert method.subjects[0].voxel_index.tolist() == index.tolist() and method.subjects[0].zscore == "none"
    assert say("decode", run, "--device", "cpu")[0] == 0
    stimulus = subject.trials["stimulus_id"].to_numpy()[subject.rows("test")[0]]
    rows = np.flatnonzero(subject.trials["stimulus_id"].to_numpy() == stimulus)
    with torch.no_grad():
        wanted = network(torch.from_numpy(subject.responses(rows, index).mean(axis=0, keepdims=True)))[0].permute(1, 2, 0).numpy() * 255
    place = json.loads((run / "decode-test" / "results" / "reconstructions.json").read_text())["stimulus_ids"].index(stimulus)
    assert np.abs(np.load(run / "decode-test" / "results" / "reconstructions.npy")[place] - wanted).max() < 0.51


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 9]), r"must name voxels 0..4 of the region, each once"),
        (np.array([-1, 2]), "must name voxels 0..4"),
        (np.array([1, 1]), "each once"),
        (np.zeros(0, dtype=int), "must name voxels"),
        (np.array([True, False]), "is a mask over 2 voxels, the region has 5"),
        (np.array([0.5]), "is float64 .*expected whole numbers or a mask"),
        (np.zeros((2, 2), dtype=int), "expected whole numbers or a mask, one axis"),
    ],
)
def test_selections_that_do_not_fit(values, message, tmp_path):
    np.savez(tmp_path / "some.npz", select_voxels=values)
    with pytest.raises(DataFormatError, match=message):
        read_selection(tmp_path / "some.npz", 5)


def test_selections_that_fit(tmp_path):
    np.savez(tmp_path / "mask.npz", select_voxels=np.array([False, True, True]))
    assert read_selection(tmp_path / "mask.npz", 3).tolist() == [1, 2]
    np.savez(tmp_path / "other.npz", chosen=np.arange(3))
    with pytest.raises(DataFormatError, match="has no array 'select_voxels'; arrays: chosen"):
        read_selection(tmp_path / "other.npz", 3)


def test_a_region_with_another_number_of_voxels(say, subject, tiny_subject, decoder, tmp_path):
    sizes = {name: int(mask.sum()) for name, mask in subject.areas.items()}
    assert sizes["V1"] != sizes["V2"]
    asked = ("import-model", "gaziv", tiny_subject, tmp_path / "run", "--decoder", decoder(n_voxels=sizes["V2"])[1])
    code, _, err = say(*asked, "--region", "V1")
    assert code == 1
    assert f"have {sizes['V2']:,} voxels, region 'V1' of sub-01 has {sizes['V1']:,}; these have: V2" in err
    assert not (tmp_path / "run").exists()
    code, _, err = say(*asked)
    assert code == 1 and "region 'VC': unknown area 'VC'" in err
    other = ("import-model", "gaziv", tiny_subject, tmp_path / "run", "--decoder", decoder(n_voxels=9999)[1], "--region", "V1")
    assert "no area of it has; is it the subject of these checkpoints?" in say(*other)[2]
