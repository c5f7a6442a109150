"""``brain2pix train``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, Seed, Set, Where, absolute, parse_changes


def train(
    subject: Annotated[Path, Parameter(help="Dataset folder, or the subject's folder in it.")],
    /,
    *,
    method: Annotated[str, Parameter(help="retino (ours), gaziv or ridge.")] = "gaziv",
    preset: Annotated[str, Parameter(help="tiny, demo, preview, released or paper.")] = "demo",
    region: Annotated[str | None, Parameter(help='Areas, e.g. "V1 + V2 - outside". Default: V1 + V2 + V3 - outside.')] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    set_: Set = None,
    settings: Annotated[Path | None, Parameter(help="TOML file of settings over the preset.")] = None,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder, e.g. sub-01.")] = None,
    nan: Annotated[Literal["drop-voxels", "error"], Parameter(help="Voxels with responses that are not finite.")] = "drop-voxels",
    image_size: Annotated[int | None, Parameter(help="Edge of the images [px]; default: as they are.")] = None,
    inductive: Annotated[bool, Parameter(help="Keep test responses out of training altogether.", negative="")] = False,
    permute_pairs: Annotated[bool, Parameter(help="Control: give each response the image of another trial.", negative="")] = False,
    pairs_from: Annotated[Path | None, Parameter(help="Train on (predicted response, image) pairs of this trained encoder.")] = None,
    encoder_from: Annotated[Path | None, Parameter(help="Run whose trained encoder is taken instead of training one again.")] = None,
    bf16: Annotated[bool, Parameter(help="Mixed precision on CUDA.", negative="")] = False,
    checkpoint_every_s: Annotated[float, Parameter(help="Save every so many seconds.")] = 60.0,
    where: Where = HERE,
) -> int:
    """Train a system on a subject. The same command goes on with an interrupted run."""
    from brain2pix.cli._job import run_job

    params = {
        "subject": absolute(subject),
        "subject_name": subject_name,
        "method": method,
        "preset": preset,
        "settings_file": absolute(settings),
        "settings": parse_changes(set_),
        "region": region,
        "nan": nan,
        "image_size": image_size,
        "seed": seed,
        "device": device,
        "repeats_split": None if inductive else "test",
        "permute_pairs": permute_pairs,
        "pairs_from": absolute(pairs_from),
        "encoder_from": absolute(encoder_from),
        "training": {"precision": "bf16" if bf16 else "float32", "checkpoint_every_s": checkpoint_every_s},
    }
    folder = out or Path("runs") / f"{subject.absolute().name}-{method}-{preset}-{seed}"
    return run_job("train", params, folder, where=where)
