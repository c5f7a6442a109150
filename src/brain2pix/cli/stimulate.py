"""``brain2pix stimulate``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, SubjectPath, Where, absolute


def stimulate(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    /,
    *,
    region: Annotated[str | None, Parameter(help='Areas to stimulate, e.g. "V1 & L"; needed without a record.')] = None,
    stimulus: Annotated[str | None, Parameter(help="Stimulus whose response is changed, or mean (the default).")] = None,
    repeat: Annotated[int | None, Parameter(help="Which trial of the stimulus, from 1; without it the mean over its trials.")] = None,
    split: Annotated[str | None, Parameter(help="Trials of this split only, e.g. imagery; without it those that saw the stimulus.")] = None,
    mode: Annotated[str | None, Parameter(help="set, add (the default), scale or silence.")] = None,
    amplitude: Annotated[float | None, Parameter(help="Value, summand or factor; 1 by default.")] = None,
    record: Annotated[
        Path | None, Parameter(help="Record of a stimulation (record.json) to run again; instead of the options above.")
    ] = None,
    subject: SubjectPath = None,
    device: Device = "auto",
    out: Out = None,
    where: Where = HERE,
) -> int:
    """Change the responses of a region and decode: a statement about the model, not about a brain."""
    import re

    from brain2pix.cli._job import run_job
    from brain2pix.errors import ConfigError

    if region is None and record is None:
        raise ConfigError("say what to stimulate: --region EXPRESSION, or --record FILE to run a stimulation again")
    asked = {"stimulus": stimulus, "repeat": repeat, "split": split, "region": region, "mode": mode, "amplitude": amplitude}
    asked["record"] = absolute(record)
    given = {name: value for name, value in asked.items() if value is not None}
    which = [stimulus or "mean", *([split] if split else []), *([f"repeat-{repeat}"] if repeat else [])]
    words = [record.stem] if record else [*which, region, mode or "add"]
    words += [] if record else [f"{1.0 if amplitude is None else amplitude:g}"]
    name = re.sub(r"[^\w.+-]+", "_", "-".join(["stimulate", *map(str, words)]))
    params = {"run": absolute(run), "subject": absolute(subject), "device": device, **given}
    return run_job("stimulate", params, out or run / name, where=where)
