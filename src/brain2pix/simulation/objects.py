"""Objects: shaded solids of several shapes and surfaces, seen from a random side."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from brain2pix.simulation.backdrop import backdrop, grid, shrink, to_uint8
from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = ("ball", "box", "can", "cone", "ring", "vase", "capsule", "star", "dumbbell", "mug")
SURFACES = ("plain", "striped", "checked", "spotted", "metal")
OBJECT_CLASSES = tuple(f"{shape}-{surface}" for shape in SHAPES for surface in SURFACES)

_STEPS = 40
_CAUTION = 0.75  # of a step along the ray: some of the distances below are estimates


def solid(name: str, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Paint an object of one class.

    Parameters
    ----------
    name : str, one of `OBJECT_CLASSES`
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    shape, surface = name.split("-")
    fine = 2 * size
    image = backdrop(fine, rng).astype(np.float64)
    x, y = grid(fine)
    image = np.where((y < rng.uniform(-0.5, -0.1))[..., None], image * 0.75, image)  # the table
    zoom, middle = rng.uniform(0.65, 0.85), rng.normal(0, 0.07, 2)
    gx, gy = np.broadcast_arrays((x - middle[0]) / zoom, (y - middle[1]) / zoom)
    shadow = np.exp(-(((gx - 0.2) / 0.8) ** 2) - ((gy + 0.95) / 0.22) ** 2)
    image = image * (1 - 0.6 * shadow[..., None])
    hit, where, normal = _march(shape, gx, gy, _pose(rng))
    colour = _surface(surface, where, rng)
    image[hit] = _lit(colour, normal, surface == "metal", rng)
    return to_uint8(shrink(image.astype(np.float32), 2))


def _pose(rng: np.random.Generator) -> "NDArray[np.float64]":
    """World to object rotation, [3 3]: seen from above at some slant, turned about its own axis."""
    turn = Rotation.from_euler("yxz", [rng.uniform(0, 360), rng.uniform(15, 50), rng.normal(0, 20)], degrees=True)
    return np.asarray(turn.as_matrix()).T


def _march(
    shape: str, gx: "NDArray[np.float32]", gy: "NDArray[np.float32]", rotation: "NDArray[np.float64]"
) -> "tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]":
    """Follow parallel rays to the surface: which pixels hit, the points in object coordinates, the normals in world coordinates."""
    start = np.stack([gx, gy, np.full_like(gx, 1.6)], axis=-1).reshape(-1, 3).astype(np.float64)
    alive = np.flatnonzero(np.hypot(start[:, 0], start[:, 1]) < 1.25)
    ray, points = rotation @ np.array([0.0, 0.0, -1.0]), start[alive] @ rotation.T
    near = np.zeros(len(alive), dtype=bool)
    moving = np.arange(len(alive))
    for _ in range(_STEPS):
        distance = _distance(shape, points[moving])
        near[moving] = distance < 0.01
        points[moving] += (_CAUTION * distance)[:, None] * ray
        moving = moving[(distance > 0.004) & (points[moving] @ ray < 1.7)]
    hit = np.zeros(len(start), dtype=bool)
    hit[alive[near]] = True
    points = points[near]
    step = 0.004
    slope = np.stack([_distance(shape, points + step * e) - _distance(shape, points - step * e) for e in np.eye(3)], axis=1)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True) + 1e-9
    return hit.reshape(gx.shape), points, slope @ rotation


def _distance(shape: str, p: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Signed distance (or a near estimate) from a shape of about unit size, y along its axis."""
    radial, height = np.hypot(p[:, 0], p[:, 2]), p[:, 1]
    distance: NDArray[np.float64]
    match shape:
        case "ball":
            distance = np.linalg.norm(p, axis=1) - 0.9
        case "box":
            away = np.abs(p) - np.array([0.75, 0.55, 0.6])
            distance = np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(axis=1), 0) - 0.04
        case "can":
            distance = np.maximum(radial - 0.6, np.abs(height) - 0.85)
        case "cone":
            distance = np.maximum((radial - 0.4 * (0.9 - height)) * 0.92, -height - 0.85)
        case "ring":
            distance = np.hypot(radial - 0.65, height) - 0.28
        case "vase":
            profile = 0.42 + 0.24 * np.sin(2.4 * height + 0.4) - 0.12 * height
            distance = np.maximum((radial - profile) * 0.85, np.abs(height) - 0.95)
        case "capsule":
            distance = np.hypot(radial, height - np.clip(height, -0.5, 0.5)) - 0.42
        case "star":
            lobes = 0.62 + 0.24 * np.cos(5 * np.arctan2(p[:, 2], p[:, 0]))
            distance = np.maximum((radial - lobes) * 0.6, np.abs(height) - 0.25)
        case "dumbbell":
            ends = np.hypot(radial, np.abs(height) - 0.58) - 0.4
            distance = np.minimum(ends, np.maximum(radial - 0.15, np.abs(height) - 0.6))
        case _:  # a mug: a hollow can with a handle
            outside = np.maximum(radial - 0.55, np.abs(height) - 0.7)
            wall = np.maximum(outside, -np.maximum(radial - 0.46, 0.1 - (height + 0.6)))
            handle = np.hypot(np.hypot(p[:, 0] - 0.55, height) - 0.36, p[:, 2]) - 0.09
            distance = np.minimum(wall, np.maximum(handle, 0.5 - radial))
    return distance


def _surface(surface: str, p: "NDArray[np.float64]", rng: np.random.Generator) -> "NDArray[np.float64]":
    first, second = colours_from_hsv(rng.random(2), rng.uniform(0.2, 0.95, 2), np.array([rng.uniform(0.6, 1), rng.uniform(0.1, 0.95)]))
    pitch = rng.uniform(0.16, 0.32)
    match surface:
        case "striped":
            mark = np.floor(p[:, 1] / pitch) % 2
        case "checked":
            mark = np.floor(p / (1.5 * pitch)).sum(axis=1) % 2
        case "spotted":
            cell = p / (2 * pitch)
            mark = np.linalg.norm(cell - np.round(cell), axis=1) < 0.33
        case "metal":
            first = np.full(3, rng.uniform(0.6, 0.8)) * rng.uniform(0.9, 1.1, 3)
            mark = np.zeros(len(p))
        case _:
            mark = np.zeros(len(p))
    colours: NDArray[np.float64] = first + np.asarray(mark, dtype=np.float64)[:, None] * (second - first)
    return colours


def _lit(colour: "NDArray[np.float64]", normal: "NDArray[np.float64]", metal: bool, rng: np.random.Generator) -> "NDArray[np.float64]":
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.4, 1.0), 0.7])
    light /= np.linalg.norm(light)
    half = light + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = np.clip(normal @ light, 0, 1)[:, None]
    shine = np.clip(normal @ half, 0, 1)[:, None] ** (18 if metal else 40)
    lit: NDArray[np.float64] = colour * (0.28 + (0.5 if metal else 0.8) * diffuse) + (0.85 if metal else 0.35) * shine
    if metal:  # a bright sky above and a dark ground below, mirrored
        lit += 0.35 * colour * np.tanh(6 * normal[:, 1:2])
    return np.clip(lit, 0, 1)
