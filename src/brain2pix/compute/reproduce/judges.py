"""Who says which picture a reconstruction resembles: pixels, published networks where their weights are here, and untrained networks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.compute.reproduce.prepare import JUDGES, why_no_weights
from brain2pix.evaluation.functional import independent_networks
from brain2pix.evaluation.metrics import as_images, pixel_correlation
from brain2pix.losses.perceptual import unit_vectors
from brain2pix.models import load_backbone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.events import CancelToken
    from brain2pix.models import FeatureNetwork

# After the last ReLU of each block, as uncalibrated LPIPS reads them (Zhang et al. 2018).
_TAPS = {"vgg16": (3, 8, 15, 22, 29), "alexnet": (1, 4, 7, 9, 11)}
_TITLES = {
    **JUDGES,
    "random": "distance in the features of an untrained network (bundled layout, random weights)",
    "random_residual": "distance in the features of an untrained network (another family, random weights)",
}
_RECONSTRUCTIONS, _CANDIDATES = 16, 64  # at once: their features at all layers must fit into memory


@dataclass(frozen=True)
class Judge:
    """One way of comparing pictures.

    Parameters
    ----------
    key : str, "pixel" or the name of a network
    title : str
    network : FeatureNetwork or None for pixels
    taps : tuple of int, its layers that are compared
    why : str, why it cannot be asked; empty if it can
    """

    key: str
    title: str
    network: "FeatureNetwork | None" = None
    taps: tuple[int, ...] = ()
    why: str = ""

    def similarity(self, reconstructions: "NDArray[np.uint8]", images: "NDArray[np.uint8]", cancel: "CancelToken") -> "NDArray[np.float64]":
        """How alike each reconstruction and each image are, [m k]; larger is more alike."""
        if self.network is None:
            return pixel_correlation(reconstructions, images)
        return -feature_distance(self.network, self.taps, reconstructions, images, cancel)


def make_judges(device: torch.device) -> list[Judge]:
    """Make all judges; one whose weights are not here says why."""
    found = [Judge("pixel", "pixel correlation")]
    for name, taps in _TAPS.items():
        why = why_no_weights(name)
        network = None if why else load_backbone(name).to(device)
        found.append(Judge(name, _TITLES[name], network, taps, why))
    untrained = {name: network.to(device) for name, network in independent_networks().items()}
    return [*found, *(Judge(name, _TITLES[name], network, network.perceptual_taps) for name, network in untrained.items())]


def feature_distance(
    network: "FeatureNetwork",
    taps: tuple[int, ...],
    first: "NDArray[np.uint8]",
    second: "NDArray[np.uint8]",
    cancel: "CancelToken",
) -> "NDArray[np.float64]":
    """Uncalibrated distance in a network's features between each two pictures.

    Parameters
    ----------
    network : FeatureNetwork
    taps : tuple of int, layers
    first, second : uint8 arrays, [m h w 3] and [k h w 3]
    cancel : CancelToken

    Returns
    -------
    float array, [m k]: sum over layers of the mean over places of the squared difference of the feature vectors, each of length 1

    References
    ----------
    .. [1] Zhang et al. 2018, doi:10.1109/CVPR.2018.00068, without its learned weights of the channels; it is 2 (1 - cosine) of each layer.
    """
    rows = []
    for candidates in _blocks(second, _CANDIDATES):
        wanted = _unit(network, taps, candidates)
        parts = []
        for pictures in _blocks(first, _RECONSTRUCTIONS):
            cancel.check()
            made = _unit(network, taps, pictures)
            parts.append(sum(_layer(a, b) for a, b in zip(made, wanted, strict=True)))
        rows.append(np.concatenate(parts))
    return np.concatenate(rows, axis=1)


def _blocks(pictures: "NDArray[np.uint8]", size: int) -> "Iterator[NDArray[np.uint8]]":
    yield from (pictures[start : start + size] for start in range(0, len(pictures), size))


def _unit(network: "FeatureNetwork", taps: tuple[int, ...], pictures: "NDArray[np.uint8]") -> "list[Tensor]":
    """Features at each layer as vectors of length 1 over channels, [b c h w] each."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        return [unit_vectors(layer) for layer in network(torch.from_numpy(as_images(pictures)).permute(0, 3, 1, 2).to(device), taps)]


def _layer(first: "Tensor", second: "Tensor") -> "NDArray[np.float64]":
    """Squared distance of unit vectors, mean over places, [m k]; as lengths and products, so that no [m k c h w] is made."""
    places = first.shape[2] * first.shape[3]
    lengths = [each.square().sum(dim=(1, 2, 3)) for each in (first, second)]  # a vector of zeros has length 0, not 1
    product = first.flatten(1) @ second.flatten(1).T
    return ((lengths[0][:, None] + lengths[1][None] - 2 * product) / places).double().cpu().numpy()
