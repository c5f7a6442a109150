"""The grid that voxels live on."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.anatomy.transforms import voxel_to_world
from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Space:
    """A named voxel grid.

    Parameters
    ----------
    name : str, as in the file names after ``space-``, letters and digits, e.g. "T1w" or "MNI152"
    affine : float64 array, [4 4], 0-based voxel indices (i, j, k) to world RAS mm
    shape : tuple of three ints
    """

    name: str
    affine: "NDArray[np.float64]"
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        shape = tuple(int(edge) for edge in self.shape)
        if affine.shape != (4, 4) or len(shape) != 3:
            raise ShapeError(f"a space needs a 4 x 4 affine and three edges, got {affine.shape} and {shape}")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel [mm]."""
        edges = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(edges[0]), float(edges[1]), float(edges[2])

    def __str__(self) -> str:
        millimetres = " x ".join(f"{edge:g}" for edge in np.round(self.voxel_mm, 3))
        return f"({', '.join(map(str, self.shape))}) {millimetres} mm"

    def to_world(self, ijk: "NDArray[np.integer]") -> "NDArray[np.float64]":
        """World coordinates of voxels.

        Parameters
        ----------
        ijk : int array, [v 3], 0-based

        Returns
        -------
        float64 array, [v 3], RAS mm
        """
        return voxel_to_world(ijk, self.affine)

    def corner_displacement_mm(self, affine: "NDArray[np.float64]") -> float:
        """How far the corners of this grid move, at most, under another affine [mm]."""
        far = np.array(self.shape) - 1
        corners = np.array([[a, b, c, 1] for a in (0, far[0]) for b in (0, far[1]) for c in (0, far[2])], dtype=np.float64)
        moved = corners @ (np.asarray(affine, dtype=np.float64) - self.affine).T
        return float(np.sqrt((moved[:, :3] ** 2).sum(axis=1)).max())


def voxel_hash(space: Space, ijk: "NDArray[np.integer]") -> str:
    """Fingerprint of voxels in their order: sha256 over grid, affine (to 1e-4) and (i, j, k).

    Parameters
    ----------
    space : Space
    ijk : int array, [v 3]
    """
    rounded = np.round(space.affine, 4) + 0.0  # + 0.0 turns -0.0 into 0.0
    digest = hashlib.sha256()
    for part in (np.asarray(space.shape, "<i8"), rounded.astype("<f8"), np.asarray(ijk, "<i8")):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
