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
    split: Annotated[str, Parameter(help="Which images: test, validation, imagery, ...")] = "test",
    pool: Annotated[
        Path | None, Parameter(help="Folder of pictures among which identification is scored too: none may be a stimulus or unpaired.")
    ] = None,
    device: Device = "auto",
    out: Out = None,
    where: Where = HERE,
) -> int:
    """Score reconstructions: identification, structural similarity, and predictions against their noise ceiling.

    Writes scores.tsv and, of systems with an encoder, how well each voxel is predicted: a table, and volumes (NIfTI).
    """
    from brain2pix.cli._job import run_job

    params = {"run": absolute(run), "subject": absolute(subject), "split": split, "pool": absolute(pool), "device": device}
    return run_job("evaluate", params, out or run / f"evaluate-{split}", where=where)
