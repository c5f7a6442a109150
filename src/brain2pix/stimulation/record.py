"""A record of one stimulation: enough to run it again, and to refuse to run it on the wrong model."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brain2pix.config.stimulation import Mode
from brain2pix.errors import DataFormatError, MissingDataError, ShapeError
from brain2pix.files import write_json
from brain2pix.stimulation.operations import stimulate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.arrays import SubjectInfo
    from brain2pix.stimulation.operations import Values


class StimulationRecord(BaseModel):
    """One stimulation of a model, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(1, ge=1, le=1, description="of this format")
    subject: str = Field(description="whose responses were stimulated")
    voxel_hash: str = Field(description="of the model's voxels and their order")
    n_voxels: int = Field(ge=1, description="of the model")
    method: str = Field(description="of the model")
    model: str = Field("", description="where the model was, or its hash")
    base: str = Field(description='stimulus id whose responses were the base, or "mean"')
    repeat: int | None = Field(None, ge=1, description="which trial of that stimulus was the base; null: the mean over its trials")
    split: str | None = Field(None, description="split of the trials that were the base; null: those in which the stimulus was seen")
    region: str = Field(description="region and part of the visual field in words")
    voxels: tuple[int, ...] = Field(min_length=1, description="stimulated voxels, positions in the model's order")
    mode: Mode
    amplitude: float
    excess: float | None = Field(None, description="distance over the limit of held-out trials; above 1 is out of distribution")
    percentile: float | None = Field(None, ge=0, le=1, description="share of held-out trials that are nearer")
    quadrant_share: float | None = Field(None, ge=0, le=1, description="share of the change in the stimulated part of the field")
    control_share: float | None = Field(None, ge=0, le=1, description="the same for as many random voxels")
    simulated: bool = Field(description="whether the subject is simulated; the stimulation always is")
    statement: str = "prediction of a model, not of a brain"
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def mask(self) -> "NDArray[np.bool_]":
        """Stimulated voxels, bool [v]."""
        mask = np.zeros(self.n_voxels, dtype=bool)
        mask[list(self.voxels)] = True
        return mask


def make_record(
    info: "SubjectInfo", mask: "NDArray[np.bool_]", mode: Mode, amplitude: float, *, method: str, base: str, region: str, **more: object
) -> StimulationRecord:
    """Describe a stimulation.

    Parameters
    ----------
    info : SubjectInfo of the model
    mask : bool array, [v]
    mode, amplitude : see `operations.stimulate`
    method, base, region : str, see StimulationRecord
    **more : further fields of StimulationRecord
    """
    values = {
        "subject": info.subject,
        "voxel_hash": info.voxel_hash,
        "n_voxels": info.n_voxels,
        "voxels": tuple(np.flatnonzero(mask).tolist()),
        "simulated": info.simulated,
    }
    return StimulationRecord.model_validate(
        {**values, "mode": mode, "amplitude": amplitude, "method": method, "base": base, "region": region, **more}
    )


def replay(record: StimulationRecord, values: "Values", info: "SubjectInfo") -> "Values":
    """Apply a recorded stimulation to responses.

    Parameters
    ----------
    record : StimulationRecord
    values : float array or Tensor, [b v] or [b l v], responses in the model's voxels
    info : SubjectInfo of the model at hand

    Raises
    ------
    ShapeError
        If the model at hand has other voxels, or another order of them.
    """
    check_record(record, info)
    return stimulate(values, record.mask(), record.mode, record.amplitude)


def check_record(record: StimulationRecord, info: "SubjectInfo") -> None:
    """Refuse a record of other voxels than those of the model at hand, or of another order of them.

    Raises
    ------
    ShapeError
    """
    if record.voxel_hash != info.voxel_hash:
        raise ShapeError(
            f"the record was made with {record.n_voxels} voxels of {record.subject}, the model at hand has {info.n_voxels} voxels of "
            f"{info.subject} in another selection or order; open the model that it names ({record.model or record.method})"
        )


def write_record(path: "Path", record: StimulationRecord) -> None:
    """Write a record as JSON, whole or not at all."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: "Path") -> StimulationRecord:
    """Read what `write_record` wrote.

    Raises
    ------
    MissingDataError
        If the file does not exist.
    DataFormatError
        If it is not such a record; the message names the field.
    """
    if not path.is_file():
        raise MissingDataError(f"stimulation record {path} does not exist")
    try:
        record = StimulationRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataFormatError(f"{path} is not valid JSON: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise DataFormatError(f"{path} is not a stimulation record: {problems}") from None
    if max(record.voxels) >= record.n_voxels or min(record.voxels) < 0:
        raise DataFormatError(f"{path}: voxels must lie in 0..{record.n_voxels - 1}, got {min(record.voxels)}..{max(record.voxels)}")
    return record
