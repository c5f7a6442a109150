"""``brain2pix ceilings``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from brain2pix.data.ceilings import Ceilings
    from brain2pix.data.subject import Subject


def ceilings(
    subject: Annotated[Path, Parameter(help="Dataset folder, or the subject's folder in it.")],
    /,
    *,
    split: Annotated[str, Parameter(help="Trials whose repeats are compared.")] = "test",
    zscore: Annotated[
        Literal["auto", "none", "train", "run", "session"], Parameter(help="How responses are z-scored, as for train.")
    ] = "auto",
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder, e.g. sub-01.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for a table of all voxels, maps (NIfTI) and what they are (JSON).")] = None,
) -> int:
    """Say how reliable responses are: noise ceilings per area, and per voxel with --out."""
    from brain2pix.data.ceilings import measure_ceilings, write_ceilings
    from brain2pix.data.subject import open_subject

    opened = open_subject(subject, subject_name, zscore=zscore)
    found = measure_ceilings(opened, split)
    print("\n".join(_lines(opened, found)))
    for path in write_ceilings(out, opened, found) if out is not None else ():
        print(f"wrote {path}")
    return 0


def _lines(subject: "Subject", found: "Ceilings") -> list[str]:
    from brain2pix.data.ceilings import area_table

    made = "SIMULATED, " if subject.simulated else ""
    table = area_table(subject, found)
    width = max(len(str(name)) for name in table["area"])
    lines = [
        f"{subject.name} of {subject.title} ({made}responses in {subject.unit})",
        str(found),
        "",
        f"{'area':{width}}  voxels   known  split-half r   ncsnr  NC of one trial  NC of the mean",
    ]
    for row in table.to_dict("records"):
        numbers = (f"{_number(row['splithalf'], 3):>12}", f"{_number(row['ncsnr'], 3):>6}")
        percents = (f"{_number(row['nc1'], 1, ' %'):>15}", f"{_number(row['ncmean'], 1, ' %'):>14}")
        lines.append("  ".join([f"{row['area']:{width}}", f"{row['voxels']:6}", f"{row['known']:6}", *numbers, *percents]))
    if found.reason:
        return [*lines, "", f"n/a: {found.reason}"]
    return [
        *lines,
        "",
        "medians over the voxels of an area; known: voxels whose repeats agree at all; NC: explained variance, its root is a correlation",
    ]


def _number(value: float, digits: int, unit: str = "") -> str:
    return "n/a" if value != value else f"{value:.{digits}f}{unit}"
