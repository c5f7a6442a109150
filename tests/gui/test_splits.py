"""Other splits than the test images: chosen, reconstructed and scored in the window, imagined words too; accuracy maps of an evaluation."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt

from brain2pix.compute.spec import JobSpec
from brain2pix.data.subject import open_subject
from brain2pix.data.voxel_accuracy import COLUMNS, VoxelAccuracy, write_voxel_accuracy

WAIT_MS = 120_000  # a child imports torch; shared machines are slow
LEFT = Qt.MouseButton.LeftButton
SEEN = [f"test-{number:04d}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory) -> Path:
    """A trained run of a subject that imagined five test images, and a word, twice each; nothing was decoded."""
    place = tmp_path_factory.mktemp("imagery")
    subject = Path(shutil.copytree(demo / "subject", place / "subject-copy"))
    (betas,) = subject.glob("sub-01/func/*_betas.h5")
    table = pd.read_csv(betas.with_suffix(".tsv"), sep="\t", keep_default_na=False)
    last = (table["split"] == "test") & (table["repeat"] >= 7)
    table.loc[last & table["stimulus_id"].isin([*SEEN, "test-0006"]), "split"] = "imagery"
    table.loc[(table["split"] == "imagery") & (table["stimulus_id"] == "test-0006"), "stimulus_id"] = "word-a"
    table.to_csv(betas.with_suffix(".tsv"), sep="\t", index=False)
    with h5py.File(betas, "a") as file:
        del file["trials"]
    folder = place / "run"
    JobSpec("train", {"subject": str(subject), "method": "ridge"}, folder).write()
    shutil.copytree(demo / "runs" / "ridge" / "model", folder / "model")
    return folder


def choose(qtbot, combo, title: str) -> None:
    combo.setFocus()
    while combo.currentText() != title:
        before = combo.currentIndex()
        qtbot.keyClick(combo, Qt.Key.Key_Down if combo.findText(title) > before else Qt.Key.Key_Up)
        assert combo.currentIndex() != before


def test_imagined_images_and_words_are_reconstructed_and_scored(dock, run, qtbot) -> None:
    dock.open(run)
    dock.state.set_step("decode")
    page, comparison = dock.decode, dock.comparison
    offered = [page.split.itemText(row) for row in range(page.split.count())]
    assert offered[0] == page.split.currentText() == "test" and "imagery" in offered and "train" not in offered
    assert page.split.isVisible() and "20 images of the test split, none used in training" in page.about.text()
    choose(qtbot, page.split, "imagery")
    assert comparison.pictures.stimulus_ids == [*SEEN, "word-a"] and dock.state.base == SEEN[0]
    for words in ("6 images of the imagery split", "1 have no picture", "the mean of the 2 simulated responses"):
        assert words in page.about.text()
    assert "The imagery images have not been reconstructed" in page.empty.text() and page.decode_button.isVisible()
    assert "Images of imagery" in dock.gallery.heading.text()
    page.window().activateWindow()
    qtbot.mouseClick(page.decode_button, LEFT)
    qtbot.waitUntil(lambda: len(comparison.runs) == 1, timeout=WAIT_MS)
    assert page.split.currentText() == "imagery", "what has been made is shown, not the test images"
    results = run / "decode-imagery" / "results"
    made = np.load(results / "reconstructions.npy")
    assert np.array_equal(comparison.leading.pictures, made) and page.decode_button.isHidden()
    stimuli = open_subject(run.parent / "subject-copy").images(SEEN, size=made.shape[1])
    r = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(made, stimuli, strict=False)]
    line = page.runs.topLevelItem(0)
    assert line.text(2) == f"{np.mean(r):.2f}" and "N 5 images" in line.toolTip(2) and "N = 5 imagery images" in page.means.text()
    assert "not scored" not in comparison.words(0) and "r –" in comparison.words(5)

    # the base of a stimulation is what was imagined, and says so
    assert dock.stimulate.request()["split"] == "imagery"
    dock.state.set_base("word-a")
    shown = dock.gallery.pictures["stimulus"]
    assert shown.pixels is None and "no picture" in shown.frame.empty and dock.gallery.pictures["reconstruction"].pixels is not None
    assert "mean of 2 trials" in dock.stimulate.base.itemText(0)
    dock.state.set_base("mean")
    assert dock.stimulate.request()["split"] is None

    choose(qtbot, page.split, "test")
    assert len(comparison.pictures.stimulus_ids) == 20 and comparison.runs == {} and page.decode_button.isVisible()
    dock.state.set_base(SEEN[0])
    assert dock.stimulate.request()["split"] is None and "mean of 6 trials" in dock.stimulate.base.itemText(0)
    choose(qtbot, page.split, "imagery")
    assert len(comparison.runs) == 1
    dock.open(run / "decode-imagery")
    assert dock.state.workspace.split == "imagery" and len(comparison.runs) == 1


def test_a_demo_shows_another_split_of_its_run(dock, demo, qtbot, tmp_path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    for name in ("subject", "maps", "results"):
        (folder / name).symlink_to(demo / name)
    shutil.copytree(demo / "runs", folder / "runs")
    (folder / "demo.json").write_text((demo / "demo.json").read_text())
    subject = open_subject(demo / "subject")
    names = [name for name in subject.stimuli["stimulus_id"] if name.startswith("validation")]
    results = folder / "runs" / "ridge" / "decode-validation" / "results"
    results.mkdir(parents=True)
    made = subject.images(names)[::-1]
    np.save(results / "reconstructions.npy", made)
    (results / "reconstructions.json").write_text(json.dumps({"stimulus_ids": names, "method": "ridge", "split": "validation"}))
    dock.open(folder)
    assert dock.state.workspace.split == "test" and len(dock.comparison.runs) == 1
    dock.state.set_step("decode")
    choose(qtbot, dock.decode.split, "validation")
    assert len(dock.comparison.runs) == 1 and np.array_equal(dock.comparison.leading.pictures, made)


def test_an_evaluation_brings_its_maps_without_receptive_fields(dock, run, qtbot) -> None:
    subject = open_subject(run.parent / "subject-copy")
    index, rng = subject.select("V1 + V2"), np.random.default_rng(1)
    ceiling = rng.uniform(0.3, 0.9, index.size)
    r = ceiling * rng.uniform(0.4, 1.0, index.size)
    parts = {"r": r, "ceiling": ceiling, "r_over_ceiling": r / ceiling, "half": r, "reliability": ceiling**2}
    values = {name: parts[name].astype(np.float32) for name in COLUMNS}
    results = run / "evaluate-test" / "results"
    write_voxel_accuracy(results, VoxelAccuracy(values, "test", 20, (8, 8), "gaziv"), subject, index, {})
    try:
        dock.open(run)
        dock.state.set_step("maps")
        kinds = [dock.maps.kind.itemText(row) for row in range(dock.maps.kind.count())]
        assert kinds == ["Prediction (r)", "Noise ceiling", "Accuracy over ceiling"]
        assert "20 test images, mean of 8 repeats each" in dock.maps.measure.text()
        for title, column in zip(kinds, ("r", "ceiling", "r_over_ceiling"), strict=True):
            choose(qtbot, dock.maps.kind, title)
            found = dock.state.found
            np.testing.assert_array_equal(found.value[index], values[column])
            assert found.kind.limits == (0.0, 1.0) and not found.shown[np.setdiff1d(np.arange(subject.n_voxels), index)].any()
            assert found.shown[index].sum() == (values["r"] >= dock.state.threshold).sum()
        dock.state.set_view("inflated")
        dock.maps.legend.grab()
        dock.state.select([int(index[3])], "volume")
        assert f"accuracy {values['r_over_ceiling'][3]:.2f} of its ceiling" in dock.maps.selected.text()
    finally:
        shutil.rmtree(run / "evaluate-test")
