"""The whole sheet on the smallest subject: a short one is extended, controls come out as controls, the same seed gives the same numbers."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.config.defaults import DEMO_METHOD
from brain2pix.data.splits import evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.training.run_folder import load_model

pytestmark = pytest.mark.slow

ROWS = ("full", "supervised", "images", "inductive", "ridge_pairs", "ridge_unpaired", "shuffled")


def run_demo(folder, *options):
    command = [str(Path(sys.executable).with_name("brain2pix")), "demo", "--preset", "tiny", "--out", str(folder), "--no-window", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def read_scores(folder):
    return json.loads((folder / "scores.json").read_text())


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A short demo, then asked again for all rows; with what the first call had trained, by time of writing."""
    folder = tmp_path_factory.mktemp("demo") / "extended"
    run_demo(folder)
    before = {file: file.stat().st_mtime_ns for file in (folder / "runs").rglob("model.safetensors")}
    run_demo(folder, "--scores", "full")
    return folder, before


@pytest.fixture(scope="module")
def folder(extended):
    return extended[0]


@pytest.fixture(scope="module")
def scores(folder):
    return read_scores(folder)


@pytest.fixture(scope="module")
def lines(folder):
    with (folder / "scores.tsv").open() as file:
        return {(line["part"], line["row"], line["score"]): line for line in csv.DictReader(file, delimiter="\t")}


@pytest.fixture(scope="module")
def test_set(folder):
    method = load_model(folder / "runs" / DEMO_METHOD)
    return evaluation_set(open_subject(folder / "subject"), method.info.subjects[0].voxel_index, "test", method.image_size)


def number(line, column="value"):
    return float(line[column])


def test_what_was_trained_is_not_trained_again(extended):
    folder, before = extended
    assert len(before) == 5  # full, supervised, the two ridges, null
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(list((folder / "runs").rglob("model.safetensors"))) == 10  # images, two folds, shuffled, untrained


def test_every_row_is_filled(scores):
    for row in ROWS:
        for measure in ("pixel", "independent"):
            assert all(0 <= scores["identification"][row][measure][n] <= 100 for n in ("2", "10", "within_photo"))
        values = [scores["ssim"][row], scores["pixel_r"][row], *(scores["microstimulation"][part][row] for part in ("rows", "control"))]
        assert all(value is not None for value in values)
    for row, values in scores["prf_rows"].items():
        assert None not in values.values(), row


def test_the_system_knows_more_than_its_control(scores, lines):
    pixel = {row: scores["identification"][row]["pixel"] for row in ROWS}
    assert pixel["full"]["2"] > pixel["shuffled"]["2"] + 10
    null, spread = lines["null", "shuffled", "pixel 10-way"], number(lines["null", "shuffled", "pixel 10-way SD"])
    assert number(null) == pytest.approx(10, abs=1)
    assert abs(pixel["shuffled"]["10"] - number(null)) < 3 * spread
    assert pixel["full"]["10"] > number(null, "high")
    shares = scores["microstimulation"]
    assert shares["rows"]["full"] > shares["control"]["full"]


def test_the_map_is_owed_to_the_pairs(scores, lines):
    maps = scores["prf_rows"]
    assert maps["permuted"]["median_angle_error_deg"] > 60 > maps["full"]["median_angle_error_deg"]
    assert maps["permuted"]["median_error_deg"] > maps["full"]["median_error_deg"]
    assert maps["permuted"]["fisher_lee"] < maps["full"]["fisher_lee"]
    relative = {row: number(lines["encoder", row, "median_r_over_ceiling"]) for row in ("full", "untrained", "permuted")}
    assert relative["full"] > relative["permuted"] + 0.3
    assert abs(relative["permuted"]) < 0.5  # two standard deviations: voxels err together, and there are 20 images
    assert ("prf", "permuted V1", "median_error_deg") in lines


def test_references_rise_with_their_resolution(lines):
    for score in ("pixel 10-way", "independent 10-way"):
        values = [number(lines["identification", f"true image at {size} x {size} px", score]) for size in (4, 6)]
        assert number(lines["identification", "flat picture, mean colour", score]) < values[0] <= values[1]
    assert "true image at" in lines["pixel_r", "full", "pixel r"]["note"]


def test_differences_lie_in_their_intervals(scores, lines):
    for other in ("supervised", "ridge_unpaired", "ridge_pairs"):
        line = lines["difference", f"full - {other}", "pixel 10-way"]
        rows = scores["identification"]
        assert number(line) == pytest.approx(rows["full"]["pixel"]["10"] - rows[other]["pixel"]["10"], abs=1e-3)
        assert number(line, "low") <= number(line) <= number(line, "high")


def test_each_fold_is_decoded_by_the_system_that_has_not_seen_it(folder, test_set):
    table = pd.read_csv(folder / "subject" / "stimuli" / "stimuli.tsv", sep="\t").set_index("stimulus_id")
    photos = table.loc[test_set.stimulus_ids, "source"].to_numpy()
    found = np.load(folder / "results" / "reconstructions.npz")["reconstructions_inductive"]
    unseen = []
    for fold in (0, 1):
        run = folder / "runs" / f"inductive_{fold}"
        excluded = json.loads((run / "settings.json").read_text())["settings"]["repeats"]["exclude"]
        assert not set(photos[excluded]) & set(np.delete(photos, excluded)), "a photo on both sides"
        batch = VoxelBatch(torch.from_numpy(test_set.responses))
        with torch.no_grad():
            made = load_model(run).decode(batch).mul(255).round().byte().permute(0, 2, 3, 1).numpy().astype(int)
        gap = np.abs(made - found).reshape(len(made), -1).max(axis=1)
        assert gap[excluded].max() <= 1  # batches of another size round differently
        assert np.delete(gap, excluded).min() > 1
        unseen += excluded
    assert sorted(unseen) == list(range(len(photos)))


@pytest.mark.parametrize(("row", "lender"), [("images", DEMO_METHOD), ("inductive_0", DEMO_METHOD), ("shuffled", "null")])
def test_rows_share_their_encoder(folder, test_set, row, lender):
    images = torch.from_numpy(test_set.images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        taken, own = (load_model(folder / "runs" / name).encode(images).values for name in (row, lender))
    assert torch.equal(taken, own)


def test_the_same_seed_gives_the_same_sheet(folder, scores, tmp_path):
    """Asked for at once, without the detour over the short sheet."""
    run_demo(tmp_path / "again", "--scores", "full")
    again = read_scores(tmp_path / "again")
    assert {**again, "seconds": None} == {**scores, "seconds": None}
