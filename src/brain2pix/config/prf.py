"""Settings of the receptive fields that are read from an encoder's gradients."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings


class PRFSettings(Settings):
    """From an encoder's gradients to receptive fields. Presets: default, paper."""

    n_images: int = Field(6, ge=1, le=256, description="input images whose gradient maps are added")
    inputs: Literal["training", "noise", "mixed"] = Field("training", description="training images, uniform noise, or half of each")
    gradient: Literal["squared", "absolute"] = Field("squared", description="what of the gradient is added over colours and images")
    subtract_median: bool = Field(False, description="take away the median map over voxels: the network's own border and stride pattern")
    blur: float = Field(0.027, ge=0, le=0.25, description="sigma of the Gaussian blur [share of the image edge]; 0.027 is 3 px of 112")
    power: float = Field(3.0, ge=1, le=20, description="power of the map before its centre of mass is taken")
    window: Literal["none", "half_maximum"] = Field(
        "none", description="take the centre of the whole map, or of the half-maximum island of its peak"
    )
    max_spread: float = Field(
        0.25, gt=0, le=1, description="discard maps wider than this around their centre, rms [share of the image edge]; 0.41 is flat"
    )
    chunk: int = Field(64, ge=1, le=4096, description="voxels per backward pass; less needs less memory")
