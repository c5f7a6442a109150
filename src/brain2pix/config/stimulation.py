"""Settings of microstimulation: which voxels, what is done to them, and how strongly."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings

Mode = Literal["set", "add", "scale", "silence"]
Quadrant = Literal["upper_right", "upper_left", "lower_left", "lower_right"]
FieldPart = Literal["all", "upper_right", "upper_left", "lower_left", "lower_right", "disc"]
QUADRANTS: tuple[Quadrant, ...] = ("upper_right", "upper_left", "lower_left", "lower_right")


class StimulationSettings(Settings):
    """One stimulation of the model: region and part of the visual field, operation, amplitude, controls."""

    region: str = Field("V1", min_length=1, description="region expression, e.g. V1 + V2, FFA, (V3 & L) - outside")
    field: FieldPart = Field("all", description="keep voxels whose receptive field centre lies in this part of the visual field")
    disc_x_deg: float = Field(3.0, ge=-90, le=90, description="centre of the disc, right of fixation [degrees]")
    disc_y_deg: float = Field(3.0, ge=-90, le=90, description="centre of the disc, above fixation [degrees]")
    disc_radius_deg: float = Field(2.0, gt=0, le=90, description="radius of the disc [degrees]")
    kept_share: float = Field(0.85, gt=0, le=1, description="share of voxels whose receptive field is trusted, best quality first")
    mode: Mode = Field("add", description="set to, add, or scale by the amplitude; silence = set to the voxel's mean")
    amplitude: float = Field(1.0, ge=-20, le=20, description="standard deviations of the voxel (set, add), factor (scale)")
    largest: bool = Field(False, description="use the largest amplitude whose pattern still looks like a measured one, not `amplitude`")
    quantile: float = Field(0.95, gt=0, lt=1, description="held-out trials nearer than the limit that a pattern may not pass [share]")
    n_components: int = Field(50, ge=1, le=2000, description="principal components of the training responses that measure the distance")
    n_base: int = Field(10, ge=1, description="held-out trials that a program stimulates")
    n_controls: int = Field(3, ge=0, le=100, description="draws of as many random voxels, stimulated in the same way")
    seed: int = Field(0, ge=0, description="of the random voxels")
