"""The page that imports a dataset: looked into, chosen, checked, imported, stopped, mended, as a user does it."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from brain2pix.data.readers import READERS
from napari_brain2pix._state import State
from napari_brain2pix.children import importing
from napari_brain2pix.children.importing import Look, describe_progress, found_checks, in_window, share_done
from napari_brain2pix.children.record import JobProgress
from napari_brain2pix.children.table import PRIVATE
from napari_brain2pix.widgets._choices_form import ChoicesForm
from napari_brain2pix.widgets.importing import ImportPage

sys.path.append(str(Path(__file__).parents[1] / "unit" / "data" / "readers" / "helpers"))

from lab import Lab
from published import God

SECONDS = 1000
PATIENCE = 120 * SECONDS


@pytest.fixture(scope="module")
def god() -> God:
    return God(n_train=40, n_test=8, n_voxels=140)


@pytest.fixture(scope="module")
def files(god: God, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a subject's file, the same with mirrored coordinates, and the pictures. Read only."""
    folder = tmp_path_factory.mktemp("god")
    god.write_images(folder / "pictures")
    god.write_hdf5(folder / "Subject1.h5")
    mirrored = God(n_train=40, n_test=8, n_voxels=140)
    mirrored.xyz = mirrored.xyz * [-1, 1, 1]
    mirrored.write_matlab(folder / "Subject2.mat")
    return folder


@pytest.fixture(autouse=True)
def own_records(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep records of this test's imports apart from those of others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("records")))


@pytest.fixture
def page(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportPage]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = ImportPage(State())
    qtbot.addWidget(made)
    made.resize(330, 900)
    with qtbot.waitExposed(made):
        made.show()
    yield made
    made.form.look.drop()
    made.importer.end()


def click(qtbot: Any, widget: Any) -> None:
    assert widget.isVisible() and widget.isEnabled()
    qtbot.waitUntil(lambda: widget.height() >= widget.sizeHint().height(), timeout=PATIENCE)  # it has just been shown: it finds its room
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def fill(qtbot: Any, field: Any, text: Any) -> None:
    line = getattr(field, "text", None)
    line = line if hasattr(line, "selectAll") else field
    line.setText(str(text)[:-1])
    qtbot.keyClicks(line, str(text)[-1])  # as the last of its letters is typed


def looked(qtbot: Any, page: ImportPage) -> None:
    """Wait until it is known what the files are."""
    qtbot.waitUntil(lambda: not page.form.waits, timeout=PATIENCE)


def choose(qtbot: Any, page: ImportPage, kind: str) -> None:
    """Choose a kind from the list, with the arrow keys."""
    box = page.form.kind
    step = Qt.Key.Key_Down if box.findData(kind) > box.currentIndex() else Qt.Key.Key_Up
    while box.currentData() != kind:
        qtbot.keyClick(box, step)


def begin(qtbot: Any, page: ImportPage, source: Path, out: Path) -> None:
    """Start an import."""
    form = page.form
    fill(qtbot, form.source, source)
    looked(qtbot, page)
    fill(qtbot, form.choices.editors["images"], source.with_name("pictures"))
    looked(qtbot, page)
    fill(qtbot, form.folder, out)
    qtbot.waitUntil(page.import_button.isEnabled, timeout=PATIENCE)
    click(qtbot, page.import_button)


def begin_and_hold(qtbot: Any, page: ImportPage, source: Path, out: Path) -> psutil.Process:
    """Start an import, and hold its process in the middle of its pictures."""
    begin(qtbot, page, source, out)
    qtbot.waitUntil(lambda: page.importer.progress.done > 0 or not page.importer.busy, timeout=PATIENCE)
    process = psutil.Process(page.importer._runner.process_id)
    process.suspend()
    assert halves(out.parents[1]), "it is being written"
    return process


def halves(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".writing-")]


def records() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{PRIVATE}*"))


# ---------------------------------------------------------------------- the main road, in the window


def test_from_a_published_file_to_an_open_subject(dock, viewer, god, files, tmp_path, qtbot, monkeypatch) -> None:
    page, form, before = dock.data.importing, dock.data.importing.form, records()
    dock.state.set_step("train")
    dock.run_command("import_dataset")
    assert dock.state.step == "data" and page.isVisible() and dock.data.summary.isHidden()
    assert not page.import_button.isEnabled() and "no file is chosen" in form.findings.text()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(files / "Subject1.h5"), ""))
    click(qtbot, form.file_button)
    assert form.waits and "looking into Subject1.h5" in form.findings.text() and not page.import_button.isEnabled()
    looked(qtbot, page)
    rows = {item.text(0).removeprefix("✓ "): item.text(1) for item in form.found_list._in_order()}
    assert rows["Voxels"] == f"140: {(god.xyz[:, 0] < 0).sum()} left, {(god.xyz[:, 0] > 0).sum()} right"
    assert rows["test"] == "24: 8 stimuli × 3, 3 runs" and f"V1 {god.areas['V1'].sum()}" in rows["Areas"]
    assert "✗ pictures are needed" in form.findings.text() and not page.import_button.isEnabled()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(files / "pictures"))
    click(qtbot, form.choices.editors["images"].button)
    looked(qtbot, page)
    assert "✓ all 48 pictures are there" in form.findings.text()
    fill(qtbot, form.folder, tmp_path / "deep" / "god")
    dock.pages["data"].ensureWidgetVisible(page.import_button)
    qtbot.waitUntil(page.import_button.isEnabled, timeout=PATIENCE)
    click(qtbot, page.import_button)
    assert page.importer.busy and page.close_button.text() == "Stop" and form.isHidden()
    qtbot.waitUntil(lambda: not page.importer.busy, timeout=PATIENCE)
    # open, with the result in sight
    subject = dock.state.workspace.subject
    assert dock.state.workspace.folder == tmp_path / "deep" / "god" and dock.state.step == "data"
    assert list(subject.trials["stimulus_id"]) == list(god.trials["stimulus_id"])
    np.testing.assert_array_equal(subject._betas.read(np.arange(140)), god.responses.astype(np.float32))
    np.testing.assert_allclose(subject.xyz, god.xyz, atol=1e-3)
    assert page.result.isVisible() and page.result.sides.text().count("✓") == 2
    assert "left hemisphere prefers the right field" in page.result.sides.text()
    assert page.result.offers == [] and page.result.notice.isHidden() and dock.head.notice.isHidden()
    assert records() == before and not halves(tmp_path)
    click(qtbot, page.close_button)
    assert dock.data.contents.isVisible() and page.isHidden()
    click(qtbot, dock.data.import_button)
    click(qtbot, page.result.train_button)
    assert dock.state.step == "train" and dock.train.isEnabled()


def test_a_mirrored_subject_is_warned_of_and_mended_by_a_button(page, god, files, tmp_path, qtbot) -> None:
    said: list[str] = []
    page.state.problem.connect(said.append)
    begin(qtbot, page, files / "Subject2.mat", tmp_path / "god")
    qtbot.waitUntil(page.result.isVisible, timeout=PATIENCE)
    np.testing.assert_allclose(page.state.workspace.subject.xyz, god.xyz * [-1, 1, 1], atol=1e-3)
    assert page.result.sides.text().count("✗") == 2 and "LEFT" in page.result.sides.text()
    assert [button.text() for button in page.result.offers] == [
        "Import again with voxel coordinates mirrored (x)",
        "Import again with pictures mirrored (x)",
    ]
    assert "contradict" in page.result.notice.text() and page.result.train_button.isHidden()
    assert "contradict the brain's own sides (left hemisphere, right hemisphere)" in said[-1], "in sight in every step"
    click(qtbot, page.result.offers[0])
    assert page.importer.busy and page.result.isHidden()
    qtbot.waitUntil(page.result.isVisible, timeout=PATIENCE)
    assert page.state.workspace.folder == tmp_path / "god-2" and (tmp_path / "god" / "dataset_description.json").is_file()
    np.testing.assert_allclose(page.state.workspace.subject.xyz, god.xyz, atol=1e-3)
    assert page.result.sides.text().count("✓") == 2 and page.result.offers == [] and said[-1] == ""
    note = json.loads((tmp_path / "god-2" / "sourcedata" / "import.json").read_text())
    assert note["choices"]["flip"] == ["x"]
    # the next one begins afresh
    click(qtbot, page.result.another_button)
    assert page.form.isVisible() and page.form.source.text() == "" and page.form.choices.changes() == {}
    assert not page.import_button.isEnabled() and page.result.isHidden()


# ---------------------------------------------------------------------- own data


def test_files_of_ones_own_are_asked_for_one_by_one(page, tmp_path, qtbot, monkeypatch) -> None:
    (tmp_path / "lab").mkdir()
    lab, form = Lab(tmp_path / "lab"), page.form
    lab.write_npy("betas.npy")
    lab.write_table("trials.csv")
    lab.write_mask()
    lab.write_pictures()
    regions = [str(lab.save(f"{name}.nii.gz", mask)) for name, mask in lab.areas.items()]
    choose(qtbot, page, "own")
    assert "trial table" in form.needs.text() and form.needs.isVisible() and "no file is chosen" in form.findings.text()
    keys = list(form.choices.editors)
    wanted = ["own.table", "images", "own.regions", "own.mask", "own.anatomy", "own.surfaces", "field_of_view_deg", "splits.by"]
    assert keys[: len(wanted)] == wanted
    fill(qtbot, form.source, lab.folder / "betas.npy")
    looked(qtbot, page)
    assert "give “trial table” FILE" in form.findings.text()
    fill(qtbot, form.choices.editors["own.table"], lab.folder / "trials.csv")
    looked(qtbot, page)
    assert "✗ pictures are needed" in form.findings.text() and "“field of view”" in form.findings.text()
    fill(qtbot, form.choices.editors["images"], lab.folder / "pictures")
    fill(qtbot, form.choices.editors["own.mask"], lab.folder / "mask.nii.gz")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (regions, ""))
    click(qtbot, form.choices.editors["own.regions"].button)
    fill(qtbot, form.choices.editors["field_of_view_deg"], "9")
    looked(qtbot, page)
    assert form.ready, form.findings.text()
    assert page.form.place() == tmp_path / "home" / "brain2pix" / "own-sub-01"
    click(qtbot, page.import_button)
    qtbot.waitUntil(page.result.isVisible, timeout=PATIENCE)
    subject = page.state.workspace.subject
    assert subject.field_of_view_deg == 9 and list(subject.trials["stimulus_id"]) == list(lab.table["stimulus_id"])
    order = np.lexsort(subject.ijk.T[::-1])
    np.testing.assert_array_equal(subject.ijk[order], np.argwhere(lab.mask))
    np.testing.assert_array_equal(subject._betas.read(np.arange(lab.n_voxels))[:, order], lab.matrix().astype(np.float32))
    assert subject.areas["V2"].sum() == lab.areas["V2"].sum()


# ---------------------------------------------------------------------- what is missing, what is wrong


def test_missing_pictures_are_named_and_can_be_left_out(page, god, files, tmp_path, qtbot) -> None:
    shutil.copytree(files / "pictures", tmp_path / "pictures")
    gone = [god.train[1], god.test[0]]
    for name in gone:
        next((tmp_path / "pictures").rglob(f"{name}.png")).unlink()
    form = page.form
    fill(qtbot, form.source, files / "Subject1.h5")
    looked(qtbot, page)
    fill(qtbot, form.choices.editors["images"], tmp_path / "nowhere")
    looked(qtbot, page)
    assert "nowhere does not exist" in form.findings.text() and form.choices.isVisible()
    fill(qtbot, form.choices.editors["images"], tmp_path / "pictures")
    looked(qtbot, page)
    assert "2 of 48 pictures are missing" in form.findings.text() and all(name in form.findings.text() for name in gone)
    assert not page.import_button.isEnabled()
    qtbot.keyClick(form.choices.editors["missing"], Qt.Key.Key_Down)
    assert not form.waits, "nothing new is to be found"
    assert "⚠ 2 of 48" in form.findings.text() and page.import_button.isEnabled()


def test_what_is_no_dataset_is_said_and_shown_as_text(page, tmp_path, qtbot) -> None:
    form = page.form
    (tmp_path / "<b>Subject1.mat").write_text("<html><img src='file:///etc/passwd'>")
    fill(qtbot, form.source, tmp_path / "<b>Subject1.mat")
    looked(qtbot, page)
    assert "&lt;html&gt;" in form.findings.text() and "<img" not in form.findings.text() and "&lt;b&gt;Subject1" in form.findings.text()
    assert not page.import_button.isEnabled() and form.choices.isHidden() and form.found_list.isHidden()
    # a kind that is named is told why it does not fit, and its choices stay
    choose(qtbot, page, "god-matlab")
    looked(qtbot, page)
    assert "✗" in form.findings.text() and form.choices.isVisible()
    fill(qtbot, form.source, tmp_path / "gone.mat")
    looked(qtbot, page)
    assert "gone.mat does not exist" in form.findings.text()
    (tmp_path / "notes.npy").write_bytes(b"\x93NUMPY\x01\x00")
    choose(qtbot, page, "auto")
    fill(qtbot, form.source, tmp_path / "notes.npy")
    looked(qtbot, page)
    assert f"choose the kind “{importing.OWN_FILES}”" in form.findings.text() and "brain2pix import" not in form.findings.text()


def test_a_place_in_use_and_a_wrong_choice_are_refused(page, files, tmp_path, qtbot) -> None:
    form = page.form
    fill(qtbot, form.source, files / "Subject1.h5")
    looked(qtbot, page)
    fill(qtbot, form.choices.editors["images"], files / "pictures")
    looked(qtbot, page)
    assert form.ready
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    fill(qtbot, form.folder, tmp_path / "full")
    qtbot.waitUntil(lambda: "not empty" in form.findings.text(), timeout=PATIENCE)
    assert not page.import_button.isEnabled()
    fill(qtbot, form.folder, tmp_path / "free")
    qtbot.waitUntil(page.import_button.isEnabled, timeout=PATIENCE)
    click(qtbot, form.choices.more)
    fill(qtbot, form.choices.editors["field_of_view_deg"], "900")
    assert "less than or equal to 180" in form.choices.notes["field_of_view_deg"].text()
    assert "a choice above is wrong" in form.findings.text() and not page.import_button.isEnabled()
    fill(qtbot, form.choices.editors["field_of_view_deg"], "10")
    box = form.choices.editors["flip"].boxes["x"]
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=box.rect().center().__class__(8, box.height() // 2))
    looked(qtbot, page)
    assert form.params()["flip"] == ["x"] and form.params()["field_of_view_deg"] == 10 and page.import_button.isEnabled()


def test_only_choices_that_a_kind_can_use_are_shown(qtbot) -> None:
    form = ChoicesForm(Path.home)
    qtbot.addWidget(form)
    for kind in READERS:
        form.load_kind(kind, {})
        form.more.setChecked(True)
        assert ("own.table" in form.editors) == (kind == "own")
        assert ("n_train" in form.editors) == (kind == "vim-1")
        assert ("flip" in form.editors) == (kind not in ("vim-1", "god-npz"))
        form.more.setChecked(False)
    form.load_kind("own", {"own.regions": ["/a/b, c.nii", "/d.nii"], "flip": ["x"]})
    assert form.editors["own.regions"].read() == ("/a/b, c.nii", "/d.nii") and form.values().own.regions == (
        Path("/a/b, c.nii"),
        Path("/d.nii"),
    )
    form.load_kind("vim-1", form.changes())
    assert form.changes() == {}


# ---------------------------------------------------------------------- stopping, and what goes on without the page


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of a subject whose pictures take some seconds to write."""
    folder = tmp_path_factory.mktemp("large")
    god = God(n_train=150, n_test=8, n_voxels=40)
    god.images = {name: np.kron(image, np.ones((12, 12, 1), dtype=np.uint8)) for name, image in god.images.items()}
    god.write_images(folder / "pictures")
    return god.write_hdf5(folder / "Subject1.h5")


def test_stop_leaves_nothing(page, large, tmp_path, qtbot) -> None:
    before, out = records(), tmp_path / "home" / "deep" / "god"
    process = begin_and_hold(qtbot, page, large, out)
    assert page.bar.maximum() > page.bar.value() > 0 and "pictures:" in page.step.text() and "of 158" in page.step.text()
    click(qtbot, page.close_button)
    assert "stopping" in page.step.text() and page.close_button.text() == "Stop now"
    process.resume()
    qtbot.waitUntil(lambda: not page.importer.busy, timeout=PATIENCE)
    assert "nothing was left behind" in page.said.text() and page.form.isVisible() and page.import_button.isEnabled()
    assert not out.parent.exists() and not halves(tmp_path) and records() == before and page.state.workspace is None


def test_a_process_that_is_killed_leaves_nothing_and_is_said(page, large, tmp_path, qtbot) -> None:
    before, out = records(), tmp_path / "home" / "deep" / "god"
    begin_and_hold(qtbot, page, large, out).kill()
    qtbot.waitUntil(lambda: not page.importer.busy, timeout=PATIENCE)
    assert "memory ran out" in page.said.text() and "Resume" not in page.said.text()
    assert not out.parent.exists() and not halves(tmp_path) and records() == before


def test_a_page_that_is_put_away_goes_on_and_does_not_replace_what_is_looked_at(
    page, files, tiny_subject, tmp_path, qtbot, monkeypatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_brain2pix.widgets.importing.show_info", told.append)
    page.state.open(tiny_subject)
    out = tmp_path / "home" / "deep" / "god"
    begin(qtbot, page, files / "Subject1.h5", out)
    page.hide()
    qtbot.waitUntil(lambda: not page.importer.busy, timeout=PATIENCE)
    assert page.state.workspace.folder == tiny_subject and "Subject1.h5 is imported" in told[0]
    page.show()
    assert "not open yet" in page.result.what.text()
    click(qtbot, page.result.open_button)
    assert page.state.workspace.folder == out and page.result.open_button.isHidden() and "open now" in page.result.what.text()


def test_a_window_that_closes_does_not_end_the_import(large, tmp_path, qtbot, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    page = ImportPage(State())
    with qtbot.waitExposed(page):
        page.show()
    before, out = records(), tmp_path / "home" / "deep" / "god"
    process = begin_and_hold(qtbot, page, large, out)
    with qtbot.waitSignal(page.destroyed):
        page.deleteLater()
    process.resume()
    qtbot.waitUntil(lambda: (out / "sourcedata" / "import.json").exists(), timeout=PATIENCE)
    for child in importing._GOING:
        child.wait(30)
    # a later import removes its record
    (left,) = records() - before
    importing._sweep()
    assert left.exists()
    monkeypatch.setattr(importing, "OLD_S", -1.0)
    importing._sweep()
    assert not left.exists()


# ---------------------------------------------------------------------- parts


def test_a_new_question_drops_the_old_one(qtbot, files) -> None:
    state = State()
    look, answers = Look(state, state), []
    look.answered.connect(answers.append)
    look.ask({"source": str(files / "Subject2.mat"), "kind": "auto"})
    with qtbot.waitSignal(look.began, timeout=PATIENCE):
        pass
    look.ask({"source": str(files / "Subject1.h5"), "kind": "auto"})
    qtbot.waitUntil(lambda: bool(answers), timeout=PATIENCE)
    assert not look.busy and [answer["kind"] for answer in answers] == ["god-hdf5"]


@pytest.mark.parametrize(
    ("command", "words"),
    [(["-c", "raise SystemExit('no room left')"], "no room left"), (["-c", "pass"], "ended without a word")],
)
def test_a_look_that_fails_says_so(qtbot, monkeypatch, command, words) -> None:
    monkeypatch.setattr(Look, "command", command)
    state = State()
    look = Look(state, state)
    with qtbot.waitSignal(look.answered, timeout=PATIENCE) as answered:
        look.ask({"source": "x", "kind": "auto"})
    assert words in answered.args[0]["error"]
    monkeypatch.setattr(importing.sys, "executable", "/no/such/program")
    with qtbot.waitSignal(look.answered, timeout=PATIENCE) as answered:
        look.ask({"source": "x", "kind": "auto"})
    assert "could not be looked into" in answered.args[0]["error"] and not look.busy


def test_words_of_the_window() -> None:
    assert in_window("give the right --images or --zscore run") == "give the right “pictures” or “z-score” run"
    assert in_window("with --flip-images x") == "with “mirror pictures” x"
    progress = JobProgress("import", "pictures", 5, 10)
    assert (
        describe_progress(progress) == "pictures: 5 of 10"
        and 0 < share_done(progress) < share_done(JobProgress("import", "voxels", 1, 10)) < 1
    )
    assert share_done(JobProgress("import", "voxels", 10, 10)) == 1 and "opening" in describe_progress(JobProgress())


def test_what_cannot_be_learned_from_is_minded() -> None:
    found: dict[str, Any] = {"splits": [{"split": "test", "trials": 4}], "voxels": 9, "areas": {}, "left": 0, "right": 0}
    found |= {"pictures_wanted": "", "missing": 0, "missing_names": [], "stimuli": 4, "field_of_view_deg": 5.0}
    marks = {check.text: check.level for check in found_checks(found, "error")}
    assert [text for text in marks if "“train”" in text] and [text for text in marks if "no areas" in text]
    assert set(marks.values()) == {"good", "mind"}
    (stop,) = [check for check in found_checks({**found, "missing": 4, "missing_names": ["a", "b"]}, "skip") if check.level == "stop"]
    assert "4 of 4 pictures are missing (a, b, …)" in stop.text and "right folder" in stop.text
