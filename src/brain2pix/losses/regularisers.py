"""Penalties on the encoder's space maps and on the decoder's linear layer.

Source: the released code of Gaziv et al. 2022 (doi:10.1016/j.neuroimage.2022.119121), by formula. What we do differently: 1e-12 inside
each square root (its gradient is infinite at 0), and the decoder's mean over channels is taken first. It commutes with the average over
neighbours, and the maps to average are then as many times smaller as there are channels. Nothing else is as large as the weights but the
gradient itself: at the published size that is 226 MB, and a copy for each operation would take longer than the networks do.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as nnf

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# torch leaves it untyped
_once: "Callable[[Callable[..., Any]], Callable[..., Any]]" = once_differentiable
_EPS = 1e-12
_IN_CACHE = 1 << 16  # weights that are worked on at once on a CPU
_FOUR = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]) / 4
_EIGHT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]) / 8


def l1(tensors: "Iterable[Tensor]") -> Tensor:
    """Sum of absolute values over all tensors; scalar."""
    return torch.stack([tensor.abs().sum() for tensor in tensors]).sum()


def second_moment(maps: Tensor) -> Tensor:
    """Spread of squared space maps around their centroids: mean over voxels of sum W ((x-x0)^2 + (y-y0)^2) / (2h), W = S^2.

    It is not divided by the sum of W, so it also shrinks the maps.

    Parameters
    ----------
    maps : Tensor, [v h h]

    Returns
    -------
    Tensor, scalar
    """
    power = maps.square()
    height, width = maps.shape[-2:]
    mass = power.sum(dim=(1, 2)) + _EPS
    total = torch.zeros((), dtype=maps.dtype, device=maps.device)
    for profile in (power.sum(1), power.sum(2)):  # along x, along y: [v h]
        place = torch.arange(profile.shape[1], dtype=maps.dtype, device=maps.device)
        centre = (profile @ place) / mass
        total = total + (profile * (place - centre.unsqueeze(1)).square()).sum(1).mean()
    return total / (height + width)


def neighbour_group_lasso(maps: Tensor, l1_weight: float = 5e-6, group_weight: float = 1e-5) -> Tensor:
    """Sparseness of space maps: l1 x sum |S| + group x sum sqrt(mean of the 4 neighbours' S^2), reflect padding.

    Parameters
    ----------
    maps : Tensor, [v h h]
    l1_weight, group_weight : float

    Returns
    -------
    Tensor, scalar
    """
    groups = (neighbour_mean(maps.square(), 4) + _EPS).sqrt().sum()
    return l1_weight * maps.abs().sum() + group_weight * groups


def map_variation(maps: Tensor) -> Tensor:
    """Total variation of space maps, the paper's text: mean over voxels of sum |dx| + |dy|.

    Parameters
    ----------
    maps : Tensor, [v h h]

    Returns
    -------
    Tensor, scalar
    """
    return (maps.diff(dim=2).abs().sum() + maps.diff(dim=1).abs().sum()) / maps.shape[0]


def decoder_group_lasso(
    weight: Tensor,
    inverse_snr: Tensor | None = None,
    l1_weight: float = 40.0,
    group_weight: float = 400.0,
    neighbours: Literal[4, 8] = 8,
    padding: Literal["reflect", "symmetric"] = "reflect",
) -> Tensor:
    """Sparseness of the decoder's linear layer: l1 x mean |W| isnr + group x mean over voxels and places of sqrt(mean over c of Wbar).

    Wbar = (W^2 + 0.5 x the mean of the neighbours' W^2) / 1.5.

    Parameters
    ----------
    weight : Tensor, [c h w v]
    inverse_snr : Tensor or None, [v], see `inverse_snr_weights`; None = all 1
    l1_weight, group_weight : float; 40 and 400 in Gaziv's code, 20 and 400 (with 4 neighbours, symmetric) in Beliy's
    neighbours : 4 or 8
    padding : "reflect" or "symmetric"

    Returns
    -------
    Tensor, scalar
    """
    if weight.ndim != 4:
        raise ShapeError(f"the decoder's weights must be [c h w v], got {tuple(weight.shape)}")
    magnitude, power = channel_means(weight)
    if inverse_snr is not None:
        magnitude = magnitude * inverse_snr
    power = power.permute(2, 0, 1)  # [v h w]
    blended = (power + 0.5 * neighbour_mean(power, neighbours, padding)) / 1.5
    return l1_weight * magnitude.mean() + group_weight * (blended + _EPS).sqrt().mean()


def channel_means(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute weight of each voxel, and mean square over channels; weights [c h w v] -> [v] and [h w v].

    Differentiable once. Neither way makes a copy of the weights.
    """
    means: tuple[Tensor, Tensor] = _APPLY(weight)
    return means


class _ChannelMeans(torch.autograd.Function):
    """Both means, and their gradients, a few channels at a time."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(weight)
        sums, squares = weight.new_zeros(weight.shape[1:]), weight.new_zeros(weight.shape[1:])
        for channels, rows in _parts(weight):
            part = weight[channels, rows]
            sums[rows] += _over_channels(part.abs())
            squares[rows] += _over_channels(part.square())
        return sums.mean(dim=(0, 1)) / len(weight), squares / len(weight)

    @staticmethod
    @_once
    def backward(ctx: Any, of_magnitude: Tensor, of_power: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        slope, sign_slope = torch.empty_like(weight), of_magnitude / weight[..., 0].numel()
        power_slope = of_power * (2 / len(weight))
        for channels, rows in _parts(weight):
            part, found = weight[channels, rows], slope[channels, rows]
            torch.mul(part, power_slope[rows], out=found)
            found.addcmul_(part.sign(), sign_slope)
        return slope


_APPLY: Any = _ChannelMeans.apply  # which torch leaves untyped


def _parts(weight: Tensor) -> "Iterator[tuple[slice, slice]]":
    """Channels and rows of weights [c h w v] that are worked on at once: on a CPU what stays in its cache, elsewhere everything."""
    if weight.device.type != "cpu" or not weight.is_contiguous():
        yield slice(None), slice(None)
        return
    step = max(1, _IN_CACHE // weight[0, 0].numel())
    for row in range(0, weight.shape[1], step):
        for channel in range(len(weight)):
            yield slice(channel, channel + 1), slice(row, row + step)


def _over_channels(part: Tensor) -> Tensor:
    return part[0] if len(part) == 1 else part.sum(0)


def inverse_snr_weights(snr: Tensor) -> Tensor:
    """Inverse signal-to-noise ratios divided by their mean over voxels; ratios under 1 % of the median count as that. [v]."""
    floor = (0.01 * snr.median()).clamp_min(1e-6)
    inverse = 1 / torch.maximum(snr, floor)
    return inverse / inverse.mean()


def neighbour_mean(maps: Tensor, neighbours: Literal[4, 8], padding: Literal["reflect", "symmetric"] = "reflect") -> Tensor:
    """Mean over the 4 or 8 neighbours of each place, the place itself excluded.

    Parameters
    ----------
    maps : Tensor, [v h w]
    neighbours : 4 or 8
    padding : "reflect" (the edge is not repeated) or "symmetric" (it is)

    Returns
    -------
    Tensor, [v h w]
    """
    mode = "reflect" if padding == "reflect" else "replicate"  # one pixel wide, symmetric and replicate are the same
    padded = nnf.pad(maps.unsqueeze(1), (1, 1, 1, 1), mode=mode)
    kernel = (_FOUR if neighbours == 4 else _EIGHT).to(maps).view(1, 1, 3, 3)
    return nnf.conv2d(padded, kernel).squeeze(1)
