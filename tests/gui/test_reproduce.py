"""A paper's evaluation from the window: asked for, looked at, run by a real child, stopped, gone on with, found again, and opened."""

import json
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog

from brain2pix.compute.engine.registry import note_job
from brain2pix.compute.reproduce.describe import answer
from brain2pix.compute.reproduce.folder import REPORT, command_of, read_overview
from brain2pix.compute.reproduce.prepare import prepare
from brain2pix.compute.reproduce.run import claim
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.sweep import InThisProcess, run_sweep
from brain2pix.compute.sweep_cells import SweepCell
from brain2pix.config.base import build
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.errors import ComputeError
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix.children.reproducing import NOT_YET, open_report, plan_checks
from napari_brain2pix.children.table import title_of
from napari_brain2pix.folders.workspace import open_workspace
from napari_brain2pix.widgets._reproduce_form import OF_SUBJECT
from napari_brain2pix.widgets._reproduce_tree import CELL
from napari_brain2pix.widgets.job_list import FOLDER

SECONDS = 1000
PATIENCE = 120 * SECONDS
LAST = "images"  # the cell that is left to be trained: it takes the encoder of the row full


@pytest.fixture(scope="module")
def begun(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset and an evaluation of it of which one cell is left, and a copy of both. One cell was trained, the others are its copies."""
    place = tmp_path_factory.mktemp("evaluation") / "here"
    shutil.copytree(tiny_subject, place / "tiny")
    out = out_of(place)
    params = build(ReproduceParams, {"subject": place / "tiny", "subject_name": "sub-01", "runs": 1, "device": "cpu"})
    made = prepare(params, out)
    claim(made)
    full, *others = made.cells
    assert run_sweep([full], InThisProcess(), out)[full.id].state == "finished"
    for cell in others:
        if cell.at.ablation != LAST:
            _copy(full, cell)
    JobSpec("reproduce", params.model_dump(mode="json"), out).write()
    write_json(out / "status.json", {"state": "cancelled", "attempt": 1, "kind": "reproduce"})
    return place, Path(shutil.copytree(place, place.with_name("kept"), copy_function=shutil.copy2))


def _copy(full: SweepCell, cell: SweepCell) -> None:
    for job in cell.jobs:
        shutil.copytree(full.folder / job.name, job.folder)
        job.spec.write()


@pytest.fixture
def place(begun: tuple[Path, Path]) -> Path:
    """Dataset and evaluation as they were made: a test may change them. Cells are named after the place of their subject, so it stays."""
    here, kept = begun
    shutil.rmtree(here)
    return Path(shutil.copytree(kept, here, copy_function=shutil.copy2))


@pytest.fixture
def page(dock: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    dock.devices._asked = True
    monkeypatch.setattr(dock.live, "start", lambda model, subject: None)
    yield dock.reproducing
    for child in dock.runner._children.values():
        child.kill()
        child.wait(10)


def click(qtbot: Any, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.isVisible() and widget.isEnabled(), timeout=PATIENCE)
    qtbot.waitUntil(lambda: widget.height() >= widget.sizeHint().height(), timeout=PATIENCE)
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def choose(qtbot: Any, box: Any, value: Any) -> None:
    while box.currentData() != value:
        qtbot.keyClick(box, Qt.Key.Key_Down if box.findData(value) > box.currentIndex() else Qt.Key.Key_Up)


def looked(qtbot: Any, page: Any) -> None:
    qtbot.waitUntil(lambda: not page.form._timer.isActive() and not page.look.busy, timeout=PATIENCE)


def said(page: Any) -> str:
    return unescape(page.findings.text())


def lines(page: Any) -> dict[str, str]:
    tree = page.tree
    return {tree.topLevelItem(n).text(0): tree.topLevelItem(n).text(1) for n in range(tree.topLevelItemCount())}


def out_of(place: Path) -> Path:
    return place / "runs" / "tiny-reproduce-gaziv-short"


# ---------------------------------------------------------------------- asked for


def test_what_will_be_run_is_said_before_it_begins(page, dock, tiny_copy, tmp_path, qtbot, monkeypatch) -> None:
    assert {"subject", "subject_name", *page.form.editors} == set(ReproduceParams.model_fields) and set(OF_SUBJECT) == {
        "subject",
        "subject_name",
    }
    dock.run_command("reproduce_paper")
    assert dock.state.step == "train" and page.isVisible() and dock.train.isHidden()
    assert "✗ no subject is open: open one in the step Data" in said(page) and not page.start_button.isEnabled()
    dock.open(tiny_copy)
    assert page.isVisible(), "the page is still there"
    qtbot.waitUntil(lambda: page.look.busy, timeout=PATIENCE)
    looked(qtbot, page)
    assert page.ready, (page.checks, page._found, page.look.busy, page.runner.busy, page.runner.queues)
    assert "cells with" in said(page) and "preset tiny" in said(page) and "simulated subject" in said(page)
    rows = lines(page)
    assert rows["full: pairs, images and test responses"] == "– to do" and rows["full, voxels of VC"] == "✗ not possible"
    assert "sub-01 has no VC" in page.missing.text() and "brain2pix weights fetch vgg16" in page.missing.text()
    assert "“gallery” FOLDER" in page.missing.text()
    assert Path(page.form.folder.text()) == tiny_copy.parent / "runs" / "tiny-reproduce-gaziv-short"
    # runs
    page.form.editors["runs"].setFocus()
    qtbot.keyClicks(page.form.editors["runs"], "0")
    looked(qtbot, page)
    assert "✗ option 'runs'" in said(page) and not page.start_button.isEnabled()
    qtbot.keyClick(page.form.editors["runs"], Qt.Key.Key_Backspace)
    # a gallery without classes
    gallery = page.form.editors["gallery"]
    choose(qtbot, gallery.kind, "folder")
    looked(qtbot, page)
    assert "choose the folder of the gallery" in said(page) and gallery.folder.isVisible()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "empty"))
    click(qtbot, gallery.button)
    looked(qtbot, page)
    assert "has 0 sub-folders with pictures" in said(page) and not page.start_button.isEnabled()
    dock.run_command("run_or_stop")
    assert "has 0 sub-folders" in dock.head.notice.text() and not dock.runner.busy, "the key says why not"
    command = " ".join(command_of(page.form.params(), Path(page.form.folder.text())))
    assert f"brain2pix {command}" in page.form.folder.toolTip() and f"--gallery {tmp_path / 'empty'}" in command
    click(qtbot, page.close_button)
    assert page.isHidden() and dock.train.isVisible()


def test_what_stands_against_it(tiny_copy, tmp_path) -> None:
    def levels(**more: Any) -> dict[str, list[str]]:
        found = answer({"subject": str(tiny_copy), "device": "cpu", "out": str(tmp_path / "out"), **more})
        checks = plan_checks(found, tmp_path / "out")
        return {level: [check.text for check in checks if check.level == level] for level in ("good", "mind", "stop")}

    assert levels()["stop"] == [] and "cells with" in levels()["good"][0]
    assert any("brain2pix weights fetch vgg19" in text for text in levels(plan="paper")["stop"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert "is not the folder of a reproduction" in levels(out=str(tmp_path / "mine"))["stop"][0]
    assert "no column 'colour'" in levels(gallery="procedural", class_column="colour")["stop"][0]
    assert "unknown device 'gpu'" in levels(device="gpu")["stop"][0]
    for file in [*tiny_copy.rglob("*_betas.tsv"), *tiny_copy.rglob("*trials*.tsv"), *tiny_copy.rglob("stimuli.tsv")]:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
        table.assign(split=table["split"].replace("test", "other")).to_csv(file, sep="\t", index=False)
    (why,) = levels()["stop"]
    assert "no trials of the split 'test'" in why and "splits here: category_test" in why


# ---------------------------------------------------------------------- run


def test_started_and_stopped(page, dock, place, qtbot) -> None:
    out = out_of(place)
    dock.open(place / "tiny")
    click(qtbot, dock.train_step.button)
    editor = page.form.editors["runs"]
    editor.setFocus()
    qtbot.keyClicks(editor, "1")
    looked(qtbot, page)
    n = len(read_overview(out).cells)
    assert Path(page.form.folder.text()) == out, "the folder of this very evaluation is offered"
    assert f"{n} cells with" in said(page) and f"{n - 1} are done and stay" in said(page)
    click(qtbot, page.start_button)
    assert page.following and page.form.isHidden() and dock.runner.folder == out and title_of(dock.runner.job) == "reproduce gaziv short"
    qtbot.waitUntil(lambda: "train" in page.step.text(), timeout=PATIENCE)
    assert f"{n - 1} of {n} cells are done" in page.standing.text() and page.bar.isVisible() and page.bar.maximum() == n
    assert NOT_YET in page.step.text() or "left for the cells" in page.step.text()
    # the Jobs tab turns to another job, and the page is folded and unfolded: it is found again
    click(qtbot, dock.train_step.button)
    JobSpec("decode", {"run": str(out)}, place / "other").write()
    dock.runner.show(place / "other")
    page.follower.stop()
    dock.runner.show(out)
    assert page.follower.out == out and page.follower.going
    dock.runner.show(place / "other")
    dock.run_command("reproduce_paper")
    click(qtbot, page.stop_button)
    assert dock.runner.folder == out
    qtbot.waitUntil(lambda: page.follower.standing == "cancelled", timeout=PATIENCE)
    assert run_state(RunFolder(out)) == "cancelled" and "stopped" in page.standing.text() and not page.report_button.isVisible()
    assert page.write_button.isVisible() and page.resume_button.isEnabled()
    assert next(cell.state for cell in read_overview(out).cells if cell.title == LAST) != "finished"


@pytest.mark.slow
def test_gone_on_with_to_the_report(page, dock, place, qtbot) -> None:
    out = out_of(place)
    dock.open(out)
    n = len(read_overview(out).cells)
    click(qtbot, page.resume_button)
    qtbot.waitUntil(lambda: page.follower.standing == "finished", timeout=PATIENCE)
    assert read_overview(out).n_finished == n and f"{n} of {n} cells are done" in page.standing.text()
    assert lines(page)["full: pairs, images and test responses"] == "✓ done"
    assert not page.resume_button.isVisible() and not page.stop_button.isVisible() and not page.write_button.isVisible()
    assert page.report_button.isVisible() and dock.jobs.report_button.isVisible()
    assert "SIMULATED SUBJECT" in (out / REPORT).read_text(encoding="utf-8")


def test_report_and_runs_are_opened(page, dock, place, qtbot, monkeypatch) -> None:
    out = out_of(place)
    (out / REPORT).write_text("<p>of before")
    note_job(out, "reproduce")
    dock.open(out)
    opened: list[Path] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile())) or True)
    click(qtbot, page.report_button)
    dock.run_command("show_jobs")
    click(qtbot, dock.jobs.report_button)
    assert opened == [out / REPORT] * 2
    # a cell's run, by a double click on its line
    item = page.tree.topLevelItem(0)
    dock.pages["train"].ensureWidgetVisible(page.tree)
    where = page.tree.visualItemRect(item).center()
    qtbot.mouseClick(page.tree.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert page.run_button.isEnabled()
    qtbot.mouseDClick(page.tree.viewport(), Qt.MouseButton.LeftButton, pos=where)
    cell = out / "cells" / item.data(0, CELL)
    assert dock.state.workspace.model == cell / "train" / "model"
    assert dock.state.workspace.map is not None and dock.state.workspace.pictures.reconstructions is not None
    dock.state.set_step("train")
    assert page.isVisible() and page.following, "the evaluation is still in sight"
    # from the list of jobs
    click(qtbot, dock.train_step.button)
    assert dock.train.isVisible()
    listed = dock.jobs.list.list
    qtbot.waitUntil(lambda: listed.isVisible() and any(row.folder == out for row in dock.jobs.list.rows), timeout=PATIENCE)
    line = next(listed.item(n) for n in range(listed.count()) if listed.item(n).data(FOLDER) == str(out))
    listed.scrollToItem(line)
    qtbot.mouseClick(listed.viewport(), Qt.MouseButton.LeftButton, pos=listed.visualItemRect(line).center())
    qtbot.mouseDClick(listed.viewport(), Qt.MouseButton.LeftButton, pos=listed.visualItemRect(line).center())
    assert page.isVisible() and page.follower.out == out


# ---------------------------------------------------------------------- found again


def test_the_folder_is_opened_and_shows_its_cells(page, dock, place, qtbot) -> None:
    out = out_of(place)
    workspace = open_workspace(out)
    assert workspace.folder == out and workspace.subject_folder == place / "tiny" and workspace.model is None
    assert any("plan short" in note and "cells are finished" in note and "no report yet" in note for note in workspace.notes)
    dock.open(out)
    assert dock.state.step == "train" and page.isVisible() and page.follower.out == out
    assert "stopped" in page.standing.text() and page.resume_button.isVisible() and not page.report_button.isVisible()
    todo = next(n for n in range(page.tree.topLevelItemCount()) if page.tree.topLevelItem(n).text(1) == "– to do")
    page.open_wanted.connect(lambda folder: pytest.fail(f"opened {folder}"))
    page.tree.setCurrentItem(page.tree.topLevelItem(todo))
    assert not page.run_button.isEnabled()
    page.tree.run_wanted.emit(page.tree.cell)
    assert "was not trained yet" in dock.head.notice.text()
    # another one is asked for beside it
    click(qtbot, page.another_button)
    assert page.form.isVisible() and not page.following
    # as an earlier version left it, without a job
    for name in ("job.json", "status.json"):
        (out / name).unlink()
    assert open_workspace(out).folder == out


@pytest.mark.slow
def test_a_report_of_what_is_there(page, dock, place, qtbot) -> None:
    out = out_of(place)
    dock.open(out)
    left = next(cell for cell in read_overview(out).cells if cell.title == LAST)
    click(qtbot, page.write_button)
    assert "writing the report" in page.step.text() and not page.write_button.isEnabled() and not page.resume_button.isEnabled()
    qtbot.waitUntil(lambda: not page.writer.busy, timeout=PATIENCE)
    assert dock.head.notice.isHidden() and page.report_button.isVisible()
    assert f"cell {left.id} is " in (out / REPORT).read_text(encoding="utf-8"), "what is not there is missing, with the reason"
    assert run_state(RunFolder(out)) == "cancelled" and page.resume_button.isVisible(), "it is still to be gone on with"


def test_what_failed_is_said(page, dock, place) -> None:
    out = out_of(place)
    write_json(out / "status.json", {"state": "failed", "attempt": 1, "error": "1 failed of 9 cells: it broke"})
    dock.open(out)
    assert "it broke" in page.notice.text() and page.resume_button.isVisible()
    (out / "reproduce.json").write_text(json.dumps({"method": "gaziv", "data": str(place / "tiny" / "sub-01")}))
    page.follower.look()
    assert "does not say what is reproduced" in page.notice.text() and page.tree.isHidden()


def test_no_browser(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
    with pytest.raises(ComputeError, match="open it in a browser"):
        open_report(tmp_path / REPORT)
