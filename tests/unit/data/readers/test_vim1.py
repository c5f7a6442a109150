"""vim-1 in both MATLAB versions, with MATLAB's axes as scipy and h5py show them."""

import numpy as np
import pytest

from brain2pix.data.readers import READERS, Choices, sniff

COUNTS = {"n_train": 30, "n_validation": 6}


@pytest.mark.parametrize("version", ["7.3", "5"])
@pytest.mark.parametrize("stimuli", ["5", "7.3"])
@pytest.mark.parametrize("number", [1, 2])
def test_values_places_and_pictures(vim1, tmp_path, version, stimuli, number):
    path = vim1.write_responses(tmp_path / "EstimatedResponses.mat", version=version)
    vim1.write_stimuli(tmp_path / "Stimuli.mat", version=stimuli)
    assert sniff(path)[0] == sniff(tmp_path)[0] == "vim-1"
    with READERS["vim-1"].open(tmp_path, Choices(subject=str(number), **COUNTS)) as dataset:
        expected = np.concatenate([vim1.train, vim1.validation]) * number
        np.testing.assert_array_equal(dataset.responses.read(0, 50), expected.astype(np.float32))
        np.testing.assert_array_equal(dataset.responses.read(10, 20), expected[:, 10:20].astype(np.float32))
        np.testing.assert_array_equal(dataset.placement.ijk, vim1.ijk)
        assert dataset.placement.space.voxel_mm == (2, 2, 2.5) and not dataset.placement.has_world
        for code, name in enumerate(["V1", "V2", "V3", "V3A", "V3B", "V4", "LatOcc"], start=1):
            np.testing.assert_array_equal(dataset.areas[name], vim1.codes == code)
        assert dataset.subject == f"sub-0{number}" and dataset.field_of_view_deg == 20
        assert list(dataset.trials["split"]) == ["train"] * 30 + ["test"] * 6 and set(dataset.trials["repeat"]) == {1}
        for row in (0, 7, 33):
            picture = dataset.pictures.read(dataset.trials["stimulus_id"][row])
            assert picture.shape == (16, 16, 3) and picture[0, 0, 0] == 128  # no contrast
            np.testing.assert_allclose(picture[..., 0], (vim1.pictures[row] + 0.5) * 255, atol=0.51)
        assert any("noise ceilings are n/a" in text for text in dataset.unknown)


@pytest.mark.parametrize("version", ["7.3", "5"])
def test_transposed_responses_are_told_by_the_counts(vim1, tmp_path, version):
    change = {name: values.T for name, values in vim1.variables().items() if name.startswith("data")}
    path = vim1.write_responses(tmp_path / "EstimatedResponses.mat", version=version, **change)
    with READERS["vim-1"].open(path, Choices(**COUNTS)) as dataset:
        expected = np.concatenate([vim1.train, vim1.validation])
        np.testing.assert_array_equal(dataset.responses.read(0, 50), expected.astype(np.float32))


def test_stronger_contrast_widens_the_scale_of_all(vim1, tmp_path, monkeypatch):
    monkeypatch.setattr(vim1, "pictures", vim1.pictures * 2)
    path = vim1.write_responses(tmp_path / "EstimatedResponses.mat")
    vim1.write_stimuli(tmp_path / "Stimuli.mat")
    half = np.abs(vim1.pictures).max()
    with READERS["vim-1"].open(path, Choices(**COUNTS)) as dataset:
        for row in (0, 35):
            picture = dataset.pictures.read(dataset.trials["stimulus_id"][row])
            np.testing.assert_allclose(picture[..., 0], (vim1.pictures[row] / (2 * half) + 0.5) * 255, atol=0.51)


def test_pictures_alone_are_named(vim1, tmp_path):
    kind, found = sniff(vim1.write_stimuli(tmp_path / "Stimuli.mat"))
    assert kind == "vim-1" and not found.has_responses and "EstimatedResponses.mat" in found.text
