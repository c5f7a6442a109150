"""What an import of responses is asked: a published dataset, or the files of one's own laboratory."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from brain2pix.config.base import Settings


class OwnParams(Settings):
    """Files of one's own beside the responses (kind "own"); published datasets need none of them."""

    table: Path | None = Field(None, description="table of the trials, TSV or CSV, one row per response; None: of the same name beside it")
    regions: tuple[Path, ...] = Field((), description="masks and label volumes of areas (NIfTI), on the grid of the responses")
    mask: Path | None = Field(None, description="mask of the voxels (NIfTI); gives the columns of a matrix their places")
    anatomy: Path | None = Field(None, description="anatomical volume, or mean EPI (NIfTI)")
    surfaces: Path | None = Field(None, description="folder of a FreeSurfer subject, or with GIFTI surfaces, in the space of the voxels")
    dataset: str | None = Field(None, description="name of the matrix in an HDF5 file; None: the only one that fits")
    voxel_order: Literal["C", "F"] = Field(
        "C", description="how the columns of a matrix run through the mask: C as numpy counts, F as MATLAB and SPM do"
    )
    unit: str | None = Field(None, description="of responses: psc, z-run, z-session, z-train or a.u.; None: as the file says, else a.u.")


class SplitParams(Settings):
    """How trials are held out where a table does not say."""

    by: Literal["table", "image", "category", "run"] = Field(
        "table", description="table: its own column 'split'; else images, categories or runs are drawn and held out together"
    )
    test_share: float = Field(0.1, ge=0, lt=1, description="share of the images, categories or runs for the test")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of them for validation")
    seed: int = Field(0, ge=0, description="draws them")


class Choices(Settings):
    """What a file cannot tell and the user may."""

    subject: str | None = Field(None, description="name of the subject, or which one of the file; None: as the file's name has it")
    images: Path | None = Field(None, description="folder or file with the pictures; None: beside the source, where they are published so")
    masks: Path | None = Field(None, description="folder with masks sub-XX_mask_{LH,RH}_NAME.nii.gz on the grid of the voxels")
    areas: tuple[str, ...] = Field((), description="areas to take; empty: all")
    split: Literal["train", "test", "imagery"] | None = Field(None, description="split of a file that does not tell")
    zscore: Literal["none", "run", "session"] = Field("none", description="scale each voxel within each run, or session, of each split")
    missing: Literal["error", "skip"] = Field("error", description="trials whose picture is not there")
    flip: tuple[Literal["x", "y", "z"], ...] = Field((), description="axes of the voxel coordinates to mirror")
    flip_images: tuple[Literal["x", "y"], ...] = Field((), description="axes of the pictures to mirror")
    field_of_view_deg: float | None = Field(None, gt=0, le=180, description="edge of the pictures [degrees]; None: as published")
    n_train: int | None = Field(None, ge=1, description="training pictures of vim-1; None: 1750")
    n_validation: int | None = Field(None, ge=1, description="validation pictures of vim-1; None: 120")
    own: OwnParams = OwnParams()
    splits: SplitParams = SplitParams()


class ImportParams(Choices):
    """Bring a published dataset, or one's own files, into a native folder."""

    source: Path = Field(description="file or folder as it was published; of one's own data the file with the responses")
    out: Path = Field(description="dataset folder to make")
    kind: str = Field("auto", description="name of the format; auto looks into the file")
