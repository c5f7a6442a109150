"""Put voxels on a grid, from whatever coordinates a file has."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.readers.base import Placement
from brain2pix.data.space import Space
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# A coordinate may lie this far from its grid point: half of it is what two decimals lose.
_MAX_OFF_MM = 0.1
_MOST_EDGE = 1024


def flip_coordinates(xyz: "NDArray[np.float64]", axes: "tuple[str, ...]") -> "NDArray[np.float64]":
    """Mirror world coordinates, [v 3]."""
    return np.asarray(xyz * np.array([-1.0 if axis in axes else 1.0 for axis in ("x", "y", "z")]))


def arranged(n_voxels: int) -> Placement:
    """Arrange voxels without coordinates in a cube; left and right stay unknown."""
    edge = max(1, int(np.ceil(n_voxels ** (1 / 3))))
    ijk = np.stack(np.unravel_index(np.arange(n_voxels), (edge, edge, edge)), axis=1)
    return Placement(ijk.astype(np.int64), Space("index", np.eye(4), (edge, edge, edge)), _nowhere(n_voxels), False)


def indexed(ijk: "NDArray[np.int64]", shape: tuple[int, int, int], voxel_mm: tuple[float, float, float]) -> Placement:
    """Take indices of a grid whose orientation is not known; left and right stay unknown."""
    return Placement(ijk, Space("index", np.diag([*voxel_mm, 1.0]), shape), _nowhere(len(ijk)), False)


def on_grid(path: "Path", xyz: "NDArray[np.float64]", space: Space, hemi: "NDArray[np.str_] | None" = None) -> Placement:
    """Find voxels on a given grid by their world coordinates.

    Raises
    ------
    DataFormatError
        If they do not lie on its points.
    """
    exact = np.c_[xyz, np.ones(len(xyz))] @ np.linalg.inv(space.affine).T
    ijk = np.round(exact[:, :3]).astype(np.int64)
    off = np.linalg.norm(space.to_world(ijk) - xyz, axis=1).max(initial=0)
    outside = ((ijk < 0) | (ijk >= np.array(space.shape))).any(axis=1).sum()
    if off > _MAX_OFF_MM or outside:
        raise DataFormatError(
            f"{path}: voxels do not lie on the grid of the masks {space}: up to {off:.2f} mm off, {outside} of {len(xyz)} outside; "
            "give the masks of this subject (if the coordinates are mirrored: --flip x), or none"
        )
    _check_unique(path, ijk)
    return Placement(ijk, space, sides_of(xyz) if hemi is None else hemi, True)


def fitted(path: "Path", xyz: "NDArray[np.float64]", ijk: "NDArray[np.int64]", name: str) -> Placement:
    """Fit the affine from pairs of indices and coordinates.

    Raises
    ------
    DataFormatError
        If no affine takes one to the other.
    """
    pairs = np.c_[ijk, np.ones(len(ijk))]
    solution, _, rank, _ = np.linalg.lstsq(pairs, xyz, rcond=None)
    off = np.abs(pairs @ solution - xyz).max(initial=0)
    if rank < 4 or off > _MAX_OFF_MM:
        raise DataFormatError(f"{path}: voxel_i, j, k and voxel_x, y, z are not one grid: no affine joins them ({off:.2f} mm off)")
    low = ijk.min(axis=0).clip(max=0)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = solution[:3].T, solution[3] + low @ solution[:3]
    shape = _shape(path, ijk - low)
    _check_unique(path, ijk - low)
    return Placement(ijk - low, Space(name, affine, shape), sides_of(xyz), True)


def derived(path: "Path", xyz: "NDArray[np.float64]", name: str) -> Placement | None:
    """Derive a grid along the axes from world coordinates alone; None if they lie on none."""
    origin, steps = xyz.min(axis=0), np.ones(3)
    for axis in range(3):
        gaps = np.diff(np.unique(np.round(xyz[:, axis], 2)))
        gaps = gaps[gaps > 2 * _MAX_OFF_MM]
        steps[axis] = gaps.min() if gaps.size else 0.0
    steps[steps == 0] = steps.max() or 1.0
    exact = (xyz - origin) / steps
    ijk = np.round(exact).astype(np.int64)
    if np.abs((exact - ijk) * steps).max(initial=0) > _MAX_OFF_MM or (np.ptp(ijk, axis=0) >= _MOST_EDGE).any():
        return None
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.diag(steps), origin
    _check_unique(path, ijk)
    return Placement(ijk, Space(name, affine, _shape(path, ijk)), sides_of(xyz), True)


def sides_of(xyz: "NDArray[np.float64]") -> "NDArray[np.str_]":
    """Hemisphere by the sign of x."""
    hemi = _nowhere(len(xyz))
    hemi[xyz[:, 0] < 0], hemi[xyz[:, 0] > 0] = "L", "R"
    return hemi


def _nowhere(n_voxels: int) -> "NDArray[np.str_]":
    return np.full(n_voxels, "n/a", dtype="<U3")


def _shape(path: "Path", ijk: "NDArray[np.int64]") -> tuple[int, int, int]:
    edges = [int(edge) for edge in ijk.max(axis=0) + 1]
    if max(edges) > _MOST_EDGE:
        raise DataFormatError(f"{path}: voxel indices reach {max(edges)}, a brain has at most {_MOST_EDGE} along an axis")
    return edges[0], edges[1], edges[2]


def _check_unique(path: "Path", ijk: "NDArray[np.int64]") -> None:
    lost = len(ijk) - len(np.unique(ijk, axis=0))
    if lost:
        raise DataFormatError(f"{path}: {lost} of {len(ijk)} voxels share their place with another; expected one voxel per grid point")
