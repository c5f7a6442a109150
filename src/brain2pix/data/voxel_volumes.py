"""Values of a subject's voxels as volumes on its grid."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.volumes import write_volume

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject


def write_voxel_volumes(
    folder: "Path",
    base: str,
    quantities: "Mapping[str, NDArray[np.floating]]",
    subject: "Subject",
    voxel_index: "NDArray[np.integer] | None" = None,
) -> None:
    """Write one NIfTI volume for each quantity, NaN outside the voxels.

    Parameters
    ----------
    folder : Path
    base : str, files are named ``<base>_<quantity>.nii.gz``
    quantities : mapping of name to float array, [v]
    subject : Subject, whose grid it is
    voxel_index : int array, [v], rows of the voxel table; None for all voxels
    """
    ijk = subject.ijk if voxel_index is None else subject.ijk[np.asarray(voxel_index)]
    for quantity, values in quantities.items():
        volume = np.full(subject.space.shape, np.nan, dtype=np.float32)
        volume[tuple(ijk.T)] = values
        write_volume(folder / f"{base}_{quantity}.nii.gz", volume, subject.space.name, subject.space.affine)
