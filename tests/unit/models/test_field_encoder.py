import numpy as np
import pytest
import torch
from scipy import ndimage

from brain2pix.config.retino import RetinoEncoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models import FieldEncoder

TAPS = [(6, 32, 32), (8, 16, 16), (10, 8, 8), (12, 4, 4)]
SEEN = [(3, 32, 32), *TAPS[1:]]  # the image first
SETTINGS = RetinoEncoderSettings(image_scales=2, image_channels=4, first_tap=1, channels=3)
CHANNELS = (4, 4, 3, 3, 3)
GRIDS = (8, 8, 8, 4, 4)


def make(n_voxels=5):
    torch.manual_seed(0)
    encoder = FieldEncoder(n_voxels, TAPS, 32, SETTINGS).eval()
    fields = {grid: torch.rand(n_voxels, grid, grid) for grid in (8, 4)}
    encoder.set_fields(slice(0, n_voxels), fields, torch.zeros(n_voxels, 6))
    encoder.set_weights(slice(0, n_voxels), torch.randn(n_voxels, 17), torch.randn(n_voxels))
    return encoder, fields


def features(count=4):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(count, *shape, generator=generator) for shape in SEEN]


def test_a_voxel_weighs_what_its_field_pools():
    encoder, fields = make()
    activations = encoder.activations(features())
    assert [tuple(part.shape[1:]) for part in activations] == [(c, g, g) for c, g in zip(CHANNELS, GRIDS, strict=True)]
    expected = encoder.bias.repeat(4, 1)
    for part, weights in zip(activations, encoder.weights.split(CHANNELS, dim=1), strict=True):
        expected = expected + torch.einsum("vc,vyx,ncyx->nv", weights, fields[part.shape[-1]], part)
    assert torch.allclose(encoder(features()), expected, rtol=1e-4, atol=1e-4)
    pooled = encoder.pool(activations, slice(1, 3))
    assert torch.allclose((pooled * encoder.weights[1:3, None]).sum(dim=2).T + encoder.bias[1:3], expected[:, 1:3], rtol=1e-4, atol=1e-4)


def test_compact_features_give_the_same_responses():
    encoder, _ = make()
    compact = encoder.compact(features())
    assert [part.shape[-1] for part in compact] == [32, 16, 8, 4]
    assert torch.equal(encoder(compact), encoder(features()))


def test_a_new_read_out_and_a_loaded_state_take_effect():
    encoder, _ = make()
    before = encoder(features())
    encoder.set_weights(slice(0, 2), torch.zeros(2, 17), torch.zeros(2))
    after = encoder(features())
    assert (after[:, :2] == 0).all() and torch.equal(after[:, 2:], before[:, 2:])
    encoder.load_state_dict(make()[0].state_dict())
    assert torch.equal(encoder(features()), before)


def test_calibration_centres_and_scales_what_each_branch_reads():
    encoder, _ = make()
    taps = [3 + 5 * part for part in features(32)]
    encoder.calibrate([taps])
    read = [taps[0], torch.nn.functional.avg_pool2d(taps[0], 2), *encoder.compact(taps)[1:]]
    for branch, tap in zip(encoder.branches, read, strict=True):
        seen = branch.norm_in(tap)
        assert seen.mean(dim=(0, 2, 3)).abs().max() < 1e-3
        assert torch.allclose(seen.var(dim=(0, 2, 3)), torch.ones(len(seen[0])), atol=1e-2)


def test_gradients_reach_the_convolutions_only():
    encoder, _ = make()
    encoder(features()).sum().backward()
    trained = {id(parameter) for parameter in encoder.convolutions()}
    for name, parameter in encoder.named_parameters():
        assert (id(parameter) in trained) == (".conv." in name)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.convolutions())


def test_the_image_is_read_beside_the_backbones_deeper_taps():
    encoder, _ = make()
    images = torch.rand(2, 3, 32, 32)
    seen = encoder.inputs(images, [torch.rand(2, *shape) for shape in TAPS])
    assert [tuple(part.shape[1:]) for part in seen] == SEEN
    assert torch.equal(seen[0], images)
    images.requires_grad_(True)
    encoder(encoder.inputs(images, [torch.rand(2, *shape) for shape in TAPS])).sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_scale_of_the_image_filters_rectifies_and_averages():
    encoder, _ = make()
    images = features()[0]
    for halvings, branch in enumerate(encoder.branches[:2]):
        # scipy as the second formula; the normalisation is as made: mean 0, variance 1
        small = images.numpy().reshape(4, 3, 32 >> halvings, 1 << halvings, 32 >> halvings, 1 << halvings).mean(axis=(3, 5))
        weight, bias = (value.detach().numpy() for value in (branch.conv.weight, branch.conv.bias))
        filtered = sum(ndimage.correlate(small[0, c], weight[2, c], mode="nearest") for c in range(3)) + bias[2]
        cells = np.maximum(filtered, 0).reshape(8, 4 >> halvings, 8, 4 >> halvings).mean(axis=(1, 3))
        assert np.allclose(branch.activate(images)[0, 2].detach().numpy(), cells, atol=1e-4)


def test_filters_start_smooth():
    encoder, _ = make()
    weight = encoder.branches[0].conv.weight.detach()
    middle, rim = weight[:, :, 2:5, 2:5].square().sum(), weight.square().sum() - weight[:, :, 1:6, 1:6].square().sum()
    assert middle > 10 * rim


def test_without_the_image_or_without_taps():
    taps_only = FieldEncoder(2, TAPS, 32, RetinoEncoderSettings(image_scales=0, first_tap=0, channels=2))
    seen = [torch.rand(1, *shape) for shape in TAPS]
    assert [part.shape[1] for part in taps_only.activations(taps_only.inputs(torch.rand(1, 3, 32, 32), seen))] == [2] * 4
    image_only = FieldEncoder(2, TAPS, 32, RetinoEncoderSettings(image_scales=3, first_tap=9, image_channels=2))
    assert [tuple(part.shape[1:]) for part in image_only.activations(image_only.inputs(torch.rand(1, 3, 32, 32), seen))] == [(2, 8, 8)] * 3
    with pytest.raises(ShapeError, match=r"no scale of the image and no tap.*image_scales above 0.*below 4.*first_tap is 4"):
        FieldEncoder(2, TAPS, 32, RetinoEncoderSettings(image_scales=0, first_tap=4))
