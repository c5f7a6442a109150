"""Training from the window: real clicks, a real child process, a real model at the end; stopping, resuming, failing and closing."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMessageBox

from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.config.preparation import PreparationSettings
from brain2pix.errors import ConfigError
from brain2pix.events import Finished, Metric, Preview, Progress, Started
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix._state import State
from napari_brain2pix.children.checks import training_checks
from napari_brain2pix.children.jobs import JobRunner
from napari_brain2pix.children.record import EventTail, JobProgress, duration
from napari_brain2pix.folders.workspace import open_workspace
from napari_brain2pix.widgets.loss_plot import MOST, Curve

WAIT_MS = 120_000  # the child imports torch; shared machines are slow


@pytest.fixture
def train(dock, tiny_copy, qtbot, monkeypatch):
    """The panel Train on a subject of its own, with a training of seconds chosen. No test but one waits for children that import torch."""
    dock.devices._asked = True
    monkeypatch.setattr(dock.live, "start", lambda model, subject: None)
    dock.open(tiny_copy)
    assert dock.state.step == "train", "a subject without a model is there to be trained on"
    choose(qtbot, dock.train, "ridge")
    yield dock.train
    stop(dock.runner)


def choose(qtbot: Any, train: Any, method: str) -> None:
    """Choose a method and its smallest preset, as the keyboard does."""
    for box, index in ((train.method, train.method.findData(method)), (train.preset, None)):
        wanted = train.preset.findText("tiny") if index is None else index
        while box.currentIndex() != wanted:
            qtbot.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < wanted else Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)


def click(qtbot: Any, button: Any) -> None:
    assert button.isVisible() and button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def stop(runner: JobRunner) -> None:
    """Leave no process behind a test."""
    child = runner._child
    if child is not None:
        child.kill()
        child.wait(10)


def gone(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_training_from_the_click_to_the_picture(train, dock, qtbot, monkeypatch) -> None:
    monkeypatch.setattr("napari_brain2pix.children.jobs.NICE", 10)  # as it is for users
    assert all(check.level != "stop" for check in train.checks)
    said = train.findings.text()
    assert "training pairs" in said and "images without responses" in said and "the folder is free" in said and "GB free" in said
    assert dock.jobs.train_button.isHidden() is False and "No job yet" in dock.jobs.standing.text()
    folder = Path(train.folder.text())
    click(qtbot, train.start_button)
    assert dock.runner.busy and dock.runner.folder == folder
    jobs = dock.jobs.parent()
    assert isinstance(jobs, QDockWidget) and not jobs.visibleRegion().isEmpty(), "the tab of the job comes to the front"
    assert not train.start_button.isEnabled() and "A job is going on" in train.findings.text()
    assert psutil.Process(dock.runner.process_id).nice() >= 10
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    assert (folder / "model" / "model.json").is_file()
    assert json.loads((folder / "job.json").read_text())["params"]["settings"] == {}
    assert "done in" in dock.jobs.log.toPlainText()
    assert Path(train.folder.text()).name == f"{folder.name}-2", "the next run gets a folder of its own"

    click(qtbot, dock.jobs.show_button)
    assert dock.state.workspace.folder == folder and dock.state.workspace.model == folder / "model"
    assert "Make maps" in dock.data.notice.text() and f"decode {folder}" in dock.data.notice.text()
    assert "--side decoder" in dock.data.notice.text(), "ridge has no encoder"
    click(qtbot, dock.jobs.decode_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    click(qtbot, dock.jobs.show_button)
    made = np.load(folder / "decode-test" / "results" / "reconstructions.npy")
    shown = dock.state.workspace.pictures
    assert np.array_equal(shown.reconstructions, made) and len(shown.stimuli) == len(made)
    assert np.array_equal(dock.gallery.pictures["reconstruction"].pixels, made[0])
    assert "reconstructions of this run" not in dock.data.notice.text()
    assert dock.state.step == "maps", "the room belongs to what there is to see"


def test_stop_and_resume_with_curves_and_pictures(train, dock, qtbot) -> None:
    choose(qtbot, train, "retino")
    train.form.editors["encoder.n_steps"].setValue(4)
    train.form.editors["decoder.n_steps"].setValue(40)
    assert train.form.changes() == {"encoder.n_steps": 4, "decoder.n_steps": 40}
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)
    click(qtbot, train.start_button)
    folder = dock.runner.folder
    qtbot.waitUntil(lambda: dock.jobs.picture.file is not None and "decoder" in dock.jobs.plot.curves, timeout=WAIT_MS)
    assert "decoder" in dock.jobs.step.text() and "of 40" in dock.jobs.step.text()
    assert dock.jobs.bar.maximum() == 40 and dock.jobs.bar.value() >= 3
    assert dock.jobs.picture.view.pixmap().width() > 50
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    assert run_state(RunFolder(folder)) == "cancelled" and not (folder / "model").exists()
    assert "stopped" in dock.jobs.standing.text()
    assert Path(train.folder.text()) == folder and "goes on from what was saved" in train.findings.text()

    before = list(dock.jobs.plot.curves["decoder"]["total"].steps)
    click(qtbot, train.resume_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    assert "going on from the checkpoint" in dock.jobs.log.toPlainText()
    curve = dock.jobs.plot.curves["decoder"]["total"]
    assert set(before) < set(curve.steps) and curve.steps[-1] == 40
    stored = [row for row in np.loadtxt(folder / "metrics.csv", delimiter=",", dtype=str) if row[2] == "decoder" and row[4] == "total"]
    newest = {int(row[3]): float(row[5]) for row in stored}  # fast steps are thinned out; a step done twice counts once
    assert curve.steps == sorted(newest) and curve.values == pytest.approx([newest[step] for step in curve.steps])
    dock.jobs.plot._draw()
    x, y = dock.jobs.plot._lines["total"].getData()
    assert list(x) == curve.steps and list(y) == curve.values
    assert RunFolder(folder).attempt() == 2


def test_a_job_that_fails_says_why_and_what_to_do(train, dock, qtbot) -> None:
    choose(qtbot, train, "retino")
    click(qtbot, train.form.more)
    backbone = train.form.editors["backbone.name"]
    while backbone.currentData() != "vgg19":
        qtbot.keyClick(backbone, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)
    train.start()
    qtbot.waitUntil(lambda: dock.runner.standing == "failed", timeout=WAIT_MS)
    assert "vgg19" in dock.jobs.notice.text() and "weights" in dock.jobs.notice.text()
    assert not dock.jobs.notice.button.isVisible(), "a smaller batch would not help"
    assert dock.jobs.resume_button.isVisible() and not dock.jobs.show_button.isVisible()
    assert "Traceback" in dock.jobs.log.toPlainText()
    assert dock.state.workspace is not None and not dock.head.notice.text(), "the window goes on as if nothing had happened"


def test_a_killed_process_is_noticed(train, dock, qtbot) -> None:
    click(qtbot, train.start_button)
    folder = dock.runner.folder
    qtbot.waitUntil(lambda: dock.runner.standing == "running", timeout=WAIT_MS)
    os.kill(dock.runner.process_id, 9)
    qtbot.waitUntil(lambda: not dock.runner.busy, timeout=10_000)
    assert dock.runner.standing == "interrupted" and "signal 9" in dock.jobs.notice.text()
    assert run_state(RunFolder(folder)) == "interrupted"
    # whoever ends a job that does not answer must not leave its wish to stop behind
    RunFolder(folder).cancel.touch()
    click(qtbot, dock.jobs.resume_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)


def test_out_of_memory_offers_a_smaller_batch(train, dock, qtbot, tmp_path) -> None:
    folder = tmp_path / "runs" / "full"
    params = {"subject": str(dock.state.workspace.subject_folder), "method": "retino", "preset": "tiny", "device": "cpu"}
    JobSpec("train", params, folder).write()
    write_json(folder / "settings.json", {"settings": {"encoder": {"batch": 32}, "decoder": {"batch_pairs": 8, "batch_fmri": 1}}})
    error = "out of memory on cpu (no details). Batch sizes now: encoder.batch = 32."
    write_json(folder / "status.json", {"state": "failed", "attempt": 1, "error": error})
    dock.runner.follow(folder)
    assert error in dock.jobs.notice.text()
    click(qtbot, dock.jobs.notice.button)
    assert dock.runner.folder == folder.with_name("full-2"), "other settings are another run"
    assert dock.runner.job["params"]["settings"] == {"encoder.batch": 16, "decoder.batch_pairs": 4}
    dock.runner.stop()
    assert dock.runner.standing == "stopping" and dock.jobs.stop_button.text() == "Stop now"
    dock.runner.stop()  # at once
    qtbot.waitUntil(lambda: not dock.runner.busy, timeout=10_000)


def test_what_stands_against_a_training_is_said_before(train, dock, qtbot, tmp_path) -> None:
    qtbot.mouseClick(train.region, Qt.MouseButton.LeftButton)
    train.region.selectAll()
    qtbot.keyClicks(train.region, "V1 & Q")
    qtbot.waitUntil(lambda: "unknown area" in train.findings.text(), timeout=5000)
    assert not train.start_button.isEnabled()
    train.region.clear()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    train.folder.selectAll()
    qtbot.keyClicks(train.folder, str(taken))
    qtbot.waitUntil(lambda: "is not empty and is not a run folder" in train.findings.text(), timeout=5000)
    assert not train.start_button.isEnabled()
    with pytest.raises(ConfigError, match="choose another folder"):
        dock.runner.start(train.spec())
    assert sorted(path.name for path in taken.iterdir()) == ["thesis.tex"]
    subject = dock.state.workspace.subject
    finished = tmp_path / "finished"
    spec = JobSpec("train", train.spec().params, finished)
    spec.write()
    write_json(finished / "status.json", {"state": "finished", "attempt": 1})
    assert any("holds a finished run" in check.text for check in training_checks(subject, spec) if check.level == "stop")
    other = JobSpec("train", {**spec.params, "seed": 5}, finished)
    assert any("holds another job" in check.text for check in training_checks(subject, other) if check.level == "stop")
    subject.trials.loc[subject.trials["split"] == "train", "split"] = "rest"
    train._check()
    assert "no training pairs" in train.findings.text() and train.another.isVisible()


def test_the_preparation_of_responses_is_asked_for(train, dock, qtbot) -> None:
    """It is out of sight until it is wanted, and a job that leaves it as it is says nothing of it."""
    assert "prepare" not in train.spec().params and not train.preparation.editors
    click(qtbot, train.preparation.more)
    assert list(train.preparation.editors) == [f"prepare.{name}" for name in PreparationSettings.model_fields]
    choice, most = train.preparation.editors["prepare.zscore"], train.preparation.editors["prepare.max_voxels"]
    while choice.currentText() != "run":
        qtbot.keyClick(choice, Qt.Key.Key_Down)
    qtbot.keyClicks(most, "12")
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)
    asked = train.spec().params["prepare"]
    assert asked == PreparationSettings(zscore="run", max_voxels=12).model_dump(mode="json")
    qtbot.keyClicks(most, "x")
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)
    assert not train.start_button.isEnabled() and "a setting above is wrong" in train.findings.text()


def test_the_device_is_asked_of_a_child(train, dock, qtbot) -> None:
    """When the user comes to the step."""
    assert train.device.currentText() == "cpu"
    dock.state.set_step("data")
    dock.devices._asked = False
    with qtbot.waitSignal(dock.devices.answered, timeout=WAIT_MS) as answer:
        dock.state.set_step("train")
    assert answer.args[0][0] == "cpu"
    assert [train.device.itemText(row) for row in range(train.device.count())] == answer.args[0]


def answer_dialog(words: str, seen: list[str]) -> None:
    """Click a button of the question that is about to appear."""

    def press() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(50, press)
            return
        seen.append(box.text())
        next(button for button in box.buttons() if button.text().replace("&", "") == words).click()

    QTimer.singleShot(0, press)


def test_closing_asks_and_staying_leaves_everything_alive(viewer, train, dock, qtbot, monkeypatch) -> None:
    click(qtbot, train.start_button)
    number, folder, seen = dock.runner.process_id, dock.runner.folder, []
    window = dock.window()
    answer_dialog("Stay", seen)
    assert not window.close()
    assert str(folder) in seen[0]
    assert window.isVisible() and not gone(number) and not dock._over

    # napari's own question comes later, and may be answered with no
    with monkeypatch.context() as patch:
        patch.setattr(type(window), "closeEvent", lambda self, event: event.ignore())
        answer_dialog("Stop it", seen)
        assert not window.close()
    assert window.isVisible() and not gone(number) and not dock._over

    answer_dialog("Training goes on", seen)
    assert window.close()
    assert len(seen) == 3 and dock._over and not gone(number)
    again = JobRunner(State())
    again.follow(folder)
    qtbot.waitUntil(lambda: again.standing in ("running", "finished", "new"), timeout=WAIT_MS)
    again.let_go()
    if not gone(number):
        psutil.Process(number).kill()


def test_a_script_that_closes_the_viewer_is_not_asked_and_the_job_goes_on(viewer, train, dock, qtbot) -> None:
    click(qtbot, train.start_button)
    child = dock.runner._child
    viewer.close()
    assert dock._over and child.poll() is None
    child.kill()
    child.wait(10)


def test_closing_can_stop_the_job(viewer, train, dock, qtbot) -> None:
    click(qtbot, train.start_button)
    number = dock.runner.process_id
    qtbot.waitUntil(lambda: dock.runner.standing == "running", timeout=WAIT_MS)
    folder = dock.runner.folder
    answer_dialog("Stop it", [])
    assert dock.window().close()
    assert gone(number)
    assert run_state(RunFolder(folder)) in ("cancelled", "interrupted", "finished")


def test_a_record_is_read_once_while_it_grows(tmp_path) -> None:
    file = tmp_path / "events.jsonl"
    tail = EventTail(file)
    assert tail.read() == []
    with file.open("ab", buffering=0) as record:
        record.write(b'{"kind": "started", "stage": "a", "t": 5.5}\n{"kind": "metric", "stage": "a", "st')
        assert tail.read() == [(5.5, Started("a"))]
        record.write(b'ep": 1, "name": "total", "value": null}\n{"kind": "of a later version"}\nnot json\n')
        (time_s, metric), *rest = tail.read()
        assert isinstance(metric, Metric) and np.isnan(metric.value) and not rest and time_s == 0
        line = b'{"kind": "preview", "stage": "a", "step": 1, "path": "' + 1000 * b"x" + b'.png", "t": 1}\n'
        record.write(200 * line)
    found, looks = [], 0
    while True:
        found += tail.read()
        looks += 1
        if not tail.more:
            break
    assert len(found) == 200 and looks > 2 and all(isinstance(event, Preview) for _, event in found)
    assert tail.read() == []


def test_totals_that_change_within_a_stage_are_counted_by_themselves() -> None:
    progress = JobProgress()
    assert progress.describe() == "" and progress.left_s() is None
    progress.take(Started("decoder"), 0.0)
    for done in (10, 20):
        progress.take(Progress("decoder", done, 400, "predicted responses"), done / 10)
    assert progress.left_s() == pytest.approx(38)
    assert progress.describe() == "decoder – predicted responses · 20 of 400 · about 38 s left"
    progress.take(Progress("decoder", 1, 30), 100.0)
    assert progress.left_s() is None, "the pace of the features says nothing of the steps"
    progress.take(Progress("decoder", 3, 30), 104.0)
    assert progress.describe() == "decoder · step 3 of 30 · about 54 s left"
    progress.take(Progress("decoder", 2, 30), 200.0)  # gone on with from a checkpoint
    assert progress.left_s() is None
    progress.take(Finished("decoder", 3.0), 210.0)
    assert progress.describe() == "decoder"
    assert [duration(seconds) for seconds in (0.2, 59.6, 200, 7500)] == ["1 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]


def test_curves_take_back_what_a_resumed_run_says_again_and_stay_small() -> None:
    curve = Curve()
    for step in (1, 2, 3, 4, 3, 4, 5):
        curve.add(step, step * 0.5)
    assert curve.steps == [1, 2, 3, 4, 5] and curve.values == [0.5, 1.0, 1.5, 2.0, 2.5]
    long = Curve()
    for step in range(20 * MOST):
        long.add(step, 1.0)
    assert MOST / 2 <= len(long.steps) <= MOST and long.steps[0] == 0


def test_an_opened_run_shows_what_its_jobs_made(demo, tiny_subject, tmp_path) -> None:
    bare = open_workspace(tiny_subject).pictures
    run = tmp_path / "run"
    JobSpec("train", {"subject": str(demo / "subject")}, run).write()
    (run / "model").symlink_to(demo / "runs" / "ridge" / "model")
    assert len(open_workspace(run).notes) == 2
    # maps: a folder that a job only began in is none
    JobSpec("maps", {"run": str(run)}, run / "maps").write()
    assert open_workspace(run).map is None
    (run / "maps" / "results").symlink_to(demo / "maps")
    # pictures: in the order of their names
    stored = np.load(demo / "results" / "reconstructions.npz")
    results = run / "decode-test" / "results"
    results.mkdir(parents=True)
    np.save(results / "reconstructions.npy", stored["reconstructions"][::-1])
    names = [str(name) for name in stored["stimulus_ids"][::-1]]
    write_json(results / "reconstructions.json", {"stimulus_ids": names})
    for path in (run, run / "maps"):
        workspace = open_workspace(path)
        assert workspace.folder == run and workspace.notes == ()
        assert workspace.map is not None and np.isfinite(workspace.map.x0_deg).any()
        assert workspace.pictures.stimulus_ids == names
        assert np.array_equal(workspace.pictures.stimuli[0], bare.stimuli[bare.stimulus_ids.index(names[0])])
        assert np.array_equal(workspace.pictures.reconstructions, stored["reconstructions"][::-1])
    write_json(results / "reconstructions.json", {"stimulus_ids": names[:-1]})
    assert any("does not name" in note for note in open_workspace(run).notes)
