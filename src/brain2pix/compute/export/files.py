"""Parts of an export that are no figures: maps, scores and the record of a stimulation."""

import json
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.export.sidecar import conventions, run_facts, subject_facts, versions
from brain2pix.data.image_scores import SIDECAR
from brain2pix.data.maps import write_maps
from brain2pix.data.prf_files.writing import rows_of, with_field_of_view, write_prf_files
from brain2pix.evaluation.report import ScoreLine, read_lines, write_lines
from brain2pix.files import write_json
from brain2pix.stimulation.record import write_record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.compute.export.material import Material

_DIGITS = {"%": 1, "deg": 2}


def write_map_files(material: "Material", folder: "Path") -> None:
    """Write maps as NIfTI, GIFTI, MGZ and one table, all voxels or only those above the threshold, and say which."""
    place = folder / material.name("maps")
    index = rows_of(material.stored, material.subject)
    found = material.stored.on(material.subject, index)
    cut = None if material.settings.whole_maps else material.threshold
    found = found if cut is None else above(found, cut)
    found = with_field_of_view(found, material.stored.retinotopy.field_of_view_deg, None)
    label = "prf" if "imported" in found.source else "decoder" if "decoder" in found.source else "encoder"
    surfaces = {(hemi, kind) for hemi in "LR" for kind in ("white", "pial")} & set(material.subject.meshes())
    kinds = ("mgz", "tsv") if len(surfaces) == 4 else ("tsv",)
    write_prf_files(place, found, material.subject, index, kinds=kinds, label=label)
    write_maps(place, found, material.subject, index, label=label, about=_origin(material))
    known = np.isfinite(found.x0_deg)
    about = {
        **subject_facts(material.subject),
        "threshold": None if cut is None else {"quality_at_least": cut, "measure": found.quality_name, "below": "NaN"},
        "n_with_a_field": int(known.sum()),
        "n_mapped": int(index.size),
        "source": found.source,
        "conventions": conventions(material.subject.field_of_view_deg),
        "run": run_facts(material.parts.run),
        "versions": versions(),
        "folder": str(material.parts.maps),
    }
    write_json(place / "about.json", about)


def above(found: "RetinotopicMap", threshold: float) -> "RetinotopicMap":
    """Map with NaN in every voxel whose quality is below a threshold; quality itself is kept, for it says why."""
    with np.errstate(invalid="ignore"):
        kept = found.quality >= threshold

    def cut(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
        return np.where(kept, values, np.nan).astype(np.float32)

    predicted: dict[str, Any] = {name: cut(part) for name, part in found.encoder_parts.items()}
    return replace(
        found,
        x0_deg=cut(found.x0_deg),
        y0_deg=cut(found.y0_deg),
        sigma_deg=cut(found.sigma_deg),
        **predicted,
    )


def write_scores(material: "Material", folder: "Path") -> None:
    """Write scores as the table they are and as Markdown, and those of each reconstruction with what their columns mean."""
    table = material.parts.image_scores
    if table is not None:
        for file in (table, table.with_name(SIDECAR)):
            shutil.copyfile(file, folder / f"{material.name('image-scores')}{file.suffix}")
    if material.parts.scores is None:
        return
    lines = read_lines(material.parts.scores)
    stem = material.name("scores")
    write_lines(folder / f"{stem}.tsv", lines)
    (folder / f"{stem}.md").write_text(markdown(lines, material.subject.simulated), encoding="utf-8")


def write_stimulation_record(material: "Material", folder: "Path") -> None:
    """Write the record, checked, as it can be run again."""
    write_record(folder / f"{material.name('stimulation-record')}.json", material.record)


def markdown(lines: "list[ScoreLine]", simulated: bool) -> str:
    """Write scores as a Markdown table, each with its interval, chance level and N."""
    head = ["part", "system or area", "score", "value", "95 %", "chance", "N", "note"]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        digits = _DIGITS.get(line.unit, 3)
        interval = "" if line.low is None or line.high is None else f"{line.low:.{digits}f} to {line.high:.{digits}f}"
        chance = "" if line.chance is None else f"{line.chance:.{digits}f}"
        value = f"{line.value:.{digits}f} {line.unit}".strip()
        rows.append([line.part, line.row, line.score, value, interval, chance, "" if line.n is None else f"{line.n:,}", line.note])
    words = "Scores of a simulated subject." if simulated else "Scores."
    return f"{words} Intervals are over photographs.\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def scores_sidecar(material: "Material") -> dict[str, Any]:
    """All score lines as JSON values, for the sidecar of the scores."""
    if material.parts.scores is None:
        return {}
    return {"scores": {"source": str(material.parts.scores), "lines": [_plain(line) for line in read_lines(material.parts.scores)]}}


def _plain(line: ScoreLine) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(asdict(line)))
    return values


def _origin(material: "Material") -> dict[str, Any]:
    """Say of an imported map where it came from."""
    keys = ("SourceConvention", "Sources", "Converted", "SizeMeaning", "QualityUnit")
    return {key: material.stored.description[key] for key in keys if key in material.stored.description}
