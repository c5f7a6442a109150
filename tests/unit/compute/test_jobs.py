"""Jobs on the simulated subject: what goes in, what comes out, which mistakes are refused before anything is written."""

import csv
import json

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.compute.jobs.train import permuted
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.image_scores import fingerprint, read_image_scores
from brain2pix.data.splits import evaluation_set, training_data
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, NotSupportedError
from brain2pix.events import Started
from brain2pix.training.run_folder import load_model


def run(kind, folder, **params):
    assert run_job(JobSpec(kind, {"device": "cpu", **params}, folder)) == "finished"
    return folder / "results"


def test_train_records_every_setting(trained, tiny_subject):
    assert json.loads((trained / "gaziv" / "settings.json").read_text())["settings"]["encoder"]["n_steps"] == 3
    settings = json.loads((trained / "ridge" / "settings.json").read_text())
    assert settings["region"] == "V1 + V2 + V3 - outside"
    assert settings["simulated"] is True
    subject = open_subject(tiny_subject)
    assert settings["n_voxels"] == len(subject.select("V1 + V2 + V3 - outside"))


def test_the_same_job_gives_the_same_system(trained, tiny_subject, tmp_path):
    run("train", tmp_path / "again", subject=str(tiny_subject), method="ridge", preset="tiny")
    first, second = (load_model(place).state_dict() for place in (trained / "ridge", tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_decode_gives_what_the_system_decodes(trained, tiny_subject, tmp_path):
    results = run("decode", tmp_path / "out", run=str(trained / "ridge"))
    about = json.loads((results / "reconstructions.json").read_text())
    images = np.load(results / "reconstructions.npy")
    method, subject = load_model(trained / "ridge"), open_subject(tiny_subject)
    shown = evaluation_set(subject, method.info.subjects[0].voxel_index, "test")
    assert about["stimulus_ids"] == shown.stimulus_ids and about["simulated"] is True
    expected = method.decode(VoxelBatch(torch.from_numpy(shown.responses))).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.abs(images.astype(int) - expected).max() <= 1  # batches of another size round differently
    one = imageio.imread(results / "reconstructions" / f"{shown.stimulus_ids[3]}.png")
    assert np.array_equal(one, images[3])
    sheet = imageio.imread(results / "comparison.png")
    assert np.array_equal(sheet[:32, :32], shown.images[0]) and np.array_equal(sheet[34:66, :32], images[0])
    scores = read_image_scores(results)["full"]
    assert scores.stimulus_ids == shown.stimulus_ids and scores.fingerprint == fingerprint(images)
    expected_r = np.corrcoef(images[3].ravel(), shown.images[3].ravel())[0, 1]
    assert scores.values["pixel_r"][3] == pytest.approx(expected_r, abs=1e-4)
    assert about["stimuli"] == fingerprint(shown.images)


def test_maps_are_volumes_and_surfaces(trained, tmp_path):
    results = run("maps", tmp_path / "out", run=str(trained / "gaziv"), settings={"n_images": 1})
    summary = json.loads((results / "summary.json").read_text())
    assert summary["simulated"] is True
    assert summary["quality"] == "r of the encoder on 12 validation images"
    (quality,) = results.glob("*_quality.nii.gz")
    inside = np.isfinite(nibabel.load(quality).get_fdata())
    assert inside.sum() == summary["n_voxels"]
    assert len(list(results.glob("*hemi-L*_x0.func.gii"))) == 1


def test_evaluate_gives_chance_interval_and_n(trained, tmp_path):
    results = run("evaluate", tmp_path / "out", run=str(trained / "gaziv"))
    assert set(read_image_scores(results)) == {"full"}
    with (results / "scores.tsv").open() as file:
        lines = {(line["row"], line["score"]): line for line in csv.DictReader(file, delimiter="\t")}
    two = lines["gaziv", "pixel 2-way"]
    assert (float(two["chance"]), int(two["n"]), two["unit"]) == (50, 20, "%")
    assert float(two["low"]) <= float(two["value"]) <= float(two["high"])
    assert -1 <= float(lines["gaziv", "median_r"]["value"]) <= 1


def test_stimulate_changes_the_picture_of_the_region_only_by_its_voxels(trained, tmp_path):
    results = run("stimulate", tmp_path / "a", run=str(trained / "ridge"), region="V1 & L", mode="add", amplitude=3.0)
    about = json.loads((results / "stimulation.json").read_text())
    before, after = (imageio.imread(results / f"{name}.png").astype(int) for name in ("before", "after"))
    assert about["n_stimulated"] > 0 and "not of a brain" in about["statement"]
    assert np.abs(after - before).mean() / 255 == pytest.approx(about["mean_absolute_change"], abs=1e-6)
    assert about["mean_absolute_change"] > 0
    nothing = run("stimulate", tmp_path / "b", run=str(trained / "ridge"), region="V1 & L", mode="scale", amplitude=1.0)
    assert json.loads((nothing / "stimulation.json").read_text())["mean_absolute_change"] == 0


def test_permuted_pairs_keep_everything_but_the_pairing(tiny_subject):
    data = training_data(open_subject(tiny_subject))
    control = permuted(data, seed=0)
    assert sorted(control.image_index) == sorted(data.image_index)
    assert (control.image_index == data.image_index).mean() < 0.05
    assert np.array_equal(control.responses, data.responses)
    assert np.array_equal(control.image_index, permuted(data, seed=0).image_index)
    assert not np.array_equal(control.image_index, permuted(data, seed=1).image_index)


def test_pairs_from_an_encoder(trained, tiny_subject, tmp_path):
    params = {"subject": str(tiny_subject), "method": "ridge", "preset": "unpaired", "pairs_from": str(trained / "gaziv")}
    run("train", tmp_path / "ok", **params)
    settings = json.loads((tmp_path / "ok" / "settings.json").read_text())
    assert settings["n_trials"] == 400  # one for each image without a response
    with pytest.raises(ConfigError, match=r"the encoder in .*gaziv reads \d+ voxels, region 'V2' has \d+ others; leave the region out"):
        run("train", tmp_path / "other", region="V2", **params)
    with pytest.raises(NotSupportedError, match="ridge has no encoder"):
        run("train", tmp_path / "ridge", **{**params, "pairs_from": str(trained / "ridge")})
    assert sorted(place.name for place in tmp_path.iterdir()) == ["ok"]


def test_an_adopted_encoder_is_not_trained_again(trained, tiny_subject, tmp_path, events):
    lender = trained / "gaziv"
    short = {"encoder.n_steps": 3, "encoder.check_every": 3, "decoder.n_steps": 2}
    params = {"subject": str(tiny_subject), "preset": "tiny", "settings": {**short, "weight_fmri": 0, "snr_source": "none"}, "seed": 5}
    spec = JobSpec("train", {"device": "cpu", "encoder_from": str(lender), **params}, tmp_path / "run")
    assert run_job(spec, events) == "finished"
    assert [event.stage for event in events.of(Started)] == ["decoder"]
    own, adopted = (load_model(place).state_dict() for place in (lender, tmp_path / "run"))
    names = [name for name in own if name.startswith("encoder.") or name in ("held_out_r", "best_step", "backbone")]
    assert len(names) > 8
    for name in names:
        assert torch.equal(own[name], adopted[name]), name
    assert not torch.equal(own["decoder.fc.weight"], adopted["decoder.fc.weight"])
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["region"] == "V1 - outside"  # the lender's, not the default


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"settings": {"encoder.n_steps": 4}}, "with other settings: encoder.check_every is 3, not 15; encoder.n_steps is 3, not 4"),
        ({"region": "V2 - outside"}, r"to take reads \d+ voxels of sub-01 .* this system \d+ of sub-01 .* same subject, region"),
        ({"image_size": 64}, r"images of 32 px, .* 64 px; give a run on the same subject, region and image size"),
        ({"encoder_from": "ridge"}, "gaziv cannot take the encoder of ridge; give a run of gaziv"),
    ],
)
def test_an_encoder_that_is_another_is_refused(trained, tiny_subject, tmp_path, params, text):
    lender = trained / params.pop("encoder_from", "gaziv")
    with pytest.raises(ConfigError, match=text):
        run("train", tmp_path / "run", subject=str(tiny_subject), preset="tiny", encoder_from=str(lender), **params)
    assert list(tmp_path.iterdir()) == []


def test_a_method_without_encoder_takes_none(trained, tiny_subject, tmp_path):
    with pytest.raises(NotSupportedError, match="ridge has no encoder that another run could lend it"):
        run("train", tmp_path / "run", subject=str(tiny_subject), method="ridge", preset="tiny", encoder_from=str(trained / "gaziv"))


def test_inductive_training_gets_no_test_responses(tiny_subject, tmp_path):
    settings = {"encoder.n_steps": 2, "decoder.n_steps": 2, "weight_fmri": 0, "snr_source": "none"}
    run("train", tmp_path / "run", subject=str(tiny_subject), preset="tiny", region="V1v - outside", settings=settings, repeats_split=None)
    assert load_model(tmp_path / "run").info.transductive == ()


def test_subject_that_moved(trained, tiny_copy, tmp_path):
    copied = json.loads((trained / "ridge" / "job.json").read_text())
    place = tmp_path / "moved"
    (place / "model").mkdir(parents=True)
    for file in (trained / "ridge" / "model").iterdir():
        (place / "model" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(MissingDataError, match="does not say where its subject lies; give it with --subject"):
        run("decode", tmp_path / "a", run=str(place))
    copied["params"]["subject"] = str(tmp_path / "gone")
    (place / "job.json").write_text(json.dumps(copied))
    with pytest.raises(MissingDataError, match="is not there any more; give its new place with --subject"):
        run("decode", tmp_path / "b", run=str(place))
    run("decode", tmp_path / "c", run=str(place), subject=str(tiny_copy))


def test_maps_need_an_encoder(trained, tmp_path):
    with pytest.raises(NotSupportedError, match="has no encoder to read receptive fields from"):
        run("maps", tmp_path / "out", run=str(trained / "ridge"))


@pytest.mark.parametrize(
    ("kind", "params", "error", "text"),
    [
        ("decode", {"split": "tset"}, ConfigError, "unknown split 'tset'. Did you mean 'test'?"),
        ("stimulate", {"region": "V9"}, ConfigError, "region 'V9': unknown area 'V9'"),
        ("stimulate", {"region": "V1 - V1"}, ConfigError, "selects no voxel"),
        ("stimulate", {"region": "V1", "stimulus": "tset-0001"}, ConfigError, "unknown stimulus 'tset-0001'. Did you mean 'test-0001'?"),
        ("stimulate", {"region": "V1", "mode": "ad"}, ConfigError, "option 'mode'"),
        ("maps", {"preset": "papr"}, ConfigError, "unknown prf preset 'papr'. Did you mean 'paper'?"),
    ],
)
def test_mistakes_leave_nothing(trained, tmp_path, kind, params, error, text):
    with pytest.raises(error) as caught:
        run(kind, tmp_path / "out", run=str(trained / "gaziv"), **params)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_damaged_model(run_folder, tmp_path):
    file = run_folder / "ridge" / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataFormatError, match="truncated or was changed"):
        run("decode", tmp_path / "out", run=str(run_folder / "ridge"))
    assert not (tmp_path / "out").exists()


def test_backbone_from_permitted_images(tmp_path):
    run("backbone", tmp_path / "run", n_images=64, image_size=32, settings={"steps": 2, "batch": 16})
    card = (tmp_path / "run" / "results" / "tiny.toml").read_text()
    assert "brain2pix weights train --n-images 64 --image-size 32 --seed 0 --set steps=2 --set batch=16" in card
    assert (tmp_path / "run" / "results" / "tiny.safetensors").stat().st_size < 2 * 2**20
