import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_image

from brain2pix.errors import ConfigError
from brain2pix.simulation.photos import COLOUR_PHOTOS, PHOTO_SOURCES, photo, source_hashes


def test_split_is_the_one_of_the_sheet():
    assert set(PHOTO_SOURCES["test"]) == {"astronaut", "chelsea", "coffee", "rocket", "flower"}
    assert set(PHOTO_SOURCES["validation"]) == {"china", "motorcycle"}
    assert {"hubble", "retina", "ihc"} == COLOUR_PHOTOS & set(PHOTO_SOURCES["train"])


def test_no_two_splits_share_a_source():
    hashes = source_hashes()
    assert {split: len(names) for split, names in hashes.items()} == {"test": 5, "validation": 3, "train": 14}
    seen = [value for names in hashes.values() for value in names.values()]
    assert len(set(seen)) == len(seen) == 22


def test_photos_are_the_bundled_ones():
    assert (photo("astronaut")[0] == skimage.data.astronaut()).all()
    assert (photo("ihc")[0] == skimage.data.immunohistochemistry()).all()
    assert (photo("flower")[0] == load_sample_image("flower.jpg")).all()
    left, right, _ = skimage.data.stereo_motorcycle()
    assert (photo("motorcycle")[0] == left).all() and (photo("motorcycle")[1] == right).all()


@pytest.mark.parametrize("name", [name for names in PHOTO_SOURCES.values() for name in names])
def test_photos_are_rgb_and_use_the_range(name):
    for picture in photo(name):
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        assert np.ptp(picture) > 150
        equal = (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
        assert equal == (name not in COLOUR_PHOTOS)


def test_unknown_photo_is_refused():
    with pytest.raises(ConfigError, match=r"unknown photo 'astronot'\. Did you mean 'astronaut'"):
        photo("astronot")
