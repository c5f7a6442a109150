"""Gaziv's system at its published size with random weights, ready for the second phase; run as a program, it tells its peak memory."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from brain2pix.arrays import SubjectInfo
from brain2pix.data.training import RepeatedResponses, TrainingData
from brain2pix.events import CancelToken, ignore
from brain2pix.methods._gaziv_decoder import GazivDecoderPhase
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.gaziv import Gaziv
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.models import VGG16Features, VGG19Features
from brain2pix.models.scaling import procedural_images, random_start_

VOXELS, SIZE = 4500, 112
BATCHES = {"decoder.batch_pairs": 6, "decoder.batch_images": 12, "decoder.batch_fmri": 4}


def random_data(n_voxels: int = VOXELS, size: int = SIZE, seed: int = 0) -> TrainingData:
    """Pictures of soft and hard edges, and responses that are noise."""
    rng = np.random.default_rng(seed)
    pictures = (255 * procedural_images(48, size, seed)).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    info = SubjectInfo("sub-01", np.arange(n_voxels), "random", "z-train", 12.0, simulated=True)
    which = np.repeat(np.arange(8), 3)
    shared = rng.standard_normal((8, n_voxels))[which]
    repeats = RepeatedResponses((shared + rng.standard_normal((24, n_voxels))).astype(np.float32), which)
    responses = rng.standard_normal((24, n_voxels)).astype(np.float32)
    index = np.arange(24)
    return TrainingData(info, responses, pictures[:24], index, index, pictures[24:], repeats, None, {})


def random_system(data: TrainingData, seed: int = 0, **changes: object) -> Gaziv:
    """The released system (without the balance of ours), its networks drawn at random; VGG where no other backbones are named."""
    given = BATCHES | {"balance": "fixed"} | changes
    settings = resolve_settings("gaziv", "released", changes=given)
    torch.manual_seed(seed)
    method = make_method("gaziv", settings, [data.subject], data.image_size)
    assert isinstance(method, Gaziv)
    if settings.backbone.name == "vgg19":  # no weight files: they cannot be shipped
        method._backbones[settings.backbone] = random_start_(VGG19Features(), seed)
        method._backbones[settings.image_loss.backbone] = random_start_(VGG16Features(), seed)
    with torch.no_grad():
        for module in method.encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    method.freeze_encoder()
    return method


def ready_phase(method: Gaziv, data: TrainingData) -> GazivDecoderPhase:
    """The second phase at its start."""
    context = TrainingContext(torch.device("cpu"), 0, ignore, CancelToken())
    phase = GazivDecoderPhase(method, data)
    phase.prepare(context)
    phase.initialise(context)
    return phase


def walk(phase: GazivDecoderPhase, optimizer: torch.optim.Optimizer, step: int) -> None:
    """One step, as the training loop takes it."""
    optimizer.zero_grad(set_to_none=True)
    phase.loss(step)["total"].backward()
    optimizer.step()
    phase.after_step(step)


def main(steps: int) -> None:
    """Print the peak resident memory of some steps [GB], and what is resident before them."""
    data = random_data()
    phase = ready_phase(random_system(data), data)
    before = peak_gb()
    optimizer = phase.optimizer()
    for step in range(steps):
        walk(phase, optimizer, step)
    print(json.dumps({"before_gb": before, "peak_gb": peak_gb()}))


def peak_gb() -> float:
    """Most memory that was resident so far; `getrusage` would begin with that of the process which started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
