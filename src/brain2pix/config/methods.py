"""Settings of the decoding systems. Presets stand in ``resources/presets/<method>.toml``."""

from typing import Literal, Self

from pydantic import Field, model_validator

from brain2pix.config.base import Settings
from brain2pix.config.models import BackboneSettings, DecoderSettings, EncoderSettings

SnrSource = Literal["test_repeats", "train_repeats", "none"]
SNR_SOURCE = "where SNR weights of voxels come from: test_repeats (as published; transductive), repeated training images, or none"


class RidgeSettings(Settings):
    """Ridge regression from voxels to a small image. Presets: tiny, demo, unpaired, preview, released, paper."""

    size: int = Field(32, ge=4, le=256, description="edge of the predicted image before it is enlarged [px]")
    penalty: float | None = Field(None, gt=0, description="penalty [samples x mean voxel variance]; none: chosen on held-out photos")
    penalties: tuple[float, ...] = Field((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), min_length=1, description="penalties to choose from")
    n_folds: int = Field(4, ge=2, le=50, description="parts of the training photos, each held out once to choose the penalty")


class ScheduleSettings(Settings):
    """How the learning rate changes over the steps of a phase."""

    kind: Literal["constant", "steps", "cosine", "tail"] = Field(
        "constant",
        description="constant; steps: times `factor` at each milestone; cosine to `floor`; tail: constant, then straight to `floor`",
    )
    warm_up: int = Field(0, ge=0, description="steps of a linear rise at the start")
    milestones: tuple[float, ...] = Field((), description="where the rate drops [share of the steps]; for tail: where the fall begins")
    factor: float = Field(0.2, gt=0, le=1, description="drop at each milestone")
    cycles: int = Field(1, ge=1, description="times that the whole schedule is run through")
    floor: float = Field(0.0, ge=0, lt=1, description="last rate [share of the first]")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(not 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones are shares of the steps between 0 and 1, got {self.milestones}")
        if self.kind in ("steps", "tail") and not self.milestones:
            raise ValueError(f"schedule {self.kind!r} needs milestones, e.g. (0.5,)")
        return self


class ReadoutPenalties(Settings):
    """Penalties on the encoder. Readout terms are means over voxels, so that a value means the same for any region."""

    conv_l1: float = Field(0.0, ge=0, description="sum of |weights| of the branch convolutions")
    locality: float = Field(0.0, ge=0, description="second moment of the squared space maps around their centroid")
    space_l1: float = Field(0.0, ge=0, description="sum of |space map|, mean over voxels")
    neighbour: float = Field(0.0, ge=0, description="group lasso of each map entry's four neighbours, mean over voxels")
    space_tv: float = Field(0.0, ge=0, description="total variation of the space maps (the paper's text), mean over voxels")
    mix_l1: float = Field(0.0, ge=0, description="sum of |channel mix|, mean over voxels")
    mix_l2: float = Field(0.0, ge=0, description="sum of squared channel mix, mean over voxels")
    branch_l1: float = Field(0.0, ge=0, description="sum of |branch weights|, mean over voxels")


class GazivEncoderSettings(EncoderSettings):
    """Architecture and training of the encoder (phase I)."""

    n_steps: int = Field(950, ge=0, description="gradient steps; 950 are 50 epochs of 1,200 pairs")
    batch: int = Field(64, ge=1, description="pairs per step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    solve_every: int = Field(
        0,
        ge=0,
        description="solve the readout in closed form every so many steps, gradients train the convolutions; 0: gradients train all",
    )
    schedule: ScheduleSettings = ScheduleSettings()
    cosine_weight: float = Field(0.3, ge=0, description="weight of (1 - cosine)/2 beside the squared error, as released")
    alpha: float | None = Field(
        None, ge=0, le=1, description="alpha x squared error - (1 - alpha) x cosine instead, as the paper has it; none: as released"
    )
    freeze_norms: bool = Field(False, description="keep the normalisations' statistics as measured on the training images at the start")
    shift_px: int = Field(3, ge=0, description="random shift of the training images, edges repeated [px]")
    cached_copies: int = Field(
        0, ge=0, description="frozen features kept for this many shifted copies; 0: fresh shift and features at each step"
    )
    half_precision_cache: bool = Field(True, description="keep cached features as bfloat16")
    validation_share: float = Field(0.1, ge=0, le=0.5, description="share of the training groups held out to choose the step; 0: last step")
    check_every: int = Field(19, ge=1, description="steps between looks at the held-out groups")
    refit: bool = Field(False, description="train again on everything for the number of steps that was best")
    penalties: ReadoutPenalties = ReadoutPenalties()


class GazivDecoderSettings(DecoderSettings):
    """Architecture and training of the decoder (phase II)."""

    n_steps: int = Field(7500, ge=0, description="gradient steps; 0 trains the encoder only")
    n_runs: int = Field(1, ge=1, le=20, description="decoders that are trained one after the other; their pictures are averaged")
    batch_pairs: int = Field(24, ge=1, description="pairs per step")
    batch_images: int = Field(48, ge=1, description="images without responses per step")
    batch_fmri: int = Field(16, ge=1, description="responses without images per step")
    response_noise: float = Field(
        0.0, ge=0, description="noise added to E(image), so that D expects E's errors [standard deviations]; published: 0"
    )
    max_unpaired: int = Field(50_000, ge=1, description="at most this many of the images without responses are used")
    optimizer: Literal["adam", "amsgrad"] = "amsgrad"
    learning_rate: float = Field(5e-3, gt=0, description="of Adam")
    linear_rate: float = Field(1.0, gt=0, description="learning rate of the linear layer [share of learning_rate]")
    schedule: ScheduleSettings = ScheduleSettings()
    conv_l1: float = Field(0.0, ge=0, description="sum of |weights| of the convolutions")
    linear_l1: float = Field(
        0.0, ge=0, description="mean of |weights| of the linear layer, weighted by inverse SNR where SNR weights are on"
    )
    linear_group: float = Field(0.0, ge=0, description="group lasso of the linear layer over channels and neighbouring places")
    linear_l2: float = Field(0.0, ge=0, description="sum of squared weights of the linear layer")
    start_penalty: float = Field(0.03, gt=0, description="ridge penalty of the closed-form start [samples x mean voxel variance]")
    start_penalty_pairs: float = Field(0.3, gt=0, description="the same where the start must be made from pairs, whose responses are noisy")


class ImageLossSettings(Settings):
    """What makes two pictures alike."""

    pixel: float = Field(1.0, ge=0, description="weight of the absolute difference, each colour scaled by its mean")
    tv: float = Field(0.3, ge=0, description="weight of the total variation of the reconstruction")
    perceptual: tuple[float, ...] = Field((10.0, 10.0, 10.0, 10.0, 2.0), description="weight of each backbone block, first to last")
    backbone: BackboneSettings = BackboneSettings()


class RepeatSettings(Settings):
    """How responses without images are drawn from repeated trials, and how they are compared."""

    mode: Literal["fixed", "bernoulli", "all"] = Field("fixed", description="average a fixed share, a random share, or all repeats")
    share: float = Field(1 / 3, gt=0, le=1, description="share of the repeats that is averaged")
    exclude: tuple[int, ...] = Field((), description="images whose responses are never drawn (inductive folds)")
    max_repeats: int | None = Field(None, ge=1, description="use only the first repeats of each image")
    folds: int = Field(
        0,
        ge=0,
        le=50,
        description="parts of the test images, 2 or more; each part is decoded by decoders trained without its responses (inductive). "
        "0: one decoder sees the responses of all (transductive)",
    )
    cosine_weight: float = Field(0.2, ge=0, description="weight of (1 - cosine)/2 beside the absolute difference, as released")
    alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="alpha x squared error + (1 - alpha) x (1 - cosine), no SNR weights, as the papers have it; none: as released",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.folds == 1:
            raise ValueError("folds must be 0 (off) or 2 and more: with one part no test response would be left to learn from")
        return self


class ThreeLosses(Settings):
    """What the decoders of Beliy et al. and Gaziv et al. learn from: pairs, images without responses, responses without images."""

    weight_pairs: float = Field(1.0, ge=0, description="weight of D(response) against its image")
    weight_images: float = Field(1.0, ge=0, description="weight of D(E(image)) against the image, without responses; 0 turns it off")
    weight_fmri: float = Field(
        1.0, ge=0, description="weight of E(D(response)) against the response, without images (transductive); 0 turns it off"
    )
    balance: Literal["equalise", "fixed"] = Field(
        "equalise", description="equalise: divide each loss by its running mean; fixed: as published"
    )
    snr_source: SnrSource = Field("test_repeats", description=SNR_SOURCE)

    @property
    def needs_encoder(self) -> bool:
        """Whether any loss needs an encoder; supervised training (pairs only) does not."""
        return self.weight_images > 0 or self.weight_fmri > 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight_pairs == self.weight_images == self.weight_fmri == 0:
            raise ValueError("at least one of weight_pairs, weight_images and weight_fmri must be above 0")
        return self


class GazivSettings(ThreeLosses):
    """Gaziv et al. 2022: encoder first, then a decoder on three losses. Presets: tiny, demo, preview, released, paper."""

    backbone: BackboneSettings = Field(BackboneSettings(), description="frozen network under the encoder")
    start: Literal["closed_form", "empirical_bayes", "glorot"] = Field(
        "closed_form",
        description="closed form: maps from the evidence of each voxel, linear layer from ridge regression (ours); empirical_bayes: the "
        "same with a prior that all voxels share; glorot: random, as published",
    )
    encoder: GazivEncoderSettings = GazivEncoderSettings()
    decoder: GazivDecoderSettings = GazivDecoderSettings()
    image_loss: ImageLossSettings = ImageLossSettings()
    repeats: RepeatSettings = RepeatSettings()
