"""Where the voxels of a laboratory's responses lie: by a mask, by areas, or by the volumes themselves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.readers._reading import check_size, reading
from brain2pix.data.readers.base import Placement
from brain2pix.data.readers.grids import arranged, indexed, sides_of
from brain2pix.data.readers.own_regions import Regions, read_labels, read_regions, region_union
from brain2pix.data.readers.own_responses import MOST_VOXELS_OF_GRID, MatrixSource, SeriesSource
from brain2pix.data.space import Space
from brain2pix.data.volumes import check_grid, entities, open_volume, orientation_note
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices, OwnParams

_NIFTI_MNI = 4  # code of the sform


@dataclass(frozen=True)
class OwnVoxels:
    """Voxels and areas.

    Parameters
    ----------
    placement : Placement, mirrored if that was asked for
    regions : Regions
    notes : tuple of str
    file_space : Space or None, the grid as the files have it
    """

    placement: Placement
    regions: Regions
    notes: tuple[str, ...]
    file_space: Space | None


def place_voxels(source: MatrixSource | SeriesSource, choices: "Choices") -> OwnVoxels:
    """Give each voxel its place, its areas and its hemisphere.

    The columns of a matrix run through the mask in the order `voxel_order`. Of volumes the voxels of the mask are taken; without one those
    of all areas, and without areas all whose responses vary.

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    own = choices.own
    notes: list[str] = []
    space = _grid(source, own, notes)
    if space is None and choices.flip:
        raise ConfigError(f"{source.path} has no voxel coordinates: there is nothing to flip")
    if isinstance(source, SeriesSource):
        ijk = _voxels_of_series(source, own, space, notes)
        placement = _in_world(ijk, space, choices) if space is not None else indexed(ijk, source.grid, (1.0, 1.0, 1.0))
    elif space is not None:
        placement = _in_world(_columns_in_mask(source, own, space, notes), space, choices)
    else:
        placement = arranged(source.shape[1])
    if space is None:
        notes.append("voxels have no coordinates: no brain views, no left and right unless areas tell; --mask gives them")
    if choices.flip:
        notes.append(
            f"--flip {' '.join(choices.flip)}: the world coordinates of all voxels are mirrored (row of the affine), "
            "and with them the mask, the areas and an anatomy on their grid; surfaces, and an anatomy on its own grid, stay where they are"
        )
    regions = read_regions(own.regions, placement.ijk, space, vectors=isinstance(source, MatrixSource))
    return OwnVoxels(_with_sides(source.path, placement, regions, notes), regions, tuple(notes), space)


def mirrored(space: Space, axes: "tuple[str, ...]") -> Space:
    """Mirror world axes of a grid."""
    signs = np.array([-1.0 if axis in axes else 1.0 for axis in ("x", "y", "z")] + [1.0])
    return Space(space.name, signs[:, None] * space.affine, space.shape)


def _in_world(ijk: "NDArray[np.int64]", space: Space, choices: "Choices") -> Placement:
    there = mirrored(space, choices.flip)
    return Placement(ijk, there, sides_of(there.to_world(ijk)), True)


def _grid(source: MatrixSource | SeriesSource, own: "OwnParams", notes: list[str]) -> Space | None:
    """Find the grid: of the volumes, else of the mask, else of the first area."""
    if isinstance(source, SeriesSource) and source.image is not None:
        path, image = source.path, source.image
    else:
        volumes = [place for place in own.regions if place.suffix != ".npy"] if isinstance(source, SeriesSource) else []
        given = own.mask or next(iter(volumes), None)
        if given is None:
            return None
        path, image = given, _open_mask(given)
    note = orientation_note(path, image)
    notes += [note] if note else []
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataFormatError(
            f"{path}: its affine is no map from voxels to millimetres; write the file again with the orientation of the scan"
        )
    shape = tuple(int(edge) for edge in image.shape[:3])
    if isinstance(source, SeriesSource) and shape != source.grid:
        raise DataFormatError(f"{path}: grid {shape} differs from that of the responses {source.grid} ({source.path})")
    return Space(_space_name((path, own.mask), image), affine, (shape[0], shape[1], shape[2]))


def _open_mask(path: "Path") -> Any:
    with reading(path, "mask"):
        image = open_volume(path, "mask")
        check_size(path, "the header", int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize, path.stat().st_size)
        if np.prod(image.shape, dtype=object) > MOST_VOXELS_OF_GRID:
            raise DataFormatError(f"{path}: {image.shape} is no grid of responses")
    return image


def _space_name(paths: "tuple[Path | None, ...]", image: Any) -> str:
    told = [entities(path).get("space", "") for path in paths if path is not None]
    named = [name for name in told if name.isalnum()]
    if named:
        return named[0]
    return "MNI152" if int(image.header["sform_code"]) == _NIFTI_MNI else "T1w"


def _mask(path: "Path", space: Space) -> "NDArray[np.bool_]":
    labels, _ = read_labels(path, space)
    if labels.max(initial=0) > 1 and np.unique(labels).size > 2:
        raise DataFormatError(f"mask {path} holds {np.unique(labels).size - 1} labels, expected 0 and 1; give label volumes as --regions")
    if not labels.any():
        raise DataFormatError(f"mask {path} is empty: it holds no voxel")
    return np.asarray(labels != 0)


def _columns_in_mask(source: MatrixSource, own: "OwnParams", space: Space, notes: list[str]) -> "NDArray[np.int64]":
    assert own.mask is not None  # or there would be no grid
    inside = _mask(own.mask, space)
    if int(inside.sum()) != source.shape[1]:
        raise DataFormatError(
            f"{source.path}: responses have {source.shape[1]} columns, mask {own.mask} has {int(inside.sum())} voxels; "
            "give the mask that the matrix was taken from"
        )
    ijk = np.argwhere(inside) if own.voxel_order == "C" else np.argwhere(inside.T)[:, ::-1]
    how = {"C": "as numpy counts (last axis fastest)", "F": "as MATLAB and SPM count (first axis fastest)"}[own.voxel_order]
    notes.append(f"the columns run through the mask {how}; a wrong --voxel-order scatters the voxels")
    return np.ascontiguousarray(ijk, dtype=np.int64)


def _voxels_of_series(source: SeriesSource, own: "OwnParams", space: Space | None, notes: list[str]) -> "NDArray[np.int64]":
    if own.mask is not None and space is not None:
        check_grid(own.mask, "mask", _open_mask(own.mask), space)
        inside = _mask(own.mask, space)
    elif own.regions and space is not None:
        inside = region_union(own.regions, space)
        notes.append("no mask: the voxels of all areas are taken")
        if not inside.any():
            raise DataFormatError(f"{own.regions[0]}: the areas hold no voxel; give the masks of this subject, or --mask")
    else:
        inside = source.varying()
        notes.append(f"no mask and no areas: the {int(inside.sum())} voxels whose responses vary are taken")
        if not inside.any():
            raise DataFormatError(f"{source.path}: the responses of no voxel vary; is it the right file?")
    return np.argwhere(inside).astype(np.int64)


def _with_sides(path: "Path", placement: Placement, regions: Regions, notes: list[str]) -> Placement:
    """Take the hemispheres that names tell; voxels in none or in both keep the sign of x."""
    if not regions.sides:
        if placement.has_world:
            notes.append("hemispheres are taken from the sign of x: no name of an area tells them")
        return placement
    nowhere = np.zeros(regions.n_voxels, dtype=bool)
    left, right = (regions.sides.get(side, nowhere) for side in ("L", "R"))
    if (left & right).any():
        notes.append(f"{int((left & right).sum())} voxels lie in areas of both hemispheres: the sign of x decides there")
    hemi = placement.hemi.copy()
    hemi[left & ~right], hemi[right & ~left] = "L", "R"
    if placement.has_world:
        x = placement.space.to_world(placement.ijk)[:, 0]
        x_left, x_right = x[left & ~right], x[right & ~left]
        if x_left.size and x_right.size and x_left.mean() >= x_right.mean():
            raise DataFormatError(
                f"{path}: the voxels of left areas lie to the right of those of right areas (mean x {x_left.mean():.1f} and "
                f"{x_right.mean():.1f} mm); their names, or the affine, exchange left and right: if it is the affine, --flip x"
            )
    return Placement(placement.ijk, placement.space, hemi, placement.has_world)
