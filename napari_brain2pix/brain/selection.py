"""What is known of the selected voxels, in words, and where their receptive fields lie. No Qt, no napari."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.figures.colormaps import visible
from napari_brain2pix.brain.layers import area_parts
from napari_brain2pix.brain.pick import vertices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject
    from napari_brain2pix._state import Selection, State
    from napari_brain2pix.brain.cortex import Cortex
    from napari_brain2pix.brain.maps import MapView

NOTHING = "Click a voxel, the cortex or the visual field to see what belongs together. Escape clears."
SIDES = {"L": "left", "R": "right"}
MOST_AREAS = 3  # named; of the others the number


def describe_selection(state: "State", cortex: "Cortex", view: str) -> str:
    """Say what is selected, as rich text: what it is, what the map says of it, and why it may not be seen.

    Parameters
    ----------
    state : State
    cortex : Cortex, asked which voxels have a vertex
    view : str, the view that is shown
    """
    workspace, selection = state.workspace, state.selection
    if workspace is None:
        return ""
    rows = selection.rows
    if not rows.size:
        return f"No voxel lies near this place of the cortex ({selection.place})." if selection.place else NOTHING
    subject, found = workspace.subject, workspace.map
    lines = [_who(subject, selection)]
    if found is not None and state.found is not None:
        lines.append(_one(found, int(rows[0])) if rows.size == 1 else _several(found, rows))
        lines += _hidden(found, state.found, rows, state.threshold)
    if view != "volume":
        lines += _without_vertex(cortex, rows)
    return "<br>".join(line for line in lines if line)


def field_circles(found: "RetinotopicMap", rows: "NDArray[np.integer]") -> "NDArray[np.float32]":
    """Centre and size of the receptive fields of some voxels, [n 3], degrees; voxels without one are left out, an unknown size is 0."""
    circles = np.stack([found.x0_deg[rows], found.y0_deg[rows], np.nan_to_num(found.sigma_deg[rows])], axis=1)
    return circles[np.isfinite(circles).all(axis=1)]


def _who(subject: "Subject", selection: "Selection") -> str:
    rows = selection.rows
    where = f" · {escape(selection.place)}" if selection.place else ""
    if rows.size == 1:
        row = int(rows[0])
        i, j, k = subject.ijk[row]
        areas = [name for name in area_parts(subject) if subject.areas[name][row]]
        side = SIDES.get(str(subject.voxels["hemi"].iloc[row]), "")
        return f"<b>Voxel {row:,}</b> at {i}, {j}, {k} · {escape(' + '.join(areas) or 'no area')} {side}{where}"
    hemi = subject.voxels["hemi"].to_numpy()[rows]
    sides = ", ".join(f"{int((hemi == key).sum()):,} {word}" for key, word in SIDES.items())
    counts = {name: int(subject.areas[name][rows].sum()) for name in area_parts(subject)}
    ranked = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    areas = [f"{escape(name)} {counts[name]:,}" for name in ranked[:MOST_AREAS]]
    areas += [f"{len(ranked) - MOST_AREAS} more areas"] if len(ranked) > MOST_AREAS else []
    return f"<b>{rows.size:,} voxels</b>: {sides} · {', '.join(areas) or 'no area'}{where}"


def _one(found: "RetinotopicMap", row: int) -> str:
    if not np.isfinite(found.x0_deg[row]):
        known = np.isfinite(found.quality[row])
        why = "No receptive field was found for it" if known else "The map does not cover this voxel"
        return f"{why}{f' · quality {found.quality[row]:.2f}' if known else ''}{_accuracy(found, row)}."
    angle, away = found.angle_deg[row], found.eccentricity_deg[row]
    size = f"{found.sigma_deg[row]:.2f}°" if np.isfinite(found.sigma_deg[row]) else "unknown"
    quality = f"{found.quality[row]:.2f}" if np.isfinite(found.quality[row]) else "unknown"
    return f"angle {angle:.0f}° · eccentricity {away:.2f}° · size {size} · quality {quality}{_accuracy(found, row)}"


def _accuracy(found: "RetinotopicMap", row: int) -> str:
    if found.accuracy is None or not np.isfinite(found.accuracy[row]):
        return ""
    return f" · accuracy {found.accuracy[row]:.2f} of its ceiling"


def _several(found: "RetinotopicMap", rows: "NDArray[np.integer]") -> str:
    values = {"eccentricity": found.eccentricity_deg, "size": found.sigma_deg, "quality": found.quality}
    parts = [f"{name} {_middle(part[rows])}{'' if name == 'quality' else '°'}" for name, part in values.items()]
    return f"median {' · '.join(parts)}"


def _middle(values: "NDArray[np.floating]") -> str:
    finite = values[np.isfinite(values)]
    return f"{np.median(finite):.2f}" if finite.size else "unknown"


def _hidden(found: "RetinotopicMap", view: "MapView", rows: "NDArray[np.integer]", threshold: float) -> list[str]:
    """Why some of the voxels are not in the map that is shown."""
    with_field = np.isfinite(found.x0_deg[rows])
    weak = with_field & ~view.shown[rows] & ~(found.quality[rows] >= threshold)
    outside = with_field & ~view.shown[rows] & ~weak & ~visible(found)[rows]
    empty = with_field & ~view.shown[rows] & ~weak & ~outside
    if rows.size == 1:
        reasons = {
            f"its quality is below the threshold of {threshold:.2f}": weak,
            "its field misses the stimulus": outside,
            "this map has no value for it": empty,
        }
        return [f"Hidden: {reason}." for reason, mask in reasons.items() if mask.any()]
    counts = {"below the threshold": weak, "beside the stimulus": outside, "without a value": empty, "without a field": ~with_field}
    told = ", ".join(f"{int(mask.sum()):,} {reason}" for reason, mask in counts.items() if mask.any())
    return [f"Hidden: {told}."] if told else []


def _without_vertex(cortex: "Cortex", rows: "NDArray[np.integer]") -> list[str]:
    """Say which voxels no vertex shows: the cortex passes them by."""
    shown = [cortex.hemispheres[hemi].voxel[vertices] for hemi, vertices in vertices_of(cortex, rows).items()]
    missing = int((~np.isin(rows, np.concatenate(shown))).sum()) if shown else 0
    if not missing:
        return []
    return [
        "No vertex of the surface shows it: see the volume." if rows.size == 1 else f"{missing:,} of them have no vertex of the surface."
    ]
