"""What can be opened, from where, and what is said when it cannot."""

import json
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from brain2pix.errors import DataFormatError, MissingDataError
from napari_brain2pix.folders.workspace import find_subject, open_workspace


def test_bad_folders_are_explained_in_the_dock(viewer, dock, tiny_copy, tmp_path) -> None:
    for folder, words in (
        (tmp_path / "nothing", "does not exist"),
        (tmp_path, "holds no subject"),
        (tiny_copy, "betas"),
    ):
        if folder == tiny_copy:  # cut the responses in half
            file = next(tiny_copy.rglob("*_betas.h5"))
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        dock.open(folder)
        assert words in dock.head.notice.text()
        assert not dock.head.notice.isHidden()
        assert dock.state.workspace is None
        assert len(viewer.layers) == 0


def test_a_bare_subject_says_what_to_do_next(viewer, dock, tiny_subject) -> None:
    dock.open(tiny_subject)
    assert dock.state.workspace.folder == tiny_subject
    assert dock.scene.view == "volume"
    assert not dock.maps.empty.isHidden() and "Train one first" in dock.maps.empty.text()
    assert dock.maps.kind.isHidden()
    assert not dock.stimulate.empty.isHidden() and dock.stimulate.controls.isHidden()
    assert dock.gallery.pictures["stimulus"].pixels is not None
    assert dock.gallery.pictures["reconstruction"].frame.empty == "needs a model"
    assert not dock.head.badge.isHidden()
    assert not dock.live.running
    for view in ("inflated", "flat", "volume"):
        dock.state.set_view(view)
    # a damaged folder afterwards leaves what is open as it is
    dock.open(tiny_subject / "nothing")
    assert "does not exist" in dock.head.notice.text()
    assert dock.state.workspace.folder == tiny_subject
    assert "T1w" in viewer.layers


def test_our_reader_gives_volumes_in_world_space_and_the_dock_adopts_them(viewer, mapped, qtbot) -> None:
    added = viewer.open(str(mapped), plugin="napari-brain2pix")
    names = {layer.name: layer for layer in added}
    assert set(names) == {"T1w", "Retinotopic map", "Areas", "Left hemisphere", "Right hemisphere"}
    workspace = open_workspace(mapped)
    subject = workspace.subject
    for layer in added:
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    voxel = subject.ijk[np.flatnonzero(subject.areas["V1"] & subject.areas["L"])[0]]
    assert names["Areas"].data[tuple(voxel)] == 1
    assert names["Areas"].features["name"][1] == "simulated V1"
    np.testing.assert_allclose(names["Areas"].data_to_world(voxel), subject.space.to_world(voxel[None])[0], atol=1e-4)
    assert names["Areas"].data_to_world(voxel)[0] < 0, "the left hemisphere lies at negative x"
    value = names["Retinotopic map"].data
    assert np.isnan(value).mean() > 0.9
    shown = workspace.map.quality >= 0.1
    at = tuple(subject.ijk[np.flatnonzero(shown)[5]])
    assert value[at] == pytest.approx(workspace.map.angle_deg[np.flatnonzero(shown)[5]], abs=1e-3)
    assert names["Retinotopic map"].interpolation2d == "nearest"

    _, widget = viewer.window.add_plugin_dock_widget("napari-brain2pix", "brain2pix")
    qtbot.waitUntil(lambda: widget.state.workspace is not None, timeout=30_000)
    assert widget.state.workspace.folder == mapped
    assert sum(layer.name == "T1w" for layer in viewer.layers) == 1

    # opened again, with the dock there: taken over at once
    widget.state.set_threshold(0.5)
    viewer.open(str(mapped), plugin="napari-brain2pix")
    qtbot.waitUntil(lambda: widget.state.threshold < 0.5, timeout=30_000)
    assert sum(layer.name == "T1w" for layer in viewer.layers) == 1

    # closing our docks by their own buttons leaves the layers, and no widget behind
    def close(name: str) -> None:
        inner = viewer.window.dock_widgets[name]
        button = inner.parent().findChild(QPushButton, "QTitleBarCloseButton")
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.wait(50)

    close("brain2pix pictures")
    widget.open(mapped)  # brings the pictures back
    assert "brain2pix pictures" in viewer.window.dock_widgets
    close("brain2pix (napari-brain2pix)")
    assert not [name for name in viewer.window.dock_widgets if "brain2pix" in name]
    assert "T1w" in viewer.layers


def test_what_a_path_means(mapped, tiny_subject, tmp_path) -> None:
    assert find_subject(mapped) == mapped / "subject"
    for path in (tiny_subject, tiny_subject / "sub-01", tiny_subject / "dataset_description.json"):
        assert find_subject(path) == tiny_subject
    run = tmp_path / "run"
    run.mkdir()
    assert find_subject(run) is None
    (run / "job.json").write_text(json.dumps({"params": {"subject": str(tiny_subject)}}))
    assert find_subject(run) == tiny_subject
    assert open_workspace(run).model is None
    with pytest.raises(MissingDataError, match="does not exist"):
        open_workspace(tmp_path / "none")
    with pytest.raises(DataFormatError, match="brain2pix demo"):
        open_workspace(tmp_path)


def test_damaged_results_are_notes_not_failures(mapped, tmp_path) -> None:
    folder = tmp_path / "demo"
    (folder / "maps").mkdir(parents=True)
    (folder / "results").mkdir()
    (folder / "subject").symlink_to(mapped / "subject")
    (folder / "results" / "reconstructions.npz").write_bytes(b"not a zip")
    workspace = open_workspace(folder)
    assert workspace.map is None
    assert workspace.pictures.reconstructions is None and len(workspace.pictures.stimulus_ids) > 0
    assert any("maps" in note for note in workspace.notes) and any("reconstructions" in note for note in workspace.notes)
    np.savez(folder / "results" / "reconstructions.npz", stimuli=np.zeros((2, 4, 4, 3), dtype=np.uint8))
    assert any("lacks the arrays reconstructions, stimulus_ids" in note for note in open_workspace(folder).notes)


def test_widget_modules_are_light() -> None:
    code = (
        "import sys, napari_brain2pix.widgets.dock; print([m for m in ('torch', 'nilearn', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
