"""Run an export: everything is written beside and renamed at the end, or nothing is."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context

from brain2pix.compute.export.figures import draw_accuracy, draw_coverage, draw_maps, draw_reconstructions, draw_scores, draw_stimulation
from brain2pix.compute.export.files import scores_sidecar, write_map_files, write_scores, write_stimulation_record
from brain2pix.compute.export.material import Drawn, Material
from brain2pix.compute.export.offers import remedy, why_not
from brain2pix.compute.export.sidecar import figure_sidecar
from brain2pix.compute.parts import find_parts
from brain2pix.config.export import in_the_way, stems
from brain2pix.errors import ComputeError, ConfigError, MissingDataError
from brain2pix.events import CancelToken, EventSink, Message, ignore
from brain2pix.files import disk_full_message, is_disk_full, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from brain2pix.config.export import ExportSettings

Draw = Callable[[Material, CancelToken], Iterator[Drawn]]
FIGURES: dict[str, Draw] = {
    "maps": draw_maps,
    "coverage": draw_coverage,
    "reconstructions": draw_reconstructions,
    "scores": draw_scores,
    "stimulation": draw_stimulation,
    "accuracy": draw_accuracy,
}
# Letters stay letters: they can be searched, and edited in a drawing program. The salt makes the same figure the same file.
_TYPE: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "brain2pix"}


def export(settings: "ExportSettings", sink: EventSink = ignore, cancel: CancelToken | None = None) -> list[Path]:
    """Write what is asked for.

    Parameters
    ----------
    settings : ExportSettings
    sink : callable, takes events
    cancel : CancelToken or None

    Returns
    -------
    list of Path, files and folders that were written

    Raises
    ------
    Brain2PixError
        If something is not there, a file is in the way, or the folder cannot be written. Nothing is left behind then.
    Cancelled
    """
    cancel = cancel or CancelToken()
    material = Material(settings, find_parts(settings.folder))
    _check(material)
    out = settings.out.expanduser().absolute()
    made_here = not out.exists()
    beside = _staging(out)
    try:
        done, total = 0, sum(_pieces(material, part) for part in settings.what)
        for part in settings.what:
            for name in _make(material, part, beside, cancel):
                done += 1
                cancel.check()
                sink(Message("info", f"{done} of {total}: {name}"))
        cancel.check()
        return _move(beside, out)
    except OSError as error:
        if is_disk_full(error):
            raise ComputeError(disk_full_message(out)) from error
        raise ComputeError(f"{out} cannot be written to: {error.strerror or error}; choose another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if made_here and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _check(material: Material) -> None:
    """Refuse what is not there, and files in the way."""
    settings = material.settings
    reasons = why_not(material.parts, material.subject, record=settings.record is not None)
    for part in settings.what:
        if reasons[part]:
            words = "; ".join(text for text in (reasons[part], remedy(material.parts, reasons[part])) if text)
            raise MissingDataError(f"cannot export {part} of {settings.folder}: {words}")
    names = stems(material.subject.name, settings.what, settings.maps)
    found = [path for path in in_the_way(settings.out, names) if not _is_own_record(material, path)]
    if found and not settings.overwrite:
        listed = ", ".join(path.name for path in found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        raise ConfigError(f"{settings.out} already holds {listed}; choose another folder, or replace them with --overwrite")


def _is_own_record(material: Material, path: Path) -> bool:
    """Whether a file is the record that is read: it is written again as it is."""
    record = material.settings.record
    return record is not None and path.resolve() == record.resolve()


def _pieces(material: Material, part: str) -> int:
    return len(material.settings.maps or material.kinds) if part == "maps" else 1


def _make(material: Material, part: str, beside: Path, cancel: CancelToken) -> Iterator[str]:
    """Write one part; gives what to say of each piece."""
    if part == "map-files":
        write_map_files(material, beside)
        yield "maps as files"
    elif part == "record":
        write_stimulation_record(material, beside)
        yield "record of the stimulation"
    if part == "scores":
        write_scores(material, beside)
    if part == "stimulation":
        write_stimulation_record(material, beside)
    drawn = False
    for one in FIGURES[part](material, cancel) if part in FIGURES else ():
        drawn = True
        extra = scores_sidecar(material) if part == "scores" else {}
        _save(one, material, beside, extra)
        yield one.name
    if part == "scores" and not drawn:  # a table without reconstructions still has its numbers
        values = scores_sidecar(material)
        if values:
            write_json(beside / f"{material.name('scores')}.json", {**values, "figure": None})
        yield "scores"


def _save(drawn: Drawn, material: Material, folder: Path, extra: dict[str, Any]) -> None:
    """Write a figure in each format, its caption and its sidecar."""
    settings = material.settings
    files = [f"{drawn.name}.{ending}" for ending in settings.formats]
    with rc_context(_TYPE):
        for file in files:
            _draw(drawn.figure, folder / file, drawn, settings)
    width, height = (round(25.4 * float(inches), 2) for inches in drawn.figure.get_size_inches())
    size = {"width_mm": width, "height_mm": height, "dpi": settings.dpi, "background": settings.background}
    values = figure_sidecar(
        drawn.settings,
        material.subject,
        material.parts.run,
        name=drawn.name,
        files=files,
        caption=drawn.caption,
        facts={**drawn.facts, **extra, "size": size},
    )
    write_json(folder / f"{drawn.name}.json", values)
    (folder / f"{drawn.name}.txt").write_text(f"{drawn.caption}\n", encoding="utf-8")


def _draw(figure: "Figure", file: Path, drawn: Drawn, settings: "ExportSettings") -> None:
    maker, about = "napari-brain2pix", drawn.caption
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": drawn.name, "Description": about, "Software": maker},
        "pdf": {"Title": drawn.name, "Subject": about, "Creator": maker, "CreationDate": None},
        "svg": {"Title": drawn.name, "Description": about, "Creator": maker, "Date": None},
    }
    figure.savefig(file, dpi=settings.dpi, transparent=settings.background == "transparent", metadata=metadata[file.suffix[1:]])


def _staging(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".writing-export-", dir=out))
    except OSError as error:
        raise ComputeError(f"{out} cannot be written to: {error.strerror or error}; choose another folder") from error


def _move(beside: Path, out: Path) -> list[Path]:
    """Give everything its own name; a folder of before is replaced."""
    written = []
    for path in sorted(beside.iterdir()):
        target = out / path.name
        if target.is_dir():
            shutil.rmtree(target)
        written.append(path.replace(target))
    return written
