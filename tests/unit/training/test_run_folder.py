import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.methods.registry import make_method
from brain2pix.training.run_folder import RunFolder, check_model_fits, load_model, model_description, save_model


@pytest.fixture
def method(toy):
    data = toy.toy_data()
    return make_method("toy", toy.ToySettings(n_steps=7), [data.subject], data.image_size)


def test_saved_and_loaded_is_the_same_system(method, tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_model(method)
    loaded = folder.load_model()
    voxels = VoxelBatch(torch.randn(5, 12))
    assert torch.equal(loaded.decode(voxels), method.decode(voxels))
    assert loaded.settings == method.settings
    assert loaded.subjects[0].voxel_hash == "hash-12"
    assert torch.equal(load_model(folder.model).decode(voxels), method.decode(voxels))


def test_saving_again_replaces(method, tmp_path):
    save_model(method, tmp_path / "model")
    with torch.no_grad():
        method.decoder[1].bias.fill_(3.0)
    save_model(method, tmp_path / "model")
    assert torch.equal(load_model(tmp_path).decoder[1].bias, torch.full((48,), 3.0))
    assert [place.name for place in tmp_path.iterdir()] == ["model"]


def test_description_without_the_weights(method, tmp_path):
    save_model(method, tmp_path / "model")
    about = model_description(tmp_path)
    assert about["method"] == "toy" and about["has_encoder"] and about["image_size"] == 4
    assert about["settings"]["n_steps"] == 7
    assert about["versions"]["torch"] == torch.__version__


def test_truncated_weights(method, tmp_path):
    save_model(method, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataFormatError, match=r"model.safetensors is truncated or was changed.*Copy it again or train again"):
        load_model(tmp_path)


def test_missing_files(method, tmp_path):
    with pytest.raises(
        MissingDataError, match=r"has no trained model \(model/model.json\); give the folder of a finished `brain2pix train`"
    ):
        load_model(tmp_path)
    with pytest.raises(MissingDataError, match="nowhere has no trained model"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "status.json").write_text('{"state": "cancelled"}')
    with pytest.raises(MissingDataError, match=r"the run is cancelled. Finish it with: brain2pix run"):
        load_model(tmp_path)
    save_model(method, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"model\.safetensors is missing"):
        load_model(tmp_path)


def test_broken_description(method, tmp_path):
    save_model(method, tmp_path / "model")
    about = tmp_path / "model" / "model.json"
    values = json.loads(about.read_text())
    about.write_text(about.read_text()[:50])
    with pytest.raises(DataFormatError, match=r"model.json is not valid JSON .* may be truncated"):
        load_model(tmp_path)
    about.write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(DataFormatError, match="has format 99, this version reads 1"):
        load_model(tmp_path)
    about.write_text("[]")
    with pytest.raises(DataFormatError, match="must hold a JSON object, found list"):
        load_model(tmp_path)


def test_weights_of_another_architecture(method, tmp_path):
    save_model(method, tmp_path / "model")
    about = tmp_path / "model" / "model.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "image_size": 8}))
    with pytest.raises(DataFormatError, match="does not fit this version of toy"):
        load_model(tmp_path)


def test_model_fits_only_its_own_voxels(method, toy, tmp_path):
    info = toy.toy_data().subject

    def subject(n_voxels, voxel_hash):
        return SimpleNamespace(
            path=tmp_path, voxels=range(n_voxels), describe=lambda index: replace(info, voxel_index=index, voxel_hash=voxel_hash)
        )

    assert np.array_equal(check_model_fits(method, subject(20, "hash-12")), np.arange(12))
    with pytest.raises(
        DataFormatError, match=r"fingerprint hash-12\), the same rows .* have fingerprint other.*another subject or voxel order"
    ):
        check_model_fits(method, subject(20, "other"))
    with pytest.raises(DataFormatError, match=r"reads voxel row 11 of sub-01, .* has 5 voxels\. It is a checkpoint of another subject"):
        check_model_fits(method, subject(5, "hash-12"))
