"""Where something new goes: a proposal, until the user gives a folder."""

from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from napari_brain2pix.widgets._folder_line import FolderLine


@pytest.fixture
def shown(qtbot):
    """Make a line, with its button, in a window."""

    def make(**options) -> FolderLine:
        window, line = QWidget(), FolderLine("the run", **options)
        box = QHBoxLayout(window)
        for widget in (line, line.browse):
            box.addWidget(widget)
        qtbot.addWidget(window)
        window.show()
        line.window_kept = window
        return line

    return make


def choose(line, folder, qtbot, monkeypatch):
    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *arguments: asked.append(arguments[1:]) or str(folder or ""))
    qtbot.mouseClick(line.browse, Qt.MouseButton.LeftButton)
    return asked[0]


def test_proposals_stay_until_the_user_writes(shown, qtbot, tmp_path):
    line = shown()
    line.propose(tmp_path / "one")
    line.propose(tmp_path / "two")
    assert line.path() == tmp_path / "two" and not line.is_given
    line.selectAll()
    with qtbot.waitSignal(line.given):
        qtbot.keyClicks(line, "~/mine ")
    line.propose(tmp_path / "three")
    assert line.path() == Path.home() / "mine" and line.is_given
    with qtbot.waitSignal(line.given):  # erased: it is proposed again
        line.selectAll()
        qtbot.keyClick(line, Qt.Key.Key_Delete)
    line.propose(tmp_path / "four")
    assert line.path() == tmp_path / "four" and not line.is_given


def test_a_chosen_folder(shown, qtbot, tmp_path, monkeypatch):
    line = shown()
    line.propose(tmp_path / "not" / "yet" / "there")
    assert choose(line, None, qtbot, monkeypatch) == ("Folder of the run", str(tmp_path))  # begins where there is one
    assert line.path() == tmp_path / "not" / "yet" / "there" and not line.is_given
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    choose(line, tmp_path / "full", qtbot, monkeypatch)
    assert line.path() == tmp_path / "full" and line.is_given
    line.forget()
    line.propose(tmp_path)
    assert line.path() == tmp_path


def test_a_new_folder_lies_in_a_chosen_one_that_holds_something(shown, qtbot, tmp_path, monkeypatch):
    line = shown(new=True)
    line.propose(tmp_path / "subject")
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "subject").mkdir()
    (tmp_path / "full" / "subject" / "file").write_text("")
    choose(line, tmp_path / "full", qtbot, monkeypatch)
    assert line.path().parent == tmp_path / "full" and line.path().name.startswith("subject") and not line.path().exists()
    choose(line, tmp_path / "empty", qtbot, monkeypatch)
    assert line.path() == tmp_path / "empty"
