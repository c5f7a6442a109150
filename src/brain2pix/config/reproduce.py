"""What the evaluation of a paper is asked."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings

PAPERS = {"gaziv": "Gaziv et al. 2022", "beliy": "Beliy et al. 2019"}


class ReproduceParams(Settings):
    """Run a paper's evaluation on a subject and write one report beside the published numbers."""

    subject: Path = Field(description="dataset folder, or the subject's folder in it")
    subject_name: str | None = Field(None, description="which subject of a dataset folder, e.g. sub-01")
    method: Literal["gaziv", "beliy"] = Field("gaziv", description="paper")
    plan: Literal["short", "paper"] = Field("short", description="short: few steps and cells; paper: everything, with the published sizes")
    gallery: str | None = Field(
        None, description="folder with a sub-folder of pictures for each class, or procedural (simulated subjects); None: no classification"
    )
    class_column: str = Field("category", description="column of stimuli.tsv that names the true classes")
    runs: int | None = Field(None, ge=1, description="how many runs are averaged; None: as the plan says")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps; auto takes CUDA if there is any")
    workers: int = Field(0, ge=0, description="jobs at once; 0: one after another")
    gpus: tuple[str, ...] = Field((), description="one worker for each of these graphics cards")
