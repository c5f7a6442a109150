"""The five steps, the keys and commands, and the log: pressed and typed as a user does."""

import logging
from pathlib import Path

import yaml
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox, QPushButton

import napari_brain2pix
from brain2pix.compute.spec import JobSpec
from napari_brain2pix import _commands
from napari_brain2pix._commands import COMMANDS
from napari_brain2pix._steps import STEPS, step_status


def press(qtbot, dock, key: str) -> None:
    """Type the leader and a letter into the main window."""
    window = dock.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    qtbot.keyClick(window, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(window, key.lower())


def names(viewer) -> tuple[str, ...]:
    return tuple(layer.name for layer in viewer.layers)


def test_steps_say_how_they_stand_and_turn_the_page(dock, viewer, mapped, tiny_subject, qtbot) -> None:
    marks = {name: status.mark for name, status in dock.steps.status.items()}
    assert marks == {"data": "to do", "train": "missing", "maps": "missing", "decode": "missing", "stimulate": "missing"}
    assert "Open a subject" in dock.steps.line.text() and dock.state.step == "data"

    dock.open(tiny_subject)
    assert dock.state.step == "train" and dock.steps.buttons["train"].isChecked()
    assert {name: status.mark for name, status in dock.steps.status.items()} == {
        "data": "done",
        "train": "to do",
        "maps": "missing",
        "decode": "missing",
        "stimulate": "missing",
    }
    frames, before = [], names(viewer)
    drawn = viewer.window._qt_viewer.canvas._scene_canvas.events.draw
    drawn.connect(lambda event: frames.append(names(viewer)))
    dock.open(mapped)  # maps and pictures, no model
    assert set(frames) <= {before, names(viewer)}, "no frame of a half-made scene"
    qtbot.waitUntil(lambda: names(viewer) in frames, timeout=5000)
    assert dock.state.step == "maps"
    assert dock.steps.status["maps"].mark == "done" and dock.steps.status["decode"].mark == "done"
    assert dock.steps.status["stimulate"].mark == "missing" and "Train a model" in dock.steps.status["stimulate"].words
    for name in STEPS:
        button = dock.steps.buttons[name]
        assert button.width() >= button.fontMetrics().boundingRect(button.text().split("\n")[0]).width() + 2, "the name is not cut off"
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert dock.state.step == name and dock.stack.currentWidget() is dock.pages[name]
        assert dock.steps.status[name].words in dock.steps.line.text()
        assert dock.pages[name].isVisible()


def test_a_running_job_is_told_at_its_step(dock, demo) -> None:
    dock.open(demo)
    status = step_status(dock.state.workspace, {"kind": "decode"}, busy=True)
    assert status["decode"].mark == "running" and status["maps"].mark == "done"
    assert step_status(dock.state.workspace, {"kind": "decode"}, busy=False)["decode"].mark == "done"


def test_every_key_does_what_the_list_says(dock, mapped, qtbot, monkeypatch) -> None:
    dock.open(mapped)
    state = dock.state
    keys = {name: command.key for name, command in COMMANDS.items()}
    assert len(set(keys.values())) == len(keys)
    for step in STEPS:
        press(qtbot, dock, keys[f"show_{step}"])
        assert state.step == step
    for view in ("volume", "flat", "sphere", "inflated"):
        press(qtbot, dock, keys[f"view_{view}"])
        assert state.view == view
    first = state.kind.name
    press(qtbot, dock, keys["next_map"])
    assert state.kind.name == list(state.kinds)[1] != first
    ids = state.workspace.pictures.stimulus_ids
    press(qtbot, dock, keys["next_image"])
    assert state.base == ids[1]
    for _ in range(2):
        press(qtbot, dock, keys["previous_image"])
    assert state.base == ids[-1]
    state.select([3, 4], "volume")
    press(qtbot, dock, keys["clear_selection"])
    assert not state.selection.rows.size
    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: asked.append(True) or "")
    press(qtbot, dock, keys["open_folder"])
    assert asked
    press(qtbot, dock, keys["show_keys"])
    box = next(widget for widget in dock.window().findChildren(QMessageBox) if widget.isVisible())
    assert all(f"{_commands.LEADER}, {key}" in box.text() for key in keys.values())
    box.close()


def test_the_palette_holds_every_command_and_opens_the_dock(viewer, mapped, qtbot) -> None:
    from napari._app_model import get_app_model

    manifest = yaml.safe_load((Path(napari_brain2pix.__file__).parent / "napari.yaml").read_text(encoding="utf-8"))
    listed = {entry["python_name"].split(":")[1] for entry in manifest["contributions"]["commands"] if "_commands:" in entry["python_name"]}
    assert listed == set(COMMANDS)
    assert "brain2pix (napari-brain2pix)" not in viewer.window.dock_widgets
    get_app_model().commands.execute_command("napari-brain2pix.show_train").result()
    dock = viewer.window.dock_widgets["brain2pix (napari-brain2pix)"]
    qtbot.waitUntil(lambda: dock._settled, timeout=5000)
    assert dock.state.step == "train"
    dock.open(mapped)
    get_app_model().commands.execute_command("napari-brain2pix.view_flat").result()
    assert dock.state.view == "flat"
    dock.shut_down()


def test_the_log_tells_what_happened(dock, mapped, tmp_path, qtbot, monkeypatch, logged_errors) -> None:
    dock.open(tmp_path / "nothing")
    dock.open(mapped)
    logging.getLogger("brain2pix.anything").warning("a word of the core")
    text = dock.log.text.toPlainText()
    assert "does not exist" in text and f"opened {mapped}" in text and "a word of the core" in text
    dock.state.set_kind = None  # a fault of ours: its traceback is there to be reported
    dock.run_command("next_map")
    assert "TypeError" in dock.log.text.toPlainText() and "Traceback" in dock.log.text.toPlainText()
    assert logged_errors.clear()
    dock.log.copy_button.click()
    assert QApplication.clipboard().text() == dock.log.text.toPlainText()
    file = tmp_path / "window.log"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file), ""))
    dock.log.save_button.click()
    assert file.read_text(encoding="utf-8").strip() == dock.log.text.toPlainText().strip()
    dock.log.clear_button.click()
    assert not dock.log.text.toPlainText()


def test_keys_are_given_back_with_the_dock(dock) -> None:
    shortcuts = list(dock._shortcuts)
    assert len(shortcuts) == len(COMMANDS)
    dock.shut_down()
    assert not any(shortcut.isEnabled() for shortcut in shortcuts)


def test_a_dock_that_is_opened_again_follows_the_job_that_goes_on(dock, viewer, tiny_subject, tmp_path, qtbot) -> None:
    dock.open(tiny_subject)
    params = {"subject": str(tiny_subject), "method": "retino", "preset": "tiny", "settings": {"decoder": {"n_steps": 100_000}}}
    dock.runner.start(JobSpec("train", params, tmp_path / "run"))
    child = dock.runner._child
    try:
        qtbot.waitUntil(lambda: dock.runner.standing == "running", timeout=60_000)
        title_bar = viewer.window.dock_widgets["brain2pix (napari-brain2pix)"].parent()
        qtbot.mouseClick(title_bar.findChild(QPushButton, "QTitleBarCloseButton"), Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: dock._over, timeout=5000)
        assert child.poll() is None, "the job goes on without the dock"
        _, again = viewer.window.add_plugin_dock_widget("napari-brain2pix", "brain2pix")
        assert again is not dock
        qtbot.waitUntil(lambda: again.runner.standing == "running", timeout=20_000)
        assert again.runner.folder == tmp_path / "run"
        qtbot.waitUntil(again.jobs.stop_button.isVisible, timeout=5000)
        qtbot.mouseClick(again.jobs.stop_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: again.runner.standing in ("cancelled", "finished"), timeout=60_000)
        again.shut_down()
    finally:
        child.kill()
        child.wait(10)
