"""Response losses: least at equality, and against numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from brain2pix.losses import alpha_mse_cosine, mse_cosine, snr_l1_cosine, snr_weights


@pytest.fixture
def responses() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 9, generator=generator), torch.randn(4, 9, generator=generator)


@pytest.mark.parametrize("loss", [mse_cosine, alpha_mse_cosine, snr_l1_cosine])
def test_nothing_is_better_than_equality(loss: Callable[..., torch.Tensor], responses: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, measured = responses
    best = loss(measured, measured).item()
    generator = torch.Generator().manual_seed(1)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            assert loss(measured + size * torch.randn(measured.shape, generator=generator), measured).item() > best


def test_values_agree_with_scipy(responses: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, measured = responses
    a, b = predicted.double().numpy(), measured.double().numpy()
    distance = np.mean([cosine(x, y) for x, y in zip(a, b, strict=True)])
    mse, snr = np.mean((a - b) ** 2), np.linspace(0.5, 1.5, 9)
    assert mse_cosine(predicted, measured).item() == pytest.approx(mse + 0.3 * distance / 2, rel=1e-5)
    assert alpha_mse_cosine(predicted, measured, 0.9).item() == pytest.approx(0.9 * mse - 0.1 * (1 - distance), rel=1e-5)
    weighted = snr_l1_cosine(predicted, measured, torch.from_numpy(snr).float()).item()
    assert weighted == pytest.approx(np.mean(snr * np.abs(a - b)) + 0.2 * distance / 2, rel=1e-5)


def test_snr_weights_average_to_one_and_are_never_negative() -> None:
    weights = snr_weights(torch.tensor([-1.0, 0.0, 1.0, 3.0]))
    assert weights.tolist() == pytest.approx([0, 0, 1, 3])
    assert snr_weights(torch.zeros(3)).isfinite().all()
