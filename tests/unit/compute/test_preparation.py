"""What a system was trained on it reads ever after: z-scores and voxels go with the model through every job."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from safetensors.torch import load_file

from brain2pix.arrays import VoxelBatch
from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.stimulator import Stimulator
from brain2pix.compute.sweep_cells import identity
from brain2pix.config.base import build
from brain2pix.config.run import TrainParams
from brain2pix.data import cache, open_subject
from brain2pix.errors import ConfigError
from brain2pix.events import Message
from brain2pix.training.run_folder import load_model, model_description

SHORT = {"encoder.n_steps": 2, "decoder.n_steps": 2}
SETTINGS = {"ridge": {}, "gaziv": {**SHORT, "encoder.check_every": 2}, "retino": SHORT}
BY_RUN = {"zscore": "run", "max_voxels": 40, "repeats_of": "test"}


def train(folder, subject, method="ridge", events=None, **params):
    settings = SETTINGS[method]
    asked = {"subject": str(subject), "method": method, "preset": "tiny", "region": "V1 - outside", "device": "cpu", "settings": settings}
    assert run_job(JobSpec("train", {**asked, **params}, folder), (lambda event: None) if events is None else events) == "finished"
    return folder


@pytest.fixture(scope="module")
def prepared(tiny_subject, tmp_path_factory):
    """A ridge on responses that are z-scored a second time, run by run, of voxels chosen by test repeats."""
    return train(tmp_path_factory.mktemp("prepared") / "ridge", tiny_subject, prepare=BY_RUN)


@pytest.fixture(scope="module")
def by_run(tiny_subject):
    """Responses z-scored by run by scipy: in this subject no run holds trials of two splits."""
    opened = open_subject(tiny_subject)
    values = opened.responses().astype(float)
    for _, run in opened.trials.groupby(["session", "run"]):
        values[run.index] = scipy.stats.zscore(values[run.index], axis=0)
    return values


def test_the_model_says_how_its_responses_were_prepared(prepared):
    (about,) = model_description(prepared)["subjects"]
    assert (about["zscore"], about["unit"], len(about["voxel_index"])) == ("run", "z-run", 40)
    assert model_description(prepared)["transductive"] == ["voxels chosen by test repeats"]
    settings = json.loads((prepared / "settings.json").read_text())
    assert settings["prepare"] == {"average_repeats": False, "min_ceiling": None, "min_ncsnr": None, **BY_RUN}
    assert settings["unit"] == "z-run" and any("z-scored a second time" in note for note in settings["notes"])


def test_decoding_reads_the_same_responses(prepared, tiny_subject, by_run, tmp_path):
    run_job(JobSpec("decode", {"run": str(prepared), "device": "cpu"}, tmp_path / "out"))
    method = load_model(prepared)
    opened, voxels = open_subject(tiny_subject), method.info.subjects[0].voxel_index
    rows = opened.rows("test")
    means = pd.DataFrame(by_run[np.ix_(rows, voxels)]).groupby(opened.trials["stimulus_id"].to_numpy()[rows]).mean()
    about = json.loads((tmp_path / "out" / "results" / "reconstructions.json").read_text())
    values = torch.from_numpy(np.array(means.loc[about["stimulus_ids"]], dtype=np.float32))
    expected = method.decode(VoxelBatch(values)).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    images = np.load(tmp_path / "out" / "results" / "reconstructions.npy")
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert about["transductive"] == ["voxels chosen by test repeats"]


@pytest.mark.parametrize("kind", ["evaluate", "stimulate", "maps"])
def test_every_job_opens_it(prepared, tmp_path, kind):
    more = {"maps": {"side": "decoder", "settings": {"n_patterns": 2}}, "stimulate": {"region": "V1 & L"}}.get(kind, {})
    assert run_job(JobSpec(kind, {"run": str(prepared), "device": "cpu", **more}, tmp_path / "out")) == "finished"


def test_stimulation_starts_from_the_same_responses(prepared, by_run, tiny_subject):
    trained = open_run(prepared, None, "cpu")
    assert trained.subject.zscore == "run" and trained.subject.unit == "z-run"
    opened, voxels = open_subject(tiny_subject), trained.voxel_index
    stimulus = opened.trials["stimulus_id"].to_numpy()[opened.rows("test")[0]]
    rows = np.flatnonzero(opened.trials["stimulus_id"] == stimulus)
    np.testing.assert_allclose(Stimulator(trained).base(stimulus), by_run[np.ix_(rows, voxels)].mean(axis=0), atol=1e-5)


def test_a_run_of_an_older_version_opens(prepared, tmp_path):
    old = shutil.copytree(prepared, tmp_path / "old")
    file = old / "model" / "model.json"
    about = json.loads(file.read_text())
    for key in ("zscore", "transductive"):
        del about["subjects"][0][key]
    file.write_text(json.dumps(about))
    trained = open_run(old, None, "cpu")
    assert trained.subject.zscore == "auto" and trained.method.info.transductive == ()


def test_averages_and_the_choice_are_told(tiny_subject, tmp_path, events):
    folder = train(tmp_path / "run", tiny_subject, events=events, prepare={"average_repeats": True, "max_voxels": 9, "repeats_of": "test"})
    said = [event.text for event in events.of(Message)]
    assert any(text.startswith("prepared: 9 of ") and text.endswith("240 trials averaged to 240 responses, one per image") for text in said)
    assert json.loads((folder / "settings.json").read_text())["n_voxels"] == 9


@pytest.mark.parametrize("method", ["ridge", "gaziv", "retino"])
def test_training_on_a_memory_map_gives_the_same_system(tiny_subject, tmp_path, monkeypatch, method):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    train(tmp_path / "memory", tiny_subject, method)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(cache, "LARGE_BYTES", 0)
    train(tmp_path / "mapped", tiny_subject, method)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("memory", "mapped"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_an_encoder_brings_its_preparation(tiny_subject, tmp_path):
    lender = train(tmp_path / "lender", tiny_subject, "gaziv", prepare={"zscore": "run"})
    taken = train(tmp_path / "taken", tiny_subject, "gaziv", encoder_from=str(lender))
    assert model_description(taken)["subjects"][0]["zscore"] == "run"
    train(tmp_path / "said", tiny_subject, "gaziv", encoder_from=str(lender), prepare={"zscore": "run"})
    with pytest.raises(ConfigError, match="trained on responses prepared otherwise: zscore is 'run', not 'session'; leave prepare out"):
        train(tmp_path / "other", tiny_subject, "gaziv", encoder_from=str(lender), prepare={"zscore": "session"})
    plain = train(tmp_path / "plain", tiny_subject, "gaziv")
    method = load_model(plain)
    with pytest.raises(ConfigError, match="the encoder to take was trained with zscore 'run', not 'auto'"):
        method.adopt_encoder(load_model(lender))


def test_what_cannot_be_prepared_is_told_before_anything_is_written(tiny_subject, tmp_path):
    with pytest.raises(ConfigError, match="0 of 240 train images have them"):
        train(tmp_path / "run", tiny_subject, prepare={"min_ncsnr": 0.2})
    assert not (tmp_path / "run").exists()


def test_cells_of_older_sweeps_keep_their_names():
    params = build(TrainParams, {"subject": "x"})
    assert "prepare" not in identity("train", params)
    assert identity("train", build(TrainParams, {"subject": "x", "prepare": {"zscore": "run"}}))["prepare"]["zscore"] == "run"
