"""Rows are put together from what decode jobs wrote, and damaged files are told."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain2pix.compute.reproduce.judges import Judge
from brain2pix.compute.reproduce.repeats import first_repeats, numbers_of_repeats
from brain2pix.compute.reproduce.rows import load_pictures, read_reconstructions, score
from brain2pix.data.image_scores import fingerprint
from brain2pix.data.training import RepeatedResponses
from brain2pix.errors import DataFormatError
from brain2pix.events import CancelToken


@pytest.fixture
def test_set(rng):
    images = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    return SimpleNamespace(
        images=images, stimulus_ids=[f"s{n}" for n in range(12)], groups=np.arange(12), subject=SimpleNamespace(subject="sub-01")
    )


@pytest.fixture
def folder(test_set, tmp_path):
    about = {"stimulus_ids": test_set.stimulus_ids, "stimuli": fingerprint(test_set.images), "transductive": ["SNR weights"]}
    (tmp_path / "reconstructions.json").write_text(json.dumps(about))
    np.save(tmp_path / "reconstructions.npy", test_set.images)
    return tmp_path


def test_what_was_written_is_read(folder, test_set):
    images, uses = read_reconstructions(folder, test_set)
    assert (images == test_set.images).all() and uses == ("SNR weights",)


@pytest.mark.parametrize(("name", "what"), [("reconstructions.json", "describe"), ("reconstructions.npy", "hold")])
def test_damaged_and_missing_files(folder, test_set, name, what):
    content = (folder / name).read_bytes()
    for damage in (b"", b"{}", b"[1]", content[: len(content) // 2], b"\x80\x04K\x01."):
        (folder / name).write_bytes(damage)
        with pytest.raises(DataFormatError, match=f"{name} does not {what} .*remove its folder to decode again"):
            read_reconstructions(folder, test_set)
    (folder / name).unlink()
    with pytest.raises(DataFormatError, match=f"does not {what}"):
        read_reconstructions(folder, test_set)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["reconstructions.json", "reconstructions.npy"]), st.binary(max_size=300), st.integers(0, 200))
def test_any_damage_is_told(folder, test_set, name, damage, at):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:at] + damage + content[at + len(damage) :])
    try:
        images, _ = read_reconstructions(folder, test_set)
        assert images.shape == test_set.images.shape and images.dtype == np.uint8
    except DataFormatError:
        pass
    finally:
        (folder / name).write_bytes(content)


def test_a_header_that_claims_too_much(folder, test_set):
    file = folder / "reconstructions.npy"
    huge = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 3)}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, huge)
    with pytest.raises(DataFormatError, match="does not hold pictures"):
        load_pictures(file, test_set.images.shape)
    np.save(file, np.zeros((2, 2)))
    with pytest.raises(DataFormatError, match=r"holds float64 of shape \(2, 2\), expected uint8"):
        load_pictures(file, test_set.images.shape)


def test_reconstructions_of_other_images(folder, test_set):
    test_set.images = test_set.images[::-1]
    with pytest.raises(DataFormatError, match="other test images than sub-01"):
        read_reconstructions(folder, test_set)


def test_scores_of_the_truth_and_of_nothing(test_set):
    judge = Judge("pixel", "pixels")
    perfect = score("full", test_set.images, test_set, [judge, Judge("vgg16", "x", why="no weights")], CancelToken())
    found = {line.score: line.value for line in perfect.lines() if line.part == "identification"}
    assert found == pytest.approx({"pixel 2-way": 100, "pixel 5-way": 100, "pixel 10-way": 100})
    flat = score("full", np.full_like(test_set.images, 128), test_set, [judge], CancelToken())
    for line in flat.lines():
        assert line.value == pytest.approx(line.chance, abs=1e-6) and line.n == 12


def test_the_first_repeats_are_averaged(rng):
    index = rng.permutation(np.repeat(np.arange(4), 6))
    values = rng.normal(size=(24, 3)).astype(np.float32)
    repeats = RepeatedResponses(values, index)
    for n in (1, 3, 6):
        expected = [np.mean([value for value, image in zip(values, index, strict=True) if image == each][:n], axis=0) for each in range(4)]
        np.testing.assert_allclose(first_repeats(repeats, n), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first_repeats(repeats, 6), repeats.mean(), rtol=1e-5, atol=1e-6)


def test_numbers_end_with_all_that_every_image_has():
    assert numbers_of_repeats(np.repeat(np.arange(3), 35)) == [1, 2, 3, 5, 8, 13, 21, 34, 35]
    assert numbers_of_repeats(np.array([0, 0, 0, 0, 1, 1])) == [1, 2]
    assert numbers_of_repeats(np.arange(3)) == [1]
