"""The job that classifies reconstructions, on a simulated subject and on a folder of pictures."""

import json
import shutil

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from brain2pix.compute.kinds import job_kind
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.evaluation.report import read_lines

QUICK = {"split": "category_test", "size": 32, "per_class": 2, "device": "cpu"}


def prepare(trained, **params):
    kind = job_kind("classify")
    return kind.load()(kind.params(run=trained / "ridge", **(QUICK | params)))


def classified(trained, out, **params):
    assert run_job(JobSpec("classify", {"run": str(trained / "ridge"), **QUICK, **params}, out)) == "finished"
    return out / "results"


@pytest.fixture
def gallery(tiny_subject, tmp_path):
    """Pictures of the stimuli themselves: those of training, and two of the test."""
    subject = open_subject(tiny_subject)
    for row in subject.stimuli[subject.stimuli["split"].str.startswith("category")].itertuples():
        place = tmp_path / "gallery" / row.category
        place.mkdir(parents=True, exist_ok=True)
        if row.split == "category_train" or row.Index % 2:
            shutil.copy(subject.image_path(row.stimulus_id), place / f"copy-{row.stimulus_id}.png")
    return tmp_path / "gallery"


def test_painted_classes(trained, tmp_path):
    results = classified(trained, tmp_path / "out", gallery="procedural")
    about = json.loads((results / "about.json").read_text())
    assert about["n_classes"] >= 100 and about["network"] == "tiny" and about["simulated"]
    assert any("of no class of the gallery" in note for note in about["notes"])  # faces and digits are not painted
    lines = read_lines(results / "scores.tsv")
    assert {line.row for line in lines} == {"ridge", "stimulus itself"} and all(line.part == "classification" for line in lines)
    value = {(line.row, line.score): line.value for line in lines}
    assert value["stimulus itself", "median rank"] < about["n_classes"] / 4  # chance: half of them
    table = pd.read_csv(results / "classes.tsv", sep="\t")
    assert len(table) == about["n_images"] and np.median(table["rank"]) == value["ridge", "median rank"]
    assert {"true_class", "class_1", "class_5"} <= set(table)
    assert iio.imread(results / "classes.png").shape[1] > 500


def test_a_folder_of_classes_without_the_test_stimuli(trained, gallery, tmp_path):
    results = classified(trained, tmp_path / "out", gallery=str(gallery))
    about = json.loads((results / "about.json").read_text())
    assert about["n_classes"] == 6 and about["n_images"] == 12
    assert any("pictures of the gallery are held-out stimuli and are left out" in note for note in about["notes"])
    table = pd.read_csv(results / "classes.tsv", sep="\t")
    assert set(table["true_class"]) == {"face", "word", "digit", "place", "body", "object"}


def test_what_cannot_be_classified_is_refused(trained, gallery):
    with pytest.raises(ConfigError, match=r"no stimulus of split 'test' has a class of the gallery: stimuli are of .*photo.*sub-folders"):
        prepare(trained, gallery=gallery, split="test")
    with pytest.raises(DataFormatError, match=r"stimuli.tsv has no column 'wordnet' with classes; it has file, split, category"):
        prepare(trained, gallery=gallery, class_column="wordnet")
