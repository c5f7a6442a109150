"""Visual field sign: whether the map of the visual field on the cortex is mirrored."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPECTED_SIGN = {"V1": -1, "V2": 1, "V3": -1}


def triangle_field_sign(
    vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]", x0_deg: "NDArray[np.floating]", y0_deg: "NDArray[np.floating]"
) -> "NDArray[np.float64]":
    """Sign of the map from the surface, seen from outside, to the visual field.

    Parameters
    ----------
    vertices : float array, [p 3], a closed mesh whose triangles are wound so that normals point outwards
    faces : int array, [f 3]
    x0_deg, y0_deg : float arrays, [p], degrees right and up; NaN where unknown

    Returns
    -------
    float64 array, [f]: -1 mirrored (as V1), +1 not (as V2), 0 degenerate, NaN where a corner is unknown

    References
    ----------
    .. [1] Sereno et al., 1995, doi:10.1126/science.7754376. Here per triangle, from the Jacobian of x0, y0 instead of two gradients.
    """
    _check(vertices, x0_deg, y0_deg)
    # in the triangle's own frame (u along one edge, outward normal up) du x dv is positive, so the field's area form alone has the sign
    x, y = np.asarray(x0_deg, dtype=np.float64)[faces], np.asarray(y0_deg, dtype=np.float64)[faces]
    jacobian = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    sign: NDArray[np.float64] = np.sign(jacobian)
    return sign


def vertex_field_sign(
    vertices: "NDArray[np.floating]", faces: "NDArray[np.integer]", x0_deg: "NDArray[np.floating]", y0_deg: "NDArray[np.floating]"
) -> "NDArray[np.float64]":
    """Field sign per vertex: mean over its triangles, weighted by their areas.

    Parameters
    ----------
    vertices, faces, x0_deg, y0_deg : as in `triangle_field_sign`; smooth measured maps (x0 and y0, never angles) first

    Returns
    -------
    float64 array, [p], -1..1, NaN where no triangle is known
    """
    sign = triangle_field_sign(vertices, faces, x0_deg, y0_deg)
    corners = np.asarray(vertices, dtype=np.float64)[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    known = np.isfinite(sign)
    total, weight = np.zeros(len(vertices)), np.zeros(len(vertices))
    for corner in range(3):
        np.add.at(total, faces[known, corner], sign[known] * area[known])
        np.add.at(weight, faces[known, corner], area[known])
    mean: NDArray[np.float64] = np.divide(total, weight, out=np.full(len(vertices), np.nan), where=weight > 0)
    return mean


def _check(vertices: "NDArray[np.floating]", x0_deg: "NDArray[np.floating]", y0_deg: "NDArray[np.floating]") -> None:
    if x0_deg.shape != (len(vertices),) or y0_deg.shape != (len(vertices),):
        raise ShapeError(f"{len(vertices)} vertices need one x0 and one y0 each, got shapes {x0_deg.shape} and {y0_deg.shape}")
