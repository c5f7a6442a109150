"""Everything that a report says, read from what the jobs wrote: scores, comparisons, orderings, and what is missing with why."""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.device import choose_device
from brain2pix.compute.reproduce.compare import Claim, claims_of, compare_all, repeat_rows, verdict, with_averages
from brain2pix.compute.reproduce.judges import Judge, make_judges
from brain2pix.compute.reproduce.plans import MAIN, Row
from brain2pix.compute.reproduce.prepare import CLASSIFY, EVALUATE, MAPS
from brain2pix.compute.reproduce.repeats import decode_repeats
from brain2pix.compute.reproduce.rows import Memory, Pictures, gather, score, why_unfinished
from brain2pix.compute.sweep_cells import folder_standing, seconds_of
from brain2pix.data.maps import read_maps
from brain2pix.data.splits import photo_numbers
from brain2pix.data.tables import read_table
from brain2pix.errors import Brain2PixError
from brain2pix.evaluation.comparison import Comparison
from brain2pix.evaluation.encoding import spread
from brain2pix.evaluation.report import ScoreLine, read_lines
from brain2pix.events import Progress
from brain2pix.files import read_json_if_there
from brain2pix.signals.ceilings import split_half_ceiling
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.compute.reproduce.rows import Scored
    from brain2pix.compute.sweep_cells import SweepCell
    from brain2pix.events import CancelToken, EventSink

_STAGE = "report"
_AREAS = ("V1", "V2", "V3", "V4", "hV4", "LVC", "HVC", "VC", "FFA", "PPA", "LOC", "LO")
_ALL = "all voxels of the training"


@dataclass
class Findings:
    """What a report says.

    Parameters
    ----------
    pictures : list of Pictures, one for each row of the plan, those of repeats after them
    judges : list of Judge
    lines : list of ScoreLine, every number
    comparisons : list of Comparison
    orderings : list of (Claim, verdict, Comparison or None)
    judge : str, whose scores decide the orderings
    missing : dict of what is not there to why
    maps, classes : Path or None, folder of the maps job, picture of the classes
    """

    pictures: list[Pictures]
    judges: list[Judge]
    lines: list[ScoreLine] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    orderings: list[tuple[Claim, str, Comparison | None]] = field(default_factory=list)
    judge: str = "pixel"
    missing: dict[str, str] = field(default_factory=dict)
    maps: "Path | None" = None
    classes: "Path | None" = None

    def line(self, part: str, row: str, score: str) -> ScoreLine | None:
        """Find one number."""
        return next((line for line in self.lines if (line.part, line.row, line.score) == (part, row, score)), None)


def find(reproduction: "Reproduction", sink: "EventSink", cancel: "CancelToken") -> Findings:
    """Read, score and compare what there is.

    Parameters
    ----------
    reproduction : Reproduction
    sink : callable, takes events
    cancel : CancelToken
    """
    memory = Memory()
    pictures = [gather(reproduction, row, memory) for row in reproduction.rows]
    pictures += _repeats(reproduction, cancel)
    found = Findings(pictures, make_judges(choose_device(reproduction.params.device)), missing=dict(reproduction.missing))
    found.missing |= {each.row.title: each.why for each in pictures if each.images is None}
    scored: dict[str, Scored] = {}
    for number, each in enumerate(pictures):
        cancel.check()
        if each.images is not None:
            scored[each.row.name] = score(each.row.name, each.images, reproduction.test, found.judges, cancel)
            found.lines += scored[each.row.name].lines()
        sink(Progress(_STAGE, number + 1, len(pictures), "rows scored"))
    full = full_cell(reproduction)
    _encoder(full, found, reproduction.plan.method)
    _ceilings(reproduction, found)
    _maps(reproduction, full, found)
    ranks = _classification(reproduction, found)
    if (seconds := seconds_of(full.train.folder)) is not None:
        found.lines.append(ScoreLine("seconds", "full", "training", float(seconds), "s", n=None, note=_device(full)))
    plan = reproduction.plan
    claims = with_averages(claims_of(plan), list(scored), plan.runs)
    if plan.method == "gaziv" and not any(judge.why for judge in found.judges if judge.key == "vgg16"):
        found.judge = "vgg16"
    same = [row.name for row in reproduction.rows[1:] if row.runs == reproduction.rows[0].runs]
    found.comparisons = compare_all(scored, ranks, claims, same)
    found.orderings = [(claim, *verdict(claim, found.comparisons, found.judge)) for claim in claims]
    return found


def full_cell(reproduction: "Reproduction") -> "SweepCell":
    """Cell of the row `full`, all voxels, first seed."""
    return next(cell for cell in reproduction.cells if cell.at.ablation == "full" and cell.at.region == MAIN and cell.at.seed == 0)


def _repeats(reproduction: "Reproduction", cancel: "CancelToken") -> list[Pictures]:
    """Reconstructions of the row `full` from ever more repeats."""
    full = full_cell(reproduction)
    row = Row("repeats", "full, decoded from the mean of fewer repeats")
    if why := why_unfinished(full):
        return [Pictures(row, why=why)]
    try:
        made = decode_repeats(full, reproduction.test, reproduction.params.device, cancel)
    except Brain2PixError as error:
        return [Pictures(row, why=str(error))]
    uses = next((each.transductive for each in [gather(reproduction, reproduction.rows[0], Memory())]), ())
    names = repeat_rows(list(made))
    return [
        Pictures(Row(names[n], f"full, decoded from the mean of {n} repeat{'s' * (n > 1)}"), images, uses) for n, images in made.items()
    ]


def _encoder(full: "SweepCell", found: Findings, method: str) -> None:
    """Take the accuracy of the encoder from the scores of `full`."""
    job = next(job for job in full.results if job.name == EVALUATE)
    try:
        lines = _lines(job.folder)
    except Brain2PixError as error:
        found.missing["accuracy of the encoder"] = str(error)
        return
    found.lines += [replace(line, row=line.row.replace(method, "full", 1)) for line in lines if line.part == "encoder"]


def _lines(folder: "Path") -> list[ScoreLine]:
    """Scores of a finished job; `MissingDataError` or `DataFormatError` where there are none."""
    return read_lines(RunFolder(folder).results / "scores.tsv")


def _ceilings(reproduction: "Reproduction", found: Findings) -> None:
    """Noise ceilings of the test responses, by area."""
    subject, test = reproduction.subject, reproduction.test
    ceiling = split_half_ceiling(test.repeats.values, test.repeats.image_index).ceiling
    index = subject.select(reproduction.regions[MAIN])
    for name, mask in _area_masks(reproduction, index).items():
        values = ceiling[mask]
        known = values[np.isfinite(values)]
        if known.size:
            note = f"SD {known.std():.2f}; {mask.sum() - known.size} of {mask.sum()} voxels have none"
            found.lines.append(ScoreLine("ceiling", name, "median ceiling", float(np.median(known)), n=int(known.size), note=note))
    if not np.isfinite(ceiling).any():
        found.missing["noise ceilings"] = "fewer than three test images have repeats, or no voxel is reliable"


def _area_masks(reproduction: "Reproduction", index: "NDArray[np.int64]") -> "dict[str, NDArray[np.bool_]]":
    areas = {name: reproduction.subject.areas[name][index] for name in _AREAS if name in reproduction.subject.areas}
    return {_ALL: np.ones(index.size, dtype=bool)} | {name: mask for name, mask in areas.items() if mask.any()}


def _maps(reproduction: "Reproduction", full: "SweepCell", found: Findings) -> None:
    """Noise-corrected accuracy of each voxel, by area, and how many voxels have a confined receptive field."""
    job = next((job for job in full.results if job.name == MAPS), None)
    if job is None:
        return
    stands = folder_standing(job.folder)
    if stands.state != "finished":
        found.missing["noise-corrected accuracy maps"] = (
            f"job {job.name} of cell {full.id} is {stands.state}: {stands.error or 'not run yet'}"
        )
        return
    results = RunFolder(job.folder).results
    index = reproduction.subject.select(reproduction.regions[MAIN])
    try:
        accuracy = read_maps(results, "encoder").on(reproduction.subject, index).accuracy
    except Brain2PixError as error:
        found.missing["noise-corrected accuracy maps"] = str(error)
        return
    found.maps = results
    summary = read_json_if_there(results / "summary.json")
    if math.isfinite(kept := float(summary.get("kept", "nan"))):
        found.lines.append(ScoreLine("maps", "full", "kept", kept, n=summary.get("n_voxels"), note=str(summary.get("source", ""))))
    if accuracy is None:
        found.missing["noise-corrected accuracy maps"] = str(summary.get("accuracy") or "the maps hold no accuracy")
        return
    for name, mask in _area_masks(reproduction, index).items():
        known = spread(accuracy[mask])
        for percentile, value in known.at.items() if known.n else ():
            found.lines.append(ScoreLine("accuracy", name, f"percentile {percentile}", value, chance=0.0, n=known.n))


def _classification(reproduction: "Reproduction", found: Findings) -> "dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]":
    """Take over what the classifications say; gives ranks and photographs of each row."""
    ranks: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
    for cell in reproduction.cells:
        job = next((job for job in cell.results if job.name.startswith(CLASSIFY)), None)
        if job is None:
            continue
        name = cell.at.ablation
        stands = folder_standing(job.folder)
        if stands.state != "finished":
            found.missing[f"classification, {name}"] = (
                f"job {job.name} of cell {cell.id} is {stands.state}{': ' * bool(stands.error)}{stands.error}"
            )
            continue
        results = RunFolder(job.folder).results
        try:
            lines = _lines(job.folder)
            table = read_table(results / "classes.tsv", "classes of the reconstructions", ("stimulus_id", "rank"))
            groups = photo_numbers(reproduction.subject, table["stimulus_id"].astype(str).tolist())
        except Brain2PixError as error:
            found.missing[f"classification, {name}"] = str(error)
            continue
        own = [line for line in lines if line.row == reproduction.plan.method]
        found.lines += [replace(line, row=name) for line in own]
        if name == "full":
            found.lines += [line for line in lines if line.row != reproduction.plan.method]
            found.classes = results / "classes.png"
        ranks[name] = (table["rank"].to_numpy(dtype=np.float64), groups)
    return ranks


def _device(cell: "SweepCell") -> str:
    return str(read_json_if_there(RunFolder(cell.train.folder).settings).get("device", ""))


def states(cells: "Sequence[SweepCell]") -> list[tuple[str, str, str]]:
    """Say of each cell how its training and its results stand: (id, state, why)."""
    found = []
    for cell in cells:
        stands = {job.name: folder_standing(job.folder) for job in cell.jobs}
        results = {name: each for name, each in stands.items() if name != "train"}
        open_ = {name: each for name, each in results.items() if each.state != "finished"}
        if not open_:
            found.append((cell.id, "finished", ""))
            continue
        failed = {name: each for name, each in stands.items() if each.state == "failed"}
        state = "failed" if failed else "missing" if len(open_) == len(results) else "part missing"
        found.append((cell.id, state, "; ".join(f"{name}: {each.error or each.state}" for name, each in (failed or open_).items())))
    return found
