import numpy as np

from brain2pix.compute.demo_folder import photo_folds
from brain2pix.data.folds import folds_of


def test_all_crops_of_a_photograph_are_in_one_fold(rng):
    groups = rng.integers(0, 7, 40)
    part, images = folds_of(groups, 3)
    assert sorted(image for fold in images for image in fold) == list(range(40)) and len(images) == 3
    for fold, own in enumerate(images):
        assert (part[own] == fold).all()
        assert set(groups[own]).isdisjoint(groups[[image for image in range(40) if image not in own]])


def test_there_are_no_more_folds_than_photographs(rng):
    groups = rng.integers(0, 7, 40)
    assert len(folds_of(groups[groups < 2], 5)[1]) == 2
    assert folds_of(groups[groups == 1], 5)[1] == []
    np.testing.assert_array_equal(photo_folds(np.array([5, 5, 2, 9])), [1, 1, 0, 0])
