"""Picking against a second formula, and what the guards do: no viewer needed."""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtWidgets import QWidget

import napari_brain2pix
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError
from napari_brain2pix._guard import guarded, guarded_paint, painting
from napari_brain2pix.brain.cortex import build_cortex
from napari_brain2pix.brain.pick import CortexPicker, ShapePicker, rows_at, voxel_at, voxel_on_ray
from napari_brain2pix.folders.workspace import open_workspace

HANDLERS = {"paintEvent", "event", "eventFilter", "resizeEvent", "changeEvent", "keyPressEvent", "mousePressEvent", "mouseReleaseEvent"}


def first_by_plane(vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> tuple[int, float] | None:
    """Every triangle in turn: where the line crosses its plane, and on which side of its three edges that lies."""
    best = None
    for corners in faces:
        a, b, c = vertices[corners].astype(float)
        normal = np.cross(b - a, c - a)
        if abs(normal @ direction) < 1e-12:
            continue
        t = normal @ (a - origin) / (normal @ direction)
        place = origin + t * direction
        if all(np.cross(q - p, place - p) @ normal >= 0 for p, q in ((a, b), (b, c), (c, a))) and (best is None or t < best[1]):
            best = int(corners[np.argmin(np.linalg.norm(vertices[corners] - place, axis=1))]), float(t)
    return best


@pytest.fixture(scope="module")
def cortex(tiny_subject):
    return build_cortex(open_subject(tiny_subject))


def coarse(shape, keep: int):
    """Some of the triangles, so that every one can be tried one by one."""
    return SimpleNamespace(vertices=shape.vertices, faces=shape.faces[::keep])


@pytest.mark.parametrize("view", ["inflated", "flat", "sphere"])
def test_a_ray_finds_the_vertex_that_every_triangle_in_turn_finds(cortex, view, rng) -> None:
    shape = coarse(cortex.hemispheres["L"].shapes[view], 40)
    picker = ShapePicker(shape)
    used = shape.vertices[np.unique(shape.faces)]
    met = 0
    for number in range(25):
        corners = shape.vertices[shape.faces[rng.integers(len(shape.faces))]]
        target = rng.dirichlet(np.ones(3)) @ corners + (number % 2) * rng.normal(0, 5, 3)  # every other one may miss
        direction = np.array([0.0, 1.0, 0.0]) + rng.normal(0, 0.3, 3)
        direction /= np.linalg.norm(direction)
        origin = target - rng.uniform(-50, 400) * direction  # also a point in front of which the surface lies
        found, expected = picker.first(origin, direction), first_by_plane(shape.vertices, shape.faces, origin, direction)
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found[0] == expected[0]
            assert found[1] == pytest.approx(expected[1], abs=1e-4)
            met += 1
    assert 12 <= met < 25
    assert picker.first(used.max(axis=0) + 50, (1.0, 0.0, 0.0)) is None


def test_the_nearer_side_of_the_nearer_hemisphere_is_hit(cortex) -> None:
    picker = CortexPicker(cortex)
    for hemi in "LR":
        shape = cortex.hemispheres[hemi].shapes["sphere"]
        centre = shape.vertices.mean(axis=0)
        hit = picker.first("sphere", centre, (0.0, 1.0, 0.0))  # from behind, from a point within
        assert hit.hemi == hemi
        assert shape.vertices[hit.vertex, 1] < centre[1] - 90
        assert hit.row == cortex.hemispheres[hemi].voxel[hit.vertex]
    middle = (cortex.hemispheres["L"].shapes["sphere"].vertices.mean(axis=0) + shape.vertices.mean(axis=0)) / 2
    assert picker.first("sphere", middle, (0.0, 1.0, 0.0)) is None, "between the hemispheres there is nothing"
    assert picker.first("sphere", middle, (1.0, 0.0, 0.0)).hemi == "L", "seen from the left, the left one is in front"


def test_the_voxel_at_a_place_is_the_one_whose_centre_is_nearest(tiny_subject, rng) -> None:
    subject = open_subject(tiny_subject)
    for row in rng.integers(len(subject.voxels), size=40):
        place = subject.xyz[row] + 0.49 * rng.uniform(-1, 1, 3) * subject.space.voxel_mm
        assert voxel_at(subject, place) == int(np.argmin(np.linalg.norm(subject.xyz - place, axis=1))) == row
    assert voxel_at(subject, subject.xyz.max(axis=0) + 30) == -1


def test_the_first_voxel_on_a_ray_is_the_first_one_met_in_small_steps(tiny_subject, rng) -> None:
    subject = open_subject(tiny_subject)
    candidates = rng.random(len(subject.voxels)) < 0.5
    cells = {tuple(cell): row for row, cell in enumerate(subject.ijk) if candidates[row]}
    back = np.linalg.inv(subject.space.affine)
    for _ in range(20):
        target = subject.xyz[rng.integers(len(subject.voxels))] + rng.normal(0, 3, 3)
        direction = rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        steps = target + np.arange(-200, 200, 0.02)[:, None] * direction
        walked = np.rint(steps @ back[:3, :3].T + back[:3, 3]).astype(int)
        expected = next((cells[tuple(cell)] for cell in walked if tuple(cell) in cells), -1)
        assert voxel_on_ray(subject, target, direction, candidates) == expected
    assert voxel_on_ray(subject, target, direction, np.zeros_like(candidates)) == -1


def test_fields_within_reach_or_else_the_nearest_one(mapped) -> None:
    found = open_workspace(mapped).map
    everyone = np.ones(found.x0_deg.size, dtype=bool)
    mine = [row for row in range(found.x0_deg.size) if (found.x0_deg[row] - 1) ** 2 + (found.y0_deg[row] + 1) ** 2 <= 0.25]
    assert len(mine) > 3 and rows_at(found, 1.0, -1.0, 0.5, everyone).tolist() == mine
    some = everyone.copy()
    some[mine[0]] = False
    assert rows_at(found, 1.0, -1.0, 0.5, some).tolist() == mine[1:]
    (nearest,) = rows_at(found, 1.0, -1.0, 1e-6, everyone)
    away = (found.x0_deg - 1) ** 2 + (found.y0_deg + 1) ** 2
    assert away[nearest] == np.nanmin(away)
    assert rows_at(found, 1.0, -1.0, 0.5, ~everyone).size == 0


# Guards ----------------------------------------------------------------------------------------------------------------------------------


class Owner:
    """Something with slots; its dock is already gone if it has no state."""

    def __init__(self, *messages: list[str]) -> None:
        if messages:
            self.state = SimpleNamespace(problem=SimpleNamespace(emit=messages[0].append))

    @guarded
    def expected(self) -> None:
        raise ConfigError("choose another")

    @guarded(otherwise=False)
    def unexpected(self, value: int) -> bool:
        return 1 // value > 0


def test_a_guard_tells_the_user_and_logs_what_is_our_fault(logged_errors) -> None:
    said: list[str] = []
    owner = Owner(said)
    assert owner.expected() is None and said == ["choose another"]
    assert not logged_errors.clear(), "a mistake of the user is no error of ours"
    assert owner.unexpected(1, "surplus values of a signal") is True
    assert owner.unexpected(0) is False
    assert "ZeroDivisionError" in said[1]
    (entry,) = logged_errors.clear()
    assert "unexpected failed" in entry and "Traceback" in entry
    assert Owner().unexpected(0) is False, "without a dock to tell it still does not raise"
    assert len(logged_errors.clear()) == 1


def test_a_failing_paint_event_ends_its_painter_and_is_logged_once(qtbot, logged_errors) -> None:
    class Broken(QWidget):
        painted = 0

        @guarded_paint
        def paintEvent(self, event) -> None:
            self.painted += 1
            with painting(self):
                raise ValueError("no picture")

    widget = Broken()
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    for _ in range(3):
        widget.grab()
    assert widget.painted >= 3
    (entry,) = logged_errors.clear()
    assert "paintEvent failed" in entry and "no picture" in entry


def guards(function: ast.FunctionDef) -> bool:
    """Whether a method is guarded, or does nothing that could fail: it passes a signal on, to slots with guards of their own."""
    *_, last = function.body
    if len(function.body) == 1 and ast.unparse(last).startswith("self.") and ".emit(" in ast.unparse(last):
        return True
    return any(ast.unparse(decorator).startswith("guarded") for decorator in function.decorator_list)


def slots_of(tree: ast.ClassDef) -> set[str]:
    """Methods of a class that it hands to Qt or napari: connected, bound to a key, appended to callbacks, called later."""
    handed = {"connect", "singleShot", "bind_key", "append", "timer"}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in handed)
    names = (argument for call in calls for argument in call.args if isinstance(argument, ast.Attribute))
    return {name.attr for name in names if getattr(name.value, "id", "") == "self"}


@pytest.mark.parametrize("file", sorted(Path(napari_brain2pix.__file__).parent.rglob("*.py")), ids=lambda file: file.stem)
def test_every_slot_callback_and_event_handler_is_guarded(file) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for part in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        methods = {node.name: node for node in part.body if isinstance(node, ast.FunctionDef)}
        called = (slots_of(part) | HANDLERS) & methods.keys()
        open_ones = sorted(name for name in called if not guards(methods[name]))
        assert not open_ones, f"{part.name}: {', '.join(open_ones)} can end the process: decorate with @guarded"
