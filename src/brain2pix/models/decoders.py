"""Decoder of Gaziv et al.: responses -> small feature grid -> image.

Source: Gaziv, Beliy, Granot, Hoogi, Strappini, Golan, Irani 2022 (NeuroImage 254, 119121), section "Decoder"; the released code differs
from the text, and `DecoderSettings` holds both columns (default: the code's). Clean-room: written from the paper and our own notes.
What we added: the start grid, widths and kernel are settings, so that the same class trains on two cores.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.models import DecoderSettings
from brain2pix.errors import ShapeError


class ConvDecoder(nn.Module):
    """A linear layer to a grid, then blocks that double its size, then an image.

    Parameters
    ----------
    n_voxels : int
    image_size : int, edge of the image [px]
    settings : DecoderSettings

    Raises
    ------
    ShapeError
        If the image size is not a multiple of the start divisor, or the grid is too small for the kernel.
    """

    def __init__(self, n_voxels: int, image_size: int, settings: DecoderSettings | None = None) -> None:
        super().__init__()
        settings = settings or DecoderSettings()
        if image_size % settings.start_divisor:
            raise ShapeError(f"image size {image_size} is not a multiple of start_divisor {settings.start_divisor}")
        self.settings = settings
        self.n_voxels = n_voxels
        self.image_size = image_size
        self.start_size = image_size // settings.start_divisor
        if 2 * self.start_size <= settings.kernel // 2:
            raise ShapeError(f"a start grid of {self.start_size} px is too small for kernel {settings.kernel}; use larger images")
        first, *rest = settings.channels
        self.fc = nn.Linear(n_voxels, first * self.start_size**2)
        self.blocks = nn.Sequential(
            *(_Block(before, after, settings) for before, after in zip(settings.channels[:-1], settings.channels[1:], strict=True))
        )
        self.top = _convolution(rest[-1] if rest else first, settings.out_channels, settings.kernel)
        if settings.init == "glorot":
            self._glorot()

    def forward(self, values: Tensor) -> Tensor:
        """Make images from responses.

        Parameters
        ----------
        values : Tensor, [b v]

        Returns
        -------
        Tensor, [b 3 h w] (or one channel), 0..1
        """
        image: Tensor = self.top(self.blocks(self.start(values)))
        return torch.sigmoid(image)

    def start(self, values: Tensor) -> Tensor:
        """Grid that the linear layer makes, [b c h w]."""
        if values.ndim != 2 or values.shape[1] != self.n_voxels:
            raise ShapeError(f"the decoder reads responses [b {self.n_voxels}], got {tuple(values.shape)}")
        grid: Tensor = self.fc(values).view(-1, self.settings.channels[0], self.start_size, self.start_size)
        # on a CPU 3x3 convolutions are up to 1.6 times faster with channels last, larger ones 1.3 times slower
        return grid.contiguous(memory_format=torch.channels_last) if self.settings.kernel == 3 else grid

    def start_weight(self) -> Tensor:
        """Weights of the linear layer as a grid per voxel, [c h w v]; a view."""
        return self.fc.weight.view(self.settings.channels[0], self.start_size, self.start_size, self.n_voxels)

    def convolution_weights(self) -> list[Tensor]:
        """Weights of all convolutions, for their penalty."""
        return [module.weight for module in self.modules() if isinstance(module, nn.Conv2d)]

    def _glorot(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class _Block(nn.Module):
    """Double the size, convolve, normalise, activate (the last two in either order)."""

    def __init__(self, before: int, after: int, settings: DecoderSettings) -> None:
        super().__init__()
        self.up: nn.Module = _BicubicDoubling()
        if settings.upsampling != "bicubic":
            smooth = settings.upsampling != "nearest"
            self.up = nn.Upsample(scale_factor=2, mode=settings.upsampling, align_corners=False if smooth else None)
        self.conv = _convolution(before, after, settings.kernel)
        self.norm = nn.GroupNorm(settings.groups, after)
        self.activation: nn.Module = nn.SiLU() if settings.activation == "silu" else nn.ReLU()
        self.norm_first = settings.order == "norm_activation"

    def forward(self, hidden: Tensor) -> Tensor:
        """[b c h w] -> [b c' 2h 2w]."""
        hidden = self.conv(self.up(hidden))
        made: Tensor = self.activation(self.norm(hidden)) if self.norm_first else self.norm(self.activation(hidden))
        return made


class _BicubicDoubling(nn.Module):
    """Double the size by bicubic interpolation, as one small matrix along rows and one along columns.

    The same numbers as torch's own up to rounding, and quicker on a CPU.
    """

    def forward(self, grid: Tensor) -> Tensor:
        """[b c h w] -> [b c 2h 2w]."""
        height, width = grid.shape[-2:]
        wide = grid @ _doubling(width, grid).t()
        return _doubling(height, grid) @ wide


def _doubling(size: int, like: Tensor) -> Tensor:
    """Matrix that doubles a line of some size, [2*size size]: what the interpolation makes of each single pixel."""
    lines = torch.eye(size, device=like.device).view(size, 1, 1, size).expand(-1, -1, 2, -1)  # the same above and below
    doubled = nnf.interpolate(lines, size=(2, 2 * size), mode="bicubic", align_corners=False)
    return doubled[:, 0, 0].t().to(like.dtype)


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")
