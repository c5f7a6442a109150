"""Runs are compared by real clicks: scores against their formulas, thousands of pairs, the large view, runs that do not belong."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QGuiApplication, QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QFileDialog
from skimage.metrics import structural_similarity

from brain2pix.compute.spec import JobSpec
from brain2pix.data.image_scores import cached_scores, fingerprint
from brain2pix.files import write_json
from napari_brain2pix._state import State
from napari_brain2pix.children.comparison import Comparison
from napari_brain2pix.folders.pictures import Pictures, Run
from napari_brain2pix.widgets._parts import picture_of_widget
from napari_brain2pix.widgets.gallery import Gallery

WAIT_MS = 120_000  # a child imports scipy and scikit-image; shared machines are slow
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def several(demo, tmp_path_factory) -> Path:
    """A demo with several rows, made before scores were kept with the pictures, and without a model."""
    folder = tmp_path_factory.mktemp("several") / "demo"
    (folder / "results").mkdir(parents=True)
    (folder / "subject").symlink_to(demo / "subject")
    (folder / "demo.json").write_text(json.dumps({"preset": "tiny", "seed": 0, "method": "ridge"}))
    stored = dict(np.load(demo / "results" / "reconstructions.npz"))
    truth, made = stored["stimuli"].astype(float), stored["reconstructions"].astype(float)
    rows = {"supervised": 0.5 * truth + 0.5 * made, "images": 0.2 * truth + 0.8 * made, "shuffled": made[::-1], "ridge_pairs": 255 - made}
    stored |= {f"reconstructions_{row}": values.astype(np.uint8) for row, values in rows.items()}
    np.savez(folder / "results" / "reconstructions.npz", **stored)
    return folder


def click(qtbot, widget) -> None:
    widget.window().activateWindow()
    qtbot.mouseClick(widget, LEFT)


def choose(qtbot, combo, title: str) -> None:
    """Choose by keyboard, as the arrows do it: the signal that the user has chosen is sent."""
    combo.setFocus()
    while combo.currentText() != title:
        before = combo.currentIndex()
        qtbot.keyClick(combo, Qt.Key.Key_Down if combo.findText(title) > before else Qt.Key.Key_Up)
        assert combo.currentIndex() != before


def cell(dock, number: int) -> QPoint:
    gallery = dock.gallery
    return gallery.thumbnails.visualRect(gallery.model.index(number, 0)).center()


def test_runs_are_scored_marked_sorted_and_found(dock, several, qtbot) -> None:
    dock.open(several)
    dock.state.set_step("decode")
    page, comparison = dock.decode, dock.comparison
    titles = [run.title for run in comparison.runs.values()]
    assert titles == ["ridge, full method", "pairs only", "without test responses", "shuffled pairs (control)", "ridge on pairs"]
    assert "none used in training" in page.about.text() and "simulated responses" in page.about.text()
    assert "press Score these" in page.means.text() and page.score_button.isVisible()
    before = sorted(path.relative_to(several) for path in several.rglob("*"))
    click(qtbot, page.score_button)
    assert not page.score_button.isEnabled()
    qtbot.waitUntil(lambda: not comparison.unscored, timeout=WAIT_MS)
    assert page.score_button.isHidden() and sorted(path.relative_to(several) for path in several.rglob("*")) == before
    assert (cached_scores(several / "results" / "reconstructions.npz") / "image_scores.tsv").is_file()

    stored = np.load(several / "results" / "reconstructions.npz")
    truth = stored["stimuli"].astype(float)
    for row, name in enumerate(("reconstructions", "reconstructions_supervised")):
        made = stored[name].astype(float)
        r = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in truth] for a in made])
        similar = [structural_similarity(a, b, win_size=7, data_range=255, channel_axis=-1) for a, b in zip(made, truth, strict=True)]
        beaten = [(r[i, i] > np.delete(r[i], i)).mean() for i in range(len(r))]
        line = page.runs.topLevelItem(row)
        assert line.text(2) == f"{np.diag(r).mean():.2f}" and line.text(3) == f"{np.mean(similar):.2f}"
        assert line.text(4) == f"{100 * np.mean(beaten):.0f} %"
        assert f"N {len(truth)}" in line.toolTip(2) and "chance 50 %" in line.toolTip(4)
        assert f"r {r[3, 3]:.2f}, SSIM {similar[3]:.2f}" in comparison.words(3)
        run = list(comparison.runs.values())[row]
        np.testing.assert_allclose(run.scores.values["ssim"], similar, atol=1e-4)
    last = page.runs.topLevelItem(page.runs.topLevelItemCount() - 1)
    assert last.text(1) == "chance" and last.text(2) == "0.00" and 0 < float(last.text(3)) < 1 and last.text(4) == "50 %"

    # the chosen line leads: thumbnails, their scores and their order
    place = page.runs.visualItemRect(page.runs.topLevelItem(1)).center()
    qtbot.mouseClick(page.runs.viewport(), LEFT, pos=place)
    assert comparison.leading.title == "pairs only"
    choose(qtbot, page.score, "Structural similarity")
    for order, extreme in (("Best first", np.argmax), ("Worst first", np.argmin)):
        choose(qtbot, page.sort, order)
        assert dock.gallery.model.image_of(0) == extreme(similar)
        assert dock.gallery.model.data(dock.gallery.model.index(0, 0)) == f"SSIM {similar[extreme(similar)]:.2f}"
    ids = comparison.pictures.stimulus_ids
    qtbot.keyClicks(page.filter, ids[4][-3:].upper())
    wanted = [name for name in ids if ids[4][-3:] in name]
    assert {ids[row] for row in comparison.rows} == set(wanted) and f"{len(wanted)} of {len(ids)} images" in page.count.text()
    qtbot.keyClicks(page.filter, "nothing")
    assert dock.gallery.model.rowCount() == 0 and "No name of an image" in page.count.text()
    page.filter.clear()

    # four at most; the fifth is refused and its mark goes off again
    marks = list(page.marks.values())
    assert [mark.isChecked() for mark in marks] == [True, True, False, False, False]
    for mark in marks[2:]:
        click(qtbot, mark)
    assert [mark.isChecked() for mark in marks] == [True, True, True, True, False] and "At most 4" in page.notice.text()
    click(qtbot, marks[1])
    assert len(comparison.shown) == 3 and comparison.leading.title == "ridge, full method", "who leads must be shown"


def test_the_large_view_by_keys_and_mouse(dock, several, qtbot) -> None:
    dock.open(several)
    gallery, ids = dock.gallery, dock.state.workspace.pictures.stimulus_ids
    qtbot.waitUntil(lambda: gallery.thumbnails.viewport().height() > 40, timeout=5000)
    qtbot.mouseClick(gallery.thumbnails.viewport(), LEFT, pos=cell(dock, 1))
    assert dock.state.base == ids[1]
    qtbot.keyClick(gallery.thumbnails, Qt.Key.Key_Right)
    assert dock.state.base == ids[2]
    qtbot.keyClick(gallery.thumbnails, Qt.Key.Key_Return)
    zoom = gallery.zoom
    assert zoom.isVisible() and zoom.parent() is gallery
    runs = dock.comparison.shown_runs
    assert list(zoom.panes) == ["", *(run.key for run in runs)] and len(runs) == 2
    assert np.array_equal(zoom.panes[runs[1].key].pixels, runs[1].pictures[2])
    assert ids[2] in zoom.heading.text() and f"3 of {len(ids)}" in zoom.heading.text()

    qtbot.wait(50)
    first, second = zoom.panes[""], zoom.panes[runs[0].key]
    frame = first.frame()
    whole = picture_of_widget(first)
    corner = frame.topLeft() + QPointF(0.25 * frame.width(), 0.25 * frame.height())
    for _ in range(4):
        spot = QPointF(first.mapToGlobal(corner.toPoint()))
        nothing = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)
        QApplication.sendEvent(first, QWheelEvent(corner, spot, QPoint(), QPoint(0, 120), *nothing))
    assert zoom.lens.zoom == pytest.approx(1.25**4)
    # what lay under the pointer still does, and both panes show the same part
    part, pixels = first.visible_part(), len(first.pixels)
    assert (part.x() + 0.25 * part.width()) / pixels == pytest.approx(0.25, abs=0.01)
    assert second.visible_part().x() / len(second.pixels) == pytest.approx(part.x() / pixels)
    sharp = picture_of_widget(first)
    assert not np.array_equal(sharp, whole)
    middle = first.rect().center()
    qtbot.mousePress(second, LEFT, pos=middle)
    there = QPointF(middle) - QPointF(30, 0)
    here = QPointF(second.mapToGlobal(there.toPoint()))
    drag = QMouseEvent(QEvent.Type.MouseMove, there, here, LEFT, LEFT, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(second, drag)  # the test's own pointer moves without its button
    qtbot.mouseRelease(second, LEFT, pos=there.toPoint())
    assert first.visible_part().x() > part.x() + 0.5, "dragging one moves both"
    click(qtbot, zoom.fit_button)
    qtbot.wait(20)
    assert np.array_equal(picture_of_widget(first), whole)
    click(qtbot, zoom.pixels.buttons["smooth"])
    assert not np.array_equal(picture_of_widget(first), whole)

    click(qtbot, zoom.copy_button)
    assert QGuiApplication.clipboard().image().size() == zoom.area.size() and "Copied" in zoom.told.text()
    qtbot.keyClick(zoom, Qt.Key.Key_Right)
    assert dock.state.base == ids[3] and np.array_equal(first.pixels, dock.comparison.pictures.stimuli[3])
    assert gallery.model.image_of(gallery.thumbnails.currentIndex().row()) == 3, "the thumbnails follow"
    dock.comparison.set_text(ids[3])
    assert "1 of 1" in zoom.heading.text() and not zoom.forth.isEnabled() and not zoom.back.isEnabled()
    qtbot.keyClick(zoom, Qt.Key.Key_Escape)
    assert not zoom.isVisible()
    dock.comparison.set_text("")
    qtbot.mouseClick(gallery.thumbnails.viewport(), LEFT, pos=cell(dock, 0))
    qtbot.mouseDClick(gallery.thumbnails.viewport(), LEFT, pos=cell(dock, 0))  # the second half of a double click
    assert zoom.isVisible() and ids[0] in zoom.heading.text()
    dock.state.set_base("mean")
    assert not zoom.isVisible(), "the mean response has no stimulus to look at"


def decoded_run(folder: Path, demo: Path, **about) -> Path:
    """A finished run with its reconstructions, in the reversed order of the demo's."""
    JobSpec("train", {"subject": str(demo / "subject"), "method": "ridge"}, folder).write()
    shutil.copytree(demo / "runs" / "ridge" / "model", folder / "model")
    stored = np.load(demo / "results" / "reconstructions.npz")
    results = folder / "decode-test" / "results"
    results.mkdir(parents=True)
    np.save(results / "reconstructions.npy", stored["reconstructions"][::-1])
    names = [str(name) for name in stored["stimulus_ids"][::-1]]
    values = {"stimulus_ids": names, "method": "ridge", "run": str(folder), "stimuli": fingerprint(stored["stimuli"][::-1])}
    write_json(results / "reconstructions.json", values | about)
    return folder


def test_runs_of_other_folders_are_added_or_refused_with_a_reason(dock, demo, several, qtbot, tmp_path, monkeypatch) -> None:
    dock.open(several)
    dock.state.set_step("decode")

    def add(folder: Path) -> str:
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
        click(qtbot, dock.decode.add_button)
        return dock.decode.notice.text()

    there = len(dock.comparison.runs)
    good = decoded_run(tmp_path / "good", demo)
    assert add(good) == "" and len(dock.comparison.runs) == there + 1
    added = list(dock.comparison.runs.values())[-1]
    assert added.title == "ridge · good"
    assert np.array_equal(added.pictures, dock.comparison.pictures.reconstructions), "in the order of the images that are shown"
    assert "in the list already" in add(good)

    model = decoded_run(tmp_path / "voxels", demo) / "model" / "model.json"
    values = json.loads(model.read_text())
    values["subjects"][0]["voxel_hash"] = "0" * 64
    model.write_text(json.dumps(values))
    assert "fingerprint 000000000000" in add(model.parent.parent)
    values["subjects"][0]["subject"] = "sub-77"
    model.write_text(json.dumps(values))
    assert "is about sub-77, open is sub-01" in add(model.parent.parent)
    assert "other test images" in add(decoded_run(tmp_path / "names", demo, stimulus_ids=[f"x{n}" for n in range(len(added.pictures))]))
    assert "made from other images" in add(decoded_run(tmp_path / "images", demo, stimuli="0" * 24))
    bare = decoded_run(tmp_path / "bare", demo)
    shutil.rmtree(bare / "decode-test")
    assert f"brain2pix decode {bare}" in add(bare)
    assert len(dock.comparison.runs) == there + 1


def test_a_run_without_pictures_is_reconstructed_from_the_page(dock, demo, qtbot, tmp_path) -> None:
    run = decoded_run(tmp_path / "run", demo)
    shutil.rmtree(run / "decode-test")
    dock.open(run)
    dock.state.set_step("decode")
    page = dock.decode
    assert "have not been reconstructed" in page.empty.text() and dock.comparison.runs == {} and page.runs.isHidden()
    click(qtbot, page.decode_button)
    qtbot.waitUntil(lambda: len(dock.comparison.runs) == 1, timeout=WAIT_MS)
    made = np.load(run / "decode-test" / "results" / "reconstructions.npy")
    assert np.array_equal(dock.comparison.leading.pictures, made)
    assert page.decode_button.isHidden() and dock.comparison.unscored == [], "the job has scored them"
    stimuli = dock.state.workspace.subject.images(dock.comparison.pictures.stimulus_ids, size=made.shape[1])
    r = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(made, stimuli, strict=True)]
    assert page.runs.topLevelItem(0).text(2) == f"{np.mean(r):.2f}"


def test_five_thousand_pairs_scroll(qtbot) -> None:
    n = 5000
    pictures = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    ids = [f"image-{number:04d}" for number in range(n)]
    run = Run("run", "a run", pictures[::-1], Path("nowhere"))
    state = State()
    comparison = Comparison(state, state)
    gallery = Gallery(state, comparison)
    qtbot.addWidget(gallery)
    gallery.resize(1300, 260)
    gallery.show()
    qtbot.waitExposed(gallery)
    state.base = ids[0]
    state.opened.emit(SimpleNamespace(folder=Path("nowhere"), pictures=Pictures(ids, pictures, (run,))))
    gallery.thumbnails.grab()
    painted = len(gallery.model.painted)
    assert 4 <= painted < 100, "only what is in view is painted"
    bar = gallery.thumbnails.verticalScrollBar()
    assert bar.maximum() > n / 20 * 56, "even twenty pairs in a row need this height"
    for step in range(1, 21):
        bar.setValue(bar.maximum() * step // 20)
        gallery.thumbnails.grab()
    assert len(gallery.model.painted) < 25 * painted
    qtbot.keyClick(gallery.thumbnails, Qt.Key.Key_End)
    assert state.base == ids[-1]
    shown = gallery.model.data(gallery.thumbnails.currentIndex(), Qt.ItemDataRole.DecorationRole)
    assert shown.width() == 2 * shown.height() + 2
