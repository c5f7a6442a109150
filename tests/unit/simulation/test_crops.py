import matplotlib.colors
import numpy as np
import pytest
from skimage.transform import resize

from brain2pix.errors import ComputeError
from brain2pix.simulation.crops import centre_box, colours_from_hsv, crop, jitter, overlap, random_crop, spread_boxes
from brain2pix.simulation.photos import PHOTO_SOURCES, photo


def test_crop_agrees_with_scikit_image():
    picture = photo("astronaut")[0]
    ours = crop(picture, (100, 40, 320), 64).astype(float)
    theirs = resize(picture[40:360, 100:420], (64, 64), anti_aliasing=True, preserve_range=True)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.995
    assert abs(ours.mean() - theirs.mean()) < 1


def test_crop_keeps_rows_and_columns():
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[:45, 60:, 0] = 255  # upper right
    small = crop(picture, (30, 0, 60), 16)
    assert small[:4, 12:, 0].min() == 255 and small[:4, :4, 0].max() == 0 and small[13:].max() == 0


@pytest.mark.parametrize(("a", "b"), [((0, 0, 10), (5, 5, 10)), ((3, 2, 8), (4, 3, 4)), ((0, 0, 5), (20, 20, 5)), ((1, 1, 6), (1, 1, 6))])
def test_overlap_agrees_with_counting_pixels(a, b):
    masks = np.zeros((2, 40, 40), dtype=bool)
    for mask, (left, top, side) in zip(masks, (a, b), strict=True):
        mask[top : top + side, left : left + side] = True
    assert overlap(a, b) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


@pytest.mark.parametrize("name", PHOTO_SOURCES["test"])
@pytest.mark.parametrize("seed", range(3))
def test_test_crops_overlap_little_and_are_not_flat(name, seed):
    picture = photo(name)[0]
    boxes = spread_boxes(picture, 10, np.random.default_rng(seed))
    shorter = min(picture.shape[:2])
    assert boxes[0] == centre_box(picture) and boxes[0][2] == shorter
    assert all(0.32 <= side / shorter <= 0.62 for _, _, side in boxes[1:])
    assert max(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]) < 0.2
    for left, top, side in boxes:
        cut = picture[int(top) : int(top) + int(side), int(left) : int(left) + int(side)]
        # the rocket's night sky has no ten such crops
        assert cut.std() / 255 > (0.12 if name != "rocket" else 0.09)
        assert left >= 0 and top >= 0 and left + side <= picture.shape[1] and top + side <= picture.shape[0]


def test_too_many_crops_are_refused():
    with pytest.raises(ComputeError, match=r"512 x 512 px has no 60 crops that overlap less than 0\.2"):
        spread_boxes(photo("astronaut")[0], 60, np.random.default_rng(0))


def test_random_crops_are_seldom_flat():
    rng = np.random.default_rng(0)
    flat = [random_crop(photo("moon")[0], 32, rng).std() < 6 for _ in range(40)]
    assert np.mean(flat) < 0.2


def test_colours_agree_with_matplotlib(rng):
    hsv = rng.random((50, 3))
    assert np.allclose(colours_from_hsv(*hsv.T), matplotlib.colors.hsv_to_rgb(hsv))


def test_jitter_keeps_grey_images_nearly_grey_and_their_pattern(rng):
    ramp = np.repeat(np.tile(np.linspace(40, 140, 16).astype(np.uint8), (16, 1))[None, :, :, None], 3, axis=3)  # no channel is clipped
    tinted = jitter(np.repeat(ramp, 200, axis=0), np.ones(200, bool), rng).astype(float)
    ratio = np.log(tinted[..., 0] / tinted[..., 1])  # [n h w]
    assert np.quantile(np.abs(ratio.mean(axis=(1, 2))), 0.95) < np.log(1.5)
    assert np.median(np.abs(ratio.mean(axis=(1, 2)))) > 0.05  # but they differ
    assert (np.ptp(ratio, axis=(1, 2)) < 0.1).all()  # one tint for dark and bright places
    rows = tinted.mean(axis=(1, 3))
    pattern = [np.corrcoef(row, ramp[0, 0, :, 0])[0, 1] for row in rows]
    assert (np.abs(pattern) > 0.99).all()
    assert 0.3 < np.mean(np.array(pattern) > 0) < 0.7  # half of them are mirrored


def test_jitter_keeps_most_coloured_images_near_themselves(rng):
    images = np.repeat(crop(photo("ihc")[0], (0, 0, 400), 32)[None], 100, axis=0)
    changed = jitter(images, np.zeros(100, bool), rng)
    either = np.minimum(
        np.abs(changed.astype(float) - images).mean(axis=(1, 2, 3)), np.abs(changed[:, :, ::-1].astype(float) - images).mean(axis=(1, 2, 3))
    )
    assert np.median(either) < 40 and either.max() > 10
    assert changed.dtype == np.uint8 and changed.shape == images.shape
