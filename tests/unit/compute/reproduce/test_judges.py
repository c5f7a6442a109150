"""Distances in features against loops, and judges that are named as what they are."""

import numpy as np
import pytest
import torch

from brain2pix.compute.reproduce.judges import feature_distance, make_judges
from brain2pix.events import Cancelled, CancelToken
from brain2pix.models import VGG16Features
from brain2pix.models.scaling import random_start_


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), rng.integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)


def by_loops(network, taps, first, second):
    """Mean over places of 2 (1 - cosine), layer by layer and pair by pair, by torch's own cosine."""
    made, wanted = (list(network(torch.from_numpy(each).permute(2, 0, 1)[None].float() / 255, taps)) for each in (first, second))
    return sum(float((2 * (1 - torch.cosine_similarity(a, b, dim=1))).mean()) for a, b in zip(made, wanted, strict=True))


def test_the_distance_is_that_of_the_paper(pictures):
    first, second = pictures
    network, taps = random_start_(VGG16Features(), 0), (3, 8, 15)
    found = feature_distance(network, taps, first, second, CancelToken())
    assert found.shape == (20, 70)  # more than one block on both sides
    for i, j in ((0, 0), (19, 69), (17, 3), (2, 66)):
        assert found[i, j] == pytest.approx(by_loops(network, taps, first[i], second[j]), abs=2e-4)


def test_a_picture_is_nearest_to_itself(pictures):
    network = random_start_(VGG16Features(), 0)
    found = feature_distance(network, (3, 8), pictures[0], pictures[0], CancelToken())
    assert (found.argmin(axis=1) == np.arange(20)).all() and np.abs(np.diagonal(found)).max() < 1e-4


def test_it_can_be_stopped(pictures):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        feature_distance(random_start_(VGG16Features(), 0), (3,), *pictures, cancel)


def test_without_weights_a_judge_says_which_file_and_how_to_get_it():
    judges = {judge.key: judge for judge in make_judges(torch.device("cpu"))}
    assert next(iter(judges)) == "pixel"
    for name, file in (("vgg16", "vgg16-397923af.pth"), ("alexnet", "alexnet-owt-7be5be79.pth")):
        assert file in judges[name].why and f"brain2pix weights fetch {name}" in judges[name].why and judges[name].network is None
    for name in ("random", "random_residual"):
        assert not judges[name].why and "untrained" in judges[name].title
        assert "vgg" not in judges[name].title.lower() and "perceptual" not in judges[name].title.lower()
