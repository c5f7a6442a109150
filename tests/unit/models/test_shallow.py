"""The two networks of Beliy et al.: sizes of the paper, AlexNet's first layer with stride 2, layouts."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch import nn

from brain2pix.config.beliy import BeliyDecoderSettings, BeliyEncoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models import (
    AlexNetFeatures,
    ShallowDecoder,
    ShallowEncoder,
    TinyBackbone,
    VGG16Features,
    first_layer,
    first_layer_channels,
    load_backbone,
)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# 96 channels: the first layer of the Caffe file that the program used; 64: that of the published PyTorch file
@pytest.mark.parametrize(("in_channels", "size"), [(96, 28_265_748), (64, 28_256_468)])
def test_encoder_has_the_published_size(in_channels, size):
    with torch.device("meta"):
        encoder = ShallowEncoder(4500, in_channels, 112, BeliyEncoderSettings())
    assert count(encoder) == size
    assert encoder.fc.in_features == 6272 and count(encoder.fc) == 28_228_500
    assert [tuple(weight.shape) for weight in encoder.convolution_weights()] == [(32, in_channels, 3, 3), (32, 32, 3, 3)]


def test_decoder_has_the_published_size():
    with torch.device("meta"):
        decoder = ShallowDecoder(4500, 112, BeliyDecoderSettings())
    assert count(decoder) == 56_573_443 and count(decoder.fc) == 56_460_544
    assert decoder.start_size == 14


@pytest.mark.parametrize(("n_blocks", "grid"), [(2, 14), (3, 7)])
def test_each_block_halves_the_grid(n_blocks, grid):
    encoder = ShallowEncoder(5, 3, 112, BeliyEncoderSettings(n_blocks=n_blocks)).eval()
    assert encoder([torch.rand(2, 3, 56, 56)]).shape == (2, 5)
    assert encoder.grid == grid and encoder.linear_weight().shape == (32, grid, grid, 5)


def test_first_layer_of_alexnet_is_a_correlation_at_every_second_place():
    torch.manual_seed(0)
    network = AlexNetFeatures()
    images = torch.rand(1, 3, 28, 28)
    found = first_layer(network, images)
    assert found.shape == (1, 64, 14, 14)
    weight, bias = network.features[0].weight.detach().numpy(), network.features[0].bias.detach().numpy()
    normalised = ((images - network.input_mean) / network.input_sd).numpy()[0]
    # "same" output of stride 2 begins with the kernel's fifth row on the first pixel
    full = sum(correlate2d(np.pad(normalised[c], ((4, 5), (4, 5))), weight[7, c], mode="valid") for c in range(3))
    np.testing.assert_allclose(found[0, 7].detach(), np.maximum(full[::2, ::2] + bias[7], 0), atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "random", "vgg16", "vgg19", "alexnet"])
def test_first_layer_has_half_the_size(name):
    networks = {"vgg16": VGG16Features, "alexnet": AlexNetFeatures, "tiny": TinyBackbone}
    network = networks[name]() if name in networks else load_backbone("random")
    channels = first_layer_channels(name)
    if name != "vgg19":
        assert first_layer(network, torch.rand(1, 3, 32, 32)).shape == (1, channels, 16, 16)
    assert channels == {"tiny": 32, "random": 32}.get(name, 64)


def test_the_linear_layer_reads_the_grid_channel_first():
    encoder = ShallowEncoder(4, 3, 32, BeliyEncoderSettings(channels=6))
    with torch.no_grad():
        encoder.fc.weight.zero_()
        encoder.linear_weight()[5, 2, 1, 3] = 2.0  # a view: this writes to the layer
    grid = torch.zeros(1, 6, 4, 4)
    grid[0, 5, 2, 1] = 1
    assert torch.equal(nn.functional.linear(grid.flatten(1), encoder.fc.weight), torch.tensor([[0.0, 0.0, 0.0, 2.0]]))


def test_a_stochastic_look_moves_no_statistics_and_differs_from_the_fixed_one():
    encoder = ShallowEncoder(4, 3, 32, BeliyEncoderSettings(channels=6)).eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features = [3 + 2 * torch.rand(8, 3, 16, 16)]
    once, twice = encoder(features, stochastic=True), encoder(features, stochastic=True)
    assert not torch.allclose(once, twice) and not torch.allclose(once, encoder(features))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("out_channels", [1, 3])
def test_pictures_come_out_in_range(out_channels):
    images = ShallowDecoder(6, 32, BeliyDecoderSettings(channels=8, out_channels=out_channels))(10 * torch.randn(4, 6))
    assert images.shape == (4, out_channels, 32, 32)
    assert 0 <= images.min() <= images.max() <= 1 and images.std() > 0


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ShapeError, match="images of 100 px cannot be halved 3 times; use a multiple of 8 px"):
        ShallowEncoder(4, 3, 100, BeliyEncoderSettings())
    with pytest.raises(ShapeError, match="images of 100 px cannot be made by 3 doublings; use a multiple of 8 px"):
        ShallowDecoder(4, 100, BeliyDecoderSettings())
    with pytest.raises(ShapeError, match=r"reads responses \[b 4\], got \(2, 5\)"):
        ShallowDecoder(4, 32, BeliyDecoderSettings())(torch.zeros(2, 5))
