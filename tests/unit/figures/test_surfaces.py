from dataclasses import dataclass

import numpy as np
import pytest

from brain2pix.errors import ShapeError
from brain2pix.figures._style import new_figure, place
from brain2pix.figures._surfaces import draw_mesh, draw_outlines, find_outlines, project, windows_around

EYE = np.array([0.64, -0.76, 0.10])  # of the left hemisphere


@dataclass
class Sheet:
    vertices: np.ndarray
    faces: np.ndarray


def grid(n: int) -> Sheet:
    """A flat n x n sheet from 0 to 1."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return Sheet(
        np.column_stack([x.ravel(), y.ravel(), 0 * x.ravel()]), np.vstack([np.column_stack([a, b, d]), np.column_stack([a, d, c])])
    )


def ball(n: int = 24) -> Sheet:
    """A unit sphere, outward."""
    from scipy.spatial import ConvexHull

    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n, endpoint=False))
    points = np.unique(
        np.round(np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3), 9), axis=0
    )
    faces = ConvexHull(points).simplices
    corners = points[faces]
    inward = np.einsum("fi,fi->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners.mean(1)) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Sheet(points, faces)


@pytest.mark.parametrize("flip", [False, True])
def test_only_the_side_that_faces_the_eye_is_drawn(flip: bool) -> None:
    mesh = ball()
    if flip:  # a mesh whose triangles turn the other way
        mesh = Sheet(mesh.vertices, mesh.faces[:, ::-1])
    view = project(mesh, "L", "inflated")
    centres = mesh.vertices[view.faces].mean(axis=1) @ EYE
    assert centres.min() > -0.1
    assert len(view.faces) == pytest.approx(len(mesh.faces) / 2, rel=0.1)
    assert (np.diff(centres) >= -1e-12).all()  # the farthest first


def test_front_is_left_of_the_page_in_neither_hemisphere() -> None:
    # seen from behind and the midline, the back of the head is at the outer side and the front towards the middle of the figure
    back, front = np.array([[0, -1.0, 0], [0, 1.0, 0]])
    mesh = Sheet(np.vstack([back, front, [0, 0, 1.0]]), np.array([[0, 1, 2]]))
    left, right = (project(mesh, hemi, "inflated").places for hemi in "LR")
    assert left[0, 0] < left[1, 0]
    assert right[0, 0] > right[1, 0]
    assert left[2, 1] > left[0, 1]  # up is up


def test_what_is_near_hides_what_is_far(drawn) -> None:  # type: ignore[no-untyped-def]
    right, up = np.cross([0, 0, 1], EYE), np.array([0.0, 0, 1])
    square = np.array([-right - up, right - up, right + up, -right + up]) * 10
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = Sheet(np.vstack([square, 0.5 * square + 5 * EYE]), np.vstack([faces, faces + 4]))
    colors = np.tile([0, 0, 1.0, 1], (8, 1))
    colors[4:] = [1, 0, 0, 1]
    figure = new_figure(2, 2)
    axes = place(figure, 0, 0, 2, 2)
    view = project(mesh, "L", "inflated")
    draw_mesh(axes, view, colors)
    axes.set(xlim=(view.places[:, 0].min(), view.places[:, 0].max()), ylim=(view.places[:, 1].min(), view.places[:, 1].max()))
    axes.set_axis_off()
    image = drawn(figure)
    h, w, _ = image.shape
    assert image[h // 2, w // 2].argmax() == 0  # the near square, in the middle
    assert image[h // 20, w // 20].argmax() == 2  # the far one around it


def test_borders_of_neighbours_coincide_and_stay_where_they_are() -> None:
    sheet = grid(41)
    x = sheet.vertices[:, 0]
    areas = {"left": (x > 0.2) & (x < 0.5), "right": (x >= 0.5) & (x < 0.6)}
    view = project(sheet, "L", "flat")
    outlines = find_outlines(view, areas)
    lines = np.array(outlines.lines)
    places = lines[(np.abs(lines[:, :, 1] - 0.5) < 0.4).all(axis=1), :, 0]  # away from the edge of the sheet
    middle = places[(np.abs(places - 0.5) < 0.05).all(axis=1)]
    assert len(middle) >= 2 * 60  # both areas draw it
    assert middle == pytest.approx(0.4875, abs=0.006)
    narrow = places[(places > 0.55).all(axis=1)]
    assert narrow == pytest.approx(0.5875, abs=0.01)  # three vertices wide, and still there
    assert all(((seats[:, 0] > low) & (seats[:, 0] < high)).all() for seats, low, high in
               ((outlines.seats["left"], 0.2, 0.5), (outlines.seats["right"], 0.48, 0.6)))  # fmt: skip


def test_names_give_way_to_each_other(colliding) -> None:  # type: ignore[no-untyped-def]
    sheet = grid(41)
    x = sheet.vertices[:, 0]
    figure = new_figure(2, 2)
    axes = place(figure, 0, 0, 2, 2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    stripes = {f"V{k}dv": (x > 0.1 * k) & (x <= 0.1 * k + 0.1) for k in range(1, 8)}
    draw_outlines(axes, find_outlines(project(sheet, "L", "flat"), stripes), mm_per_inch=0.5)
    assert len(axes.texts) == 7
    assert not colliding(figure)


def test_windows_have_one_size_and_hold_the_focus() -> None:
    sheet = grid(41)
    views = {hemi: project(sheet, hemi, "flat") for hemi in "LR"}
    x, y = sheet.vertices[:, :2].T
    focus = {"L": (x > 0.8) & (y > 0.4) & (y < 0.6), "R": (x < 0.4) & (y > 0.3) & (y < 0.6)}
    windows = windows_around(views, focus, margin=0.05)
    assert np.ptp(windows["L"][:2]) == pytest.approx(np.ptp(windows["R"][:2]))
    assert np.ptp(windows["L"][2:]) == pytest.approx(np.ptp(windows["R"][2:]))
    for hemi, (left, right, bottom, top) in windows.items():
        inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        assert inside[focus[hemi]].all()
        assert not inside.all() or hemi == "L"


def test_colours_must_fit_the_mesh() -> None:
    sheet = grid(4)
    with pytest.raises(ShapeError, match=r"a mesh of 16 vertices needs colours of shape \(16, 4\), got \(15, 4\)"):
        draw_mesh(place(new_figure(1, 1), 0, 0, 1, 1), project(sheet, "L", "flat"), np.ones((15, 4)))
