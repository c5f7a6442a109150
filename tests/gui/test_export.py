"""The export dialog: real clicks, the real child, and files that are opened by others' libraries."""

import json
import os
import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from imageio.v3 import imread
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QCheckBox

WAIT_MS = 120_000


@pytest.fixture
def dialog(dock, qtbot):
    qtbot.mouseClick(dock.export_button, Qt.MouseButton.LeftButton)
    yield dock.export_dialog
    dock.export_dialog.close()


def tick(qtbot, dialog, *wanted: str) -> None:
    """Click the boxes so that exactly these are checked."""
    for key, box in dialog.form.items.items():
        if box.isEnabled() and box.isChecked() != (key in wanted):
            dialog.layout().itemAt(0).widget().ensureWidgetVisible(box)
            qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=_inside(box))
    assert {key for key, box in dialog.form.items.items() if box.isChecked()} == set(wanted)


def _inside(box: QCheckBox) -> QPoint:
    return QPoint(8, box.height() // 2)


def type_folder(qtbot, dialog, folder: Path) -> None:
    dialog.form.folder.selectAll()
    qtbot.keyClicks(dialog.form.folder, str(folder))


def export(qtbot, dialog) -> None:
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.exporter.running, timeout=WAIT_MS)


def test_the_map_and_the_canvas_are_written_with_what_they_show(dock, mapped, dialog, tmp_path, qtbot) -> None:
    assert not dialog.export_button.isEnabled() and "nothing is open" in dialog.form.reasons["map"].text().lower()
    dock.open(mapped)
    assert not dialog.form.items["stimulation"].isEnabled() and "no trained model" in dialog.form.reasons["stimulation"].text().lower()
    assert not dialog.form.items["scores"].isEnabled() and "no scores yet" in dialog.form.reasons["scores"].text().lower()
    dock.state.set_kind("Eccentricity")
    dock.state.set_threshold(0.37)
    out = tmp_path / "figures"
    tick(qtbot, dialog, "map", "canvas")
    type_folder(qtbot, dialog, out)
    dialog.form.dpi.setValue(100)
    qtbot.mouseClick(dialog.form.formats["svg"], Qt.MouseButton.LeftButton, pos=_inside(dialog.form.formats["svg"]))
    export(qtbot, dialog)
    assert not dialog.notice.text()
    names = {path.name for path in out.iterdir()}
    stem, ours = "sub-01_map-eccentricity", {"sub-01_canvas.png", "sub-01_canvas.json", "sub-01_canvas.txt"}
    assert names == {f"{stem}.png", f"{stem}.svg", f"{stem}.json", f"{stem}.txt"} | ours
    assert f"Wrote {len(names)} files" in dialog.result.text() and dialog.open_button.isVisible()

    # the numbers of the sidecar are those of the dock, and of the arrays themselves
    found = dock.state.workspace.map
    with np.errstate(invalid="ignore"):
        good = np.isfinite(found.x0_deg) & (found.quality >= 0.37)
        inside = good & (np.hypot(found.x0_deg, found.y0_deg) - 2 * found.sigma_deg <= found.field_of_view_deg / 2)
    about = json.loads((out / f"{stem}.json").read_text())
    assert about["map"]["n_shown"] == int(inside.sum()) == int(dock.state.found.shown.sum())
    assert about["map"]["threshold"]["quality_at_least"] == pytest.approx(0.37) and about["simulated"] is True
    assert about["map"]["folder"] == str(mapped / "maps") and about["run"] is None
    assert imread(out / f"{stem}.png").shape[1] == pytest.approx(183 / 25.4 * 100, abs=1)
    words = " ".join(ElementTree.parse(out / f"{stem}.svg").getroot().itertext())
    assert f"{int(inside.sum()):,} of" in words, "letters of an SVG are letters"
    canvas = json.loads((out / "sub-01_canvas.json").read_text())
    assert canvas["canvas"]["n_shown"] == about["map"]["n_shown"]
    assert list(imread(out / "sub-01_canvas.png").shape[1::-1]) == [canvas["size"]["width_px"], canvas["size"]["height_px"]]

    # once more: nothing is replaced without a word, and the button replaces it
    picture = out / "sub-01_reconstructions.png"
    picture.write_bytes(b"older")
    tick(qtbot, dialog, "reconstructions")
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert "already holds" in dialog.notice.text() and not dialog.exporter.running
    assert picture.read_bytes() == b"older"
    qtbot.mouseClick(dialog.notice.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.exporter.running, timeout=WAIT_MS)
    assert picture.read_bytes()[:4] == b"\x89PNG" and not dialog.notice.text()


def test_cancel_leaves_nothing_and_a_bad_folder_is_explained(dock, mapped, dialog, tmp_path, qtbot) -> None:
    dock.open(mapped)
    out = tmp_path / "figures"
    tick(qtbot, dialog, "maps", "reconstructions")
    type_folder(qtbot, dialog, out)
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    child = dialog.exporter.process_id
    qtbot.waitUntil(lambda: out.is_dir() and any(out.iterdir()), timeout=WAIT_MS)  # it is at work
    qtbot.mouseClick(dialog.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialog.exporter.running, timeout=WAIT_MS)
    assert "Nothing was written" in dialog.result.text()
    assert not out.exists() or not any(out.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)

    file = tmp_path / "file"
    file.write_text("")
    tick(qtbot, dialog, "reconstructions")
    type_folder(qtbot, dialog, file / "inside")
    export(qtbot, dialog)
    assert "cannot be written to" in dialog.notice.text() and not dialog.open_button.isVisible()


def test_the_stimulation_is_decoded_again_from_its_record(dock, demo, dialog, tmp_path, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    qtbot.waitUntil(lambda: dock.state.stimulation is not None, timeout=WAIT_MS)
    stimulation = dock.state.stimulation
    tick(qtbot, dialog, "stimulation")
    type_folder(qtbot, dialog, tmp_path)
    dialog.form.dpi.setValue(80)
    export(qtbot, dialog)
    assert not dialog.notice.text()
    about = json.loads((tmp_path / "sub-01_stimulation.json").read_text())
    record = json.loads((tmp_path / "sub-01_stimulation-record.json").read_text())
    areas = dock.state.workspace.subject.areas
    chosen = (areas["V1"] & areas["L"])[stimulation.info.voxel_index]
    assert record["region"] == "V1 & L" and record["voxels"] == np.flatnonzero(chosen).tolist()
    assert about["stimulation"]["n_stimulated"] == int(chosen.sum())
    assert about["run"]["folder"] == str(dock.state.workspace.model.parent) and about["run"]["method"] == "ridge"
    assert about["statement"] == "prediction of a model, not of a brain" and about["statement"] in about["caption"]
    words = shlex.split(about["command"])
    assert words[words.index("--record") + 1] == str(tmp_path / "sub-01_stimulation-record.json")
