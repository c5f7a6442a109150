import numpy as np
import pytest
import torch
from torch import nn

from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ShapeError
from brain2pix.events import Cancelled, CancelToken
from brain2pix.prf import gradient_maps, input_images


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 11),
    )
    return body.eval()


def test_maps_equal_one_backward_pass_per_voxel(network):
    images = torch.rand(2, 3, 16, 16)
    maps = gradient_maps(network, images, 11, chunk=4)  # 11 voxels are not a multiple of the chunk
    expected = np.zeros((11, 16, 16))
    for image in images:
        for voxel in range(11):
            leaf = image[None].clone().requires_grad_(True)
            network(leaf)[0, voxel].backward()
            expected[voxel] += leaf.grad[0].square().mean(dim=0).numpy() / 2
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-9)
    assert maps.dtype == np.float32


def test_absolute_gradients(network):
    image = torch.rand(1, 3, 16, 16).requires_grad_(True)
    network(image)[0, 3].backward()
    maps = gradient_maps(network, image.detach(), 11, gradient="absolute")
    np.testing.assert_allclose(maps[3], image.grad[0].abs().mean(dim=0), rtol=1e-4, atol=1e-8)


def test_gradients_are_taken_inside_no_grad_and_autocast(network):
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        inside = gradient_maps(network, images, 11)
    np.testing.assert_array_equal(inside, gradient_maps(network, images, 11))


def test_progress_counts_every_pass_and_cancel_stops(network):
    seen = []
    gradient_maps(network, torch.rand(2, 3, 16, 16), 11, chunk=4, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        gradient_maps(network, torch.rand(1, 3, 16, 16), 11, cancel=token)


def test_wrong_number_of_voxels_is_refused(network):
    with pytest.raises(ShapeError, match=r"shape \(12, 11\), expected \(12, 12\)"):
        gradient_maps(network, torch.rand(1, 3, 16, 16), 12)


def test_inputs_come_from_training_images_noise_or_both():
    photos = np.full((5, 16, 16, 3), 51, dtype=np.uint8)
    only = input_images(photos, PRFSettings(n_images=3), 16)
    assert only.shape == (3, 3, 16, 16)
    torch.testing.assert_close(only, torch.full_like(only, 0.2))
    noise = input_images(None, PRFSettings(n_images=4, inputs="noise"), 16, seed=1)
    assert 0.45 < noise.mean() < 0.55 and noise.std() > 0.25
    assert not torch.equal(noise, input_images(None, PRFSettings(n_images=4, inputs="noise"), 16, seed=2))
    mixed = input_images(photos, PRFSettings(n_images=4, inputs="mixed"), 16)
    assert [bool(torch.all(image == image[0, 0, 0])) for image in mixed] == [True, True, False, False]


@pytest.mark.parametrize("photos", [None, np.zeros((4, 8, 8, 3), np.uint8), np.zeros((0, 16, 16, 3), np.uint8)])
def test_missing_or_misfit_training_images_are_refused(photos):
    with pytest.raises(ShapeError, match=r"need training images.*inputs='noise'"):
        input_images(photos, PRFSettings(), 16)
