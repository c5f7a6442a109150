"""Images of categories: what the simulated category areas prefer, kept apart from the photographs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain2pix.errors import ConfigError, unknown_name
from brain2pix.simulation.bodies import BODY_CLASSES, body
from brain2pix.simulation.crops import random_crop
from brain2pix.simulation.glyphs import FACES_TEST, FACES_TRAIN, WORDS_TEST, WORDS_TRAIN, digit, digit_rows, face, word
from brain2pix.simulation.objects import OBJECT_CLASSES, solid
from brain2pix.simulation.photos import photo
from brain2pix.simulation.places import PLACE_CLASSES, place
from brain2pix.simulation.randomness import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CATEGORIES = ("face", "word", "digit", "place", "body", "object")
DIGIT_CLASSES = tuple(str(value) for value in range(10))
# classes drawn by a program, as many exemplars as asked for: the gallery of a classification
PROCEDURAL_CLASSES: dict[str, tuple[str, ...]] = {
    "word": (*WORDS_TRAIN, *WORDS_TEST),
    "place": PLACE_CLASSES,
    "body": BODY_CLASSES,
    "object": OBJECT_CLASSES,
}
PHOTO_EVERY = 5  # one object in so many is a crop of a photo of a thing
_THINGS = {"train": ("coins",), "test": ("coffee", "rocket")}  # each of its own side of the split


@dataclass(frozen=True)
class Exemplar:
    """One image of a category.

    Parameters
    ----------
    image : uint8 array, [h w 3]
    category : str, one of `CATEGORIES`
    label : str, the class within the category
    source : str, what it was made from: exemplars of one source stay on one side of a hold-out split
    """

    image: "NDArray[np.uint8]"
    category: str
    label: str
    source: str


def exemplar(category: str, label: str, size: int, seed: int) -> "NDArray[np.uint8]":
    """Paint an image of a procedural class.

    Parameters
    ----------
    category : str, a key of `PROCEDURAL_CLASSES`
    label : str, one of its classes
    size : int, edge [px]
    seed : int, another one gives another exemplar

    Returns
    -------
    uint8 array, [size size 3]

    Raises
    ------
    ConfigError
        If the category or the class is unknown.
    """
    if category not in PROCEDURAL_CLASSES:
        raise ConfigError(unknown_name("procedural category", category, PROCEDURAL_CLASSES))
    if label not in PROCEDURAL_CLASSES[category]:
        raise ConfigError(unknown_name(f"{category} class", label, PROCEDURAL_CLASSES[category]))
    painter = {"word": word, "place": place, "body": body, "object": solid}[category]
    return painter(label, size, stream(seed, "exemplar", category, label))


def category_images(n: int, size: int, seed: int, part: str) -> list[Exemplar]:
    """Make images of all categories in turn.

    Parameters
    ----------
    n : int
    size : int, edge [px]
    seed : int
    part : str, "train" or "test": faces of other people, other words, other handwritten digits, other exemplars and photos

    Returns
    -------
    list of `n` Exemplar
    """
    if part not in ("train", "test"):
        raise ConfigError(unknown_name("part", part, ("train", "test")))
    rng = stream(seed, "category order", part)
    orders = {name: rng.permutation(len(labels)) for name, labels in _labels(part).items()}
    made = []
    for row in range(n):
        category, turn = CATEGORIES[row % len(CATEGORIES)], row // len(CATEGORIES)
        labels = _labels(part)[category]
        label = labels[orders[category][turn % len(labels)]]
        made.append(_make(category, label, size, stream(seed, "category", part, row), part, turn))
    return made


def _labels(part: str) -> dict[str, tuple[str, ...]]:
    people = FACES_TRAIN if part == "train" else FACES_TEST
    words = WORDS_TRAIN if part == "train" else WORDS_TEST
    return {
        "face": tuple(f"person-{person:02d}" for person in people),
        "word": tuple(words),
        "digit": DIGIT_CLASSES,
        "place": PLACE_CLASSES,
        "body": BODY_CLASSES,
        "object": OBJECT_CLASSES,
    }


def _make(category: str, label: str, size: int, rng: "np.random.Generator", part: str, turn: int) -> Exemplar:
    if category == "face":
        return Exemplar(face(int(label.removeprefix("person-")), size, rng), category, label, f"lfw-{label}")
    if category == "digit":
        row = int(rng.choice(digit_rows(int(label), part)))
        return Exemplar(digit(row, size, rng), category, label, f"digit-{row}")
    if category == "object" and turn % PHOTO_EVERY == PHOTO_EVERY // 2:
        name = _THINGS[part][rng.integers(len(_THINGS[part]))]
        return Exemplar(random_crop(photo(name)[0], size, rng, share=(0.4, 0.9)), category, f"photo-{name}", name)
    painter = {"word": word, "place": place, "body": body, "object": solid}[category]
    return Exemplar(painter(label, size, rng), category, label, f"{category}-{label}")
