import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from scipy.spatial.distance import cosine
from scipy.stats import pearsonr
from skimage.transform import resize

from brain2pix.errors import ShapeError
from brain2pix.evaluation import as_images, feature_similarity, low_resolution, pixel_correlation, pixel_r, structural
from brain2pix.evaluation.functional import JUDGES, independent_networks, network_features


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    images = rng.uniform(size=(5, 16, 16, 3)).astype(np.float32)
    return np.clip(images + rng.normal(0, 0.3, images.shape), 0, 1).astype(np.float32), images


def test_as_images_takes_bytes_floats_and_tensors(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    expected = pixels.astype(np.float64) / 255
    tensor = torch.from_numpy(expected).float().permute(0, 3, 1, 2).requires_grad_()
    for form in (pixels, expected, tensor, tensor.detach().numpy()):
        assert as_images(form) == pytest.approx(expected, abs=1e-6)
        assert as_images(form).dtype == np.float32
    with pytest.raises(ShapeError, match=r"expected RGB images of shape .* got \(2, 8, 8\)"):
        as_images(pixels[..., 0])


def test_pixel_correlation_equals_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    made, images = pair
    matrix = pixel_correlation(made, images[:4])
    expected = [[pearsonr(a.ravel(), b.ravel())[0] for b in images[:4]] for a in made]
    assert matrix == pytest.approx(np.array(expected), abs=1e-6)
    assert pixel_r(made, images) == pytest.approx(np.diagonal(pixel_correlation(made, images)))


def test_flat_pictures_correlate_with_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    flat = np.full_like(pair[1], 0.3)
    assert (pixel_correlation(flat, pair[1]) == 0).all()
    assert (pixel_r(pair[1], flat) == 0).all()


def ssim_by_formula(first: np.ndarray, second: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, uniform 7 px window, sample covariances, borders left out; one channel."""

    def mean(x: np.ndarray) -> np.ndarray:
        return uniform_filter(x.astype(np.float64), 7)

    unbiased = 49 / 48
    a, b = mean(first), mean(second)
    var_a, var_b = unbiased * (mean(first**2) - a**2), unbiased * (mean(second**2) - b**2)
    cov = unbiased * (mean(first * second) - a * b)
    ssim = (2 * a * b + 0.01**2) * (2 * cov + 0.03**2) / ((a**2 + b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
    return float(ssim[3:-3, 3:-3].mean())


def test_structural_equals_the_published_formula(pair: tuple[np.ndarray, np.ndarray]) -> None:
    made, images = pair
    expected = [np.mean([ssim_by_formula(a[..., c], b[..., c]) for c in range(3)]) for a, b in zip(made, images, strict=True)]
    assert structural(made, images) == pytest.approx(np.array(expected), abs=1e-4)
    assert structural(images, images) == pytest.approx(1)


def test_feature_similarity_equals_scipys_cosine(rng: np.random.Generator) -> None:
    first = [rng.normal(size=(3, 4, 2, 2)), rng.normal(size=(3, 6))]
    second = [rng.normal(size=(2, 4, 2, 2)), rng.normal(size=(2, 6))]
    matrix = feature_similarity(first, second)
    for i in range(3):
        for j in range(2):
            spatial = np.mean([cosine(first[0][i, :, y, x], second[0][j, :, y, x]) for y in range(2) for x in range(2)])
            assert matrix[i, j] == pytest.approx(-(spatial + cosine(first[1][i], second[1][j])) / 2)
    with pytest.raises(ShapeError, match="same layers on both sides, at least one: got 2 and 1"):
        feature_similarity(first, second[:1])
    with pytest.raises(ShapeError, match="same channels and positions"):
        feature_similarity(first, second[::-1])


def test_low_resolution_is_an_area_average(rng: np.random.Generator) -> None:
    images = rng.uniform(size=(2, 24, 24, 3)).astype(np.float32)
    blocks = images.reshape(2, 4, 6, 4, 6, 3).mean(axis=(2, 4))
    small = low_resolution(images, 4)
    # the centre of a block lies between pixels 2 and 3 of it: bilinear interpolation passes through the block mean there
    assert small[:, 2::6, 2::6] == pytest.approx(
        np.stack([resize(b, (24, 24, 3), order=1, mode="edge", anti_aliasing=False) for b in blocks])[:, 2::6, 2::6], abs=1e-5
    )
    assert low_resolution(images, 1) == pytest.approx(np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape), abs=1e-6)
    assert low_resolution(images, 24) == pytest.approx(images, abs=1e-6)
    assert low_resolution(images, 5).mean() == pytest.approx(images.mean(), abs=0.02)  # blocks that share a pixel
    with pytest.raises(ShapeError, match=r"resolution must lie in 1\.\.24 px"):
        low_resolution(images, 25)


def test_sizes_that_differ_are_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    made, images = pair
    with pytest.raises(ShapeError, match="must have the same size"):
        pixel_correlation(made[:, :8], images)
    with pytest.raises(ShapeError, match="5 reconstructions need as many images, got 4"):
        pixel_r(made, images[:4])
    with pytest.raises(ShapeError, match="must have the same shape"):
        structural(made, images[:4])


def test_judges_are_frozen_reproducible_and_prefer_the_true_image(rng: np.random.Generator) -> None:
    images = resize(rng.uniform(size=(6, 6, 6, 3)), (6, 32, 32, 3), order=1)
    made = np.clip(images + rng.normal(0, 0.05, images.shape), 0, 1)
    networks, again = independent_networks(), independent_networks()
    assert tuple(networks) == JUDGES
    for name, network in networks.items():
        assert not any(parameter.requires_grad for parameter in network.parameters())
        features = network_features(network, images, batch_size=4)
        assert all(len(layer) == 6 for layer in features)
        for one, other in zip(features, network_features(again[name], images, batch_size=6), strict=True):
            assert one == pytest.approx(other, abs=1e-4)
        similarity = feature_similarity(network_features(network, made), features)
        assert (similarity.argmax(axis=1) == np.arange(6)).all()
