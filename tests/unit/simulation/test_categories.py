import numpy as np
import pytest
from sklearn.datasets import load_digits

from brain2pix.errors import ConfigError
from brain2pix.simulation.categories import CATEGORIES, PROCEDURAL_CLASSES, category_images, exemplar
from brain2pix.simulation.glyphs import FACES_LEFT_OUT, FACES_TEST, FACES_TRAIN, FONTS, WORDS_TEST, WORDS_TRAIN, _font_folder, digit_rows
from brain2pix.simulation.photos import SPLIT_OF_PHOTO


def test_gallery_has_at_least_a_hundred_procedural_classes():
    classes = [(category, label) for category, labels in PROCEDURAL_CLASSES.items() for label in labels]
    assert len(set(classes)) == len(classes) >= 100


@pytest.mark.parametrize("category", PROCEDURAL_CLASSES)
def test_every_class_is_drawn_and_exemplars_differ(category):
    for label in PROCEDURAL_CLASSES[category]:
        one, same, other = (exemplar(category, label, 32, seed) for seed in (0, 0, 1))
        assert one.shape == (32, 32, 3) and one.dtype == np.uint8
        assert (one == same).all()
        assert np.abs(one.astype(float) - other).mean() > 2
        assert one.std() > 3


def test_unknown_classes_are_refused():
    with pytest.raises(ConfigError, match=r"unknown procedural category 'objects'\. Did you mean 'object'"):
        exemplar("objects", "ball-plain", 32, 0)
    with pytest.raises(ConfigError, match=r"unknown object class 'ball-plan'\. Did you mean 'ball-plain'"):
        exemplar("object", "ball-plan", 32, 0)
    with pytest.raises(ConfigError, match="unknown part 'validation'"):
        category_images(3, 32, 0, "validation")


def test_train_and_test_share_no_person_word_or_digit():
    assert not set(FACES_TRAIN) & set(FACES_TEST) and not (set(FACES_TRAIN) | set(FACES_TEST)) & set(FACES_LEFT_OUT)
    assert len(FACES_TRAIN) + len(FACES_TEST) + len(FACES_LEFT_OUT) == 100
    assert not set(WORDS_TRAIN) & set(WORDS_TEST)
    for value in range(10):
        train, test = (digit_rows(value, part) for part in ("train", "test"))
        assert not set(train) & set(test) and min(len(train), len(test)) > 30
        assert (load_digits().target[np.r_[train, test]] == value).all()


def test_category_images_take_turns_and_keep_to_their_side():
    train, test = category_images(60, 32, 0, "train"), category_images(60, 32, 0, "test")
    for made in (train, test):
        assert [one.category for one in made[:6]] == list(CATEGORIES)
        assert all(one.image.shape == (32, 32, 3) for one in made)
    specific = ("face", "word", "digit")
    assert not {one.source for one in train if one.category in specific} & {one.source for one in test if one.category in specific}
    photos = {
        part: {SPLIT_OF_PHOTO[one.source] for one in made if one.source in SPLIT_OF_PHOTO}
        for part, made in (("train", train), ("test", test))
    }
    assert photos == {"train": {"train"}, "test": {"test"}}
    assert len({one.label for one in train if one.category == "object"}) > 5


def test_exemplars_of_the_two_sides_are_other_pictures():
    train, test = ({one.image.tobytes() for one in category_images(30, 32, 0, part)} for part in ("train", "test"))
    assert not train & test and len(train) == len(test) == 30


def test_all_fonts_ship_with_matplotlib():
    assert all((_font_folder() / f"{font}.ttf").is_file() for font in FONTS)


def test_words_are_legible_by_their_extent():
    """Ink reaches over most of the width and stays off the edge."""
    for label in WORDS_TEST:
        picture = exemplar("word", label, 64, 3).astype(float)
        columns = np.abs(picture - np.median(picture, axis=(0, 1))).sum(axis=2).max(axis=0)
        inked = np.flatnonzero(columns > 0.5 * columns.max())
        assert inked.size and np.ptp(inked) > 20
