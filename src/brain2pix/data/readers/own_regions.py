"""Areas of laboratories: masks, label volumes, and vectors over the columns of a matrix."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.readers._reading import check_size, reading
from brain2pix.data.readers.own_arrays import map_npy
from brain2pix.data.readers.own_labels import label_names, name_and_side, name_of_file
from brain2pix.data.readers.own_responses import MOST_VOXELS_OF_GRID
from brain2pix.data.rois import RESERVED
from brain2pix.data.volumes import check_grid, join_names, open_volume, orientation_note, volume_data
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.space import Space


@dataclass
class Regions:
    """Areas over the voxels.

    Parameters
    ----------
    n_voxels : int
    areas : dict of name to bool array, [v]; parts of one name (left and right) are joined
    sides : dict of "L" and "R" to bool array, [v], the voxels whose hemisphere a name tells
    descriptions : dict of name to text: what the files call it
    notes : list of str
    """

    n_voxels: int
    areas: "dict[str, NDArray[np.bool_]]" = field(default_factory=dict)
    sides: "dict[str, NDArray[np.bool_]]" = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, area: str, side: str, inside: "NDArray[np.bool_]", source: str) -> None:
        """Take an area, or a hemisphere if it has no name."""
        if side:
            self.sides[side] = self.sides.get(side, np.zeros(self.n_voxels, dtype=bool)) | inside
        if not area:
            return
        if area in RESERVED:
            self.notes.append(f"{source} is left out: {area!r} always means {'every voxel' if area == 'all' else 'a hemisphere'}")
            return
        if not inside.any():
            self.notes.append(f"{source} holds no voxel of the responses")
            return
        self.areas[area] = self.areas[area] | inside if area in self.areas else inside
        self.descriptions[area] = f"{self.descriptions[area]}, {source}" if area in self.descriptions else f"{area} of {source}"


def read_regions(paths: "Iterable[Path]", ijk: "NDArray[np.int64]", space: "Space | None", *, vectors: bool) -> Regions:
    """Lay masks, label volumes and vectors on the voxels.

    Parameters
    ----------
    paths : iterable of Path: NIfTI on the grid of `space`, or ``.npy`` with one value per column
    ijk : int array, [v 3]
    space : Space, the grid of `ijk`, as the files have it; None if the voxels are only arranged
    vectors : bool, whether the responses are a matrix, so that vectors over its columns make sense

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
    """
    regions = Regions(len(ijk))
    for path in paths:
        if path.suffix == ".npy":
            if not vectors:
                raise _no_columns(path)
            area, side = name_of_file(path)
            regions.add(area, side, _vector(path, len(ijk)), path.name)
        elif space is None:
            raise ConfigError(
                f"{path} is a volume, but the columns of the responses have no places; give the --mask that they were taken from, "
                "or areas as .npy with one value per column"
            )
        else:
            _add_volume(regions, path, ijk, space)
    return regions


def region_union(paths: "Iterable[Path]", space: "Space") -> "NDArray[np.bool_]":
    """Voxels of all areas, bool [i j k]."""
    union = np.zeros(space.shape, dtype=bool)
    for path in paths:
        if path.suffix == ".npy":
            raise _no_columns(path)
        union |= read_labels(path, space)[0] != 0
    return union


def read_labels(path: "Path", space: "Space") -> "tuple[NDArray[np.int32], str | None]":
    """Read whole numbers of a volume on the grid of the responses.

    Returns
    -------
    labels : int32 array, [i j k]
    note : str or None, if the file does not tell left from right

    Raises
    ------
    DataFormatError
        If it lies on another grid, or holds fractions.
    """
    if path.suffix in (".mgz", ".mgh"):
        raise DataFormatError(
            f"ROI {path} is a volume of FreeSurfer; expected NIfTI: mri_convert -rl RESPONSES -rt nearest {path.name} OUT.nii.gz"
        )
    with reading(path, "ROI"), np.errstate(over="ignore", invalid="ignore"):
        image = open_volume(path, "ROI")
        check_grid(path, "ROI", image, space)
        check_size(path, "the header", int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize, path.stat().st_size)
        if np.prod(image.shape, dtype=object) > MOST_VOXELS_OF_GRID:
            raise DataFormatError(f"ROI {path}: {image.shape} is no grid of responses")
        volume = volume_data(path, "ROI", image)
        note = orientation_note(path, image)
    with np.errstate(invalid="ignore"):
        odd = volume[(volume != np.round(volume)) | ~np.isfinite(volume)]
    if odd.size:
        raise DataFormatError(
            f"ROI {path}: label {float(odd[0]):.4g}: was this mask interpolated linearly? Resample it with nearest neighbour."
        )
    if volume.size and (volume.min() < 0 or volume.max() > 2**24):
        raise DataFormatError(f"ROI {path}: labels reach from {int(volume.min())} to {int(volume.max())}, expected whole numbers from 0")
    return volume.astype(np.int32), note


def _add_volume(regions: Regions, path: "Path", ijk: "NDArray[np.int64]", space: "Space") -> None:
    labels, note = read_labels(path, space)
    own = labels[tuple(ijk.T)]
    if note:
        regions.notes.append(note)
    present = [int(value) for value in np.unique(labels) if value]
    lost = int((labels != 0).sum() - (own != 0).sum())
    if lost and (own != 0).any():
        regions.notes.append(f"{lost} of {int((labels != 0).sum())} voxels of {path.name} lie outside the voxels of the responses")
    names, place = label_names(path)
    if not names:
        if len(present) > 1:
            raise DataFormatError(
                f"ROI {path}: {len(present)} labels ({join_names(map(str, present))}) without names; put "
                f"{path.name.partition('.nii')[0]}.tsv with index and name beside it, or the .ctab of FreeSurfer"
            )
        area, side = name_of_file(path)
        regions.add(area, side, own != 0, path.name)
        return
    unknown = [value for value in present if value not in names]
    if unknown and place is not None:
        raise DataFormatError(
            f"ROI {path}: labels {join_names(map(str, unknown))} are not in {place.name} (it names {join_names(map(str, sorted(names)))}); "
            "add a row with index and name"
        )
    # A colour table of FreeSurfer names everything that there is in any brain: what is unused there says nothing.
    unused = [name for value, name in sorted(names.items()) if value and value not in present]
    if unused and place is not None:
        regions.notes.append(f"{place.name}: {join_names(unused)} label no voxel of {path.name}")
    for value in present:
        area, side = name_and_side(names[value])
        if not area and not side:
            raise DataFormatError(f"ROI {path}: the name {names[value]!r} of label {value} has no letters or digits")
        regions.add(area, side, own == value, names[value])


def _no_columns(path: "Path") -> ConfigError:
    return ConfigError(f"{path} has one value per column of a matrix; these responses are volumes: give a NIfTI mask")


def _vector(path: "Path", n_voxels: int) -> "NDArray[np.bool_]":
    values = map_npy(path, "ROI")
    if values.shape != (n_voxels,):
        raise DataFormatError(
            f"ROI {path} has shape {values.shape}, responses have {n_voxels} voxels; expected one value per voxel, in their order"
        )
    whole = np.asarray(values)
    if not np.isin(whole, (0, 1)).all():
        raise DataFormatError(f"ROI {path}: a mask holds 0 and 1, found {whole[~np.isin(whole, (0, 1))][0]!r}")
    return whole.astype(bool)
