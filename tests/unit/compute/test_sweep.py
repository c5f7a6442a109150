"""A sweep runs what is missing, keeps what is there, and its table says what the jobs wrote."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.compute.record import read_events
from brain2pix.compute.sweep import InThisProcess, run_sweep
from brain2pix.compute.sweep_cells import cell_standing, expand, folder_standing, missing_jobs, standings
from brain2pix.config.sweep import SweepPlan
from brain2pix.errors import ComputeError, ConfigError, MissingDataError
from brain2pix.events import CancelToken, Message, Progress
from brain2pix.training.run_folder import RunFolder

SCORES = ["part", "row", "score", "value", "unit", "low", "high", "chance", "n", "note"]
PLAN = """
subjects = [{{ path = "{subject}", name = "tiny" }}]
seeds = {seeds}
regions = ["V1 - outside"]
device = "cpu"

[[methods]]
method = "ridge"
preset = "tiny"
{more}
"""


class Sweep:
    """A plan on disk and the folder that it fills."""

    def __init__(self, place: Path, subject: Path) -> None:
        self.file, self.out, self.subject = place / "plan.toml", place / "out", subject
        self.write()

    def write(self, seeds=(0, 1), more=""):
        self.file.write_text(PLAN.format(subject=self.subject, seeds=list(seeds), more=more))
        return self

    def cells(self):
        return expand(SweepPlan.from_file(self.file), self.out)

    def run(self, sink=lambda event: None, cancel=None):
        cells = self.cells()
        return run_sweep(cells, InThisProcess(cancel=cancel), self.out, sink, cancel)

    def missing(self):
        cells = self.cells()
        return [f"{job.folder.parent.name}/{job.name}" for job in missing_jobs(cells, standings(cells))]

    def results(self):
        return pd.read_csv(self.out / "results.tsv", sep="\t")

    def settings(self):
        return pd.read_csv(self.out / "settings.tsv", sep="\t")


@pytest.fixture
def sweep(tmp_path, tiny_subject):
    return Sweep(tmp_path, tiny_subject)


@pytest.fixture(scope="session")
def done(tmp_path_factory, tiny_subject):
    """A sweep of two seeds that has ended; copy it to change it."""
    made = Sweep(tmp_path_factory.mktemp("sweep"), tiny_subject)
    found = made.run()
    assert [standing.state for standing in found.values()] == ["finished", "finished"]
    return made


@pytest.fixture
def done_copy(done, tmp_path):
    """The same where it lies (cells name their folders in full), put back afterwards."""
    kept = shutil.copytree(done.out, tmp_path / "kept", copy_function=shutil.copy2)
    yield done
    shutil.rmtree(done.out)
    shutil.copytree(kept, done.out, copy_function=shutil.copy2)
    done.write()


def times(out):
    return {file: file.stat().st_mtime_ns for file in (out / "cells").rglob("*") if file.is_file()}


def test_the_table_says_what_evaluate_wrote(done):
    table = done.results()
    for cell in done.cells():
        written = pd.read_csv(cell.folder / "evaluate-test" / "results" / "scores.tsv", sep="\t")
        rows = table[table["cell"] == cell.id]
        pd.testing.assert_frame_equal(rows[SCORES].reset_index(drop=True), written[SCORES], check_dtype=False)
        assert set(rows["seed"]) == {cell.at.seed} and set(rows["state"]) == {"finished"} and rows["error"].isna().all()
        about = json.loads((cell.folder / "evaluate-test" / "results" / "about.json").read_text())
        assert set(rows["n_images"]) == {about["n_images"]} and set(rows["n_voxels"]) == {about["n_voxels"]}
        assert set(rows["transductive"]) == {"no"} and rows["simulated"].all() and (rows["seconds"] >= 0).all()
        assert rows["versions"].str.contains("torch").all()


def test_no_setting_is_lost(done):
    table = done.settings().set_index("cell")
    for cell in done.cells():
        resolved = json.loads((cell.folder / "train" / "settings.json").read_text())
        asked = json.loads((cell.folder / "train" / "job.json").read_text())["params"]
        row = table.loc[cell.id]
        for key, value in resolved["settings"].items():
            found = row[f"settings.{key}"]
            assert (found == json.dumps(value)) if isinstance(value, list) else pd.isna(found) if value is None else found == value, key
        assert row["region_expression"] == resolved["region"] == "V1 - outside"
        assert {key for key in asked if key not in ("settings", "prepare", "training")} <= {
            name.removeprefix("train.") for name in table.columns if name.startswith("train.")
        }
        assert row["train.prepare.zscore"] == asked["prepare"]["zscore"] == "auto"
        assert row["train.training.checkpoint_every_s"] == asked["training"]["checkpoint_every_s"]
        assert (row["train.seed"], row["evaluate-test.split"], row["run.simulated"]) == (cell.at.seed, "test", True)


def test_the_same_again_runs_nothing(done_copy, events):
    before, table = times(done_copy.out), done_copy.results()
    assert done_copy.missing() == []
    done_copy.run(events)
    assert times(done_copy.out) == before
    pd.testing.assert_frame_equal(done_copy.results(), table)
    assert not events.of(Message) and not events.of(Progress)


def test_a_deleted_cell_runs_again_and_no_other(done_copy, events):
    first, second = done_copy.cells()
    before = times(second.folder.parent.parent)
    table = done_copy.results()
    shutil.rmtree(first.folder)
    assert done_copy.missing() == [f"{first.id}/train", f"{first.id}/evaluate-test"]
    done_copy.run(events)
    after = times(done_copy.out)
    assert {file: stamp for file, stamp in after.items() if second.folder in file.parents} == {
        file: stamp for file, stamp in before.items() if second.folder in file.parents
    }
    assert [event.text.partition(" (")[0] for event in events.of(Message)] == [f"[2/2] finished: {first.id}"]
    again = done_copy.results()
    pd.testing.assert_frame_equal(again[["cell", *SCORES]], table[["cell", *SCORES]])


def test_a_training_whose_scores_are_there_may_be_deleted(done_copy):
    for cell in done_copy.cells():
        shutil.rmtree(cell.folder / "train")
    assert done_copy.missing() == []
    done_copy.run()
    table = done_copy.results()
    assert set(table["state"]) == {"finished"} and set(table["transductive"]) == {"no"}


def test_a_new_seed_adds_its_cell_and_a_changed_setting_another_folder(done_copy):
    old = {cell.id for cell in done_copy.cells()}
    before = times(done_copy.out)
    done_copy.write(seeds=(0, 1, 2))
    assert [name.partition("/")[2] for name in done_copy.missing()] == ["train", "evaluate-test"]
    assert all("seed2" in name for name in done_copy.missing())
    done_copy.run()
    assert {file: times(done_copy.out)[file] for file in before} == before
    assert set(done_copy.results()["seed"]) == {0, 1, 2}
    done_copy.write(seeds=(0,), more="settings = { size = 12 }")
    (changed,) = done_copy.cells()
    assert changed.id not in old and changed.id.startswith("tiny_ridge_full_V1-outside_seed0-")


def test_device_and_batch_are_not_what_is_asked(done_copy):
    text = done_copy.file.read_text()
    done_copy.file.write_text(text.replace('device = "cpu"', 'device = "auto"\nevaluate.batch = 8\ntrain.training.previews = 1'))
    assert done_copy.missing() == []


@pytest.mark.parametrize(("state", "device"), [("cancelled", "cpu"), ("failed", "auto")])
def test_an_unfinished_job_goes_on_as_it_was_begun_and_a_failed_one_begins_again(done_copy, state, device):
    first, _ = done_copy.cells()
    shutil.rmtree(first.folder / "evaluate-test")
    shutil.rmtree(first.folder / "train" / "model")
    status = first.folder / "train" / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": state}))
    done_copy.file.write_text(done_copy.file.read_text().replace('device = "cpu"', 'device = "auto"'))
    found = done_copy.run()
    assert {standing.state for standing in found.values()} == {"finished"}
    train = RunFolder(first.folder / "train")
    assert train.read_job()["params"]["device"] == device
    assert train.attempt() == (2 if state == "cancelled" else 1)


def test_a_damaged_result_is_a_failure_of_its_cell(done_copy):
    first, second = done_copy.cells()
    file = first.folder / "evaluate-test" / "results" / "scores.tsv"
    file.write_text(file.read_text().replace("\tvalue\t", "\tvalu\t"))
    done_copy.run()
    table = done_copy.results()
    (row,) = table[table["cell"] == first.id].to_dict("records")
    assert row["state"] == "failed" and "lacks the columns value" in row["error"]
    assert set(table[table["cell"] == second.id]["state"]) == {"finished"}


def test_a_cell_that_another_process_works_on_is_left_to_it(done_copy, monkeypatch, events):
    first, second = done_copy.cells()
    shutil.rmtree(first.folder / "evaluate-test")
    status = first.folder / "train" / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))  # by this process, which lives
    found = done_copy.run(events)
    assert (found[first.id].state, found[second.id].state) == ("running", "finished")
    assert not (first.folder / "evaluate-test").exists()
    assert set(done_copy.results().query("seed == 0")["state"]) == {"running"}


def test_a_failed_cell_says_why_and_is_repaired(sweep, monkeypatch, events):
    cells = sweep.cells()
    with monkeypatch.context() as broken:
        broken.setattr("brain2pix.methods.ridge.Ridge.decode", lambda *arguments: 1 / 0)
        found = sweep.run(events)
    assert {standing.state for standing in found.values()} == {"failed"}
    table = sweep.results()
    assert len(table) == 2 and set(table["state"]) == {"failed"}
    assert table["error"].str.contains("ZeroDivisionError: division by zero").all() and table["value"].isna().all()
    assert [event.level for event in events.of(Message)] == ["warning", "warning"]
    assert [RunFolder(cell.folder / "train").attempt() for cell in cells] == [1, 1]
    assert sweep.missing() == [f"{cell.id}/evaluate-test" for cell in cells]
    sweep.run()
    assert set(sweep.results()["state"]) == {"finished"}
    assert [RunFolder(cell.folder / "train").attempt() for cell in cells] == [1, 1]


def test_a_failed_training_leaves_its_scores_undone(sweep, monkeypatch):
    sweep.write(seeds=(0,))
    with monkeypatch.context() as broken:
        broken.setattr("brain2pix.methods.ridge.Ridge.phases", lambda *arguments: 1 / 0)
        sweep.run()
    (row,) = sweep.results().to_dict("records")
    assert row["state"] == "failed" and row["error"].startswith("train: ZeroDivisionError")
    settings = sweep.settings().iloc[0]
    assert settings["state"] == "failed" and settings["error"].startswith("train: ZeroDivisionError")
    sweep.run()
    assert set(sweep.results()["state"]) == {"finished"}


def test_stopped_and_gone_on_with(sweep, events):
    cancel = CancelToken()

    def stop_after_one(event):
        events(event)
        if isinstance(event, Progress) and event.done == 1:
            cancel.cancel()

    found = sweep.run(stop_after_one, cancel)
    assert [standing.state for standing in found.values()] == ["finished", "missing"]
    table = sweep.results().drop_duplicates("cell")
    assert list(table["state"]) == ["finished", "missing"]
    sweep.run()
    assert set(sweep.results()["state"]) == {"finished"}


class LostServer(InThisProcess):
    """Runs the first job, then is gone; what waits was queued."""

    def look(self):
        known = super().look()
        if any(standing.state == "finished" for standing in known.values()):
            raise ComputeError("the compute server has gone")
        return known


def test_a_lost_server_leaves_tables_that_are_true(sweep):
    cells = sweep.cells()
    with pytest.raises(ComputeError, match="has gone"):
        run_sweep(cells, LostServer(), sweep.out)
    assert set(sweep.results()["state"]) == {"missing"}
    assert folder_standing(cells[0].folder / "train").state == "finished"
    sweep.run()
    assert RunFolder(cells[0].folder / "train").attempt() == 1
    assert set(sweep.results()["state"]) == {"finished"}


def test_a_damaged_folder_fails_its_cell_and_no_other(done_copy):
    first, second = done_copy.cells()
    shutil.rmtree(first.folder / "evaluate-test" / "results")
    (first.folder / "evaluate-test" / "status.json").unlink()
    (first.folder / "evaluate-test" / "job.json").write_text("{")
    found = done_copy.run()
    assert (found[first.id].state, found[second.id].state) == ("failed", "finished")
    assert "job.json is not valid JSON" in found[first.id].error


BORROWING = """
[[methods]]
method = "gaziv"
preset = "tiny"
settings = { encoder.n_steps = 3, decoder.n_steps = 3, encoder.check_every = 3 }
[[ablations]]
name = "full"
methods = ["gaziv"]
[[ablations]]
name = "pairs"
methods = ["gaziv"]
settings = { weight_pairs = 1, weight_images = 0, weight_fmri = 0, snr_source = "none" }
train = { repeats_split = "null", encoder_from = { ablation = "full" } }
[[ablations]]
name = "unpaired"
methods = ["ridge"]
train = { pairs_from = { method = "gaziv", ablation = "full" } }
"""


def test_cells_take_encoders_from_others(sweep):
    sweep.write(seeds=(0,), more=BORROWING)
    file = sweep.file
    file.write_text(file.read_text().replace('device = "cpu"', 'device = "cpu"\nmaps = true'))
    cells = {cell.at.ablation: cell for cell in sweep.cells()}
    assert list(cells) == ["full", "unpaired", "pairs"]
    assert cells["unpaired"].train.needs == (cells["full"].train.folder,)
    # a system trained on pairs only, or a ridge, has no encoder to read maps from
    assert [job.name for job in cells["full"].jobs] == ["train", "evaluate-test", "maps"]
    assert [job.name for job in cells["pairs"].jobs] == [job.name for job in cells["unpaired"].jobs] == ["train", "evaluate-test"]
    found = sweep.run()
    assert {standing.state for standing in found.values()} == {"finished"}, found
    for key, name in (("encoder_from", "pairs"), ("pairs_from", "unpaired")):
        job = json.loads((cells[name].folder / "train" / "job.json").read_text())
        assert job["params"][key] == str(cells["full"].train.folder)
    table = sweep.results()
    assert set(table[table["ablation"] == "full"]["transductive"]) == {"test responses without images; SNR weights"}
    assert set(table[table["ablation"] == "pairs"]["transductive"]) == {"no"}
    (kept,) = table[table["job"] == "maps"].to_dict("records")
    summary = json.loads((cells["full"].folder / "maps" / "results" / "summary.json").read_text())
    assert (kept["part"], kept["score"], kept["value"], kept["n"]) == ("maps", "kept", summary["kept"], summary["n_voxels"])
    # other settings of the lender are other cells of those that borrow
    file.write_text(file.read_text().replace("decoder.n_steps = 3", "decoder.n_steps = 2"))
    assert {cell.id for cell in cells.values()}.isdisjoint(cell.id for cell in sweep.cells())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"ridge"', '"rigde"', ["plan, methods 1 (rigde)", "Did you mean 'ridge'?"]),
        ('preset = "tiny"', 'preset = "tinny"', ["plan, methods 1 (ridge)", "unknown ridge preset 'tinny'. Did you mean 'tiny'?"]),
        ('preset = "tiny"', "settings = { sizes = 3 }", ["plan, methods 1 (ridge)", "unknown option 'sizes'. Did you mean 'size'?"]),
        ('preset = "tiny"', 'settings_file = "no.toml"', ["plan, methods 1 (ridge)", "no.toml does not exist"]),
        ('["V1 - outside"]', '["V1 - outsides"]', ["plan, region 'V1 - outsides' of subject 'tiny'", "Did you mean 'outside'?"]),
        ('device = "cpu"', 'device = "gpu"', ["plan, device", "unknown device 'gpu'"]),
        ('device = "cpu"', 'evaluate.splits = ["tst"]', ["plan, evaluate.splits of subject 'tiny'", "Did you mean 'test'?"]),
        ('device = "cpu"', 'train.train_split = "trai"', ["plan, train_split of subject 'tiny'", "Did you mean 'train'?"]),
        ('device = "cpu"', "maps.settings.chnk = 2", ["plan, maps", "unknown option 'chnk'. Did you mean 'chunk'?"]),
        (
            'device = "cpu"',
            'ablations = [{ name = "a", settings = { sizes = 3 } }]',
            ["plan, ablation 'a' of method 'ridge'", "unknown option 'sizes'", "'methods'"],
        ),
        ('name = "tiny"', 'name = "tiny", subject_name = "sub-07"', ["plan, subject 'tiny'", "sub-07"]),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(sweep, old, new, words):
    assert old in sweep.file.read_text()
    sweep.file.write_text(sweep.file.read_text().replace(old, new, 1))
    with pytest.raises((ConfigError, MissingDataError)) as error:
        sweep.cells()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not sweep.out.exists()


def test_the_command_reports(sweep, capsys, monkeypatch):
    sweep.write(seeds=(0,))
    assert run_arguments(["sweep", str(sweep.file), str(sweep.out), "--dry-run"]) == 0
    (cell,) = sweep.cells()
    text = capsys.readouterr().out
    assert f"missing  {cell.id}" in text and "1 cell: 1 missing; nothing was run" in text and not sweep.out.exists()
    assert run_arguments(["sweep", str(sweep.file), str(sweep.out), "--workers", "0"]) == 0
    text = capsys.readouterr().out
    assert f"[1/1] finished: {cell.id}" in text and text.splitlines()[-1].startswith("wrote ")
    note = json.loads((sweep.out / "sweep.json").read_text())
    assert note["cells"] == [cell.id] and note["plan_text"] == sweep.file.read_text()
    assert run_arguments(["sweep", str(sweep.file), str(sweep.out)]) == 0  # nothing is missing: no server is started
    assert "1 cell: 1 finished" in capsys.readouterr().out
    other = sweep.out.parent / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    assert run_arguments(["sweep", str(sweep.file), str(other)]) == 1
    assert "is not the folder of a sweep" in capsys.readouterr().err
    assert run_arguments(["sweep", str(sweep.file), str(sweep.out), "--on", "x", "--workers", "2"]) == 1
    assert "leave --workers and --gpus out" in capsys.readouterr().err


def command_of(sweep):
    return [sys.executable, "-c", "from brain2pix.cli import main; main()", "sweep", str(sweep.file), str(sweep.out)]


@pytest.mark.faults
def test_cells_on_a_real_server(sweep):
    """The command starts a server of its own, runs both cells on it and takes it away again."""
    command = command_of(sweep)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "[2/2] finished:" in ended.stdout and ended.stderr == ""
    cells = sweep.cells()
    assert {cell_standing(cell, standings(cells)).state for cell in cells} == {"finished"}
    for cell in cells:
        assert RunFolder(cell.folder / "train").read_status()["server"]
        assert any(line["kind"] == "finished" for line in read_events(cell.folder / "evaluate-test" / "events.jsonl"))
        written = pd.read_csv(cell.folder / "evaluate-test" / "results" / "scores.tsv", sep="\t")
        rows = sweep.results()
        rows = rows[rows["cell"] == cell.id].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[SCORES], written[SCORES], check_dtype=False)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "2 cells: 2 finished" in again.stdout and "running" not in again.stdout


LONG = """
settings = { encoder.n_steps = 200, encoder.check_every = 200, encoder.solve_every = 200, decoder.n_steps = 3 }
"""


@pytest.mark.faults
def test_ctrl_c_saves_what_runs_and_the_same_command_goes_on(sweep):
    sweep.write(seeds=(0, 1), more=LONG)
    sweep.file.write_text(sweep.file.read_text().replace('"ridge"', '"gaziv"'))
    first, second = sweep.cells()
    trained = RunFolder(first.folder / "train")
    process = subprocess.Popen(command_of(sweep), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + 60
    while not trained.metrics.is_file() or len(trained.metrics.read_text().splitlines()) < 3:
        assert time.monotonic() < until_s and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "", errors
    assert f"stopped: {first.id}" in text and "the same command runs what failed or is missing" in text
    assert trained.read_status()["state"] == "cancelled" and list(trained.checkpoints.glob("*"))
    assert not (second.folder / "train" / "events.jsonl").exists()  # it waited, and never began
    ended = subprocess.run(command_of(sweep), capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert trained.attempt() == 2 and trained.read_status()["state"] == "finished"
    assert set(sweep.results()["state"]) == {"finished"}
