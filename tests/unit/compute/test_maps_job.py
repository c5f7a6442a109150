"""The job that writes receptive fields: of the encoder, of the decoder, and how well the two agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr

from brain2pix.arrays import RetinotopicMap
from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.jobs.maps import with_accuracy
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.maps import read_maps
from brain2pix.data.subject import open_subject
from brain2pix.errors import MissingDataError, NotSupportedError
from brain2pix.evaluation import compare_maps, read_lines
from brain2pix.events import CancelToken
from brain2pix.methods.base import Method
from brain2pix.methods.predictions import predict_responses
from brain2pix.signals.ceilings import split_half_ceiling
from brain2pix.training.run_folder import load_model


def run(folder, **params):
    assert run_job(JobSpec("maps", {"device": "cpu", **params}, folder)) == "finished"
    return folder / "results"


def mapped(results, label, trained, tiny_subject):
    index = load_model(trained).info.subjects[0].voxel_index
    return read_maps(results, label).on(open_subject(tiny_subject), index)


def test_decoder_fields_are_compared_with_the_encoders(trained, tiny_subject, tmp_path):
    system = trained / "gaziv"
    settings = {"n_images": 1, "n_patterns": 2, "max_spread": 1}
    encoder = run(tmp_path / "encoder", run=str(system), settings=settings)
    given = run(tmp_path / "given", run=str(system), side="decoder", compare=str(encoder), settings=settings)
    summary = json.loads((given / "summary.json").read_text())
    assert (summary["side"], summary["source"]) == ("decoder", "change of the picture by gaziv")
    maps = [mapped(folder, label, system, tiny_subject) for folder, label in ((given, "decoder"), (encoder, "encoder"))]
    expected = compare_maps(*maps)
    assert summary["agreement"]["median_distance_deg"] == pytest.approx(expected.median_distance_deg, rel=1e-5)
    assert (given / "agreement.png").stat().st_size > 10_000
    lines = {line.score: line for line in read_lines(given / "agreement.tsv")}
    assert lines["median_distance_deg"].part == "decoder fields"
    assert lines["median_distance_deg"].chance == pytest.approx(expected.shuffled_distance_deg, rel=1e-4)
    assert lines["median_distance_deg"].n == summary["agreement"]["n_voxels"]
    # without maps to compare with, the encoder is read on the way, with the same result
    read = run(tmp_path / "read", run=str(system), side="decoder", settings=settings)
    again = json.loads((read / "summary.json").read_text())["agreement"]
    assert again["median_distance_deg"] == pytest.approx(summary["agreement"]["median_distance_deg"], rel=1e-4)


def test_accuracy_over_the_ceiling_is_stored_with_the_maps(trained, tiny_subject, tmp_path):
    system = trained / "gaziv"
    results = run(tmp_path / "out", run=str(system), settings={"n_images": 1, "max_spread": 1})
    found = mapped(results, "encoder", system, tiny_subject)
    loaded = open_run(system, tiny_subject, "cpu")
    subject, rows = loaded.subject, loaded.subject.rows("test")
    responses = subject.responses(rows, loaded.voxel_index)
    shown = subject.trials["stimulus_id"].to_numpy()[rows]
    names = sorted(set(shown))
    measured = np.array([responses[shown == name].mean(axis=0) for name in names])
    predicted = predict_responses(loaded.method, subject.images(names, loaded.method.image_size)).astype(np.float32)
    ceiling = split_half_ceiling(responses, np.array([names.index(name) for name in shown])).ceiling
    usable = np.flatnonzero(np.isfinite(found.accuracy))
    assert len(usable) > 20 and f"{len(names)} test images" in found.accuracy_name
    for voxel in usable[::5]:
        r = pearsonr(predicted[:, voxel], measured[:, voxel]).statistic
        # the ceiling draws its halves by the order of the images, which differs here
        assert found.accuracy[voxel] == pytest.approx(r / ceiling[voxel], rel=0.1, abs=0.03)
    assert (np.nan_to_num(ceiling[~np.isfinite(found.accuracy)]) < 0.3).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("split", "sub-01 has no test trials"),
        ("repeat", "no noise ceiling: no image of split 'test' has more than one trial"),
        ("images", "sub-01 has 2 test images, a correlation needs 3"),
    ],
)
def test_without_test_trials_or_repeats_there_is_no_accuracy_and_the_maps_say_why(trained, tiny_subject, change, reason):
    loaded = open_run(trained / "gaziv", tiny_subject, "cpu")
    trials = loaded.subject.trials.copy()
    test = trials["split"] == "test"
    again = test & trials.duplicated(["stimulus_id"])
    few = test & ~trials["stimulus_id"].isin(trials.loc[test, "stimulus_id"].unique()[:2])
    trials.loc[{"split": test, "repeat": again, "images": few}[change], "split"] = "aside"
    bare = replace(loaded, subject=replace(loaded.subject, trials=trials))
    nowhere = np.full(loaded.voxel_index.size, np.nan, dtype=np.float32)
    found = with_accuracy(RetinotopicMap(nowhere, nowhere, nowhere, nowhere, 12.0), bare, CancelToken())
    assert reason in found.accuracy_name and found.accuracy is None and found.ceiling is None
    assert (found.prediction is not None) == (change == "repeat")


def test_a_system_without_an_encoder_has_decoder_fields(trained, tiny_subject, tmp_path):
    """Ridge maps responses to pixels linearly: its fields are the columns of its own matrix."""
    results = run(tmp_path / "out", run=str(trained / "ridge"), side="decoder", settings={"n_patterns": 1, "max_spread": 1, "power": 1})
    summary = json.loads((results / "summary.json").read_text())
    assert "agreement" not in summary and summary["used"]["quality"] == "peak"
    assert not (results / "agreement.tsv").exists()
    found = mapped(results, "decoder", trained / "ridge", tiny_subject)
    assert np.isfinite(found.x0_deg).mean() > 0.9


def test_fields_that_a_model_states_are_used(trained, tiny_subject, tmp_path, monkeypatch):
    system = trained / "gaziv"
    settings = {"n_images": 1, "max_spread": 1}
    plain = mapped(run(tmp_path / "plain", run=str(system), settings=settings), "encoder", system, tiny_subject)
    n = len(plain.x0_deg)
    own = RetinotopicMap(*np.full((4, n), 2.5, np.float32), field_of_view_deg=12.0, quality_name="confidence", source="own fields")
    monkeypatch.setattr(Method, "receptive_fields", lambda self: own)
    results = run(tmp_path / "mean", run=str(system), settings={**settings, "centre": "mean", "size": "model", "quality": "model"})
    summary = json.loads((results / "summary.json").read_text())
    assert summary["used"] == {"centre": "mean", "size": "model", "quality": "model"} and summary["quality"] == "confidence"
    assert summary["source"] == "mean of encoder gradients of gaziv and own fields; sizes: own fields"
    mean = mapped(results, "encoder", system, tiny_subject)
    np.testing.assert_allclose(mean.x0_deg, (plain.x0_deg + 2.5) / 2, atol=1e-4)
    np.testing.assert_allclose(mean.sigma_deg, 2.5, atol=1e-5)


def test_mistakes_are_refused_before_anything_is_written(trained, tmp_path):
    with pytest.raises(NotSupportedError, match="read the decoder's with side=decoder"):
        run(tmp_path / "out", run=str(trained / "ridge"))
    with pytest.raises(MissingDataError, match="holds no map of x0"):
        run(tmp_path / "out", run=str(trained / "gaziv"), side="decoder", compare=str(tmp_path))
    with pytest.raises(NotSupportedError, match="no receptive fields of its own"):
        run(tmp_path / "own", run=str(trained / "gaziv"), settings={"centre": "model", "n_images": 1})
