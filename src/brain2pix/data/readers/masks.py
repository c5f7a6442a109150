"""Masks of areas beside the raw scans of 'fMRI on ImageNet': ``sub-XX_mask_{LH,RH}_NAME.nii.gz``, all on the grid of the scans."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.betas import read_mask
from brain2pix.data.space import Space
from brain2pix.data.volumes import nifti_files, open_volume
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.readers.base import Placement

_NAME = re.compile(r"(?:^|_)mask_(LH|RH)_([A-Za-z0-9]+)\.nii")


@dataclass(frozen=True)
class Masks:
    """Masks of one subject.

    Parameters
    ----------
    space : Space, grid of all of them
    files : list of (side "L" or "R", name, Path)
    """

    space: Space
    files: "list[tuple[str, str, Path]]"

    def areas(self, ijk: "NDArray[np.int64]") -> "dict[str, NDArray[np.bool_]]":
        """Which voxels lie in each area, left and right joined, [v] each; one volume is held at a time."""
        found: dict[str, NDArray[np.bool_]] = {}
        for _, name, path in self.files:
            inside = read_mask(path, "ROI mask", self.space)[tuple(ijk.T)]
            found[name] = found[name] | inside if name in found else inside
        return {name: mask for name, mask in found.items() if mask.any()}

    def hemispheres(self, placement: "Placement") -> "Placement":
        """Take the hemispheres from the masks; voxels in none or in both keep the sign of x."""
        inside = {"L": np.zeros(len(placement.ijk), dtype=bool), "R": np.zeros(len(placement.ijk), dtype=bool)}
        for side, _, path in self.files:
            inside[side] |= read_mask(path, "ROI mask", self.space)[tuple(placement.ijk.T)]
        only = {"L": inside["L"] & ~inside["R"], "R": inside["R"] & ~inside["L"]}
        hemi = placement.hemi.copy()
        for side, mask in only.items():
            hemi[mask] = side
        x = placement.space.to_world(placement.ijk)[:, 0]
        left, right = x[only["L"]], x[only["R"]]
        if left.size and right.size and left.mean() >= right.mean():
            raise DataFormatError(
                f"{self.files[0][2]}: the voxels of the LH masks lie to the right of the RH ones (mean x {left.mean():.1f} and "
                f"{right.mean():.1f} mm); their names, or their affine, exchange left and right"
            )
        return replace(placement, hemi=hemi)


def read_masks(folder: "Path", subject: str) -> Masks:
    """Find the masks of a subject.

    Parameters
    ----------
    folder : Path
    subject : str, "sub-01"; its files are taken if the folder has several subjects'

    Raises
    ------
    MissingDataError, DataFormatError
    """
    if not folder.is_dir():
        raise MissingDataError(f"mask folder {folder} does not exist; give the folder with sub-01_mask_LH_V1v.nii.gz and the like")
    found = [(match[1][0], match[2], path) for path in nifti_files(folder, "*mask_*") if (match := _NAME.search(path.name))]
    own = [one for one in found if one[2].name.startswith(f"{subject}_")]
    if not own:
        there = f"; there: {found[0][2].name} and the like" if found else ""
        raise MissingDataError(f"{folder} holds no masks {subject}_mask_LH_NAME.nii.gz or _RH_{there}")
    image = open_volume(own[0][2], "ROI mask")
    return Masks(Space("T1w", np.asarray(image.affine, dtype=np.float64), image.shape[:3]), own)
