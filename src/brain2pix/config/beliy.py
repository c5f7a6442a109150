"""Settings of Beliy et al. 2019. Presets stand in ``resources/presets/beliy.toml``."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings
from brain2pix.config.methods import RepeatSettings, ScheduleSettings, ThreeLosses
from brain2pix.config.models import BackboneSettings


class BeliyEncoderSettings(Settings):
    """Architecture and training of the encoder (phase I)."""

    channels: int = Field(32, ge=1, le=512, description="channels of each convolution")
    n_blocks: int = Field(2, ge=1, le=4, description="convolutions that halve the grid: 2 = released program, 3 = paper")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the last grid that is dropped while training")
    n_steps: int = Field(1520, ge=0, description="gradient steps; 1,520 are 80 epochs of 1,200 pairs")
    batch: int = Field(64, ge=1, description="pairs per step")
    learning_rate: float = Field(0.1, gt=0, description="of stochastic gradient descent with Nesterov momentum")
    momentum: float = Field(0.9, ge=0, lt=1, description="of stochastic gradient descent")
    schedule: ScheduleSettings = ScheduleSettings(kind="steps", milestones=(0.25, 0.4375, 0.5625, 0.625), factor=0.1)
    alpha: float = Field(0.9, ge=0, le=1, description="alpha x squared error - (1 - alpha) x cosine")
    shift_px: int = Field(5, ge=0, description="random shift of the training images, edges repeated [px]")
    cached_copies: int = Field(
        0, ge=0, description="frozen features kept for this many shifted copies; 0: fresh shift and features at each step"
    )
    half_precision_cache: bool = Field(True, description="keep cached features as bfloat16")
    validation_share: float = Field(0.1, ge=0, le=0.5, description="share of the training groups held out to choose the step; 0: last step")
    check_every: int = Field(19, ge=1, description="steps between looks at the held-out groups")
    refit: bool = Field(False, description="train again on everything for the number of steps that was best")
    conv_l1: float = Field(1e-5, ge=0, description="sum of |weights| of the convolutions")
    conv_l2: float = Field(1e-3, ge=0, description="sum of squared weights of the convolutions")
    linear_l1: float = Field(10.0, ge=0, description="mean of |weights| of the linear layer")
    linear_group: float = Field(800.0, ge=0, description="group lasso of the linear layer over channels and neighbouring places")


class BeliyDecoderSettings(Settings):
    """Architecture and training of the decoder (phase II)."""

    channels: int = Field(64, ge=1, le=512, description="channels of the start grid and of each block")
    n_blocks: int = Field(3, ge=1, le=5, description="blocks, each doubles the size; the start grid is image size / 2^n_blocks")
    out_channels: Literal[1, 3] = Field(3, description="1 for grey-scale datasets")
    draw_biases: bool = Field(False, description="draw the biases at the start too, as the released program; else they start at 0")
    n_steps: int = Field(2700, ge=0, description="gradient steps; 2,700 are 150 epochs of 18; 0 trains the encoder only")
    n_runs: int = Field(1, ge=1, le=20, description="decoders that are trained one after the other; their pictures are averaged")
    batch_pairs: int = Field(48, ge=1, description="pairs per step")
    batch_images: int = Field(16, ge=1, description="images without responses per step")
    batch_fmri: int = Field(16, ge=1, description="responses without images per step")
    max_unpaired: int = Field(50_000, ge=1, description="at most this many of the images without responses are used")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam (amsgrad)")
    schedule: ScheduleSettings = ScheduleSettings(kind="steps", milestones=(0.2, 0.4, 0.6, 0.8), factor=0.2)
    encoder_stochastic: bool = Field(
        False,
        description="let E use the statistics of the batch and drop a quarter of its last grid, as the released program did by mistake",
    )
    conv_l1: float = Field(1e-5, ge=0, description="sum of |weights| of the convolutions")
    linear_l1: float = Field(20.0, ge=0, description="mean of |weights| of the linear layer")
    linear_group: float = Field(400.0, ge=0, description="group lasso of the linear layer over channels and neighbouring places")


class BeliyImageLossSettings(Settings):
    """What makes two pictures alike."""

    pixel: float = Field(0.15, ge=0, description="weight of the absolute difference, each colour scaled by its mean")
    tv: float = Field(1.0, ge=0, description="weight of the total variation of the reconstruction")
    features: tuple[float, float] = Field((0.70, 0.15), description="weights of the backbone's first and second block")
    power: Literal[1, 2] = Field(1, description="features differ by absolute (1, released program) or squared (2, paper) difference")
    backbone: BackboneSettings = BackboneSettings()


class BeliySettings(ThreeLosses):
    """Beliy et al. 2019: encoder first, then a decoder on three losses. Presets: tiny, demo, preview, released, paper."""

    backbone: BackboneSettings = Field(BackboneSettings(), description="frozen network whose first layer the encoder reads")
    weight_pairs: float = Field(0.75, ge=0, description="weight of D(response) against its image: its share of a step's pictures")
    weight_images: float = Field(0.25, ge=0, description="weight of D(E(image)) against the image, without responses; 0 turns it off")
    balance: Literal["equalise", "fixed"] = Field(
        "fixed", description="equalise: divide each loss by its running mean; fixed: as published"
    )
    encoder: BeliyEncoderSettings = BeliyEncoderSettings()
    decoder: BeliyDecoderSettings = BeliyDecoderSettings()
    image_loss: BeliyImageLossSettings = BeliyImageLossSettings()
    repeats: RepeatSettings = RepeatSettings(mode="bernoulli")
