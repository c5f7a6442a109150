import torch

from brain2pix.models import FieldEncoder

TAPS = [(6, 32, 32), (8, 16, 16), (10, 8, 8), (12, 4, 4)]
SEEN = [(3, 16, 16), *TAPS]  # the image first


def make(n_voxels=5):
    torch.manual_seed(0)
    encoder = FieldEncoder(n_voxels, TAPS, 32, channels=3).eval()
    fields = {grid: torch.rand(n_voxels, grid, grid) for grid in (8, 4)}
    encoder.set_fields(slice(0, n_voxels), fields, torch.zeros(n_voxels, 6))
    encoder.set_weights(slice(0, n_voxels), torch.randn(n_voxels, 15), torch.randn(n_voxels))
    return encoder, fields


def features(count=4):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(count, *shape, generator=generator) for shape in SEEN]


def test_a_voxel_weighs_what_its_field_pools():
    encoder, fields = make()
    activations = encoder.activations(features())
    assert [tuple(part.shape[1:]) for part in activations] == [(3, 8, 8), (3, 8, 8), (3, 8, 8), (3, 4, 4), (3, 4, 4)]
    expected = encoder.bias.repeat(4, 1)
    for branch, part in enumerate(activations):
        weights = encoder.weights[:, 3 * branch : 3 * branch + 3]
        expected = expected + torch.einsum("vc,vyx,ncyx->nv", weights, fields[part.shape[-1]], part)
    assert torch.allclose(encoder(features()), expected, rtol=1e-4, atol=1e-4)
    pooled = encoder.pool(activations, slice(1, 3))
    assert torch.allclose((pooled * encoder.weights[1:3, None]).sum(dim=2).T + encoder.bias[1:3], expected[:, 1:3], rtol=1e-4, atol=1e-4)


def test_compact_features_give_the_same_responses():
    encoder, _ = make()
    compact = encoder.compact(features())
    assert compact[1].shape[-1] == 16  # pooled already
    assert torch.equal(encoder(compact), encoder(features()))


def test_a_new_read_out_and_a_loaded_state_take_effect():
    encoder, _ = make()
    before = encoder(features())
    encoder.set_weights(slice(0, 2), torch.zeros(2, 15), torch.zeros(2))
    after = encoder(features())
    assert (after[:, :2] == 0).all() and torch.equal(after[:, 2:], before[:, 2:])
    encoder.load_state_dict(make()[0].state_dict())
    assert torch.equal(encoder(features()), before)


def test_calibration_centres_and_scales_the_features():
    encoder, _ = make()
    taps = [3 + 5 * part for part in features(32)]
    encoder.calibrate([taps])
    for branch, tap in zip(encoder.branches, encoder.compact(taps), strict=True):
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


def test_the_image_is_read_beside_the_backbones_features():
    encoder, _ = make()
    images = torch.rand(2, 3, 32, 32)
    seen = encoder.inputs(images, features(2)[1:])
    assert [tuple(part.shape[1:]) for part in seen] == SEEN
    assert torch.allclose(seen[0][0, 1, 0, 0], images[0, 1, :2, :2].mean())
    images.requires_grad_(True)
    encoder(encoder.inputs(images, features(2)[1:])).sum().backward()
    assert images.grad.abs().sum() > 0
