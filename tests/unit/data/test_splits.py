"""Training data and evaluation sets; test images cannot be reached from training."""

import gc
from types import FunctionType, ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain2pix.data import Subject, evaluation_set, open_subject, training_data
from brain2pix.errors import ConfigError, DataFormatError


@pytest.fixture
def with_stack(lab):
    stack = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    np.save(lab.root / "stimuli" / "unpaired.npy", stack)
    return lab


def test_training_data_holds_the_planted_pairs(with_stack):
    lab = with_stack
    data = training_data(open_subject(lab.root), "V1 + FFA")
    chosen = np.isin(lab.labels, (1, 2)) | lab.ffa
    np.testing.assert_array_equal(data.subject.voxel_index, np.flatnonzero(chosen))
    np.testing.assert_array_equal(data.responses, lab.betas[:8, chosen])
    ids = [f"{n:04d}" for n in range(8)]
    np.testing.assert_array_equal(data.images[data.image_index], np.stack([lab.images[name] for name in ids]))
    np.testing.assert_array_equal(data.groups, [0, 0, 1, 1, 2, 2, 3, 3])  # two stimuli of each photo
    np.testing.assert_array_equal(data.areas["V1v"], (lab.labels == 1)[chosen])
    np.testing.assert_allclose(data.voxel_xyz[:, 0], -13.5 + 3 * lab.ijk[chosen, 0])
    assert data.unpaired.shape == (9, 16, 16, 3) and isinstance(data.unpaired, np.memmap)


def test_test_responses_come_without_images(lab):
    data = training_data(open_subject(lab.root), "all")
    test = lab.trials[lab.trials["split"] == "test"]
    for image in range(4):
        rows = np.flatnonzero(data.repeats.image_index == image)
        assert test["stimulus_id"].iloc[rows].nunique() == 1 and len(rows) == 3
    np.testing.assert_array_equal(data.repeats.values, lab.betas[test.index])
    held = evaluation_set(open_subject(lab.root), data.subject.voxel_index)
    assert list(data.repeats.stimulus_ids) == held.stimulus_ids
    np.testing.assert_array_equal(data.repeats.groups, held.groups)
    np.testing.assert_array_equal(data.repeats.image_index, held.repeats.image_index)
    assert training_data(open_subject(lab.root), "all", repeats_split=None).repeats is None


def test_evaluation_set(lab):
    subject = open_subject(lab.root)
    voxels = np.array([8, 3, 30])
    held = evaluation_set(subject, voxels)
    assert held.stimulus_ids == [name for name in subject.stimuli["stimulus_id"] if name.startswith("t")]
    for place, name in enumerate(held.stimulus_ids):
        rows = np.flatnonzero(lab.trials["stimulus_id"] == name)
        np.testing.assert_allclose(held.responses[place], lab.betas[rows][:, voxels].mean(axis=0), atol=1e-6)
        np.testing.assert_array_equal(held.images[place], lab.images[name])
    np.testing.assert_array_equal(held.groups, [0, 0, 1, 1])
    assert held.subject.voxel_hash == subject.describe(voxels).voxel_hash
    assert evaluation_set(subject, voxels, "validation", image_size=8).images.shape == (1, 8, 8, 3)


def test_one_image_size_for_all(with_stack):
    data = training_data(open_subject(with_stack.root), "all", image_size=8)
    assert data.images.shape[1:] == (8, 8, 3) and data.unpaired.shape[1:] == (8, 8, 3) and data.image_size == 8


def reachable(root):
    """Every object that can be reached from one, code aside."""
    seen, queue = {}, [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, (ModuleType, FunctionType, type)):
            continue
        seen[id(item)] = item
        queue += gc.get_referents(item)
        if isinstance(item, np.ndarray) and item.base is not None:
            queue.append(item.base)
    return list(seen.values())


def holds_picture(arrays, picture):
    needle = np.ascontiguousarray(picture).tobytes()
    return any(needle in np.ascontiguousarray(array).tobytes() for array in arrays)


def test_test_images_are_out_of_reach(with_stack):
    lab = with_stack
    data = training_data(open_subject(lab.root), "all")
    things = reachable(data)
    arrays = [thing for thing in things if isinstance(thing, np.ndarray) and thing.dtype == np.uint8]
    assert holds_picture(arrays, lab.images["0003"])  # the search finds what is there
    for name in ("t0", "t1", "t2", "t3", "v0"):
        assert not holds_picture(arrays, lab.images[name])
    assert not any(isinstance(thing, Subject) for thing in things)
    assert not any(isinstance(thing, str) and "pictures" in thing for thing in things)
    # folds tell test images apart by their names, from which no way leads to a picture; those of other splits are not there either
    names = {thing for thing in things if isinstance(thing, str)}
    assert {"t0", "t1", "t2", "t3"} <= names and "v0" not in names


def test_default_region_without_outside(lab):
    data = training_data(open_subject(lab.root))
    np.testing.assert_array_equal(data.subject.voxel_index, np.flatnonzero(np.isin(lab.labels, (1, 2, 3))))


def test_unknown_split_and_region(lab):
    subject = open_subject(lab.root)
    with pytest.raises(ConfigError, match=r"unknown split 'trian'\. Did you mean 'train'\?"):
        training_data(subject, train_split="trian")
    with pytest.raises(ConfigError, match="unknown split 'tests'"):
        training_data(subject, repeats_split="tests")
    with pytest.raises(ConfigError, match="unknown area 'V9'"):
        training_data(subject, "V9")


def test_no_test_split_is_no_error_for_training(lab):
    lab.edit_table(lab.h5_table, lambda rows: rows.assign(split=rows["split"].replace("test", "imagery")))
    assert training_data(open_subject(lab.root), "all").repeats is None


def test_stimulus_in_training_and_test(lab):
    lab.edit_table(lab.h5_table, lambda rows: rows.assign(stimulus_id=rows["stimulus_id"].replace("t2", "0005")))
    with pytest.raises(DataFormatError, match=r"1 stimuli of split 'train' are also held out \(test, validation, category_test\): 0005"):
        training_data(open_subject(lab.root), "all")


def test_stimulus_table_says_test(lab):
    lab.edit_table(lab.stimuli, lambda rows: rows.assign(split=rows["split"].where(rows["stimulus_id"] != "0002", "test")))
    with pytest.raises(DataFormatError, match=r"are also held out .* 0002"):
        training_data(open_subject(lab.root), "all")


def test_same_file_under_two_names(lab):
    lab.edit_table(lab.stimuli, lambda rows: rows.assign(file=rows["file"].replace("pictures/0001.png", "pictures/../pictures/t1.png")))
    with pytest.raises(DataFormatError, match="1 training stimuli share a file with held-out ones: 0001"):
        training_data(open_subject(lab.root), "all")


def test_held_out_picture_among_unpaired_ones(lab):
    folder = lab.root / "stimuli" / "unpaired"
    folder.mkdir()
    for name in ("free", "t3"):
        Image.fromarray(lab.images["t3"]).save(folder / f"{name}.jpg")
    with pytest.raises(DataFormatError, match=r"holds 1 images named like held-out stimuli: t3\.jpg; remove them"):
        training_data(open_subject(lab.root), "all")
    (folder / "t3.jpg").unlink()
    assert training_data(open_subject(lab.root), "all").unpaired.shape == (1, 16, 16, 3)


def test_source_falls_back_to_category_then_to_the_stimulus(lab):
    lab.edit_table(
        lab.stimuli, lambda rows: rows.drop(columns="source").assign(category=["a", "a", "n/a", "n/a"] + ["b"] * (len(rows) - 4))
    )
    np.testing.assert_array_equal(training_data(open_subject(lab.root), "all").groups, [0, 0, 1, 2, 3, 3, 3, 3])


def test_repeated_training_images_share_one_picture(lab):
    lab.edit_table(lab.h5_table, lambda rows: rows.assign(stimulus_id=rows["stimulus_id"].replace("0007", "0006")))
    data = training_data(open_subject(lab.root), "all")
    assert len(data.images) == 7 and data.image_index.tolist() == [0, 1, 2, 3, 4, 5, 6, 6]
    assert isinstance(data.image_index, np.ndarray) and pd.api.types.is_integer_dtype(data.image_index)
