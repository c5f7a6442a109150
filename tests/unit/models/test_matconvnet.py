"""The first layer of Caffe's reference network from MatConvNet's file: written here by scipy, as MatConvNet's own converter does."""

import logging

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.signal import correlate2d

from brain2pix.arrays import SubjectInfo
from brain2pix.cli._main import run_arguments
from brain2pix.config.beliy import BeliyEncoderSettings
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.models import ShallowEncoder, first_layer, first_layer_channels, load_backbone, read_card
from brain2pix.models import weights as weights_module
from brain2pix.models.weights import add_weights, download_weights, load_tensors

FILE = "imagenet-caffe-ref.mat"


def cell(*parts):
    values = np.empty((1, len(parts)), dtype=object)
    for number, part in enumerate(parts):
        values[0, number] = part
    return values


@pytest.fixture
def parts(rng):
    """Filters [h w in out], biases and mean picture of a file."""
    filters = rng.standard_normal((11, 11, 3, 96)).astype(np.float32) / 500
    picture = rng.uniform(90, 130, (227, 227, 3)).astype(np.float32)
    return {"filters": filters, "biases": rng.standard_normal(96).astype(np.float32), "averageImage": picture}


@pytest.fixture
def write(parts, tmp_path):
    """Write a file of one of the two layouts that MatConvNet has had, with changes."""

    def make(old=False, name=FILE, drop=(), layer_name="conv1", **changes):
        found = {**parts, **changes}
        conv1 = {"name": layer_name, "type": "conv", "stride": np.array([[4.0, 4.0]]), "pad": np.zeros((1, 4))}
        if old:
            conv1 |= {"filters": found["filters"], "biases": found["biases"][None]}
        else:
            conv1["weights"] = cell(found["filters"], found["biases"][None])
        conv1 = {key: value for key, value in conv1.items() if key not in drop}
        normalization = {"averageImage": found["averageImage"], "imageSize": np.array([[227.0, 227.0, 3.0]]), "interpolation": "bicubic"}
        normalization = {key: value for key, value in normalization.items() if key not in drop}
        content = {
            "layers": cell(conv1, {"name": "relu1", "type": "relu"}, {"name": "pool1", "type": "pool", "pool": np.array([[3.0, 3.0]])})
        }
        classes = {"name": cell("n01440764", "n01443537"), "description": cell("tench", "goldfish")}
        content |= (
            {"normalization": normalization, "classes": classes} if old else {"meta": {"normalization": normalization, "classes": classes}}
        )
        savemat(tmp_path / name, {key: value for key, value in content.items() if key not in drop}, oned_as="column", do_compression=True)
        return tmp_path / name

    return make


@pytest.mark.parametrize("old", [False, True])
def test_the_first_layer_is_a_correlation_with_the_filters_of_the_file(write, parts, rng, old):
    network = load_backbone("alexnet-caffe", write(old))
    images = torch.from_numpy(rng.uniform(0, 1, (1, 3, 28, 28)).astype(np.float32))
    found = first_layer(network, images)
    assert found.shape == (1, 96, 14, 14)
    centred = 255 * images[0].numpy() - parts["averageImage"].mean(axis=(0, 1))[:, None, None]
    for filter_number in (0, 41, 95):
        kernel = parts["filters"][..., filter_number]
        full = sum(correlate2d(np.pad(centred[c], ((4, 5), (4, 5))), kernel[..., c], mode="valid") for c in range(3))
        wanted = np.maximum(full[::2, ::2] + parts["biases"][filter_number], 0)
        np.testing.assert_allclose(found[0, filter_number], wanted, rtol=1e-4, atol=1e-4)
    assert found.std() > 0.1


def test_a_mean_colour_does_for_a_mean_picture(write):
    network = load_backbone("alexnet-caffe", write(averageImage=np.array([[[123.0, 117.0, 104.0]]])))
    torch.testing.assert_close(255 * network.input_mean.flatten(), torch.tensor([123.0, 117.0, 104.0]))
    network = load_backbone("alexnet-caffe", write(averageImage=np.array([[123.0, 117.0, 104.0]])))
    torch.testing.assert_close(255 * network.input_mean.flatten(), torch.tensor([123.0, 117.0, 104.0]))


def test_sizes_are_the_published_ones(write):
    network = load_backbone("alexnet-caffe", write())
    assert sum(parameter.numel() for parameter in network.parameters()) == 34_944
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with torch.device("meta"):
        encoder = ShallowEncoder(4500, first_layer_channels("alexnet-caffe"), 112, BeliyEncoderSettings())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 28_265_748


def test_beliy_reads_it_and_remembers_which_file_it_was(write, rng):
    settings = resolve_settings("beliy", "tiny", None, {"backbone.name": "alexnet-caffe", "backbone.weights": str(write())})
    info = SubjectInfo("sub-01", np.arange(4), "there", "z-train", 12.0, simulated=True)
    method = make_method("beliy", settings, [info], 32)
    images = torch.rand(2, 3, 32, 32)
    predicted = method.encode(images).values
    assert predicted.shape == (2, 4) and predicted.std() > 0
    again = make_method("beliy", settings, [info], 32)
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.encode(images).values, predicted)
    write(averageImage=np.full((1, 1, 3), 50.0))
    other = make_method("beliy", settings, [info], 32)
    other.load_state_dict(method.state_dict())
    with pytest.raises(DataFormatError, match="the weights of backbone 'alexnet-caffe' are not those this model was trained with"):
        other.encode(images)
    write(biases=rng.standard_normal(96).astype(np.float32))
    other = make_method("beliy", settings, [info], 32)
    other.load_state_dict(method.state_dict())
    with pytest.raises(DataFormatError, match="are not those this model was trained with"):
        other.encode(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": ("layers",)}, r"is no network of MatConvNet: expected variables layers and meta \(or normalization\), found meta"),
        ({"drop": ("meta",)}, "is no network of MatConvNet: .* found layers"),
        ({"layer_name": "first"}, "has no layer 'conv1'; layers: first, relu1, pool1"),
        ({"drop": ("weights",)}, "layer 'conv1' has neither weights {filters, biases} nor filters and biases"),
        ({"old": True, "drop": ("biases",)}, "has neither weights"),
        ({"filters": np.zeros((11, 11, 3, 64), dtype=np.float32)}, r"filters of 'conv1' are float32 \(11, 11, 3, 64\), expected numbers"),
        ({"filters": np.zeros((96, 3, 11, 11), dtype=np.float32)}, r"\(96, 3, 11, 11\), expected numbers \(11, 11, 3, 96\)"),
        ({"filters": np.full((11, 11, 3, 96), np.nan)}, "filters of 'conv1' are not all finite"),
        ({"biases": np.zeros(95, dtype=np.float32)}, r"biases of 'conv1' are float32 \(95,\), expected numbers \(96,\)"),
        ({"drop": ("averageImage",)}, r"has no normalization.averageImage of three colours"),
        ({"averageImage": "none"}, r"has no normalization.averageImage of three colours"),
        ({"averageImage": np.full((2, 2, 3), 300.0)}, r"averageImage is \(2, 2, 3\); expected \[h w 3\], or 3 numbers, in 0..255"),
        ({"averageImage": np.full((3, 9), 100.0)}, r"averageImage is \(3, 9\)"),
    ],
)
def test_files_of_another_layout(write, changes, message):
    with pytest.raises(DataFormatError, match=message):
        load_backbone("alexnet-caffe", write(**changes))


def test_files_that_cannot_be_read(write, tmp_path):
    path = write()
    whole = path.read_bytes()
    for keep in (0, 100, 500, len(whole) - 40):
        path.write_bytes(whole[:keep])
        with pytest.raises(DataFormatError, match=FILE):
            load_tensors(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(DataFormatError, match=FILE):
        load_tensors(path)
    with h5py.File(tmp_path / "new.mat", "w") as file:  # MATLAB v7.3
        file["layers"] = np.zeros(2)
    with pytest.raises(DataFormatError, match=r"new.mat is not a MATLAB v5 file"):
        load_tensors(tmp_path / "new.mat")
    with pytest.raises(MissingDataError, match=r"nowhere.mat of backbone 'alexnet-caffe' does not exist"):
        load_backbone("alexnet-caffe", tmp_path / "nowhere.mat")


def test_it_is_no_file_of_another_network(write):
    with pytest.raises(DataFormatError, match=r"'features.0.weight' is \(96, 3, 11, 11\), AlexNetFeatures needs \(64, 3, 11, 11\)"):
        load_backbone("alexnet", write())


def test_the_card_says_where_it_is_from_and_that_no_digest_is_known(capsys):
    card = read_card("alexnet-caffe")
    assert (card.file, card.sha256, card.source) == (FILE, "", f"https://www.vlfeat.org/matconvnet/models/{FILE}")
    assert run_arguments(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert card.source in listed and "sha256 not known" in listed


def test_a_file_without_a_digest_is_added_if_its_layout_fits(write, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(MissingDataError, match="brain2pix weights fetch alexnet-caffe gets it from https"):
        load_backbone("alexnet-caffe")
    bad = write(layer_name="first")
    with pytest.raises(DataFormatError, match="has no layer 'conv1'"):
        add_weights(bad)
    assert not (tmp_path / "weights").exists()
    assert run_arguments(["weights", "add", str(write())]) == 0
    said = capsys.readouterr()
    assert f"here, of the right layout (no SHA-256 is known): {tmp_path / 'weights' / FILE}" in said.out
    with caplog.at_level(logging.WARNING):
        load_backbone("alexnet-caffe")
    assert "no SHA-256 is known for" in caplog.text
    other = write(name="renamed.mat")
    with pytest.raises(DataFormatError, match=r"is none of the published files: .*imagenet-caffe-ref.mat \(alexnet-caffe\)"):
        add_weights(other)  # no digest: only its name tells which file it is
    assert add_weights(other, "alexnet-caffe").name == FILE


def test_a_download_of_another_layout_leaves_nothing(write, tmp_path, monkeypatch):
    content = {"good": write().read_bytes(), "bad": b"<html>moved</html>"}
    for kind, wanted in content.items():
        monkeypatch.setattr(weights_module, "_fetch", lambda _source, part, *_rest, wanted=wanted: part.write_bytes(wanted))
        if kind == "bad":
            with pytest.raises(DataFormatError, match="is not a MATLAB v5 file"):
                download_weights("alexnet-caffe", tmp_path / kind)
            assert not list((tmp_path / kind).iterdir())
        else:
            assert download_weights("alexnet-caffe", tmp_path / kind).read_bytes() == wanted


def test_its_one_layer_is_no_perceptual_network(write):
    network = load_backbone("alexnet-caffe", write())
    with pytest.raises(ConfigError, match=r"taps of alexnet-caffe are layers 0..1"):
        network(torch.zeros(1, 3, 32, 32), (3,))
