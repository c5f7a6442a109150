"""A lab's dataset as other people's tools write it: nibabel, h5py, pandas and Pillow, never our own writer."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

SHAPE = (10, 12, 8)
# x runs from -13.5 to 13.5 mm: voxels i < 5 are left
AFFINE = np.array([[3.0, 0, 0, -13.5], [0, 3.0, 0, -60.0], [0, 0, 3.0, -10.0], [0, 0, 0, 1]])
AREAS = {"V1v": 1, "V1d": 2, "V2v": 3}


@dataclass
class Lab:
    """Where the files are and what was put into them."""

    root: Path
    ijk: np.ndarray  # [v 3]
    betas: np.ndarray  # [n v]
    trials: pd.DataFrame
    labels: np.ndarray  # [v], codes of AREAS
    ffa: np.ndarray  # bool [v]
    images: dict[str, np.ndarray]

    @property
    def func(self) -> Path:
        return self.root / "sub-01" / "func"

    @property
    def anat(self) -> Path:
        return self.root / "sub-01" / "anat"

    @property
    def h5(self) -> Path:
        return self.func / "sub-01_task-images_desc-singletrial_betas.h5"

    @property
    def h5_table(self) -> Path:
        return self.h5.with_suffix(".tsv")

    @property
    def nii(self) -> Path:
        return self.func / "sub-01_task-images_space-T1w_desc-singletrial_stat-effect_statmap.nii.gz"

    @property
    def nii_table(self) -> Path:
        return self.func / "sub-01_task-images_space-T1w_desc-singletrial_stat-effect_statmap.tsv"

    @property
    def dseg(self) -> Path:
        return self.func / "sub-01_space-T1w_seg-visual_dseg.nii.gz"

    @property
    def dseg_table(self) -> Path:
        return self.func / "sub-01_space-T1w_seg-visual_dseg.tsv"

    @property
    def ffa_mask(self) -> Path:
        return self.func / "sub-01_space-T1w_label-FFA_mask.nii.gz"

    @property
    def brain_mask(self) -> Path:
        return self.func / "sub-01_task-images_space-T1w_desc-brain_mask.nii.gz"

    @property
    def stimuli(self) -> Path:
        return self.root / "stimuli" / "stimuli.tsv"

    def volume(self, values: np.ndarray, dtype: str = "uint8", fill: float = 0) -> np.ndarray:
        volume = np.full((*SHAPE, *values.shape[1:]), fill, dtype=dtype)
        volume[tuple(self.ijk.T)] = values
        return volume

    def save(self, path: Path, volume: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
        nib.save(nib.Nifti1Image(volume, affine), path)
        return path

    def hemi_masks(self, left: np.ndarray, right: np.ndarray) -> None:
        for side, mask in (("L", left), ("R", right)):
            self.save(self.func / f"sub-01_hemi-{side}_space-T1w_desc-brain_mask.nii.gz", self.volume(mask.astype("uint8")))

    def as_nifti(self, *, dtype: str = "float32", suffix: str = ".nii.gz") -> Path:
        """Replace the HDF5 betas by a 4-D NIfTI."""
        self.h5.unlink()
        self.h5_table.unlink()
        path = self.nii if suffix == ".nii.gz" else self.nii.with_suffix("")
        self.save(path, self.volume(self.betas.T, dtype))
        write_tsv(self.nii_table, self.trials)
        return path

    def edit_h5(self, **items: object) -> None:
        with h5py.File(self.h5, "a") as file:
            for key, value in items.items():
                if key in file:
                    del file[key]
                if value is not None:
                    file[key] = value

    def edit_table(self, path: Path, edit) -> None:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        write_tsv(path, edit(table))


def write_tsv(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


@pytest.fixture
def write_table():
    return write_tsv


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    rng = np.random.default_rng(7)
    root = tmp_path / "mylab"
    for folder in ("sub-01/func", "sub-01/anat", "stimuli/pictures"):
        (root / folder).mkdir(parents=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "a lab", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "their pipeline"}]})
    )
    chosen = rng.choice(int(np.prod(SHAPE)), size=60, replace=False)
    ijk = np.argwhere(np.isin(np.arange(np.prod(SHAPE)).reshape(SHAPE), chosen))
    rows = [(f"{n:04d}", "train", 1) for n in range(8)]
    rows += [(f"t{n}", "test", repeat) for repeat in (1, 2, 3) for n in (3, 1, 0, 2)]
    rows += [("v0", "validation", 1), ("v0", "validation", 2)]
    trials = pd.DataFrame(rows, columns=["stimulus_id", "split", "repeat"])
    trials.insert(0, "trial", np.arange(1, len(trials) + 1))
    trials["run"], trials["session"] = np.arange(len(trials)) // 8 + 1, 1
    betas = rng.standard_normal((len(trials), 60)).astype(np.float32)
    images, stimuli = {}, []
    for name, split in trials[["stimulus_id", "split"]].drop_duplicates().itertuples(index=False):
        images[name] = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(images[name]).save(root / "stimuli" / "pictures" / f"{name}.png")
        stimuli.append((name, f"pictures/{name}.png", "thing", split, f"photo {len(stimuli) // 2}", 12.0, 12.0))
    columns = ["stimulus_id", "file", "category", "split", "source", "width_deg", "height_deg"]
    made = Lab(root, ijk, betas, trials, rng.integers(0, 4, 60), rng.random(60) < 0.3, images)
    write_tsv(made.stimuli, pd.DataFrame(stimuli, columns=columns))
    with h5py.File(made.h5, "w") as file:
        file["betas"], file["ijk"], file["affine"], file["shape"] = betas, ijk.astype("int32"), AFFINE, np.array(SHAPE)
        file.attrs["unit"], file.attrs["space"] = "z-session", "T1w"
    write_tsv(made.h5_table, trials)
    made.save(made.dseg, made.volume(made.labels.astype("int16"), "int16"))
    write_tsv(made.dseg_table, pd.DataFrame([(code, name, "#aabbcc") for name, code in AREAS.items()], columns=["index", "name", "color"]))
    made.save(made.ffa_mask, made.volume(made.ffa.astype("uint8")))
    made.save(made.brain_mask, made.volume(np.ones(60, dtype="uint8")))
    return made
