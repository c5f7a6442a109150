import numpy as np
import pytest

from brain2pix.anatomy import (
    EXPECTED_SIGN,
    HEMISPHERES,
    SimulatedAtlas,
    load_fsaverage5,
    triangle_field_sign,
    vertex_field_sign,
    visual_field,
)
from brain2pix.errors import ShapeError


def _square(n=5):
    """A flat sheet in the x-y plane whose normals point up (towards +z)."""
    axis = np.arange(n, dtype=float)
    x, y = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    vertices = np.stack([x, y, np.zeros_like(x)], axis=1)
    corner = np.array([i * n + j for i in range(n - 1) for j in range(n - 1)])
    faces = np.concatenate([np.stack([corner, corner + n, corner + n + 1], 1), np.stack([corner, corner + n + 1, corner + 1], 1)])
    return vertices, faces


def test_a_faithful_map_is_positive_and_a_mirrored_one_negative():
    vertices, faces = _square()
    x, y = vertices[:, 0], vertices[:, 1]
    assert (triangle_field_sign(vertices, faces, 3 * x + y, 2 * y) == 1).all()
    assert (triangle_field_sign(vertices, faces, -x, y) == -1).all()
    assert (triangle_field_sign(vertices, faces, y, x) == -1).all()
    assert (triangle_field_sign(vertices, faces, x, x) == 0).all()


def test_turning_the_sheet_in_space_changes_nothing(rng):
    vertices, faces = _square()
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    field = rng.normal(size=(2, len(vertices)))
    before = triangle_field_sign(vertices, faces, *field)
    assert (triangle_field_sign(vertices @ rotation.T, faces, *field) == before).all()
    assert len(np.unique(before)) == 2


def test_vertices_average_their_known_triangles():
    vertices, faces = _square()
    x, y = vertices[:, 0].copy(), vertices[:, 1]
    x[0] = np.nan
    sign = vertex_field_sign(vertices, faces, np.where(vertices[:, 0] > 2, 4 - x, x), y)
    assert np.isnan(sign[0])
    assert sign[-1] == -1 and sign[7] == 1
    assert np.nanmax(np.abs(sign)) <= 1


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_simulated_areas_have_the_sign_of_real_ones(hemi):
    sphere = load_fsaverage5(hemi)["sphere"]
    area, ecc, theta, _ = SimulatedAtlas(hemi).lookup(sphere.vertices)
    sign = triangle_field_sign(sphere.vertices, sphere.faces, *visual_field(hemi, ecc, theta))
    share = {}
    for code, name in enumerate(("V1", "V2", "V3"), start=1):
        inside = (area[sphere.faces] == code).all(axis=1)
        assert inside.sum() > 100
        share[name] = (sign[inside] == EXPECTED_SIGN[name]).mean()
    assert share["V1"] == 1 and share["V2"] == 1 and share["V3"] >= 0.95


def test_maps_of_another_mesh_are_refused():
    vertices, faces = _square()
    with pytest.raises(ShapeError, match="25 vertices need one x0 and one y0 each"):
        triangle_field_sign(vertices, faces, np.zeros(24), np.zeros(25))
