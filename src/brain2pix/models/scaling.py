"""Bring each convolution of a network to unit variance on data, at its start and after its training.

Source: Mishkin & Matas 2016, "All you need is a good init" (arXiv:1511.06422), layer-sequential unit variance. What we do differently:
`unit_variance_` may keep the function of a trained network (each layer's output only changes its scale), so that a trained network's
features can be compared with each other as a random network's can.
"""

import torch
from torch import Tensor, nn

from brain2pix.models.feature_networks import FeatureNetwork

_BLANK = 1e-6  # a layer whose output varies less than this is left as it is


@torch.no_grad()
def unit_variance_(network: FeatureNetwork, images: Tensor) -> None:
    """Scale each convolution so that its output has unit variance over `images`, in place.

    For networks without residual sums (ReLU and max-pooling pass scales on) this keeps each layer's output up to one positive factor.

    Parameters
    ----------
    network : FeatureNetwork
    images : Tensor, [b 3 h w], 0..1
    """
    hidden = (images - network.input_mean) / network.input_sd
    inherited = 1.0  # by which the input of the next layer is smaller than it was
    for layer in network.features:
        convolutions = [module for module in layer.modules() if isinstance(module, nn.Conv2d)]
        if isinstance(layer, nn.Conv2d):
            inherited = _scale_(layer, layer(hidden), inherited)
        elif convolutions:
            _scale_inside_(layer, convolutions, hidden)
            inherited = 1.0
        hidden = layer(hidden)


@torch.no_grad()
def random_start_(network: FeatureNetwork, seed: int) -> FeatureNetwork:
    """Draw all weights from a seed (plain normal) and bring each layer to unit variance on `procedural_images`."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * (2.0 / fan) ** 0.5)
            if module.bias is not None:
                module.bias.zero_()
    unit_variance_(network, procedural_images(16, 64, seed=0))
    return network


def procedural_images(count: int, size: int, seed: int) -> Tensor:
    """Coloured pictures with soft and hard edges at all scales; enough to measure a network's scale, not to train one.

    Returns
    -------
    Tensor, [b 3 h w], 0..1
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, size, size)
    grid = 2
    while grid <= size:
        noise = torch.randn(count, 3, grid, grid, generator=generator)
        soft = nn.functional.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)
        total += torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, soft, soft.sign()) / grid**0.5
        grid *= 2
    return torch.sigmoid(1.2 * total / total.std())


def _scale_(layer: nn.Conv2d, output: Tensor, inherited: float) -> float:
    # the bias must shrink with the layer's input before the output can be measured
    if layer.bias is not None:
        bias = layer.bias.view(1, -1, 1, 1)
        output = output - bias + bias / inherited
        layer.bias.div_(inherited)
    spread = float(output.std())
    if spread < _BLANK:
        return inherited
    layer.weight.div_(spread)
    if layer.bias is not None:
        layer.bias.div_(spread)
    return inherited * spread


def _scale_inside_(layer: nn.Module, convolutions: list[nn.Conv2d], hidden: Tensor) -> None:
    for convolution in convolutions:
        seen: list[Tensor] = []
        handle = convolution.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        layer(hidden)
        handle.remove()
        _scale_(convolution, seen[0], 1.0)
