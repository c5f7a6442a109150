"""Anatomy beside a laboratory's responses: a volume on any grid, and surfaces. Both must lie where the voxels lie."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.anatomy.surfaces import SURFACE_KINDS
from brain2pix.anatomy.transforms import nearest_voxel_of_vertices
from brain2pix.data.readers._reading import check_size, reading
from brain2pix.data.readers.own_voxels import mirrored
from brain2pix.data.volumes import MAX_CORNER_MM, open_volume, orientation_note, volume_data
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.config.importing import Choices
    from brain2pix.data.readers.base import Placement
    from brain2pix.data.readers.own_voxels import OwnVoxels

_MOST_VOXELS = 2**27  # 512 along each axis
_LEAST_INSIDE = 0.5
# As when the subject is opened: further apart, in the median, surface and voxels cannot belong together.
_MOST_APART_MM = 10.0
_SAMPLE = 2_000


@dataclass(frozen=True)
class OwnAnatomy:
    """What was given.

    Parameters
    ----------
    t1w : volume and its affine, or None
    meshes, sulc : as in `brain2pix.data.native.NativeContent`
    notes : tuple of str
    """

    t1w: "tuple[NDArray[np.float32], NDArray[np.float64]] | None" = None
    meshes: "Mapping[tuple[str, str], Mesh]" = field(default_factory=dict)
    sulc: "Mapping[str, NDArray[np.float32]]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_anatomy(path: "Path", voxels: "OwnVoxels", choices: "Choices") -> OwnAnatomy:
    """Read the anatomical volume and the surfaces, and see that they lie where the voxels lie.

    Parameters
    ----------
    path : Path of the responses, for messages
    voxels : OwnVoxels
    choices : Choices

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    own = choices.own
    if own.anatomy is None and own.surfaces is None:
        return OwnAnatomy()
    if voxels.file_space is None:
        raise ConfigError(
            f"{path}: voxels without coordinates cannot lie in an anatomy; give --mask, or leave out --anatomy and --surfaces"
        )
    notes: list[str] = []
    t1w = None if own.anatomy is None else _volume(own.anatomy, voxels, choices, notes)
    if own.surfaces is None:
        return OwnAnatomy(t1w, notes=tuple(notes))
    from brain2pix.data.surface_folders import read_surface_folder

    found = read_surface_folder(own.surfaces)
    meshes = {key: mesh for key, mesh in found.meshes.items() if key[1] in SURFACE_KINDS}
    for (hemi, kind), mesh in meshes.items():
        if kind in ("white", "pial"):
            _check_near(own.surfaces, hemi, kind, mesh, voxels.placement)
    return OwnAnatomy(t1w, meshes, found.sulc, (*notes, *found.notes))


def _volume(path: "Path", voxels: "OwnVoxels", choices: "Choices", notes: list[str]) -> "tuple[NDArray[np.float32], NDArray[np.float64]]":
    with reading(path, "anatomical volume"), np.errstate(over="ignore", invalid="ignore"):
        image = open_volume(path, "anatomical volume")
        n_voxels = int(np.prod(image.shape, dtype=object))
        if n_voxels > _MOST_VOXELS:
            raise DataFormatError(f"anatomical volume {path}: {n_voxels:,} voxels, expected at most {_MOST_VOXELS:,}; resample it")
        check_size(path, "the header", n_voxels * image.get_data_dtype().itemsize, path.stat().st_size)
        affine = np.asarray(image.affine, dtype=np.float64)
        shape = tuple(int(edge) for edge in image.shape[:3])
        _check_inside(path, shape, affine, voxels, notes)
        volume = volume_data(path, "anatomical volume", image)
    note = orientation_note(path, image)
    notes += [note] if note else []
    space = voxels.file_space
    assert space is not None  # or read_anatomy has raised
    if choices.flip and shape == space.shape and space.corner_displacement_mm(affine) <= MAX_CORNER_MM:
        affine = mirrored(space, choices.flip).affine
    return volume, affine


def _check_inside(path: "Path", shape: tuple[int, ...], affine: "NDArray[np.float64]", voxels: "OwnVoxels", notes: list[str]) -> None:
    """Voxels must lie in the volume, as both files have it."""
    assert voxels.file_space is not None
    xyz = voxels.file_space.to_world(voxels.placement.ijk)
    try:
        place = np.c_[xyz, np.ones(len(xyz))] @ np.linalg.inv(affine).T
    except np.linalg.LinAlgError:
        raise DataFormatError(f"anatomical volume {path}: its affine is no map from voxels to millimetres; write it again") from None
    inside = ((place[:, :3] > -0.5) & (place[:, :3] < np.array(shape) - 0.5)).all(axis=1)
    share = float(inside.mean())
    if share == 0:
        middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
        lies, lie = (np.round(place).astype(int).tolist() for place in (middle, xyz.mean(axis=0)))
        raise DataFormatError(
            f"anatomical volume {path} does not hold a single voxel of the responses: its middle lies at {lies} mm, theirs at {lie}; "
            "give the one in their space (coregistered)"
        )
    if share < _LEAST_INSIDE:
        notes.append(f"only {share:.0%} of the voxels lie within {path.name}; is it of this subject, and in their space?")


def _check_near(path: "Path", hemi: str, kind: str, mesh: "Mesh", placement: "Placement") -> None:
    """Refuse surfaces that lie apart from the voxels of their hemisphere."""
    xyz = placement.space.to_world(placement.ijk)[placement.hemi == hemi]
    if not len(xyz) or not mesh.n_vertices:
        return
    sample = xyz[:: max(1, len(xyz) // _SAMPLE)]
    nearest = nearest_voxel_of_vertices(sample, mesh.vertices, np.inf)
    apart = float(np.median(np.linalg.norm(sample - mesh.vertices[nearest], axis=1)))
    if apart > _MOST_APART_MM:
        raise DataFormatError(
            f"{path}: surface {hemi} {kind} and the voxels are not in the same space, voxels lie {apart:.0f} mm from it in the median; "
            "give surfaces of this subject, in the space of the responses"
        )
