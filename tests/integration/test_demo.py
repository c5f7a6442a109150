"""The whole main job through the command line, on the smallest subject: what it leaves, what it says, and that it never invents a score."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brain2pix.config.defaults import DEMO_METHOD

ROWS_COMPUTED = ("full", "supervised", "ridge_pairs", "ridge_unpaired")


def run_demo(folder, *options):
    command = [str(Path(sys.executable).with_name("brain2pix")), "demo", "--preset", "tiny", "--out", str(folder), "--no-window", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "tiny"
    done = run_demo(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


@pytest.fixture(scope="module")
def scores(demo):
    return json.loads((demo[0] / "scores.json").read_text())


def test_everything_is_where_it_says(demo):
    folder, said = demo
    run = f"runs/{DEMO_METHOD}"
    for name in ("subject/dataset_description.json", "subject-truth", f"{run}/model/model.safetensors", f"{run}/metrics.csv",
                 "results/reconstructions.npz", "scores.json", "scores.tsv"):  # fmt: skip
        assert (folder / name).exists(), name
    assert len(list((folder / "maps").glob("*_x0.nii.gz"))) == 1
    assert len(list((folder / "maps").glob("*hemi-*.gii"))) >= 8
    assert len(list((folder / "figures").glob("*.png"))) >= 4
    assert str(folder) in said and "simulated subject" in said


def test_what_was_not_computed_is_null(scores):
    assert set(scores["identification"]) == set(scores["ssim"]) == {*ROWS_COMPUTED, "images", "inductive", "shuffled"}
    for row in ("images", "inductive", "shuffled"):
        assert scores["identification"][row] is None
        assert [scores["ssim"][row], scores["pixel_r"][row], scores["microstimulation"]["rows"][row]] == [None] * 3
    for row in ROWS_COMPUTED:
        for measure in ("pixel", "independent"):
            ways = scores["identification"][row][measure]
            assert ways["50"] is None, "the smallest subject has 20 test images"
            assert all(0 <= ways[n] <= 100 for n in ("2", "10", "within_photo"))
        shares = scores["microstimulation"]
        assert 0 <= shares["rows"][row] <= 1 and 0 <= shares["control"][row] <= 1
    assert (scores["preset"], scores["seed"], scores["method"]) == ("tiny", 0, DEMO_METHOD)
    assert shares["quadrant_share"] == shares["rows"]["full"]
    assert [row for row, values in scores["prf_rows"].items() if values is not None] == ["full", "permuted"]
    for name, value in scores["prf"].items():
        row, field = ("permuted", "median_angle_error_deg") if name == "null_angle_error_deg" else ("full", name)
        assert scores["prf_rows"][row][field] == value
    assert scores["seconds"]["train"] > 0


def test_identification_agrees_with_drawn_distractors(demo, scores, rng):
    results = np.load(demo[0] / "results" / "reconstructions.npz")
    flat = {name: results[name].reshape(len(results[name]), -1).astype(float) for name in ("stimuli", "reconstructions")}
    n_images = len(flat["stimuli"])
    r = np.corrcoef(flat["reconstructions"], flat["stimuli"])[:n_images, n_images:]
    hits = []
    for _ in range(3000):
        image = rng.integers(n_images)
        others = rng.choice(np.delete(np.arange(n_images), image), 9, replace=False)
        hits.append(r[image, image] > r[image, others].max())
    error = 3 * math.sqrt(0.25 / len(hits))
    assert np.mean(hits) == pytest.approx(scores["identification"]["full"]["pixel"]["10"] / 100, abs=error)


def test_maps_lie_on_the_subject_and_see_the_opposite_field(demo):
    folder = demo[0]
    x0 = nibabel.load(next((folder / "maps").glob("*_x0.nii.gz")))
    quality = nibabel.load(next((folder / "maps").glob("*_quality.nii.gz"))).get_fdata()
    regions = nibabel.load(next((folder / "subject").rglob("*_seg-visual_dseg.nii.gz")))
    np.testing.assert_allclose(x0.affine, regions.affine)
    values = x0.get_fdata()
    found = np.isfinite(values) & (quality > 0.3)
    assert (regions.get_fdata()[found] > 0).all()
    x_mm = nibabel.affines.apply_affine(x0.affine, np.argwhere(found))[:, 0]
    assert np.mean(values[found][x_mm < -4]) > 0 > np.mean(values[found][x_mm > 4])


def test_a_second_run_repeats_nothing(demo):
    folder = demo[0]
    before = {file: file.stat().st_mtime_ns for file in (folder / "runs").rglob("model.safetensors")}
    again = run_demo(folder)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--seed", "1"), ("'seed': 0", "'seed': 1", "--out")),
        (("--method", "ridge"), ("ridge has no encoder, and the demo maps receptive fields; choose one of: ",)),
        (("--method", "gazib"), ("unknown method 'gazib'. Did you mean 'gaziv'?",)),
    ],
)
def test_what_the_folder_or_the_program_does_not_have_is_refused(demo, options, texts):
    before = sorted(demo[0].rglob("*"))
    refused = run_demo(demo[0], *options)
    assert refused.returncode == 1
    assert all(text in " ".join(refused.stderr.split()) for text in texts)
    assert "Traceback" not in refused.stderr
    assert sorted(demo[0].rglob("*")) == before


def test_another_method_in_the_same_folder_is_refused(tmp_path):
    """Told by the note in the folder alone, before anything is trained."""
    (tmp_path / "demo.json").write_text(json.dumps({"preset": "tiny", "seed": 0, "method": "another"}))
    refused = run_demo(tmp_path, "--scores", "full")
    assert refused.returncode == 1
    assert "'method': 'another'" in refused.stderr and f"'method': '{DEMO_METHOD}'" in refused.stderr
    assert [place.name for place in tmp_path.iterdir()] == ["demo.json"]


def test_without_the_truth_its_scores_are_null_and_nothing_else_changes(demo, scores, tmp_path):
    # the runs name their subject by path: take it away in place, then bring it back
    folder = demo[0]
    truth = folder / "subject-truth"
    shutil.move(truth, tmp_path / "truth")
    try:
        done = run_demo(folder)
        assert done.returncode == 0, done.stderr
        blind = json.loads((folder / "scores.json").read_text())
    finally:
        shutil.move(tmp_path / "truth", truth)
    assert blind["prf"] == dict.fromkeys(scores["prf"])
    assert blind["prf_rows"] == dict.fromkeys(scores["prf_rows"])
    nothing = dict.fromkeys(scores["ssim"])
    assert blind["microstimulation"] == {"quadrant_share": None, "rows": nothing, "control": nothing}
    assert blind["identification"] == scores["identification"]
    assert blind["ssim"] == scores["ssim"]
