"""Bring positions from the vertices of a surface to the voxels that it passes through. Never angles."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.anatomy.sampling import sample_surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject


def vertices_to_voxels(subject: "Subject", hemi: str, values: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Average values over the cortex in each voxel.

    Parameters
    ----------
    subject : Subject, with white and pial of the hemisphere
    hemi : {"L", "R"}
    values : float array, [p k]: x0, y0 and what may be averaged like them; NaN where there is none

    Returns
    -------
    float64 array, [v k], NaN for voxels of the other hemisphere and where no cortex with a value is
    """
    space = subject.space
    found = sample_surface(values.T, subject.mesh(hemi, "white"), subject.mesh(hemi, "pial"), space.shape, space.affine)
    place = np.full(space.shape, -1, dtype=np.int64)
    place[tuple(found.ijk.T)] = np.arange(len(found.ijk))
    own = subject.voxels["hemi"].to_numpy(dtype=str) != {"L": "R", "R": "L"}[hemi]
    row = np.where(own, place[tuple(subject.ijk.T)], -1)
    return np.where(row[:, None] >= 0, np.append(found.values.T, np.full((1, values.shape[1]), np.nan), axis=0)[row], np.nan).astype(
        np.float64
    )
