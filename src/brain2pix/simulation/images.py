"""Which images the simulated subject sees, and which images it may be trained on without responses."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.simulation.categories import category_images
from brain2pix.simulation.crops import crop, jitter, random_crop, spread_boxes
from brain2pix.simulation.leaves import dead_leaves
from brain2pix.simulation.photos import COLOUR_PHOTOS, PHOTO_SOURCES, photo, source_hashes
from brain2pix.simulation.randomness import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from brain2pix.config.simulation import SimulationSettings

__all__ = ["PHOTO_SOURCES", "StimulusSet", "make_stimuli", "make_unpaired", "permitted_images", "source_hashes"]

N_CANVASES = 48  # of dead leaves
CANVAS_SHARE = 4  # edge of a canvas, in stimuli
COLOUR_WEIGHT = 2.0  # how much more often a colour photo is drawn than a grey one
LEAVES_SHARE = 0.5
VALIDATION_IOU = 0.5  # 25 crops of one photo cannot overlap as little as ten
_CHUNK = 200


@dataclass(frozen=True)
class StimulusSet:
    """Images in the order of their table.

    Parameters
    ----------
    table : DataFrame: `stimulus_id`, `split`, `category` ("photo", "leaves", "face", ...), `label` (class within the category), `source`
    images : uint8 array, [n h w 3]
    """

    table: pd.DataFrame
    images: "NDArray[np.uint8]"

    def rows(self, split: str) -> "NDArray[np.int64]":
        """Rows of a split."""
        return np.flatnonzero((self.table["split"] == split).to_numpy())

    def by_id(self) -> "dict[str, NDArray[np.uint8]]":
        """Images by their id."""
        return dict(zip(self.table["stimulus_id"], self.images, strict=True))


def make_stimuli(settings: "SimulationSettings") -> StimulusSet:
    """Make all images that the subject responds to.

    Parameters
    ----------
    settings : SimulationSettings; its seed changes crops, never the split of the sources
    """
    size, seed = settings.image_size, settings.seed
    parts = [
        _mixture("train", settings.n_train, size, seed),
        _photo_crops("test", settings.n_test, size, seed),
        _photo_crops("validation", settings.n_validation, size, seed),
        _categories("train", settings.n_category_train, size, seed),
        _categories("test", settings.n_category_test, size, seed),
    ]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    return StimulusSet(table, np.concatenate([part.images for part in parts]))


def make_unpaired(settings: "SimulationSettings", check: "Callable[[int, int], None]" = lambda done, total: None) -> "NDArray[np.uint8]":
    """Make the images without responses: other crops and other canvases from the sources of training.

    Parameters
    ----------
    settings : SimulationSettings
    check : callable(done, total), called between chunks; may raise to stop

    Returns
    -------
    uint8 array, [u h w 3]
    """
    return _mixture("unpaired", settings.n_unpaired, settings.image_size, settings.seed, check).images


def permitted_images(n: int, size: int, seed: int) -> "NDArray[np.uint8]":
    """Make training-side images: what a bundled network may be trained on. No test or validation photo is among their sources.

    Parameters
    ----------
    n : int
    size : int, edge [px]
    seed : int

    Returns
    -------
    uint8 array, [n size size 3], half crops of photos, half dead leaves
    """
    return _mixture("permitted", n, size, seed).images


def _mixture(purpose: str, n: int, size: int, seed: int, check: "Callable[[int, int], None]" = lambda done, total: None) -> StimulusSet:
    """Half crops of training photos, half crops of dead leaves, colours jittered, in random order."""
    rng = stream(seed, "mixture", purpose)
    names = PHOTO_SOURCES["train"]
    weights = np.array([COLOUR_WEIGHT if name in COLOUR_PHOTOS else 1.0 for name in names])
    n_canvases = int(np.clip(n * LEAVES_SHARE // 10, 4, N_CANVASES))
    is_leaves = rng.permutation(np.arange(n) < round(n * LEAVES_SHARE))
    photo_of = rng.choice(len(names), size=n, p=weights / weights.sum())
    canvas_of = rng.integers(n_canvases, size=n)
    canvases = [_canvas(CANVAS_SHARE * size, seed, number) for number in _counted(n_canvases, n, check)]
    sources = [f"leaves-{canvas:02d}" if leaves else names[of] for leaves, canvas, of in zip(is_leaves, canvas_of, photo_of, strict=True)]
    images = np.empty((n, size, size, 3), dtype=np.uint8)
    for start in range(0, n, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, n))
        for row in rows:
            picture = canvases[canvas_of[row]] if is_leaves[row] else photo(names[photo_of[row]])[0]
            images[row] = random_crop(picture, size, rng)
        grey = np.array([not is_leaves[row] and names[photo_of[row]] not in COLOUR_PHOTOS for row in rows])
        images[rows] = jitter(images[rows], grey, rng)
        check(int(rows[-1]) + 1, n)
    category = np.where(is_leaves, "leaves", "photo")
    return StimulusSet(_table(purpose, category.tolist(), sources, sources), images)


@lru_cache(maxsize=N_CANVASES)
def _canvas(size: int, seed: int, number: int) -> "NDArray[np.uint8]":
    """Paint a canvas, or take it again: training and unpaired images are cut from the same ones, as from the same photos."""
    return dead_leaves(size, stream(seed, "leaves", number))


def _counted(n_canvases: int, n: int, check: "Callable[[int, int], None]") -> "Iterator[int]":
    for number in range(n_canvases):
        check(0, n)
        yield number


def _photo_crops(split: str, n: int, size: int, seed: int) -> StimulusSet:
    """Crops of the photos of a split, the same number of each: the centred square first, colours as they are."""
    images, sources = [], []
    names = PHOTO_SOURCES[split]
    for place, name in enumerate(names):
        count = n // len(names) + (place < n % len(names))
        boxes = _boxes(split, name, count, seed)
        images += [crop(photo(name)[0], box, size) for box in boxes]
        sources += [name] * count
    return StimulusSet(_table(split, ["photo"] * n, sources, sources), np.stack(images))


def _boxes(split: str, name: str, n: int, seed: int) -> list[tuple[float, float, float]]:
    rng = stream(seed, "crops", split, name)
    if split == "test":
        return spread_boxes(photo(name)[0], n, rng)
    return spread_boxes(photo(name)[0], n, rng, VALIDATION_IOU)


def _categories(part: str, n: int, size: int, seed: int) -> StimulusSet:
    made = category_images(n, size, seed, part)
    table = _table(f"category_{part}", [one.category for one in made], [one.label for one in made], [one.source for one in made])
    return StimulusSet(table, np.array([one.image for one in made], dtype=np.uint8).reshape(n, size, size, 3))


def _table(split: str, category: list[str], label: list[str], source: list[str]) -> pd.DataFrame:
    ids = [f"{split.replace('_', '-')}-{row:04d}" for row in range(len(category))]
    return pd.DataFrame({"stimulus_id": ids, "split": split, "category": category, "label": label, "source": source})
