"""What we promise about speed, each against the straightforward way, side by side in one run. `make bench` runs them."""

import numpy as np
import pytest
import torch

from brain2pix.config.models import EncoderSettings
from brain2pix.evaluation import exact_identification
from brain2pix.models import SeparableEncoder, load_backbone
from brain2pix.prf import gradient_maps

SIZE, VOXELS = 64, 300


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    backbone = load_backbone("tiny")
    shapes = backbone.tap_shapes(SIZE, backbone.encoder_taps)
    head = SeparableEncoder(VOXELS, shapes, SIZE, EncoderSettings(channels=16)).eval()
    return backbone, head


@pytest.fixture(scope="module")
def features(encoder):
    backbone, head = encoder
    with torch.no_grad():
        return head.branch_features(head.compact(backbone(torch.rand(64, 3, SIZE, SIZE))))


@pytest.mark.benchmark(group="readout of an encoder: 64 images, forward and backward to the features")
@pytest.mark.parametrize("way", ["factorised", "folded"])
def test_readout(benchmark, encoder, features, way):
    _, head = encoder
    readout = head.readout_folded if way == "folded" else head.readout_factorised

    def step():
        inputs = [part.clone().requires_grad_() for part in features]
        readout(inputs).square().mean().backward()

    benchmark(step)


@pytest.mark.benchmark(group="receptive fields of all voxels: 1 image")
@pytest.mark.parametrize("chunk", [1, 64], ids=["one by one", "batched"])
def test_receptive_fields(benchmark, encoder, chunk):
    backbone, head = encoder
    images = torch.rand(1, 3, SIZE, SIZE)
    benchmark.pedantic(lambda: gradient_maps(lambda x: head(backbone(x)), images, VOXELS, chunk=chunk), rounds=1)


@pytest.mark.benchmark(group="10-way identification of 50 images: 5,000 draws, or all of them")
@pytest.mark.parametrize("way", ["drawn", "exact"])
def test_identification(benchmark, way):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 50)) + 2 * np.eye(50)

    def drawn():
        hits = 0
        for _ in range(5000):
            image = rng.integers(50)
            others = rng.choice(np.delete(np.arange(50), image), 9, replace=False)
            hits += scores[image, image] > scores[image, others].max()
        return hits / 5000

    benchmark(drawn if way == "drawn" else lambda: exact_identification(scores, 10).mean())
