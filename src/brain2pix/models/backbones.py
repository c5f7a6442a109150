"""Make a frozen feature network by name, with its weights."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from brain2pix.errors import ConfigError, unknown_name
from brain2pix.models.feature_networks import (
    AlexNetFeatures,
    CaffeAlexNetFeatures,
    FeatureNetwork,
    ResidualFeatures,
    TinyBackbone,
    VGG16Features,
    VGG19Features,
)
from brain2pix.models.scaling import random_start_
from brain2pix.models.weights import fill, load_tensors, read_card, weight_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "AlexNetFeatures",
    "CaffeAlexNetFeatures",
    "FeatureNetwork",
    "ResidualFeatures",
    "TinyBackbone",
    "VGG16Features",
    "VGG19Features",
    "backbone_names",
    "first_layer_channels",
    "load_backbone",
    "tap_shapes",
]

_TRAINED: "dict[str, Callable[[], FeatureNetwork]]" = {
    "tiny": TinyBackbone,
    "vgg16": VGG16Features,
    "vgg19": VGG19Features,
    "alexnet": AlexNetFeatures,
    "alexnet-caffe": CaffeAlexNetFeatures,
}
_RANDOM: "dict[str, Callable[[], FeatureNetwork]]" = {"random": TinyBackbone, "random_residual": ResidualFeatures}


def backbone_names() -> list[str]:
    """Names that `load_backbone` knows."""
    return [*_TRAINED, *_RANDOM]


def tap_shapes(name: str, image_size: int) -> list[tuple[int, int, int]]:
    """Shapes (c, h, w) of what an encoder reads of a network's features for square images; no weights are needed."""
    with torch.device("meta"):
        return (_TRAINED | _RANDOM)[name]().tap_shapes(image_size)


def first_layer_channels(name: str) -> int:
    """Channels that `first_layer` gives of a network; no weights are needed."""
    with torch.device("meta"):
        convolution = (_TRAINED | _RANDOM)[name]().features[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels


def load_backbone(name: str, weights: "Path | None" = None, seed: int = 0) -> FeatureNetwork:
    """Make a frozen feature network with its weights.

    Parameters
    ----------
    name : str, "tiny" (bundled), "vgg16", "vgg19", "alexnet", "alexnet-caffe" (published files), "random" (tiny's layers, never trained),
        "random_residual" (another family, never trained)
    weights : Path or None, a weight file of one's own; None = the bundled file, or `weights_folder` for published ones
    seed : int, of the random networks

    Raises
    ------
    ConfigError
        If the name is unknown, or weights are given for a random network.
    MissingDataError
        If the weight file is absent.
    DataFormatError
        If the file is not the one on the card, holds more than tensors, or does not fit the network.
    """
    if name in _RANDOM:
        if weights is not None:
            raise ConfigError(
                f"backbone {name!r} is never trained, so it takes no weights; got {weights}. Leave weights out or choose 'tiny'."
            )
        return random_start_(_RANDOM[name](), seed)
    if name not in _TRAINED:
        raise ConfigError(unknown_name("backbone", name, backbone_names()))
    network = _TRAINED[name]()
    with weight_file(read_card(name), weights) as path:
        fill(network, load_tensors(path), path)
    return network
