"""Stimulation from the dock to the picture: real slider, real child process, real model."""

import os
import signal

import numpy as np
import pytest
from qtpy.QtCore import Qt

WAIT_MS = 90_000  # the child imports torch; shared machines are slow


def pixels(dock, name: str) -> np.ndarray:
    found = dock.gallery.pictures[name].pixels
    assert found is not None, f"no picture {name}"
    return found.astype(int)


def settled(dock) -> bool:
    return dock.gallery.pictures["difference"].pixels is not None and not dock.live.busy


def press(qtbot, dock, key, times: int) -> None:
    slider = dock.stimulate.amplitude.slider
    slider.setFocus()
    for _ in range(times):
        qtbot.keyClick(slider, key)


def test_the_slider_changes_the_picture(dock, demo, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    assert dock.state.region.text == "V1 & L"
    qtbot.waitUntil(lambda: settled(dock), timeout=WAIT_MS)
    first = pixels(dock, "stimulated")
    assert np.abs(first - pixels(dock, "reconstruction")).max() > 0
    # the child decodes what the demo decoded: the same model, the same trials
    stored = dock.state.workspace.pictures.reconstructions[0].astype(int)
    assert np.abs(pixels(dock, "reconstruction") - stored).max() <= 1

    press(qtbot, dock, Qt.Key.Key_Right, 8)
    assert dock.stimulate.amplitude.value() == pytest.approx(2.8)
    qtbot.waitUntil(lambda: settled(dock) and not np.array_equal(pixels(dock, "stimulated"), first), timeout=WAIT_MS)
    assert "sd" in dock.gallery.pictures["stimulated"].caption.text()

    dock.stimulate.amplitude.setValue(0)  # nothing added: the reconstruction, and a grey difference
    qtbot.waitUntil(lambda: settled(dock) and (pixels(dock, "difference") == 128).all(), timeout=WAIT_MS)

    for mode in ("silence", "scale", "set"):
        before = pixels(dock, "stimulated")
        qtbot.mouseClick(dock.stimulate.mode.buttons[mode], Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda before=before: settled(dock) and not np.array_equal(pixels(dock, "stimulated"), before), timeout=WAIT_MS)
    assert "prediction, not evidence" in dock.stimulate.status.text()


def test_images_regions_and_a_dead_decoder(dock, demo, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    qtbot.waitUntil(lambda: settled(dock), timeout=WAIT_MS)

    place = dock.gallery.thumbnails.visualRect(dock.gallery.model.index(3, 0)).center()
    qtbot.mouseClick(dock.gallery.thumbnails.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert dock.state.base == dock.state.workspace.pictures.stimulus_ids[3]
    assert np.array_equal(pixels(dock, "stimulus"), dock.state.workspace.pictures.stimuli[3])
    qtbot.waitUntil(lambda: settled(dock), timeout=WAIT_MS)

    # an area that is not in the model, then one that does not exist: both are explained where the user looks
    dock.state.set_region("FFA")
    qtbot.waitUntil(lambda: "no voxel" in dock.stimulate.notice.text(), timeout=WAIT_MS)
    assert dock.gallery.pictures["stimulated"].pixels is None
    dock.stimulate.expression.clear()
    qtbot.keyClicks(dock.stimulate.expression, "V2 & Q")
    assert "unknown area 'Q'" in dock.stimulate.selected.text()
    chip = next(button for button in dock.stimulate.chips.children() if getattr(button, "text", str)() == "V2")
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton)
    assert dock.state.region.text == "V2"
    assert int(dock.state.region.mask.sum()) == int(dock.state.workspace.subject.areas["V2"].sum())
    qtbot.waitUntil(lambda: settled(dock), timeout=WAIT_MS)

    dock.stimulate.base.setCurrentIndex(1)
    dock.stimulate.base.activated.emit(1)
    assert dock.state.base == "mean"
    qtbot.waitUntil(lambda: settled(dock) and dock.gallery.pictures["reconstruction"].pixels is not None, timeout=WAIT_MS)
    assert dock.gallery.pictures["stimulus"].pixels is None

    child = dock.live.process_id
    os.kill(child, signal.SIGKILL)
    qtbot.waitUntil(lambda: "decoder stopped" in dock.stimulate.notice.text(), timeout=10_000)
    assert dock.stimulate.notice.button.text() == "Restart"
    qtbot.mouseClick(dock.stimulate.notice.button, Qt.MouseButton.LeftButton)
    assert dock.live.running and dock.live.process_id != child
    dock.gallery.clear_stimulated("")
    qtbot.waitUntil(lambda: settled(dock), timeout=WAIT_MS)
    assert not dock.stimulate.notice.text()


def test_the_child_goes_with_the_window(viewer, dock, demo, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    qtbot.waitUntil(lambda: dock.live.process_id > 0, timeout=10_000)
    child = dock.live.process_id
    live = dock.live
    viewer.close()
    assert not live.running
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return
    raise AssertionError("the decoder outlives the window")
