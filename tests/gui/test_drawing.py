"""What is drawn, checked on shapes whose answer is known: no viewer needed."""

from dataclasses import replace

import numpy as np
import pytest

from brain2pix.arrays import RetinotopicMap
from napari_brain2pix.brain.cortex import Shape, area_borders, build_cortex, label_places, place_flat, place_inflated, vertex_normals
from napari_brain2pix.brain.layers import faded_map_layer, map_layer, vertex_colours
from napari_brain2pix.brain.maps import map_kinds, map_view, threshold_range
from napari_brain2pix.folders.workspace import open_workspace


def sheet(n: int = 21) -> Shape:
    """A flat square of n x n vertices in x and z, 1 mm apart, seen from -y."""
    x, z = np.meshgrid(np.arange(n, dtype=np.float32), np.arange(n, dtype=np.float32), indexing="ij")
    vertices = np.stack([x.ravel(), np.zeros(n * n, dtype=np.float32), z.ravel()], axis=1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([corner, corner + n, corner + n + 1], 1), np.stack([corner, corner + n + 1, corner + 1], 1)])
    return Shape(vertices, faces.astype(np.int32), vertex_normals(vertices, faces))


def test_a_straight_border_is_drawn_as_a_straight_ribbon_on_the_surface() -> None:
    shape = sheet()
    label = (shape.vertices[:, 0] > 10).astype(int)  # the edge runs at x = 10.5
    vertices, faces = area_borders(shape, label, width_mm=0.6, lift_mm=0.25)
    inside = (vertices[:, 2] > 3) & (vertices[:, 2] < 17)
    assert np.abs(vertices[inside, 0] - 10.5).max() < 0.45  # half of its width and a little
    lift = shape.normals[0] * 0.25
    assert np.allclose(vertices[:, 1], lift[1], atol=1e-5)
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert 20 * 0.6 < area < 2 * 20 * 0.6  # as long as the sheet; overlaps at the joints are counted twice
    assert vertices[:, 2].min() < 0.5 and vertices[:, 2].max() > 19.5


def test_where_three_areas_meet_three_lines_meet() -> None:
    shape = sheet(3)
    label = np.array([0, 0, 1, 0, 1, 1, 2, 2, 2])
    vertices, faces = area_borders(shape, label, width_mm=0.1, lift_mm=0.0)
    assert len(faces) > 0 and np.isfinite(vertices).all()
    nothing, no_faces = area_borders(shape, np.zeros(9, dtype=int), width_mm=0.1, lift_mm=0.0)
    assert len(nothing) == len(no_faces) == 0


def test_jagged_voxel_edges_are_smoothed() -> None:
    shape = sheet()
    jagged = shape.vertices[:, 0] > 10 + (shape.vertices[:, 2] % 2)  # teeth of one vertex
    vertices, _ = area_borders(shape, jagged.astype(int), width_mm=0.01, lift_mm=0.0)
    middle = vertices[(vertices[:, 2] > 4) & (vertices[:, 2] < 16)]
    assert np.ptp(middle[:, 0]) < 0.7, "the teeth are one millimetre deep"


def test_names_stand_in_their_area() -> None:
    shape = sheet()
    label = np.where(shape.vertices[:, 0] > 10, 2, 1)
    upper = shape.vertices[:, 2] > 15
    places = label_places(shape, label, [1, 2, 3], preferred=upper & (label == 2))
    assert set(places) == {1, 2}
    assert np.allclose(shape.vertices[places[1]][[0, 2]], [5, 10])
    assert upper[places[2]] and label[places[2]] == 2


def test_hemispheres_stand_apart_with_outward_normals(tiny_subject) -> None:
    from brain2pix.data.subject import open_subject

    subject = open_subject(tiny_subject)
    for place, kind in ((place_inflated, "inflated"), (place_flat, "flat")):
        shapes = {hemi: place(subject.mesh(hemi, kind).vertices, subject.mesh(hemi, kind).faces, hemi) for hemi in "LR"}
        used = {hemi: shape.vertices[np.unique(shape.faces)] for hemi, shape in shapes.items()}
        assert used["L"][:, 0].max() == pytest.approx(-10, abs=0.1)
        assert used["R"][:, 0].min() == pytest.approx(10, abs=0.1)
    for shape in shapes.values():  # flat maps face the viewer behind the head
        assert np.median(shape.normals[np.unique(shape.faces), 1]) < -0.9
    inflated = place_inflated(subject.mesh("L", "inflated").vertices, subject.mesh("L", "inflated").faces, "L")
    outward = inflated.vertices - inflated.vertices.mean(axis=0)
    assert ((inflated.normals * outward).sum(axis=1) > 0).mean() > 0.9


def test_cortex_without_a_map_value_shows_its_folding_and_never_black(mapped) -> None:
    workspace = open_workspace(mapped)
    cortex = build_cortex(workspace.subject)
    kind = map_kinds(workspace.map)["Polar angle"]
    view = map_view(workspace.map, kind, 0.5)
    colours = vertex_colours(cortex, "L", "inflated", view)
    plain = vertex_colours(cortex, "L", "inflated", None)
    near = cortex.hemispheres["L"].voxel
    shown = (near >= 0) & view.shown[near]
    assert shown.sum() > 20
    assert np.array_equal(colours[~shown], plain[~shown])
    assert (colours[:, 3] == 1).all() and np.isfinite(colours).all()
    assert colours[:, :3].max(axis=1).min() > 0.1
    assert not np.allclose(colours[shown], plain[shown])


def test_threshold_and_range_of_a_map(mapped) -> None:
    workspace = open_workspace(mapped)
    found = workspace.map
    kind = map_kinds(found)["Polar angle"]
    low, first, high = threshold_range(found)
    assert (low, first) == (0.0, 0.1) and 0.4 <= high <= 1
    for threshold in (0.1, 0.5):
        view = map_view(found, kind, threshold)
        assert not view.shown[found.quality < threshold].any()
        assert view.alpha[~view.shown].max() == 0 and view.alpha[view.shown].min() > 0.1
    # quality on another scale starts where 85 % are kept
    scaled = replace(found, quality=found.quality * 40)
    kept = map_view(scaled, kind, threshold_range(scaled)[1])
    assert kept.shown.sum() / kept.n_mapped == pytest.approx(0.85, abs=0.02)


def test_fields_that_miss_the_stimulus_are_hidden() -> None:
    found = RetinotopicMap(
        x0_deg=np.array([1.0, 20.0, np.nan], dtype=np.float32),
        y0_deg=np.zeros(3, dtype=np.float32),
        sigma_deg=np.ones(3, dtype=np.float32),
        quality=np.full(3, 0.9, dtype=np.float32),
        field_of_view_deg=12.0,
    )
    view = map_view(found, map_kinds(found)["Eccentricity"], 0.1)
    assert view.shown.tolist() == [True, False, False]
    assert view.n_mapped == 2


def test_the_volume_of_a_map_is_see_through_where_there_is_nothing(mapped) -> None:
    workspace = open_workspace(mapped)
    for name, kind in map_kinds(workspace.map).items():
        view = map_view(workspace.map, kind, 0.1)
        for make, opacity in ((map_layer, np.ones_like(view.alpha)), (faded_map_layer, view.alpha)):
            volume, settings, _ = make(workspace.subject, view, mapped)
            low, high = settings["contrast_limits"]
            rows = np.flatnonzero(view.shown)[::9]
            codes = volume[tuple(workspace.subject.ijk[rows].T)]
            drawn = settings["colormap"].map((codes - low) / (high - low))
            assert np.abs(drawn[:, 3] - opacity[rows]).max() < 0.06, name
            assert np.abs(drawn[:, :3] - view.colours[rows]).max() < 0.06, name
            assert settings["colormap"].map(np.array([(volume[0, 0, 0] - low) / (high - low)]))[0][3] == 0, name
        assert np.ptp(opacity[rows]) > 0.5, "the weak voxels fade"
