"""``brain2pix export``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.config.defaults import COLUMNS_MM, FORMATS, KINDS, SURFACES, WHAT


def export(
    folder: Annotated[Path, Parameter(help="Demo, run or subject folder.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder to write to.")],
    what: Annotated[str, Parameter(help=f"Which parts, with commas: {', '.join(WHAT)}.")] = "maps,reconstructions,scores",
    formats: Annotated[str, Parameter(help=f"Of the figures, with commas: {', '.join(FORMATS)}.")] = "png",
    width: Annotated[str, Parameter(help="Of the figures: single (89 mm), double (183 mm), or millimetres.")] = "double",
    dpi: Annotated[int, Parameter(help="Of PNG, and of what is drawn as pixels in SVG and PDF.")] = 300,
    background: Annotated[Literal["white", "transparent"], Parameter(help="Behind the figures.")] = "white",
    maps: Annotated[str, Parameter(help=f"Which maps are drawn, with commas: {', '.join(KINDS)}; default: all.")] = "",
    surfaces: Annotated[str, Parameter(help="On which cortex they are drawn.")] = ",".join(SURFACES),
    threshold: Annotated[float | None, Parameter(help="Least quality of a voxel that is shown; default: as the window begins.")] = None,
    cut_maps: Annotated[bool, Parameter(help="Map files hold NaN below the threshold; default: all voxels.", negative="")] = False,
    images: Annotated[str, Parameter(help="Stimulus ids of the reconstructions, with commas.")] = "",
    first: Annotated[int, Parameter(help="How many reconstructions, without ids.")] = 10,
    record: Annotated[Path | None, Parameter(help="Record of a stimulation (JSON), for stimulation and record.")] = None,
    overwrite: Annotated[bool, Parameter(help="Replace files of the same names.", negative="")] = False,
) -> int:
    """Write figures with captions and sidecars, maps, scores and records.

    Each figure gets NAME.json (thresholds, numbers of voxels, conventions, run, versions, the command that makes it again) and NAME.txt.
    """
    from brain2pix.cli._job import STOPPED, with_progress
    from brain2pix.cli._options import absolute
    from brain2pix.config.base import build
    from brain2pix.config.export import ExportSettings
    from brain2pix.events import Cancelled

    values = {
        "folder": absolute(folder),
        "out": absolute(out),
        "what": _listed(what),
        "formats": _listed(formats),
        "width_mm": COLUMNS_MM.get(width, width),
        "dpi": dpi,
        "background": background,
        "maps": _listed(maps),
        "surfaces": _listed(surfaces),
        "threshold": threshold,
        "whole_maps": not cut_maps,
        "images": _listed(images),
        "first": first,
        "record": absolute(record),
        "overwrite": overwrite,
    }
    settings = build(ExportSettings, values)
    from brain2pix.compute.export.write import export as write

    try:
        written = with_progress(lambda sink, cancel: write(settings, sink, cancel))
    except Cancelled:
        print("stopped; nothing was written")
        return STOPPED
    for path in written:
        print(f"wrote {path}")
    return 0


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
