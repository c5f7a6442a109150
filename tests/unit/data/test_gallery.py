"""Folders of classes; held-out stimuli are found by name and by content."""

import imageio.v3 as iio
import numpy as np
import pytest

from brain2pix.data.gallery import open_gallery
from brain2pix.errors import DataFormatError, MissingDataError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / "gallery" / name / f"{name}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            iio.imwrite(path, rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (tmp_path / "gallery" / "empty").mkdir()
    (tmp_path / "gallery" / "cat" / "notes.txt").write_text("no picture")
    return tmp_path / "gallery"


def test_classes_are_sub_folders_with_pictures(folder):
    gallery = open_gallery(folder)
    assert gallery.names == ["cat", "dog"] and [path.name for path in gallery.files["cat"]] == [f"cat{n}.png" for n in range(4)]
    images = gallery.images("dog", 16)
    assert images.shape == (4, 16, 16, 3) and images.dtype == np.uint8


def test_pictures_of_a_class_are_drawn_by_the_seed(folder):
    first, again, other = (open_gallery(folder, per_class=2, seed=seed).files for seed in (0, 0, 3))
    assert first == again != other and {len(paths) for paths in first.values()} == {2}


def test_held_out_stimuli_are_left_out_by_name_and_by_content(folder, tmp_path):
    named, copied = tmp_path / "cat2.jpg", tmp_path / "renamed.png"
    iio.imwrite(named, np.zeros((8, 8, 3), dtype=np.uint8))
    copied.write_bytes((folder / "dog" / "dog1.png").read_bytes())
    gallery = open_gallery(folder, held_out=[named, copied, tmp_path / "gone.png"])
    assert sorted(path.name for path in gallery.left_out) == ["cat2.png", "dog1.png"]
    assert {path.name for paths in gallery.files.values() for path in paths} == {
        "cat0.png",
        "cat1.png",
        "cat3.png",
        "dog0.png",
        "dog2.png",
        "dog3.png",
    }


def test_what_is_no_gallery_is_refused(folder, tmp_path):
    with pytest.raises(MissingDataError, match="is not a folder; expected one sub-folder of pictures for each class"):
        open_gallery(tmp_path / "nothing")
    with pytest.raises(DataFormatError, match="has 0 sub-folders with pictures; expected one for each class, at least 2"):
        open_gallery(folder / "cat")
