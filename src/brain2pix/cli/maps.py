"""``brain2pix maps``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, Seed, Set, SubjectPath, Where, absolute, parse_changes


def maps(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    /,
    *,
    subject: SubjectPath = None,
    side: Annotated[
        Literal["encoder", "decoder"], Parameter(help="Where a voxel looks in the image, or where it writes in the decoded picture.")
    ] = "encoder",
    compare: Annotated[
        Path | None, Parameter(help="With --side decoder: folder of the encoder's maps to compare with; else they are read on the way.")
    ] = None,
    preset: Annotated[str, Parameter(help="default or paper.")] = "default",
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    set_: Set = None,
    where: Where = HERE,
) -> int:
    """Write retinotopic maps (NIfTI and GIFTI) read from a trained encoder, or from a decoder.

    How fields are read is set by --set: maps=gradient|weights (quick, without gradients), centre=gradient|model|mean, size=gradient|model,
    quality=held_out_r|spread|model|peak, gradient, estimator, blur, power, window, max_spread, n_images, inputs, n_patterns, step.
    """
    from brain2pix.cli._job import run_job

    params = {
        "run": absolute(run),
        "subject": absolute(subject),
        "side": side,
        "compare": absolute(compare),
        "preset": preset,
        "seed": seed,
        "device": device,
        "settings": parse_changes(set_),
    }
    return run_job("maps", params, out or run / ("maps" if side == "encoder" else "decoder_maps"), where=where)
