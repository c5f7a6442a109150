"""``brain2pix orderings``."""

from math import isnan
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def orderings(
    *folders: Annotated[Path, Parameter(help="Folders of `brain2pix reproduce`, of one method and plan, one for each subject.")],
    write: Annotated[Path | None, Parameter(help="Table to write (TSV).")] = None,
) -> int:
    """Say whether the orderings of a paper are found over several subjects.

    The difference of each subject is averaged; the 95 % interval (Student's t) is over subjects, or over seeds of simulated ones.
    """
    from brain2pix.compute.reproduce.over import over_reproductions, write_over

    places = [folder.expanduser() for folder in folders]
    found = over_reproductions(places)
    for each in found:
        values = " ".join("-" if isnan(value) else f"{value:+.1f}" for value in each.differences)
        mean = "" if isnan(each.mean) else f"{each.mean:+.1f} [{each.low:+.1f}, {each.high:+.1f}] "
        print(f"{each.verdict:14}  {each.ordering}: {mean}({values}), {each.judge}")
    if write is not None:
        write_over(write.expanduser(), found, places)
        print(f"wrote {write}")
    return 0
