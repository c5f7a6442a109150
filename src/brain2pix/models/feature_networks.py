"""Frozen feature networks: VGG16, VGG19 and AlexNet by their published weight files, and small ones that need no download.

Sources: Simonyan & Zisserman 2015 (arXiv:1409.1556, configurations D and E), Krizhevsky 2014 (arXiv:1404.5997, one tower). The layer
order and the parameter names are those of torchvision's files (BSD-3-Clause), so that these load; no code was used. What is ours: only
the convolutional part is kept, each network normalises its own input, and `forward` stops at the last tap that was asked for.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from brain2pix.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SD = (0.229, 0.224, 0.225)


class FeatureNetwork(nn.Module):
    """A stack of layers whose intermediate outputs are the features; frozen from birth, trained only by `training.backbone`.

    Attributes
    ----------
    features : nn.Sequential, the layers; a tap is the index of one of them
    encoder_taps : tuple of int, after ReLU and before pooling, one per encoder branch
    perceptual_taps : tuple of int, one per block of the perceptual loss
    """

    name: ClassVar[str]
    encoder_taps: ClassVar[tuple[int, ...]]
    perceptual_taps: ClassVar[tuple[int, ...]]
    input_mean: Tensor
    input_sd: Tensor

    def __init__(self, layers: "Sequence[nn.Module]") -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        # not persistent: the published files do not hold them
        self.register_buffer("input_mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_sd", torch.tensor(_IMAGENET_SD).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def freeze(self) -> "FeatureNetwork":
        """Take all parameters out of training: no gradient is computed for them."""
        self.requires_grad_(False)
        self.eval()
        return self

    def forward(self, images: Tensor, taps: "Sequence[int] | None" = None) -> list[Tensor]:
        """Features of images at some layers.

        Parameters
        ----------
        images : Tensor, [b 3 h w], 0..1
        taps : sequence of int or None, layer indices in rising order; None = `encoder_taps`

        Returns
        -------
        list of Tensor, [b c h w] each, in the order of `taps`
        """
        wanted = self._check_taps(taps)
        if images.ndim != 4 or images.shape[1] != 3:
            raise ShapeError(f"{self.name} expects images [b 3 h w], got {tuple(images.shape)}")
        hidden = (images - self.input_mean) / self.input_sd
        hidden = hidden.contiguous(memory_format=torch.channels_last)  # about 1.2 times faster on CPU
        found: list[Tensor] = []
        for index, layer in enumerate(list(self.features)[: wanted[-1] + 1]):
            hidden = layer(hidden)
            if index in wanted:
                found.append(hidden)
        return found

    def tap_shapes(self, image_size: int, taps: "Sequence[int] | None" = None) -> list[tuple[int, int, int]]:
        """Shapes (c, h, w) that `forward` gives for square images, without running it."""
        wanted = self._check_taps(taps)
        shapes: list[tuple[int, int, int]] = []
        channels, edge = 3, image_size
        for index, layer in enumerate(list(self.features)[: wanted[-1] + 1]):
            channels, edge = _shape_after(layer, channels, edge)
            if edge < 1:
                raise ShapeError(
                    f"images of {image_size} px are too small for layer {index} of {self.name}; take fewer taps or larger images"
                )
            if index in wanted:
                shapes.append((channels, edge, edge))
        return shapes

    def _check_taps(self, taps: "Sequence[int] | None") -> tuple[int, ...]:
        wanted = self.encoder_taps if taps is None else tuple(taps)
        if not wanted or any(a >= b for a, b in pairwise(wanted)) or wanted[0] < 0 or wanted[-1] >= len(self.features):
            raise ConfigError(f"taps of {self.name} are layers 0..{len(self.features) - 1} in rising order, got {wanted}")
        return wanted


class VGG16Features(FeatureNetwork):
    """VGG16, configuration D."""

    name = "vgg16"
    encoder_taps = (3, 8, 15, 22)
    perceptual_taps = (4, 9, 16, 23, 30)  # after each max-pooling

    def __init__(self) -> None:
        super().__init__(_vgg_layers(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))))


class VGG19Features(FeatureNetwork):
    """VGG19, configuration E. The encoder reads relu1_2, relu2_2, relu3_4 and relu4_4."""

    name = "vgg19"
    encoder_taps = (3, 8, 17, 26)
    perceptual_taps = (4, 9, 18, 27, 36)

    def __init__(self) -> None:
        super().__init__(_vgg_layers(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))))


class AlexNetFeatures(FeatureNetwork):
    """AlexNet, one tower. Its taps follow each of the five ReLUs; its grids do not fit the separable encoder."""

    name = "alexnet"
    encoder_taps = (1, 4, 7, 9, 11)
    perceptual_taps = (1, 4, 7, 9, 11)

    def __init__(self) -> None:
        super().__init__(
            [
                nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
                nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
                nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
                nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
                nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
            ]
        )  # fmt: skip


class CaffeAlexNetFeatures(FeatureNetwork):
    """First layer of the Caffe reference network (AlexNet with pooling before normalisation), in MatConvNet's file; one tap.

    Its input is 255 x image minus the mean colour of the file's mean picture: with `input_sd` 1/255 and that mean in 0..1.
    """

    name = "alexnet-caffe"
    encoder_taps = (1,)
    perceptual_taps = (1,)

    def __init__(self) -> None:
        super().__init__([nn.Conv2d(3, 96, 11, stride=4), nn.ReLU()])
        self.register_buffer("input_mean", torch.zeros(1, 3, 1, 1))  # persistent: this file holds it
        self.register_buffer("input_sd", torch.full((1, 3, 1, 1), 1 / 255), persistent=False)


class TinyBackbone(FeatureNetwork):
    """The bundled network: VGG-like, four blocks of two 3x3 convolutions, 0.24 M parameters."""

    name = "tiny"
    encoder_taps = (3, 8, 13, 18)
    perceptual_taps = (4, 9, 14, 19)

    def __init__(self) -> None:
        super().__init__(_vgg_layers(((32, 2), (48, 2), (64, 2), (96, 2))))


class ResidualFeatures(FeatureNetwork):
    """A network of another family than VGG, for judging results with features that no training here has seen.

    Large overlapping strides, residual blocks with depthwise 7x7 kernels and GELU, no max-pooling.
    """

    name = "random_residual"
    encoder_taps = (1, 3, 5)
    perceptual_taps = (1, 3, 5)

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after, kernel in ((3, 48, 7), (48, 96, 5), (96, 128, 5)):
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2), _ResidualBlock(after)]
        super().__init__(layers)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Add what the block finds to what it was given."""
        return hidden + self.narrow(nn.functional.gelu(self.widen(self.space(hidden))))  # type: ignore[no-any-return]


def _vgg_layers(blocks: "Sequence[tuple[int, int]]") -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for channels, count in blocks:
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2, 2))
    return layers


def _shape_after(layer: nn.Module, channels: int, edge: int) -> tuple[int, int]:
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels, (edge + 2 * int(layer.padding[0]) - layer.kernel_size[0]) // layer.stride[0] + 1
    if isinstance(layer, nn.MaxPool2d):
        assert isinstance(layer.kernel_size, int) and isinstance(layer.stride, int)
        return channels, (edge - layer.kernel_size) // layer.stride + 1
    return channels, edge
