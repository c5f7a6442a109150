"""``brain2pix decode``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, SubjectPath, Where, absolute


def decode(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    /,
    *,
    subject: SubjectPath = None,
    split: Annotated[str, Parameter(help="Which images: test, validation, category_test, imagery, ...")] = "test",
    device: Device = "auto",
    out: Out = None,
    where: Where = HERE,
) -> int:
    """Reconstruct the images of a split from their responses."""
    from brain2pix.cli._job import run_job

    params = {"run": absolute(run), "subject": absolute(subject), "split": split, "device": device}
    return run_job("decode", params, out or run / f"decode-{split}", where=where)
