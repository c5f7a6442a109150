"""Checkpoints of published programs: the state dict in the file, held against the shapes that a key map expects, under our names."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.models.weights import file_sha256, load_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRAPPER = "module."  # what torch's DataParallel puts before each name
_IN = "state_dict"  # where a training checkpoint keeps its network
_BESIDE = "kept by the program's training beside the network"


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of one file.

    Parameters
    ----------
    path : Path
    tensors : dict of Tensor, by the names of the published program
    ignored : dict of str, what else is in the file, and why it is not taken
    epoch : int or None, as the program counted
    """

    path: Path
    tensors: dict[str, Tensor]
    ignored: dict[str, str] = field(default_factory=dict)
    epoch: int | None = None


@dataclass(frozen=True)
class Network:
    """One network of a published system.

    Parameters
    ----------
    source : Checkpoint
    state : dict of Tensor, by our names
    names : dict of str, published name to our name
    backbone : dict of Tensor, frozen network that lies in the same file, by our names; it is compared, not taken
    n_voxels, image_size : int, as the shapes have it
    settings : dict, dotted settings that the shapes decide
    """

    source: Checkpoint
    state: dict[str, Tensor]
    names: dict[str, str]
    backbone: dict[str, Tensor]
    n_voxels: int
    image_size: int
    settings: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """JSON values that tell where the network comes from."""
        return {
            "file": str(self.source.path),
            "sha256": file_sha256(self.source.path),
            "epoch": self.source.epoch,
            "names": self.names,
            "compared": sorted(self.backbone),
            "ignored": self.source.ignored,
        }


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the state dict of a published network: a plain one, or that of a training checkpoint; safetensors or torch, tensors only.

    Raises
    ------
    MissingDataError, DataFormatError
        If the file is absent or damaged, or holds anything else.
    """
    content = load_plain(path)
    state, beside = content, {}
    if isinstance(content, dict) and isinstance(content.get(_IN), dict):
        state, beside = content[_IN], {str(key): _BESIDE for key in content if key != _IN}
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise DataFormatError(f"{path} holds {_said(content)}; expected a state dict, or a dict with one under {_IN!r}")
    odd = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise DataFormatError(f"{path}: {odd[0]!r} is {type(state[odd[0]]).__name__}, expected a tensor, as everything in a state dict")
    wrapped = all(key.startswith(_WRAPPER) for key in state)
    tensors = {key.removeprefix(_WRAPPER) if wrapped else key: value for key, value in state.items()}
    epoch = content.get("epoch") if beside else None
    return Checkpoint(path, tensors, beside, epoch if isinstance(epoch, int) else None)


def take(source: Checkpoint, names: "Mapping[str, str]", shapes: "Mapping[str, tuple[int, ...]]") -> dict[str, Tensor]:
    """Give the tensors that a key map names, under our names.

    Parameters
    ----------
    source : Checkpoint
    names : mapping, published name to our name
    shapes : mapping, published name to the shape that the tensor must have

    Raises
    ------
    DataFormatError
        If one is missing, has another shape, or holds values that are not finite.
    """
    for key in names:
        if key not in source.tensors:
            raise DataFormatError(f"{source.path} has no tensor {key!r} of shape {shapes[key]}; is it whole, and of this program?")
        found = tuple(source.tensors[key].shape)
        if found != shapes[key]:
            raise DataFormatError(f"{source.path}: {key!r} is {found}, expected {shapes[key]}")
        if not bool(source.tensors[key].isfinite().all()):
            raise DataFormatError(f"{source.path}: {key!r} holds values that are not finite; its training went wrong, or it is damaged")
    return {ours: source.tensors[key] for key, ours in names.items()}


def refuse_unknown(source: Checkpoint, known: "Mapping[str, object] | set[str]") -> None:
    """Refuse tensors that no name of the key map stands for.

    Raises
    ------
    DataFormatError
    """
    unknown = [key for key in source.tensors if key not in known]
    if unknown:
        shown = ", ".join(f"{key!r} {tuple(source.tensors[key].shape)}" for key in unknown[:3])
        raise DataFormatError(
            f"{source.path} has {len(unknown)} tensors that this network does not have: {shown}{' ...' * (len(unknown) > 3)}; "
            "is it of another program, or of another version of it?"
        )


def size_of(source: Checkpoint, key: str, n_axes: int) -> tuple[int, ...]:
    """Shape of a tensor that decides others.

    Raises
    ------
    DataFormatError
        If it is missing, empty or has another number of axes.
    """
    if key not in source.tensors:
        raise DataFormatError(f"{source.path} has no tensor {key!r}; is it whole, and of this program?")
    shape = tuple(source.tensors[key].shape)
    if len(shape) != n_axes or not all(shape):
        raise DataFormatError(f"{source.path}: {key!r} is {shape}, expected {n_axes} axes, none of them empty")
    return shape


def edge_of(source: Checkpoint, key: str, count: int) -> int:
    """Edge of a square of so many places.

    Raises
    ------
    DataFormatError
        If they make no square.
    """
    edge = math.isqrt(count)
    if edge**2 != count:
        raise DataFormatError(f"{source.path}: {key!r} has {count} places, which are no square")
    return edge


def refuse_contradictions(asked: "Mapping[str, Any]", found: "Mapping[str, Any]") -> None:
    """Refuse settings that were asked for and are not those of the file.

    Raises
    ------
    ConfigError
    """
    for key, value in found.items():
        wanted = list(value) if isinstance(value, tuple) else value  # as it comes from JSON
        if asked.get(key, wanted) != wanted:
            raise ConfigError(f"{key}={asked[key]} was asked for, the checkpoint decides {key}={wanted}; leave it out")


def _said(content: Any) -> str:
    if isinstance(content, dict):
        return f"a dict of {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"
