"""``brain2pix import-model``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Set, Where, absolute, parse_changes


def import_model(
    method: Annotated[str, Parameter(help="System whose published checkpoints are read: gaziv.")],
    subject: Annotated[Path, Parameter(help="Dataset folder, or the subject's folder in it.")],
    out: Annotated[Path, Parameter(help="Run folder to make.")],
    /,
    *,
    encoder: Annotated[Path | None, Parameter(help="Checkpoint of the encoder. Without it the system has none.")] = None,
    decoder: Annotated[Path | None, Parameter(help="Checkpoint of the decoder. Without it the system makes no pictures.")] = None,
    region: Annotated[str, Parameter(help="Areas whose voxels the checkpoints have, in the order of the subject's table.")] = "VC",
    select_voxels: Annotated[Path | None, Parameter(help="npz file with select_voxels: which of the region's voxels.")] = None,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder, e.g. sub-01.")] = None,
    zscore: Annotated[
        Literal["auto", "none", "train", "run", "session"], Parameter(help="How the subject's responses are z-scored; none: as they are.")
    ] = "none",
    preset: Annotated[Literal["released", "paper"], Parameter(help="What no file tells: groups, activation, their order.")] = "released",
    set_: Set = None,
    where: Where = HERE,
) -> int:
    """Make a run folder of the checkpoints that a system's authors published, as if it had been trained here."""
    from brain2pix.cli._job import run_job

    params = {
        "method": method,
        "subject": absolute(subject),
        "subject_name": subject_name,
        "encoder": absolute(encoder),
        "decoder": absolute(decoder),
        "region": region,
        "select_voxels": absolute(select_voxels),
        "zscore": zscore,
        "preset": preset,
        "settings": parse_changes(set_),
    }
    return run_job("import-model", params, out, where=where)
