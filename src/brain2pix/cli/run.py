"""``brain2pix run``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Where


def run(
    job: Annotated[Path, Parameter(help="JOB.json, or a run folder to go on with.")],
    /,
    *,
    where: Where = HERE,
) -> int:
    """Run any job from its JSON description, or go on with an interrupted one."""
    from brain2pix.cli._job import run_spec
    from brain2pix.compute.spec import JobSpec

    spec = JobSpec.from_file(job)
    return run_spec(spec, done=f"done: {spec.folder}", where=where)
