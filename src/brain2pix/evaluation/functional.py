"""Features of networks that no training has seen: the independent judges."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.evaluation.metrics import as_images
from brain2pix.models.backbones import load_backbone

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.models.backbones import FeatureNetwork

JUDGES = ("random", "random_residual")  # the bundled architecture and one of another family, neither ever trained
JUDGE_SEED = 12345


def independent_networks() -> "dict[str, FeatureNetwork]":
    """Make the frozen random networks that judge reconstructions: name -> network."""
    return {name: load_backbone(name, seed=JUDGE_SEED) for name in JUDGES}


def network_features(network: "FeatureNetwork", images: "ArrayLike", batch_size: int = 32) -> "list[NDArray[np.float32]]":
    """Features of pictures at the network's perceptual taps.

    Parameters
    ----------
    network : FeatureNetwork
    images : pictures as `metrics.as_images` takes them, [m ...]
    batch_size : int

    Returns
    -------
    list of float32 array, [m c h w], one per tap
    """
    pictures = torch.from_numpy(as_images(images)).permute(0, 3, 1, 2)  # [m 3 h w]
    with torch.inference_mode():
        batches = [[layer.numpy() for layer in network(part, network.perceptual_taps)] for part in torch.split(pictures, batch_size)]
    return [np.concatenate(layers) for layers in zip(*batches, strict=True)]
