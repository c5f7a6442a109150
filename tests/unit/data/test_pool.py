"""A pool of distractors holds no stimulus and no image that training saw."""

import shutil

import numpy as np
import pytest
from PIL import Image

from brain2pix.data.pool import open_pool
from brain2pix.data.subject import open_subject
from brain2pix.errors import DataFormatError, MissingDataError


@pytest.fixture
def folder(tmp_path, rng):
    place = tmp_path / "pool"
    place.mkdir()
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return place


def test_pictures_are_cut_about_their_centre(lab, folder) -> None:
    wide = np.zeros((16, 32, 3), dtype=np.uint8)
    wide[:, 8:24] = 200
    Image.fromarray(wide).save(folder / "0.png")
    pool = open_pool(folder, open_subject(lab.root), 16)
    assert pool.images.shape == (4, 16, 16, 3) and (pool.images[0] == 200).all()
    np.testing.assert_array_equal(pool.images[1], np.asarray(Image.open(folder / "1.png")))


def test_stimuli_and_unpaired_images_are_refused(lab, folder, rng) -> None:
    subject = open_subject(lab.root)
    shutil.copy(lab.root / "stimuli" / "pictures" / "t2.png", folder / "under-another-name.png")
    with pytest.raises(DataFormatError, match=r"1 of its pictures are stimuli of sub-01 \(under-another-name.png\)"):
        open_pool(folder, subject, 16)
    (folder / "under-another-name.png").unlink()
    unpaired = lab.root / "stimuli" / "unpaired"
    (unpaired / "class").mkdir(parents=True)
    shutil.copy(folder / "3.png", unpaired / "class" / "renamed.png")
    with pytest.raises(DataFormatError, match=r"1 of its pictures are images without responses in .*unpaired \(3.png\)"):
        open_pool(folder, subject, 16)
    shutil.rmtree(unpaired)
    stack = rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    stack[2] = np.asarray(Image.open(folder / "1.png"))
    np.save(lab.root / "stimuli" / "unpaired.npy", stack)
    with pytest.raises(DataFormatError, match=r"1 of its pictures are images without responses in .*unpaired.npy \(1.png\)"):
        open_pool(folder, subject, 16)
    stack[2] = 0
    np.save(lab.root / "stimuli" / "unpaired.npy", stack)
    assert len(open_pool(folder, subject, 16).images) == 4


def test_what_is_no_pool_is_refused(lab, tmp_path) -> None:
    subject = open_subject(lab.root)
    with pytest.raises(MissingDataError, match="is not a folder; expected image files"):
        open_pool(tmp_path / "none", subject, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match="holds no image files"):
        open_pool(tmp_path / "empty", subject, 16)
