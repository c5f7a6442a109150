"""``brain2pix project``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def project(
    source: Annotated[Path, Parameter(help="Volume (NIfTI, .mgz), values of vertices (GIFTI, FreeSurfer, CIFTI-2), or a folder of maps.")],
    subject: Annotated[Path, Parameter(help="Dataset, subject or demo folder: its surfaces and its grid.")],
    out: Annotated[Path, Parameter(help="Folder to make.")],
    /,
    *,
    how: Annotated[
        Literal["linear", "nearest", "label"] | None,
        Parameter(help="Mean weighted by distance, mean of the nearest, or the most frequent. Default: label for labels, else linear."),
    ] = None,
    labels: Annotated[bool, Parameter(help="The file holds labels, though it does not say so.", negative="")] = False,
    depths: Annotated[
        str, Parameter(help="Where cortex is sampled, with commas, between white (0) and pial (1).")
    ] = "0.2,0.35,0.5,0.65,0.8",
    least_coverage: Annotated[float, Parameter(help="A vertex or voxel of which a smaller share has a value gets none.")] = 0.25,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder.")] = None,
) -> int:
    """Take a volume to the surfaces of a subject, or values of vertices to its volume.

    Of maps of receptive fields (a folder with x0 and y0), the Cartesian parts are taken; angle and eccentricity are derived from them.
    """
    from brain2pix.data.projection import Options
    from brain2pix.data.projection import project as write
    from brain2pix.data.subject import open_subject
    from brain2pix.errors import ConfigError

    if labels and how not in (None, "label"):
        raise ConfigError(f"--labels and --how {how} contradict each other: labels have no mean; leave one of them out")
    options = Options("label" if labels else how, _numbers(depths), least_coverage)
    # a demo keeps its subject in a folder of that name
    folder = subject / "subject" if (subject / "subject" / "dataset_description.json").is_file() else subject
    written, lines = write(source, open_subject(folder, subject_name), out, options)
    for path in written:
        print(f"wrote {path}")
    print("\n".join(lines))
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    from brain2pix.errors import ConfigError

    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--depths needs numbers in 0..1 with commas between them, such as 0.2,0.5,0.8; got {text!r}") from None
