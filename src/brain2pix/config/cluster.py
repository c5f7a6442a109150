"""Where a compute server finds its workers on a cluster: SLURM or PBS."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from brain2pix.config.base import Settings, resolve
from brain2pix.errors import ConfigError

ClusterKind = Literal["slurm", "pbs"]
_WALLTIME = re.compile(r"\d+:[0-5]\d:[0-5]\d")
_SHORTEST_S = 60


class ClusterSettings(Settings):
    """One batch job is one worker with one GPU; it runs one of our jobs after the other until its time is over."""

    shared_folder: Path = Field(
        description="folder that this machine and all nodes see under the same path; for the keys of the workers (mode 0600) and their logs"
    )
    interface: str = Field(min_length=1, description="network interface of this machine that the nodes reach, e.g. ib0 (see: ip address)")
    worker_interface: str | None = Field(None, description="network interface of the nodes; None: the one that leads to this machine")
    queue: str | None = Field(None, description="queue (PBS) or partition (SLURM); None: the site's default")
    account: str | None = Field(None, description="whom the time is charged to")
    walltime: str = Field("04:00:00", description="time of a batch job, hours:minutes:seconds")
    cores: int = Field(4, ge=1, description="cores of a batch job")
    memory: str = Field("32GB", description="memory of a batch job, e.g. 32GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    gpus: int = Field(1, ge=0, le=1, description="GPUs of a batch job; 0: jobs run on its cores")
    gpu_request: str | None = Field(
        None, description="how this site names a GPU; None: gpu:1, after --gres= (SLURM), or ngpus=1, in the select statement (PBS)"
    )
    directives: tuple[str, ...] = Field((), description="further lines for the batch system, without #SBATCH or #PBS")
    prologue: tuple[str, ...] = Field((), description='commands before the worker starts, e.g. "module load cuda"')
    python: str | None = Field(None, description="Python of the nodes that has napari-brain2pix; None: the one that this server runs in")
    jobs: int = Field(1, ge=1, le=1000, description="batch jobs at once, at most")
    adaptive: bool = Field(True, description="ask for batch jobs only while there is work; false: keep all of them at any time")
    margin_s: int = Field(
        300, ge=60, description="a worker ends itself so long before its walltime, and its job goes on in the next one [s]"
    )

    @field_validator("shared_folder")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        folder = folder.expanduser()
        if not folder.is_absolute():
            raise ValueError("must be a full path: it is used on other machines")
        if re.search(r"\s", str(folder)):
            raise ValueError("must have no spaces: it becomes part of a line of the job script")
        return folder

    @field_validator("walltime")
    @classmethod
    def _time(cls, text: str) -> str:
        if not _WALLTIME.fullmatch(text):
            raise ValueError('must be hours:minutes:seconds, e.g. "04:00:00" or "72:00:00"')
        return text

    @field_validator("queue", "account", "worker_interface", "interface", "gpu_request", "python")
    @classmethod
    def _one_word(cls, text: str | None) -> str | None:
        if text is not None and (not text or re.search(r"\s", text)):
            raise ValueError("must be one word: it becomes part of a line of the job script")
        return text

    @field_validator("directives", "prologue")
    @classmethod
    def _lines(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            if "\n" in line or line.startswith(("#SBATCH", "#PBS")):
                raise ValueError("must be single lines, without #SBATCH or #PBS")
        return lines

    @field_validator("margin_s")
    @classmethod
    def _shorter_than_walltime(cls, margin_s: int, others: ValidationInfo) -> int:
        walltime = others.data.get("walltime")
        if walltime is not None and _seconds(walltime) - margin_s < _SHORTEST_S:
            raise ValueError(f"must leave at least {_SHORTEST_S} s of the walltime {walltime}")
        return margin_s

    @property
    def lifetime_s(self) -> int:
        """How long a worker takes work [s]."""
        return _seconds(self.walltime) - self.margin_s


def read_cluster_settings(file: Path) -> ClusterSettings:
    """Read the options of a cluster from TOML.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ConfigError
        If it is not TOML, or an option is unknown, missing or out of range.
    """
    try:
        return resolve(ClusterSettings, "cluster", file=file)
    except ConfigError as error:
        raise ConfigError(f"cluster options {file}: {error}") from None


def _seconds(walltime: str) -> int:
    hours, minutes, seconds = (int(part) for part in walltime.split(":"))
    return hours * 3600 + minutes * 60 + seconds
