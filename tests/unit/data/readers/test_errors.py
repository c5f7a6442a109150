"""Each message says what was expected, what came and what to do, and names the file and the key."""

import os
import re

import h5py
import numpy as np
import pytest
import scipy.io
from published import God

from brain2pix.data.readers import READERS, Choices, choose_reader
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError

COUNTS = {"n_train": 30, "n_validation": 6}


def opened(kind, path, **choices):
    with READERS[kind].open(path, Choices(**choices)) as dataset:
        dataset.responses.read(0, dataset.responses.shape[1])
        if dataset.pictures is not None:
            dataset.pictures.read(dataset.trials["stimulus_id"][0])


def refused(error, text, kind, path, **choices):
    with pytest.raises(error, match=re.escape(text)) as caught:
        opened(kind, path, **choices)
    assert path.name in str(caught.value), "the message must name the file"


def edit_hdf5(path, **items):
    with h5py.File(path, "a") as file:
        for key, value in items.items():
            name = key.replace("__", "/")
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value
    return path


# ---------------------------------------------------------------------- 'fMRI on ImageNet'


def test_no_matrix(god, tmp_path):
    path = edit_hdf5(god.write_hdf5(tmp_path / "Subject1.h5"), dataset=None)
    refused(DataFormatError, "has no response matrix ('dataset' or 'dataSet'); top-level items: metadata", "god-hdf5", path)
    path = god.write_matlab(tmp_path / "Subject1.mat", dataSet=None, other=np.zeros(3))
    refused(DataFormatError, "has no response matrix ('dataset' or 'dataSet'); top-level items: metaData, other", "god-matlab", path)


def test_feature_file(god, tmp_path):
    path = tmp_path / "ImageFeatures.h5"
    with h5py.File(path, "w") as file:
        file["dataset"], file["metadata/value"] = np.zeros((4, 3)), np.eye(3)
        file["metadata/key"] = [b"ImageID", b"CatID", b"cnn1"]
    refused(DataFormatError, "this is a feature file (has ImageID, no VoxelData); choose SubjectN.h5", "god-hdf5", path)


def test_metadata_of_another_length(god, tmp_path):
    matrix, _, value = god.table(god.labels())
    path = edit_hdf5(god.write_hdf5(tmp_path / "Subject1.h5"), metadata__value=value[:, :-2])
    text = f"metadata describes {matrix.shape[1] - 2} columns, matrix has {matrix.shape[1]}; the file is truncated"
    refused(DataFormatError, text, "god-hdf5", path)
    refused(DataFormatError, "matrix has 41", "god-matlab", god.write_matlab(tmp_path / "Subject1.mat", dataSet=matrix[:, :41]))


def test_unknown_area(god, tmp_path):
    path = god.write_matlab(tmp_path / "Subject1.mat")
    refused(ConfigError, "ROI 'V9' not in file; available: V1, V2, V3, LOC, FFA, VC", "god-matlab", path, areas=("V1", "V9"))


def test_labels_at_float32(god, tmp_path):
    text = "stimulus ids lost precision (float32); re-export as float64"
    refused(DataFormatError, text, "god-hdf5", god.write_hdf5(tmp_path / "Subject1.h5", single=True))
    matrix, _, _ = god.table(god.labels())
    refused(DataFormatError, text, "god-matlab", god.write_matlab(tmp_path / "Subject1.mat", dataSet=matrix.astype("f4")))
    widened = matrix.astype("f4").astype("f8")  # the type is right again, the digits are gone
    refused(DataFormatError, text, "god-matlab", god.write_matlab(tmp_path / "Subject2.mat", dataSet=widened))


def test_train_or_test(tmp_path):
    path = God(n_imagery=0).write_hdf5(tmp_path / "Subject1.h5", DataType=True)
    refused(ConfigError, "cannot tell train from test: pass split=", "god-hdf5", path)
    with READERS["god-hdf5"].open(path, Choices(split="test")) as dataset:
        assert set(dataset.trials["split"]) == {"test"}


@pytest.mark.parametrize(
    ("key", "values", "text"),
    [
        ("metadata/key", [b"VoxelData", b"DataType"], "metadata has 2 keys and"),
        ("metadata/key", None, "'metadata/key' is no list of texts"),
        ("metadata/value", None, "has no 'metadata/value'; top-level items: dataset, metadata"),
        ("dataset", np.zeros(4), "'dataset' has shape (4,), expected samples x columns"),
        ("dataset", np.array([b"x", b"y"]), "'dataset' is no array of numbers"),
    ],
)
def test_damaged_hdf5(god, tmp_path, key, values, text):
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    with h5py.File(path, "a") as file:
        del file[key]
        if values is not None:
            file[key] = values
    refused(DataFormatError, text, "god-hdf5", path)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (0, 7.0, "DataType 7.0; expected 1 (train), 2 (test) or 3 (imagery)"),
        (1, np.nan, "column Run holds values that are no run numbers"),
        (2, np.nan, "stimulus ids must be numbers such as 1518878.010042"),
        (2, -4.0, "stimulus ids must be numbers"),
    ],
)
def test_damaged_labels(god, tmp_path, column, value, text):
    matrix = god.table(god.labels())[0]
    matrix[2, column] = value
    refused(DataFormatError, text, "god-matlab", god.write_matlab(tmp_path / "Subject1.mat", dataSet=matrix))


def test_damaged_voxels(god, tmp_path):
    def change(edit):
        matrix, keys, value = god.table(god.labels(), indices=True)
        edit(value, keys)
        path = tmp_path / "Subject1.h5"
        god._hdf5(path, matrix, keys, value, np.arange(len(matrix)), {}, "f8")
        return path

    def twice(value, keys):
        for axis in "xyz":
            value[keys.index(f"voxel_{axis}"), 5] = value[keys.index(f"voxel_{axis}"), 6]

    def unfit(value, keys):
        value[keys.index("voxel_i"), 5] += 1

    def lost(value, keys):
        value[keys.index("voxel_y"), 5:8] = np.nan

    def none(value, keys):
        value[keys.index("VoxelData")] = 0

    refused(DataFormatError, "voxel_i, j, k and voxel_x, y, z are not one grid", "god-hdf5", change(unfit))
    refused(DataFormatError, "3 of 40 voxels have no usable voxel_x, voxel_y, voxel_z", "god-hdf5", change(lost))
    refused(DataFormatError, "VoxelData selects no column", "god-hdf5", change(none))
    matrix, keys, value = god.table(god.labels())
    twice(value, keys)
    god._hdf5(tmp_path / "Subject1.h5", matrix, keys, value, np.arange(len(matrix)), {}, "f8")
    refused(DataFormatError, "1 of 40 voxels share their place", "god-hdf5", tmp_path / "Subject1.h5")


def test_splits_of_different_voxels(god, tmp_path):
    paths = god.write_splits(tmp_path)
    with h5py.File(paths[1], "a") as file:
        keys = [key.decode() for key in file["metadata/key"][()]]
        file["metadata/value"][keys.index("voxel_x"), 8] += 3
    refused(DataFormatError, "voxel_x differs from Subject1_ImageNetTraining.h5", "god-hdf5", paths[1])


def test_a_name_that_the_map_lacks(god, tmp_path):
    path = god.write_splits(tmp_path)[0]
    with h5py.File(path, "a") as file:
        del file["vmap/stimulus_name/2.0"]
    refused(DataFormatError, "'/vmap/stimulus_name' has no name for 2.0", "god-hdf5", path)
    with h5py.File(path, "a") as file:
        file["vmap/stimulus_name/2.0"] = b" "
    refused(DataFormatError, "1 trials have a stimulus without a name", "god-hdf5", path)


def test_masks_that_do_not_fit(god, tmp_path):
    path, masks = god.write_matlab(tmp_path / "Subject1.mat"), god.write_masks(tmp_path / "masks")
    text = "give the masks of this subject (if the coordinates are mirrored: --flip x)"
    with pytest.raises(DataFormatError, match=re.escape(text)):
        opened("god-matlab", path, masks=masks, flip=("y",))
    for side in ("LH", "RH"):
        for part in ("V1v", "V1d"):
            (masks / f"sub-01_mask_{side}_{part}.nii.gz").rename(masks / f"sub-02_mask_{'RH' if side == 'LH' else 'LH'}_{part}.nii.gz")
    with pytest.raises(DataFormatError, match="the voxels of the LH masks lie to the right of the RH ones"):
        opened("god-matlab", path, masks=masks, subject="2")
    with pytest.raises(MissingDataError, match="holds no masks sub-07_mask_LH_NAME"):
        opened("god-matlab", path, masks=masks, subject="7")
    with pytest.raises(MissingDataError, match=r"mask folder .+ does not exist"):
        opened("god-matlab", path, masks=tmp_path / "none")


def test_choices_that_a_file_cannot_follow(god, vim1, tmp_path):
    npz = god.write_npz(tmp_path / "sbj_1.npz")
    refused(ConfigError, "has neither runs nor sessions: --zscore cannot be done", "god-npz", npz, zscore="run")
    refused(ConfigError, "no voxel coordinates: there is nothing to flip", "god-npz", npz, flip=("x",))
    refused(ConfigError, "--flip, --masks and --zscore do not apply", "vim-1", vim1.write_responses(tmp_path / "E.mat"), flip=("x",))
    path = god.write_hdf5(tmp_path / "Subject1.h5", Run=True)
    refused(ConfigError, "has no column Run: --zscore run cannot be done", "god-hdf5", path, zscore="run")


def test_a_run_of_one_trial(god, tmp_path):
    matrix = god.table(god.labels())[0]
    matrix[0, 1] = 99
    path = god.write_matlab(tmp_path / "Subject1.mat", dataSet=matrix)
    refused(ConfigError, "a run has one trial only", "god-matlab", path, zscore="run")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"arr_0": None}, "has no array 'arr_0'; arrays: "),
        ({"arr_0": np.zeros((8, 39))}, "arr_0 is (8, 39), arr_1 (12, 40); expected (trials, voxels)"),
        ({"arr_3": np.zeros(5, int)}, "arr_3 has 5 labels for 8 rows of responses"),
        ({"arr_4": np.full(12, 0.5)}, "arr_4 must hold row numbers of the pictures, from 0"),
        ({"arr_2": np.zeros((4, 40))}, "row 0 of arr_2 is not the mean of its repeats"),
        ({"V1": np.array([3, 40])}, "area 'V1' of shape (2,) is no mask of 40 voxels, nor numbers of voxels"),
        ({"arr_0": np.asfortranarray(np.zeros((8, 40)))}, "array 'arr_0' is in Fortran order"),
        (
            {"arr_3": np.array([{"a": 1}] * 8, dtype=object)},
            "array 'arr_3' holds object, expected numbers; Python objects are never loaded",
        ),
    ],
)
def test_npz(god, tmp_path, change, text):
    refused(DataFormatError, text, "god-npz", god.write_npz(tmp_path / "sbj_1.npz", **change))


def test_npz_pictures(god, tmp_path):
    path, images = god.write_npz(tmp_path / "sbj_1.npz"), tmp_path / "images_112.npz"
    refused(DataFormatError, "holds the pictures; give the responses, sbj_X.npz", "god-npz", god.write_npz_images(images))
    np.savez(images, train_images=np.zeros((8, 9, 9)), test_images=np.zeros((4, 9, 9, 3)))
    with pytest.raises(DataFormatError, match=re.escape("train_images is (8, 9, 9), expected (pictures, height, width, 3)")):
        opened("god-npz", path)
    np.savez(images, train_images=np.full((8, 9, 9, 3), 200.0), test_images=np.zeros((4, 9, 9, 3)))
    with pytest.raises(DataFormatError, match="train_images reaches from 0 to 200, expected 0 to 1"):
        opened("god-npz", path)


# ---------------------------------------------------------------------- vim-1


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_vim1(vim1, tmp_path, version):
    def case(text, error=DataFormatError, choices=COUNTS, **change):
        refused(error, text, "vim-1", vim1.write_responses(tmp_path / "EstimatedResponses.mat", version=version, **change), **choices)

    case("dataTrnS3: subject must be 1 or 2", ConfigError, {"subject": "3", **COUNTS})
    case("roi has 49 entries, voxIdx 50", roiS1=vim1.codes[:49, None].astype(float))
    pair = {"roiS1": vim1.codes[:49, None].astype(float), "voxIdxS1": vim1.index[:49, None].astype(float)}
    case("roi has 49 entries, responses dataTrnS1 have 50 voxels", **pair)
    case("image axis is 30, expected count 1750: axes look transposed (or --n-train 30)", choices={})
    case("voxIdx must hold whole numbers from 1 to 73728", voxIdxS1=vim1.index[:, None] * 0.0)
    case("voxIdx names 49 voxels twice", voxIdxS1=vim1.index[:, None] * 0.0 + 7)
    case("dataTrnS1", dataTrnS1=None)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_vim1_pictures(vim1, tmp_path, version, monkeypatch):
    path = vim1.write_responses(tmp_path / "EstimatedResponses.mat")
    with pytest.raises(DataFormatError, match=re.escape("stimTrn has shape (29, 16, 16), expected 30 pictures x rows x columns")):
        monkeypatch.setattr(vim1, "n_train", 29)
        opened("vim-1", path, images=vim1.write_stimuli(tmp_path / "Other.mat", version=version), **COUNTS)
    monkeypatch.undo()
    monkeypatch.setattr(vim1, "pictures", np.where(vim1.pictures > 0.39, np.nan, vim1.pictures))
    with pytest.raises(DataFormatError, match="stimTrn has pixels that are not finite"):
        opened("vim-1", path, images=vim1.write_stimuli(tmp_path / "Other.mat", version=version), **COUNTS)


# ---------------------------------------------------------------------- files that are something else


def test_other_files(tmp_path):
    page = tmp_path / "Subject1.mat"
    page.write_text("<html><body>not found</body></html>")
    with pytest.raises(DataFormatError, match="not a MATLAB, HDF5 or npz file; it starts with '<html"):
        choose_reader("auto", page)
    refused(DataFormatError, "is not a MATLAB v5 file; it starts with '<html", "god-matlab", page)
    refused(DataFormatError, "truncated or not of this format; it starts with '<html", "god-npz", page)
    refused(DataFormatError, "truncated or not of this format; it starts with '<html", "god-hdf5", page)
    (tmp_path / "link.mat").symlink_to(".git/annex/objects/none.mat")
    with pytest.raises(MissingDataError, match="file content was not downloaded"):
        choose_reader("auto", tmp_path / "link.mat")
    (tmp_path / "pointer.mat").write_text("/annex/objects/MD5E-s1--0.mat\n")
    with pytest.raises(MissingDataError, match="file content was not downloaded"):
        choose_reader("god-matlab", tmp_path / "pointer.mat")
    with pytest.raises(MissingDataError, match="holds no file that a reader finds by its name"):
        choose_reader("auto", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown kind of dataset 'gid-matlab'. Did you mean 'god-matlab'"):
        choose_reader("gid-matlab", page)
    scipy.io.savemat(tmp_path / "other.mat", {"x": np.eye(3)})
    with pytest.raises(DataFormatError, match=r"of no known format; it starts with 'MATLAB 5\.0"):
        choose_reader("auto", tmp_path / "other.mat")


def test_no_code_is_run_by_a_pickle(god, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path = god.write_npz(tmp_path / "sbj_1.npz", arr_0=np.array([Evil()], dtype=object))
    refused(DataFormatError, "Python objects are never loaded", "god-npz", path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"metaData": {"key": np.eye(2), "value": np.eye(3)}},
        {"metaData": {"key": "V1", "value": np.eye(3)}},
        {"metaData": {"value": np.eye(3)}},
        {"metaData": np.eye(3)},
        {"metaData": {"key": {"a": 1}, "value": np.eye(3)}},
        {"dataSet": "text"},
        {"dataSet": np.eye(3) * 1j},
        {"dataSet": scipy.sparse.csc_matrix(np.eye(3))},
    ],
)
def test_matlab_variables_of_another_kind(god, tmp_path, content):
    path = god.write_matlab(tmp_path / "Subject1.mat", **content)
    with pytest.raises(DataFormatError, match=r"Subject1\.mat"):
        opened("god-matlab", path)
