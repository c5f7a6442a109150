"""``brain2pix sweep``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brain2pix.compute.sweep_cells import Standing, SweepCell


def sweep(
    plan: Annotated[Path, Parameter(help="PLAN.toml, see docs/sweep.md.")],
    out: Annotated[Path, Parameter(help="Folder for runs and tables; the same one goes on.")],
    /,
    *,
    on: Annotated[str | None, Parameter(help="Compute server to run on, by name or connection file; default: one of its own.")] = None,
    workers: Annotated[int, Parameter(help="Jobs at once; 0: one after another in this process, without a server.")] = 1,
    gpus: Annotated[str, Parameter(help="One worker for each of these graphics cards, with commas, instead of --workers.")] = "",
    dry_run: Annotated[bool, Parameter(help="Check the plan and say how each cell stands; run nothing.", negative="")] = False,
) -> int:
    """Train and score subjects x methods x ablations x regions x seeds; gather one table.

    Writes OUT/results.tsv, a line for each cell and score, and OUT/settings.tsv with all settings. The same command again runs only what is
    missing or failed.
    """
    from brain2pix.cli._job import STOPPED
    from brain2pix.compute.sweep import claim_folder
    from brain2pix.compute.sweep_cells import cell_standing, expand, standings
    from brain2pix.compute.sweep_table import write_tables
    from brain2pix.config.sweep import SweepPlan
    from brain2pix.errors import ConfigError

    if on is not None and (gpus or workers != 1):
        raise ConfigError("a server named by --on has its workers already; leave --workers and --gpus out")
    if workers < 0:
        raise ConfigError(f"--workers must be 0 or more, got {workers}")
    cells = expand(SweepPlan.from_file(plan), out)
    jobs = standings(cells)
    before = {cell.id: cell_standing(cell, jobs) for cell in cells}
    if dry_run:
        _print_cells(cells, before)
        print(f"{_count(cells, before)}; nothing was run")
        return 0
    others = claim_folder(out, plan, cells)
    print(_count(cells, before), flush=True)
    if others:
        print(f"{len(others)} more in {out / 'cells'} belong to other plans; they stay, and are not in the tables")
    try:
        if all(standing.state == "finished" for standing in before.values()):
            write_tables(cells, jobs, out)
            found: Mapping[str, Standing] = before
        elif on is not None:
            found = _on_server(cells, out, on)
        else:
            found = _here(cells, out, workers, tuple(part.strip() for part in gpus.split(",") if part.strip()))
    except KeyboardInterrupt:
        left = f"left; the jobs on {on} go on, and the same command comes back to them"
        print(f"\n{left if on is not None else 'stopped at once; the same command goes on'}")
        return STOPPED
    return _report(cells, found, out)


def _here(cells: "Sequence[SweepCell]", out: Path, workers: int, gpus: tuple[str, ...]) -> "Mapping[str, Standing]":
    """Run with a server that ends with this command, or without one."""
    from brain2pix.cli._job import with_progress
    from brain2pix.compute.sweep import InThisProcess, run_on_own_server, run_sweep

    if not workers and not gpus:
        return with_progress(lambda sink, cancel: run_sweep(cells, InThisProcess(sink, cancel), out, sink, cancel))
    return with_progress(lambda sink, cancel: run_on_own_server(cells, out, sink, cancel, workers, gpus))


def _on_server(cells: "Sequence[SweepCell]", out: Path, name: str) -> "Mapping[str, Standing]":
    """Run on a server that outlives this command. Ctrl-C leaves: the jobs are the server's."""
    from brain2pix.cli._progress import drawn
    from brain2pix.cli._servers import connected
    from brain2pix.compute.sweep import OnServer, run_sweep

    with connected(name) as engine, drawn() as sink:
        print(f"on server {engine.name}; Ctrl-C leaves the jobs running there", flush=True)
        return run_sweep(cells, OnServer(engine), out, sink)


def _print_cells(cells: "Sequence[SweepCell]", found: "Mapping[str, Standing]") -> None:
    width = max(len(standing.state) for standing in found.values())
    for cell in cells:
        standing = found[cell.id]
        print(f"{standing.state:{width}}  {cell.id}{'  ' * bool(standing.error)}{standing.error}")


def _report(cells: "Sequence[SweepCell]", found: "Mapping[str, Standing]", out: Path) -> int:
    """Say how it ended; gives the exit code."""
    from brain2pix.cli._job import STOPPED
    from brain2pix.compute.sweep_cells import count

    counts = count(found.values())
    for cell in cells:
        if found[cell.id].state == "failed":
            print(f"failed: {cell.id}: {found[cell.id].error}")
    print(_count(cells, found))
    print(f"wrote {out / 'results.tsv'} and {out / 'settings.tsv'}")
    if counts.get("finished") == len(cells):
        return 0
    print("the same command runs what failed or is missing")
    return 1 if counts.get("failed") else STOPPED


def _count(cells: "Sequence[SweepCell]", found: "Mapping[str, Standing]") -> str:
    from brain2pix.compute.sweep_cells import count, describe_counts

    return f"{len(cells)} cell{'s' * (len(cells) != 1)}: {describe_counts(count(found.values()))}"
