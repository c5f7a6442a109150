"""Parameter counts of every network and option of gaziv and beliy, at 4,500 and 60 voxels, at 112 and 56 px, against sums by hand."""

import pytest
import torch
from torch import nn

from brain2pix.config.beliy import BeliyDecoderSettings, BeliyEncoderSettings
from brain2pix.config.models import DecoderSettings, EncoderSettings, paper_decoder
from brain2pix.models import ConvDecoder, SeparableEncoder, ShallowDecoder, ShallowEncoder, VGG19Features

VOXELS = (4500, 60)
SIZES = (112, 56)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(before: int, after: int, kernel: int) -> int:
    return (before * kernel**2 + 1) * after


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_voxels", VOXELS)
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_separable_encoder(n_voxels: int, size: int, share: bool, kernel: int) -> None:
    with torch.device("meta"):
        settings = EncoderSettings(share_space=share, last_kernel=kernel)
        encoder = SeparableEncoder(n_voxels, VGG19Features().tap_shapes(size), size, settings)
    kernels = {64: 3, 128: 3, 256: 3, 512: kernel}
    branches = sum(2 * channels + conv(channels, 32, edge) + 2 * 32 for channels, edge in kernels.items())
    fine, coarse = size // 4 - 2, size // 8 - 2
    maps = (1 if share else 2) * (fine**2 + coarse**2)
    assert count(encoder) == branches + n_voxels * (maps + 4 * (288 + 1) + 4)
    if (n_voxels, size, kernel) == (4500, 112, 1):
        assert count(encoder) == (9_057_712 if share else 12_747_712)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_voxels", VOXELS)
@pytest.mark.parametrize("out_channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["released", "paper"])
def test_convolutional_decoder(n_voxels: int, size: int, out_channels: int, kind: str) -> None:
    settings = DecoderSettings() if kind == "released" else paper_decoder()
    with torch.device("meta"):
        # the network takes any number of channels; the settings offer those that the data can have
        decoder = ConvDecoder(n_voxels, size, settings.model_copy(update={"out_channels": out_channels}))
    grid = 64 * (size // 8) ** 2
    assert count(decoder) == grid * (n_voxels + 1) + 3 * (conv(64, 64, 5) + 2 * 64) + conv(64, out_channels, 5)
    assert decoder.start_size == size // 8
    if (n_voxels, size, out_channels) == (4500, 112, 3):
        assert count(decoder) == 56_773_123


@pytest.mark.parametrize(("size", "n_blocks"), [(112, 2), (56, 2), (112, 3)])
@pytest.mark.parametrize("n_voxels", VOXELS)
@pytest.mark.parametrize("first", [64, 96])
def test_shallow_encoder(n_voxels: int, size: int, first: int, n_blocks: int) -> None:
    with torch.device("meta"):
        encoder = ShallowEncoder(n_voxels, first, size, BeliyEncoderSettings(n_blocks=n_blocks))
    blocks = conv(first, 32, 3) + (n_blocks - 1) * conv(32, 32, 3) + n_blocks * 2 * 32
    grid = 32 * (size // 2 ** (n_blocks + 1)) ** 2
    assert count(encoder) == 2 * first + blocks + (grid + 1) * n_voxels
    if (n_voxels, size, n_blocks) == (4500, 112, 2):
        assert count(encoder) == {64: 28_256_468, 96: 28_265_748}[first]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_voxels", VOXELS)
@pytest.mark.parametrize("out_channels", [1, 3, 4])
def test_shallow_decoder(n_voxels: int, size: int, out_channels: int) -> None:
    with torch.device("meta"):
        decoder = ShallowDecoder(n_voxels, size, BeliyDecoderSettings().model_copy(update={"out_channels": out_channels}))
    grid = 64 * (size // 8) ** 2
    assert count(decoder) == grid * (n_voxels + 1) + 3 * (conv(64, 64, 3) + 2 * 64) + conv(64, out_channels, 3)
    if (n_voxels, size, out_channels) == (4500, 112, 3):
        assert count(decoder) == 56_573_443


@pytest.mark.parametrize("size", [112, 56])
@pytest.mark.parametrize("out_channels", [1, 3, 4])
def test_shapes_at_sixty_voxels(size: int, out_channels: int) -> None:
    values = torch.randn(2, 60)
    for kind in (DecoderSettings(), paper_decoder()):
        images = ConvDecoder(60, size, kind.model_copy(update={"out_channels": out_channels}))(10 * values)
        assert images.shape == (2, out_channels, size, size) and 0 <= images.min() <= images.max() <= 1
    images = ShallowDecoder(60, size, BeliyDecoderSettings().model_copy(update={"out_channels": out_channels}))(10 * values)
    assert images.shape == (2, out_channels, size, size) and 0 <= images.min() <= images.max() <= 1
    assert ShallowEncoder(60, 64, size, BeliyEncoderSettings()).eval()([torch.rand(2, 64, size // 2, size // 2)]).shape == (2, 60)
    for kernel in (1, 3):
        taps = VGG19Features().tap_shapes(size) if out_channels == 3 else [(5, size, size), (6, size // 2, size // 2)]
        encoder = SeparableEncoder(60, taps, size, EncoderSettings(last_kernel=kernel)).eval()
        assert encoder([torch.rand(2, *shape) for shape in taps]).shape == (2, 60)


def test_biases_of_the_shallow_decoder_may_be_drawn_too() -> None:
    """As the program's Glorot normal draws a vector of n: as many ways in as out, so a variance of 1 / n."""
    torch.manual_seed(0)
    assert ShallowDecoder(4, 112, BeliyDecoderSettings()).fc.bias.abs().max() == 0
    decoder = ShallowDecoder(4, 112, BeliyDecoderSettings(draw_biases=True))
    assert decoder.fc.bias.std().item() * 12544**0.5 == pytest.approx(1, rel=0.03)
    assert decoder.fc.weight.std().item() == pytest.approx((2 / (4 + 12544)) ** 0.5, rel=0.02)
    encoder = ShallowEncoder(4, 64, 112, BeliyEncoderSettings())
    assert encoder.fc.bias.abs().max() == 0
