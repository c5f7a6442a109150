"""A small subject with planted Gaussian receptive fields, made without the simulator."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from brain2pix.arrays import SubjectInfo
from brain2pix.data.training import RepeatedResponses, TrainingData
from brain2pix.events import CancelToken

FIELD = 12.0


@dataclass
class Planted:
    data: TrainingData
    x_deg: np.ndarray
    y_deg: np.ndarray
    test_images: np.ndarray  # uint8 [m h w 3], not part of `data`
    test_means: np.ndarray  # [m v]


def make_planted(n_voxels=60, n_train=96, n_test=12, n_unpaired=64, n_repeats=5, size=32, noise=0.5, n_groups=8, seed=0):
    """Responses = Gaussian-weighted luminance or red minus green, z-scored, plus noise; ragged repeats."""
    rng = np.random.default_rng(seed)

    def pictures(n):
        fields = ndimage.gaussian_filter(rng.standard_normal((n, size, size, 3)), (0, size / 12, size / 12, 0), mode="wrap")
        fields = fields / fields.std(axis=(1, 2, 3), keepdims=True) * 0.22 + 0.5 + rng.normal(0, 0.08, (n, 1, 1, 3))
        return (fields.clip(0, 1) * 255).round().astype(np.uint8)

    x_deg, y_deg = rng.uniform(-4.5, 4.5, (2, n_voxels))
    axis = (np.arange(size) + 0.5) / size * FIELD - FIELD / 2
    columns, rows = np.meshgrid(axis, -axis)
    fields = np.exp(-((columns - x_deg[:, None, None]) ** 2 + (rows - y_deg[:, None, None]) ** 2) / (2 * 0.9**2))
    fields /= fields.sum(axis=(1, 2), keepdims=True)
    colour = np.where(np.arange(n_voxels)[:, None] % 3 == 0, [1, -1, 0], [0.4, 0.4, 0.2])

    def respond(images):
        return np.einsum("nhwc,vhw,vc->nv", images / 255, fields, colour, optimize=True)

    train, test = pictures(n_train), pictures(n_test)
    signal, test_signal = respond(train), respond(test)
    mean, sd = signal.mean(axis=0), signal.std(axis=0)
    z = (signal - mean) / sd + noise * rng.standard_normal(signal.shape)
    counts = np.full(n_test, n_repeats)
    counts[::3] -= 1  # ragged
    which = np.repeat(np.arange(n_test), counts)
    trials = ((test_signal - mean) / sd)[which] + noise * rng.standard_normal((len(which), n_voxels))
    repeats = RepeatedResponses(trials.astype(np.float32), which)
    info = SubjectInfo("sub-01", np.arange(n_voxels), "planted", "z-train", FIELD, simulated=True)
    data = TrainingData(
        subject=info,
        responses=z.astype(np.float32),
        images=train,
        image_index=np.arange(n_train),
        groups=np.arange(n_train) % n_groups,
        unpaired=pictures(n_unpaired),
        repeats=repeats,
        voxel_xyz=None,
        areas={"V1": np.arange(n_voxels) < n_voxels // 2},
    )
    return Planted(data, x_deg, y_deg, test, repeats.mean())


@pytest.fixture(scope="session")
def planted():
    return make_planted()


@pytest.fixture
def context():
    import torch

    from brain2pix.methods.base import TrainingContext

    events = []
    made = TrainingContext(torch.device("cpu"), 0, events.append, CancelToken())
    object.__setattr__(made, "events", events)
    return made
