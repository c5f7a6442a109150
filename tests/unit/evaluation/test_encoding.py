import numpy as np
import pytest
from scipy.stats import pearsonr

from brain2pix.errors import ShapeError
from brain2pix.evaluation import encoder_accuracy, voxel_correlation


def test_voxel_correlation_equals_scipy(rng: np.random.Generator) -> None:
    predicted, measured = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    measured[:, 5] = 2.0
    r = voxel_correlation(predicted, measured)
    assert r[:5] == pytest.approx([pearsonr(predicted[:, v], measured[:, v])[0] for v in range(5)])
    assert np.isnan(r[5])


def test_a_perfect_model_reaches_its_ceiling(rng: np.random.Generator) -> None:
    n_images, n_voxels = 4000, 30
    signal = rng.normal(size=(n_images, n_voxels))
    noise_sd = rng.uniform(0.2, 1.5, n_voxels)
    ceiling = np.sqrt(1 / (1 + noise_sd**2))  # largest r with a signal of variance 1
    measured = signal + noise_sd * rng.normal(size=signal.shape)
    accuracy = encoder_accuracy(signal, measured, ceiling)
    assert accuracy.median_r == pytest.approx(np.median(ceiling), abs=0.03)
    assert accuracy.r_over_ceiling == pytest.approx(1, abs=0.06)
    assert accuracy.median_r_over_ceiling == pytest.approx(1, abs=0.01)


def test_scope_areas_and_low_ceilings(rng: np.random.Generator) -> None:
    measured = rng.normal(size=(50, 6))
    predicted = measured.copy()
    predicted[:, 3:] *= -1
    ceiling = np.array([0.9, 0.5, 0.1, 0.9, np.nan, 0.9])
    area = np.array([True, True, True, False, False, True])
    scope = np.array([True, True, True, True, True, False])
    accuracy = encoder_accuracy(predicted, measured, ceiling, scope=scope, areas={"V1": area})
    assert accuracy.r_over_ceiling == pytest.approx([1 / 0.9, 2, np.nan, -1 / 0.9, np.nan, -1 / 0.9], nan_ok=True)
    assert (accuracy.median_r, accuracy.n_voxels) == (pytest.approx(1), 5)
    r, relative = accuracy.areas["V1"]
    assert (r.median, r.n, relative.median, relative.n) == (pytest.approx(1), 3, pytest.approx((1 / 0.9 + 2) / 2), 2)
    assert accuracy.median_ceiling == pytest.approx(0.7)
    without = encoder_accuracy(predicted, measured)
    assert np.isnan(without.median_r_over_ceiling)
    assert np.isnan(without.median_ceiling)


def test_bad_input_is_refused(rng: np.random.Generator) -> None:
    values = rng.normal(size=(10, 4))
    with pytest.raises(ShapeError, match=r"same shape \[images voxels\], got \(10, 4\) and \(10, 3\)"):
        voxel_correlation(values, values[:, :3])
    with pytest.raises(ShapeError, match="at least 3 images, got 2"):
        voxel_correlation(values[:2], values[:2])
    with pytest.raises(ShapeError, match=r"ceiling needs one value for each of the 4 voxels, got shape \(3,\)"):
        encoder_accuracy(values, values, np.ones(3))
    with pytest.raises(ShapeError, match=r"V1 needs one value for each of the 4 voxels"):
        encoder_accuracy(values, values, areas={"V1": np.ones(5, dtype=bool)})
