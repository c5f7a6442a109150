"""One voxel, marked wherever it is shown: real clicks on the canvas and on the visual field, real keys."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget
from vispy.scene import ViewBox

from brain2pix.anatomy.transforms import world_to_voxel
from napari_brain2pix.brain.layers import CHOSEN, CHOSEN_COLOUR, CHOSEN_DOTS
from napari_brain2pix.brain.pick import CortexPicker, vertices_of
from napari_brain2pix.brain.scene import PLANE_ORDER
from napari_brain2pix.brain.selection import describe_selection

LEFT_BUTTON = Qt.MouseButton.LeftButton
SURFACES = ("inflated", "flat", "sphere")


class Canvas:
    """The canvas as a user's hand meets it: world places to pixels, and mouse events at pixels."""

    def __init__(self, dock, qtbot) -> None:
        self.dock, self.qtbot = dock, qtbot
        self.widget = next(child for child in dock.window().findChildren(QWidget) if hasattr(child, "_vispy_canvas"))

    def pixel(self, place) -> QPoint:
        box = next(child for child in self.widget._vispy_canvas.central_widget.children if isinstance(child, ViewBox))
        shown = np.asarray(place, dtype=float)[list(self.dock.viewer.dims.displayed)][::-1]
        x, y, _, w = (box.transform * box.scene.transform).map(np.pad(shown, (0, 3 - len(shown))))
        return QPoint(round(x / w), round(y / w))

    def click(self, place) -> QPoint:
        pixel = place if isinstance(place, QPoint) else self.pixel(place)
        self.qtbot.mousePress(self.widget, LEFT_BUTTON, pos=pixel)
        self.qtbot.mouseRelease(self.widget, LEFT_BUTTON, pos=pixel)
        QApplication.processEvents()
        return pixel

    def drag(self, start: QPoint, *way: QPoint) -> None:
        self.qtbot.mousePress(self.widget, LEFT_BUTTON, pos=start)
        for stop in way:
            place = QPointF(stop), QPointF(self.widget.mapToGlobal(stop))
            move = QMouseEvent(QEvent.Type.MouseMove, *place, Qt.MouseButton.NoButton, LEFT_BUTTON, Qt.KeyboardModifier.NoModifier)
            QApplication.sendEvent(self.widget, move)
            self.qtbot.wait(20)
        self.qtbot.mouseRelease(self.widget, LEFT_BUTTON, pos=(way or (start,))[-1])
        QApplication.processEvents()


@pytest.fixture
def opened(dock, mapped, qtbot):
    dock.open(mapped)
    qtbot.wait(50)
    return dock


@pytest.fixture
def hand(opened, qtbot) -> Canvas:
    return Canvas(opened, qtbot)


def rows_of(dock) -> list[int]:
    return dock.state.selection.rows.tolist()


def mapped_rows(dock, hemi: str, shown: bool = True) -> np.ndarray:
    subject, found = dock.state.workspace.subject, dock.state.found
    with_field = np.isfinite(dock.state.workspace.map.x0_deg)
    return np.flatnonzero((subject.voxels["hemi"] == hemi).to_numpy() & with_field & (found.shown == shown))


def marked_in_volume(dock) -> np.ndarray:
    """World centres of the voxels that the label layer marks."""
    layer = dock.viewer.layers[CHOSEN]
    cells = np.argwhere(np.asarray(layer.data) == 1)
    return np.array([layer.data_to_world(cell) for cell in cells])


def check_voxel_is_linked(dock, row: int) -> None:
    """The same voxel in the text, in the visual field and on the stimulus."""
    found = dock.state.workspace.map
    assert rows_of(dock) == [row]
    assert f"Voxel {row:,}" in dock.maps.selected.text()
    expected = [[found.x0_deg[row], found.y0_deg[row], found.sigma_deg[row]]]
    np.testing.assert_allclose(dock.maps.legend._fields, expected)
    np.testing.assert_allclose(dock.gallery.pictures["stimulus"].frame.fields, expected)
    assert f"angle {found.angle_deg[row]:.0f}°" in dock.maps.selected.text()
    assert f"quality {found.quality[row]:.2f}" in dock.maps.selected.text()


def test_a_click_in_a_slice(opened, hand) -> None:
    dock, subject = opened, opened.state.workspace.subject
    for plane in ("axial", "coronal", "sagittal"):
        dock.state.set_view("volume", plane)
        for hemi in "LR":
            row = int(mapped_rows(dock, hemi)[20])
            dock.viewer.dims.set_point(range(3), subject.xyz[row])
            pixel = hand.click(subject.xyz[row])
            check_voxel_is_linked(dock, row)
            assert hemi == str(subject.voxels["hemi"][row]) and ("left" if hemi == "L" else "right") in dock.maps.selected.text()
            if plane != "sagittal":
                assert (pixel.x() < hand.pixel([0, *subject.xyz[row, 1:]]).x()) == (hemi == "L"), "left stays left"
            np.testing.assert_allclose(marked_in_volume(dock).mean(axis=0), subject.xyz[row], atol=0.05)
        hand.click(QPoint(5, hand.widget.height() - 5))  # air
        assert rows_of(dock) == [] and dock.state.selection.source == ""
        assert len(marked_in_volume(dock)) == 0 and len(dock.maps.legend._fields) == 0


def test_hidden_and_unmapped_voxels_can_be_asked_for(opened, hand) -> None:
    dock, subject = opened, opened.state.workspace.subject
    dock.state.set_view("volume", "axial")
    dock.state.set_threshold(0.5)
    hidden = int(mapped_rows(dock, "R", shown=False)[5])
    unmapped = int(np.flatnonzero(np.isnan(dock.state.workspace.map.x0_deg))[3])
    for row in (hidden, unmapped):
        dock.viewer.dims.set_point(range(3), subject.xyz[row])
        hand.click(subject.xyz[row])
        assert rows_of(dock) == [row]
        np.testing.assert_allclose(marked_in_volume(dock).mean(axis=0), subject.xyz[row], atol=0.05)
        if row == hidden:
            check_voxel_is_linked(dock, row)
            assert "below the threshold of 0.50" in dock.maps.selected.text()
        else:
            assert "does not cover" in dock.maps.selected.text() and len(dock.maps.legend._fields) == 0
    # with a lower threshold the same voxel is hidden no more, and the text follows
    dock.state.select([hidden], "volume")
    dock.state.set_threshold(0.0)
    assert "Hidden" not in dock.maps.selected.text()


def test_a_click_in_the_glass_brain_takes_the_voxel_in_front(opened, hand) -> None:
    dock, subject = opened, opened.state.workspace.subject
    dock.state.set_view("volume", "3d")
    forward = np.array(dock.viewer.scene.camera.view_direction)
    for hemi in "LR":
        rows = mapped_rows(dock, hemi)
        row = int(rows[np.argmin(subject.xyz[rows] @ forward)])
        hand.click(subject.xyz[row])
        check_voxel_is_linked(dock, row)
        np.testing.assert_allclose(dock.viewer.layers[CHOSEN_DOTS].data, subject.xyz[[row]], atol=1e-3)
    hand.click(QPoint(5, 5))
    assert rows_of(dock) == [] and CHOSEN_DOTS not in dock.viewer.layers


def rim(shape) -> np.ndarray:
    """Vertices at the edge of a flat map: half a pixel beside them there is nothing."""
    ends = np.sort(shape.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, faces = np.unique(ends, axis=0, return_counts=True)
    return np.unique(edges[faces == 1])


def test_a_click_on_the_cortex(opened, hand, canvas) -> None:
    opened.state.set_region("FFA")
    for view in SURFACES:
        check_clicks_on_the_cortex(opened, hand, canvas, view)


def check_clicks_on_the_cortex(dock, hand, canvas, view) -> None:
    dock.state.set_view(view)
    towards = -np.array(dock.viewer.scene.camera.view_direction)
    subject = dock.state.workspace.subject
    for hemi, side in dock.scene.cortex.hemispheres.items():
        shape = side.shapes[view]
        v1 = np.setdiff1d(np.flatnonzero((side.voxel >= 0) & (shape.normals @ towards > 0.75)), rim(shape))
        v1 = v1[subject.areas["V1"][side.voxel[v1]] & dock.state.found.shown[side.voxel[v1]]]
        assert len(v1) > 3
        for vertex in v1[:: max(1, len(v1) // 3)]:
            pixel = hand.click(shape.vertices[vertex])
            check_voxel_is_linked(dock, int(side.voxel[vertex]))
            assert f"vertex {vertex:,}" in dock.maps.selected.text()
            assert (pixel.x() < hand.widget.width() / 2) == (hemi == "L"), "left stays left"
        picture = canvas()
        _, columns = np.nonzero(np.abs(picture - np.array(CHOSEN_COLOUR)).max(axis=2) < 0.12)
        assert len(columns) > 20, "the mark is painted"
        assert ((columns < picture.shape[1] / 2) == (hemi == "L")).all()
    # cortex that no voxel is near to, in plain sight and on the canvas
    bare = np.flatnonzero((side.voxel < 0) & (shape.normals @ towards > 0.3))
    inside = [v for v in bare if hand.widget.rect().adjusted(9, 9, -9, -9).contains(hand.pixel(shape.vertices[v]))]
    picker = CortexPicker(dock.scene.cortex)
    vertex = next(v for v in inside if picker.first(view, shape.vertices[v], -towards).vertex == v)
    hand.click(shape.vertices[vertex])
    assert rows_of(dock) == [] and "No voxel lies near" in dock.maps.selected.text()
    assert CHOSEN_DOTS not in dock.viewer.layers
    hand.click(QPoint(hand.widget.width() // 2, 3))
    assert dock.state.selection.source == ""


def test_a_drag_turns_the_brain_and_selects_nothing(opened, hand) -> None:
    dock = opened
    dock.state.set_view("inflated")
    side = dock.scene.cortex.hemispheres["L"]
    vertex = int(np.flatnonzero((side.voxel >= 0) & (side.shapes["inflated"].normals[:, 1] < -0.8))[0])
    start = hand.pixel(side.shapes["inflated"].vertices[vertex])
    angles = dock.viewer.scene.camera.angles
    hand.drag(start, start + QPoint(15, 4), start + QPoint(60, 20))
    assert not np.allclose(dock.viewer.scene.camera.angles, angles)
    assert rows_of(dock) == [] and dock.state.selection.source == ""
    # away and back to where it began is a drag too; a shaking hand is not
    start = hand.pixel(side.shapes["inflated"].vertices[vertex])
    hand.drag(start, start + QPoint(30, 0), start + QPoint(30, 30), start)
    assert dock.state.selection.source == ""
    start = hand.pixel(side.shapes["inflated"].vertices[vertex])
    hand.drag(start, start + QPoint(1, 1), start + QPoint(1, 0))
    assert dock.state.selection.source == "surface"


def test_a_tool_of_another_layer_keeps_its_clicks(opened, hand) -> None:
    dock, subject = opened, opened.state.workspace.subject
    dock.state.set_view("volume", "axial")
    row = int(mapped_rows(dock, "L")[0])
    dock.viewer.dims.set_point(range(3), subject.xyz[row])
    painted = dock.viewer.add_labels(
        np.zeros(subject.space.shape, dtype=np.uint8), affine=subject.space.affine, units=("mm", "mm", "mm"), axis_labels=("R", "A", "S")
    )
    painted.mode = "paint"
    hand.click(subject.xyz[row])
    assert rows_of(dock) == []
    painted.mode = "pan_zoom"
    hand.click(subject.xyz[row])
    assert rows_of(dock) == [row]


# The visual field ------------------------------------------------------------------------------------------------------------------------


def click_field(dock, qtbot, x_deg: float, y_deg: float) -> None:
    legend = dock.maps.legend
    qtbot.mouseClick(legend, LEFT_BUTTON, pos=legend.position_of(x_deg, y_deg).toPoint())


def test_a_click_in_the_visual_field_marks_both_hemispheres_in_every_view(opened, qtbot) -> None:
    dock, found = opened, opened.state.workspace.map
    subject = dock.state.workspace.subject
    dock.maps.threshold.setValue(0)
    # at the vertical meridian both hemispheres see the same place
    upper = np.flatnonzero((np.abs(found.x0_deg) < 0.25) & dock.state.found.shown)
    click_field(dock, qtbot, 0.0, float(np.median(found.y0_deg[upper])))
    rows, legend = rows_of(dock), dock.maps.legend
    clicked = legend.position_of(0.0, float(np.median(found.y0_deg[upper]))).toPoint()
    x, y = np.array([clicked.x(), clicked.y()]) - [legend.position_of(0, 0).x(), legend.position_of(0, 0).y()]
    away = np.hypot(found.x0_deg - x / legend._scale, found.y0_deg + y / legend._scale)
    assert rows == np.flatnonzero((away <= legend.reach_deg) & dock.state.found.shown).tolist()
    hemi = subject.voxels["hemi"].to_numpy()[rows]
    assert {"L", "R"} == set(hemi)
    assert f"{(hemi == 'L').sum():,} left, {(hemi == 'R').sum():,} right" in dock.maps.selected.text()
    for view in SURFACES:
        dock.state.set_view(view)
        vertices = vertices_of(dock.scene.cortex, dock.state.selection.rows)
        dots = dock.viewer.layers[CHOSEN_DOTS].data
        assert len(dots) == sum(len(chosen) for chosen in vertices.values())
        assert (dots[:, 0] < 0).sum() == len(vertices["L"]) and (dots[:, 0] > 0).sum() == len(vertices["R"])
        unseen = len(rows) - len(np.unique(np.concatenate([dock.scene.cortex.hemispheres[h].voxel[v] for h, v in vertices.items()])))
        assert (f"{unseen:,} of them have no vertex" in dock.maps.selected.text()) == (unseen > 0)
    dock.state.set_view("volume", "3d")
    np.testing.assert_allclose(dock.viewer.layers[CHOSEN_DOTS].data, subject.xyz[rows], atol=1e-3)
    for plane, order in PLANE_ORDER.items():
        dock.state.set_view("volume", plane)
        places = marked_in_volume(dock)
        assert {tuple(np.rint(world_to_voxel(place[None], subject.space.affine)[0]).astype(int)) for place in places} == {
            tuple(cell) for cell in subject.ijk[rows]
        }
        here = np.abs(subject.xyz[rows, order[0]] - dock.viewer.dims.point[order[0]])
        assert here.min() <= max(subject.space.voxel_mm) / 2, "the slice goes to the selection"


def test_the_visual_field_picks_the_nearest_clears_and_respects_the_threshold(opened, qtbot) -> None:
    dock, found = opened, opened.state.workspace.map
    strict = float(np.sort(found.quality[np.isfinite(found.quality)])[-3])
    dock.state.set_threshold(strict)
    click_field(dock, qtbot, 0.0, -found.field_of_view_deg / 2 + 0.1)
    (row,) = rows_of(dock)
    assert dock.state.found.shown[row] and "nearest to" in dock.maps.selected.text()
    legend = dock.maps.legend
    qtbot.mouseClick(legend, LEFT_BUTTON, pos=QPoint(2, legend.height() // 2))  # beside the stimulus
    assert rows_of(dock) == []
    start = legend.position_of(found.x0_deg[row], found.y0_deg[row]).toPoint()
    qtbot.mousePress(legend, LEFT_BUTTON, pos=start)
    qtbot.mouseRelease(legend, LEFT_BUTTON, pos=start + QPoint(30, 0))
    assert rows_of(dock) == [], "a drag is no click here either"
    dock.state.set_threshold(2.0)  # nothing is shown: nothing can be meant
    qtbot.mouseClick(legend, LEFT_BUTTON, pos=start)
    assert rows_of(dock) == []


def test_every_dot_of_a_crowd_is_linked_though_only_some_are_drawn(opened, qtbot, monkeypatch) -> None:
    monkeypatch.setattr("napari_brain2pix.widgets.visual_field.MOST_DOTS", 10)
    dock, found = opened, opened.state.workspace.map
    dock.state.set_kind("Size")
    shown = np.flatnonzero(dock.state.found.shown)
    assert len(dock.maps.legend._dots[0]) < len(shown) / 2
    for row in shown[1:40:13]:
        click_field(dock, qtbot, found.x0_deg[row], found.y0_deg[row])
        assert row in rows_of(dock)


def test_keys_move_the_selection_and_escape_clears_it(opened, hand, qtbot) -> None:
    dock, legend, found = opened, opened.maps.legend, opened.state.workspace.map
    QApplication.setActiveWindow(dock.window())
    dock.maps.threshold.setFocus()
    for _ in range(3):
        if legend.hasFocus():
            break
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert legend.hasFocus(), "Tab reaches the visual field"
    assert legend.accessibleName() and "Escape" in legend.accessibleDescription()
    places = []
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Up):
        qtbot.keyClick(legend, key, Qt.KeyboardModifier.ShiftModifier)
        assert dock.state.selection.source == "field" and rows_of(dock)
        places.append((float(np.mean(found.x0_deg[rows_of(dock)])), float(np.mean(found.y0_deg[rows_of(dock)]))))
    assert places[1][0] > places[0][0] and places[2][1] > places[1][1], "right is right, up is up"
    qtbot.keyClick(legend, Qt.Key.Key_Escape)
    assert rows_of(dock) == []
    # after a click elsewhere the keys begin at the voxel that was chosen there
    row = int(mapped_rows(dock, "L")[3])
    dock.state.select([row], "volume")
    qtbot.keyClick(legend, Qt.Key.Key_Left)
    step = found.field_of_view_deg / 2 / 24
    assert legend._pointer == pytest.approx((found.x0_deg[row] - step, found.y0_deg[row]), abs=1e-4)
    hand.widget.setFocus()
    qtbot.keyClick(hand.widget, Qt.Key.Key_Escape)
    assert rows_of(dock) == []


# Words, pace, leaving --------------------------------------------------------------------------------------------------------------------


def test_the_text_says_why_a_voxel_is_not_seen(opened) -> None:
    dock = opened
    workspace = dock.state.workspace
    found, cortex = workspace.map, dock.scene.cortex
    shown = np.concatenate([side.voxel for side in cortex.hemispheres.values()])
    row = int(np.intersect1d(mapped_rows(dock, "L"), shown)[0])
    unseen = int(np.setdiff1d(mapped_rows(dock, "L"), shown)[0])

    def say(changed, rows, view="volume") -> str:
        dock.state.workspace = replace(workspace, map=changed)
        dock.state.set_threshold(0.0)
        dock.state.select(rows, "volume")
        return describe_selection(dock.state, cortex, view)

    nowhere = found.x0_deg.copy()
    nowhere[row] = np.nan
    text = say(replace(found, x0_deg=nowhere), [row])
    assert "No receptive field was found" in text and f"quality {found.quality[row]:.2f}" in text
    far = found.x0_deg.copy()
    far[row] = 40.0
    assert "misses the stimulus" in say(replace(found, x0_deg=far), [row])
    assert "1 beside the stimulus" in say(replace(found, x0_deg=far), [row, unseen])
    assert "1 without a field" in say(replace(found, x0_deg=nowhere), [row, unseen])
    assert "No vertex of the surface shows it" in say(found, [unseen], "inflated")
    assert "vertex" not in say(found, [unseen])
    accuracy = np.full_like(found.quality, 0.83)
    assert "accuracy 0.83 of its ceiling" in say(replace(found, accuracy=accuracy), [row])
    assert "2 voxels" in say(found, [row, unseen, row])


def test_accuracy_is_a_map_where_it_was_stored_and_a_reason_where_not(opened, mapped, monkeypatch, tmp_path) -> None:
    from brain2pix.data.maps import read_maps, write_maps

    dock, workspace = opened, opened.state.workspace
    assert "Accuracy over ceiling" not in dock.state.kinds
    assert "No accuracy over the ceiling: these maps were made before" in dock.maps.measure.text()
    folder = tmp_path / "demo"
    folder.mkdir()
    for name in ("subject", "results"):
        (folder / name).symlink_to(mapped / name)
    share = np.linspace(-0.1, 1.1, len(workspace.subject.voxels)).astype(np.float32)
    everyone = np.arange(share.size)
    stored = read_maps(mapped / "maps").on(workspace.subject)
    write_maps(folder / "maps", replace(stored, accuracy=share, accuracy_name="r on 8 test images"), workspace.subject, everyone)
    dock.open(folder)
    assert "r on 8 test images" in dock.maps.measure.text() and "No accuracy" not in dock.maps.measure.text()
    dock.maps.kind.setCurrentText("Accuracy over ceiling")
    view = dock.state.found
    assert view.kind.limits == (0.0, 1.0) and view.shown.sum() == (np.nan_to_num(stored.quality) >= dock.state.threshold).sum()
    for name in SURFACES:
        dock.state.set_view(name)
    dock.maps.legend.grab()
    write_maps(folder / "maps", replace(stored, accuracy_name="sub-01 has no test trials"), workspace.subject, everyone)
    dock.open(folder)
    assert "No accuracy over the ceiling: sub-01 has no test trials" in dock.maps.measure.text()


def test_a_dragged_threshold_redraws_a_few_times_and_ends_where_the_hand_does(opened, qtbot) -> None:
    dock, redrawn = opened, []
    dock.state.map_changed.connect(lambda found: redrawn.append(int(found.shown.sum())))
    for step in range(10, 110):
        dock.maps.threshold.setValue(step)
    qtbot.waitUntil(lambda: dock.state.threshold == pytest.approx(0.95 * 109 / 200, abs=0.02), timeout=3000)
    assert 1 <= len(redrawn) < 40
    assert f"{redrawn[-1]:,} of {dock.state.found.n_mapped:,} voxels" in dock.maps.count.text()


def test_a_failing_view_leaves_the_window_alive(opened, hand, monkeypatch, logged_errors) -> None:
    dock = opened
    dock.state.set_view("inflated")
    monkeypatch.setattr(dock.scene._picker, "first", lambda *_: 1 / 0)
    hand.click(QPoint(200, 200))
    assert "ZeroDivisionError" in dock.head.notice.text()
    assert any("_click failed" in message for message in logged_errors.clear())
    monkeypatch.setattr(dock.scene, "right_on_screen", lambda: 1 / 0)
    dock.viewer.scene.camera.angles = (10, 20, 30)
    assert any("_update_sides failed" in message for message in logged_errors.clear())


def test_a_closed_dock_listens_no_more(opened, hand) -> None:
    dock, viewer = opened, opened.viewer
    assert dock.scene._press in viewer.mouse_drag_callbacks
    dock.shut_down()
    assert dock.scene._press not in viewer.mouse_drag_callbacks
    hand.click(QPoint(300, 300))
    assert rows_of(dock) == []
