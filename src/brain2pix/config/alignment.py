"""Settings of hyperalignment and of the components that follow it."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings


class AlignmentSettings(Settings):
    """How several subjects become one: rows, rotations, components."""

    train_split: str = Field("train", description="trials that everything is fitted on")
    heldout_split: str = Field("test", description="trials that the result is measured on, never fitted")
    rows: Literal["auto", "trials", "averages"] = Field(
        "auto",
        description="match trials by stimulus and repetition, or averages by stimulus; auto: averages if some stimulus has no repetition "
        "that all subjects share",
    )
    cap_repeats: int | None = Field(None, ge=1, description="use at most so many repetitions of a stimulus; None: all")
    scale: bool = Field(False, description="let a subject's map stretch too, by one factor")
    n_rounds: int = Field(1, ge=1, le=20, description="how often each subject is aligned again to the mean of the others")
    variance: float = Field(0.99, gt=0, le=1, description="share of the variance of the aligned mean that the components keep")
    whiten: bool = Field(False, description="divide the scores by the deviation along their component")
    compare_pictures: bool = Field(True, description="refuse stimuli of one name whose pictures differ between the subjects")
