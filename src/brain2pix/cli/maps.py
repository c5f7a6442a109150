"""``brain2pix maps``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Device, Out, Seed, Set, SubjectPath, absolute, parse_changes


def maps(
    run: Annotated[Path, Parameter(help="Run folder of a trained system with an encoder.")],
    /,
    *,
    subject: SubjectPath = None,
    preset: Annotated[str, Parameter(help="default or paper.")] = "default",
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    set_: Set = None,
) -> int:
    """Write retinotopic maps (NIfTI and GIFTI) read from a trained encoder."""
    from brain2pix.cli._job import run_job

    params = {
        "run": absolute(run),
        "subject": absolute(subject),
        "preset": preset,
        "seed": seed,
        "device": device,
        "settings": parse_changes(set_),
    }
    return run_job("maps", params, out or run / "maps")
