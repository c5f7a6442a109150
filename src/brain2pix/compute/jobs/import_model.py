"""Make a trained system of published checkpoints and a subject that has their voxels."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.config.preparation import PreparationSettings
from brain2pix.data.readers._npz import NpzFile
from brain2pix.data.subject import open_subject
from brain2pix.errors import DataFormatError
from brain2pix.methods.registry import make_method, read_published, resolve_settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.run import ImportModelParams
    from brain2pix.data.subject import Subject

_SELECTED = "select_voxels"


def prepare(params: "ImportModelParams") -> Prepared:
    """Open the subject and read the checkpoints; see that they have the same number of voxels, and that every tensor is known."""
    given = resolve_settings(params.method, params.preset, None, params.settings)
    subject = open_subject(params.subject, params.subject_name, zscore=params.zscore)
    index = subject.select(params.region)
    if params.select_voxels is not None:
        index = index[read_selection(params.select_voxels, index.size)]
    published = read_published(params.method, params.encoder, params.decoder)
    check_number(published.n_voxels, index, params, subject)
    settings = published.settings(given, params.settings)
    method = make_method(params.method, settings, [subject.describe(index)], published.image_size)
    published.fill(method, given)
    imported = published.record()

    def run(context: JobContext) -> None:
        with context.stage("import"):
            if subject.simulated:
                context.message(f"{subject.name} of {subject.root.name} is a simulated subject")
            context.message(f"nothing in a checkpoint tells the order of its voxels: taken is that of region {params.region!r}")
            context.folder.save_model(method, imported)

    resolved = {
        "method": params.method,
        "settings": settings.model_dump(mode="json"),
        "prepare": PreparationSettings(zscore=params.zscore).model_dump(mode="json"),
        "unit": subject.unit,
        "notes": list(subject.notes),
        "subject": str(subject.path),
        "simulated": subject.simulated,
        "region": params.region,
        "n_voxels": int(index.size),
        "image_size": published.image_size,
        "imported": imported,
    }
    return Prepared(resolved, run)


def read_selection(path: "Path", n_voxels: int) -> "NDArray[np.int64]":
    """Read which voxels of a region were selected: numbers from 0, or a mask.

    Parameters
    ----------
    path : Path, npz file with the array `select_voxels`
    n_voxels : int, of the region

    Returns
    -------
    int array, [v], in the order of the file

    Raises
    ------
    MissingDataError, DataFormatError
        If the file is absent or damaged, or names voxels that the region does not have, or one of them twice.
    """
    values = NpzFile(path).small(_SELECTED)
    if values.ndim != 1 or values.dtype.kind not in "biu":
        raise DataFormatError(f"{path}: {_SELECTED} is {values.dtype} {values.shape}, expected whole numbers or a mask, one axis")
    if values.dtype.kind == "b":
        if values.size != n_voxels:
            raise DataFormatError(f"{path}: {_SELECTED} is a mask over {values.size:,} voxels, the region has {n_voxels:,}")
        return np.flatnonzero(values)
    if not values.size or int(values.min()) < 0 or int(values.max()) >= n_voxels or np.unique(values).size != values.size:
        raise DataFormatError(f"{path}: {_SELECTED} must name voxels 0..{n_voxels - 1} of the region, each once")
    return values.astype(np.int64)


def check_number(wanted: int, index: "NDArray[np.int64]", params: "ImportModelParams", subject: "Subject") -> None:
    """Refuse a region that has not as many voxels as the checkpoints, and name those that have.

    Raises
    ------
    DataFormatError
    """
    if index.size == wanted:
        return
    fitting = [name for name, mask in subject.areas.items() if int(mask.sum()) == wanted]
    advice = f"these have: {', '.join(fitting)} (--region)" if fitting else "no area of it has; is it the subject of these checkpoints?"
    selected = "" if params.select_voxels is None else f", selected by {params.select_voxels},"
    raise DataFormatError(
        f"the checkpoints have {wanted:,} voxels, region {params.region!r} of {subject.name}{selected} has {index.size:,}; {advice}"
    )
