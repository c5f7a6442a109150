"""Places: landscapes in layers and rooms in perspective, each of many classes."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.simulation.backdrop import grid, shrink, to_uint8
from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray

TERRAINS = ("mountains", "hills", "forest", "city", "sea", "desert")
LIGHTS = ("day", "sunset", "night", "haze")
ROOMS = ("corridor", "hall", "bedroom", "cellar")
STYLES = ("warm", "cold", "dark", "bright")
PLACE_CLASSES = tuple(f"{terrain}-{light}" for terrain in TERRAINS for light in LIGHTS) + tuple(
    f"{room}-{style}" for room in ROOMS for style in STYLES
)

# sky at the top, sky at the horizon, colour that distance adds, light on the land
_SKIES = {
    "day": ((0.22, 0.45, 0.80), (0.75, 0.86, 0.95), 1.0),
    "sunset": ((0.25, 0.20, 0.45), (0.98, 0.58, 0.28), 0.55),
    "night": ((0.01, 0.02, 0.07), (0.08, 0.11, 0.24), 0.25),
    "haze": ((0.66, 0.68, 0.70), (0.86, 0.85, 0.82), 0.8),
}
_LAND = {
    "mountains": ((0.40, 0.38, 0.40), (0.28, 0.36, 0.20)),
    "hills": ((0.36, 0.52, 0.24), (0.50, 0.58, 0.26)),
    "forest": ((0.12, 0.30, 0.16), (0.20, 0.32, 0.14)),
    "city": ((0.45, 0.42, 0.42), (0.30, 0.30, 0.32)),
    "sea": ((0.16, 0.36, 0.48), (0.82, 0.74, 0.56)),
    "desert": ((0.80, 0.58, 0.36), (0.88, 0.72, 0.46)),
}
_STYLE = {  # hue of the walls, its spread, saturation, value
    "warm": (0.08, 0.03, 0.45, 0.75),
    "cold": (0.57, 0.06, 0.30, 0.70),
    "dark": (0.05, 0.40, 0.35, 0.30),
    "bright": (0.15, 0.40, 0.10, 0.95),
}


def place(name: str, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Paint a place of one class.

    Parameters
    ----------
    name : str, one of `PLACE_CLASSES`
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    kind, manner = name.split("-")
    fine = 2 * size
    image = _room(kind, manner, fine, rng) if kind in ROOMS else _landscape(kind, manner, fine, rng)
    return to_uint8(shrink(image, 2))


def _landscape(terrain: str, light: str, size: int, rng: np.random.Generator) -> "NDArray[np.float32]":
    x, y = grid(size)
    top, low, brightness = _SKIES[light]
    horizon = rng.uniform(-0.25, 0.25)
    height = np.clip((y - horizon) / (1 - horizon), 0, 1)[..., None]
    image = (np.array(low) + height**0.7 * (np.array(top) - np.array(low))) * np.ones((size, size, 3))
    image = _sun_or_stars(image, light, horizon, rng)
    clouds = _rough(size, rng, 1.6, stretch=3.0)
    image += np.clip(clouds - 0.4, 0, 1.2)[..., None] * height * (0.25 if light != "night" else 0.03)
    far, near = (np.clip(np.array(colour) + rng.normal(0, 0.04, 3), 0, 1) for colour in _LAND[terrain])
    n_layers = 1 if terrain == "sea" else int(rng.integers(3, 5))
    for layer in range(n_layers):
        depth = (layer + 1) / n_layers  # 1 is nearest
        colour = (far if terrain == "sea" else far + depth * (near - far)) * brightness
        colour = colour + (1 - depth) * 0.6 * (np.array(low) - colour)
        edge = _skyline(terrain, size, horizon, depth, rng)
        image = _layer(image, y < edge[None, :], colour, terrain, depth, brightness, rng)
    if terrain == "sea":
        shore = -0.55 + 0.1 * rng.normal() + 0.08 * np.sin(x * rng.uniform(1, 4) + rng.uniform(0, 6))
        image = np.where((y < shore)[..., None], near * brightness * (1 + 0.06 * _rough(size, rng, 0.8)[..., None]), image)
    return np.asarray(image, dtype=np.float32)


def _layer(
    image: "NDArray[np.float64]",
    below: "NDArray[np.bool_]",
    colour: "NDArray[np.float64]",
    terrain: str,
    depth: float,
    brightness: float,
    rng: np.random.Generator,
) -> "NDArray[np.float64]":
    size = len(image)
    if terrain == "sea":
        waves = _rough(size, rng, 1.1, stretch=6.0)
    elif terrain == "city":
        return np.where(below[..., None], _windows(colour, size, depth, brightness, rng), image)
    else:
        waves = _rough(size, rng, 1.2, stretch=1.5)
    painted: NDArray[np.float64] = np.where(below[..., None], colour * (1 + 0.14 * waves[..., None]), image)
    return painted


def _windows(colour: "NDArray[np.float64]", size: int, depth: float, brightness: float, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Facades with rows of windows, lit at night."""
    pitch = max(int(size * (0.03 + 0.03 * depth)), 3)
    rows, columns = np.arange(size)[:, None] // pitch, np.arange(size)[None, :] // pitch
    glass = ((np.arange(size)[:, None] % pitch) > pitch // 2) & ((np.arange(size)[None, :] % pitch) > pitch // 3)
    lit = rng.random((rows.max() + 1, columns.max() + 1))[rows, columns] < (0.35 if brightness < 0.6 else 0.1)
    pane = np.where(lit[..., None], np.array([1.0, 0.85, 0.5]), colour * 0.55)
    facade: NDArray[np.float64] = np.where(glass[..., None], pane, colour)
    return facade


def _skyline(terrain: str, size: int, horizon: float, depth: float, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Upper edge of one layer, [size], y up in -1..1."""
    drop = horizon - 0.9 * (depth - 0.3) * (1 + horizon)
    if terrain == "sea":
        return np.full(size, horizon)
    if terrain == "city":
        width = max(int(size * rng.uniform(0.06, 0.16)), 2)
        blocks = rng.uniform(0.05, 0.75, size // width + 2) * (1 - 0.55 * depth)
        return np.repeat(blocks, width)[:size] + drop + 0.1
    roughness, amplitude = {"mountains": (1.0, 0.45), "hills": (2.2, 0.22), "forest": (0.55, 0.2), "desert": (2.0, 0.18)}[terrain]
    frequency = np.fft.rfftfreq(size) * size
    spectrum = np.zeros(len(frequency), dtype=complex)
    # half an octave below the width of the picture, so that a layer has a few peaks
    spectrum[1:] = (rng.standard_normal(len(frequency) - 1) + 1j * rng.standard_normal(len(frequency) - 1)) / frequency[1:] ** (
        roughness + 0.5
    )
    line = np.fft.irfft(spectrum, n=size)
    edge: NDArray[np.float64] = drop + amplitude * (1.2 - 0.6 * depth) * line / (np.abs(line).max() + 1e-9) + 0.1
    return edge


def _sun_or_stars(image: "NDArray[np.float64]", light: str, horizon: float, rng: np.random.Generator) -> "NDArray[np.float64]":
    size = len(image)
    x, y = grid(size)
    if light == "night":
        stars = rng.random((size, size)) < 0.0015
        image = np.where(stars[..., None], 0.9, image)
    if light in ("sunset", "night") or rng.random() < 0.3:
        height = horizon + (rng.uniform(0.05, 0.35) if light == "sunset" else rng.uniform(0.4, 0.8) * (1 - horizon))
        radius = rng.uniform(0.07, 0.14)
        distance = np.hypot(x - rng.uniform(-0.7, 0.7), y - height)
        glow = np.exp(-((distance / (3 * radius)) ** 2)) * (0.5 if light == "sunset" else 0.15)
        disc = np.clip((radius - distance) * size / 2, 0, 1)
        image = image + (glow + disc)[..., None] * (np.array([1.0, 0.85, 0.55]) if light != "night" else np.array([0.9, 0.9, 0.85]))
    return np.clip(image, 0, 1)


def _room(kind: str, style: str, size: int, rng: np.random.Generator) -> "NDArray[np.float32]":
    """Look into a box: for each pixel, where its ray meets a wall, and what is painted there."""
    x, y = grid(size)
    depth, half_width, half_height = {
        "corridor": (7.0, 0.9, 1.0),
        "hall": (5.0, 2.6, 1.5),
        "bedroom": (2.6, 1.5, 1.1),
        "cellar": (3.5, 1.6, 0.8),
    }[kind]
    eye_x, eye_y = rng.uniform(-0.35, 0.35) * half_width, rng.uniform(-0.3, 0.2) * half_height
    dx, dy = np.broadcast_arrays(0.95 * x + rng.normal(0, 0.12), 0.95 * y + rng.normal(0, 0.05))
    with np.errstate(divide="ignore"):
        to_side = (np.where(dx > 0, half_width, -half_width) - eye_x) / dx
        to_floor = (np.where(dy > 0, half_height, -half_height) - eye_y) / dy
    reach = np.minimum(np.minimum(np.abs(to_side), np.abs(to_floor)), depth)
    px, py, pz = eye_x + dx * reach, eye_y + dy * reach, reach
    back, side = reach >= depth, np.abs(to_side) <= reach
    floor, ceiling = ~back & ~side & (dy < 0), ~back & ~side & (dy >= 0)
    hue, spread, saturation, value = _STYLE[style]
    hues = (hue + rng.normal(0, spread, 3)) % 1
    wall, ground, trim = colours_from_hsv(
        hues, np.clip(saturation + rng.normal(0, 0.08, 3), 0, 1), np.clip(value * np.array([1, 0.65, 0.4]), 0, 1)
    )
    image = np.where(ceiling[..., None], 0.5 * wall + 0.5 * value, wall) * np.ones((size, size, 3))
    tile = rng.uniform(0.35, 0.8)
    checks = (np.floor(px / tile) + np.floor(pz / tile)) % 2
    image = np.where(floor[..., None], ground * (0.7 + 0.5 * checks[..., None]), image)
    if rng.random() < 0.5:
        image = np.where((side & (np.floor(pz / 0.3) % 2 == 0))[..., None], image * 0.85, image)
    image = _openings(image, kind, px, py, pz, (half_width, half_height, depth), (back, side), trim, style, rng)
    image *= (0.35 + 0.75 / (1 + 0.1 * reach**2))[..., None]
    return np.clip(image * (1 + 0.03 * _rough(size, rng, 0.6)[..., None]), 0, 1).astype(np.float32)


def _openings(
    image: "NDArray[np.float64]",
    kind: str,
    px: "NDArray[np.float64]",
    py: "NDArray[np.float64]",
    pz: "NDArray[np.float64]",
    room: tuple[float, float, float],
    walls: "tuple[NDArray[np.bool_], NDArray[np.bool_]]",
    trim: "NDArray[np.float64]",
    style: str,
    rng: np.random.Generator,
) -> "NDArray[np.float64]":
    """Add a door or a window to the back wall, doors along the sides and a low piece of furniture."""
    half_width, half_height, _ = room
    back, side = walls
    at = rng.uniform(-0.4, 0.4) * half_width
    if kind in ("bedroom", "hall") and rng.random() < 0.75:
        window = back & (np.abs(px - at) < 0.45) & (np.abs(py - 0.25 * half_height) < 0.35)
        pane = np.array([0.75, 0.88, 1.0]) if style != "dark" else np.array([0.10, 0.14, 0.28])
        image = np.where((back & (np.abs(px - at) < 0.52) & (np.abs(py - 0.25 * half_height) < 0.42))[..., None], trim, image)
        image = np.where((window & (np.abs(px - at) > 0.03))[..., None], pane * 1.2, image)
    else:
        image = np.where((back & (np.abs(px - at) < 0.35) & (py < 0.35 * half_height))[..., None], trim, image)
    if kind in ("corridor", "hall"):
        period = rng.uniform(1.2, 1.8)
        doors = side & (pz % period < 0.45 * period) & (py < 0.3 * half_height)
        image = np.where(doors[..., None], trim * 1.1, image)
        lamps = ~back & ~side & (py > 0) & (np.abs(px) < 0.25) & (pz % period < 0.4)
        image = np.where(lamps[..., None], 1.6, image)
    if kind in ("bedroom", "cellar"):
        low = -half_height + rng.uniform(0.35, 0.7)
        start = rng.uniform(-half_width, 0)
        front = back & (px > start) & (px < start + rng.uniform(0.8, 1.6)) & (py < low)
        cover = colours_from_hsv(np.asarray(rng.random()), np.asarray(rng.uniform(0.2, 0.7)), np.asarray(rng.uniform(0.4, 0.9)))
        image = np.where(front[..., None], cover * (0.8 + 0.3 * ((py - low) / half_height)[..., None]), image)
    painted: NDArray[np.float64] = image
    return painted


def _rough(size: int, rng: np.random.Generator, slope: float, stretch: float = 1.0) -> "NDArray[np.float64]":
    """Noise of deviation 1 whose amplitude falls with frequency, drawn out sideways by `stretch`, [size size]."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], stretch * np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency**slope, s=(size, size))
    rough: NDArray[np.float64] = noise / noise.std()
    return rough
