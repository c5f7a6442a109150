"""More of step 5: painted and selected regions, single trials, the badge, records that replay; real brush, real child, real model."""

import json

import numpy as np
import pytest
from qtpy.QtCore import Qt

from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.stimulator import Stimulator
from brain2pix.errors import MissingDataError, ShapeError
from brain2pix.stimulation import read_record, write_record

WAIT_MS = 240_000  # the child imports torch; shared machines are slow


def pixels(dock, name: str) -> np.ndarray:
    found = dock.gallery.pictures[name].pixels
    assert found is not None, f"no picture {name}"
    return found.astype(int)


def measured(dock) -> bool:
    """Whether picture and numbers belong to what the page asks for now."""
    shown = dock.state.stimulation
    return shown is not None and bool(shown.measures) and shown.request == dock.stimulate.request() and not dock.live.busy


def left_v1(subject) -> np.ndarray:
    return np.flatnonzero(subject.areas["V1"] & subject.areas["L"])


def test_the_badge_says_how_far_from_measured_responses(dock, demo, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    panel = dock.stimulate
    panel.amplitude.setValue(0.1)
    qtbot.waitUntil(lambda: measured(dock), timeout=WAIT_MS)
    assert panel.badge.inside is True and panel.badge.text().startswith("Like measured responses")
    assert panel.badge.sign.text() == "<b>✓</b>" and "held-out trials keep" in panel.badge.toolTip()

    panel.amplitude.field.setFocus()
    panel.amplitude.field.selectAll()
    qtbot.keyClicks(panel.amplitude.field, "12")
    qtbot.keyClick(panel.amplitude.field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: measured(dock), timeout=WAIT_MS)
    assert panel.badge.inside is False and panel.badge.sign.text() == "<b>⚠</b>"
    assert "the picture may be meaningless" in panel.badge.text()
    # left V1 looks at the right half; the numbers are those of the core on the same responses
    assert "of the change lies in the right half" in panel.share.text() and "chance 50%" in panel.share.text()
    core = Stimulator(open_run(demo / "runs" / "ridge" / "model", demo / "subject", "cpu"))
    base, mask = core.base(dock.state.base), core.mask("V1 & L")
    changed = base + 12 * mask
    record = panel.record()
    assert record.excess == pytest.approx(core.space.excess(changed[None])[0], rel=1e-5)
    assert record.percentile == pytest.approx(core.space.percentile(changed[None])[0])
    assert record.voxels == tuple(np.flatnonzero(mask)) and record.quadrant_share is not None

    # back to the largest amplitude that is like measured ones, then the keys beside the slider
    qtbot.mouseClick(panel.badge.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: measured(dock) and panel.badge.inside is True, timeout=WAIT_MS)
    assert panel.amplitude.value() == pytest.approx(core.largest(base, mask, "add"), abs=0.011)
    qtbot.mouseClick(panel.reset, Qt.MouseButton.LeftButton)
    assert panel.amplitude.value() == 2
    qtbot.mouseClick(panel.opposite, Qt.MouseButton.LeftButton)
    assert panel.amplitude.value() == -2


def test_painted_and_selected_voxels_are_stimulated(viewer, dock, demo, qtbot) -> None:
    dock.open(demo)
    dock.state.set_step("stimulate")
    picker, subject = dock.stimulate.region, dock.state.workspace.subject
    dock.state.set_view("inflated")
    viewer.mouse_over_canvas = True  # where napari fails on labels that are added in 3-D
    qtbot.mouseClick(picker.paint, Qt.MouseButton.LeftButton)
    layer = viewer.layers["painted"]
    assert dock.state.view == "volume" and viewer.dims.ndisplay == 2 and layer.mode == "paint"
    assert np.allclose(layer.affine.affine_matrix[-4:, -4:], subject.space.affine)

    rows = left_v1(subject)
    layer.n_edit_dimensions, layer.brush_size = 3, 1
    for row in rows[::3]:
        layer.paint(tuple(subject.ijk[row]), 1)
    qtbot.waitUntil(lambda: dock.state.region.text == "painted" and measured(dock), timeout=WAIT_MS)
    painted = np.flatnonzero(dock.state.region.mask)
    assert set(painted) == set(np.flatnonzero(np.asarray(layer.data)[tuple(subject.ijk.T)] > 0))
    assert set(rows[::3]) <= set(painted)
    index = dock.state.stimulation.info.voxel_index
    assert f"{np.isin(painted, index).sum():,} of them in the model" in picker.counts.text()
    # voxels painted in left V1 change the right half of the picture
    energy = np.square(pixels(dock, "stimulated") - pixels(dock, "reconstruction")).sum(axis=(0, 2))
    assert energy[len(energy) // 2 :].sum() > 0.55 * energy.sum() > 0

    # a further stroke counts at once; undo takes it back; an expression can cut it
    layer.paint(tuple(subject.ijk[left_v1(subject)[1]]), 1)
    qtbot.waitUntil(lambda: int(dock.state.region.mask.sum()) > len(painted), timeout=5000)
    layer.undo()
    qtbot.waitUntil(lambda: int(dock.state.region.mask.sum()) == len(painted), timeout=5000)
    dock.state.set_region("painted & R")
    assert "selects no voxel" in picker.counts.text()
    qtbot.mouseClick(picker.paint, Qt.MouseButton.LeftButton)
    assert layer.mode == "pan_zoom" and picker.paint.text() == "Paint a region"

    assert not picker.use_selection.isEnabled()
    dock.state.select(rows[:40], "surface")
    assert picker.use_selection.text() == "Use selection (40)"
    qtbot.mouseClick(picker.use_selection, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: measured(dock), timeout=WAIT_MS)
    assert dock.state.region.text == "selected" and set(np.flatnonzero(dock.state.region.mask)) == set(rows[:40])
    dock.state.clear_selection()
    assert int(dock.state.region.mask.sum()) == 40  # what is stimulated does not move with a click elsewhere

    # the layer is the user's: it goes when the user removes it, and the area with it
    dock.state.set_region("painted")
    viewer.layers.remove(layer)
    assert "selects no voxel" in picker.counts.text()


def test_a_record_replays_in_the_window_and_in_the_job(dock, demo, qtbot, tmp_path) -> None:
    dock.open(demo)
    panel, subject = dock.stimulate, dock.state.workspace.subject
    rows = left_v1(subject)[::2]
    dock.state.set_region(dock.state.set_area("selected", rows))
    panel.base.setCurrentIndex(3)
    panel.base.activated.emit(3)
    assert dock.state.repeat == 2
    qtbot.waitUntil(lambda: measured(dock), timeout=WAIT_MS)
    assert "repeat 2 alone" in dock.gallery.pictures["reconstruction"].caption.text()
    shown, record = pixels(dock, "stimulated"), panel.record()
    assert (record.base, record.repeat, record.region) == (dock.state.base, 2, "selected")
    file = tmp_path / "mine.json"
    write_record(file, record)

    params = {"run": str(demo / "runs" / "ridge"), "subject": str(demo / "subject"), "record": str(file), "device": "cpu"}
    assert run_job(JobSpec("stimulate", params, tmp_path / "job")) == "finished"
    from imageio.v3 import imread

    assert np.array_equal(imread(tmp_path / "job" / "results" / "after.png"), shown)
    again = read_record(tmp_path / "job" / "results" / "record.json")
    assert again.voxels == record.voxels and again.excess == pytest.approx(record.excess)

    dock.state.set_base("mean")
    dock.state.set_region("V2")
    panel.mode.buttons["silence"].click()
    panel.replay(file)
    assert (dock.state.base, dock.state.repeat, panel.mode.current) == (record.base, 2, "add")
    qtbot.waitUntil(lambda: measured(dock), timeout=WAIT_MS)
    assert np.array_equal(pixels(dock, "stimulated"), shown)
    assert panel.record().voxels == record.voxels

    # records that do not fit change nothing
    other = json.loads(file.read_text())
    file.write_text(json.dumps(other | {"voxel_hash": "0" * 64}))
    with pytest.raises(ShapeError, match="another selection or order"):
        panel.replay(file)
    file.write_text(json.dumps(other | {"base": "photo-7"}))
    with pytest.raises(MissingDataError, match="stimulus 'photo-7', which this subject has not"):
        panel.replay(file)
    assert panel.record().voxels == record.voxels and dock.state.base == record.base
