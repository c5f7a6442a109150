"""``brain2pix simulate``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Seed, Set, Where, absolute, parse_changes


def simulate(
    out: Annotated[Path, Parameter(help="Dataset folder to make; the truth goes beside it.")],
    /,
    *,
    preset: Annotated[str, Parameter(help="tiny, demo, full or hard.")] = "demo",
    seed: Seed = 0,
    set_: Set = None,
    where: Where = HERE,
) -> int:
    """Make a simulated subject on real anatomy, whose truth is known."""
    from brain2pix.cli._job import run_job

    params = {"out": absolute(out), "preset": preset, "seed": seed, "settings": parse_changes(set_)}
    truth, record = (out.with_name(f"{out.name}-{what}") for what in ("truth", "job"))
    done = f"simulated subject: {out} (truth: {truth})"
    return run_job("simulate", params, None if where.on is None else record, done=done, where=where)
