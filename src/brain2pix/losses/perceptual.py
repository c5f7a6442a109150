"""Distance between images in the feature space of a frozen network. The caller hands in the features."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPS = 1e-12  # inside the square root, whose gradient is infinite at 0


def perceptual_loss(features: "Sequence[Tensor]", targets: "Sequence[Tensor]", weights: "Sequence[float]") -> Tensor:
    """Weighted sum over blocks of the mean over space of (1 - cosine) between feature vectors.

    Parameters
    ----------
    features, targets : sequence of Tensor, [b c h w] each, one per block
    weights : sequence of float, one per block; a block of weight 0 is not computed

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ShapeError
        If the numbers of blocks and weights differ.

    References
    ----------
    .. [1] Gaziv et al. 2022, doi:10.1016/j.neuroimage.2022.119121. Written as half the squared distance of the unit vectors, which is
       the same and also 0 where both vectors are 0.
    """
    if not len(features) == len(targets) == len(weights):
        raise ShapeError(f"one weight per block is needed: {len(features)} and {len(targets)} blocks, {len(weights)} weights")
    terms = [weight * block_distance(a, b).mean() for a, b, weight in zip(features, targets, weights, strict=True) if weight]
    return torch.stack(terms).sum() if terms else torch.zeros((), device=features[0].device if features else None)


def scaled_features(
    features: "Sequence[Tensor]", targets: "Sequence[Tensor]", scales: "Sequence[Tensor]", weights: "Sequence[float]", power: int = 1
) -> Tensor:
    """Weighted sum over blocks of the mean difference of features, each channel in units of its scale.

    Parameters
    ----------
    features, targets : sequence of Tensor, [b c h w] each, one per block
    scales : sequence of Tensor, [c] each, mean absolute value of the channels over training images
    weights : sequence of float, one per block
    power : 1 for the absolute difference, 2 for the squared one

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ShapeError
        If the numbers of blocks, scales and weights differ.

    References
    ----------
    .. [1] Beliy et al. 2019, arXiv:1907.02431; the paper squares, the released program does not.
    """
    if not len(features) == len(targets) == len(scales) == len(weights):
        raise ShapeError(f"one scale and weight per block are needed: {len(features)} blocks, {len(scales)} scales, {len(weights)} weights")
    total = torch.zeros((), device=features[0].device)
    for found, wanted, scale, weight in zip(features, targets, scales, weights, strict=True):
        total = total + weight * ((found - wanted) / scale.view(1, -1, 1, 1)).abs().pow(power).mean()
    return total


def block_distance(features: Tensor, targets: Tensor) -> Tensor:
    """Distance 1 - cosine of one block for each image, averaged over space; [b c h w] twice -> [b]."""
    return 0.5 * (unit_vectors(features) - unit_vectors(targets)).square().sum(1).mean(dim=(1, 2))


def unit_vectors(features: Tensor) -> Tensor:
    """Scale each spatial position's vector over channels to length 1 (0 stays 0); [b c h w]."""
    return features / (features.square().sum(1, keepdim=True) + _EPS).sqrt()
