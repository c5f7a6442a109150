"""``brain2pix stimulate``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Device, Out, SubjectPath, absolute


def stimulate(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    /,
    *,
    region: Annotated[str, Parameter(help='Areas to stimulate, e.g. "V1 & L".')],
    stimulus: Annotated[str, Parameter(help="Stimulus whose response is changed, or mean.")] = "mean",
    mode: Annotated[str, Parameter(help="set, add, scale or silence.")] = "add",
    amplitude: Annotated[float, Parameter(help="Value, summand or factor.")] = 1.0,
    subject: SubjectPath = None,
    device: Device = "auto",
    out: Out = None,
) -> int:
    """Change the responses of a region and decode: a statement about the model, not about a brain."""
    import re

    from brain2pix.cli._job import run_job

    params = {
        "run": absolute(run),
        "subject": absolute(subject),
        "stimulus": stimulus,
        "region": region,
        "mode": mode,
        "amplitude": amplitude,
        "device": device,
    }
    name = re.sub(r"[^\w.+-]+", "_", f"stimulate-{stimulus}-{region}-{mode}-{amplitude:g}")
    return run_job("stimulate", params, out or run / name)
