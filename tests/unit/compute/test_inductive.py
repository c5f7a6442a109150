"""Folds and runs from the command line: trained, inspected, evaluated, decoded, stimulated, classified."""

import json

import numpy as np
import pytest
import torch

from brain2pix.cli._main import run_arguments
from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.compute.runner import run_job
from brain2pix.compute.sheet_rows import open_row
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.stimulator import MEAN, Stimulator
from brain2pix.data.splits import evaluation_set
from brain2pix.evaluation.report import read_lines
from brain2pix.events import CancelToken

QUICK = ("encoder.n_steps=2", "encoder.check_every=2", "encoder.solve_every=2", "decoder.n_steps=2")
USES = ["responses of other test images", "SNR weights of other test images"]


def brain2pix(*arguments):
    assert run_arguments([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def folder(tiny_subject, tmp_path_factory):
    """Run folder of a system with two folds of two runs."""
    out = tmp_path_factory.mktemp("inductive") / "run"
    wanted = [part for setting in (*QUICK, "repeats.folds=2", "decoder.n_runs=2") for part in ("--set", setting)]
    place = ("--region", "V1 - outside", "--device", "cpu", "--out", out)
    brain2pix("train", tiny_subject, "--method", "gaziv", "--preset", "tiny", *wanted, *place)
    return out


@pytest.fixture(scope="module")
def trained(folder):
    return open_run(folder, None, "cpu")


def shown(trained, split="test"):
    return evaluation_set(trained.subject, trained.voxel_index, split, trained.method.image_size)


def by_hand(trained, responses, folds):
    """Pictures of the decoders that are named for each response, uint8 [m h w 3]; None: of all four."""
    made = []
    for response, fold in zip(responses, folds, strict=True):
        numbers = range(4) if fold is None else range(2 * fold, 2 * fold + 2)
        with torch.no_grad():
            pictures = [trained.method.decoders[number](torch.from_numpy(response[None])) for number in numbers]
        made.append(torch.stack(pictures).mean(dim=0)[0].permute(1, 2, 0).mul(255).round().byte().numpy())
    return np.stack(made).astype(int)


def folds_of_images(trained, ids):
    """Find the part of each image by looking through the list that the model tells."""
    return [next((fold for fold, names in enumerate(trained.method.info.folds) if name in names), None) for name in ids]


def test_the_run_says_what_it_saw(folder, trained, capsys):
    test = shown(trained)
    assert sorted(name for names in trained.method.info.folds for name in names) == sorted(test.stimulus_ids)
    for group in np.unique(test.groups):
        own = [name for name, number in zip(test.stimulus_ids, test.groups, strict=True) if number == group]
        assert len(set(folds_of_images(trained, own))) == 1
    stages = (folder / "metrics.csv").read_text()
    assert all(name in stages for name in ("decoder fold 1,", "decoder fold 1 run 2,", "decoder fold 2,", "decoder fold 2 run 2,"))
    brain2pix("inspect", folder)
    assert f"used      {', '.join(USES)} of the test set" in capsys.readouterr().out


def test_test_images_are_decoded_without_having_been_seen(folder, trained, tmp_path):
    brain2pix("decode", folder, "--device", "cpu", "--out", tmp_path / "decoded")
    results = tmp_path / "decoded" / "results"
    test, images = shown(trained), np.load(results / "reconstructions.npy").astype(int)
    assert np.abs(images - by_hand(trained, test.responses, folds_of_images(trained, test.stimulus_ids))).max() <= 1
    assert np.abs(images - by_hand(trained, test.responses, [None] * len(images))).max() > 1
    assert json.loads((results / "reconstructions.json").read_text())["transductive"] == USES
    brain2pix("decode", folder, "--split", "validation", "--device", "cpu", "--out", tmp_path / "validation")
    validation = shown(trained, "validation")
    images = np.load(tmp_path / "validation" / "results" / "reconstructions.npy").astype(int)
    assert np.abs(images - by_hand(trained, validation.responses, [None] * len(images))).max() <= 1


def test_scores_are_those_of_these_pictures(folder, trained, tmp_path):
    brain2pix("evaluate", folder, "--device", "cpu", "--out", tmp_path / "scored")
    results = tmp_path / "scored" / "results"
    assert json.loads((results / "about.json").read_text())["transductive"] == USES
    test = shown(trained)
    images = by_hand(trained, test.responses, folds_of_images(trained, test.stimulus_ids))
    r = [np.corrcoef(made.ravel(), true.ravel())[0, 1] for made, true in zip(images, test.images, strict=True)]
    (value,) = [line.value for line in read_lines(results / "scores.tsv") if (line.row, line.score) == ("gaziv", "pixel r")]
    assert value == pytest.approx(np.mean(r), abs=2e-3)


def test_a_stimulus_keeps_its_decoders_while_it_is_stimulated(trained):
    stimulator = Stimulator(trained)
    for fold, names in enumerate(trained.method.info.folds):
        base = stimulator.base(names[0])
        assert np.abs(stimulator.picture(base, names[0]) - by_hand(trained, base[None], [fold])[0]).max() <= 1
    base = stimulator.base(MEAN)
    assert np.abs(stimulator.picture(base, MEAN) - by_hand(trained, base[None], [None])[0]).max() <= 1


def test_rows_of_a_sheet_know_their_images(folder, trained):
    test = shown(trained)
    row = open_row((folder,), np.zeros(len(test.images), dtype=np.int64), test.stimulus_ids)
    folds = folds_of_images(trained, test.stimulus_ids)
    assert np.abs(row.decode(test.responses, CancelToken()) - by_hand(trained, test.responses, folds)).max() <= 1
    some = np.array([7, 2, 11])
    made = row.decoder_of(some)(test.responses[some]).transpose(0, 2, 3, 1) * 255
    assert np.abs(made - by_hand(trained, test.responses[some], [folds[image] for image in some])).max() <= 1


def test_the_job_that_classifies_names_its_responses(folder, trained, tmp_path, monkeypatch):
    asked = []

    def remember(method, responses, *more):
        asked.append((responses, more[-1]))
        return decode_images(method, responses, *more)

    monkeypatch.setattr("brain2pix.compute.jobs.classify.decode_images", remember)
    params = {"run": str(folder), "gallery": "procedural", "split": "category_test", "size": 32, "per_class": 1, "device": "cpu"}
    assert run_job(JobSpec("classify", params, tmp_path / "out")) == "finished"
    ((responses, ids),) = asked
    every = shown(trained, "category_test")
    place = {name: row for row, name in enumerate(every.stimulus_ids)}
    assert 0 < len(ids) < len(place)
    np.testing.assert_array_equal(responses, every.responses[[place[name] for name in ids]])
