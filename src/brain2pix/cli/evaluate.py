"""``brain2pix evaluate``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, SubjectPath, Where, absolute


def evaluate(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    /,
    *,
    subject: SubjectPath = None,
    split: Annotated[str, Parameter(help="Which images.")] = "test",
    device: Device = "auto",
    out: Out = None,
    where: Where = HERE,
) -> int:
    """Score reconstructions: identification, structural similarity, and predictions against their noise ceiling."""
    from brain2pix.cli._job import run_job

    params = {"run": absolute(run), "subject": absolute(subject), "split": split, "device": device}
    return run_job("evaluate", params, out or run / f"evaluate-{split}", where=where)
