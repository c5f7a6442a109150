"""``brain2pix classify``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Device, Out, Seed, SubjectPath, Where, absolute


def classify(
    run: Annotated[Path, Parameter(help="Run folder of a trained system.")],
    gallery: Annotated[
        Path,
        Parameter(help="Folder with a sub-folder of pictures for each class; procedural: the painted classes of simulated subjects."),
    ],
    /,
    *,
    subject: SubjectPath = None,
    split: Annotated[str, Parameter(help="Which images: test, imagery, ...")] = "test",
    class_column: Annotated[str, Parameter(help="Column of stimuli.tsv that names the true classes.")] = "category",
    network: Annotated[str, Parameter(help="alexnet (as published), vgg16, vgg19, or tiny, which needs no download.")] = "tiny",
    size: Annotated[int, Parameter(help="Edge at which the network sees pictures [px].")] = 224,
    per_class: Annotated[int, Parameter(help="Pictures of a class, at most.")] = 100,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    where: Where = HERE,
) -> int:
    """Classify reconstructions among the classes of a gallery: rank of the true class, top 1 and 5, n-way accuracy."""
    from brain2pix.cli._job import run_job

    params = {
        "run": absolute(run),
        "subject": absolute(subject),
        "gallery": str(gallery) if str(gallery) == "procedural" else absolute(gallery),
        "split": split,
        "class_column": class_column,
        "backbone": {"name": network},
        "size": size,
        "per_class": per_class,
        "seed": seed,
        "device": device,
    }
    return run_job("classify", params, out or run / f"classify-{split}", where=where)
