"""A laboratory's loose files, written by nibabel, h5py, numpy and pandas, with values that say where they belong."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image

GRID = (5, 6, 7)  # no two edges are the same, so that exchanged axes show
AFFINE = np.array([[2.0, 0, 0, -4.0], [0, 2.0, 0, -70.0], [0, 0, 2.0, 3.0], [0, 0, 0, 1]])


def planted(trial, i, j, k):
    """The response of a voxel to a trial: each digit says one index."""
    return 1000.0 * trial + 100 * i + 10 * j + k


class Lab:
    """24 trials: 12 training images once, and 4 test images three times, in 3 runs.

    Parameters
    ----------
    folder : Path to fill
    """

    n_trials = 24

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(7)
        self.mask = rng.random(GRID) < 0.3
        self.mask[2] = False  # where x is 0
        self.n_voxels = int(self.mask.sum())
        index = np.indices(GRID)
        self.series = np.stack([planted(trial, *index) for trial in range(self.n_trials)], axis=3)
        train, test = [f"{n:04d}" for n in range(12)], [f"{n:04d}" for n in range(12, 16)]
        ids = [*train[:4], *test, *train[4:8], *test, *train[8:], *test]
        self.table = pd.DataFrame({"stimulus_id": ids, "split": ["test" if name in test else "train" for name in ids]})
        self.table["run"] = np.repeat([1, 2, 3], 8)
        self.table["category"] = [f"c{int(name) % 4}" for name in ids]
        self.pictures = {name: rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for name in [*train, *test]}
        self.areas = {"V1": self.mask & (index[1] < 3), "V2": self.mask & (index[1] >= 3)}

    def save(self, name, volume, affine=AFFINE, dtype=None, **header):
        """Write a NIfTI file; header gives slope and inter, or codes of the orientation."""
        values = np.asarray(volume)
        values = values.astype(np.uint8) if values.dtype == bool else values
        image = nibabel.Nifti1Image(values if dtype is None else values.astype(dtype), affine)
        image.set_sform(affine, code=header.get("sform", 1))
        image.set_qform(header.get("q_affine", affine), code=header.get("qform", 1))
        if "slope" in header:
            image.header.set_slope_inter(header["slope"], header.get("inter", 0))
        nibabel.save(image, self.folder / name)
        return self.folder / name

    def write_table(self, name="trials.tsv", **changes):
        table = self.table.assign(**changes)
        table = table[[column for column in table if table[column].notna().any()]]
        table.to_csv(self.folder / name, sep="," if name.endswith(".csv") else "\t", index=False, na_rep="n/a")
        return self.folder / name

    def write_nifti(self, name="betas.nii.gz", **header):
        return self.save(name, self.series.astype(np.float32), **header)

    def write_mask(self, name="mask.nii.gz"):
        return self.save(name, self.mask)

    def matrix(self, order="C"):
        """Trials by voxels, the voxels as numpy, or as MATLAB and SPM, take them out of a volume."""
        inside = self.mask.ravel(order=order)
        return np.stack([self.series[..., trial].ravel(order=order)[inside] for trial in range(self.n_trials)])

    def write_npy(self, name="betas.npy", order="C", array=None):
        np.save(self.folder / name, self.matrix(order) if array is None else array)
        return self.folder / name

    def write_hdf5(self, name="betas.h5", **items):
        with h5py.File(self.folder / name, "w") as file:
            for key, value in (items or {"betas": self.matrix()}).items():
                file[key.replace("__", "/")] = value
        return self.folder / name

    def write_pictures(self, name="pictures"):
        for number, (key, picture) in enumerate(self.pictures.items()):
            place = self.folder / name / ("even" if number % 2 == 0 else "odd") / f"{key}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place)
        return self.folder / name
