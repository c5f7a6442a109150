"""Distances along the cortex and smoothing over them, on the edges of a triangle mesh."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 256  # vertices whose neighbourhoods are searched at once
_REACH = 3.0  # sigmas


def edge_graph(vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]") -> csr_array:
    """Lengths of all edges as a symmetric sparse matrix, [p p], mm.

    Parameters
    ----------
    vertices : float array, [p 3]
    faces : int array, [f 3]
    """
    ends = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    places = np.asarray(vertices, dtype=np.float64)
    lengths = np.linalg.norm(places[ends[:, 0]] - places[ends[:, 1]], axis=1)
    both = (np.concatenate([lengths, lengths]), (np.concatenate([ends[:, 0], ends[:, 1]]), np.concatenate([ends[:, 1], ends[:, 0]])))
    return csr_array(both, shape=(len(places), len(places)))


def distance_from(graph: csr_array, sources: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Shortest way along the edges from any source to each vertex, [p] mm; infinite where no way leads.

    Edges zigzag, so that distances are a little too long, about alike everywhere: compare them, do not quote them.
    """
    index = np.flatnonzero(sources)
    if not index.size:
        return np.full(graph.shape[0], np.inf)
    return np.asarray(dijkstra(graph, directed=False, indices=index, min_only=True), dtype=np.float64)


def smooth_on_surface(graph: csr_array, values: "NDArray[np.floating]", sigma_mm: float) -> "NDArray[np.float64]":
    """Average vertices with their neighbours along the cortex, with Gaussian weights.

    Parameters
    ----------
    graph : sparse array, [p p], see `edge_graph`
    values : float array, [p k], NaN where unknown. Unknown vertices stay unknown, give nothing, and block the way; smooth places in the
        visual field (x0 and y0), never angles
    sigma_mm : float
    """
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    smooth = np.full(values.shape, np.nan, dtype=np.float64)
    inner, own = graph[known][:, known], np.asarray(values, dtype=np.float64)[known]
    for start in range(0, len(known), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(known)))
        distance = dijkstra(inner, directed=False, indices=rows, limit=_REACH * sigma_mm)
        weight = np.exp(-0.5 * (distance / sigma_mm) ** 2)  # zero where out of reach: infinitely far
        smooth[known[rows]] = weight @ own / weight.sum(axis=1, keepdims=True)
    return smooth
