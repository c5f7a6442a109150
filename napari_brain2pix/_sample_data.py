"""A subject for those who have none: the last demo, or a small simulated subject made once by a child process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_dir

from brain2pix.errors import ComputeError
from brain2pix.files import write_json

if TYPE_CHECKING:
    from napari_brain2pix._layers import LayerTuple

TIMEOUT_S = 600


def cache_folder() -> Path:
    """Where the simulated subject and the place of the last demo are kept."""
    return Path(user_cache_dir("napari-brain2pix", appauthor=False))


def remember(folder: Path) -> None:
    """Note a demo folder that was opened."""
    write_json(cache_folder() / "last-demo.json", {"folder": str(folder)})


def ready_sample() -> Path | None:
    """Find the last demo if it is still there, else the small subject if it was made before, else None."""
    try:
        last = Path(json.loads((cache_folder() / "last-demo.json").read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        last = None
    small = small_subject()
    candidates = [last / "subject" / "dataset_description.json" if last else None, small / "dataset_description.json"]
    folders = [last, small]
    return next((folder for folder, mark in zip(folders, candidates, strict=True) if mark is not None and mark.is_file()), None)


def small_subject() -> Path:
    """Where the small subject is, or will be."""
    return cache_folder() / "simulated-subject"


def command() -> list[str]:
    """Give the command that makes the small subject; it appears whole or not at all."""
    program = "from brain2pix.cli import main; raise SystemExit(main())"
    return [sys.executable, "-c", program, "simulate", str(small_subject()), "--preset", "tiny", "--seed", "0"]


def make_sample() -> Path:
    """Give a folder to open, simulating first where needed.

    Raises
    ------
    ComputeError
        If the simulation fails.
    """
    ready = ready_sample()
    if ready is not None:
        return ready
    small_subject().parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise ComputeError(failure(done.stderr))
    return small_subject()


def failure(said: str) -> str:
    """Say that the simulation failed, in its own last words."""
    lines = said.strip().splitlines()
    return f"The simulated subject could not be made: {lines[-1] if lines else 'the process ended without a word'}"


def simulated_subject() -> "list[LayerTuple]":
    """Sample data for napari's File > Open Sample."""
    from napari_brain2pix._readers import read_folder

    return read_folder(str(make_sample()))
