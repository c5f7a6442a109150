"""Where the weights of an encoder or a decoder look, without a gradient: quick and coarse maps of the voxels' fields.

Source: Gaziv et al. 2022 look at the weights of the decoder's linear layer; the same for the encoder, by formula, is ours.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.models import ConvDecoder, ShallowDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain2pix.models import SeparableEncoder


@torch.no_grad()
def separable_energy(encoder: "SeparableEncoder") -> Tensor:
    """Sum over branches of |branch weight| x squared length of the channel mix x squared space map, on the finest branch's grid.

    Each cell of a coarser branch is divided among those it covers. What a voxel reads of its 3x3 patch counts at the patch's middle.

    Parameters
    ----------
    encoder : SeparableEncoder

    Returns
    -------
    Tensor, [v g g]
    """
    finest = max(encoder.grids)
    total = torch.zeros((encoder.n_voxels, finest, finest), device=encoder.branch_mix.device)
    for index, grid in enumerate(encoder.grids):
        strength = encoder.branch_mix[:, index].abs() * encoder.channel_mix[index].square().sum(dim=1)  # [v]
        cells = nnf.pad(encoder.space_of(index).square(), (1, 1, 1, 1))  # a patch that begins at a cell is centred one further
        times = finest // grid
        total += strength[:, None, None] * cells.repeat_interleave(times, 1).repeat_interleave(times, 2) / times**2
    return total


@torch.no_grad()
def read_energy(weight: Tensor) -> Tensor:
    """Sum over channels of the squared weights of a linear layer that reads a grid, [c h w v] -> [v h w]."""
    return weight.square().sum(dim=0).permute(2, 0, 1).contiguous()


@torch.no_grad()
def written_energy(decoders: "Sequence[nn.Module]") -> Tensor:
    """Largest squared weight over channels of the linear layers that write a grid, mean over decoders; [v h w]."""
    total: Tensor | float = 0.0
    for decoder in decoders:
        assert isinstance(decoder, ConvDecoder | ShallowDecoder)
        total = total + decoder.start_weight().abs().amax(dim=0).square()
    assert isinstance(total, Tensor)
    return (total / len(decoders)).permute(2, 0, 1).contiguous()
