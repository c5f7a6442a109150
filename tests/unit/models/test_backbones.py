"""Feature networks: layers of the published files, taps, the random ones."""

import pytest
import torch
from torch import nn

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.models import AlexNetFeatures, FeatureNetwork, ResidualFeatures, TinyBackbone, VGG16Features, VGG19Features, load_backbone
from brain2pix.models.scaling import procedural_images, random_start_, unit_variance_

ALL = [VGG16Features, VGG19Features, AlexNetFeatures, TinyBackbone, ResidualFeatures]
# index of each convolution in the published state dicts, and the parameters of their convolutional parts
PUBLISHED = {
    VGG16Features: ([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], 14_714_688),
    VGG19Features: ([0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34], 20_024_384),
    AlexNetFeatures: ([0, 3, 6, 8, 10], 2_469_696),
}


@pytest.mark.parametrize("cls", PUBLISHED)
def test_parameters_have_the_published_names(cls: type[FeatureNetwork]) -> None:
    indices, total = PUBLISHED[cls]
    with torch.device("meta"):
        network = cls()  # type: ignore[call-arg]
    expected = [f"features.{index}.{part}" for index in indices for part in ("weight", "bias")]
    assert list(network.state_dict()) == expected
    assert sum(parameter.numel() for parameter in network.parameters()) == total


def test_taps_of_the_paper() -> None:
    encoder, loss = VGG19Features(), VGG16Features()
    assert encoder.tap_shapes(112) == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14)]
    assert all(isinstance(encoder.features[tap], nn.ReLU) for tap in encoder.encoder_taps)
    assert sum(parameter.numel() for parameter in encoder.features[:27].parameters()) == 10_585_152
    assert loss.perceptual_taps == (4, 9, 16, 23, 30)
    assert loss.tap_shapes(112, loss.perceptual_taps) == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7), (512, 3, 3)]
    assert AlexNetFeatures().tap_shapes(224, (9,)) == [(256, 13, 13)]
    assert AlexNetFeatures().tap_shapes(112, (9,)) == [(256, 6, 6)]


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("kind", ["encoder_taps", "perceptual_taps"])
def test_shapes_are_known_before_running(cls: type[FeatureNetwork], kind: str) -> None:
    network = cls()  # type: ignore[call-arg]
    taps = getattr(cls, kind)
    features = network(torch.rand(1, 3, 64, 64), taps)
    assert [tuple(part.shape[1:]) for part in features] == network.tap_shapes(64, taps)


@pytest.mark.parametrize("cls", ALL)
def test_taps_are_outputs_of_their_layers(cls: type[FeatureNetwork]) -> None:
    network = cls()  # type: ignore[call-arg]
    images = torch.rand(1, 3, 64, 64)
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    hidden = (images - mean.view(1, 3, 1, 1)) / sd.view(1, 3, 1, 1)
    for tap, found in zip(network.encoder_taps, network(images), strict=True):
        expected = network.features[: tap + 1](hidden)
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_frozen_networks_pass_gradients_to_images_only() -> None:
    network = TinyBackbone()
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    sum(part.sum() for part in network(images)).backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("taps", [(), (5, 3), (3, 3), (-1,), (20,)])
def test_taps_that_do_not_exist(taps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"taps of tiny are layers 0\.\.19 in rising order"):
        TinyBackbone()(torch.rand(1, 3, 32, 32), taps)


def test_images_of_the_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"tiny expects images \[b 3 h w\], got \(3, 32, 32\)"):
        TinyBackbone()(torch.rand(3, 32, 32))
    with pytest.raises(ShapeError, match="images of 8 px are too small for layer 19 of tiny"):
        TinyBackbone().tap_shapes(8, (19,))


@pytest.mark.parametrize("name", ["random", "random_residual"])
def test_random_networks_follow_their_seed(name: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    first, again, other = (load_backbone(name, seed=seed) for seed in (12345, 12345, 1))
    for a, b, c in zip(first(images), again(images), other(images), strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


@pytest.mark.parametrize("name", ["random", "random_residual"])
def test_each_convolution_of_a_random_network_has_unit_variance(name: str) -> None:
    network = load_backbone(name, seed=2)
    spreads: list[float] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: spreads.append(float(output.std())))
    images = procedural_images(16, 64, seed=0)
    network(images, (len(network.features) - 1,))
    assert spreads == pytest.approx([1.0] * len(spreads), rel=1e-3)
    spreads.clear()
    network(procedural_images(16, 64, seed=5), (len(network.features) - 1,))  # other pictures: about the same
    assert all(0.5 < spread < 2 for spread in spreads)


def test_the_other_family_sees_differently() -> None:
    # features of the two families must not be the same measure twice: their distances between pictures are not proportional
    images = procedural_images(24, 64, seed=1)
    distances = []
    for name in ("random", "random_residual"):
        flat = load_backbone(name, seed=0)(images)[-1].flatten(1)
        distances.append(torch.pdist(flat))
    assert torch.corrcoef(torch.stack(distances))[0, 1] < 0.98


def test_scaling_a_trained_network_keeps_what_it_computes() -> None:
    network = TinyBackbone()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    images = procedural_images(8, 64, seed=3)
    before = network(images, network.perceptual_taps)
    unit_variance_(network, images)
    for old, new in zip(before, network(images, network.perceptual_taps), strict=True):
        factor = float((old * new).sum() / old.square().sum())
        assert factor > 0
        assert torch.allclose(new, factor * old, rtol=1e-3, atol=1e-4 * float(new.abs().max()))


def test_a_dead_layer_is_left_as_it_is() -> None:
    network = random_start_(TinyBackbone(), 0)
    with torch.no_grad():
        network.features[2].weight.zero_()
    unit_variance_(network, procedural_images(4, 32, seed=0))
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_procedural_images_are_pictures() -> None:
    images = procedural_images(6, 32, seed=0)
    assert images.shape == (6, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std(dim=(2, 3)).min() > 0.02
