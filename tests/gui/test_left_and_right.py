"""Left and right, proven by pixels: the colour of the right visual field lies on the hemisphere labelled L, at the left of the screen."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from brain2pix.figures.colormaps import map_colors
from napari_brain2pix.widgets._parts import picture_of_widget


def hue_of(angle_deg: float) -> float:
    red, green, blue, _ = map_colors(np.array([angle_deg]), "angle")[0]
    return 360 * colorsys.rgb_to_hsv(float(red), float(green), float(blue))[0]


def pixels_of_hue(picture: np.ndarray, hue_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of saturated pixels near a hue; shading and blending change lightness, not hue."""
    high, low = picture.max(axis=2), picture.min(axis=2)
    spread = np.maximum(high - low, 1e-9)
    red, green, blue = np.moveaxis(picture, 2, 0)
    hue = np.where(high == red, (green - blue) / spread % 6, np.where(high == green, (blue - red) / spread + 2, (red - green) / spread + 4))
    apart = np.abs((60 * hue - hue_deg + 180) % 360 - 180)
    return np.nonzero((apart < 18) & (high - low > 0.30) & (high > 0.35))


def check_sides(viewer, picture: np.ndarray) -> None:
    """Both hemifields are on the canvas, right field under the label L."""
    overlays = viewer.canvas.overlays
    labels = {overlays[name].text: overlays[name] for name in ("brain2pix left", "brain2pix right")}
    assert all(label.visible for label in labels.values())
    l_is_left = str(labels["L"].position).endswith("left")
    assert l_is_left != str(labels["R"].position).endswith("left")
    for label in labels.values():  # the letters themselves are painted there
        corner = picture[:70, :60] if str(label.position).endswith("left") else picture[:70, -60:]
        assert (corner.min(axis=2) > 0.8).sum() > 30
    _, right_field = pixels_of_hue(picture, hue_of(0))
    _, left_field = pixels_of_hue(picture, hue_of(180))
    assert len(right_field) > 150, "the colour of the right visual field is not on the canvas"
    assert len(left_field) > 150, "the colour of the left visual field is not on the canvas"
    middle = (np.median(right_field) + np.median(left_field)) / 2
    on_l = right_field < middle if l_is_left else right_field > middle
    on_r = left_field > middle if l_is_left else left_field < middle
    assert on_l.mean() > 0.95
    assert on_r.mean() > 0.95


VIEWS = [("volume", "axial"), ("volume", "coronal"), ("volume", "3d"), ("inflated", ""), ("flat", "")]


def test_right_field_is_on_the_left_hemisphere_in_every_view(viewer, dock, mapped, canvas, qtbot) -> None:
    dock.open(mapped)
    dock.maps.threshold.setValue(0)
    dock.state.set_region("V3")  # its yellow line must not be taken for a colour of the map
    for view, plane in VIEWS:
        qtbot.mouseClick(dock.views.view.buttons[view], Qt.MouseButton.LeftButton)
        if plane:
            qtbot.mouseClick(dock.views.plane.buttons[plane], Qt.MouseButton.LeftButton)
            for name in ("Areas", "Region"):  # their outlines have colours of their own
                viewer.layers[name].visible = False
        assert (dock.scene.view, dock.scene.plane) == (view, plane or "3d")
        assert viewer.canvas.overlays["brain2pix left"].text == "L", view
        check_sides(viewer, canvas())
    # a smaller window shows the same, smaller; a zoom of the user's own is left alone
    zoom = viewer.scene.camera.zoom
    viewer.window.resize(1200, 750)
    qtbot.waitUntil(lambda: viewer.scene.camera.zoom < 0.9 * zoom, timeout=5000)
    check_sides(viewer, canvas())
    viewer.scene.camera.zoom = 7.0
    viewer.window.resize(1400, 900)
    qtbot.wait(100)
    assert viewer.scene.camera.zoom == pytest.approx(7.0, rel=0.01)


def test_the_letters_follow_the_brain(viewer, dock, mapped, canvas, qtbot) -> None:
    dock.open(mapped)
    dock.maps.threshold.setValue(0)
    left = viewer.canvas.overlays["brain2pix left"]
    camera = viewer.scene.camera
    dock.state.set_view("volume", "3d")
    camera.set_view_direction((0.0, -1.0, 0.0), (0.0, 0.0, 1.0))  # from the front
    assert left.text == "R"
    check_sides(viewer, canvas())
    camera.set_view_direction((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))  # from the side there is no left and right
    assert not left.visible
    # whatever a user does with napari's own buttons, the letters never lie
    dock.state.set_view("volume", "axial")
    camera.orientation2d = ("up", "left")
    assert left.text == "R"
    viewer.dims.order = (2, 0, 1)
    assert not left.visible


def test_the_legend_shows_the_right_field_at_the_right(viewer, dock, mapped, canvas, qtbot) -> None:
    dock.open(mapped)
    qtbot.wait(50)
    picture = picture_of_widget(dock.maps.legend) / 255
    _, right = pixels_of_hue(picture, hue_of(0))
    _, left = pixels_of_hue(picture, hue_of(180))
    assert np.median(left) < picture.shape[1] / 2 < np.median(right)
    # and the check of the brain can fail: a map with x turned round breaks it
    workspace = dock.state.workspace
    dock.state.workspace = replace(workspace, map=replace(workspace.map, x0_deg=-workspace.map.x0_deg))
    dock.maps.threshold.setValue(1)
    with pytest.raises(AssertionError):
        check_sides(viewer, canvas())
