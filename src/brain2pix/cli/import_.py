"""``brain2pix import``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from brain2pix.cli._options import HERE, Where, absolute

_OWN = Group("One's own files", sort_key=1)


def import_(
    kind: Annotated[str, Parameter(help="god-matlab, god-hdf5, god-npz, vim-1, own, or auto: look into the file.")],
    source: Annotated[Path, Parameter(help="File of one subject, as it was published; of your own data the file with the responses.")],
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
    zscore: Annotated[
        Literal["none", "run", "session"], Parameter(help="Scale each voxel within each run, or session, of each split.")
    ] = "none",
    missing: Annotated[Literal["error", "skip"], Parameter(help="What to do with trials whose picture is not there.")] = "error",
    flip: Annotated[
        list[Literal["x", "y", "z"]] | None, Parameter(help="Mirror the voxel coordinates; may be repeated.", negative="")
    ] = None,
    flip_images: Annotated[list[Literal["x", "y"]] | None, Parameter(help="Mirror the pictures; may be repeated.", negative="")] = None,
    field_of_view_deg: Annotated[float | None, Parameter(help="Edge of the pictures [degrees]. Default: as published.")] = None,
    n_train: Annotated[int | None, Parameter(help="Training pictures of vim-1, if not 1750.")] = None,
    n_validation: Annotated[int | None, Parameter(help="Validation pictures of vim-1, if not 120.")] = None,
    table: Annotated[
        Path | None, Parameter(help="Trials, TSV or CSV, one row per response. Default: of the same name.", group=_OWN)
    ] = None,
    regions: Annotated[
        list[Path] | None, Parameter(help="Masks and label volumes.", negative="", consume_multiple=True, group=_OWN)
    ] = None,
    mask: Annotated[Path | None, Parameter(help="Mask of the voxels: their places, and which are read.", group=_OWN)] = None,
    anatomy: Annotated[Path | None, Parameter(help="Anatomical volume, or mean EPI, on any grid.", group=_OWN)] = None,
    surfaces: Annotated[Path | None, Parameter(help="Folder of a FreeSurfer subject, or with GIFTI surfaces.", group=_OWN)] = None,
    dataset: Annotated[str | None, Parameter(help="Name of the matrix in an HDF5 file, if several fit.", group=_OWN)] = None,
    voxel_order: Annotated[
        Literal["C", "F"], Parameter(help="How columns run through the mask: C as numpy, F as MATLAB and SPM.", group=_OWN)
    ] = "C",
    unit: Annotated[str | None, Parameter(help="psc, z-run, z-session, z-train or a.u. Default: as the file says.", group=_OWN)] = None,
    split_by: Annotated[
        Literal["table", "image", "category", "run"],
        Parameter(help="What is drawn and held out; table: its column split says.", group=_OWN),
    ] = "table",
    test_share: Annotated[float, Parameter(help="Share of them for the test.", group=_OWN)] = 0.1,
    validation_share: Annotated[float, Parameter(help="Share of them for validation.", group=_OWN)] = 0.0,
    seed: Annotated[int, Parameter(help="Seed that draws them.", group=_OWN)] = 0,
    where: Where = HERE,
) -> int:
    """Bring a published dataset, or your own files, into a native folder, which every other command opens."""
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
        "own": {
            "table": absolute(table),
            "regions": [absolute(path) for path in regions or ()],
            "mask": absolute(mask),
            "anatomy": absolute(anatomy),
            "surfaces": absolute(surfaces),
            "dataset": dataset,
            "voxel_order": voxel_order,
            "unit": unit,
        },
        "splits": {"by": split_by, "test_share": test_share, "validation_share": validation_share, "seed": seed},
    }
    record = None if where.on is None else out.with_name(f"{out.name}-job")
    return run_job("import", params, record, done=f"imported: {out}", where=where)
