"""Splits beside the test images: imagined images, imagined words without a picture, single trials, one or two images."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from brain2pix.arrays import VoxelBatch
from brain2pix.compute.export.write import export
from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.kinds import job_kind
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.stimulator import Stimulator
from brain2pix.config.export import ExportSettings
from brain2pix.data.image_scores import read_image_scores
from brain2pix.data.splits import evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError
from brain2pix.evaluation.report import read_lines
from brain2pix.events import Message, ignore
from brain2pix.stimulation import read_record

SEEN = [f"test-{number:04d}" for number in range(1, 6)]  # imagined twice each, and seen six times
WORDS = {"test-0006": "word-a", "test-0007": "word-b"}  # imagined from a word: no picture


def change_trials(root: Path, change) -> None:
    """Rewrite the table of trials, and drop the copy of it in the file of responses."""
    (betas,) = root.glob("sub-01/func/*_betas.h5")
    table = pd.read_csv(betas.with_suffix(".tsv"), sep="\t", keep_default_na=False)
    change(table)
    table.to_csv(betas.with_suffix(".tsv"), sep="\t", index=False)
    with h5py.File(betas, "a") as file:
        del file["trials"]


def imagine(table: pd.DataFrame) -> None:
    last = (table["split"] == "test") & (table["repeat"] >= 7)
    table.loc[last & table["stimulus_id"].isin([*SEEN, *WORDS]), "split"] = "imagery"
    table["stimulus_id"] = table["stimulus_id"].where(table["split"] != "imagery", table["stimulus_id"].replace(WORDS))


@pytest.fixture
def imagery(tiny_copy: Path) -> Path:
    change_trials(tiny_copy, imagine)
    return tiny_copy


def run(kind: str, folder: Path, sink=ignore, **params) -> Path:
    assert run_job(JobSpec(kind, {"device": "cpu", **params}, folder), sink) == "finished"
    return folder / "results"


def said(events) -> str:
    return "\n".join(event.text for event in events.of(Message))


def lines_of(results: Path) -> dict:
    return {(line.part, line.row, line.score): line for line in read_lines(results / "scores.tsv")}


def test_imagined_words_are_decoded_and_imagined_images_scored(trained, imagery, tmp_path, events) -> None:
    results = run("decode", tmp_path / "out", events, run=str(trained / "ridge"), subject=str(imagery), split="imagery")
    about = json.loads((results / "reconstructions.json").read_text())
    assert about["stimulus_ids"][:5] == SEEN and set(about["stimulus_ids"][5:]) == set(about["without_picture"]) == set(WORDS.values())
    assert "2 of 7 stimuli of split 'imagery' have no picture" in said(events) and about["notes"] == [said(events)]
    made = np.load(results / "reconstructions.npy")
    subject = open_subject(imagery)
    trials, method = subject.trials, open_run(trained / "ridge", imagery, "cpu").method
    rows = np.flatnonzero((trials["stimulus_id"] == "word-b") & (trials["split"] == "imagery"))
    assert rows.size == 2
    mean = subject.responses(rows, method.info.subjects[0].voxel_index).mean(axis=0)
    import torch

    expected = method.decode(VoxelBatch(torch.from_numpy(mean[None]))).mul(255).round().byte().permute(0, 2, 3, 1).numpy()[0]
    assert np.abs(made[about["stimulus_ids"].index("word-b")].astype(int) - expected).max() <= 1
    scores = read_image_scores(results)["full"]
    stimuli = subject.images(SEEN)
    r = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(made, stimuli, strict=False)]
    np.testing.assert_allclose(scores.values["pixel_r"][:5], r, atol=1e-4)
    assert np.isnan(scores.values["pixel_r"][5:]).all() and np.isnan(scores.values["beaten"][5:]).all() and scores.n_scored == 5
    assert scores.means["pixel_r"].value == pytest.approx(np.mean(r), abs=1e-4)
    every = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in stimuli] for a in made[:5]])
    beaten = [(np.delete(every[row], row) < every[row, row]).mean() for row in range(5)]
    np.testing.assert_allclose(scores.values["beaten"][:5], beaten, atol=1e-6)


def test_an_evaluation_says_what_is_left_out(trained, imagery, tmp_path, events) -> None:
    results = run("evaluate", tmp_path / "out", events, run=str(trained / "gaziv"), subject=str(imagery), split="imagery")
    text = said(events)
    assert "2 of 7 stimuli of split 'imagery' have no picture" in text
    assert "10-way, 50-way identification is left out: split 'imagery' has 5 images with a picture" in text
    lines = lines_of(results)
    assert ("identification", "gaziv", "pixel 5-way") in lines and ("identification", "gaziv", "pixel 10-way") not in lines
    assert lines["identification", "gaziv", "pixel 5-way"].n == 5
    assert lines["encoder", "gaziv", "median_r"].n == json.loads((results / "about.json").read_text())["n_voxels"]
    about = json.loads((results / "encoder_voxels.json").read_text())
    assert (about["Split"], about["Images"], about["Repeats"]) == ("imagery", 5, [2, 2])
    assert list(results.glob("*_desc-imagery_prediction.nii.gz"))


def test_words_alone_cannot_be_compared_but_decoded(trained, tiny_copy, tmp_path) -> None:
    def only_words(table: pd.DataFrame) -> None:
        chosen = (table["stimulus_id"] == "test-0006") & (table["repeat"] >= 7)
        table.loc[chosen, ["stimulus_id", "split"]] = ["word-a", "imagery"]

    change_trials(tiny_copy, only_words)
    params = {"run": str(trained / "ridge"), "subject": str(tiny_copy), "split": "imagery"}
    with pytest.raises(ConfigError, match=r"none of the 1 stimuli of split 'imagery' has a picture \(word-a\).*brain2pix classify"):
        run("evaluate", tmp_path / "no", **params)
    results = run("decode", tmp_path / "yes", **params)
    assert len(np.load(results / "reconstructions.npy")) == 1 and not (results / "image_scores.tsv").exists()


def test_single_trials_have_no_ceiling_and_one_image_no_correlation(trained, tiny_copy, tmp_path, events) -> None:
    def split_up(table: pd.DataFrame) -> None:
        first, names = (table["split"] == "test") & (table["repeat"] == 8), table["stimulus_id"]
        table.loc[first & names.isin(SEEN), "split"] = "once"
        table.loc[(table["split"] == "test") & (names == "test-0009"), "split"] = "alone"

    change_trials(tiny_copy, split_up)
    params = {"run": str(trained / "gaziv"), "subject": str(tiny_copy)}
    once = run("evaluate", tmp_path / "once", events, split="once", **params)
    assert "predictions of the encoder have no noise ceiling: no image of split 'once' has more than one trial" in said(events)
    lines = lines_of(once)
    assert ("encoder", "gaziv", "median_r") in lines and ("encoder", "gaziv", "median_r_over_ceiling") not in lines
    table = pd.read_csv(once / "encoder_voxels.tsv", sep="\t", na_values="n/a")
    assert table["r"].notna().all() and table["ceiling"].isna().all() and table["half"].isna().all()
    assert [path.name.split("_")[-1] for path in once.glob("*.nii.gz")] == ["prediction.nii.gz"]
    events.clear()
    alone = run("evaluate", tmp_path / "alone", events, split="alone", **params)
    assert "a correlation needs 3 images, there are 1" in said(events) and "2-way, 5-way, 10-way, 50-way" in said(events)
    assert not (alone / "encoder_voxels.tsv").exists()
    assert {line.part for line in read_lines(alone / "scores.tsv")} == {"ssim", "pixel_r"}


def test_what_was_trained_on_is_named(trained, tiny_subject) -> None:
    loaded = open_run(trained / "ridge", tiny_subject, "cpu")
    (note,) = loaded.notes_on("train")
    assert "are images that the system was trained on" in note and loaded.notes_on("test") == []


def test_imagined_words_are_classified(trained, imagery, tmp_path) -> None:
    """One of the words has a class; there is no stimulus to classify beside its reconstruction."""
    stimuli = imagery / "stimuli" / "stimuli.tsv"
    table = pd.read_csv(stimuli, sep="\t", keep_default_na=False)
    first = table[table["category"] == "object"].iloc[:1]
    word = first.assign(stimulus_id="word-a", file="n/a", split="imagery")
    pd.concat([table, word]).to_csv(stimuli, sep="\t", index=False)
    for row in table[table["split"] == "category_train"].itertuples():
        place = tmp_path / "gallery" / row.category
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(imagery / "stimuli" / row.file, place / f"copy-{row.stimulus_id}.png")
    params = {"run": str(trained / "ridge"), "subject": str(imagery), "split": "imagery", "gallery": str(tmp_path / "gallery")}
    results = run("classify", tmp_path / "out", size=32, per_class=2, **params)
    lines = read_lines(results / "scores.tsv")
    assert {line.row for line in lines} == {"ridge"} and {line.n for line in lines} == {1}
    assert pd.read_csv(results / "classes.tsv", sep="\t")["stimulus_id"].tolist() == ["word-a"]


def test_stimulation_starts_from_imagined_trials_only_when_asked(trained, imagery, tmp_path) -> None:
    stimulator = Stimulator(open_run(trained / "ridge", imagery, "cpu"))
    subject, index = stimulator.trained.subject, stimulator.trained.voxel_index

    def mean_of(split: str) -> np.ndarray:
        rows = np.flatnonzero((subject.trials["stimulus_id"] == SEEN[0]) & (subject.trials["split"] == split))
        return subject.responses(rows, index).mean(axis=0)

    np.testing.assert_allclose(stimulator.base(SEEN[0]), mean_of("test"), atol=1e-5)
    np.testing.assert_allclose(stimulator.base(SEEN[0], split="imagery"), mean_of("imagery"), atol=1e-5)
    rows = np.flatnonzero(subject.trials["stimulus_id"] == "word-a")
    np.testing.assert_allclose(stimulator.base("word-a"), subject.responses(rows, index).mean(axis=0), atol=1e-5)
    with pytest.raises(ConfigError, match="stimulus 'word-a' has no trial of split 'test'; it has trials of imagery"):
        stimulator.base("word-a", split="test")
    with pytest.raises(ConfigError, match="the base 'mean' is the mean of all training trials"):
        stimulator.base("mean", split="imagery")
    with pytest.raises(ConfigError, match="repeat must be a whole number from 1 to 2"):
        stimulator.base(SEEN[0], 3, "imagery")
    asked = {"run": str(trained / "ridge"), "subject": str(imagery), "stimulus": SEEN[0], "split": "imagery", "region": "V1 & L"}
    results = run("stimulate", tmp_path / "first", **asked)
    assert read_record(results / "record.json").split == "imagery"
    again = run("stimulate", tmp_path / "again", run=str(trained / "ridge"), subject=str(imagery), record=str(results / "record.json"))
    assert (again / "before.png").read_bytes() == (results / "before.png").read_bytes()
    other = run("stimulate", tmp_path / "seen", **{**asked, "split": None})
    assert (other / "before.png").read_bytes() != (results / "before.png").read_bytes()


def test_parts_of_a_set_keep_their_trials(imagery) -> None:
    subject = open_subject(imagery)
    index = np.arange(4)
    every = evaluation_set(subject, index, "imagery", without_pictures=True)
    seen = evaluation_set(subject, index, "imagery")
    assert set(every.without_picture) == set(WORDS.values()) and (every.images[5:] == 128).all()
    assert seen.stimulus_ids == SEEN and seen.pictured.all()
    np.testing.assert_array_equal(seen.images, every.images[:5])
    np.testing.assert_array_equal(seen.repeats.mean(), every.responses[:5])
    assert np.bincount(seen.repeats.image_index).tolist() == [2] * 5
    kind = job_kind("decode")
    with pytest.raises(ConfigError, match="Did you mean 'imagery'"):
        evaluation_set(subject, index, "imagry")
    assert kind.params(run=Path("x"), split="imagery").split == "imagery"


def test_reconstructions_of_imagery_are_exported_with_what_has_no_picture(trained, imagery, tmp_path) -> None:
    out = run("decode", tmp_path / "decoded", run=str(trained / "ridge"), subject=str(imagery), split="imagery").parent
    export(ExportSettings(folder=out, out=tmp_path / "out", what=("reconstructions",), dpi=72))
    about = json.loads((tmp_path / "out" / "sub-01_reconstructions.json").read_text())
    assert "7 of 7 imagery images" in about["caption"]
    values = dict(zip(about["pictures"]["stimulus_ids"], about["pictures"]["pixel_r"], strict=True))
    assert {name for name, r in values.items() if r is None} == set(WORDS.values())
    assert about["pictures"]["mean_pixel_r_shown"] == pytest.approx(np.mean([values[name] for name in SEEN]))
