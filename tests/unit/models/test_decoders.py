"""The convolutional decoder: the paper's size, layouts, and settings that cannot work."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from brain2pix.config.models import DecoderSettings, demo_decoder, paper_decoder
from brain2pix.errors import ShapeError
from brain2pix.models import ConvDecoder
from brain2pix.models.decoders import _BicubicDoubling

KINDS = {"released": DecoderSettings(), "paper": paper_decoder(), "demo": demo_decoder(), "grey": DecoderSettings(out_channels=1)}


@pytest.mark.parametrize("settings", [DecoderSettings(), paper_decoder()])
def test_size_of_the_paper(settings: DecoderSettings) -> None:
    with torch.device("meta"):
        decoder = ConvDecoder(4500, 112, settings)
    assert sum(parameter.numel() for parameter in decoder.fc.parameters()) == 56_460_544
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 56_773_123
    assert decoder.start_size == 14
    assert decoder.start_weight().shape == (64, 14, 14, 4500)
    assert [tuple(weight.shape) for weight in decoder.convolution_weights()] == [(64, 64, 5, 5)] * 3 + [(3, 64, 5, 5)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image_size", [32, 64])
def test_images_come_out_in_range(kind: str, image_size: int) -> None:
    settings = KINDS[kind]
    images = ConvDecoder(60, image_size, settings)(10 * torch.randn(2, 60))
    assert images.shape == (2, settings.out_channels, image_size, image_size)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0


def test_demo_is_thinner_and_starts_later() -> None:
    decoder = ConvDecoder(60, 64, demo_decoder())
    assert decoder.start(torch.zeros(1, 60)).shape == (1, 48, 16, 16)
    assert [tuple(weight.shape) for weight in decoder.convolution_weights()] == [(48, 48, 3, 3), (32, 48, 3, 3), (3, 32, 3, 3)]


def test_linear_layer_is_laid_out_channel_first() -> None:
    decoder = ConvDecoder(5, 32, demo_decoder())
    with torch.no_grad():
        decoder.fc.weight.zero_()
        decoder.fc.bias.zero_()
        decoder.start_weight()[7, 2, 5, 3] = 1.5  # a view: this writes to the layer
        grid = decoder.start(torch.eye(5))
    assert grid[3, 7, 2, 5] == 1.5
    assert int((grid != 0).sum()) == 1


@pytest.mark.parametrize("kind", ["released", "paper", "demo"])
def test_a_flat_grid_stays_flat_to_the_edges(kind: str) -> None:
    # zero padding, or a misplaced crop, would show at the border
    torch.manual_seed(0)
    decoder = ConvDecoder(4, 32, KINDS[kind])
    with torch.no_grad():
        weight = torch.randn(decoder.settings.channels[0], 1, 1, 4)
        decoder.start_weight().copy_(weight.expand_as(decoder.start_weight()))
        decoder.fc.bias.zero_()
        images = decoder(torch.randn(2, 4))
    assert (images.amax(dim=(2, 3)) - images.amin(dim=(2, 3))).max() < 1e-4


def test_order_of_activation_and_normalisation() -> None:
    released, paper = ConvDecoder(4, 32, DecoderSettings(activation="relu")), ConvDecoder(4, 32, paper_decoder())
    values = torch.randn(3, 4)
    after_released, after_paper = released.blocks(released.start(values)), paper.blocks(paper.start(values))
    assert after_released.min() == 0  # the activation is last
    assert after_paper.min() < 0  # the normalisation is last
    groups = after_paper.reshape(3, 16, -1)
    assert groups.mean(-1).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(2, 3, 14, 14), (1, 2, 5, 9)])
def test_doubling_by_matrices_is_torchs_bicubic_doubling(shape: tuple[int, ...]) -> None:
    grid = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ours, torchs = _BicubicDoubling()(grid), nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False)(grid)
    torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-5)
    cotangent = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    slopes = [torch.autograd.grad(doubled, grid, cotangent)[0] for doubled in (ours, torchs)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-5)


def test_glorot_start_of_the_paper() -> None:
    torch.manual_seed(0)
    decoder = ConvDecoder(300, 64, paper_decoder())
    expected = (2 / (300 + 64 * 8 * 8)) ** 0.5
    assert decoder.fc.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert decoder.fc.bias.abs().max() == 0


def test_the_same_state_loads_into_another() -> None:
    first, second = ConvDecoder(6, 32, demo_decoder()), ConvDecoder(6, 32, demo_decoder())
    second.load_state_dict(first.state_dict())
    values = torch.randn(2, 6)
    assert torch.equal(first(values), second(values))
    assert all(tensor.is_contiguous() for tensor in first.state_dict().values())  # safetensors wants that
    assert isinstance(first.fc, nn.Linear)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_divisor": 4}, "needs 2 blocks, so 3 numbers in channels"),
        ({"groups": 48}, "channels 64 cannot be split into 48 groups"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DecoderSettings(**changes)


def test_sizes_that_cannot_work() -> None:
    with pytest.raises(ShapeError, match="image size 60 is not a multiple of start_divisor 8"):
        ConvDecoder(4, 60)
    with pytest.raises(ShapeError, match="a start grid of 1 px is too small for kernel 5"):
        ConvDecoder(4, 8)
    with pytest.raises(ShapeError, match=r"reads responses \[b 4\], got \(2, 5\)"):
        ConvDecoder(4, 32)(torch.zeros(2, 5))
