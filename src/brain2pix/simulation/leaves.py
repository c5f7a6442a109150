"""Dead-leaves images: opaque shapes of power-law sizes that hide one another, as objects in natural scenes do.

Ruderman (1997), doi:10.1016/S0042-6989(97)00008-4, and Lee, Mumford & Huang (2001), doi:10.1023/A:1011109015675. Colours come from random
palettes, never from a photo.
"""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_LEAVES = 500
SIZE_EXPONENT = 2.4  # density of radii ~ r ** -2.4: the natural 3 gives too fine a texture
SIZE_RANGE = (0.02, 0.35)  # of the canvas
N_SHAPES = 4  # ellipse, rectangle, blob, half disc


def dead_leaves(size: int, rng: np.random.Generator, n_leaves: int = N_LEAVES) -> "NDArray[np.uint8]":
    """Paint one canvas.

    Parameters
    ----------
    size : int, edge [px]
    rng : Generator
    n_leaves : int

    Returns
    -------
    uint8 array, [size size 3]
    """
    palette = _palette(rng)
    noise = _noise_texture(size, rng)
    canvas = np.empty((size, size, 3), dtype=np.float32)
    canvas[:] = palette[0]
    radius = size * _radii(n_leaves, rng)
    draws = rng.random((n_leaves, 12)).astype(np.float32)
    centre = rng.random((n_leaves, 2)) * size
    colour = np.clip(palette[rng.integers(len(palette), size=n_leaves)] + rng.normal(0, 0.04, (n_leaves, 3)), 0, 1).astype(np.float32)
    for leaf in range(n_leaves):
        _paint(canvas, noise, centre[leaf], float(radius[leaf]), colour[leaf], draws[leaf])
    canvas *= _lighting(size, rng)[..., None]
    pixels: NDArray[np.uint8] = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels


def _paint(
    canvas: "NDArray[np.float32]",
    noise: "NDArray[np.float32]",
    centre: "NDArray[np.float64]",
    radius: float,
    colour: "NDArray[np.float32]",
    draw: "NDArray[np.float32]",
) -> None:
    """Put one leaf on the canvas, in place; `draw` are 12 numbers in 0..1 that decide how it looks."""
    size = len(canvas)
    reach = radius * 1.45
    top, bottom = (int(np.clip(edge, 0, size)) for edge in (centre[0] - reach, centre[0] + reach + 1))
    left, right = (int(np.clip(edge, 0, size)) for edge in (centre[1] - reach, centre[1] + reach + 1))
    if top >= bottom or left >= right:
        return
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(centre[0]))[:, None]
    x = (np.arange(left, right, dtype=np.float32) - np.float32(centre[1]))[None, :]
    turn = 2 * np.pi * draw[0]
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = (cos * x + sin * y) / np.float32(radius), (cos * y - sin * x) / np.float32(radius)
    cover = np.clip(0.5 - _outside(u, v, draw) * radius, 0, 1)[..., None]  # one soft pixel at the edge
    patch = canvas[top:bottom, left:right]
    patch += cover * (colour * _texture(u, v, noise[top:bottom, left:right], draw, radius)[..., None] - patch)


def _outside(u: "NDArray[np.float32]", v: "NDArray[np.float32]", draw: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """About how far outside the shape a point lies, in radii; negative inside."""
    flat = 0.35 + 0.65 * draw[2]
    distance: NDArray[np.float32]
    match int(draw[1] * N_SHAPES):
        case 0:
            distance = np.sqrt(u * u + (v / flat) ** 2) - 1
        case 1:
            distance = np.maximum(np.abs(u) - 1, np.abs(v) - flat)
        case 2:  # a disc with waves in its edge
            lobes = 2 + int(draw[3] * 5)
            edge = 0.8 + 0.25 * draw[4] * np.cos(lobes * np.arctan2(v, u) + 6 * draw[5])
            distance = np.sqrt(u * u + v * v) - edge
        case _:
            distance = np.maximum(np.sqrt(u * u + v * v) - 1, v - 0.3 * draw[3])
    return distance


def _texture(
    u: "NDArray[np.float32]", v: "NDArray[np.float32]", noise: "NDArray[np.float32]", draw: "NDArray[np.float32]", radius: float
) -> "NDArray[np.float32]":
    """Brightness of a leaf: a gradient as of light on a curved thing, and on some of them a grating or a rough surface."""
    light = 1 + 0.45 * (draw[6] - 0.2) * (u * np.cos(6.28 * draw[7]) + v * np.sin(6.28 * draw[7]))
    kind = draw[8]
    if kind < 0.2:
        waves = 1.5 + draw[9] * min(6.0, radius / 6)
        light = light * (1 + (0.1 + 0.3 * draw[10]) * np.sin(np.float32(2 * np.pi * waves) * u + 6.28 * draw[11]))
    elif kind < 0.6:
        light = light * (1 + (0.05 + 0.3 * draw[9]) * noise)
    return np.asarray(light, dtype=np.float32)


def _radii(n: int, rng: np.random.Generator) -> "NDArray[np.float64]":
    """Draw radii from the power law between its bounds; large first would hide less, so the order stays random."""
    power = 1 - SIZE_EXPONENT
    low, high = (edge**power for edge in SIZE_RANGE)
    radii: NDArray[np.float64] = (low + rng.random(n) * (high - low)) ** (1 / power)
    return radii


def _palette(rng: np.random.Generator) -> "NDArray[np.float32]":
    """Draw 4 to 13 colours around two or three hues, some of them grey, as scenes have."""
    n = int(rng.integers(4, 14))
    hues = rng.random(int(rng.integers(2, 4)))
    hue = (rng.choice(hues, n) + rng.normal(0, 0.05, n)) % 1
    saturation = rng.beta(1.6, 2.2, n) * rng.uniform(0.25, 0.9)
    value = np.clip(rng.beta(1.5, 1.3, n) * rng.uniform(0.75, 1.15), 0.02, 1)
    return colours_from_hsv(hue, np.clip(saturation, 0, 1), value).astype(np.float32)


def _noise_texture(size: int, rng: np.random.Generator) -> "NDArray[np.float32]":
    """Noise with an amplitude that falls with frequency, mean 0 and deviation 1, [size size]."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency ** rng.uniform(0.5, 1.1)
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _lighting(size: int, rng: np.random.Generator) -> "NDArray[np.float32]":
    """Uneven light over the whole canvas."""
    turn, strength = rng.random() * 2 * np.pi, rng.uniform(0, 0.35)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    light: NDArray[np.float32] = 1 + strength * (np.cos(turn) * axis[:, None] + np.sin(turn) * axis[None, :]) / 1.4
    return light
