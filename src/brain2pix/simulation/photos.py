"""The photographs that ship inside scikit-image and scikit-learn, and who may see which.

The split is fixed, whatever the seed. Test photos are never in training, unpaired images, the bundled backbone or the palettes of dead
leaves; validation photos are for choices of settings only.
"""

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PHOTO_SOURCES: dict[str, tuple[str, ...]] = {
    "test": ("astronaut", "chelsea", "coffee", "rocket", "flower"),
    "validation": ("china", "motorcycle"),
    "train": (
        "hubble",
        "retina",
        "ihc",
        "camera",
        "brick",
        "grass",
        "gravel",
        "moon",
        "coins",
        "cell",
        "page",
        "text",
        "microaneurysms",
        "clock",
    ),
}
COLOUR_PHOTOS = frozenset({"hubble", "retina", "ihc", *PHOTO_SOURCES["test"], *PHOTO_SOURCES["validation"]})
SPLIT_OF_PHOTO = {name: split for split, names in PHOTO_SOURCES.items() for name in names}

# what a source is called in scikit-image; the motorcycle is a stereo pair and counts as one source
_SKIMAGE = {
    "ihc": "immunohistochemistry",
    "hubble": "hubble_deep_field",
    "motorcycle": "stereo_motorcycle",
}
_SKLEARN = ("china", "flower")


@lru_cache(maxsize=32)
def photo(name: str) -> "tuple[NDArray[np.uint8], ...]":
    """Load a source: one picture, or two for the stereo pair.

    Parameters
    ----------
    name : str, one of `PHOTO_SOURCES`

    Returns
    -------
    tuple of uint8 arrays, [h w 3]; grey photos have three equal channels, stretched to the full range

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    if name not in SPLIT_OF_PHOTO:
        raise ConfigError(unknown_name("photo", name, SPLIT_OF_PHOTO))
    if name in COLOUR_PHOTOS:
        return tuple(np.ascontiguousarray(picture[..., :3]) for picture in _load(name))
    return tuple(np.repeat(_stretched(picture)[..., None], 3, axis=2) for picture in _load(name))


def source_hashes() -> dict[str, dict[str, str]]:
    """Fingerprint the pixels of all sources: no two splits may share one.

    Returns
    -------
    dict of split to dict of source (a second picture of a source is named ``<source>-2``) to sha256
    """
    return {
        split: {
            name if part == 0 else f"{name}-{part + 1}": hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).hexdigest()
            for name in names
            for part, picture in enumerate(photo(name))
        }
        for split, names in PHOTO_SOURCES.items()
    }


def _load(name: str) -> "tuple[NDArray[np.uint8], ...]":
    if name in _SKLEARN:
        from sklearn.datasets import load_sample_image

        return (np.asarray(load_sample_image(f"{name}.jpg")),)
    import skimage.data

    loader: Callable[[], NDArray[np.uint8]] = getattr(skimage.data, _SKIMAGE.get(name, name))
    if name == "motorcycle":
        left, right, _ = loader()
        return np.asarray(left), np.asarray(right)
    return (np.asarray(loader()),)


def _stretched(grey: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Spread a grey photo over 0..255, its darkest and brightest percent clipped: some of them span a tenth of the range."""
    low, high = np.percentile(grey, (1, 99))
    stretched: NDArray[np.uint8] = np.clip((grey - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return stretched
