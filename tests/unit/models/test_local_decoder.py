import pytest
import torch
from torch.nn import functional

from brain2pix.config.retino import RetinoDecoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models import LocalDecoder

SETTINGS = RetinoDecoderSettings(linear={"size": 16, "blocks": 8}, channels=(8, 12), top_channels=4, n_runs=2)


def make(settings=SETTINGS):
    torch.manual_seed(0)
    decoder = LocalDecoder(5, 32, settings).eval()
    for name, buffer in decoder.named_buffers():
        buffer.copy_(torch.rand(buffer.shape) * (0.1 if name.endswith("s") else 0.5))
    return decoder


def test_it_starts_as_its_first_linear_picture():
    decoder = make()
    values = torch.randn(3, 5)
    picture = (values @ decoder.pictures + decoder.pictures_offset).view(3, 2, 3, 16, 16)[:, 0]
    expected = functional.interpolate(picture, size=32, mode="bilinear", align_corners=False)
    assert torch.allclose(decoder(values), expected, atol=1e-6)


def test_linear_pictures_are_linear_and_hold_contrasts():
    decoder = make()
    first, second = torch.randn(2, 1, 5)
    assert decoder.linear_pictures(first).shape == (1, 8, 16, 16)
    middle = decoder.linear_pictures((first + second) / 2)
    assert torch.allclose(middle, (decoder.linear_pictures(first) + decoder.linear_pictures(second)) / 2, atol=1e-6)
    without = make(RetinoDecoderSettings(linear={"size": 16, "blocks": 8, "contrast": False}, channels=(8, 12), top_channels=4))
    assert without.linear_pictures(first).shape == (1, 6, 16, 16)


def test_several_networks_are_averaged():
    decoder = make()
    with torch.no_grad():
        for number, network in enumerate(decoder.networks):
            network.leave.bias.fill_(float(number))
    values = torch.randn(2, 5)
    alone = [network(decoder.linear_pictures(values)) for network in decoder.networks]
    assert not torch.allclose(alone[0], alone[1])
    assert torch.allclose(decoder(values), (alone[0] + alone[1]) / 2, atol=1e-6)


def test_a_far_place_is_not_changed_by_a_voxel_beyond_the_networks_reach():
    """Without normalisation a change stays where the convolutions can carry it."""
    decoder = LocalDecoder(2, 64, RetinoDecoderSettings(linear={"size": 64, "blocks": 16}, channels=(8,), top_channels=4, n_runs=1))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.1)
        decoder.pictures.view(2, 2, 3, 64, 64)[0, :, :, :8, :8] = 1
    change = (decoder(torch.tensor([[1.0, 0.0]])) - decoder(torch.zeros(1, 2))).abs()[0].sum(dim=0)
    assert change[:8, :8].min() > 0
    assert change[20:, 20:].max() == 0


@pytest.mark.parametrize(
    ("linear", "message"), [({"size": 15, "blocks": 5}, "multiple of 2"), ({"size": 64, "blocks": 8}, "at most the image")]
)
def test_pictures_that_do_not_fit_are_refused(linear, message):
    with pytest.raises(ShapeError, match=message):
        LocalDecoder(5, 32, RetinoDecoderSettings(linear=linear, channels=(8, 12)))


def test_a_batch_of_other_voxels_is_refused():
    with pytest.raises(ShapeError, match=r"\[b 5\], got \(1, 4\)"):
        make()(torch.zeros(1, 4))
