"""The subject that ships with the program, and subjects made from the form."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_brain2pix import _sample_data as sample
from napari_brain2pix._state import State
from napari_brain2pix.children.simulate import SampleMaker
from napari_brain2pix.folders.workspace import open_workspace
from napari_brain2pix.widgets.simulate import SimulateForm, place_check

MOST_BYTES = 2_000_000
SMALL = {
    "voxel_mm": 6,
    "image_size": 16,
    "n_train": 24,
    "n_test": 10,
    "n_validation": 4,
    "n_category_train": 0,
    "n_category_test": 0,
    "n_repeats": 2,
    "n_unpaired": 16,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache folder of the window, empty at first; the sample is unpacked into it once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sample, "cache_folder", lambda: folder)
        yield folder


@pytest.fixture(scope="module")
def unpacked(cache: Path) -> Path:
    return sample.make_sample()


def halves(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".writing-")]


def test_the_sample_is_small_whole_and_its_model_reads_its_voxels(unpacked: Path, cache: Path) -> None:
    from brain2pix.compute.jobs._inputs import open_run

    assert sample.packed().stat().st_size <= MOST_BYTES
    assert cache in unpacked.parents and sample.ready_sample() == unpacked
    workspace = open_workspace(unpacked)
    assert workspace.notes == ()
    assert workspace.subject.simulated
    assert workspace.map is not None and workspace.model is not None and workspace.pictures.reconstructions is not None
    # no pictures of the faces that scikit-image holds
    assert set(workspace.subject.stimuli["category"]) == {"photo", "leaves"}
    # the fingerprint, computed by hand from the volume's grid and the rows that the model names
    about = json.loads((workspace.model / "model.json").read_text())
    trained = about["subjects"][0]
    assert about["method"] == "retino" and about["settings"]["decoder"]["n_steps"] > 0
    assert hashlib.sha256((workspace.model / "model.safetensors").read_bytes()).hexdigest() == about["sha256"]
    space, rows = workspace.subject.space, np.asarray(open_run(unpacked, unpacked / "subject", "cpu").voxel_index)
    digest = hashlib.sha256(np.asarray(space.shape, "<i8").tobytes())
    digest.update((np.round(space.affine, 4) + 0.0).astype("<f8").tobytes())
    digest.update(workspace.subject.ijk[rows].astype("<i8").tobytes())
    assert trained["voxel_hash"] == digest.hexdigest()
    # nothing of the machine that it was made on
    written = [file for file in unpacked.rglob("*") if file.suffix in (".json", ".jsonl", ".csv", ".tsv") and file.name != "job.json"]
    assert not [file for file in written if "/work" in file.read_text() or "/tmp" in file.read_text() or "/home" in file.read_text()]
    assert json.loads((unpacked / "job.json").read_text())["params"]["subject"] == str(unpacked / "subject")


def test_the_button_opens_it_with_maps_pictures_and_a_live_decoder_that_agrees(unpacked: Path, viewer: Any, dock: Any, qtbot: Any) -> None:
    qtbot.mouseClick(dock.data.sample_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.state.workspace is not None, timeout=30_000)
    workspace = dock.state.workspace
    assert workspace.folder == unpacked
    assert dock.scene.view == "inflated" and dock.state.found is not None
    assert not (sample.cache_folder() / "last-demo.json").exists(), "the sample must not hide a later version of itself"
    # the first answer of the child is the picture without stimulation: the one that was decoded when the sample was made
    answers: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    dock.live.answered.connect(lambda *answer: answers.append(answer))
    qtbot.waitUntil(lambda: {"base", "stimulated"} <= {answer[0] for answer in answers}, timeout=120_000)
    from napari_brain2pix.children.live import picture_bytes
    from napari_brain2pix.widgets._parts import picture_of

    _, request, answer = next(answer for answer in answers if answer[0] == "base")
    png = picture_bytes(answer)
    assert png is not None, answer
    at = workspace.pictures.stimulus_ids.index(request["stimulus_id"])
    stored = workspace.pictures.reconstructions[at].astype(int)
    np.testing.assert_allclose(picture_of(png).astype(int), stored, atol=2)
    assert stored.std() > 10, "a picture, not a grey square"
    stimulated = next(answer for answer in answers if answer[0] == "stimulated")
    changed = picture_of(picture_bytes(stimulated[2])).astype(int)
    assert np.abs(changed - stored).max() > 10


def test_napari_opens_it_from_its_menu(unpacked: Path, viewer: Any) -> None:
    layers = viewer.open_sample("napari-brain2pix", "simulated-subject")
    assert {"T1w", "Retinotopic map", "Areas"} <= {layer.name for layer in layers}


def test_the_last_demo_comes_first_while_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "cache_folder", lambda: tmp_path / "cache")
    assert sample.ready_sample() is None
    demo = tmp_path / "demo"
    (demo / "subject").mkdir(parents=True)
    (demo / "subject" / "dataset_description.json").write_text("{}")
    sample.remember(demo)
    assert sample.ready_sample() == demo
    shutil.rmtree(demo)
    assert sample.ready_sample() is None


def test_a_damaged_sample_and_a_stopped_one_leave_nothing(tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, broken = tmp_path / "cache", tmp_path / "broken.tar.xz"
    monkeypatch.setattr(sample, "cache_folder", lambda: cache)
    maker = SampleMaker(state := State(), state)
    # ended while it writes
    maker.start()
    qtbot.waitUntil(lambda: bool(halves(cache)), timeout=60_000)
    maker.stop()
    assert not halves(cache) and sample.ready_sample() is None
    # damaged
    content = sample.packed().read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(sample, "packed", lambda: broken)
    with qtbot.waitSignal(maker.failed, timeout=60_000) as failed:
        maker.start()
    assert str(broken) in failed.args[0] and "damaged" in failed.args[0] and "install the program again" in failed.args[0]
    assert not halves(cache) and sample.ready_sample() is None
    # gone
    monkeypatch.setattr(sample, "packed", lambda: tmp_path / "gone.tar.xz")
    with qtbot.waitSignal(maker.failed, timeout=1000) as failed:
        maker.start()
    assert "gone.tar.xz" in failed.args[0]
    monkeypatch.setattr(sample, "command", lambda: [sys.executable, "-c", "raise SystemExit('no room left')"])
    with qtbot.waitSignal(maker.failed, timeout=30_000) as failed:
        maker.start()
    assert "no room left" in failed.args[0]


@pytest.fixture
def form(qtbot: Any) -> Iterator[SimulateForm]:
    state = State()
    maker = SampleMaker(state, state)
    made = SimulateForm(state, maker)
    qtbot.addWidget(made)
    made.show()
    yield made
    maker.stop()


def type_folder(qtbot: Any, form: SimulateForm, folder: Path) -> None:
    form.folder.clear()
    qtbot.keyClicks(form.folder, str(folder))
    form.look()


def test_the_form_says_what_stands_against_a_folder(
    form: SimulateForm, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "1,280 voxels of 4 mm, 568 trials" in form.about.text()
    form.preset.setCurrentText("demo")
    form.preset.activated.emit(form.preset.currentIndex())
    assert "3,598 voxels of 2.5 mm, 5,540 trials" in form.about.text()
    assert "simulated-demo-0" in form.folder.text()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").touch()
    (tmp_path / "other-truth").mkdir()
    (tmp_path / "other-truth" / "thing").touch()
    for name, words in (
        ("full", "not empty"),
        ("full/thing", "is a file"),
        ("other", "other-truth exists and is not empty"),
        ("full/thing/deep", "cannot be written to"),
    ):
        type_folder(qtbot, form, tmp_path / name)
        assert words in form.finding.text() and not form.start_button.isEnabled()
    type_folder(qtbot, form, tmp_path / "free")
    assert form.finding.text() == "" and form.start_button.isEnabled()
    assert "choose another disk" in place_check(tmp_path / "free", 1e12).text


def test_the_form_simulates_cancels_without_a_trace_and_opens(
    form: SimulateForm, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # smaller than any size that the form offers: the test waits for it
    monkeypatch.setattr(form.simulation, "start", partial(form.simulation.start, settings=SMALL))
    place = tmp_path / "deep" / "subject"
    type_folder(qtbot, form, place)
    seen: list[int] = []
    form.bar.valueChanged.connect(seen.append)
    made: list[str] = []
    form.made.connect(made.append)

    def click(button: Any) -> None:
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    click(form.start_button)
    assert form.simulation.busy and not form.folder.isEnabled() and form.cancel_button.text() == "Cancel"
    with qtbot.waitSignal(form.simulation.ended, timeout=60_000) as ended:
        click(form.cancel_button)
    assert ended.args[0] == "cancelled" and "nothing was left behind" in form.finding.text()
    assert list(tmp_path.iterdir()) == [], "not even the folder above"
    click(form.start_button)
    qtbot.waitUntil(lambda: bool(seen) and max(seen) > 0, timeout=120_000)
    with qtbot.waitSignal(form.simulation.ended, timeout=60_000):
        click(form.cancel_button)
    assert list(tmp_path.iterdir()) == [] and made == []
    with qtbot.waitSignal(form.made, timeout=120_000):
        click(form.start_button)
    assert made == [str(place)]
    assert form.state.workspace.subject.simulated and form.state.workspace.subject_folder == place
    assert max(seen) >= 900 and not halves(tmp_path) and (tmp_path / "deep" / "subject-truth").is_dir()
