"""What a simulated voxel sees of an image: 20 maps of contrast, light and colour. They share no filter with any backbone."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d

from brain2pix.simulation.channel_names import ORIENTATIONS, WAVELENGTHS_DEG

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

DOG_SIGMAS_DEG = (0.3, 0.6)  # centre, surround
PIXELS_PER_WAVE = 4  # each wavelength is filtered at the resolution that gives it four pixels
_ENVELOPE = 0.5  # standard deviation of a Gabor, in wavelengths
_LUMA = (0.2126, 0.7152, 0.0722)


def channel_maps(images: "NDArray[np.uint8]", field_of_view_deg: float) -> "Tensor":
    """Filter images on half their resolution.

    Parameters
    ----------
    images : uint8 array, [n h w 3], square
    field_of_view_deg : float, edge of the images

    Returns
    -------
    Tensor, [n c g g], float32, c as in `CHANNEL_NAMES` (all non-negative), g = h / 2; row 0 is the top
    """
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
    grid = images.shape[1] // 2
    light = (pixels * torch.tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    maps = [_energy(light, wavelength, field_of_view_deg, grid) for wavelength in WAVELENGTHS_DEG]
    small = F.interpolate(torch.cat([light, pixels], dim=1), size=(grid, grid), mode="area")
    luminance, (red, green, blue) = small[:, 0], small[:, 1:].unbind(dim=1)
    centre, surround = (_blur(luminance, sigma / field_of_view_deg * grid) for sigma in DOG_SIGMAS_DEG)
    opponent = [luminance - 0.5, centre - surround, red - green, blue - (red + green) / 2]
    halves = [sign * signal for signal in opponent for sign in (1, -1)]
    return torch.cat([*maps, torch.stack(halves, dim=1).clamp_min(0)], dim=1)


def _energy(light: "Tensor", wavelength_deg: float, field_of_view_deg: float, grid: int) -> "Tensor":
    """Modulus of complex Gabor responses, [n 4 g g]."""
    side = max(round(field_of_view_deg / wavelength_deg * PIXELS_PER_WAVE), PIXELS_PER_WAVE)
    scaled = _resized(light, side)
    kernels = gabor_kernels()
    radius = kernels.shape[-1] // 2
    responses = F.conv2d(F.pad(scaled, (radius,) * 4, mode="replicate"), torch.from_numpy(kernels))
    even, odd = responses[:, :ORIENTATIONS], responses[:, ORIENTATIONS:]
    return _resized(torch.sqrt(even**2 + odd**2), grid)


def _resized(maps: "Tensor", side: int) -> "Tensor":
    """Average where it shrinks, interpolate where it grows."""
    if side == maps.shape[-1]:
        return maps
    if side < maps.shape[-1]:
        return F.interpolate(maps, size=(side, side), mode="area")
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def _blur(maps: "Tensor", sigma: float) -> "Tensor":
    """Gaussian blur of [n g g], edges repeated, as two products with a band matrix."""
    side = maps.shape[-1]
    band = torch.from_numpy(gaussian_filter1d(np.eye(side), sigma, axis=0, mode="nearest").astype(np.float32))
    return band @ maps @ band.T


@lru_cache(maxsize=1)
def gabor_kernels() -> "NDArray[np.float32]":
    """Gabor filters at four pixels a wave, [8 1 k k]: even ones of four orientations, then odd ones.

    Orientation 0 varies along x (it prefers vertical edges), the next is turned by 45 degrees counter-clockwise as seen. Even filters are
    balanced, so that uniform light gives no response; the gain for a matching grating of amplitude 1 is 1.
    """
    sigma = _ENVELOPE * PIXELS_PER_WAVE
    radius = int(np.ceil(3 * sigma))
    axis = np.arange(-radius, radius + 1)
    x, y = axis[None, :], -axis[:, None]  # y up: rows run down
    envelope = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    even, odd = [], []
    for turn in range(ORIENTATIONS):
        phase = 2 * np.pi / PIXELS_PER_WAVE * (x * np.cos(np.pi * turn / ORIENTATIONS) + y * np.sin(np.pi * turn / ORIENTATIONS))
        cosine = envelope * np.cos(phase)
        even.append(cosine - envelope * (cosine.sum() / envelope.sum()))
        odd.append(envelope * np.sin(phase))
    return np.asarray(np.stack(even + odd)[:, None] * (2 / envelope.sum()), dtype=np.float32)
