"""A subject for those who have none: the last demo, or the small simulated subject that ships with the program, with its trained run."""

import hashlib
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_dir

from brain2pix.errors import ComputeError, MissingDataError
from brain2pix.files import remove_half_written, write_json

if TYPE_CHECKING:
    from napari_brain2pix.brain.layers import LayerTuple

TIMEOUT_S = 600
NAME = "simulated-subject"


def cache_folder() -> Path:
    """Where the unpacked sample and the place of the last demo are kept."""
    return Path(user_cache_dir("napari-brain2pix", appauthor=False))


def remember(folder: Path) -> None:
    """Note a demo folder that was opened; the sample itself needs no note."""
    if cache_folder() not in Path(folder).parents:
        write_json(cache_folder() / "last-demo.json", {"folder": str(folder)})


def ready_sample() -> Path | None:
    """Find the last demo if it is still there, else the sample if it was unpacked before, else None."""
    try:
        last = Path(json.loads((cache_folder() / "last-demo.json").read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        last = None
    # whoever lacks the packed file can still use what is there
    folders = [folder for folder in (last, unpacked() if packed().is_file() else None) if folder is not None]
    return next((folder for folder in folders if (folder / "subject" / "dataset_description.json").is_file()), None)


def packed() -> Path:
    """Give the file that ships with the program."""
    return Path(str(files("brain2pix.resources") / "sample" / f"{NAME}.tar.xz"))


def unpacked() -> Path:
    """Where the sample is, or will be; each version of the packed file has a place of its own.

    Raises
    ------
    MissingDataError
        If the packed file is not there.
    """
    try:
        version = hashlib.sha256(packed().read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise MissingDataError(f"the sample {packed()} cannot be read ({error.strerror}); install the program again") from None
    return cache_folder() / f"sample-{version}" / NAME


def command() -> list[str]:
    """Give the command that unpacks the sample; it appears whole or not at all."""
    return [sys.executable, "-m", "brain2pix.simulation.packed", str(packed()), str(unpacked())]


def sweep() -> None:
    """Clear up after a process that was ended while it unpacked."""
    if packed().is_file():
        remove_half_written(unpacked())


def make_sample() -> Path:
    """Give a folder to open, unpacking first where needed.

    Raises
    ------
    Brain2PixError
        If it cannot be unpacked.
    """
    ready = ready_sample()
    if ready is not None:
        return ready
    done = subprocess.run(command(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        sweep()
        raise ComputeError(failure(done.stderr))
    return unpacked()


def failure(said: str) -> str:
    """Say that unpacking failed, in the process's own last words."""
    lines = said.strip().splitlines()
    return f"The simulated subject could not be opened: {lines[-1] if lines else 'the process ended without a word'}"


def simulated_subject() -> "list[LayerTuple]":
    """Sample data for napari's File > Open Sample."""
    from napari_brain2pix._readers import read_folder

    return read_folder(str(make_sample()))
