"""A small system with two phases in which every random generator matters: torch (dropout), numpy (noise) and Python (sign)."""

import random
import time

import numpy as np
import torch
from torch import nn

from brain2pix.arrays import SubjectInfo, VoxelBatch
from brain2pix.config.base import Settings
from brain2pix.data.training import TrainingData
from brain2pix.methods.base import Entry, Method, MethodInfo, Phase
from brain2pix.methods.registry import METHODS

N_VOXELS, SIZE = 12, 4


class ToySettings(Settings):
    n_steps: int = 40
    step_s: float = 0.0
    batch_size: int = 8
    explode: bool = False


class ToyPhase(Phase):
    def __init__(self, name, net, settings, inputs, targets):
        self.name = name
        self.net, self.settings, self.inputs, self.targets = net, settings, inputs, targets
        self.prepared = False

    @property
    def n_steps(self):
        return self.settings.n_steps

    def prepare(self, context):
        torch.rand(3)  # a resumed run must not be disturbed by what it does again
        self.seed, self.prepared, self.cancel = context.seed, True, context.cancel

    def initialise(self, context):
        with torch.no_grad():
            self.net[1].bias.copy_(torch.rand_like(self.net[1].bias))

    def optimizer(self):
        return torch.optim.Adam(self.net.parameters(), lr=0.01, amsgrad=True)

    def learning_rate(self, step):
        return 1.0 if step < self.n_steps // 2 else 0.2

    def loss(self, step):
        assert self.prepared
        time.sleep(self.settings.step_s)
        rows = np.random.default_rng([self.seed, len(self.name), step]).integers(0, len(self.inputs), self.settings.batch_size)
        noise = torch.from_numpy(np.random.standard_normal((len(rows), self.inputs.shape[1])).astype(np.float32))
        self.net.train()
        found = self.net(self.inputs[rows] + 0.1 * noise) * random.choice([0.9, 1.1])
        fit = (found - self.targets[rows]).square().mean()
        bad = torch.tensor(float("nan")) if self.settings.explode and step == 5 else 0.0
        return {"total": fit + bad, "fit": fit}

    def after_step(self, step):
        """What follows the parameters in closed form, as far as it goes between two questions whether to stop."""
        if (step + 1) % 5 == 0:
            noise = torch.rand_like(self.net[1].bias)
            self.cancel.check()
            with torch.no_grad():
                self.net[1].bias.copy_(self.net[1].weight.mean(dim=1) + 0.01 * noise)

    def preview(self):
        torch.rand(100)  # must not change what comes after
        return torch.rand(3, 3, SIZE, SIZE)


class Toy(Method):
    name, title = "toy", "Toy"

    def __init__(self, settings, subjects, image_size):
        super().__init__(settings, subjects, image_size)
        pixels = 3 * image_size * image_size
        self.encoder = nn.Sequential(nn.Dropout(0.5), nn.Linear(pixels, subjects[0].n_voxels))
        self.decoder = nn.Sequential(nn.Dropout(0.5), nn.Linear(subjects[0].n_voxels, pixels), nn.BatchNorm1d(pixels))

    @property
    def info(self):
        return MethodInfo(self.name, self.title, self.image_size, self.subjects, has_encoder=True)

    def phases(self, data):
        images = torch.from_numpy(data.images[data.image_index].reshape(len(data.responses), -1)).float() / 255
        responses = torch.from_numpy(data.responses)
        yield ToyPhase("encoder", self.encoder, self.settings, images, responses)
        yield ToyPhase("decoder!", self.decoder, self.settings, responses, images)

    def decode(self, voxels):
        self.check_voxels(voxels)
        self.decoder.eval()
        with torch.no_grad():
            return self.decoder(voxels.values).sigmoid().view(-1, 3, self.image_size, self.image_size)

    def encode(self, images):
        return VoxelBatch(self.encoder.eval()(images.flatten(1)))

    def state_dict(self):
        return nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder}).state_dict()

    def load_state_dict(self, state):
        nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder}).load_state_dict(state)


def register():
    METHODS["toy"] = Entry("toy_method:Toy", "toy_method:ToySettings", "Toy")


def toy_data(seed=0, n_voxels=N_VOXELS):
    rng = np.random.default_rng(seed)
    info = SubjectInfo("sub-01", np.arange(n_voxels), f"hash-{n_voxels}", "z-train", 12.0, True)
    return TrainingData(
        subject=info,
        responses=rng.standard_normal((30, n_voxels)).astype(np.float32),
        images=rng.integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8),
        image_index=rng.integers(0, 20, 30),
        groups=np.arange(20),
        unpaired=rng.integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8),
        repeats=None,
        voxel_xyz=None,
        areas={},
    )
