"""``scores.json``: the numbers of one run. What was not computed is null, never invented.

Fractions lie in 0..1, identification is in percent, fields that end in ``_deg`` are degrees of visual angle or of polar angle.
"""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

ROWS = ("full", "supervised", "images", "inductive", "ridge_pairs", "ridge_unpaired", "shuffled")
PRF_ROWS = ("full", "untrained", "noise_inputs", "permuted")


def _null_if_not_finite(value: Any) -> Any:
    """JSON has no NaN: a score that could not be computed is null."""
    if hasattr(value, "item"):  # numpy scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


_Nullable = BeforeValidator(_null_if_not_finite)
Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, _Nullable]
Correlation = Annotated[Annotated[float, Field(ge=-1, le=1)] | None, _Nullable]
Ratio = Annotated[float | None, _Nullable]
Percent = Annotated[Annotated[float, Field(ge=0, le=100)] | None, _Nullable]
Degrees = Annotated[Annotated[float, Field(ge=0)] | None, _Nullable]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class EncoderScores(_Part):
    """Prediction of the mean response to test images, median over voxels in scope."""

    median_r: Correlation = Field(None, description="Pearson r across test images")
    median_r_over_ceiling: Ratio = Field(None, description="r over the largest r that noise allows")


class PRFSummary(_Part):
    """Receptive fields against the truth of the simulated subject."""

    kept: Share = Field(None, description="share of the voxels in scope that is scored, the best by the method's own quality")
    median_error_deg: Degrees = Field(None, description="distance between estimated and true centre [degrees of visual angle]")
    median_angle_error_deg: Degrees = Field(None, description="polar angle, voxels with true eccentricity above 1 degree [degrees]")
    fisher_lee: Correlation = Field(None, description="circular correlation of polar angle, same voxels")
    log_ecc_r: Correlation = Field(None, description="correlation of log eccentricity, same voxels")
    hemifield: Share = Field(None, description="share on the right side of the vertical meridian, voxels with true |x| above 0.5 degree")
    null_angle_error_deg: Degrees = Field(None, description="angle error of an encoder trained on permuted pairs [degrees]; chance 90")


class PRFRow(_Part):
    """Receptive fields of one row against the truth; fields as in `prf`."""

    kept: Share = None
    median_error_deg: Degrees = None
    median_angle_error_deg: Degrees = None
    fisher_lee: Correlation = None
    log_ecc_r: Correlation = None
    hemifield: Share = None
    size_spearman: Correlation = Field(
        None, description="rank correlation of size with the true sigma / sqrt(exponent), eccentricity > 1 deg"
    )


class PRFRows(_Part):
    """What the map is owed to: the same scores for encoders and inputs that lack something."""

    full: PRFRow | None = Field(None, description="the trained encoder, as in `prf`")
    untrained: PRFRow | None = Field(None, description="the encoder's closed-form start, no gradient step")
    noise_inputs: PRFRow | None = Field(None, description="the trained encoder, its gradients taken at random-noise images")
    permuted: PRFRow | None = Field(None, description="an encoder trained on permuted pairs")


class Ways(_Part):
    """Exact n-way identification [percent]; null where there are fewer than n images."""

    two: Percent = Field(None, alias="2", description="chance 50")
    ten: Percent = Field(None, alias="10", description="chance 10")
    fifty: Percent = Field(None, alias="50", description="chance 2")
    within_photo: Percent = Field(None, description="among all crops of the same photo; chance 100 / number of crops")


class RowIdentification(_Part):
    """Identification of one row by two measures."""

    pixel: Ways | None = Field(None, description="Pearson correlation of RGB values")
    independent: Ways | None = Field(None, description="features of networks not used in training; the worse of them at each n")


class Identification(_Part):
    """Identification of each row [percent]."""

    full: RowIdentification | None = Field(None, description="the method with all its losses")
    supervised: RowIdentification | None = Field(None, description="same architecture and iterations, paired data only")
    images: RowIdentification | None = Field(None, description="without test responses")
    inductive: RowIdentification | None = Field(None, description="each image decoded by a system that never saw its responses")
    ridge_pairs: RowIdentification | None = Field(None, description="ridge regression on pairs")
    ridge_unpaired: RowIdentification | None = Field(None, description="ridge regression from encoded unpaired images")
    shuffled: RowIdentification | None = Field(None, description="everything trained on permuted pairs")


class _RowCorrelation(_Part):
    full: Correlation = None
    supervised: Correlation = None
    images: Correlation = None
    inductive: Correlation = None
    ridge_pairs: Correlation = None
    ridge_unpaired: Correlation = None
    shuffled: Correlation = None


class RowSSIM(_RowCorrelation):
    """Mean structural similarity of each row; a flat mean-colour image scores about .36 on photographs."""


class RowPixelR(_RowCorrelation):
    """Mean Pearson correlation of all colour values of reconstruction and image, for each row."""


class RowShares(_Part):
    """Share of the change inside the stimulated quadrant, for each row; chance .25."""

    full: Share = None
    supervised: Share = None
    images: Share = None
    inductive: Share = None
    ridge_pairs: Share = None
    ridge_unpaired: Share = None
    shuffled: Share = None


class MicrostimulationScores(_Part):
    """Microstimulation of the model, not of a brain."""

    quadrant_share: Share = Field(None, description="share of the image change inside the stimulated quadrant, row `full`; chance .25")
    rows: RowShares = Field(default_factory=RowShares, description="the same for each row")
    control: RowShares = Field(default_factory=RowShares, description="the same for as many random voxels")


class Scores(_Part):
    """All numbers of one run."""

    preset: str = Field(description="preset of the run")
    seed: int = Field(ge=0)
    method: str = Field(description="name of the method in row `full`")
    encoder: EncoderScores = Field(default_factory=EncoderScores)
    prf: PRFSummary = Field(default_factory=PRFSummary)
    prf_rows: PRFRows = Field(default_factory=PRFRows)
    identification: Identification = Field(default_factory=Identification)
    ssim: RowSSIM = Field(default_factory=RowSSIM)
    pixel_r: RowPixelR = Field(default_factory=RowPixelR)
    microstimulation: MicrostimulationScores = Field(default_factory=MicrostimulationScores)
    seconds: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict, description="wall time of each stage")


def write_scores(path: "Path", scores: Scores) -> None:
    """Write ``scores.json``, whole or not at all."""
    write_json(path, scores.model_dump(mode="json", by_alias=True))


def read_scores(path: "Path") -> Scores:
    """Read ``scores.json``.

    Raises
    ------
    MissingDataError
        If the file does not exist.
    DataFormatError
        If it is not JSON or does not follow the schema; the message names the field.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} does not exist; it is written at the end of an evaluation")
    try:
        return Scores.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataFormatError(f"{path} is not valid JSON: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise DataFormatError(f"{path} does not follow the schema of scores.json: {problems}") from None


def scores_schema() -> dict[str, Any]:
    """Give the JSON schema of ``scores.json``."""
    return Scores.model_json_schema(by_alias=True)
