"""What an export is asked: which parts of a folder, in which form. The window and the command line fill in the same."""

import shlex
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from brain2pix.config.base import Settings
from brain2pix.config.defaults import COLUMNS_MM, FORMATS, KINDS, SURFACES, WHAT, Format, Surface, What

__all__ = ["COLUMNS_MM", "FORMATS", "KINDS", "NAMES", "SURFACES", "WHAT", "ExportSettings", "command_line", "in_the_way", "stems"]

NAMES = {"map-files": "maps", "record": "stimulation-record"}  # what files are called where that differs


class ExportSettings(Settings):
    """Write figures, maps, scores and records of a folder."""

    folder: Path = Field(description="demo, run or subject folder")
    out: Path = Field(description="folder to write to")
    what: tuple[What, ...] = Field(min_length=1, description=f"any of {', '.join(WHAT)}")
    formats: tuple[Format, ...] = Field(("png",), min_length=1, description="of the figures")
    dpi: int = Field(300, ge=72, le=1200, description="of PNG, and of what is drawn as pixels in SVG and PDF")
    width_mm: float = Field(183.0, ge=60, le=400, description="width of the figures")
    background: Literal["white", "transparent"] = "white"
    maps: tuple[str, ...] = Field((), description=f"which maps, of {', '.join(KINDS)}; empty: all there are")
    surfaces: tuple[Surface, ...] = Field(SURFACES, min_length=1, description="which cortex")
    threshold: float | None = Field(None, description="least quality of a voxel that is shown; None: as the window begins")
    whole_maps: bool = Field(True, description="map files hold all voxels; otherwise NaN below the threshold")
    images: tuple[str, ...] = Field((), description="stimulus ids of the reconstructions; empty: the first ones")
    first: int = Field(10, ge=1, le=1000, description="how many reconstructions if no ids are given")
    record: Path | None = Field(None, description="record of a stimulation (JSON)")
    overwrite: bool = Field(False, description="replace files of the same names")

    @field_validator("maps")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in KINDS]
        if unknown:
            raise ValueError(f"there is no map {unknown[0]!r}; maps are {', '.join(KINDS)}")
        return names


def command_line(settings: ExportSettings) -> str:
    """Write the command that makes the same export again."""
    words = ["brain2pix", "export", str(settings.folder), "--out", str(settings.out), "--what", ",".join(settings.what)]
    default = {name: field.default for name, field in ExportSettings.model_fields.items()}
    options = {
        "formats": ",".join(settings.formats),
        "dpi": str(settings.dpi),
        "width": f"{settings.width_mm:g}",
        "background": settings.background,
        "maps": ",".join(settings.maps),
        "surfaces": "" if settings.surfaces == default["surfaces"] else ",".join(settings.surfaces),
        "threshold": "" if settings.threshold is None else repr(settings.threshold),
        "images": ",".join(settings.images),
        "first": "" if settings.images or settings.first == default["first"] else str(settings.first),
        "record": str(settings.record or ""),
    }
    for name, value in options.items():
        if value:
            words += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
    flags = {"--cut-maps": not settings.whole_maps, "--overwrite": settings.overwrite}
    return shlex.join([*words, *(flag for flag, there in flags.items() if there)])


def stems(subject: str, what: tuple[str, ...], maps: tuple[str, ...]) -> list[str]:
    """Names, without their endings, of what an export writes.

    Parameters
    ----------
    subject : str, e.g. "sub-01"
    what : tuple of str, see `WHAT`
    maps : tuple of str, which maps are drawn; empty: all
    """
    found = [f"{subject}_map-{kind}" for kind in maps or KINDS] if "maps" in what else []
    further = [*(["record"] if "stimulation" in what else []), *(["image-scores"] if "scores" in what else [])]  # lie beside the figure
    further += ["accuracy-cortex"] if "accuracy" in what else []
    return found + [f"{subject}_{NAMES.get(part, part)}" for part in dict.fromkeys((*what, *further)) if part != "maps"]


def in_the_way(out: Path, names: list[str]) -> list[Path]:
    """Files of a folder that an export would replace."""
    if not out.is_dir():
        return []
    return sorted(path for path in out.iterdir() if path.name.split(".")[0] in names)
