"""Bodies: limbed figures in several poses and clothes, without a face."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.simulation.backdrop import backdrop, grid, shrink, to_uint8
from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Degrees from straight down, positive to the viewer's right: upper arms, forearms, thighs, shins (left, right each), the trunk's lean
POSES: dict[str, tuple[float, ...]] = {
    "standing": (-12, 12, -8, 8, -6, 6, -3, 3, 0),
    "waving": (-14, 130, -10, 165, -8, 8, -4, 4, 0),
    "running": (-55, 50, 30, 120, 60, -30, 5, -95, 12),
    "jumping": (-140, 140, -160, 160, -40, 40, -15, 15, 0),
    "sitting": (-10, 25, 30, 50, 70, 80, 0, 5, -5),
    "kicking": (-60, 70, -90, 40, 85, -8, 75, -4, -10),
}
OUTFITS = ("plain", "striped", "two-tone")
BODY_CLASSES = tuple(f"{pose}-{outfit}" for pose in POSES for outfit in OUTFITS)


def body(name: str, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Paint a figure of one class.

    Parameters
    ----------
    name : str, one of `BODY_CLASSES`
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    pose, outfit = name.split("-", 1)
    fine = 2 * size
    image = backdrop(fine, rng).astype(np.float32)
    x, y = grid(fine)
    image = np.where((y < -0.72)[..., None], image * 0.7, image)  # the ground
    skin, shirt, trousers, hair = _colours(rng)
    if outfit == "two-tone":
        trousers = shirt[::-1].copy()
    elif outfit == "plain":
        trousers = shirt * 0.75
    for start, end, radius, part in _limbs(pose, rng):
        colour = {"skin": skin, "shirt": shirt, "trousers": trousers, "hair": hair}[part]
        image = _capsule(image, x, y, start, end, radius, colour, outfit == "striped" and part == "shirt")
    return to_uint8(shrink(image.astype(np.float32), 2))


def _limbs(pose: str, rng: np.random.Generator) -> "list[tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float], str]]":
    """Segments of the figure from back to front: start, end, radii, what it wears."""
    angles = np.radians(np.array(POSES[pose]) + rng.normal(0, 7, 9))
    if rng.random() < 0.5:
        angles = -angles
    scale = rng.uniform(0.85, 1.05)
    girth = rng.uniform(0.85, 1.25)
    hip = np.array([rng.normal(0, 0.08), rng.normal(-0.1, 0.05)])

    def down(angle: float, length: float) -> "NDArray[np.float64]":
        return scale * length * np.array([np.sin(angle), -np.cos(angle)])

    neck = hip - down(-angles[8], 0.52)
    head = neck - down(-angles[8], 0.2)
    across = scale * 0.17 * np.array([np.cos(angles[8]), np.sin(angles[8])])
    limbs = []
    for side, (arm, forearm, thigh, shin) in enumerate(angles[:8].reshape(4, 2).T):
        offset = across * (-1 if side == 0 else 1)
        knee = hip + 0.5 * offset + down(thigh, 0.36)
        foot = knee + down(shin, 0.36)
        elbow = neck + offset + down(arm, 0.27)
        hand = elbow + down(forearm, 0.27)
        limbs += [
            (hip + 0.5 * offset, knee, (0.1 * girth, 0.075 * girth), "trousers"),
            (knee, foot, (0.072 * girth, 0.05 * girth), "trousers"),
            (neck + offset, elbow, (0.065 * girth, 0.052 * girth), "shirt"),
            (elbow, hand, (0.05 * girth, 0.038 * girth), "skin"),
        ]
    trunk = [(hip, neck, (0.14 * girth, 0.19 * girth), "shirt"), (neck, head, (0.055, 0.055), "skin")]
    top = [
        (head, head + np.array([0.0, 0.04]), (0.115 * scale, 0.115 * scale), "skin"),
        (head + np.array([0.0, 0.07]), head + np.array([0.0, 0.09]), (0.105, 0.1), "hair"),
    ]
    return limbs[:2] + limbs[4:6] + trunk + top + limbs[2:4] + limbs[6:]


def _capsule(
    image: "NDArray[np.float32]",
    x: "NDArray[np.float32]",
    y: "NDArray[np.float32]",
    start: "NDArray[np.float64]",
    end: "NDArray[np.float64]",
    radius: tuple[float, float],
    colour: "NDArray[np.float64]",
    striped: bool,
) -> "NDArray[np.float32]":
    """Lay a rounded, tapering limb over the image, lit from the upper left."""
    axis = end - start
    length2 = max(float(axis @ axis), 1e-9)
    along = np.clip(((x - start[0]) * axis[0] + (y - start[1]) * axis[1]) / length2, 0, 1)
    off_x, off_y = x - start[0] - along * axis[0], y - start[1] - along * axis[1]
    thick = radius[0] + along * (radius[1] - radius[0])
    distance = np.hypot(off_x, off_y)
    cover = np.clip((thick - distance) * len(image) / 2, 0, 1)[..., None]
    tilt = np.clip(distance / thick, 0, 1)
    facing = np.sqrt(1 - tilt**2)
    light = 0.45 + 0.45 * facing + 0.35 * (-0.6 * off_x + 0.8 * off_y) / thick
    if striped:
        light = light * np.where(np.floor(along * 7) % 2 == 0, 1.0, 0.45)
    painted: NDArray[np.float32] = (image + cover * (np.clip(colour * light[..., None], 0, 1) - image)).astype(np.float32)
    return painted


def _colours(rng: np.random.Generator) -> "tuple[NDArray[np.float64], ...]":
    skin = np.array([1.0, 0.78, 0.63]) * rng.uniform(0.4, 1.0)
    shirt, trousers = colours_from_hsv(rng.random(2), rng.uniform(0.2, 0.9, 2), rng.uniform(0.3, 1, 2))
    return skin, shirt, trousers, np.array([0.35, 0.22, 0.12]) * rng.uniform(0.2, 2)
