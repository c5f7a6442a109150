"""Tables of several sheets in Markdown: methods side by side, the mean over seeds first. The README and the results page use the same."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brain2pix.errors import ConfigError
from brain2pix.evaluation.report import PRF_TITLES, TITLES, ScoreLine, read_lines
from brain2pix.evaluation.scores import PRF_ROWS, ROWS, read_scores

if TYPE_CHECKING:
    from pathlib import Path

# label, where it stands in scores.json, how one number is written
SINGLE: tuple[tuple[str, str, str], ...] = (
    ("encoder: median r", "encoder.median_r", "{:.3f}"),
    ("encoder: median r over ceiling", "encoder.median_r_over_ceiling", "{:.3f}"),
    ("receptive fields: share kept", "prf.kept", "{:.2f}"),
    ("receptive fields: median centre error [deg]", "prf.median_error_deg", "{:.2f}"),
    ("receptive fields: median angle error [deg of angle]", "prf.median_angle_error_deg", "{:.1f}"),
    ("receptive fields: Fisher-Lee correlation of angle", "prf.fisher_lee", "{:.3f}"),
    ("receptive fields: r of log eccentricity", "prf.log_ecc_r", "{:.3f}"),
    ("receptive fields: share in the correct hemifield", "prf.hemifield", "{:.3f}"),
    ("permuted pairs: median angle error [deg of angle]", "prf.null_angle_error_deg", "{:.0f}"),
    ("microstimulation: share in the quadrant (chance .25)", "microstimulation.quadrant_share", "{:.3f}"),
)
PRF_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("kept", "kept", "{:.2f}"),
    ("centre error [deg]", "median_error_deg", "{:.2f}"),
    ("angle error [deg of angle]", "median_angle_error_deg", "{:.1f}"),
    ("Fisher-Lee", "fisher_lee", "{:.3f}"),
    ("r of log ecc.", "log_ecc_r", "{:.3f}"),
    ("hemifield", "hemifield", "{:.3f}"),
    ("size, Spearman", "size_spearman", "{:.3f}"),
)
WAYS = ("2", "10", "50", "within_photo")
MEASURES = ("pixel", "independent")
_MAIN_SEEDS = (0, 1, 2)  # the bars speak of their mean
_NONE = "n/a"


@dataclass(frozen=True)
class Sheet:
    """Scores of one demo.

    Parameters
    ----------
    values : dict, ``scores.json``
    lines : tuple of ScoreLine, ``scores.tsv``; empty if it is not there
    """

    values: dict[str, Any]
    lines: tuple[ScoreLine, ...] = ()

    @property
    def seed(self) -> int:
        """Seed of subject and training."""
        return int(self.values["seed"])

    def look_up(self, path: str) -> Any:
        """Value at a dotted key path of ``scores.json``; None where a part of it is null or absent."""
        value: Any = self.values
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def line(self, part: str, row: str, score: str) -> ScoreLine | None:
        """One line of ``scores.tsv``; None if it is not there."""
        return next((line for line in self.lines if (line.part, line.row, line.score) == (part, row, score)), None)

    def value(self, part: str, row: str, score: str) -> float | None:
        """Value of a line; None if it is not there."""
        line = self.line(part, row, score)
        return None if line is None else line.value


@dataclass(frozen=True)
class Bar:
    """One thing that the default method must reach.

    Parameters
    ----------
    label : str
    value : function from a Sheet to its value, None if it was not computed
    relation : str, ">=", "<=", ">" or "<"
    limit : float
    form : str, how a number is written
    """

    label: str
    value: Callable[[Sheet], float | None]
    relation: str
    limit: float
    form: str

    def met(self, value: float | None) -> bool | None:
        """Whether a value reaches the bar; None if there is none."""
        if value is None:
            return None
        reached = {">=": value >= self.limit, "<=": value <= self.limit, ">": value > self.limit, "<": value < self.limit}
        return reached[self.relation]


def read_sheet(place: "Path") -> Sheet:
    """Read the sheet of a demo.

    Parameters
    ----------
    place : Path, folder of the demo, or its ``scores.json``

    Raises
    ------
    MissingDataError, DataFormatError
        If there is no sheet, or it is damaged.
    """
    file = place / "scores.json" if place.is_dir() else place
    lines = file.with_name("scores.tsv")
    return Sheet(read_scores(file).model_dump(mode="json", by_alias=True), tuple(read_lines(lines)) if lines.is_file() else ())


def group_sheets(sheets: Iterable[Sheet]) -> dict[str, list[Sheet]]:
    """Sort sheets by method (in the order given) and seed.

    Raises
    ------
    ConfigError
        If they are of different presets, or two are of the same method and seed.
    """
    found: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        found.setdefault(sheet.values["method"], []).append(sheet)
    presets = {sheet.values["preset"] for group in found.values() for sheet in group}
    if len(presets) > 1:
        raise ConfigError(f"the sheets are of different presets ({', '.join(sorted(presets))}); a mean over them means nothing")
    for method, group in found.items():
        seeds = sorted(sheet.seed for sheet in group)
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"two of the sheets of {method} are of the same seed (seeds {seeds}); give each once")
        group.sort(key=lambda sheet: sheet.seed)
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """Mean over seeds; None unless each seed has a value."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def write_number(value: float | None, form: str) -> str:
    """Write a number, or n/a."""
    return _NONE if value is None else form.format(value)


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay out a table."""
    return [_row(head), "|---" * len(head) + "|", *map(_row, rows)]


# ---------------------------------------------------------------------- tables of several methods, means only


def methods_table(groups: dict[str, list[Sheet]]) -> list[str]:
    """Scores that are one number: a column for each method, the mean over its seeds."""
    rows = [[label, *[write_number(_mean_of(group, path), form) for group in groups.values()]] for label, path, form in SINGLE]
    seconds = [write_number(mean([_seconds(sheet) for sheet in group]), "{:.0f}") for group in groups.values()]
    return make_table(["", *groups], [*rows, ["seconds, all stages", *seconds]])


def short_rows_table(groups: dict[str, list[Sheet]]) -> list[str]:
    """Rows of the sheet that some seed has, the mean over seeds only."""
    head = ["method", "row", "pixel: 2 / 10 / 50-way / within photo [%]", "independent: the same [%]", "SSIM", "pixel r"]
    rows = []
    for method, group in groups.items():
        cells = {row: _row_cells(group, row)[0] for row in ROWS}
        rows += [[method, row, *found] for row, found in cells.items() if set(found) != {_NONE}]
    return make_table(head, rows)


# ---------------------------------------------------------------------- tables of one method, each seed


def single_table(group: Sequence[Sheet]) -> list[str]:
    """Scores that are one number: the mean and each seed."""
    rows = [[label, *_columns([sheet.look_up(path) for sheet in group], form)] for label, path, form in SINGLE]
    seconds = _columns([_seconds(sheet) for sheet in group], "{:.0f}")
    return make_table(["", *_heads(group)], [*rows, ["seconds, all stages", *seconds]])


def rows_table(group: Sequence[Sheet]) -> list[str]:
    """Identification and similarity of each row: the mean and each seed, or one line if no seed computed it."""
    head = ["row", "", "pixel: 2 / 10 / 50-way / within photo [%]", "independent: the same [%]", "SSIM", "pixel r"]
    rows = []
    for row in ROWS:
        cells = _row_cells(group, row)
        if all(cell == _NONE for column in cells for cell in column):
            rows.append([row, "", *[_NONE] * 4])
        else:
            rows += [[row, name, *found] for name, found in zip(_heads(group), cells, strict=True)]
    return make_table(head, rows)


def intervals_table(group: Sequence[Sheet]) -> list[str]:
    """10-way scores and SSIM with their intervals and the null, for each row and reference of each seed."""
    head = ["row", "", "pixel 10-way [%]", "null", "like", "independent 10-way [%]", "null", "SSIM"]
    rows = []
    names = dict.fromkeys(line.row for sheet in group for line in sheet.lines if line.part == "identification")
    for name in names:
        for sheet in group:
            pixel = sheet.line("identification", name, "pixel 10-way")
            cells = [_interval(pixel, 1), _null(sheet, name, "pixel 10-way"), pixel.note if pixel and name in ROWS else ""]
            cells += [_interval(sheet.line("identification", name, "independent 10-way"), 1), _null(sheet, name, "independent 10-way")]
            rows.append([name, f"seed {sheet.seed}", *cells, _interval(sheet.line("ssim", name, "ssim"), 3)])
    return make_table(head, rows)


def prf_table(group: Sequence[Sheet]) -> list[str]:
    """Receptive fields of each row, with how well its encoder predicts: the mean and each seed."""
    head = ["row", "", *[label for label, _, _ in PRF_COLUMNS], "encoder r over ceiling"]
    rows = []
    for row in PRF_ROWS:
        columns = [_columns([sheet.look_up(f"prf_rows.{row}.{key}") for sheet in group], form) for _, key, form in PRF_COLUMNS]
        columns.append(_columns([sheet.value("encoder", row, "median_r_over_ceiling") for sheet in group], "{:.3f}"))
        rows += [[PRF_TITLES[row], name, *cells] for name, *cells in zip(_heads(group), *columns, strict=True)]
    return make_table(head, rows)


def areas_table(group: Sequence[Sheet]) -> list[str]:
    """Map and encoder in each area, row `full`, the mean over seeds."""
    areas = dict.fromkeys(line.row for sheet in group for line in sheet.lines if line.part == "prf" and line.row[:1] == "V")
    rows = []
    for area in areas:
        cells = [write_number(mean([sheet.value("prf", area, key) for sheet in group]), form) for _, key, form in PRF_COLUMNS]
        encoder = mean([sheet.value("encoder", area, "median_r_over_ceiling") for sheet in group])
        rows.append([area, *cells, write_number(encoder, "{:.3f}")])
    return make_table(["area", *[label for label, _, _ in PRF_COLUMNS], "encoder r over ceiling"], rows)


def stimulation_table(group: Sequence[Sheet]) -> list[str]:
    """Quadrant shares of each row beside as many random voxels: the mean and each seed."""
    head = ["row", "voxels", *_heads(group)]
    rows = []
    for row in ROWS:
        for key, label in (("rows", "of the quadrant"), ("control", "random")):
            columns = _columns([sheet.look_up(f"microstimulation.{key}.{row}") for sheet in group], "{:.3f}")
            rows.append([TITLES[row], label, *columns])
    return make_table(head, rows)


def differences_table(group: Sequence[Sheet]) -> list[str]:
    """Paired differences: the mean over seeds, and each seed with its interval over photos."""
    names = dict.fromkeys((line.row, line.score) for sheet in group for line in sheet.lines if line.part == "difference")
    rows = []
    for row, score in names:
        lines = [sheet.line("difference", row, score) for sheet in group]
        digits = 1 if any(line is not None and line.unit == "%" for line in lines) else 3
        values = mean([None if line is None else line.value for line in lines])
        unit = " [points]" if digits == 1 else ""
        rows.append([row, f"{score}{unit}", write_number(values, f"{{:+.{digits}f}}"), *[_interval(line, digits, "+") for line in lines]])
    return make_table(["difference", "score", *_heads(group)], rows)


def bars_table(group: Sequence[Sheet]) -> list[str]:
    """Each bar with the mean of seeds 0-2 (those given) and every later seed."""
    main = [sheet for sheet in group if sheet.seed in _MAIN_SEEDS]
    later = [sheet for sheet in group if sheet.seed not in _MAIN_SEEDS]
    head = ["score", "bar", f"mean of seeds {', '.join(str(sheet.seed) for sheet in main)}", "", *[f"seed {s.seed}" for s in later]]
    rows = []
    for bar in BARS:
        value = mean([bar.value(sheet) for sheet in main])
        others = [bar.value(sheet) for sheet in later]
        limit = f"{bar.relation} {bar.form.format(bar.limit)}"
        rows.append([bar.label, limit, write_number(value, bar.form), _verdict(bar.met(value)), *[_judged(bar, other) for other in others]])
    return make_table(head, rows)


def _at(path: str) -> Callable[[Sheet], float | None]:
    return lambda sheet: sheet.look_up(path)


def _difference(other: str, score: str) -> Callable[[Sheet], float | None]:
    return lambda sheet: sheet.value("difference", f"full - {other}", score)


# What the default method must reach on preset `demo`, in the mean of seeds 0-2.
BARS = (
    Bar("encoder: median r over ceiling", _at("encoder.median_r_over_ceiling"), ">=", 0.82, "{:.3f}"),
    Bar("receptive fields: centre error [deg]", _at("prf.median_error_deg"), "<", 0.50, "{:.3f}"),
    Bar("receptive fields: angle error [deg of angle]", _at("prf.median_angle_error_deg"), "<", 7, "{:.2f}"),
    Bar("receptive fields: Fisher-Lee", _at("prf.fisher_lee"), ">", 0.93, "{:.3f}"),
    Bar("receptive fields: r of log eccentricity", _at("prf.log_ecc_r"), ">", 0.92, "{:.3f}"),
    Bar("receptive fields: hemifield", _at("prf.hemifield"), ">", 0.95, "{:.3f}"),
    Bar("permuted pairs: angle error [deg of angle]", _at("prf.null_angle_error_deg"), ">", 60, "{:.1f}"),
    *[
        Bar(f"full: {measure} {ways}-way [%]", _at(f"identification.full.{measure}.{ways}"), ">=", limit, "{:.1f}")
        for measure, limits in (("pixel", (97, 94, 85)), ("independent", (95, 86, 72)))
        for ways, limit in zip(WAYS, limits, strict=False)
    ],
    Bar("full: within photo, pixels [%]", _at("identification.full.pixel.within_photo"), ">=", 85, "{:.1f}"),
    Bar("full - supervised: pixel 10-way [points]", _difference("supervised", "pixel 10-way"), ">=", 12, "{:+.1f}"),
    Bar("full - supervised: independent 10-way [points]", _difference("supervised", "independent 10-way"), ">=", 20, "{:+.1f}"),
    Bar("full - ridge_unpaired: independent 10-way [points]", _difference("ridge_unpaired", "independent 10-way"), ">=", 2, "{:+.1f}"),
    Bar("full - ridge_unpaired: SSIM", _difference("ridge_unpaired", "ssim"), ">=", 0.03, "{:+.3f}"),
    Bar("full - ridge_unpaired: pixel r", _difference("ridge_unpaired", "pixel r"), ">=", -0.03, "{:+.3f}"),
    Bar("full: SSIM", _at("ssim.full"), ">=", 0.42, "{:.3f}"),
    Bar("shuffled: pixel 10-way [%]", _at("identification.shuffled.pixel.10"), "<=", 22, "{:.1f}"),
    Bar("shuffled: independent 10-way [%]", _at("identification.shuffled.independent.10"), "<=", 20, "{:.1f}"),
    Bar("microstimulation: quadrant share", _at("microstimulation.quadrant_share"), ">=", 0.70, "{:.3f}"),
)


def _row(cells: Sequence[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _heads(group: Sequence[Sheet]) -> list[str]:
    return ["mean", *[f"seed {sheet.seed}" for sheet in group]]


def _columns(values: Sequence[float | None], form: str) -> list[str]:
    """Write the mean over the seeds, then each seed."""
    return [write_number(value, form) for value in [mean(values), *values]]


def _row_cells(group: Sequence[Sheet], row: str) -> list[list[str]]:
    """Cells of one row of the sheet: for the mean and each seed, pixel, independent, SSIM and pixel r."""
    columns = []
    for measure in MEASURES:
        ways = [_columns([sheet.look_up(f"identification.{row}.{measure}.{way}") for sheet in group], "{:.1f}") for way in WAYS]
        columns.append([" / ".join(found) if set(found) != {_NONE} else _NONE for found in zip(*ways, strict=True)])
    columns += [_columns([sheet.look_up(f"{part}.{row}") for sheet in group], "{:.3f}") for part in ("ssim", "pixel_r")]
    return [list(cells) for cells in zip(*columns, strict=True)]


def _mean_of(group: Sequence[Sheet], path: str) -> float | None:
    return mean([sheet.look_up(path) for sheet in group])


def _seconds(sheet: Sheet) -> float | None:
    return sum(sheet.values["seconds"].values()) or None


def _interval(line: ScoreLine | None, digits: int, sign: str = "") -> str:
    if line is None:
        return _NONE
    form = f"{{:{sign}.{digits}f}}"
    inside = "" if line.low is None or line.high is None else f" ({form.format(line.low)} .. {form.format(line.high)})"
    return form.format(line.value) + inside


def _null(sheet: Sheet, row: str, score: str) -> str:
    centre, spread = sheet.value("null", row, score), sheet.value("null", row, f"{score} SD")
    return "" if centre is None or spread is None else f"{centre:.1f} ± {spread:.1f}"


def _verdict(met: bool | None) -> str:
    return _NONE if met is None else "met" if met else "**not met**"


def _judged(bar: Bar, value: float | None) -> str:
    return write_number(value, bar.form) + ("" if bar.met(value) is not False else " (**not met**)")
