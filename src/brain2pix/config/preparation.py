"""What is done to responses before a system trains on them: z-scores, averages over repeats, choice of voxels."""

from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings

ZScore = Literal["auto", "none", "train", "run", "session"]


class PreparationSettings(Settings):
    """How responses are prepared. A trained system reads responses with the same z-scores ever after."""

    zscore: ZScore = Field(
        "auto",
        description="auto: responses in z-scores as they are, others by the training trials; none: as they are; train: by the training "
        "trials; run, session: within each run or session, by its training trials where it has any",
    )
    average_repeats: bool = Field(False, description="train on one response per image, the mean over its training trials")
    min_ncsnr: float | None = Field(None, ge=0, description="leave out voxels below this noise-ceiling signal-to-noise ratio")
    min_ceiling: float | None = Field(None, ge=0, le=1, description="leave out voxels below this split-half noise ceiling")
    max_voxels: int | None = Field(None, ge=1, description="keep the voxels of the highest noise-ceiling signal-to-noise ratio")
    repeats_of: Literal["train", "test"] = Field(
        "train", description="repeats that the choice of voxels is made with; those of test images make a system transductive"
    )

    @property
    def chooses_voxels(self) -> bool:
        """Whether voxels are chosen by how reliable they are."""
        return any(limit is not None for limit in (self.min_ncsnr, self.min_ceiling, self.max_voxels))
