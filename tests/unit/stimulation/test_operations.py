import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.stimulation import stimulate, stimulate_batch

MASK = np.array([True, False, True, False])


@pytest.mark.parametrize(
    ("mode", "amplitude", "expected"),
    [
        ("set", 2.0, [2, -1, 2, 4]),
        ("add", 2.0, [3, -1, 5, 4]),
        ("scale", -2.0, [-2, -1, -6, 4]),
        ("silence", 7.0, [0, -1, 0, 4]),
    ],
)
def test_operations_change_the_masked_voxels_only(mode: str, amplitude: float, expected: list[float]) -> None:
    values = np.array([[1.0, -1.0, 3.0, 4.0]], dtype=np.float32)
    assert stimulate(values, MASK, mode, amplitude).tolist() == [expected]
    assert values.tolist() == [[1, -1, 3, 4]]  # left as it was
    tensor = torch.from_numpy(values.copy())
    assert stimulate(tensor, MASK, mode, amplitude).tolist() == [expected]
    assert tensor.tolist() == [[1, -1, 3, 4]]


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4)])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_lags_types_and_an_amplitude_per_pattern(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> None:
    values = rng.normal(size=shape).astype(np.float32)
    given = values if kind == "numpy" else torch.from_numpy(values)
    changed = stimulate(given, MASK, "add", np.array([1.0, 2.0, 0.0]))
    assert type(changed) is type(given)
    assert changed.dtype == given.dtype
    difference = np.asarray(changed) - values
    for row, expected in enumerate((1, 2, 0)):
        assert difference[row, ..., MASK] == pytest.approx(expected, abs=1e-6)
    assert (difference[..., ~MASK] == 0).all()


def test_gradients_pass_through() -> None:
    values = torch.ones(1, 4, requires_grad=True)
    stimulate(values, MASK, "scale", 3.0).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[3, 1, 3, 1]]


def test_batch_keeps_its_subjects_and_unit() -> None:
    batch = VoxelBatch(torch.zeros(2, 4), ("sub-01", "sub-01"), "percent")
    changed = stimulate_batch(batch, MASK, "set", 1.0)
    assert (changed.subjects, changed.unit) == (batch.subjects, "percent")
    assert changed.values.sum() == 4
    assert batch.values.sum() == 0


@pytest.mark.parametrize(
    ("mask", "mode", "amplitude", "error", "text"),
    [
        (MASK, "ad", 1.0, ConfigError, r"unknown stimulation mode 'ad'\. Did you mean 'add'"),
        (MASK[:3], "add", 1.0, ShapeError, r"one true/false for each of the 4 voxels, got bool \(3,\)"),
        (MASK.astype(int), "add", 1.0, ShapeError, r"one true/false for each of the 4 voxels, got int64"),
        (~(MASK | ~MASK), "add", 1.0, ConfigError, "the stimulated region has no voxel"),
        (MASK, "add", float("inf"), ConfigError, "the amplitude must be a number, got inf"),
        (MASK, "add", np.ones(3), ShapeError, r"an amplitude for each pattern needs 2 values, got shape \(3,\)"),
    ],
)
def test_bad_input_is_refused(mask: np.ndarray, mode: str, amplitude: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        stimulate(np.zeros((2, 4)), mask, mode, amplitude)  # type: ignore[arg-type]
