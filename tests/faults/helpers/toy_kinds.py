"""Kinds of jobs that can be killed, hang, and run out of memory; registered in the tests and, as a preload of dask, in the workers."""

import ctypes
import os
import resource
import sys
import time
from pathlib import Path

import toy_job

from brain2pix.compute.context import Prepared
from brain2pix.compute.kinds import KINDS, Kind
from brain2pix.config.base import Settings
from brain2pix.config.training import TrainingSettings
from brain2pix.events import Cancelled


class HangParams(Settings):
    hold_gil: bool = False


class ToyTrainParams(Settings):
    n_steps: int = 40
    step_s: float = 0.0
    checkpoint_every_steps: int = 7
    die_each_attempt: bool = False


class HungryParams(Settings):
    batch: int = 64
    megabytes_each: int = 64
    limit_megabytes: int = 1500


def hang(params):
    def run(context):
        with context.stage("hang"):
            if params.hold_gil:  # as a library does that computes in C without letting go of Python
                ctypes.PyDLL(None).sleep(600)
            while True:
                time.sleep(1)

    return Prepared({}, run)


def toy_train(params):
    import torch
    from toy_method import ToySettings, register, toy_data

    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.registry import make_method
    from brain2pix.training.engine import seed_everything, train

    register()
    data = toy_data()

    def run(context):
        if params.die_each_attempt:
            os.kill(os.getpid(), 9)
        seed_everything(3, "make")
        settings = ToySettings(n_steps=params.n_steps, step_s=params.step_s)
        method = make_method("toy", settings, [data.subject], data.image_size)
        surroundings = TrainingContext(torch.device("cpu"), 3, context.sink, context.cancel)
        training = TrainingSettings(checkpoint_every_steps=params.checkpoint_every_steps, checkpoint_every_s=1000, events_per_second=100)
        if train(method, data, surroundings, context.folder, training) == "cancelled":
            raise Cancelled

    return Prepared({"settings": {"decoder": {"batch": 8}}}, run)


def hungry(params):
    """Take memory as a training does, under a limit of the operating system: the allocator of torch fails as it does on a full machine."""
    import torch

    from brain2pix.compute.device import memory_reported

    def run(context):
        before = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + params.limit_megabytes * 2**20, before[1]))
        try:
            with memory_reported(torch.device("cpu"), params), context.stage("hungry"):
                torch.zeros(params.batch * params.megabytes_each * 2**20, dtype=torch.uint8)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return Prepared({"settings": params.model_dump()}, run)


def register():
    toy_job.register()
    KINDS["hang"] = Kind("toy_kinds:hang", HangParams)
    KINDS["toy_train"] = Kind("toy_kinds:toy_train", ToyTrainParams)
    KINDS["hungry"] = Kind("toy_kinds:hungry", HungryParams)


if "distributed.nanny" in sys.modules or "distributed.worker" in sys.modules:
    register()
