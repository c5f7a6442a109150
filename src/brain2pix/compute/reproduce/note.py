"""What ``reproduce.json`` holds: what is reproduced, the rows of the report and their cells."""

from typing import TYPE_CHECKING, Any

from brain2pix.compute.reproduce.plans import MAIN

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.compute.sweep_cells import SweepCell


def note_of(reproduction: "Reproduction") -> dict[str, Any]:
    """Say what is reproduced, with the rows of the report and their cells, as ``reproduce.json`` holds it."""
    names = {cell.at: cell.id for cell in reproduction.cells}
    return {
        "method": reproduction.plan.method,
        "plan": reproduction.params.plan,
        "preset": reproduction.plan.preset,
        "data": str(reproduction.subject.path.absolute()),
        "simulated": reproduction.subject.simulated,
        "params": reproduction.params.model_dump(mode="json"),
        "rows": [
            {"name": row.name, "title": row.title, "cells": [names[at] for run in row.runs for at in run], "missing": row.why}
            for row in reproduction.rows
        ],
        "cells": [
            {"id": cell.id, "title": _title(cell), "jobs": [job.name for job in cell.jobs], "alone": not cell.lenders}
            for cell in reproduction.cells
        ],
        "missing": reproduction.missing,
    }


def _title(cell: "SweepCell") -> str:
    """Say what a cell trains: its way of training, and region and seed where they are not the first."""
    region = f", {cell.at.region}" if cell.at.region != MAIN else ""
    return f"{cell.at.ablation}{region}" + (f", seed {cell.at.seed}" if cell.at.seed else "")
