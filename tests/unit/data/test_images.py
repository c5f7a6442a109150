"""Decoding against Pillow, resizing against Pillow and torch."""

import numpy as np
import pytest
import torch
from PIL import Image

from brain2pix.data.images import as_tensor, as_uint8, centre_crop, read_image, resize
from brain2pix.data.stacks import open_stack, stack_of_folder
from brain2pix.errors import DataFormatError, MissingDataError, ShapeError

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_rgb_grey_and_bilevel(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RGB)), RGB)
    np.testing.assert_array_equal(read_image(save(tmp_path / "b.png", RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2))
    Image.fromarray(RGB[..., 0] > 128).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "c.png")[..., 1], np.where(RGB[..., 0] > 128, 255, 0))


def test_palette(tmp_path):
    picture = Image.fromarray(RGB).quantize(8)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(picture.convert("RGB")))


def test_sixteen_bit(tmp_path):
    deep = RNG.integers(0, 65536, (9, 9)).astype(np.uint16)
    read = read_image(save(tmp_path / "d.png", deep))
    np.testing.assert_allclose(read[..., 0], deep / 65535 * 255, atol=0.51)


def test_transparent_pixels_lie_on_grey(tmp_path):
    alpha = np.zeros((20, 30, 1), dtype=np.uint8)
    alpha[:, 15:] = 255
    read = read_image(save(tmp_path / "t.png", np.concatenate([RGB, alpha], axis=2)))
    assert (read[:, :15] == 128).all()
    np.testing.assert_array_equal(read[:, 15:], RGB[:, 15:])


def test_camera_orientation_is_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "e.png", exif=exif)
    assert read_image(tmp_path / "e.png").shape == (30, 20, 3)


def test_unreadable_images(tmp_path):
    with pytest.raises(MissingDataError, match=r"image .*none\.png does not exist"):
        read_image(tmp_path / "none.png")
    for suffix in ("png", "jpg"):
        path = save(tmp_path / f"x.{suffix}", RGB)
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(DataFormatError, match=rf"image .*x\.{suffix} \(200 bytes\) cannot be read: truncated"):
            read_image(path)
    (tmp_path / "y.png").write_text("<html>")
    with pytest.raises(DataFormatError, match="it starts with '<html>'"):
        read_image(tmp_path / "y.png")
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(tmp_path / "z.png", save_all=True, append_images=frames[1:])  # animated
    with pytest.raises(DataFormatError, match="expected one picture"):
        read_image(tmp_path / "z.png")


@pytest.mark.parametrize(("shape", "rows", "columns"), [((20, 30), slice(0, 20), slice(5, 25)), ((31, 20), slice(5, 25), slice(0, 20))])
def test_centre_crop(shape, rows, columns):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(centre_crop(image), image[rows, columns])


@pytest.mark.parametrize("size", [32, 16, 24, 7])
def test_shrinking_is_the_area_mean(size):
    images = RNG.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX)) for image in images])
    # Pillow's box counts whole pixels where the factor is broken; torch's area mean needs whole factors. Where they are whole all agree.
    if 64 % size == 0:
        np.testing.assert_allclose(resize(images, size).astype(int), expected, atol=1)
    repeated = images.repeat(size, axis=1).repeat(size, axis=2).astype(float)  # a grid on which both pixel sizes are whole
    exact = repeated.reshape(3, size, 64, size, 64, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(resize(images, size), exact, atol=0.51)


@pytest.mark.parametrize("size", [112, 65, 128])
def test_growing_is_linear(size):
    images = RNG.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(as_tensor(images), size=(size, size), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize(images, size).astype(int), as_uint8(expected), atol=1)


def test_resizing_keeps_up_and_left():
    image = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    image[0, :4, :4, 0] = 255
    small = resize(image, 2)[0]
    assert small[0, 0].tolist() == [255, 0, 0] and small.sum() == 255
    with pytest.raises(ShapeError, match="expected square images"):
        resize(image[:, :4], 2)


def test_tensors_and_back():
    images = RNG.integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    tensor = as_tensor(images)
    assert tensor.shape == (2, 3, 5, 5) and tensor.dtype == torch.float32
    assert tensor[1, 2, 0, 4] == pytest.approx(images[1, 0, 4, 2] / 255)
    np.testing.assert_array_equal(as_uint8(tensor), images)
    assert as_uint8(tensor * 3 - 1).max() == 255


def test_stack_file(tmp_path):
    stack = RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "unpaired.npy", stack)
    mapped = open_stack(tmp_path / "unpaired.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, stack)
    path = tmp_path / "unpaired.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataFormatError, match=r"image stack .*unpaired\.npy .*truncated"):
        open_stack(path)
    for wrong in (stack.astype(np.float32), stack[..., :2], stack[:, :4]):
        np.save(path, wrong)
        with pytest.raises(DataFormatError, match=r"expected uint8 square RGB images \[n h h 3\], got"):
            open_stack(path)


def test_stack_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "unpaired"
    (folder / "class b").mkdir(parents=True)
    pictures = [RNG.integers(0, 256, (12, 12 + 2 * n, 3), dtype=np.uint8) for n in range(3)]
    for n, name in enumerate(["a.png", "class b/b.png", "z.png"]):
        save(folder / name, pictures[n])
    (folder / "notes.txt").write_text("not an image")
    expected = np.stack([resize(centre_crop(picture)[None], 6)[0] for picture in pictures])
    first = stack_of_folder(folder, 6)
    np.testing.assert_array_equal(first, expected)
    assert isinstance(first, np.memmap)
    (cached,) = (tmp_path / "cache").rglob("*.npy")
    stamp = cached.stat().st_mtime_ns
    np.testing.assert_array_equal(stack_of_folder(folder, 6), expected)
    assert cached.stat().st_mtime_ns == stamp  # not decoded again
    save(folder / "z.png", pictures[0])
    np.testing.assert_array_equal(stack_of_folder(folder, 6)[2], expected[0])  # noticed that the folder changed


def test_stack_of_a_folder_without_cache(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the cache folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataFormatError, match="holds no image files"):
        stack_of_folder(tmp_path / "pictures", 6)
    save(tmp_path / "pictures" / "a.png", RGB[:20, :20])
    assert stack_of_folder(tmp_path / "pictures", 20)[0].tolist() == RGB[:20, :20].tolist()
