"""Where to compute, and what to say when its memory runs out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from brain2pix.errors import ComputeError, ConfigError, unknown_name

if TYPE_CHECKING:
    import torch

    from brain2pix.config.base import Settings

# "you tried to allocate 8589934592 bytes", "Tried to allocate 2.00 GiB"
_TRIED = re.compile(r"tried to allocate ([\d.]+\d) ?(bytes|[kmg]i?b)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_NAME = re.compile(r"auto|cpu|mps|cuda(?::(\d+))?")


def choose_device(name: str = "auto") -> "torch.device":
    """Turn a name into a device that is there.

    Parameters
    ----------
    name : str, "auto", "cpu", "cuda", "cuda:N" or "mps"; auto takes CUDA if there is any, else the CPU

    Raises
    ------
    ConfigError
        If the name is none of these.
    ComputeError
        If the device is not there; the message says which are.
    """
    index = check_device_name(name)
    import torch

    here = available_devices()
    if name == "auto":
        return torch.device("cuda" if "cuda:0" in here else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    wanted = "mps" if name == "mps" else f"cuda:{index}"
    if wanted not in here:
        reason = "" if torch.version.cuda or wanted == "mps" else f" torch {torch.__version__} was built without CUDA."
        raise ComputeError(f"device {name!r} is not here; available: {', '.join(here)}.{reason} Choose one of these with --device.")
    return torch.device(wanted)


def check_device_name(name: str) -> int:
    """Refuse what cannot be a device, without loading torch; gives the number of a CUDA device.

    Raises
    ------
    ConfigError
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(unknown_name("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps")))
    return int(match[1] or 0)


def available_devices() -> list[str]:
    """Names of the devices that are there, "cpu" first."""
    import torch

    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
    return [*here, "mps"] if torch.backends.mps.is_available() else here


@contextmanager
def memory_reported(device: "torch.device", settings: "Settings | None" = None) -> Iterator[None]:
    """Turn running out of memory into a message that names the batch settings and offers smaller ones.

    Parameters
    ----------
    device : torch.device
    settings : Settings or None, where batch sizes are looked for

    Raises
    ------
    ComputeError
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sizes = batch_settings(settings.model_dump()) if settings is not None else {}
        smaller = " ".join(f"--set {name}={max(1, value // 2)}" for name, value in sizes.items() if value > 1)
        now = ", ".join(f"{name} = {value}" for name, value in sizes.items())
        advice = f"Batch sizes now: {now}. Try {smaller}" if smaller else "Try a smaller region or image size, or another device"
        need = needed_bytes(error)
        wanted = f"{need / 2**30:.1f} GiB more were needed at once" if need else (str(error).splitlines() or ["no details"])[0]
        raise ComputeError(f"out of memory on {device} ({wanted}). {advice}.") from error


def needed_bytes(error: BaseException) -> int:
    """Read from an allocator's words how much it was asked for; 0 if they do not say it."""
    match = _TRIED.search(str(error))
    return int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory of a device or of the machine ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return any(words in text for words in ("can't allocate memory", "not enough memory", "out of memory", "OutOfMemory"))


def batch_settings(values: dict[str, Any], prefix: str = "") -> dict[str, int]:
    """Find the settings that say how much is done at once, by dotted name."""
    found: dict[str, int] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= batch_settings(value, f"{prefix}{key}.")
        elif isinstance(value, int) and not isinstance(value, bool) and ("batch" in key or key == "chunk"):
            found[prefix + key] = value
    return found
