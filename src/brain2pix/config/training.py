"""Settings of the training loop itself: how often it saves and shows, in which precision. They never change what is learned."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings


class TrainingSettings(Settings):
    """How the loop runs. Only `precision` touches the numbers."""

    checkpoint_every_steps: int | None = Field(None, ge=1, description="save every so many steps; None: by time only")
    checkpoint_every_s: float = Field(60.0, gt=0, description="save when so many seconds passed since the last time [s]")
    checkpoints_kept: int = Field(2, ge=2, le=100, description="newest checkpoints kept; a damaged one falls back to the one before")
    keep_when_finished: bool = Field(False, description="keep the checkpoints after the final model is saved (they hold the optimizer too)")
    events_per_second: float = Field(10.0, gt=0, le=100, description="progress and metric events, at most [1/s]")
    previews: int = Field(4, ge=0, le=1000, description="preview pictures of a phase, evenly spread over its steps")
    precision: Literal["float32", "bf16"] = Field("float32", description="bf16: mixed precision on CUDA; other devices stay with float32")
    deterministic: bool = Field(True, description="ask the device for algorithms that give the same result each time")
