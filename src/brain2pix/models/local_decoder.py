"""Decoder of `retino`: responses -> small pictures by a linear map -> image by small U-Nets.

The linear map says where each voxel acts and is solved in closed form (`methods/_local_map.py`). The network (Ronneberger, Fischer & Brox
2015, arXiv:1505.04597, here with residual blocks) adds what a linear map cannot: edges, and the choice between its pictures. It has no
normalisation, which would take away the mean and contrast that the map got right and let far places act on each other.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brain2pix.config.retino import RetinoDecoderSettings


class LocalDecoder(nn.Module):
    """A linear map to small pictures, then one or several networks whose images are averaged.

    Parameters
    ----------
    n_voxels : int
    image_size : int, edge of the image [px]
    settings : RetinoDecoderSettings
    n_parts : int, sets of `settings.n_runs` networks

    Attributes
    ----------
    pictures : Tensor, [v 3*k*s*s], linear map to k colour pictures of s px; `pictures_offset` [3*k*s*s]
    contrasts : Tensor, [v 2*g*g], linear map to the contrast along x and y on the grid of blocks; `contrasts_offset` [2*g*g]
    contrast_scale : Tensor, (), what brings the contrasts to the size of the pictures
    networks : nn.ModuleList of `RefiningNetwork`

    Raises
    ------
    ShapeError
        If the small pictures cannot be halved as often as the network does, or are larger than the image.
    """

    pictures: Tensor
    pictures_offset: Tensor
    contrasts: Tensor
    contrasts_offset: Tensor

    def __init__(self, n_voxels: int, image_size: int, settings: "RetinoDecoderSettings", n_parts: int = 1) -> None:
        super().__init__()
        linear = settings.linear
        self.n_voxels, self.image_size = n_voxels, image_size
        self.size, self.n_pictures = linear.size, len(linear.error_shares)
        halvings = len(settings.channels) - 1
        if self.size % 2**halvings or self.size > image_size:
            raise ShapeError(
                f"decoder.linear.size {self.size} must be a multiple of {2**halvings} (it is halved {halvings} times) "
                f"and at most the image size, {image_size}"
            )
        self.grid = linear.blocks if linear.contrast else 0
        self.register_buffer("pictures", torch.zeros(n_voxels, 3 * self.n_pictures * self.size**2))
        self.register_buffer("pictures_offset", torch.full((3 * self.n_pictures * self.size**2,), 0.5))
        self.register_buffer("contrasts", torch.zeros(n_voxels, 2 * self.grid**2))
        self.register_buffer("contrasts_offset", torch.zeros(2 * self.grid**2))
        inputs = 3 * self.n_pictures + (2 if self.grid else 0)
        self.networks = nn.ModuleList(
            RefiningNetwork(inputs, settings.channels, settings.top_channels, image_size) for _ in range(n_parts * settings.n_runs)
        )

    def forward(self, values: Tensor, numbers: "Iterable[int] | None" = None) -> Tensor:
        """Make images [b 3 h w], not clipped, from responses [b v]: the mean over networks, or over some of them."""
        seen = self.linear_pictures(values)
        chosen = range(len(self.networks)) if numbers is None else numbers
        return torch.stack([self.networks[number](seen) for number in chosen]).mean(dim=0)

    def linear_pictures(self, values: Tensor) -> Tensor:
        """Small pictures and contrasts that the linear map makes of responses [b v]; [b c s s]."""
        if values.ndim != 2 or values.shape[1] != self.n_voxels:
            raise ShapeError(f"the decoder reads responses [b {self.n_voxels}], got {tuple(values.shape)}")
        pictures = (values @ self.pictures + self.pictures_offset).view(-1, 3 * self.n_pictures, self.size, self.size)
        if not self.grid:
            return pictures
        contrasts = (values @ self.contrasts + self.contrasts_offset).view(-1, 2, self.grid, self.grid)
        return torch.cat([pictures, nnf.interpolate(contrasts, size=self.size, mode="bilinear", align_corners=False)], dim=1)


class RefiningNetwork(nn.Module):
    """U-Net from the linear map's pictures to what is added to the first of them.

    Parameters
    ----------
    inputs : int, channels of the pictures; the first three are the picture that is refined
    channels : tuple of int, at each resolution, finest first
    top_channels : int, at the resolution of the image
    image_size : int [px]
    """

    def __init__(self, inputs: int, channels: tuple[int, ...], top_channels: int, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.enter = _convolution(inputs, channels[0])
        self.down = nn.ModuleList(_ResidualBlock(width) for width in channels)
        self.halve = nn.ModuleList(_convolution(fine, coarse) for fine, coarse in pairwise(channels))
        self.join = nn.ModuleList(_convolution(fine + coarse, fine) for fine, coarse in pairwise(channels))
        self.up = nn.ModuleList(_ResidualBlock(width) for width in channels[:-1])
        self.top = _convolution(channels[0], top_channels)
        self.leave = _zero(_convolution(top_channels, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """[b c s s] -> [b 3 h w]."""
        hidden = self.enter((pictures - 0.5).contiguous(memory_format=torch.channels_last))
        skips = []
        for index, block in enumerate(self.down):
            hidden = block(hidden)
            if index < len(self.halve):
                skips.append(hidden)
                hidden = self.halve[index](nnf.avg_pool2d(hidden, 2))
        for index in reversed(range(len(skips))):
            hidden = self.join[index](torch.cat([skips[index], _enlarge(hidden, skips[index].shape[-1])], dim=1))
            hidden = self.up[index](hidden)
        fine = nnf.silu(self.top(_enlarge(hidden, self.image_size)))
        made: Tensor = _enlarge(pictures[:, :3], self.image_size) + self.leave(fine)
        return made


class _ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))); the second convolution starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _zero(_convolution(width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        """[b c s s] -> [b c s s]."""
        added: Tensor = self.second(nnf.silu(self.first(nnf.silu(hidden))))
        return hidden + added


def _enlarge(images: Tensor, size: int) -> Tensor:
    # learned enlargement (pixel shuffle) leaves stripes
    return images if images.shape[-1] == size else nnf.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
