"""The perceptual loss against numpy's cosine and its own invariances."""

import numpy as np
import pytest
import torch

from brain2pix.errors import ShapeError
from brain2pix.losses import perceptual_loss, scaled_features


def _blocks(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 5, 4, 4, generator=generator), torch.rand(2, 7, 2, 2, generator=generator)]


def test_equal_features_have_no_distance_even_where_they_are_zero() -> None:
    features = _blocks(0)
    features[0][:, :, 0, 0] = 0
    assert perceptual_loss(features, features, [1, 1]).item() == 0


def test_it_is_the_weighted_mean_of_one_minus_cosine() -> None:
    a, b, weights = _blocks(0), _blocks(1), (0.3, 2.0)
    expected = 0.0
    for one, other, weight in zip(a, b, weights, strict=True):
        x, y = one.double().numpy(), other.double().numpy()
        cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        expected += weight * (1 - cosine).mean()
    assert perceptual_loss(a, b, weights).item() == pytest.approx(expected, rel=1e-5)


def test_the_length_of_each_spatial_vector_does_not_matter() -> None:
    a, b = _blocks(0), _blocks(1)
    scaled = [part * (0.1 + 10 * torch.rand(part.shape[0], 1, *part.shape[2:])) for part in a]
    assert perceptual_loss(scaled, b, [1, 1]).item() == pytest.approx(perceptual_loss(a, b, [1, 1]).item(), rel=1e-4)


def test_opposite_vectors_are_two_apart() -> None:
    a = _blocks(0)
    assert perceptual_loss(a, [-part for part in a], [1, 0]).item() == pytest.approx(2, rel=1e-5)


def test_gradients_are_finite_at_zero_features() -> None:
    zero = torch.zeros(1, 3, 2, 2, requires_grad=True)
    perceptual_loss([zero], [torch.rand(1, 3, 2, 2)], [1]).backward()
    assert zero.grad is not None and zero.grad.isfinite().all()


def test_a_block_of_weight_zero_is_left_out() -> None:
    a, b = _blocks(0), _blocks(1)
    broken = [a[0], torch.full_like(a[1], torch.nan)]
    assert perceptual_loss(broken, b, [1, 0]).isfinite()
    assert perceptual_loss(a, b, [0, 0]).item() == 0


def test_one_weight_per_block() -> None:
    with pytest.raises(ShapeError, match="2 and 2 blocks, 1 weights"):
        perceptual_loss(_blocks(0), _blocks(1), [1])


@pytest.mark.parametrize("power", [1, 2])
def test_scaled_features_count_each_channel_in_its_own_units(power: int) -> None:
    a, b = _blocks(0), _blocks(1)
    scales = [torch.linspace(0.5, 2, part.shape[1]) for part in a]
    expected = 0.0
    for one, other, scale, weight in zip(a, b, scales, (0.7, 0.15), strict=True):
        apart = np.abs(one.double().numpy() - other.double().numpy()) / scale.double().numpy()[:, None, None]
        expected += weight * (apart**power).mean()
    assert scaled_features(a, b, scales, (0.7, 0.15), power).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ShapeError, match="one scale and weight per block are needed: 2 blocks, 1 scales, 2 weights"):
        scaled_features(a, b, scales[:1], (0.7, 0.15))
