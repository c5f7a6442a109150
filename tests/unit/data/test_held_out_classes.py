"""Images without responses come in sub-folders by class: those of held-out classes take no part in training."""

import logging

import numpy as np
import pytest
from PIL import Image

from brain2pix.data import open_subject, training_data
from brain2pix.errors import DataFormatError


def paint(lab, **classes):
    """Four pictures of one grey each, in a sub-folder for each class."""
    for name, grey in classes.items():
        folder = lab.root / "stimuli" / "unpaired" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((16, 16, 3), grey, np.uint8)).save(folder / f"{name}_{number}.png")


def with_categories(lab, train, test):
    """Four stimuli a class: the first eight are trained on, the others are held out."""
    lab.edit_table(lab.stimuli, lambda rows: rows.assign(category=[train] * 8 + [test] * (len(rows) - 8)))
    return open_subject(lab.root)


def test_classes_of_held_out_stimuli_are_left_out(lab, caplog):
    paint(lab, n01=10, n02=90, n03=200)
    subject = with_categories(lab, "n01", "n02")
    with caplog.at_level(logging.INFO):
        unpaired = training_data(subject, "all").unpaired
    assert sorted(np.unique(unpaired)) == [10, 200] and len(unpaired) == 8
    assert "4 images of" in caplog.text and "their classes are held out" in caplog.text


def test_a_class_that_training_has_too_stays(lab):
    paint(lab, n01=10, n03=200)
    assert sorted(np.unique(training_data(with_categories(lab, "n01", "n01"), "all").unpaired)) == [10, 200]


def test_nothing_left_is_an_error(lab):
    paint(lab, n02=90)
    with pytest.raises(DataFormatError, match=r"all 4 images of .*unpaired are of classes that are held out; add images of other classes"):
        training_data(with_categories(lab, "n01", "n02"), "all")
