"""``brain2pix reproduce``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Device, absolute

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.prepare import Reproduction


def reproduce(
    method: Annotated[str, Parameter(help="Paper: gaziv or beliy.")],
    data: Annotated[Path, Parameter(help="Dataset folder, or a subject's folder in it.")],
    out: Annotated[Path, Parameter(help="Folder for runs, tables and report; the same one goes on.")],
    /,
    *,
    plan: Annotated[str, Parameter(help="short: few steps and cells; paper: everything, with the published sizes.")] = "short",
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder, e.g. sub-01.")] = None,
    gallery: Annotated[
        str | None, Parameter(help="Folder with a sub-folder of pictures for each class, or procedural (simulated subjects).")
    ] = None,
    class_column: Annotated[str, Parameter(help="Column of stimuli.tsv that names the true classes.")] = "category",
    runs: Annotated[int | None, Parameter(help="How many runs are averaged. Default: as the plan says.")] = None,
    device: Device = "auto",
    workers: Annotated[int, Parameter(help="Jobs at once; 0: one after another in this process, without a server.")] = 0,
    gpus: Annotated[str, Parameter(help="One worker for each of these graphics cards, with commas.")] = "",
    dry_run: Annotated[bool, Parameter(help="Say what would be run and what is missing; run nothing.", negative="")] = False,
    report_only: Annotated[bool, Parameter(help="Write the report from what is there; train nothing.", negative="")] = False,
) -> int:
    """Run a paper's evaluation on a subject and write one report beside the published numbers.

    Writes OUT/report.html, scores.tsv, statistics.tsv and orderings.tsv. The same command goes on where it stopped.
    """
    from brain2pix.cli._job import STOPPED, run_spec, with_progress
    from brain2pix.compute.reproduce.folder import REPORT, make_ready
    from brain2pix.compute.reproduce.prepare import PROCEDURAL, missing_weights, prepare
    from brain2pix.compute.reproduce.run import check_weights, claim, write_report
    from brain2pix.config.base import build
    from brain2pix.config.reproduce import ReproduceParams
    from brain2pix.events import Cancelled

    asked = {
        "subject": absolute(data),
        "subject_name": subject_name,
        "method": method,
        "plan": plan,
        "gallery": gallery if gallery in (None, PROCEDURAL) else absolute(Path(gallery)),
        "class_column": class_column,
        "runs": runs,
        "device": device,
        "workers": workers,
        "gpus": tuple(part.strip() for part in gpus.split(",") if part.strip()),
    }
    params, out = build(ReproduceParams, asked), out.expanduser().absolute()
    made = prepare(params, out)
    _print_plan(made, cells=dry_run)
    if dry_run:
        for why in missing_weights(made.cells):
            print(f"missing for the training: {why}")
        print("nothing was run")
        return 0
    if report_only:
        claim(made)
        try:
            with_progress(lambda sink, cancel: write_report(made, sink, cancel))
        except Cancelled:
            print("stopped; the same command begins the report again")
            return STOPPED
        print(f"wrote {out / REPORT}")
        return 0
    check_weights(made)
    return run_spec(make_ready(params, out, made.subject.path), done=f"wrote {out / REPORT}")


def _print_plan(made: "Reproduction", *, cells: bool) -> None:
    """Say what is run, what stands already, and what is missing."""
    from brain2pix.compute.sweep_cells import cell_standing, count, describe_counts, standings

    jobs = standings(made.cells)
    found = {cell.id: cell_standing(cell, jobs) for cell in made.cells}
    simulated = " (simulated)" if made.subject.simulated else ""
    plan = made.plan
    print(f"{plan.method}, plan {plan.name}, preset {plan.preset}: {made.subject.title}, {made.subject.name}{simulated}")
    if cells:
        for row in made.rows:
            n = sum(len(run) for run in row.runs)
            print(f"row  {row.name}: {f'missing: {row.why}' if row.why else f'{n} cell' + 's' * (n != 1)}")
        for cell in made.cells:
            standing = found[cell.id]
            print(f"{standing.state:8}  {cell.id}: {', '.join(job.name for job in cell.jobs)}{'  ' * bool(standing.error)}{standing.error}")
    n_jobs = sum(len(cell.jobs) for cell in made.cells)
    print(f"{len(made.cells)} cells with {n_jobs} jobs: {describe_counts(count(found.values()))}")
    for what, why in made.missing.items():
        print(f"missing: {what}: {why}")
