"""Settings of our own system. Presets stand in ``resources/presets/retino.toml``."""

from typing import Self

from pydantic import Field, model_validator

from brain2pix.config.base import Settings
from brain2pix.config.methods import SNR_SOURCE, ImageLossSettings, RepeatSettings, ScheduleSettings, SnrSource
from brain2pix.config.models import BackboneSettings


class FieldGridSettings(Settings):
    """Candidate receptive fields, and the search for the prior of the weights."""

    n_places: int = Field(16, ge=4, le=64, description="candidate centres along an edge of the image")
    sigmas: tuple[float, ...] = Field((0.0375, 0.075, 0.125), min_length=1, description="candidate sizes [share of the image edge]")
    n_rounds: int = Field(12, ge=0, le=100, description="rounds of expectation maximisation that find the prior; 0: it stays as it starts")
    prior_voxels: int = Field(1500, ge=1, description="at most this many voxels, drawn at random, find the prior that all share")


class RetinoEncoderSettings(Settings):
    """Encoder: shared convolutions by gradient, fields and weights in closed form."""

    image_scales: int = Field(
        3, ge=0, le=3, description="scales at which filters read the image itself, each half the size of the one before; 0: none"
    )
    image_channels: int = Field(32, ge=1, le=256, description="filters at each scale of the image")
    first_tap: int = Field(
        2, ge=0, description="first of the backbone's taps that is read; those before say little that the image does not"
    )
    channels: int = Field(16, ge=1, le=256, description="channels of each branch that reads the backbone")
    n_steps: int = Field(76, ge=0, description="gradient steps of the shared convolutions; 0: the closed form on random convolutions")
    solve_every: int = Field(76, ge=1, description="steps between closed forms; 76 are 4 epochs of 1,200 pairs")
    batch: int = Field(64, ge=1, description="pairs per step")
    learning_rate: float = Field(2e-3, gt=0, description="of AdamW")
    schedule: ScheduleSettings = ScheduleSettings(kind="cosine")
    cosine_weight: float = Field(0.3, ge=0, description="weight of (1 - cosine)/2 beside the squared error")
    shift_px: int = Field(2, ge=0, description="random shift of the training images, edges repeated [px]")
    cached_copies: int = Field(2, ge=0, description="frozen features kept for this many shifted copies; 0: computed anew at each step")
    half_precision_cache: bool = Field(True, description="keep cached features as bfloat16")
    grid: FieldGridSettings = FieldGridSettings()


class LocalMapSettings(Settings):
    """Linear map from voxels to small pictures, in which a voxel pays for distance from its receptive field."""

    size: int = Field(32, ge=4, le=256, description="edge of the small pictures [px]")
    blocks: int = Field(16, ge=1, le=64, description="blocks along an edge of the pictures, each solved with penalties of its own")
    error_shares: tuple[float, ...] = Field(
        (0.05, 0.3),
        min_length=1,
        description="errors of the encoder that the map expects, one picture each [share of the variance of a predicted response]",
    )
    pair_penalties: tuple[float, ...] = Field(
        (0.1, 0.3), min_length=1, description="the same where the map is made from pairs [share of the variance of a response]"
    )
    pair_folds: int = Field(2, ge=2, le=10, description="parts of the pairs whose pictures come from a map made without them")
    distance: float = Field(2.0, ge=0, description="weight of the penalty on distance; 0: an ordinary linear map")
    reach_deg: float = Field(0.8, gt=0, description="how far a voxel is free to act beyond its field's sigma [degrees]")
    cap: float = Field(4.0, gt=0, description="the penalty rises with the squared distance up to this many reaches")
    contrast: bool = Field(True, description="add pictures of the contrast along x and y, on the grid of blocks")
    averaged_trials: int = Field(35, ge=1, description="trials that are averaged in the responses to be decoded; sets the noise to expect")


class RetinoDecoderSettings(Settings):
    """The linear map and the network that refines its pictures."""

    linear: LocalMapSettings = LocalMapSettings()
    channels: tuple[int, ...] = Field((32, 48, 64), min_length=1, description="channels of the network at each resolution, finest first")
    top_channels: int = Field(16, ge=1, description="channels at the resolution of the image")
    n_steps: int = Field(150, ge=0, description="gradient steps; 0 trains the encoder only")
    n_runs: int = Field(1, ge=1, le=20, description="networks that are trained one after the other; their pictures are averaged")
    batch_pairs: int = Field(12, ge=1, description="pairs per step")
    batch_images: int = Field(12, ge=1, description="images without responses per step")
    batch_fmri: int = Field(6, ge=1, description="responses without images per step")
    error_share: float = Field(
        0.12, ge=0, description="errors of the encoder that are added to predicted responses [share of their variance]"
    )
    noise_range: tuple[float, float] = Field((0.7, 1.3), description="strength of the noise added to predicted responses, drawn per image")
    max_unpaired: int = Field(4000, ge=1, description="at most this many of the images without responses are used")
    learning_rate: float = Field(1.5e-3, gt=0, description="of Adam")
    schedule: ScheduleSettings = ScheduleSettings(kind="cosine")
    average: float = Field(0.98, ge=0, lt=1, description="decay of the running average of the network's weights, which is what is kept")


class RetinoSettings(Settings):
    """Ours: receptive fields by empirical Bayes, a local linear map, a small U-Net. Presets: tiny, demo, preview, paper."""

    backbone: BackboneSettings = Field(BackboneSettings(), description="frozen network under the encoder")
    weight_pairs: float = Field(0.0, ge=0, description="weight of D(response) against its image")
    weight_images: float = Field(1.0, ge=0, description="weight of D(E(image)) against the image, without responses; 0 turns it off")
    weight_fmri: float = Field(
        0.35, ge=0, description="weight of E(D(response)) against the response, without images (transductive); 0 turns it off"
    )
    snr_source: SnrSource = Field("test_repeats", description=SNR_SOURCE)
    encoder: RetinoEncoderSettings = RetinoEncoderSettings()
    decoder: RetinoDecoderSettings = RetinoDecoderSettings()
    image_loss: ImageLossSettings = ImageLossSettings(tv=0.0, perceptual=(0.13, 0.13, 0.13, 0.10))
    repeats: RepeatSettings = RepeatSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight_pairs == self.weight_images == 0:
            raise ValueError("weight_pairs or weight_images must be above 0: the linear map is made from one of them")
        if self.decoder.linear.size % self.decoder.linear.blocks:
            raise ValueError(f"decoder.linear.size {self.decoder.linear.size} is not a multiple of blocks {self.decoder.linear.blocks}")
        return self
