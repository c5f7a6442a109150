"""What stands beside each figure: how it was made, with every number that its caption names, and the command that makes it again."""

import hashlib
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from brain2pix.config.export import command_line
from brain2pix.data.maps import CONVENTION

if TYPE_CHECKING:
    from pathlib import Path

    from brain2pix.config.export import ExportSettings
    from brain2pix.data.subject import Subject

SCHEMA = "b2p-figure-1"
HEMISPHERES = "left hemisphere at the left; it sees the right half of the visual field"
STATEMENT = "prediction of a model, not of a brain"
_PACKAGES = ("napari-brain2pix", "numpy", "matplotlib", "scipy", "nibabel", "torch", "napari")


def versions() -> dict[str, str]:
    """Versions of what draws and computes."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def subject_facts(subject: "Subject") -> dict[str, Any]:
    """Whose data these are."""
    return {
        "subject": subject.name,
        "dataset": subject.title,
        "simulated": subject.simulated,
        "n_voxels": int(subject.n_voxels),
        "space": subject.space.name,
        "units": subject.unit,
    }


def conventions(field_of_view_deg: float) -> dict[str, Any]:
    """State how angles, the field and the hemispheres are to be read."""
    return {
        "visual_field": CONVENTION,
        "field_of_view_deg": float(field_of_view_deg),
        "hemispheres": HEMISPHERES,
        "world": "RAS mm",
        "images": "row 0 is the top of the visual field",
    }


def run_facts(run: "Path | None") -> dict[str, Any] | None:
    """Say which trained system is behind it; None without one."""
    if run is None:
        return None
    model, job, settings = _json(run / "model" / "model.json"), _json(run / "job.json"), run / "settings.json"
    about = {
        "folder": str(run),
        "method": model.get("method"),
        "title": model.get("title"),
        "seed": job.get("params", {}).get("seed"),
        "preset": job.get("params", {}).get("preset"),
        "job_hash": job.get("hash"),
        "settings_sha256": hashlib.sha256(settings.read_bytes()).hexdigest() if settings.is_file() else None,
        "model_sha256": model.get("sha256"),
        "n_voxels": len(model["subjects"][0]["voxel_index"]) if model.get("subjects") else None,
        "transductive": model.get("transductive"),
    }
    return {name: value for name, value in about.items() if value is not None}


def figure_sidecar(
    settings: "ExportSettings", subject: "Subject", run: "Path | None", *, name: str, files: list[str], caption: str, facts: dict[str, Any]
) -> dict[str, Any]:
    """Gather the sidecar of one figure.

    Parameters
    ----------
    settings : ExportSettings, of this figure alone: its command makes it again
    subject : Subject
    run : Path or None
    name : str, of the figure
    files : list of str, names of its files
    caption : str
    facts : dict, JSON values: what is shown, `size`
    """
    return {
        "schema": SCHEMA,
        "figure": name,
        "files": files,
        "caption": caption,
        **subject_facts(subject),
        **facts,
        "conventions": conventions(subject.field_of_view_deg),
        "run": run_facts(run),
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(settings),
    }


def _json(file: "Path") -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
