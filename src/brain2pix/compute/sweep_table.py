"""Tables of a sweep: every score of every cell, and every setting, with why where there is none."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from brain2pix.compute.sweep_cells import Known, Standing, SweepCell, SweepJob, cell_standing, seconds_of
from brain2pix.config.sweep import BORROWED, flatten
from brain2pix.errors import Brain2PixError
from brain2pix.evaluation.report import ScoreLine, read_lines
from brain2pix.files import atomic_path, read_json_if_there
from brain2pix.training.run_folder import RunFolder, model_description

_ABOUT = ("transductive", "simulated", "n_images", "n_voxels", "device")
RESULT_COLUMNS = (
    *("cell", "state", "error", "subject", "method", "preset", "ablation", "region", "seed", "job", "split"),
    *(field.name for field in fields(ScoreLine)),
    *_ABOUT,
    *("train_seconds", "seconds", "versions"),
)


def write_tables(cells: Sequence[SweepCell], jobs: Known, out: Path) -> None:
    """Write ``results.tsv`` and ``settings.tsv``.

    Parameters
    ----------
    cells : sequence of SweepCell
    jobs : mapping of folder to Standing
    out : Path
    """
    _write_table(out / "results.tsv", list(RESULT_COLUMNS), [row for cell in cells for row in result_rows(cell, jobs)])
    rows = [settings_row(cell, jobs) for cell in cells]
    _write_table(out / "settings.tsv", list(dict.fromkeys(key for row in rows for key in row)), rows)


def result_rows(cell: SweepCell, jobs: Known) -> Iterator[dict[str, Any]]:
    """Give a row for each score of a cell, and one that says why where there are none."""
    params = cell.train.spec.params
    begun = RunFolder(cell.train.folder)
    transductive = _transductive(cell)
    for job in cell.results:
        if job.spec.kind == "decode":  # pictures, no scores
            continue
        stands = _standing_of_result(cell, job, jobs)
        row: dict[str, Any] = {
            "cell": cell.id,
            "state": stands.state,
            "error": stands.error,
            **cell.at._asdict(),
            "preset": params["preset"],
            "job": job.name,
            "split": job.split,
            "train_seconds": seconds_of(cell.train.folder),
            "seconds": seconds_of(job.folder),
            "transductive": transductive,
            "versions": ", ".join(f"{name} {number}" for name, number in read_json_if_there(begun.job).get("versions", {}).items()),
        }
        if stands.state != "finished":
            yield row
            continue
        try:
            lines, about = _read_result(job)
        except Brain2PixError as error:  # a damaged file is a failure of this cell, not of the table
            yield {**row, "state": "failed", "error": str(error)}
            continue
        row |= {key: about[key] for key in _ABOUT if key in about and key != "transductive"}
        yield from ({**row, **asdict(line)} for line in lines)


def settings_row(cell: SweepCell, jobs: Known) -> dict[str, Any]:
    """Give everything that was asked of a cell and what it was resolved to."""
    params = dict(cell.train.spec.params)
    params.pop("settings")  # what they gave stands among the resolved ones
    resolved = read_json_if_there(RunFolder(cell.train.folder).settings)
    job = read_json_if_there(RunFolder(cell.train.folder).job)
    status = read_json_if_there(RunFolder(cell.train.folder).status)
    stands = cell_standing(cell, jobs)
    row: dict[str, Any] = {"cell": cell.id, "state": stands.state, "error": stands.error, **cell.at._asdict(), "folder": str(cell.folder)}
    row |= {f"train.{key}": value for key, value in flatten(params).items()}
    row |= {f"cell.{key}": cell.lenders.get(key, "") for key in BORROWED}
    row["region_expression"] = cell.region
    row |= {f"settings.{key}": "null" if value is None else value for key, value in flatten(cell.settings).items()}
    for result in cell.results:
        row |= {f"{result.name}.{key}": value for key, value in flatten(result.spec.params).items() if key != "run"}
    row |= {
        f"run.{key}": resolved[key]
        for key in ("n_voxels", "n_trials", "n_unpaired", "image_size", "device", "simulated")
        if key in resolved
    }
    row |= {f"run.{key}": status[key] for key in ("attempt", "started", "finished", "host") if key in status}
    return row | {f"version.{name}": number for name, number in job.get("versions", {}).items()}


def _standing_of_result(cell: SweepCell, job: SweepJob, jobs: Known) -> Standing:
    """Say how a result stands: where its training came to no end, as that does."""
    own, train = jobs[job.folder], jobs[cell.train.folder]
    if own.state == "finished" or train.state in ("finished", "missing"):
        return own
    return Standing(train.state, f"train: {train.error}" if train.error else "")


def _read_result(job: SweepJob) -> tuple[list[ScoreLine], dict[str, Any]]:
    """Read the scores of a job and what it says of them."""
    folder = RunFolder(job.folder)
    if job.spec.kind in ("evaluate", "classify"):
        return read_lines(folder.results / "scores.tsv"), read_json_if_there(folder.results / "about.json")
    about = folder.read_settings()
    summary = read_json_if_there(folder.results / "summary.json")
    agreement = folder.results / "agreement.tsv"
    row = f"{about.get('method', '')} {summary.get('side', '')}".strip()
    kept = ScoreLine("maps", row, "kept", float(summary.get("kept", "nan")), n=summary.get("n_voxels"), note=str(summary.get("source", "")))
    return [kept, *(read_lines(agreement) if agreement.is_file() else [])], about


def _transductive(cell: SweepCell) -> str | None:
    """Say what a system took from test responses, "no" if nothing; None before it is trained."""
    found: list[str] | None = None
    with suppress(Brain2PixError):
        found = model_description(cell.train.folder)["transductive"]
    for job in cell.results:
        if found is None:
            found = read_json_if_there(RunFolder(job.folder).results / "about.json").get("transductive")
    return None if found is None else "; ".join(found) or "no"


def _write_table(path: Path, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write tab-separated values: numbers in full, lists as JSON, ``n/a`` where there is none."""
    with atomic_path(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row.get(key)) for key in columns] for row in rows)


def _text(value: Any) -> str:
    if value is None:
        return "n/a"
    return " ".join(value.splitlines()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
