import numpy as np
import pytest

from brain2pix.anatomy import distance_from, edge_graph, load_fsaverage5, smooth_on_surface


@pytest.fixture(scope="module")
def sheet():
    """Flat square of 41 x 41 vertices, 1 mm apart, with its graph."""
    n = 41
    y, x = (part.ravel().astype(float) for part in np.mgrid[:n, :n])
    corner = np.array([i * n + j for i in range(n - 1) for j in range(n - 1)])
    faces = np.concatenate([np.stack([corner, corner + 1, corner + n + 1], 1), np.stack([corner, corner + n + 1, corner + n], 1)])
    vertices = np.stack([x, y, np.zeros_like(x)], axis=1)
    return vertices, edge_graph(vertices, faces)


def test_every_edge_is_there_once_each_way(sheet):
    graph = sheet[1]
    assert abs(graph - graph.T).max() == 0
    assert graph.nnz == 2 * (2 * 41 * 40 + 40 * 40)  # along, across, and one diagonal of each square
    assert set(np.unique(np.round(graph.data, 9))) == {1.0, round(np.sqrt(2), 9)}


def test_distances_run_along_the_mesh(sheet):
    vertices, graph = sheet
    distance = distance_from(graph, vertices[:, 0] == 0)
    np.testing.assert_allclose(distance, vertices[:, 0])
    assert np.isinf(distance_from(graph, np.zeros(len(vertices), dtype=bool))).all()
    mesh = load_fsaverage5("L")["sphere"]
    pole = np.arange(mesh.n_vertices) == 0
    along = distance_from(edge_graph(mesh.vertices, mesh.faces), pole)
    unit = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    great_circle = 100 * np.arccos(np.clip(unit @ unit[0], -1, 1))
    far = great_circle > 30
    assert np.all(along[far] >= great_circle[far] * 0.99)
    assert np.median(along[far] / great_circle[far]) < 1.12  # edges zigzag


def test_smoothing_spreads_a_point_as_a_gaussian(sheet):
    vertices, graph = sheet
    point = np.zeros((len(vertices), 1))
    point[20 * 41 + 20] = 1
    smooth = smooth_on_surface(graph, point, 2.0)[:, 0].reshape(41, 41)
    along = smooth[20] / smooth[20, 20]
    np.testing.assert_allclose(along[14:27], np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2), atol=0.03)
    ramp = smooth_on_surface(graph, vertices[:, :1], 2.0)[:, 0].reshape(41, 41)
    np.testing.assert_allclose(ramp[10:30, 10:30], vertices[:, 0].reshape(41, 41)[10:30, 10:30], atol=1e-9)


def test_unknown_vertices_stay_unknown_and_block_the_way(sheet):
    vertices, graph = sheet
    values = np.where(vertices[:, :1] < 20, 1.0, 5.0)
    values[vertices[:, 0] == 20] = np.nan
    smooth = smooth_on_surface(graph, values, 3.0)[:, 0]
    assert np.array_equal(np.isnan(smooth), vertices[:, 0] == 20)
    np.testing.assert_allclose(smooth[vertices[:, 0] < 20], 1)
    np.testing.assert_allclose(smooth[vertices[:, 0] > 20], 5)
