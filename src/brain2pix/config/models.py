"""Settings of the networks: feature backbones, the separable encoder and the convolutional decoder. Torch-free."""

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from brain2pix.config.base import Settings

BackboneName = Literal["tiny", "random", "random_residual", "vgg16", "vgg19", "alexnet", "alexnet-caffe"]


class BackboneSettings(Settings):
    """Which frozen network gives the image features, and where its weights are."""

    name: BackboneName = Field(
        "tiny",
        description="tiny ships with the package; vgg16, vgg19, alexnet and alexnet-caffe (first layer only, for beliy's encoder) need the "
        "published weight file; random has no training",
    )
    weights: Path | None = Field(None, description="weight file; None = bundled (tiny) or the weights folder (published networks)")
    seed: int = Field(0, ge=0, description="of the random networks")


class EncoderSettings(Settings):
    """The separable encoder of Gaziv et al. Defaults are the released code's, see `SeparableEncoder`."""

    channels: int = Field(32, ge=1, le=512, description="channels of each branch")
    share_space: bool = Field(True, description="one space map per voxel and resolution (True) or per branch (False)")
    input_affine: bool = Field(True, description="learn a gain and an offset for each backbone channel")
    last_kernel: Literal[1, 3] = Field(1, description="kernel of branches that keep their tap's size: 1 = released code, 3 = paper")
    dropout: float = Field(0.5, ge=0, lt=1, description="share dropped while training")
    dropout_on: Literal["stack", "mix"] = Field(
        "stack", description="stack = per image, as released; mix = one mask per step on the channel mixes, which allows the folded readout"
    )
    fold_limit_mb: int = Field(2048, ge=0, description="fold the readout only if the folded weights are smaller than this [MiB]")


class DecoderSettings(Settings):
    """The convolutional decoder of Gaziv et al. Defaults are the released code's; `paper_decoder` and `demo_decoder` are the others."""

    start_divisor: int = Field(8, ge=1, le=32, description="the linear layer makes a grid of image size / start_divisor")
    channels: tuple[int, ...] = Field(
        (64, 64, 64, 64), description="channels of the start grid, then of each block; each block doubles the size"
    )
    out_channels: Literal[1, 3] = Field(3, description="1 for grey-scale datasets")
    kernel: Literal[3, 5, 7] = Field(5, description="of all convolutions [px]")
    upsampling: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    groups: int = Field(32, ge=1, description="of the group normalisation")
    activation: Literal["silu", "relu"] = "silu"
    order: Literal["norm_activation", "activation_norm"] = Field("norm_activation", description="released code / paper")
    init: Literal["torch", "glorot"] = Field("torch", description="released code / paper")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 2 ** (len(self.channels) - 1) != self.start_divisor:
            blocks = math.log2(self.start_divisor)
            raise ValueError(
                f"start_divisor {self.start_divisor} needs {blocks:g} blocks, so {blocks + 1:g} numbers in channels, got {self.channels}"
            )
        for channels in self.channels[1:]:
            if channels % self.groups:
                raise ValueError(f"channels {channels} cannot be split into {self.groups} groups")
        return self


def paper_decoder() -> DecoderSettings:
    """Give the decoder as the paper's text describes it."""
    return DecoderSettings(groups=16, activation="relu", order="activation_norm", init="glorot")


def demo_decoder() -> DecoderSettings:
    """Give a decoder that trains in a minute on two cores: later start, thinner and smaller convolutions."""
    return DecoderSettings(start_divisor=4, channels=(48, 48, 32), kernel=3, upsampling="bilinear", groups=16)


class BackboneTrainingSettings(Settings):
    """Self-supervised training of the bundled backbone."""

    steps: int = Field(400, ge=1, description="gradient steps")
    batch: int = Field(96, ge=2, description="images of a step; each is seen in two views")
    view: int = Field(32, ge=16, multiple_of=16, description="edge of a view [px]")
    smallest_crop: float = Field(0.15, gt=0, le=1, description="smallest share of an image's area that a view shows")
    learning_rate: float = Field(1.5e-3, gt=0, description="of Adam, falling to 0 as a cosine")
    temperature: float = Field(0.15, gt=0, description="of NT-Xent")
    variety: float = Field(1.0, ge=0, description="weight of the penalty on channels that repeat each other or are silent")
    projection: int = Field(64, ge=2, description="size of the embedding that is compared")
    seed: int = Field(0, ge=0)
