"""Every release of 'fMRI on ImageNet': what the fixture wrote is what the reader gives."""

from pathlib import Path

import numpy as np
import pytest
from published import AFFINE, God, stimulus_number

from brain2pix.data.readers import READERS, Choices, sniff
from brain2pix.data.readers._bdata import decode_ids


def assert_same(dataset, god, rows=None):
    """Values, order, repeats, areas and places."""
    rows = np.arange(len(god.trials)) if rows is None else rows
    expected = god.trials.iloc[rows].reset_index(drop=True)
    assert dataset.trials[["stimulus_id", "split", "run"]].equals(expected)
    counted = {}
    for row, name in enumerate(zip(expected["split"], expected["stimulus_id"], strict=True)):
        counted[name] = counted.get(name, 0) + 1
        assert dataset.trials["repeat"][row] == counted[name]
    n_voxels = god.responses.shape[1]
    assert dataset.responses.shape == (len(rows), n_voxels)
    np.testing.assert_array_equal(dataset.responses.read(0, n_voxels), god.responses[rows].astype(np.float32))
    np.testing.assert_array_equal(dataset.responses.read(5, 9), god.responses[rows, 5:9].astype(np.float32))
    np.testing.assert_array_equal(dataset.responses.read(0, 3), god.responses[rows, :3].astype(np.float32))  # backwards too
    assert set(dataset.areas) == set(god.areas)
    for name, mask in god.areas.items():
        np.testing.assert_array_equal(dataset.areas[name], mask)
    placement = dataset.placement
    np.testing.assert_allclose(placement.space.to_world(placement.ijk), god.xyz, atol=1e-4)
    np.testing.assert_array_equal(placement.hemi, np.where(god.xyz[:, 0] < 0, "L", "R"))


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab(god, tmp_path, compressed):
    path = god.write_matlab(tmp_path / "Subject3.mat", compressed=compressed)
    assert sniff(path)[0] == "god-matlab"
    with READERS["god-matlab"].open(path, Choices()) as dataset:
        assert_same(dataset, god)
        assert dataset.subject == "sub-03" and dataset.unit == "a.u." and dataset.field_of_view_deg == 12


@pytest.mark.parametrize("spelling", [("dataset", "metadata"), ("dataSet", "metaData"), ("dataset", "metaData")])
def test_hdf5(god, tmp_path, spelling):
    path = god.write_hdf5(tmp_path / "Subject1.h5", spelling=spelling)
    assert sniff(path)[0] == "god-hdf5"
    with READERS["god-hdf5"].open(path, Choices()) as dataset:
        assert_same(dataset, god)


def test_hdf5_of_bdpy(god, tmp_path):
    pytest.importorskip("bdpy", reason="bdpy asks for Python below 3.12")
    path = god.write_bdpy(tmp_path / "Subject2.h5")
    with READERS["god-hdf5"].open(path, Choices()) as dataset:
        assert_same(dataset, god)
        assert dataset.subject == "sub-02"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_file_for_each_split(god, tmp_path, which):
    paths = god.write_splits(tmp_path)
    God(seed=9).write_splits(tmp_path, number=2)
    assert "split" in sniff(paths[which])[1].text
    with READERS["god-hdf5"].open(paths[which], Choices()) as dataset:
        assert_same(dataset, god)
        np.testing.assert_allclose(dataset.placement.space.affine, AFFINE, atol=1e-6)


def test_one_split_alone(god, tmp_path):
    paths = god.write_splits(tmp_path)
    paths[0].unlink()
    paths[2].unlink()
    with READERS["god-hdf5"].open(paths[1], Choices()) as dataset:
        assert_same(dataset, god, god.rows["test"])


def test_zscore_in_runs_of_splits(god, tmp_path):
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    with READERS["god-hdf5"].open(path, Choices(zscore="run")) as dataset:
        values = dataset.responses.read(0, 40)
        assert dataset.unit == "z-run"
    for _, rows in god.trials.groupby(["split", "run"]):
        own = god.responses[rows.index]
        np.testing.assert_allclose(values[rows.index], (own - own.mean(0)) / own.std(0), atol=1e-4)


def test_masks_give_grid_parts_and_hemispheres(god, tmp_path):
    path, masks = god.write_matlab(tmp_path / "Subject1.mat"), god.write_masks(tmp_path / "masks")
    with READERS["god-matlab"].open(path, Choices(masks=masks)) as dataset:
        np.testing.assert_array_equal(dataset.placement.ijk, god.ijk)
        np.testing.assert_array_equal(dataset.areas["V1v"], god.areas["V1"] & god.upper)
        np.testing.assert_array_equal(dataset.areas["V1d"], god.areas["V1"] & ~god.upper)
        np.testing.assert_array_equal(dataset.areas["LOC"], god.areas["LOC"])


def test_flipped_coordinates(god, tmp_path):
    path = god.write_matlab(tmp_path / "Subject1.mat")
    with READERS["god-matlab"].open(path, Choices(flip=("x",))) as dataset:
        world = dataset.placement.space.to_world(dataset.placement.ijk)
        np.testing.assert_allclose(world, god.xyz * [-1, 1, 1], atol=1e-4)
        np.testing.assert_array_equal(dataset.placement.hemi, np.where(god.xyz[:, 0] > 0, "L", "R"))


def test_an_area_alone(god, tmp_path):
    path = god.write_matlab(tmp_path / "Subject1.mat")
    with READERS["god-matlab"].open(path, Choices(areas=("V1", "FFA"))) as dataset:
        assert list(dataset.areas) == ["V1", "FFA"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_npz(god, tmp_path, dtype):
    path = god.write_npz(tmp_path / "sbj_4.npz")
    god.write_npz_images(tmp_path / "images_112.npz", dtype)
    assert sniff(path)[0] == "god-npz"
    with READERS["god-npz"].open(path, Choices()) as dataset:
        rows = np.concatenate([god.rows["train"], god.rows["test"]])
        np.testing.assert_array_equal(dataset.responses.read(0, 40), god.responses[rows].astype(np.float32))
        for name in ("V1", "LOC", "FFA"):
            np.testing.assert_array_equal(dataset.areas[name], god.areas[name])
        assert dataset.subject == "sub-04" and not dataset.placement.has_world and set(dataset.placement.hemi) == {"n/a"}
        for row, name in enumerate(god.trials["stimulus_id"].iloc[rows]):
            np.testing.assert_array_equal(dataset.pictures.read(dataset.trials["stimulus_id"][row]), god.images[name])
        assert dataset.trials["repeat"].max() == 3


def test_pictures_alone_are_named(god, tmp_path):
    path = god.write_npz_images(tmp_path / "images_112.npz")
    kind, found = sniff(path)
    assert kind == "god-npz" and not found.has_responses and "sbj_X.npz" in found.text


def test_every_id_is_decoded_to_its_digits(rng):
    synsets, numbers = rng.integers(1_440_764, 15_075_142, 20_000), rng.integers(1, 200_000, 20_000)
    names = [f"n{synset:08d}_{number}" for synset, number in zip(synsets, numbers, strict=True)]
    assert decode_ids(Path("x.mat"), np.array([stimulus_number(name) for name in names])) == names
    printed = [float(f"{synset}.{number:06d}".rstrip("0")) for synset, number in zip(synsets, numbers, strict=True)]
    assert decode_ids(Path("x.mat"), np.array(printed)) == names


def test_lines_say_what_was_found(god, god_images, tmp_path):
    path = god.write_matlab(tmp_path / "Subject1.mat")
    with READERS["god-matlab"].open(path, Choices(images=god_images)) as dataset:
        text = "\n".join(dataset.lines())
    for part in (
        "sub-01 of Generic Object Decoding",
        "voxels    40",
        "V1 8",
        "FFA 9",
        "train: 8 of 8",
        "test: 12 of 4 stimuli, 3 each, 3 runs",
    ):
        assert part in text, text
    assert "12 degrees" in text and "not told  unit" in text and "not found" not in text
