"""``brain2pix compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Device, SubjectPath

if TYPE_CHECKING:
    from brain2pix.compute.compare import RunComparison


def compare(
    *runs: Annotated[Path, Parameter(help="Run folders of trained systems that were decoded: two or more.")],
    split: Annotated[str, Parameter(help="Which images.")] = "test",
    subject: SubjectPath = None,
    device: Device = "auto",
    out: Annotated[Path | None, Parameter(help="Table to write; default: compare-SPLIT.tsv in the first run.")] = None,
) -> int:
    """Compare runs image by image: paired differences, 95 % intervals over photographs, Wilcoxon's p, corrected by Holm for each score."""
    from brain2pix.cli._job import with_progress
    from brain2pix.compute.compare import compare_runs
    from brain2pix.data.tables import write_table

    found = with_progress(lambda sink, cancel: compare_runs(runs, split, subject, device, sink, cancel))
    print("\n".join(_lines(found)))
    print(f"wrote {write_table(out or runs[0] / f'compare-{split}.tsv', found.table())}")
    return 0


def _lines(found: "RunComparison") -> list[str]:
    from brain2pix.evaluation.statistics import describe_p

    simulated = "SIMULATED, " if found.simulated else ""
    photos = f"{found.n_photos} photograph{'s' * (found.n_photos != 1)}"
    lines = [f"{found.subject} ({simulated}split {found.split}, {found.n_images} images from {photos})", ""]
    for run, uses in found.transductive.items():
        said = f"training used {', '.join(uses)} (transductive)" if uses else "training used no test responses"
        lines.append(f"{run}: {said}")
    table = [["score", "first", "second", "first - second", "95 %", "p", "p (Holm)"]]
    for each in found.comparisons:
        digits = 3 if each.family.endswith(" r") else 1
        unit = "" if digits == 3 else " %"
        low, high = each.difference.low, each.difference.high
        interval = "-" if low != low else f"{low:+.{digits}f} .. {high:+.{digits}f}"
        means = [f"{name} {found.means[each.family][name]:.{digits}f}{unit}" for name in (each.better, each.worse)]
        table.append([each.family, *means, f"{each.difference.mean:+.{digits}f}", interval, describe_p(each.p), describe_p(each.corrected)])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines += ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)]
    return [*lines, *([""] if found.notes else []), *(f"note: {note}" for note in found.notes)]
