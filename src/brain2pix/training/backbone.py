"""Self-supervised training of the bundled backbone, so that features need no download.

Source: Chen, Kornblith, Norouzi, Hinton 2020, SimCLR (arXiv:2002.05709), the NT-Xent loss of eq. 1 on two random views of each image.
What we do differently: a network of 0.25 M parameters, 32-px views, unit variance of each layer before and after training, and a penalty on
channels that repeat each other (`sameness`). Without it the contrast alone leaves fewer independent features than a random network has, and
simulated responses are predicted no better than from random features; with it they are predicted better. Written from the papers; no code
was used.
"""

import json
import time
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.models import BackboneTrainingSettings
from brain2pix.errors import DataFormatError, ShapeError
from brain2pix.events import CancelToken, Finished, Metric, Progress, Started, ignore
from brain2pix.files import atomic_path
from brain2pix.models.backbones import TinyBackbone
from brain2pix.models.feature_networks import FeatureNetwork
from brain2pix.models.scaling import random_start_, unit_variance_
from brain2pix.models.weights import WeightsCard, file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.events import EventSink

STAGE = "backbone"
_REPORT_EVERY = 10
_EPS = 1e-8
_MEASURED = 256  # images on which the last scaling is measured


def train_backbone(
    images: "NDArray[np.uint8]",
    out_dir: "Path",
    settings: BackboneTrainingSettings | None = None,
    sink: "EventSink" = ignore,
    cancel: CancelToken | None = None,
    device: "torch.device | str" = "cpu",
    *,
    sources: "Sequence[str]" = (),
    command: str = "brain2pix.training.backbone.train_backbone",
) -> "Path":
    """Train the small network on images and write ``tiny.safetensors`` (half precision) and its card ``tiny.toml``.

    Parameters
    ----------
    images : uint8 array, [n h w 3]; test and validation images must not be among them
    out_dir : Path
    settings : BackboneTrainingSettings
    sink : EventSink
    cancel : CancelToken or None
    device : torch.device or str
    sources : sequence of str, where the images come from, for the card
    command : str, what remakes the file, for the card

    Returns
    -------
    Path, the weight file

    Raises
    ------
    ShapeError, DataFormatError
        If the images are not uint8 [n h w 3], or too few.
    Cancelled
        If a stop was asked for; nothing is written then.
    """
    settings, cancel = settings or BackboneTrainingSettings(), cancel or CancelToken()
    _check_images(images, settings)
    began = time.monotonic()
    sink(Started(STAGE))
    held = _to_tensor(images, device)
    network = random_start_(TinyBackbone(), settings.seed).to(device)
    losses: list[float] = []
    for step, loss in enumerate(_descend(network, held, settings), start=1):
        cancel.check()
        losses.append(loss)
        if step % _REPORT_EVERY == 0 or step == settings.steps:
            sink(Metric(STAGE, step, "loss", float(np.mean(losses[-_REPORT_EVERY:]))))
            sink(Progress(STAGE, step, settings.steps))
    network.freeze().to("cpu")
    unit_variance_(network, held[:: max(1, len(held) // _MEASURED)][:_MEASURED].cpu().float() / 255)
    path = out_dir / "tiny.safetensors"
    state = {key: value.detach().half().contiguous() for key, value in network.named_parameters()}
    with atomic_path(path) as beside:
        save_file(state, beside)
    card = _card(path, command, _provenance(images, settings, device, losses, sources))
    with atomic_path(out_dir / "tiny.toml") as beside:
        beside.write_text(card_to_toml(card), encoding="utf-8")
    sink(Finished(STAGE, time.monotonic() - began))
    return path


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy: each embedding must find its partner among all others.

    Parameters
    ----------
    first, second : Tensor, [b d], embeddings of two views of the same images
    temperature : float

    Returns
    -------
    Tensor, scalar
    """
    embedding = nnf.normalize(torch.cat([first, second]), dim=1)  # [2b d]
    likeness = embedding @ embedding.t() / temperature
    likeness = likeness.masked_fill(torch.eye(len(embedding), dtype=torch.bool, device=embedding.device), -torch.inf)
    partner = torch.arange(len(embedding), device=embedding.device).roll(len(first))
    return nnf.cross_entropy(likeness, partner)


def sameness(outputs: Tensor) -> Tensor:
    """How much the channels of a convolution repeat each other, are quiet, or lie far from their ReLU's bend.

    Parameters
    ----------
    outputs : Tensor, [b c h w], before ReLU

    Returns
    -------
    Tensor, scalar: sum of squared correlations of each channel with the others, plus what its deviation lacks to 1, plus its squared
        mean, all averaged over channels; 0 where channels are uncorrelated, lively and centred

    References
    ----------
    .. [1] Bardes, Ponce, LeCun 2022, VICReg (arXiv:2105.04906), the covariance and variance terms, here on correlations at each place.
    """
    flat = outputs.permute(1, 0, 2, 3).flatten(1)  # [c n]
    mean = flat.mean(dim=1, keepdim=True)
    flat = flat - mean
    spread = (flat.square().mean(dim=1) + _EPS).sqrt()
    unit = flat / spread.unsqueeze(1)
    correlation = unit @ unit.t() / flat.shape[1]
    others = correlation.square().sum(dim=1) - correlation.diagonal().square()
    return (others + (1 - spread).clamp_min(0) + mean.squeeze(1).square()).mean()


def random_views(images: Tensor, size: int, smallest_crop: float, generator: torch.Generator) -> Tensor:
    """Crop, mirror and recolour images at random.

    Parameters
    ----------
    images : Tensor, [b 3 h w], 0..1
    size : int, edge of the views [px]
    smallest_crop : float, smallest share of the area
    generator : torch.Generator, on the CPU, so that every device sees the same views

    Returns
    -------
    Tensor, [b 3 size size], 0..1
    """
    count = len(images)
    draw = torch.rand(count, 6, generator=generator)
    share = (smallest_crop + (1 - smallest_crop) * draw[:, 0]).sqrt()  # of the edge
    aspect = torch.exp((draw[:, 1] - 0.5) * 0.5)
    half = torch.stack([share * aspect, share / aspect], dim=1).clamp_max(1)  # half extent in -1..1, x and y
    centre = (2 * draw[:, 2:4] - 1) * (1 - half)
    mirror = torch.where(draw[:, 4] < 0.5, 1.0, -1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = half[:, 0] * mirror, half[:, 1], centre
    # twice the size, then averaged: large crops would alias otherwise
    grid = nnf.affine_grid(theta.to(images.device), [count, 3, 2 * size, 2 * size], align_corners=False)
    crops = nnf.avg_pool2d(nnf.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False), 2)
    return _recolour(crops, generator)


def card_to_toml(card: WeightsCard) -> str:
    """Write a card as TOML."""
    values = asdict(card)
    training = values.pop("training")
    # JSON strings, numbers, booleans and flat lists are TOML as they stand
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([*lines, "", "[training]", *(f"{key} = {json.dumps(value)}" for key, value in training.items()), ""])


def _descend(network: FeatureNetwork, images: Tensor, settings: BackboneTrainingSettings) -> "Iterator[float]":
    """Take the gradient steps, giving the loss of each."""
    generator = torch.Generator().manual_seed(settings.seed)
    width = network.tap_shapes(settings.view, (network.encoder_taps[-1],))[0][0]
    head = _projection(width, settings.projection, generator).to(images.device)
    network.requires_grad_(True)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    # what each branch of the encoder reads, before its ReLU, and the top
    taps = (*(tap - 1 for tap in network.encoder_taps), network.encoder_taps[-1])
    for _ in range(settings.steps):
        chosen = torch.randint(len(images), (settings.batch,), generator=generator).to(images.device)
        batch = images[chosen].float() / 255
        views = torch.cat([random_views(batch, settings.view, settings.smallest_crop, generator) for _ in range(2)])
        *outputs, last = network(views, taps)
        first, second = head(last.mean(dim=(2, 3))).chunk(2)
        loss = nt_xent(first, second, settings.temperature)
        if settings.variety:
            loss = loss + settings.variety * torch.stack([sameness(part) for part in outputs]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield float(loss.detach())


def _projection(width: int, size: int, generator: torch.Generator) -> nn.Sequential:
    head = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, size))
    for parameter in head.parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.0
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread
    return head


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change saturation and contrast by up to 20 %, brightness by up to 15 %: more would teach the network to overlook light and colour."""
    draw = 2 * torch.rand(len(images), 3, generator=generator).to(images.device).view(-1, 3, 1, 1, 1) - 1
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (1 + 0.2 * draw[:, 0])
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + 0.2 * draw[:, 1])
    return (images * (1 + 0.15 * draw[:, 2])).clamp(0, 1)


def _check_images(images: "NDArray[np.uint8]", settings: BackboneTrainingSettings) -> None:
    if images.ndim != 4 or images.shape[3] != 3:
        raise ShapeError(f"the backbone trains on images [n h w 3], got {images.shape}")
    if images.dtype != np.uint8:
        raise DataFormatError(f"the backbone trains on uint8 images, got {images.dtype}; scale them to 0..255 first")
    if len(images) < settings.batch:
        raise ShapeError(f"a batch of {settings.batch} needs at least as many images, got {len(images)}")


def _to_tensor(images: "NDArray[np.uint8]", device: "torch.device | str") -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def _provenance(
    images: "NDArray[np.uint8]",
    settings: BackboneTrainingSettings,
    device: "torch.device | str",
    losses: list[float],
    sources: "Sequence[str]",
) -> dict[str, object]:
    return {
        **settings.model_dump(),
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else torch.device(device).type,
        "torch": torch.__version__,
        "first_loss": round(losses[0], 4),
        "last_loss": round(float(np.mean(losses[-50:])), 4),
        "n_images": len(images),
        "image_size": int(images.shape[1]),
        "images_sha256": sha256(np.ascontiguousarray(images).tobytes()).hexdigest(),
        "image_sources": list(sources),
    }


def _card(path: "Path", command: str, training: dict[str, object]) -> WeightsCard:
    return WeightsCard(
        name="tiny",
        title="Small VGG-like network, trained without labels by this project",
        file=path.name,
        sha256=file_sha256(path),
        source=command,
        licence="BSD-3-Clause (this project)",
        paper="Chen et al. 2020, arXiv:2002.05709 (NT-Xent)",
        input_range="0..1, normalised inside with ImageNet mean and standard deviation",
        bundled=True,
        training=training,
    )
