"""Cortical meshes: the bundled fsaverage5 and what displays need to know of it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

HEMISPHERES = ("L", "R")
SURFACE_KINDS = ("white", "pial", "inflated", "sphere", "flat")
GAP_MM = 20.0  # between the hemispheres of a display

# FreeSurfer's affine from fsaverage (MNI305) to MNI152, RAS mm: https://surfer.nmr.mgh.harvard.edu/fswiki/CoordinateSystems, use case 8
MNI305_TO_MNI152 = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

_NILEARN_PART = {"L": "left", "R": "right"}
_NILEARN_KIND = {"white": "white_matter"}


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Parameters
    ----------
    vertices : float32 array, [p 3], RAS mm
    faces : int array, [f 3], 0-based vertex indices
    """

    vertices: "NDArray[np.float32]"
    faces: "NDArray[np.int32]"

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return int(self.vertices.shape[0])

    def moved(self, affine: "NDArray[np.float64]") -> "Mesh":
        """Give the mesh in another world space.

        Parameters
        ----------
        affine : float array, [4 4]
        """
        vertices = self.vertices @ affine[:3, :3].T + affine[:3, 3]
        return Mesh(vertices.astype(np.float32), self.faces)


def load_fsaverage5(hemi: str) -> dict[str, Mesh]:
    """Load the fsaverage5 meshes that ship inside nilearn; nothing is downloaded.

    Parameters
    ----------
    hemi : str, "L" or "R"

    Returns
    -------
    dict of kind (white, pial, inflated, sphere, flat) to Mesh, 10242 vertices each. White and pial lie in MNI305 (RAS mm): move them with
    `mni305_to_mni152`. Hemispheres of inflated, sphere and flat overlap: shift them with `display_offset`.

    Raises
    ------
    ConfigError
        If `hemi` is not "L" or "R".
    """
    _check_hemi(hemi)
    return dict(_fsaverage5()[hemi])


@lru_cache(maxsize=1)
def _fsaverage5() -> dict[str, dict[str, Mesh]]:
    from nilearn.datasets import load_fsaverage  # 1.7 s to import: only when asked for

    source = load_fsaverage("fsaverage5")
    return {
        hemi: {
            kind: Mesh(
                np.asarray(source[_NILEARN_KIND.get(kind, kind)].parts[part].coordinates, dtype=np.float32),
                np.asarray(source[_NILEARN_KIND.get(kind, kind)].parts[part].faces, dtype=np.int32),
            )
            for kind in SURFACE_KINDS
        }
        for hemi, part in _NILEARN_PART.items()
    }


def load_sulc(hemi: str) -> "NDArray[np.float32]":
    """Load the sulcal depth of fsaverage5.

    Parameters
    ----------
    hemi : str, "L" or "R"

    Returns
    -------
    float32 array, [p], positive in a sulcus
    """
    _check_hemi(hemi)
    from nilearn.datasets import load_fsaverage_data

    data = load_fsaverage_data(mesh="fsaverage5", data_type="sulcal").data.parts[_NILEARN_PART[hemi]]
    return np.asarray(data, dtype=np.float32).ravel()


def mni305_to_mni152(xyz: "ArrayLike") -> "NDArray[np.float64]":
    """Move points from fsaverage's world space to MNI152.

    Parameters
    ----------
    xyz : float array, [... 3], RAS mm in MNI305

    Returns
    -------
    float64 array, [... 3], RAS mm in MNI152
    """
    points = np.asarray(xyz, dtype=np.float64)
    moved: NDArray[np.float64] = points @ MNI305_TO_MNI152[:3, :3].T + MNI305_TO_MNI152[:3, 3]
    return moved


def used_vertices(faces: "NDArray[np.integer]", n_vertices: int) -> "NDArray[np.bool_]":
    """Say which vertices belong to a triangle: those cut away from a flat mesh keep meaningless coordinates.

    Parameters
    ----------
    faces : int array, [f 3]
    n_vertices : int

    Returns
    -------
    bool array, [p]

    Raises
    ------
    ShapeError
        If a triangle names a vertex that does not exist.
    """
    if faces.size and (faces.min() < 0 or faces.max() >= n_vertices):
        raise ShapeError(
            f"triangles name vertices {faces.min()}..{faces.max()}, the mesh has 0..{n_vertices - 1}; check that they belong together"
        )
    used = np.zeros(n_vertices, dtype=bool)
    used[faces] = True
    return used


def display_offset(meshes: "Mapping[str, Mesh]", kind: str, gap_mm: float = GAP_MM) -> dict[str, "NDArray[np.float32]"]:
    """Say how far to shift each hemisphere along x so that left is drawn left of right, with a gap between them.

    White and pial surfaces lie side by side already. In the flat meshes both occipital poles then face the midline.

    Parameters
    ----------
    meshes : mapping of hemi ("L", "R") to Mesh of one kind
    kind : str, one of `SURFACE_KINDS`
    gap_mm : float

    Returns
    -------
    dict of hemi to float32 array, [3], to add to the vertices

    Raises
    ------
    ConfigError
        If `kind` is unknown.
    """
    if kind not in SURFACE_KINDS:
        raise ConfigError(unknown_name("surface", kind, SURFACE_KINDS))
    offsets = {hemi: np.zeros(3, dtype=np.float32) for hemi in meshes}
    if kind in ("white", "pial"):
        return offsets
    for hemi, mesh in meshes.items():
        x = mesh.vertices[used_vertices(mesh.faces, mesh.n_vertices), 0]
        offsets[hemi][0] = -gap_mm / 2 - x.max() if hemi == "L" else gap_mm / 2 - x.min()
    return offsets


def _check_hemi(hemi: str) -> None:
    if hemi not in HEMISPHERES:
        raise ConfigError(unknown_name("hemisphere", hemi, HEMISPHERES))
