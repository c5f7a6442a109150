"""The only training loop. It knows nothing of any system; the system knows nothing of devices, files and clocks.

What makes a resumed run equal to an uninterrupted one: the data of a step follow from (seed, phase, step) alone, every random generator
is saved with the weights and the optimizer, and nothing that depends on the clock (events, previews, checkpoints) touches either.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from brain2pix.config.training import TrainingSettings
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError
from brain2pix.events import Cancelled, Finished, Message, Metric, Preview, Progress, Started, Stopped
from brain2pix.files import is_disk_full
from brain2pix.training.checkpoint import (
    Checkpoint,
    CheckpointFolder,
    Position,
    load_optimizer,
    pack_optimizer,
    random_state,
    set_random_state,
)
from brain2pix.training.pictures import tile, write_png
from brain2pix.training.run_folder import RunFolder, versions
from brain2pix.training.throttle import Throttle

if TYPE_CHECKING:
    from torch import Tensor

    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import Method, Phase, TrainingContext

Outcome = Literal["finished", "cancelled"]
_THREADS = "threads"  # beside the versions in a checkpoint


def seed_everything(seed: int, name: str) -> None:
    """Seed torch, numpy and Python from a number and a name (of a phase, or of what is made)."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)  # all devices
    np.random.seed(int.from_bytes(digest[8:12], "little"))
    random.seed(digest)


def train(
    method: "Method", data: "TrainingData", context: "TrainingContext", run_folder: RunFolder, settings: TrainingSettings | None = None
) -> Outcome:
    """Train a system phase by phase, or go on where the run folder's newest whole checkpoint stands, and save it.

    Parameters
    ----------
    method : Method, untrained; make it right after `seed_everything`, so that its start is reproducible
    data : TrainingData
    context : TrainingContext
    run_folder : RunFolder
    settings : TrainingSettings or None for the defaults

    Returns
    -------
    "finished", with the trained system in `run_folder.model`; or "cancelled", with a checkpoint to go on from

    Raises
    ------
    ConfigError
        If the run folder holds a checkpoint of other settings or data.
    ComputeError
        If the loss is not finite, or the disk is full when the final model is saved.
    """
    return _Loop(method, data, context, run_folder, settings or TrainingSettings()).run()


def data_hash(data: "TrainingData") -> str:
    """Fingerprint of what a run trains on: all responses, which image each trial showed, and the images."""
    digest = hashlib.sha256(data.subject.voxel_hash.encode())
    for array in (data.responses, data.image_index, data.images):
        digest.update(np.ascontiguousarray(array).data)
    if data.repeats is not None:
        digest.update(np.ascontiguousarray(data.repeats.values).data)
    if data.unpaired is not None:  # may be too big to read whole
        digest.update(str(data.unpaired.shape).encode())
        digest.update(np.ascontiguousarray(data.unpaired[:: max(1, len(data.unpaired) // 64)]).data)
    return digest.hexdigest()


class _Loop:
    def __init__(
        self, method: "Method", data: "TrainingData", context: "TrainingContext", run_folder: RunFolder, settings: TrainingSettings
    ) -> None:
        self.method = method
        self.data = data
        self.context = context
        self.folder = run_folder
        self.settings = settings
        self.sink = Throttle(context.sink, settings.events_per_second)
        self.checkpoints = CheckpointFolder(run_folder.checkpoints, settings.checkpoints_kept)
        self.attempt = run_folder.attempt()
        self.fingerprint: dict[str, str] = {}
        self.saved_step = 0
        self.saved_s = time.monotonic()

    def run(self) -> Outcome:
        position = Position(0)
        n_threads = torch.get_num_threads()
        try:
            with _deterministic(self.settings.deterministic and self.context.device.type == "cuda"):
                self.context.cancel.check()
                if self.settings.precision == "bf16" and self.context.device.type != "cuda":
                    self.sink(Message("warning", f"bf16 is for CUDA; on {self.context.device} training stays in float32"))
                self.fingerprint = self._fingerprint()
                self.method.to(self.context.device)
                # listed before a checkpoint is loaded, as in a run that was never interrupted
                seed_everything(self.context.seed, "phases")
                phases = list(self.method.phases(self.data))
                newest = self._resume()
                position = newest.position if newest else position
                for index in range(position.phase, len(phases)):
                    self._run_phase(phases[index], index, newest)
                    newest = None
        except Cancelled:
            return "cancelled"
        finally:
            torch.set_num_threads(n_threads)
        self.folder.save_model(self.method)
        if not self.settings.keep_when_finished:
            self.checkpoints.remove()
        return "finished"

    # ------------------------------------------------------------------ one phase

    def _run_phase(self, phase: "Phase", index: int, newest: Checkpoint | None) -> None:
        began_s = time.monotonic()
        self.sink(Started(phase.name))
        try:
            seed_everything(self.context.seed, f"{index}/{phase.name}")
            phase.prepare(self.context)
            self.context.cancel.check()
            step = self._begin(phase, index, newest)
            if phase.n_steps > 0:
                self._steps(phase, index, step, newest)
            phase.finish(self.context)
        except Cancelled:
            self.sink(Stopped(phase.name))
            raise
        self._save(Position(index + 1), None, phase.name)
        self.sink(Finished(phase.name, time.monotonic() - began_s))

    def _begin(self, phase: "Phase", index: int, newest: Checkpoint | None) -> int:
        """Give the step to go on from; the closed-form start runs only if it has not."""
        if newest is not None and newest.position.step >= 0:
            return newest.position.step
        # apart from `prepare`, which a resumed run repeats in another state
        seed_everything(self.context.seed, f"{index}/{phase.name}/initialise")
        phase.initialise(self.context)
        return 0

    def _steps(self, phase: "Phase", index: int, step: int, newest: Checkpoint | None) -> None:
        optimizer = phase.optimizer()
        if optimizer is None:
            raise ConfigError(f"phase {phase.name!r} of {self.method.name} has {phase.n_steps} steps but no optimizer")
        base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        if newest is not None and newest.optimizer is not None:
            load_optimizer(optimizer, newest.optimizer)
            set_random_state(newest.random)
        else:
            seed_everything(self.context.seed, f"{index}/{phase.name}/steps")
        self.saved_step = step
        previews = self._preview_steps(phase.n_steps)
        if newest is not None and newest.position.pending:
            self._finish_step(phase, index, step - 1, optimizer)
        while step < phase.n_steps:
            if self.context.cancel.cancelled():
                self._save(Position(index, step), optimizer, phase.name)
                raise Cancelled
            self._one_step(phase, index, step, optimizer, base_rates)
            step += 1
            if step in previews:
                self._preview(phase, step)
            if step < phase.n_steps and self._checkpoint_due(step):
                self._save(Position(index, step), optimizer, phase.name)

    def _one_step(self, phase: "Phase", index: int, step: int, optimizer: torch.optim.Optimizer, base_rates: list[float]) -> None:
        factor = phase.learning_rate(step)
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            terms = phase.loss(step)
        total = terms["total"]
        last = step + 1 == phase.n_steps
        # reading a number waits for the device, so a GPU is asked only when somebody will see the answer
        if total.device.type == "cpu" or last or self.sink.due():
            self._check_finite(phase, step, terms)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self._finish_step(phase, index, step, optimizer)
        if last or self.sink.due():
            for name, term in terms.items():
                self.sink(Metric(phase.name, step + 1, name, float(term.detach())))
            self.sink(Progress(phase.name, step + 1, phase.n_steps))

    def _finish_step(self, phase: "Phase", index: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Do what follows a step. It may take long, and a wish to stop may come while it does: the step itself is saved then."""
        before = random_state()
        try:
            phase.after_step(step)
        except Cancelled:
            set_random_state(before)
            self._save(Position(index, step + 1, pending=True), optimizer, phase.name)
            raise

    def _check_finite(self, phase: "Phase", step: int, terms: "dict[str, Tensor]") -> None:
        if not bool(torch.isfinite(terms["total"].detach())):
            values = ", ".join(f"{name} {float(term.detach()):.4g}" for name, term in terms.items())
            raise ComputeError(
                f"the loss of phase {phase.name!r} is not finite at step {step + 1} ({values}). "
                "Lower the learning rate or check the responses for extreme values."
            )

    def _autocast(self) -> torch.autocast:
        on = self.settings.precision == "bf16" and self.context.device.type == "cuda"
        return torch.autocast(self.context.device.type, dtype=torch.bfloat16, enabled=on)

    # ------------------------------------------------------------------ saving and going on

    def _fingerprint(self) -> dict[str, str]:
        return {
            "method": self.method.name,
            "settings": self.method.settings.model_dump_json(),
            "seed": str(self.context.seed),
            "precision": self.settings.precision,
            "data": data_hash(self.data),
            "job": str(self.folder.read_job().get("hash", "")),
        }

    def _resume(self) -> Checkpoint | None:
        newest = self.checkpoints.load_newest(lambda text: self.sink(Message("warning", text)))
        if newest is None:
            return None
        differs = [key for key, value in self.fingerprint.items() if newest.fingerprint.get(key) != value]
        if differs:
            raise ConfigError(
                f"{self.folder.path} holds a checkpoint of another run: {', '.join(differs)} changed. "
                "Choose another folder, or remove this one to start again."
            )
        self.method.load_state_dict(newest.model)
        self.method.to(self.context.device)
        self._take_threads(newest.versions.get(_THREADS, ""))
        where = f"phase {newest.position.phase + 1}, step {max(newest.position.step, 0)}"
        self.sink(Message("info", f"going on from the checkpoint at {where}"))
        return newest

    def _take_threads(self, before: str) -> None:
        """Compute with as many threads as before the interruption: sums that are split otherwise differ in their last digits."""
        if self.context.device.type == "cpu" and before.isdigit() and int(before) != torch.get_num_threads():
            self.sink(Message("info", f"computing with {before} thread(s) as before, for the same result to the last digit"))
            torch.set_num_threads(int(before))

    def _checkpoint_due(self, step: int) -> bool:
        every = self.settings.checkpoint_every_steps
        return (
            every is not None and step - self.saved_step >= every
        ) or time.monotonic() - self.saved_s >= self.settings.checkpoint_every_s

    def _save(self, position: Position, optimizer: torch.optim.Optimizer | None, stage: str) -> None:
        """Save a checkpoint; a full disk is reported and training goes on, since the earlier ones are intact."""
        if self.folder.attempt() > self.attempt:
            raise ComputeError(f"another process has taken over {self.folder.path}; this one stops without touching it")
        checkpoint = Checkpoint(
            position,
            self.method.state_dict(),
            None if optimizer is None else pack_optimizer(optimizer),
            random_state(),
            self.fingerprint,
            {**versions(), _THREADS: str(torch.get_num_threads())},
        )

        def save() -> None:
            file = self.checkpoints.save(checkpoint)
            self.sink(Message("debug", f"checkpoint {file.name}: {stage}, step {max(position.step, 0)}"))

        self._or_warn(save, "checkpoint not saved, training goes on")
        self.saved_step, self.saved_s = position.step, time.monotonic()

    def _preview_steps(self, n_steps: int) -> set[int]:
        wanted = self.settings.previews
        return {round(n_steps * (k + 1) / wanted) for k in range(wanted)} if wanted else set()

    def _preview(self, phase: "Phase", step: int) -> None:
        state = random_state()
        with torch.no_grad():
            images = phase.preview()
        set_random_state(state)
        if images is None:
            return
        pixels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        file = self.folder.previews / f"{phase.name}-{step:06d}.png"

        def save() -> None:
            write_png(file, tile(pixels))
            self.sink(Preview(phase.name, step, str(file.relative_to(self.folder.path))))

        self._or_warn(save, "preview not saved")

    def _or_warn(self, save: Callable[[], None], what: str) -> None:
        try:
            save()
        except (Brain2PixError, OSError) as error:
            if not is_disk_full(error):
                raise
            self.sink(Message("warning", f"{what}: {error}"))


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Ask torch for algorithms that repeat themselves; the CPU's do anyway."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
