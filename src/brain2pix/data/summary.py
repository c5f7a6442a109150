"""What is in a subject, in numbers and in lines."""

from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.provenance import provenance_lines
from brain2pix.data.stacks import image_files, open_stack

if TYPE_CHECKING:
    from pathlib import Path

    from brain2pix.data.subject import Subject


def summarise(subject: "Subject") -> dict[str, Any]:
    """Describe a subject in plain JSON values, for `brain2pix inspect` and the window.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    dict with subject, title, path, simulated, space, voxels, areas, trials, stimuli, image_size, unpaired, field_of_view_deg, unit,
    meshes, dropped, imported, notes
    """
    hemi = subject.voxels["hemi"].to_numpy()
    space = subject.space
    return {
        "subject": subject.name,
        "title": subject.title,
        "path": str(subject.path),
        "simulated": subject.simulated,
        "space": {
            "name": space.name,
            "shape": list(space.shape),
            "voxel_mm": [round(edge, 4) for edge in space.voxel_mm],
        },
        "voxels": subject.n_voxels,
        "areas": {
            name: {
                "voxels": int(mask.sum()),
                "left": int((mask & (hemi == "L")).sum()),
                "right": int((mask & (hemi == "R")).sum()),
                "description": subject.descriptions.get(name, ""),
            }
            for name, mask in subject.areas.items()
        },
        "trials": _trials(subject),
        "stimuli": len(subject.stimuli),
        "image_size": subject.image_size,
        "unpaired": _count_unpaired(subject.root / "stimuli"),
        "field_of_view_deg": subject.field_of_view_deg,
        "unit": subject.unit,
        "meshes": [f"{hemi} {kind}" for hemi, kind in subject.meshes()],
        "dropped": [str(dropped) for dropped in subject.dropped],
        "imported": provenance_lines(subject.root),
        "notes": list(subject.notes),
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Turn a summary into lines of text."""
    space = summary["space"]
    edges = " x ".join(f"{edge:g}" for edge in space["voxel_mm"])
    made = "SIMULATED, " if summary["simulated"] else ""
    areas = ", ".join(f"{name} {area['voxels']}" for name, area in summary["areas"].items())
    lines = [
        f"{summary['subject']} of {summary['title']} ({made}{summary['path']})",
        f"voxels    {summary['voxels']} in {space['name']}, grid {tuple(space['shape'])}, {edges} mm; responses in {summary['unit']}",
        f"areas     {areas}",
    ]
    for split, numbers in summary["trials"].items():
        low, high = numbers["repeats"]
        repeats = f"{low}" if low == high else f"{low} to {high}"
        lines.append(f"trials    {split}: {numbers['trials']} of {numbers['images']} images, {repeats} each")
    size, field = summary["image_size"], summary["field_of_view_deg"]
    lines.append(
        f"images    {summary['stimuli']} stimuli of {size} px, {field:g} degrees wide; {summary['unpaired']} images without responses"
    )
    lines.append(f"surfaces  {', '.join(summary['meshes']) or 'none: maps are shown in the volume only'}")
    return [*lines, *summary["imported"], *(f"note      {note}" for note in summary["notes"])]


def _count_unpaired(stimuli: "Path") -> int:
    """Count the images without responses; those of a folder are not decoded for it."""
    if (stimuli / "unpaired.npy").exists() or (stimuli / "unpaired.npy").is_symlink():
        return len(open_stack(stimuli / "unpaired.npy"))
    return len(image_files(stimuli / "unpaired")) if (stimuli / "unpaired").is_dir() else 0


def _trials(subject: "Subject") -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for split, trials in subject.trials.groupby("split", sort=False):
        repeats = np.unique(trials["stimulus_id"].to_numpy(dtype=str), return_counts=True)[1]
        result[str(split)] = {"trials": len(trials), "images": len(repeats), "repeats": [int(repeats.min()), int(repeats.max())]}
    return result
