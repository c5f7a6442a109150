"""From published files to a subject that opens, and on which a system trains."""

import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data import open_subject
from brain2pix.errors import ConfigError
from brain2pix.events import CancelToken, Message, Progress

sys.path.append(str(Path(__file__).parents[1] / "unit" / "data" / "readers" / "helpers"))

from published import God, Vim1


@pytest.fixture(scope="module")
def god():
    return God(n_train=24, n_test=6, n_voxels=100)


@pytest.fixture(scope="module")
def files(god, tmp_path_factory):
    """One folder with the files of a subject."""
    folder = tmp_path_factory.mktemp("god")
    god.write_images(folder / "pictures")
    god.write_matlab(folder / "Subject1.mat")
    return folder


def run(*arguments):
    return run_arguments([str(argument) for argument in arguments])


def assert_same(subject, god):
    """The subject holds what the fixture wrote: voxels and trials in their order, values, repeats, areas."""
    assert list(subject.trials["stimulus_id"]) == list(god.trials["stimulus_id"])
    assert list(subject.trials["split"]) == list(god.trials["split"]) and list(subject.trials["run"]) == list(god.trials["run"])
    np.testing.assert_array_equal(subject._betas.read(np.arange(len(god.xyz))), god.responses.astype(np.float32))
    np.testing.assert_allclose(subject.xyz, god.xyz, atol=1e-3)
    for name, mask in god.areas.items():
        np.testing.assert_array_equal(subject.areas[name], mask)
    shown = [*god.train, *god.test]
    np.testing.assert_array_equal(subject.images(shown), np.stack([god.images[name] for name in shown]))


def test_matlab_file_to_trained_system(god, files, tmp_path, capfd):
    out = tmp_path / "god"
    assert run("import", "auto", files / "Subject1.mat", out, "--images", files / "pictures") == 0
    said = capfd.readouterr().out
    for part in (
        "sub-01 of Generic Object Decoding",
        "test: 18 of 6 stimuli, 3 each",
        "left hemisphere prefers the right field",
        f"imported: {out}",
    ):
        assert part in said, said
    assert "WARNING" not in said and "warning" not in said
    subject = open_subject(out)
    assert_same(subject, god)
    assert subject.field_of_view_deg == 12 and subject.unit == "z-train" and not subject.simulated
    assert run("inspect", out) == 0
    assert "imagery: 8 of 4 images, 2 each" in capfd.readouterr().out
    trained = tmp_path / "run"
    assert run("train", out, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", trained) == 0
    assert run("decode", trained, "--device", "cpu") == 0
    assert json.loads((trained / "status.json").read_text())["state"] == "finished"
    # what was imagined are classes without a picture: their responses are decoded, and nothing is compared
    assert run("decode", trained, "--device", "cpu", "--split", "imagery") == 0
    about = json.loads((trained / "decode-imagery" / "results" / "reconstructions.json").read_text())
    assert set(about["without_picture"]) == set(about["stimulus_ids"]) == set(god.trials["stimulus_id"][god.trials["split"] == "imagery"])
    assert len(np.load(trained / "decode-imagery" / "results" / "reconstructions.npy")) == 4
    capfd.readouterr()
    assert run("evaluate", trained, "--device", "cpu", "--split", "imagery") == 1
    assert "none of the 4 stimuli of split 'imagery' has a picture" in capfd.readouterr().err


@pytest.mark.parametrize("zscore", ["none", "run"])
def test_voxels_that_are_not_finite(god, files, tmp_path, capfd, zscore):
    path = tmp_path / "Subject1.mat"
    matrix = god.table(god.labels())[0]
    matrix[4, 3 + 10], matrix[:, 3 + 20] = np.nan, np.inf
    god.write_matlab(path, dataSet=matrix)
    assert run("import", "auto", path, tmp_path / "out", "--images", files / "pictures", "--zscore", zscore) == 0
    assert "2 voxels have responses that are not finite" in capfd.readouterr().out
    subject = open_subject(tmp_path / "out")
    np.testing.assert_allclose(subject.xyz, np.delete(god.xyz, [10, 20], axis=0), atol=1e-3)
    assert subject.dropped and subject.unit == ("z-run" if zscore == "run" else "z-train")


@pytest.mark.parametrize("write", ["write_hdf5", "write_splits"])
def test_other_releases_give_the_same_subject(god, files, tmp_path, write):
    path = god.write_hdf5(tmp_path / "Subject1.h5") if write == "write_hdf5" else god.write_splits(tmp_path)[0]
    assert run("import", "god-hdf5", path, tmp_path / "out", "--images", files / "pictures") == 0
    assert_same(open_subject(tmp_path / "out"), god)


def test_npz_release_to_trained_system(god, tmp_path, capfd):
    path = god.write_npz(tmp_path / "sbj_1.npz")
    god.write_npz_images(tmp_path / "images_112.npz")
    out = tmp_path / "out"
    assert run("import", "auto", path, out) == 0
    assert "left and right were not checked" in capfd.readouterr().out
    subject = open_subject(out)
    rows = np.concatenate([god.rows["train"], god.rows["test"]])
    np.testing.assert_array_equal(subject._betas.read(np.arange(100)), god.responses[rows].astype(np.float32))
    np.testing.assert_array_equal(subject.areas["FFA"], god.areas["FFA"])
    assert run("train", out, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", tmp_path / "run") == 0


def test_vim1_to_trained_system(tmp_path, capfd):
    vim1, out = Vim1(), tmp_path / "out"
    vim1.write_responses(tmp_path / "EstimatedResponses.mat")
    vim1.write_stimuli(tmp_path / "Stimuli.mat")
    counts = ("--n-train", vim1.n_train, "--n-validation", vim1.n_validation)
    assert run("import", "vim-1", tmp_path, out, "--subject", "2", *counts) == 0
    said = capfd.readouterr().out
    assert "3 voxels have responses that are not finite" in said and "in which hemisphere" in said
    subject = open_subject(out)
    whole = np.isfinite(np.concatenate([vim1.train, vim1.validation])).all(axis=0)
    assert subject.name == "sub-02" and subject.n_voxels == whole.sum() == 47
    np.testing.assert_array_equal(subject.ijk, vim1.ijk[whole])
    np.testing.assert_array_equal(subject.areas["V3A"], vim1.codes[whole] == 4)
    assert run("train", out, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", tmp_path / "run") == 0


# ---------------------------------------------------------------------- sides


def test_mirrored_coordinates_are_noticed_and_mended(god, files, tmp_path, capfd):
    path = files / "Subject1.mat"
    for flips, warned in ((["--flip", "x"], True), (["--flip-images", "x"], True), (["--flip", "x", "--flip-images", "x"], False)):
        out = tmp_path / "-".join(["out", *flips]).replace("--", "")
        assert run("import", "auto", path, out, "--images", files / "pictures", *flips) == 0
        said = capfd.readouterr().out
        assert ("Nothing was changed; if that is why, import again" in said) == warned, said
        if warned:
            offered = "without --flip x" if flips == ["--flip", "x"] else "with --flip x (the voxel coordinates are mirrored"
            assert offered in said
            assert "left hemisphere follows the LEFT half" in said


def test_pictures_upside_down_are_noticed_where_parts_are_known(god, files, tmp_path, capfd):
    masks = god.write_masks(tmp_path / "masks")
    arguments = ("import", "auto", files / "Subject1.mat", tmp_path / "out", "--images", files / "pictures", "--masks", masks)
    assert run(*arguments) == 0
    assert "ventral V1-V3 prefers the upper field" in capfd.readouterr().out
    assert {"V1v", "V1d"} <= set(open_subject(tmp_path / "out").areas)
    assert run(*arguments[:3], tmp_path / "turned", *arguments[4:], "--flip-images", "y") == 0
    assert "import again without --flip-images y" in capfd.readouterr().out


# ---------------------------------------------------------------------- missing pictures, cancel, resume, inspect


def test_missing_pictures(god, files, tmp_path, capfd):
    pictures = god.write_images(tmp_path / "pictures")
    for name in (god.train[3], god.test[0]):
        (pictures / name.split("_")[0] / f"{name}.png").unlink()
    arguments = ("import", "auto", files / "Subject1.mat", tmp_path / "out", "--images", pictures)
    assert run(*arguments) == 1
    said = capfd.readouterr().err
    assert "2 of 30 stimuli have no picture" in said and god.test[0] in said and "--missing skip" in said
    assert not (tmp_path / "out").exists()
    assert run(*arguments, "--missing", "skip") == 0
    assert "4 trials of 2 stimuli without a picture are left out" in capfd.readouterr().out
    subject = open_subject(tmp_path / "out")
    kept = ~god.trials["stimulus_id"].isin([god.train[3], god.test[0]]).to_numpy()
    assert len(subject.trials) == kept.sum() == len(god.trials) - 4
    np.testing.assert_array_equal(subject._betas.read(np.arange(100)), god.responses[kept].astype(np.float32))


@pytest.mark.parametrize("label", ["pictures", "voxels"])
def test_cancelled_leaves_nothing_and_goes_on(god, files, tmp_path, label):
    out, folder, cancel = tmp_path / "out", tmp_path / "job", CancelToken()
    params = {"source": str(files / "Subject1.mat"), "out": str(out), "images": str(files / "pictures")}
    heard = []

    def sink(event):
        heard.append(event)
        if isinstance(event, Progress) and event.label == label:
            cancel.cancel()

    assert run_job(JobSpec("import", params, folder), sink, cancel) == "cancelled"
    assert {place.name for place in tmp_path.iterdir()} == {"job"}
    assert any(isinstance(event, Progress) for event in heard)
    assert run_job(JobSpec("import", params, folder)) == "finished"
    assert_same(open_subject(out), god)
    assert run_job(JobSpec("import", params, folder)) == "already finished"


def test_a_place_in_use_is_refused_before_any_work(files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    params = {"source": str(files / "Subject1.mat"), "out": str(tmp_path / "out"), "images": str(files / "pictures")}
    with pytest.raises(ConfigError, match="exists and is not an empty folder"):
        run_job(JobSpec("import", params))


def test_what_a_killed_process_left_is_removed(god, files, tmp_path):
    (tmp_path / ".writing-out-abcd1234" / "stimuli").mkdir(parents=True)
    params = {"source": str(files / "Subject1.mat"), "out": str(tmp_path / "out"), "images": str(files / "pictures")}
    assert run_job(JobSpec("import", params, tmp_path / "job")) == "finished"
    assert {place.name for place in tmp_path.iterdir()} == {"job", "out"}


def test_help(capfd):
    assert run("import", "--help") == 0
    said = capfd.readouterr().out
    assert "Usage: brain2pix import" in said and "--flip-images" in said and "--on STR" in said and "--where" not in said


def test_inspect_says_what_a_file_is(god, files, tmp_path, capfd):
    assert run("inspect", files / "Subject1.mat") == 0
    said = capfd.readouterr().out
    assert "MATLAB v5 file of one subject" in said and "brain2pix import god-matlab" in said and "pictures not found" in said
    assert run("inspect", god.write_npz_images(tmp_path / "images_112.npz")) == 0
    assert "sbj_X.npz" in capfd.readouterr().out
    page = tmp_path / "Subject1.mat"
    page.write_text("<html><body>404</body></html>")
    assert run("inspect", page) == 1
    assert "not a MATLAB, HDF5 or npz file; it starts with '<html" in capfd.readouterr().err


def test_messages_come_as_events_too(files, tmp_path):
    heard, thread = [], threading.current_thread()
    params = {"source": str(files / "Subject1.mat"), "out": str(tmp_path / "out"), "images": str(files / "pictures")}
    assert run_job(JobSpec("import", params), lambda event: heard.append((event, threading.current_thread()))) == "finished"
    counted = [event.done for event, _ in heard if isinstance(event, Progress) and event.label == "pictures"]
    assert counted == list(range(1, 31))  # each picture once
    assert any(isinstance(event, Message) and event.text.startswith("sides:") for event, _ in heard)
    assert {where for _, where in heard} == {thread}


def test_a_native_folder_needs_no_import(tiny_subject, tmp_path, capfd):
    assert run("import", "auto", tiny_subject, tmp_path / "out") == 1
    assert "nothing to import if it is in the native format" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
