"""``brain2pix simulate``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Seed, Set, absolute, parse_changes


def simulate(
    out: Annotated[Path, Parameter(help="Dataset folder to make; the truth goes beside it.")],
    /,
    *,
    preset: Annotated[str, Parameter(help="tiny, demo, full or hard.")] = "demo",
    seed: Seed = 0,
    set_: Set = None,
) -> int:
    """Make a simulated subject on real anatomy, whose truth is known."""
    from brain2pix.cli._job import run_job

    params = {"out": absolute(out), "preset": preset, "seed": seed, "settings": parse_changes(set_)}
    return run_job("simulate", params, None, done=f"simulated subject: {out} (truth: {out.with_name(out.name + '-truth')})")
