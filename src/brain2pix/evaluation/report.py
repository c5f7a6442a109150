"""The sheet behind ``scores.json``: every score with its interval, chance level and N, as tidy lines and as a table to read."""

import csv
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.evaluation.identification import WAYS
from brain2pix.evaluation.rows import NULL_WAYS, PIXEL, WITHIN, RowScores, compare_rows
from brain2pix.evaluation.scores import (
    PRF_ROWS,
    ROWS,
    EncoderScores,
    Identification,
    MicrostimulationScores,
    PRFRow,
    PRFRows,
    PRFSummary,
    RowPixelR,
    RowShares,
    RowSSIM,
    Scores,
)
from brain2pix.evaluation.statistics import bootstrap_interval
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from brain2pix.evaluation.encoding import EncoderAccuracy
    from brain2pix.evaluation.retinotopy import PRFScores
    from brain2pix.evaluation.statistics import Interval

TITLES = {
    "full": "full",
    "supervised": "supervised (pairs only)",
    "images": "without test responses",
    "inductive": "responses of the image unseen",
    "ridge_pairs": "ridge on pairs",
    "ridge_unpaired": "ridge on encoded unpaired images",
    "shuffled": "shuffled pairs (control)",
}
PRF_TITLES = {
    "full": "trained encoder",
    "untrained": "closed-form start, untrained",
    "noise_inputs": "trained encoder, noise inputs",
    "permuted": "permuted pairs (null)",
}


@dataclass(frozen=True)
class ScoreLine:
    """One number of the sheet.

    Parameters
    ----------
    part : str, "encoder", "prf", "identification", "rank", "null", "ssim", "pixel_r", "microstimulation" or "difference"
    row : str, which system or area, e.g. "full", "V1", "permuted V1", "full - supervised"
    score : str, e.g. "median_r", "pixel 10-way"
    value : float
    unit : str, "" for fractions, "%", "deg"
    low, high : float or None, 95 % interval over photographs
    chance : float or None
    n : int or None, images or voxels behind the number
    note : str
    """

    part: str
    row: str
    score: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int | None = None
    note: str = ""


def make_scores(
    preset: str,
    seed: int,
    method: str,
    *,
    encoder: "EncoderAccuracy | None" = None,
    prf: "Mapping[str, PRFScores] | None" = None,
    rows: "Mapping[str, RowScores] | None" = None,
    shares: "Mapping[str, float] | None" = None,
    control_shares: "Mapping[str, float] | None" = None,
    seconds: "Mapping[str, float] | None" = None,
) -> Scores:
    """Gather what was computed into ``scores.json``; what is left out stays null.

    Parameters
    ----------
    preset, seed, method : of the run
    encoder : EncoderAccuracy of the row `full`
    prf : mapping of row name (see `scores.PRF_ROWS`) to PRFScores
    rows : mapping of row name (see `scores.ROWS`; others are ignored) to RowScores
    shares, control_shares : mappings of row name to the quadrant share of a microstimulation, and to that of random voxels
    seconds : mapping of stage to wall time
    """
    known = {name: row for name, row in (rows or {}).items() if name in ROWS}
    fields_found = prf or {}
    shares, permuted = shares or {}, fields_found.get("permuted")
    return Scores(
        preset=preset,
        seed=seed,
        method=method,
        encoder=EncoderScores(median_r=encoder.median_r, median_r_over_ceiling=encoder.median_r_over_ceiling)
        if encoder
        else EncoderScores(),
        prf=PRFSummary(
            **_summary_fields(fields_found.get("full")), null_angle_error_deg=permuted.median_angle_error_deg if permuted else None
        ),
        prf_rows=PRFRows(
            **{name: PRFRow(**_summary_fields(part), size_spearman=part.size_spearman) for name, part in fields_found.items()}
        ),
        identification=Identification(**{name: row.summary() for name, row in known.items()}),
        ssim=RowSSIM(**{name: float(row.ssim.mean()) for name, row in known.items()}),
        pixel_r=RowPixelR(**{name: float(row.pixel_r.mean()) for name, row in known.items()}),
        microstimulation=MicrostimulationScores(
            quadrant_share=shares.get("full"), rows=RowShares(**shares), control=RowShares(**(control_shares or {}))
        ),
        seconds=dict(seconds or {}),
    )


def row_lines(name: str, row: RowScores) -> list[ScoreLine]:
    """Lines of one row of reconstructions: identification by each measure, SSIM and pixel r, with intervals and chance."""
    lines = []
    for measure in (PIXEL, "independent", *row.networks):
        for ways in (*map(str, WAYS), WITHIN):
            interval = row.interval(measure, ways)
            if interval is not None:
                score = _way_name(measure, ways)
                note = f"network {row.worst_network(ways)}" if measure == "independent" else row.resolutions.get(score, "")
                lines.append(_line("identification", name, score, interval, "%", 100 * row.chances[ways], note))
    for measure, ranks in row.ranks.items():
        lines.append(_line("rank", name, f"{measure} rank", bootstrap_interval(ranks, row.groups), chance=0.5))
    lines.append(
        _line(
            "ssim",
            name,
            "ssim",
            bootstrap_interval(row.ssim, row.groups),
            chance=row.flat_ssim,
            note="chance = flat picture in the mean colour",
        )
    )
    interval = bootstrap_interval(row.pixel_r, row.groups)
    lines.append(_line("pixel_r", name, "pixel r", interval, chance=0.0, note=row.resolutions.get("pixel r", "")))
    return lines


def null_lines(name: str, row: RowScores) -> list[ScoreLine]:
    """Lines of the permutation null of the 10-way score: its mean with the band that holds 95 % of the draws, and its SD."""
    lines = []
    for measure in (PIXEL, "independent"):
        draws = row.null(measure)
        if draws is not None:
            percent, score, note = 100 * draws, _way_name(measure, str(NULL_WAYS)), "reconstructions assigned to images at random"
            low, high = (float(bound) for bound in np.quantile(percent, [0.025, 0.975]))
            chance = 100 * row.chances[str(NULL_WAYS)]
            lines.append(ScoreLine("null", name, score, float(percent.mean()), "%", low, high, chance, len(draws), note))
            lines.append(ScoreLine("null", name, f"{score} SD", float(percent.std(ddof=1)), "%", n=len(draws), note=note))
    return lines


def difference_lines(rows: "Mapping[str, RowScores]", pairs: "Sequence[tuple[str, str]]") -> list[ScoreLine]:
    """Lines of paired differences, e.g. ``[("full", "supervised"), ("full", "ridge_unpaired")]``; pairs with a missing row are left out."""
    lines = []
    for first, second in pairs:
        if first not in rows or second not in rows:
            continue
        for measure, ways in ((PIXEL, "10"), ("independent", "10"), (PIXEL, WITHIN), ("ssim", ""), ("pixel_r", "")):
            interval = compare_rows(rows[first], rows[second], measure, ways)
            if interval is not None:
                unit = "%" if ways else ""
                lines.append(_line("difference", f"{first} - {second}", _way_name(measure, ways), interval, unit, 0.0))
    return lines


def encoder_lines(accuracy: "EncoderAccuracy", row: str = "full") -> list[ScoreLine]:
    """Lines of the encoder: all voxels in scope, and each area (of another row than `full` with the row's name)."""
    ceiling = f"median ceiling {accuracy.median_ceiling:.3f}" if math.isfinite(accuracy.median_ceiling) else "no ceiling"
    parts = {row: accuracy.whole, **{_area_name(row, name): values for name, values in accuracy.areas.items()}}
    return [
        ScoreLine("encoder", name, f"{_percentile(share)}_{score}", value, n=found.n, chance=0.0, note=ceiling if name == row else "")
        for name, both in parts.items()
        for score, found in zip(("r", "r_over_ceiling"), both, strict=True)
        for share, value in found.at.items()
        if math.isfinite(value)
    ]


def prf_lines(scores: "PRFScores", row: str = "full") -> list[ScoreLine]:
    """Lines of receptive fields: all voxels in scope, and each area (of another row than `full` with the row's name)."""
    chances = {
        "median_angle_error_deg": 90.0,
        "fisher_lee": 0.0,
        "log_ecc_r": 0.0,
        "size_spearman": 0.0,
        "hemifield": 0.5,
        "upper_lower": 0.5,
    }
    lines = []
    for name, part in {row: scores, **{_area_name(row, name): part for name, part in scores.areas.items()}}.items():
        for score, value in asdict(part).items():
            if isinstance(value, float) and math.isfinite(value):
                unit = "deg" if score.endswith("_deg") else ""
                lines.append(ScoreLine("prf", name, score, value, unit, chance=chances.get(score), n=part.n_voxels))
    return lines


def write_lines(path: "Path", lines: "Sequence[ScoreLine]") -> None:
    """Write lines as a table of tab-separated values; ``n/a`` where there is none."""
    names = [item.name for item in fields(ScoreLine)]
    with atomic_path(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow({key: _cell(value) for key, value in asdict(line).items()})


def read_lines(path: "Path") -> list[ScoreLine]:
    """Read what `write_lines` wrote.

    Raises
    ------
    MissingDataError
        If the file does not exist.
    DataFormatError
        If a column is missing or a number is not one; the message names the line.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} does not exist; it is written at the end of an evaluation")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        missing = {item.name for item in fields(ScoreLine)} - set(reader.fieldnames or ())
        if missing:
            raise DataFormatError(f"{path} lacks the columns {', '.join(sorted(missing))}; write it with write_lines")
        lines = []
        for number, cells in enumerate(reader, 2):
            try:
                lines.append(_read_line(cells))
            except (TypeError, ValueError) as error:
                raise DataFormatError(f"{path}, line {number}: {error}") from None
    return lines


def format_table(scores: Scores, lines: "Sequence[ScoreLine] | None" = None, *, simulated: bool = True) -> str:
    """Plain-text table of a run, for a terminal.

    Parameters
    ----------
    scores : Scores
    lines : sequence of ScoreLine or None, adds the 95 % intervals
    simulated : bool, says so in the first line
    """
    subject = "simulated subject" if simulated else "measured subject"
    blocks = [
        f"{scores.method} - preset {scores.preset} - seed {scores.seed} - {subject}",
        _block("Encoder", scores.encoder.model_dump()),
        _block("Receptive fields against the truth", scores.prf.model_dump()),
        _prf_block(scores),
        _identification_block(scores, lines or ()),
        _stimulation_block(scores),
    ]
    differences = [line for line in lines or () if line.part == "difference"]
    if differences:
        blocks.append(_difference_block(differences))
    if scores.seconds:
        blocks.append(_block("Seconds", scores.seconds, digits=1))
    return "\n\n".join(block for block in blocks if block)


def _prf_block(scores: Scores) -> str:
    found = {name: row for name in PRF_ROWS if (row := getattr(scores.prf_rows, name)) is not None}
    if not set(found) - {"full"}:
        return ""
    digits = {"median_error_deg": 2, "median_angle_error_deg": 1}
    table = [["Receptive fields by row", "error deg", "angle deg", "Fisher-Lee", "log ecc r", "hemifield", "size rho"]]
    for name, row in found.items():
        values = row.model_dump(exclude={"kept"})
        table.append([f"  {PRF_TITLES[name]}", *[_number(value, digits.get(key, 3)) for key, value in values.items()]])
    return _align(table)


def _stimulation_block(scores: Scores) -> str:
    part = scores.microstimulation
    table = [["Microstimulation of the model (chance .25)", "quadrant_share", "random voxels"]]
    for name in ROWS:
        if name == "full" or getattr(part.rows, name) is not None:
            share = part.quadrant_share if name == "full" else getattr(part.rows, name)
            table.append([f"  {TITLES[name]}", _number(share, 3), _number(getattr(part.control, name), 3)])
    return _align(table)


def _identification_block(scores: Scores, lines: "Sequence[ScoreLine]") -> str:
    chance = {line.score: line.chance for line in lines if line.part in ("identification", "ssim")}
    photo = _number(chance.get(f"{PIXEL} within photo"), 1)
    header = ["Identification [%]", *[f"{m} {w}" for m in ("pixel", "indep.") for w in ("2", "10", "50", "photo")], "SSIM"]
    table = [header, ["  chance", *["50.0", "10.0", "2.0", photo] * 2, _number(chance.get("ssim"), 3)]]
    for name in ROWS:
        row = getattr(scores.identification, name)
        cells = []
        for measure in ("pixel", "independent"):
            ways = getattr(row, measure) if row else None
            values = [getattr(ways, field, None) for field in ("two", "ten", "fifty", "within_photo")]
            cells += [_number(value, 1) for value in values]
        table.append([f"  {TITLES[name]}", *cells, _number(getattr(scores.ssim, name), 3)])
    notes = "  photo: among the crops of a photo; indep.: the worse of the untrained networks; chance of SSIM: a flat mean-colour picture"
    return f"{_align(table)}\n{notes}"


def _difference_block(lines: "Sequence[ScoreLine]") -> str:
    table = [["Paired differences", "", "mean", "95 % over photos"]]
    for line in lines:
        digits = 1 if line.unit == "%" else 3
        interval = "-" if line.low is None or line.high is None else f"{line.low:+.{digits}f} .. {line.high:+.{digits}f}"
        table.append([f"  {line.row}", line.score, f"{line.value:+.{digits}f}", interval])
    return _align(table)


def _block(title: str, values: "Mapping[str, float | None]", digits: int = 3) -> str:
    return "\n".join([title, _align([[f"  {name}", _number(value, digits)] for name, value in values.items()])])


def _align(table: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    pad = (str.ljust, *[str.rjust] * (len(widths) - 1))  # names to the left, numbers to the right
    return "\n".join("  ".join(put(cell, width) for put, cell, width in zip(pad, row, widths, strict=True)) for row in table)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percentile(share: int) -> str:
    return "median" if share == 50 else f"percentile_{share}"


def _area_name(row: str, area: str) -> str:
    return area if row == "full" else f"{row} {area}"


def _summary_fields(prf: "PRFScores | None") -> dict[str, float]:
    names = ("kept", "median_error_deg", "median_angle_error_deg", "fisher_lee", "log_ecc_r", "hemifield")
    return {name: getattr(prf, name) for name in names} if prf else {}


def _line(part: str, row: str, score: str, interval: "Interval", unit: str = "", chance: float | None = None, note: str = "") -> ScoreLine:
    low, high = (bound if math.isfinite(bound) else None for bound in (interval.low, interval.high))
    return ScoreLine(part, row, score, interval.mean, unit, low, high, chance, interval.n, note)


def _way_name(measure: str, ways: str) -> str:
    if not ways:
        return measure.replace("_", " ")
    return f"{measure} within photo" if ways == WITHIN else f"{measure} {ways}-way"


def _cell(value: object) -> str:
    return "n/a" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _read_line(cells: dict[str, str]) -> ScoreLine:
    numbers = {key: None if cells[key] == "n/a" else float(cells[key]) for key in ("low", "high", "chance")}
    n = None if cells["n"] == "n/a" else int(cells["n"])
    return ScoreLine(cells["part"], cells["row"], cells["score"], float(cells["value"]), cells["unit"], **numbers, n=n, note=cells["note"])
