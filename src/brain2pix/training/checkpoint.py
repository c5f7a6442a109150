"""Checkpoints: tensors and JSON only, written beside and then renamed, two kept, each with its sha256.

A checkpoint holds everything that decides the rest of a run: the system, the optimizer, the state of every random generator, phase and
step, and, so that it is never mixed with another run, the fingerprint of job, settings and data.
"""

import hashlib
import json
import random
import re
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import torch

from brain2pix.errors import DataFormatError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

FORMAT = 1
_NAME = re.compile(r"checkpoint-(\d{6})\.pt")


@dataclass(frozen=True)
class Position:
    """Where training stands.

    Parameters
    ----------
    phase : int, phases before it are complete
    step : int, steps of it that are done; -1: it has not begun (not even its closed-form start)
    pending : bool, whether what follows the last of these steps (`Phase.after_step`) was interrupted
    """

    phase: int
    step: int = -1
    pending: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """Everything that decides the rest of a run.

    Parameters
    ----------
    position : Position
    model : dict of Tensor, what `Method.state_dict` gave
    optimizer : dict of Tensor and its JSON remainder, see `pack_optimizer`; None between phases
    random : dict of Tensor, see `random_state`
    fingerprint : dict of str, what must be the same when the run goes on: method, settings, data, job
    versions : dict of str, for people
    """

    position: Position
    model: "dict[str, Tensor]"
    optimizer: "tuple[dict[str, Tensor], dict[str, Any]] | None"
    random: "dict[str, Tensor]"
    fingerprint: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)


class CheckpointFolder:
    """The newest checkpoints of one run.

    Parameters
    ----------
    path : Path
    kept : int, how many stay
    """

    def __init__(self, path: "Path", kept: int = 2) -> None:
        self.path = path
        self.kept = kept

    def files(self) -> "list[Path]":
        """Checkpoints from old to new."""
        return sorted(file for file in self.path.glob("checkpoint-*.pt") if _NAME.fullmatch(file.name))

    def save(self, checkpoint: Checkpoint) -> "Path":
        """Write the next checkpoint and remove the oldest.

        Raises
        ------
        ComputeError
            If the disk is full: the earlier checkpoints are then as they were.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.files()
        number = int(before[-1].name[11:17]) + 1 if before else 1
        target = self.path / f"checkpoint-{number:06d}.pt"
        # the hash is in place before the checkpoint has its name: a checkpoint without a hash is a damaged one
        with atomic_path(target) as beside:
            with beside.open("wb") as file:
                hashing = _HashingFile(file)
                torch.save(_pack(checkpoint), cast("IO[bytes]", hashing))
            with atomic_path(_hash_file(target)) as hash_beside:
                hash_beside.write_text(f"{hashing.digest.hexdigest()}  {target.name}\n", encoding="ascii")
        for old in self.files()[: -self.kept]:
            old.unlink(missing_ok=True)
            _hash_file(old).unlink(missing_ok=True)
        return target

    def load_newest(self, on_damage: "Callable[[str], None]") -> Checkpoint | None:
        """Read the newest checkpoint that is whole.

        Parameters
        ----------
        on_damage : callable, gets one line for each checkpoint that is not

        Returns
        -------
        Checkpoint, or None if there is none (left)
        """
        for unfinished in self.path.glob(".writing-*"):
            unfinished.unlink(missing_ok=True)  # a process was killed while it wrote
        files = self.files()[::-1]
        for index, file in enumerate(files, start=1):
            try:
                return read_checkpoint(file)
            except DataFormatError as error:
                on_damage(f"{error}; going back to {files[index].name if index < len(files) else 'the start'}")
        return None

    def remove(self) -> None:
        """Remove all checkpoints."""
        for file in self.files():
            file.unlink(missing_ok=True)
            _hash_file(file).unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


def read_checkpoint(file: "Path") -> Checkpoint:
    """Read one checkpoint and check its hash.

    Raises
    ------
    DataFormatError
        If it was truncated or changed, or is of another format.
    """
    hash_file = _hash_file(file)
    wanted = hash_file.read_text(encoding="ascii", errors="replace").split()[:1] if hash_file.is_file() else []
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if wanted != [found]:
        raise DataFormatError(
            f"checkpoint {file} is damaged: its sha256 is {found[:12]}..., {hash_file.name} says {wanted[0][:12] if wanted else 'nothing'}"
        )
    try:
        packed = torch.load(file, map_location="cpu", weights_only=True)
        if packed["format"] != FORMAT:
            raise DataFormatError(f"checkpoint {file} has format {packed['format']}, this version reads {FORMAT}")
        return _unpack(packed)
    except DataFormatError:
        raise
    except Exception as error:
        raise DataFormatError(f"checkpoint {file} cannot be read: {error}") from error


def pack_optimizer(optimizer: torch.optim.Optimizer) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Split an optimizer's state into tensors named ``"<parameter>/<name>"`` and a JSON remainder."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        plain[str(index)] = {}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}/{name}"] = value.detach().to("cpu", copy=True)
            else:
                plain[str(index)][name] = value
    return tensors, {"state": plain, "groups": state["param_groups"]}


def load_optimizer(optimizer: torch.optim.Optimizer, packed: "tuple[dict[str, Tensor], dict[str, Any]]") -> None:
    """Give an optimizer the state that `pack_optimizer` took."""
    tensors, remainder = packed
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in remainder["state"].items()}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state[int(index)][name] = tensor
    # JSON has no tuples; Adam's betas are one
    groups = [{key: _lists_to_tuples(key, value) for key, value in group.items()} for group in remainder["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state() -> "dict[str, Tensor]":
    """Take the state of every global random generator: torch (all devices), numpy, Python."""
    name, keys, position, has_gauss, gauss = cast("tuple[str, Any, int, int, float]", np.random.get_state())
    assert name == "MT19937", name
    version, words, next_gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy_keys": torch.from_numpy(keys.astype(np.int64)),
        "numpy_rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python_words": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([float("nan") if next_gauss is None else next_gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        state.update({f"cuda_{index}": values for index, values in enumerate(torch.cuda.get_rng_state_all())})
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: "dict[str, Tensor]") -> None:
    """Put back what `random_state` took; devices that are not there are left out."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, gauss = state["numpy_rest"].tolist()
    np.random.set_state(("MT19937", state["numpy_keys"].numpy().astype(np.uint32), int(position), int(has_gauss), gauss))
    version, *words = state["python_words"].tolist()
    gauss = state["python_gauss"].item()
    random.setstate((version, tuple(words), None if gauss != gauss else gauss))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda_{index}" in state:
                torch.cuda.set_rng_state(state[f"cuda_{index}"], index)
    if torch.backends.mps.is_available() and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def _lists_to_tuples(key: str, value: Any) -> Any:
    return tuple(value) if isinstance(value, list) and key != "params" else value


def _hash_file(file: "Path") -> "Path":
    return file.with_name(file.name + ".sha256")


def _pack(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors, remainder = checkpoint.optimizer or ({}, None)
    about = {
        "position": asdict(checkpoint.position),
        "optimizer": remainder,
        "fingerprint": checkpoint.fingerprint,
        "versions": checkpoint.versions,
    }
    model = {name: tensor.detach().to("cpu").contiguous() for name, tensor in checkpoint.model.items()}
    return {"format": FORMAT, "about": json.dumps(about), "model": model, "optimizer": tensors, "random": checkpoint.random}


def _unpack(packed: dict[str, Any]) -> Checkpoint:
    about = json.loads(packed["about"])
    return Checkpoint(
        position=Position(**about["position"]),
        model=packed["model"],
        optimizer=None if about["optimizer"] is None else (packed["optimizer"], about["optimizer"]),
        random=packed["random"],
        fingerprint=about["fingerprint"],
        versions=about["versions"],
    )


class _HashingFile:
    """What `torch.save` writes to: passes bytes on and hashes them, so that the file need not be read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._file.write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        self._file.flush()
