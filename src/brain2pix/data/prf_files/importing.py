"""Bring the receptive fields of another program to a subject: read, convert, place, check, write."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.arrays import RetinotopicMap
from brain2pix.data.hemifield import check_sides
from brain2pix.data.maps import write_maps
from brain2pix.data.prf_files.conventions import CONVENTIONS, find_convention
from brain2pix.data.prf_files.converting import QUALITY_R2, Fields, to_fields
from brain2pix.data.prf_files.placing import vertices_to_voxels
from brain2pix.data.prf_files.proposing import propose
from brain2pix.data.prf_files.reading import read_source
from brain2pix.data.volumes import join_names, nifti_files
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.hemifield import HemifieldCheck
    from brain2pix.data.prf_files.conventions import AngleUnit, Convention, Direction, Zero
    from brain2pix.data.prf_files.reading import Source
    from brain2pix.data.subject import Subject

LABEL = "prf"
# Weaker fits are not asked whether left is left.
MIN_R2 = 0.1
FLIPS = ("x", "y")


@dataclass(frozen=True)
class Choices:
    """What a user says of maps.

    Parameters
    ----------
    convention : str, a name, or "auto"
    zero, direction, unit : or None, of the angle, instead of what the convention says
    percent : bool or None, whether R2 is in percent
    degrees_per_pixel : float or None, for lengths in pixels
    field_of_view_deg : float or None, full width of the stimulus of the pRF scan
    flip : tuple of "x", "y"
    swap_hemispheres : bool
    first_index : int, 0 or 1
    """

    convention: str = "auto"
    zero: "Zero | None" = None
    direction: "Direction | None" = None
    unit: "AngleUnit | None" = None
    percent: bool | None = None
    degrees_per_pixel: float | None = None
    field_of_view_deg: float | None = None
    flip: tuple[str, ...] = ()
    swap_hemispheres: bool = False
    first_index: int = 0


@dataclass(frozen=True)
class ImportedMaps:
    """Receptive fields of another program on the voxels of a subject.

    Parameters
    ----------
    retinotopy : RetinotopicMap, [v]
    voxel_index : int array, [v], voxels that the source speaks of
    convention : Convention
    why : str, who chose it
    about : dict, for the JSON
    notes : tuple of str
    check : HemifieldCheck
    others : tuple of str, conventions that would agree with the brain's sides where this one does not
    """

    retinotopy: RetinotopicMap
    voxel_index: "NDArray[np.int64]"
    convention: "Convention"
    why: str
    about: dict[str, Any]
    notes: tuple[str, ...]
    check: "HemifieldCheck"
    others: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say what was read and what the check found."""
        found = self.retinotopy
        known = int(np.isfinite(found.x0_deg).sum())
        lines = [f"convention {self.convention}: {self.why}", f"read       {', '.join(self.about['Sources'])}"]
        lines += [f"converted  {text}" for text in self.about["Converted"]]
        lines.append(f"fields     {known:,} of {len(self.voxel_index):,} voxels; size: {self.about['SizeMeaning']}")
        lines.append(f"quality    {found.quality_name}")
        lines += [f"note       {text}" for text in self.notes]
        lines += [f"check      {text}" for text in self.check.lines()]
        lines += [f"WARNING    {self.check.warning()}"] if self.check.warning() else []
        if self.others:
            lines.append(f"WARNING    read as {' or '.join(self.others)} the map agrees with the brain's sides: is that its convention?")
        return lines


def read_prf(source: "Path", subject: "Subject", choices: Choices | None = None) -> ImportedMaps:
    """Read receptive fields that another program wrote, and hold them against the subject's left and right, up and down.

    Parameters
    ----------
    source : Path, a folder with maps, one of them, a table, or a result of analyzePRF
    subject : Subject
    choices : Choices or None, for the defaults

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
        Naming the file and, where numbers do not fit a convention, the one that would.
    """
    choices = choices or Choices()
    _check_choices(choices)
    raw = read_source(source, subject, swap_hemispheres=choices.swap_hemispheres, first_index=choices.first_index)
    said = (choices.zero, choices.direction, choices.unit)
    if choices.convention == "auto":
        proposed, why = propose(raw)
        convention, why = find_convention(proposed.name, *said), f"proposed, for {why}"
    else:
        convention, why = find_convention(choices.convention, *said), "as you said"
    fields, index = _on_voxels(convention, raw, subject, choices)
    found = _as_map(fields, convention, choices)
    check = _check(found, index, subject)
    others = () if check.ok else _agreeing(convention, raw, subject, choices)
    about = {
        "ConventionName": "brain2pix",
        "SourceConvention": str(convention),
        "ConventionChosen": why,
        "Sources": sorted(file.name for file in raw.files),
        "Converted": [*fields.converted, *_changes(choices)],
        "SizeMeaning": fields.size,
        "QualityUnit": "fraction" if fields.quality_name == QUALITY_R2 else "n/a",
        "HemifieldCheck": check.lines(),
    }
    return ImportedMaps(found, index, convention, why, about, raw.notes, check, others)


def write_prf(imported: ImportedMaps, subject: "Subject", *, replace: bool = False) -> "list[Path]":
    """Write imported maps into the subject's folder, ``prf/``, where every command and the window find them.

    Raises
    ------
    ConfigError
        If there are maps already and they are not to be replaced.
    ComputeError
        If the disk is full.
    """
    folder = subject.path / "prf"
    before = [*nifti_files(folder, f"*_desc-{LABEL}_x0")] if folder.is_dir() else []
    if before and not replace:
        raise ConfigError(f"{folder} holds imported maps already ({join_names(file.name for file in before)}); replace them with --replace")
    return write_maps(folder, imported.retinotopy, subject, imported.voxel_index, label=LABEL, about=imported.about)


def _check_choices(choices: Choices) -> None:
    unknown = sorted(set(choices.flip) - set(FLIPS))
    if unknown:
        raise ConfigError(f"a map can be flipped in x or y, not {unknown[0]!r}")
    field = choices.field_of_view_deg
    if field is not None and not (np.isfinite(field) and field > 0):
        raise ConfigError(f"the field of view must be a number of degrees above 0, got {field}")


def _quantities(convention: "Convention", raw: "Source") -> "dict[str, NDArray[np.float64]]":
    """Quantities of a convention that the source has."""
    first = convention.position[0]
    key = raw.find(convention.names[first])
    name = next((name for name in convention.names[first] if key.endswith(name.lower())), "")
    start = key.removesuffix(name.lower())
    keys = {quantity: raw.find(names, start) for quantity, names in convention.names.items()}
    absent = [quantity for quantity in convention.position if not keys[quantity]]
    if absent:
        expected = " and ".join(f"{quantity} ({', '.join(convention.names[quantity])})" for quantity in absent)
        raise DataFormatError(f"convention {convention.name}: no map of {expected}; there are {join_names(raw.values, 12) or 'none'}")
    return {quantity: raw.values[key] for quantity, key in keys.items() if key}


def _on_voxels(convention: "Convention", raw: "Source", subject: "Subject", choices: Choices) -> "tuple[Fields, NDArray[np.int64]]":
    """Convert, then bring to voxels: positions can be averaged, angles cannot."""
    values = _quantities(convention, raw)
    scale = choices.degrees_per_pixel if convention.length == "px" else choices.field_of_view_deg
    measure = str(raw.about.get("QualityMeasure", "")) if convention.name == "brain2pix" else ""
    fields = to_fields(convention, values, raw.hemi, scale_deg=scale, percent=choices.percent, measure=measure)
    parts = np.stack([fields.x0, fields.y0, fields.sigma, fields.quality], axis=1)
    done = fields.converted
    if raw.rows is None:
        parts = _from_vertices(parts, raw, subject)
        done = (*done, "x0, y0, size and quality averaged over the cortex in each voxel")
        rows = np.arange(subject.n_voxels)
    else:
        rows = raw.rows
    told = np.isfinite(parts[:, 0]) | (np.isfinite(parts[:, 3]) & ("quality" in values))
    if not np.isfinite(parts[:, 0]).any():
        raise DataFormatError(
            f"no voxel of {subject.name} has a receptive field in {join_names(file.name for file in raw.files)}; is it another subject's?"
        )
    order = np.argsort(rows[told])
    x0, y0, sigma, quality = parts[told][order].T
    return Fields(x0, y0, sigma, quality, fields.quality_name, fields.size, done), rows[told][order].astype(np.int64)


def _from_vertices(parts: "NDArray[np.float64]", raw: "Source", subject: "Subject") -> "NDArray[np.float64]":
    """Bring positions, size and quality of both hemispheres' vertices to voxels, [v 4]."""
    found = np.full((subject.n_voxels, parts.shape[1]), np.nan)
    for hemi in raw.sizes:
        placed = vertices_to_voxels(subject, hemi, parts[raw.hemi == hemi])
        found = np.where(np.isfinite(found), found, placed)
    return found


def _as_map(fields: Fields, convention: "Convention", choices: Choices) -> RetinotopicMap:
    def single(values: "NDArray[np.float64]") -> "NDArray[np.float32]":
        return values.astype(np.float32)

    return RetinotopicMap(
        x0_deg=single(-fields.x0 if "x" in choices.flip else fields.x0),
        y0_deg=single(-fields.y0 if "y" in choices.flip else fields.y0),
        sigma_deg=single(fields.sigma),
        quality=single(fields.quality),
        field_of_view_deg=float("nan") if choices.field_of_view_deg is None else choices.field_of_view_deg,
        quality_name=fields.quality_name,
        source=f"imported pRF map ({convention.name})",
        accuracy_name="an imported map is of no encoder",
    )


def _check(found: RetinotopicMap, index: "NDArray[np.int64]", subject: "Subject") -> "HemifieldCheck":
    def everywhere(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
        whole = np.full(subject.n_voxels, np.nan, dtype=np.float32)
        whole[index] = values
        return whole

    parts = (found.x0_deg, found.y0_deg, found.sigma_deg, found.quality)
    x0, y0, sigma, quality = map(everywhere, parts)
    over_all = RetinotopicMap(x0, y0, sigma, quality, found.field_of_view_deg, found.quality_name)
    return check_sides(subject, over_all, min_quality=MIN_R2 if found.quality_name == QUALITY_R2 else None)


def _agreeing(convention: "Convention", raw: "Source", subject: "Subject", choices: Choices) -> tuple[str, ...]:
    """Conventions of the same numbers that agree with the brain's sides."""
    if convention.angle is None:
        return ()
    found = []
    for other in CONVENTIONS.values():
        if other.angle is None or other.refuse or other.length != convention.length or other.name == convention.name:
            continue
        try:
            fields, index = _on_voxels(other, raw, subject, choices)
            check = _check(_as_map(fields, other, choices), index, subject)
        except Brain2PixError:
            continue
        if check.ok and any(side.n_voxels for side in check.sides):
            found.append(other.name)
    return tuple(found)


def _changes(choices: Choices) -> list[str]:
    flips = [f"sign of {axis}0 turned over" for axis in FLIPS if axis in choices.flip]
    return [*flips, *(["hemispheres swapped"] if choices.swap_hemispheres else [])]
