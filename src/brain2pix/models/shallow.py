"""The two shallow networks of Beliy et al.: an encoder from first-layer features to voxels, a decoder from voxels to an image.

Source: Beliy, Gaziv, Hoogi, Strappini, Golan, Irani 2019 (arXiv:1907.02431), sections 2.1 and 3, with the sizes of the released program
where it differs from the text. Clean-room: written from the paper and our own notes. What we changed: AlexNet's first layer has the
normalisation that its weight file was trained with (the program mixed two orders of the colours); widths and depths are settings.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.beliy import BeliyDecoderSettings, BeliyEncoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models.feature_networks import AlexNetFeatures, CaffeAlexNetFeatures, FeatureNetwork

_DROPPED_BY_MISTAKE = 0.25  # of the encoder's last grid, in the released program's second phase


def first_layer(network: FeatureNetwork, images: Tensor) -> Tensor:
    """Features on a grid of half the image's size: AlexNet's first convolution with stride 2, or another network's first block.

    Parameters
    ----------
    network : FeatureNetwork
    images : Tensor, [b 3 h w], 0..1, of even size

    Returns
    -------
    Tensor, [b c h/2 w/2]
    """
    if not isinstance(network, AlexNetFeatures | CaffeAlexNetFeatures):
        (pooled,) = network(images, network.perceptual_taps[:1])
        return torch.as_tensor(pooled)
    convolution = network.features[0]
    assert isinstance(convolution, nn.Conv2d)
    normalised = (images - network.input_mean) / network.input_sd
    # 11 pixels wide at every second place: 9 pixels of border give exactly half the size, the odd one at the far side
    return nnf.relu(nnf.conv2d(nnf.pad(normalised, (4, 5, 4, 5)), convolution.weight, convolution.bias, stride=2))


class ShallowEncoder(nn.Module):
    """Normalise, then convolutions that halve the grid, then one linear layer to the voxels.

    Parameters
    ----------
    n_voxels : int
    in_channels : int, of the first-layer features
    image_size : int, edge of the images [px]
    settings : BeliyEncoderSettings

    Raises
    ------
    ShapeError
        If the image size is not a multiple of what the convolutions halve.
    """

    def __init__(self, n_voxels: int, in_channels: int, image_size: int, settings: BeliyEncoderSettings) -> None:
        super().__init__()
        divisor = 2 ** (settings.n_blocks + 1)
        if image_size % divisor:
            raise ShapeError(f"images of {image_size} px cannot be halved {settings.n_blocks + 1} times; use a multiple of {divisor} px")
        self.n_voxels, self.settings = n_voxels, settings
        self.grid = image_size // divisor
        widths = [in_channels, *[settings.channels] * settings.n_blocks]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.fc = nn.Linear(settings.channels * self.grid**2, n_voxels)
        _glorot_normal(self)

    def forward(self, features: "list[Tensor]", stochastic: bool = False) -> Tensor:
        """Predict responses.

        Parameters
        ----------
        features : list of one Tensor, [b c h/2 w/2], see `first_layer`
        stochastic : bool, use the batch's statistics and drop a part of the last grid, and leave the running statistics as they are

        Returns
        -------
        Tensor, [b v]
        """
        hidden = self._norm(0, features[0].to(self.fc.weight.dtype), stochastic)
        for number, convolution in enumerate(self.convolutions, start=1):
            hidden = self._norm(number, nnf.relu(convolution(hidden)), stochastic)
        dropped = _DROPPED_BY_MISTAKE if stochastic else self.settings.dropout
        predicted: Tensor = self.fc(nnf.dropout(hidden.flatten(1), dropped, training=self.training or stochastic))
        return predicted

    def linear_weight(self) -> Tensor:
        """Weights of the linear layer as a grid for each voxel, [c h w v]; a view."""
        return self.fc.weight.view(self.n_voxels, self.settings.channels, self.grid, self.grid).permute(1, 2, 3, 0)

    def convolution_weights(self) -> list[Tensor]:
        """Weights of all convolutions, for their penalties."""
        return [module.weight for module in self.convolutions if isinstance(module, nn.Conv2d)]

    def _norm(self, number: int, hidden: Tensor, stochastic: bool) -> Tensor:
        norm = self.norms[number]
        assert isinstance(norm, nn.BatchNorm2d)
        if stochastic:
            return nnf.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        normalised: Tensor = norm(hidden)
        return normalised


class ShallowDecoder(nn.Module):
    """A linear layer to a grid, blocks of convolution, ReLU, doubling and batch normalisation, a last convolution, a sigmoid.

    Parameters
    ----------
    n_voxels : int
    image_size : int, edge of the image [px]
    settings : BeliyDecoderSettings

    Raises
    ------
    ShapeError
        If the image size is not a multiple of 2^n_blocks.
    """

    def __init__(self, n_voxels: int, image_size: int, settings: BeliyDecoderSettings) -> None:
        super().__init__()
        divisor = 2**settings.n_blocks
        if image_size % divisor:
            raise ShapeError(f"images of {image_size} px cannot be made by {settings.n_blocks} doublings; use a multiple of {divisor} px")
        self.n_voxels, self.image_size, self.settings = n_voxels, image_size, settings
        self.start_size = image_size // divisor
        self.fc = nn.Linear(n_voxels, settings.channels * self.start_size**2)
        blocks: list[nn.Module] = []
        for _ in range(settings.n_blocks):
            convolution = nn.Conv2d(settings.channels, settings.channels, 3, padding=1)
            blocks += [convolution, nn.ReLU(), nn.Upsample(scale_factor=2), nn.BatchNorm2d(settings.channels)]
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Conv2d(settings.channels, settings.out_channels, 3, padding=1)
        _glorot_normal(self, settings.draw_biases)

    def forward(self, values: Tensor) -> Tensor:
        """Make images [b c h w] in 0..1 from responses [b v]."""
        if values.ndim != 2 or values.shape[1] != self.n_voxels:
            raise ShapeError(f"the decoder reads responses [b {self.n_voxels}], got {tuple(values.shape)}")
        grid = self.fc(values).view(-1, self.settings.channels, self.start_size, self.start_size)
        return torch.sigmoid(self.top(self.blocks(grid.contiguous(memory_format=torch.channels_last))))

    def start_weight(self) -> Tensor:
        """Weights of the linear layer as a grid per voxel, [c h w v]; a view."""
        return self.fc.weight.view(self.settings.channels, self.start_size, self.start_size, self.n_voxels)

    def convolution_weights(self) -> list[Tensor]:
        """Weights of all convolutions, for their penalty."""
        return [module.weight for module in self.modules() if isinstance(module, nn.Conv2d)]


def _glorot_normal(network: nn.Module, biases: bool = False) -> None:
    """Draw weights, and biases if the program drew them too: as many ways in as out, so variance 1 / size."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None and biases:
                nn.init.normal_(module.bias, std=len(module.bias) ** -0.5)
            elif module.bias is not None:
                nn.init.zeros_(module.bias)
