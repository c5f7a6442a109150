"""``brain2pix import``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Where, absolute


def import_(
    kind: Annotated[str, Parameter(help="god-matlab, god-hdf5, god-npz, vim-1, or auto: look into the file.")],
    source: Annotated[Path, Parameter(help="File of one subject, as it was published.")],
    out: Annotated[Path, Parameter(help="Dataset folder to make.")],
    /,
    *,
    subject: Annotated[str | None, Parameter(help="Name of the subject, or which one of the file. Default: from the file's name.")] = None,
    images: Annotated[
        Path | None, Parameter(help="Folder or file with the pictures. Default: the published one beside the source.")
    ] = None,
    masks: Annotated[Path | None, Parameter(help="Folder with masks sub-XX_mask_LH_NAME.nii.gz: grid, areas and hemispheres.")] = None,
    areas: Annotated[list[str] | None, Parameter(help="Area to take; may be repeated. Default: all.", negative="")] = None,
    split: Annotated[Literal["train", "test", "imagery"] | None, Parameter(help="Split of a file that does not tell.")] = None,
    zscore: Annotated[Literal["none", "run"], Parameter(help="Scale each voxel within each run of each split.")] = "none",
    missing: Annotated[Literal["error", "skip"], Parameter(help="What to do with trials whose picture is not there.")] = "error",
    flip: Annotated[
        list[Literal["x", "y", "z"]] | None, Parameter(help="Mirror the voxel coordinates; may be repeated.", negative="")
    ] = None,
    flip_images: Annotated[list[Literal["x", "y"]] | None, Parameter(help="Mirror the pictures; may be repeated.", negative="")] = None,
    field_of_view_deg: Annotated[float | None, Parameter(help="Edge of the pictures [degrees]. Default: as published.")] = None,
    n_train: Annotated[int | None, Parameter(help="Training pictures of vim-1, if not 1750.")] = None,
    n_validation: Annotated[int | None, Parameter(help="Validation pictures of vim-1, if not 120.")] = None,
    where: Where = HERE,
) -> int:
    """Bring a published dataset into a native folder, which every other command opens."""
    from brain2pix.cli._job import run_job

    params = {
        "kind": kind,
        "source": absolute(source),
        "out": absolute(out),
        "subject": subject,
        "images": absolute(images),
        "masks": absolute(masks),
        "areas": areas or [],
        "split": split,
        "zscore": zscore,
        "missing": missing,
        "flip": flip or [],
        "flip_images": flip_images or [],
        "field_of_view_deg": field_of_view_deg,
        "n_train": n_train,
        "n_validation": n_validation,
    }
    record = None if where.on is None else out.with_name(f"{out.name}-job")
    return run_job("import", params, record, done=f"imported: {out}", where=where)
