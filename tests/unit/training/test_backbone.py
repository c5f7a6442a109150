"""Self-supervised training of the small backbone."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from brain2pix.config.models import BackboneTrainingSettings
from brain2pix.errors import DataFormatError, ShapeError
from brain2pix.events import Cancelled, CancelToken, Event, Finished, Metric, Progress, Started
from brain2pix.models import load_backbone
from brain2pix.models.scaling import procedural_images
from brain2pix.models.weights import card_from_toml, file_sha256
from brain2pix.training.backbone import nt_xent, random_views, sameness, train_backbone

QUICK = BackboneTrainingSettings(steps=30, batch=24, view=16, seed=1)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return (procedural_images(120, 32, seed=0).permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)


def test_loss_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)
    z = torch.cat([first, second]).double().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i in range(6):
        likeness = [math.exp(z[i] @ z[j] / 0.5) for j in range(6)]
        total -= math.log(likeness[(i + 3) % 6] / (sum(likeness) - likeness[i])) / 6
    assert nt_xent(first, second, 0.5).item() == pytest.approx(total, rel=1e-5)


def test_loss_falls_with_agreement_and_is_chance_without() -> None:
    apart = torch.eye(8)
    assert nt_xent(apart, apart, 0.05).item() < 1e-6
    same = torch.ones(8, 8)
    assert nt_xent(same, same, 0.15).item() == pytest.approx(math.log(15), rel=1e-5)


def test_sameness_is_nothing_for_independent_lively_centred_channels() -> None:
    # sines of different whole frequencies are exactly uncorrelated
    phase = torch.arange(64.0) * 2 * math.pi / 64
    waves = 2**0.5 * torch.stack([torch.sin(frequency * phase) for frequency in (1, 2, 3)]).view(1, 3, 8, 8)
    assert sameness(waves).item() == pytest.approx(0, abs=1e-5)
    # shifted by a half: its squared mean; half as large: what its deviation lacks; one channel of the three each
    changed = waves.clone()
    changed[:, 1] += 0.5
    changed[:, 2] *= 0.5
    assert sameness(changed).item() == pytest.approx((0.25 + 0.5) / 3, rel=1e-4)
    assert sameness(3 * waves).item() == pytest.approx(0, abs=1e-5)  # larger is not punished


def test_sameness_counts_squared_correlations() -> None:
    channels = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    flat = channels.permute(1, 0, 2, 3).flatten(1).double().numpy()
    correlation = np.corrcoef(flat)
    expected = (correlation**2).sum(1) - 1 + np.maximum(1 - flat.std(1), 0) + flat.mean(1) ** 2
    assert sameness(channels).item() == pytest.approx(expected.mean(), rel=1e-4)


def test_a_silent_channel_costs_and_keeps_gradients_finite() -> None:
    silent = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = sameness(silent)
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-3)
    assert silent.grad is not None and silent.grad.isfinite().all()


def test_training_without_the_penalty_leaves_channels_more_alike(images: np.ndarray, tmp_path: Path) -> None:
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    alike = []
    for variety in (0.0, 1.0):
        path = train_backbone(images, tmp_path / str(variety), QUICK.with_changes({"variety": variety}))
        outputs = load_backbone("tiny", path)(pictures, (2, 7, 12, 17))
        alike.append(sum(sameness(part).item() for part in outputs))
    assert alike[1] < 0.8 * alike[0]


def test_views_of_one_colour_stay_flat() -> None:
    flat = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(12, 3, 20, 20)
    views = random_views(flat, 16, 0.1, torch.Generator().manual_seed(0))
    assert views.shape == (12, 3, 16, 16)
    assert (views.amax(dim=(2, 3)) - views.amin(dim=(2, 3))).max() < 1e-5
    assert views.mean(dim=(2, 3)).std(0).min() > 0.01  # but each has its own light


def test_views_are_crops_and_mirror_images() -> None:
    ramp = torch.linspace(0.3, 0.6, 40).view(1, 1, 1, 40).expand(60, 3, 40, 40).contiguous()
    views = random_views(ramp, 16, 0.1, torch.Generator().manual_seed(0))
    assert views.diff(dim=2).abs().max() < 1e-4  # never turned: no change from row to row
    steps = views.diff(dim=3).mean(dim=(1, 2, 3))
    assert 10 < int((steps > 0).sum()) < 50  # both ways round
    assert steps.abs().max() / steps.abs().min() > 2  # at several sizes
    assert views.min() >= 0
    assert views.max() <= 1


def test_views_follow_the_generator() -> None:
    picture = procedural_images(3, 32, seed=0)
    first, again, other = (random_views(picture, 16, 0.1, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("device", DEVICES)
def test_training_writes_a_file_that_loads(images: np.ndarray, tmp_path: Path, device: str) -> None:
    events: list[Event] = []
    sources = ['noise "1"', "münchen"]
    path = train_backbone(images, tmp_path / "out", QUICK, events.append, device=device, sources=sources, command="make it")
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny.safetensors", "tiny.toml"]
    assert path.stat().st_size < 600_000
    card = card_from_toml((path.parent / "tiny.toml").read_text())
    assert card.sha256 == file_sha256(path)
    assert card.source == "make it"
    assert card.training["image_sources"] == sources
    assert card.training["steps"] == 30
    assert card.training["seed"] == 1
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert [event.done for event in events if isinstance(event, Progress)] == [10, 20, 30]
    losses = [event.value for event in events if isinstance(event, Metric)]
    assert losses[-1] < losses[0] - 0.1
    # its layers have unit variance, up to half precision
    spreads: list[float] = []
    network = load_backbone("tiny", path)
    for module in network.features:
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: spreads.append(float(output.std())))
    network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, (18,))
    assert spreads == pytest.approx([1.0] * 8, rel=0.02)


def test_same_seed_same_file_other_seed_other_file(images: np.ndarray, tmp_path: Path) -> None:
    short = QUICK.with_changes({"steps": 3})
    digests = [
        file_sha256(train_backbone(images, tmp_path / str(run), settings))
        for run, settings in enumerate((short, short, short.with_changes({"seed": 2})))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_cancelling_writes_nothing(images: np.ndarray, tmp_path: Path) -> None:
    token = CancelToken()

    def stop_soon(event: Event) -> None:
        if isinstance(event, Progress):
            token.cancel()

    with pytest.raises(Cancelled):
        train_backbone(images, tmp_path / "out", QUICK, stop_soon, token)
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_trained_on(images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"\[n h w 3\], got \(120, 32, 32\)"):
        train_backbone(images[..., 0], tmp_path)
    with pytest.raises(DataFormatError, match="uint8 images, got float32"):
        train_backbone(images.astype(np.float32), tmp_path)
    with pytest.raises(ShapeError, match="a batch of 24 needs at least as many images, got 5"):
        train_backbone(images[:5], tmp_path, QUICK)
    assert not list(tmp_path.iterdir())


def test_card_is_valid_toml(images: np.ndarray, tmp_path: Path) -> None:
    train_backbone(images, tmp_path, QUICK.with_changes({"steps": 1}), sources=["a\\b", "line\nbreak"])
    values = tomllib.loads((tmp_path / "tiny.toml").read_text())
    assert values["training"]["image_sources"] == ["a\\b", "line\nbreak"]
    assert values["training"]["n_images"] == 120
