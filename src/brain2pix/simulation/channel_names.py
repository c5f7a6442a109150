"""Names of what a simulated voxel sees; apart from `channels`, so that listing them loads no torch."""

WAVELENGTHS_DEG = (0.75, 1.5, 3.0)
ORIENTATIONS = 4

CHANNEL_NAMES = (
    *(f"energy-{wavelength:g}deg-{180 * turn // ORIENTATIONS}" for wavelength in WAVELENGTHS_DEG for turn in range(ORIENTATIONS)),
    "luminance-on",
    "luminance-off",
    "dog-on",
    "dog-off",
    "red-green",
    "green-red",
    "blue-yellow",
    "yellow-blue",
)
N_ENERGY = len(WAVELENGTHS_DEG) * ORIENTATIONS
