"""Settings of the receptive fields that are read from an encoder, or from a decoder."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings


class PRFSettings(Settings):
    """From a map per voxel, and from what the model itself says, to receptive fields. Presets: default, paper."""

    maps: Literal["gradient", "weights"] = Field(
        "gradient",
        description="read fields from gradients (decoder: from changes of the picture), or from the weights themselves: quick and coarse",
    )
    n_images: int = Field(6, ge=1, le=256, description="input images whose gradient maps are added")
    inputs: Literal["training", "noise", "mixed"] = Field("training", description="training images, uniform noise, or half of each")
    gradient: Literal["squared", "absolute"] = Field("squared", description="what of the gradient is added over colours and images")
    centre: Literal["gradient", "model", "mean"] = Field(
        "mean",
        description="centre of the gradient map, the model's own, or the mean of both; mean: the gradient alone where the model has none",
    )
    size: Literal["gradient", "model"] = Field(
        "gradient", description="size of the gradient map without its blur, or the model's own; the gradient's where the model has none"
    )
    quality: Literal["held_out_r", "spread", "model", "peak"] = Field(
        "held_out_r",
        description="what ranks the voxels: the encoder's r on held-out images, how confined the map is, the model's own confidence, or "
        "the map's peak over its background; where that is missing: held-out r, else the peak",
    )
    estimator: Literal["centre_of_mass", "gaussian"] = Field(
        "centre_of_mass", description="what reads the centre of a map: centre of mass of its power, or the fitted Gaussian"
    )
    subtract_median: bool = Field(False, description="take away the median map over voxels: the network's own border and stride pattern")
    blur: float = Field(0.027, ge=0, le=0.25, description="sigma of the Gaussian blur [share of the image edge]; 0.027 is 3 px of 112")
    power: float = Field(3.0, ge=1, le=20, description="power of the map before its centre of mass is taken")
    window: Literal["none", "half_maximum"] = Field(
        "none", description="take the centre of the whole map, or of the half-maximum island of its peak"
    )
    max_spread: float = Field(
        0.25, gt=0, le=1, description="discard maps wider than this around their centre, rms [share of the image edge]; 0.41 is flat"
    )
    n_patterns: int = Field(
        4, ge=1, le=256, description="decoder side: base patterns that voxels are raised in, the mean response and single held-out trials"
    )
    step: float = Field(1.0, gt=0, le=10, description="decoder side: how much a voxel is raised [SD of its training responses]")
    chunk: int = Field(64, ge=1, le=4096, description="voxels per backward pass, or per decoded batch; less needs less memory")
