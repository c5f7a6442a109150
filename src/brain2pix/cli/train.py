"""``brain2pix train``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, Seed, Set, Where, absolute, parse_changes


@Parameter(name="prepare")
@dataclass(frozen=True)
class Prepare:
    """The settings of `PreparationSettings` by their own names, without loading them; None: not given."""

    zscore: Annotated[
        Literal["auto", "none", "train", "run", "session"] | None, Parameter(help="How responses are z-scored. Default: auto.")
    ] = None
    average_repeats: Annotated[bool | None, Parameter(help="Train on one mean response per image.", negative="")] = None
    min_ncsnr: Annotated[float | None, Parameter(help="Leave out voxels below this noise-ceiling signal-to-noise ratio.")] = None
    min_ceiling: Annotated[float | None, Parameter(help="Leave out voxels below this split-half noise ceiling.")] = None
    max_voxels: Annotated[int | None, Parameter(help="Keep so many voxels, those of the highest signal-to-noise ratio.")] = None
    repeats_of: Annotated[
        Literal["train", "test"] | None, Parameter(help="Repeats that choose voxels; those of test images make a system transductive.")
    ] = None

    def given(self) -> dict[str, object]:
        """Give what was typed."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def train(
    subject: Annotated[Path, Parameter(help="Dataset folder, or the subject's folder in it.")],
    /,
    *,
    method: Annotated[str, Parameter(help="retino (ours), gaziv, beliy or ridge.")] = "gaziv",
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
    prepare: Prepare = Prepare(),
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
    if prepare.given():  # an encoder that is taken from another run brings its own otherwise
        params["prepare"] = prepare.given()
    folder = out or Path("runs") / f"{subject.absolute().name}-{method}-{preset}-{seed}"
    return run_job("train", params, folder, where=where)
