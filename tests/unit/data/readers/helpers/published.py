"""Small files in the layouts of the published datasets, written by other people's libraries, and what was put into them."""

import warnings
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import scipy.io
from PIL import Image

# ids of the published kind; the last ends in zeros that a text table would lose
SYNSETS = (1443537, 1518878, 1621127, 1846331, 2129165, 2190790, 2274259, 2416519)
NUMBERS = (22563, 10042, 19020, 17085, 1, 15121, 24319, 100)
SPLIT_CODES = {"train": 1, "test": 2, "imagery": 3}
GRID = (6, 6, 6)
AFFINE = np.array([[3.0, 0, 0, -7.5], [0, 3.0, 0, -80.0], [0, 0, 3.0, 5.0], [0, 0, 0, 1]])
PATCHES, PATCH_PX = 8, 4
MATLAB_73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan 01 00:00:00 2009 HDF5 schema 1.00 ."


def stimulus_name(number: int) -> str:
    """Name of one picture; beyond eight, further pictures of the same synsets."""
    return f"n{SYNSETS[number % 8]:08d}_{NUMBERS[number % 8] + number // 8}"


def stimulus_number(name: str) -> float:
    """Number that stands for a name in the files: WordNet id, and the picture's number as its fraction."""
    synset, _, image = name[1:].partition("_")
    return int(synset) + int(image or 0) / 1e6


class God:
    """A subject of 'fMRI on ImageNet': trials in the order train, test, imagery, and voxels that follow contrast in the opposite field."""

    def __init__(self, n_train: int = 8, n_test: int = 4, repeats: int = 3, n_imagery: int = 4, n_voxels: int = 40, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.train = [stimulus_name(number) for number in range(n_train)]
        self.test = [stimulus_name(number) for number in range(n_train, n_train + n_test)]
        imagery = [f"n{SYNSETS[number]:08d}" for number in range(n_imagery)]
        rows = [(name, "train", 1 + n // 4) for n, name in enumerate(self.train)]
        rows += [(self.test[n], "test", run) for run in range(1, repeats + 1) for n in rng.permutation(n_test)]
        rows += [(name, "imagery", run) for run in (1, 2) for name in imagery]
        self.trials = pd.DataFrame(rows, columns=["stimulus_id", "split", "run"])
        chosen = rng.choice(int(np.prod(GRID)), n_voxels, replace=False)
        self.ijk = np.stack(np.unravel_index(np.sort(chosen), GRID), axis=1)
        self.xyz = self.ijk @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        area = np.arange(n_voxels) % 5
        self.areas = {name: area == code for code, name in enumerate(["V1", "V2", "V3", "LOC", "FFA"])}
        self.areas["FFA"] = self.areas["FFA"] | (np.arange(n_voxels) == 3)  # a voxel of LOC, too
        self.areas["VC"] = np.ones(n_voxels, dtype=bool)
        contrast = {name: rng.random((PATCHES, PATCHES)) for name in [*self.train, *self.test]}
        self.images = {name: _picture(rng, values) for name, values in contrast.items()}
        column = np.where(self.xyz[:, 0] < 0, rng.integers(5, 8, n_voxels), rng.integers(0, 3, n_voxels))
        row = rng.integers(0, 8, n_voxels)
        self.upper = row < 4
        drive = np.stack([contrast[name][row, column] if name in contrast else np.zeros(n_voxels) for name in self.trials["stimulus_id"]])
        self.responses = 3 * drive + 0.1 * rng.standard_normal(drive.shape)

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """Rows of each split."""
        return {split: np.flatnonzero(self.trials["split"] == split) for split in SPLIT_CODES}

    def labels(self) -> dict[str, np.ndarray]:
        """Label columns by name."""
        return {
            "DataType": self.trials["split"].map(SPLIT_CODES).to_numpy(float),
            "Run": self.trials["run"].to_numpy(float),
            "Label": np.array([stimulus_number(name) for name in self.trials["stimulus_id"]]),
        }

    def table(self, labels: dict[str, np.ndarray], *, indices: bool = False) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Matrix, keys and values of the metadata: label columns first, then voxels. What a key says nothing of is NaN."""
        n_labels, n_voxels = len(labels), self.responses.shape[1]
        matrix = np.column_stack([*labels.values(), self.responses])
        keys, rows = [], []
        for number, name in enumerate(labels):
            keys.append(name)
            rows.append(np.eye(n_labels + n_voxels)[number])
        blank = np.full(n_labels, np.nan)
        columns = {"VoxelData": np.ones(n_voxels), **{f"ROI_{name}": mask.astype(float) for name, mask in self.areas.items()}}
        columns |= {f"voxel_{axis}": self.xyz[:, number] for number, axis in enumerate("xyz")}
        if indices:
            columns |= {f"voxel_{axis}": self.ijk[:, number].astype(float) for number, axis in enumerate("ijk")}
        for name, values in columns.items():
            keys.append(name)
            rows.append(np.concatenate([blank, values]))
        return matrix, keys, np.array(rows)

    def write_matlab(self, path: Path, *, compressed: bool = True, **change: object) -> Path:
        """Release of 2018, by scipy."""
        matrix, keys, value = self.table(self.labels())
        cells = np.empty((1, len(keys)), dtype=object)
        cells[0] = keys
        content = {"dataSet": matrix, "metaData": {"key": cells, "value": value, "description": cells}} | change
        scipy.io.savemat(path, {name: values for name, values in content.items() if values is not None}, do_compression=compressed)
        return path

    def write_bdpy(self, path: Path) -> Path:
        """Write HDF5 with all splits, by bdpy."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import bdpy

            data = bdpy.BData()
            data.add(self.responses, "VoxelData")
            for name, mask in self.areas.items():
                data.add_metadata(f"ROI_{name}", mask.astype(float), where="VoxelData")
            for number, axis in enumerate("xyz"):
                data.add_metadata(f"voxel_{axis}", self.xyz[:, number], where="VoxelData")
            for name, values in self.labels().items():
                data.add(values[:, None], "stimulus_id" if name == "Label" else name)
            data.save(str(path))
        return path

    def write_hdf5(self, path: Path, *, single: bool = False, spelling: tuple[str, str] = ("dataset", "metadata"), **drop: bool) -> Path:
        """Write HDF5 with all splits, by h5py."""
        labels = {{"Label": "stimulus_id"}.get(name, name): values for name, values in self.labels().items() if not drop.get(name)}
        self._hdf5(path, *self.table(labels), np.arange(len(self.trials)), {}, "f4" if single else "f8", spelling)
        return path

    def write_splits(self, folder: Path, number: int = 1) -> list[Path]:
        """Write the newer release, by h5py: a file for each split, names of stimuli in a map."""
        names = sorted(set(self.trials["stimulus_id"]))
        codes = np.array([names.index(name) + 1 for name in self.trials["stimulus_id"]], dtype=float)
        table = self.table({"stimulus_name": codes, "Run": self.labels()["Run"]}, indices=True)
        paths = []
        for split, word in (("train", "ImageNetTraining"), ("test", "ImageNetTest"), ("imagery", "Imagery")):
            paths.append(folder / f"Subject{number}_{word}.h5")
            self._hdf5(paths[-1], *table, self.rows[split], {str(float(n + 1)): name for n, name in enumerate(names)}, "f8")
        return paths

    def _hdf5(self, path, matrix, keys, value, rows, names, dtype, spelling=("dataset", "metadata")) -> None:
        with h5py.File(path, "w") as file:
            file[spelling[0]] = matrix[rows].astype(dtype)
            file[f"{spelling[1]}/key"] = [key.encode() for key in keys]
            file[f"{spelling[1]}/description"] = [b"" for _ in keys]
            file[f"{spelling[1]}/value"] = value
            for number, name in names.items():
                file[f"vmap/stimulus_name/{number}"] = name.encode()

    def write_npz(self, path: Path, **change: object) -> Path:
        """Npz release, by numpy."""
        train, test = self.rows["train"], self.rows["test"]
        labels = np.array([self.test.index(name) for name in self.trials["stimulus_id"].iloc[test]])
        mean = np.stack([self.responses[test][labels == n].mean(axis=0) for n in range(len(self.test))])
        order = np.arange(train.size)[::-1].copy()  # labels index into the pictures, they are not 0, 1, 2, ...
        arrays = {f"arr_{n}": values for n, values in enumerate([self.responses[train], self.responses[test], mean, order, labels])}
        arrays |= {"arr_5": np.ones(self.responses.shape[1]), "arr_6": np.ones(self.responses.shape[1])}
        arrays |= {"V1": self.areas["V1"], "LOC": self.areas["LOC"].astype(int), "FFA": np.flatnonzero(self.areas["FFA"])}
        arrays |= change
        np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
        return path

    def write_npz_images(self, path: Path, dtype: str = "float64") -> Path:
        """Pictures of the npz release: train ones in reversed order, as the labels have it."""
        stacks = {
            "train_images": [self.images[name] for name in self.train[::-1]],
            "test_images": [self.images[name] for name in self.test],
        }
        top = 255 if dtype.startswith("f") else 1
        np.savez(path, **{name: (np.stack(stack) / top).astype(dtype) for name, stack in stacks.items()})
        return path

    def write_images(self, folder: Path) -> Path:
        """Write the pictures in a folder for each synset."""
        for name, image in self.images.items():
            (folder / name.split("_")[0]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / name.split("_")[0] / f"{name}.png")
        return folder

    def write_masks(self, folder: Path, subject: str = "sub-01") -> Path:
        """Masks on the grid of the scans, by nibabel; the upper field is ventral."""
        folder.mkdir(parents=True)
        for side, sign in (("LH", -1), ("RH", 1)):
            for part, upper in (("V1v", True), ("V1d", False)):
                volume = np.zeros(GRID, dtype=np.uint8)
                volume[tuple(self.ijk[self.areas["V1"] & (self.upper == upper) & (np.sign(self.xyz[:, 0]) == sign)].T)] = 1
                nibabel.save(nibabel.Nifti1Image(volume, AFFINE), folder / f"{subject}_mask_{side}_{part}.nii.gz")
        return folder


def _picture(rng: np.random.Generator, contrast: np.ndarray) -> np.ndarray:
    edge = PATCHES * PATCH_PX
    noise = rng.choice([-1.0, 1.0], (edge, edge)) * np.kron(contrast, np.ones((PATCH_PX, PATCH_PX)))
    return np.repeat(np.round(128 + 100 * noise).astype(np.uint8)[..., None], 3, axis=2)


class Vim1:
    """Two subjects of vim-1 on its grid, with tiny pictures."""

    def __init__(self, n_train: int = 30, n_validation: int = 6, n_voxels: int = 50, size: int = 16, seed: int = 5) -> None:
        rng = np.random.default_rng(seed)
        self.n_train, self.n_validation = n_train, n_validation
        self.train = rng.standard_normal((n_train, n_voxels))
        self.validation = rng.standard_normal((n_validation, n_voxels))
        self.train[2, 4] = self.validation[1, 7] = self.train[0, 9] = np.nan
        self.codes = np.arange(n_voxels) % 8
        self.ijk = np.stack(np.unravel_index(rng.choice(64 * 64 * 18, n_voxels, replace=False), (64, 64, 18)), axis=1)
        # 1-based, column-major, as MATLAB counts
        self.index = self.ijk[:, 0] + 64 * self.ijk[:, 1] + 64 * 64 * self.ijk[:, 2] + 1
        self.pictures = rng.uniform(-0.4, 0.4, (n_train + n_validation, size, size))
        self.pictures[:, 0, 0] = 0.0

    def variables(self) -> dict[str, np.ndarray]:
        """Variables in MATLAB's order: voxels first."""
        found = {}
        for number in (1, 2):
            found |= {f"dataTrnS{number}": self.train.T * number, f"dataValS{number}": self.validation.T * number}
            found |= {f"roiS{number}": self.codes[:, None].astype(float), f"voxIdxS{number}": self.index[:, None].astype(float)}
        return found

    def write_responses(self, path: Path, *, version: str = "7.3", **change: object) -> Path:
        """Write `EstimatedResponses.mat`; h5py shows MATLAB's arrays with their axes reversed."""
        content = {name: values for name, values in (self.variables() | change).items() if values is not None}
        if version == "5":
            scipy.io.savemat(path, content, do_compression=True)
            return path
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, values in content.items():
                file[name] = values.T
        with path.open("r+b") as raw:
            raw.write(MATLAB_73.ljust(124) + b"\x00\x02IM")
        return path

    def write_stimuli(self, path: Path, *, version: str = "5") -> Path:
        """Pictures, (n, rows, columns) in MATLAB."""
        content = {"stimTrn": self.pictures[: self.n_train], "stimVal": self.pictures[self.n_train :]}
        if version == "5":
            scipy.io.savemat(path, content, do_compression=True)
            return path
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, values in content.items():
                file[name] = values.T
        return path
