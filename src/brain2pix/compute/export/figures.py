"""Figures of an export: each with its caption and the numbers that stand in it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.arrays import ENCODER_PARTS
from brain2pix.compute.export.material import Drawn, Material
from brain2pix.compute.export.offers import why_not
from brain2pix.compute.export.sidecar import STATEMENT
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.evaluation.encoding import spread
from brain2pix.evaluation.metrics import pixel_r
from brain2pix.evaluation.report import TITLES, ScoreLine, read_lines
from brain2pix.evaluation.scores import ROWS
from brain2pix.figures._style import NARROW, join_parts
from brain2pix.figures.colormaps import ANGLE_ANCHORS, LINEAR, map_colors
from brain2pix.figures.maps import LABELLED, OUTLINED, areas_on_surface, colors_on_surface, coverage_figure, surface_map_figure
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.figures.scores import SCORES, encoder_figure, score_figure
from brain2pix.figures.stimulation import one_stimulation_figure
from brain2pix.figures.views import MapKind, MapView, map_view
from brain2pix.files import read_json_if_there

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.events import CancelToken

_TABLES = {"eccentricity": "viridis", "size": "plasma", "quality": "magma", **dict.fromkeys(ENCODER_PARTS, "inferno")}
_PICTURES_A_LINE = {True: 5, False: 10}  # on a narrow page and on a wide one
_ROWS = {"prediction": "r", "ceiling": "ceiling", "accuracy": "r / ceiling"}
_NO_AREAS = ("L", "R", "all", "outside", "nonvisual", "other")
_MOST_AREAS = 8  # of the figure of r against ceiling
_RAMP = "colours grow opaque from the threshold upwards, at least .2"


def draw_maps(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Draw the chosen maps on inflated and flat cortex."""
    names = material.settings.maps or tuple(material.kinds)
    unknown = [name for name in names if name not in material.kinds]
    if unknown:
        raise ConfigError(unknown_name("map", unknown[0], material.kinds))
    subject = material.subject
    index = np.flatnonzero(np.isfinite(material.map.quality) | np.isfinite(material.map.x0_deg))
    mapped = {hemi: subject.vertex_voxels(hemi, index) for hemi in "LR"}
    place = {hemi: np.where(found >= 0, index[found] if index.size else found, -1) for hemi, found in mapped.items()}
    nearest = {hemi: subject.vertex_voxels(hemi) for hemi in "LR"}  # borders of areas do not depend on what was mapped
    meshes: dict[tuple[str, str], Mesh] = {
        (hemi, kind): subject.mesh(hemi, kind) for hemi, kind in subject.meshes() if kind in material.settings.surfaces
    }
    for name in names:
        cancel.check()
        kind = material.kinds[name]
        view = map_view(material.map, kind, material.threshold)
        colors = np.concatenate([view.colours, view.alpha[:, None]], axis=1)
        facts = {"map": _map_facts(material, kind, view, place)}
        caption = _map_caption(material, view, facts["map"]["n_on_surface"])
        figure = surface_map_figure(
            meshes,
            {hemi: subject.sulc(hemi) for hemi in "LR"},
            {hemi: colors_on_surface(colors, place[hemi]) for hemi in "LR"},
            name,
            areas={hemi: areas_on_surface(subject.areas, nearest[hemi], OUTLINED) for hemi in "LR"},
            labels=_labels(material, nearest),
            field_of_view_deg=subject.field_of_view_deg,
            limits=kind.limits,
            width=material.width,
            caption=caption,
        )
        only = material.only(what=("maps",), maps=(name,), threshold=material.threshold)
        yield Drawn(material.name(f"map-{name}"), figure, caption, facts, only)


def draw_coverage(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Draw the receptive fields that are shown, in the visual field, by area."""
    view = map_view(material.map, material.kinds["angle"], material.threshold)
    areas = {name: material.subject.areas[name] for name in OUTLINED if name in material.subject.areas} or {
        "all": np.ones(material.subject.n_voxels, dtype=bool)
    }
    caption = _map_caption(material, view)
    figure = coverage_figure(material.map, areas, shown=view.shown, width=material.width, caption=caption)
    counts = {name: int((view.shown & mask).sum()) for name, mask in areas.items()}
    facts = {"map": {**_threshold_facts(material, view), "n_shown_by_area": counts}}
    yield Drawn(material.name("coverage"), figure, caption, facts, material.only(what=("coverage",), threshold=material.threshold))


def draw_reconstructions(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Draw stimuli above their reconstructions, with the pixel correlation of each."""
    ids, stimuli, made = material.pictures
    chosen = list(material.settings.images or ids[: material.settings.first])
    absent = [name for name in chosen if name not in ids]
    if absent:
        raise ConfigError(unknown_name("stimulus", absent[0], ids[:40]))
    rows = np.array([ids.index(name) for name in chosen])
    split, lacking = _about_pictures(material)
    r = np.where([name in lacking for name in chosen], np.nan, pixel_r(made[rows], stimuli[rows]))
    mean = float(np.nanmean(r)) if np.isfinite(r).any() else None
    method = str(_facts_of_run(material).get("method") or "reconstruction")
    narrow = material.width < NARROW
    columns = min(_PICTURES_A_LINE[narrow], len(rows))
    letters = int((material.width - 0.3 - 0.062 * max(len(method), 8)) / columns / 0.055)
    caption = join_parts(
        f"{len(rows):,} of {len(ids):,} {split} images",
        "no stimulus has a picture" if mean is None else f"numbers: pixel correlation, mean {mean:.3f} of those shown",
        _simulated(material),
    )
    figure = reconstruction_figure(
        {"stimulus": stimuli[rows], method: made[rows]},
        columns=columns,
        scores=r,
        labels=[_shortened(name, letters) for name in chosen],
        width=material.width,
        caption=caption,
    )
    facts = {
        "pictures": {
            "n_shown": len(rows),
            "n_images": len(ids),
            "stimulus_ids": chosen,
            "split": split,
            "pixel_r": [float(value) if np.isfinite(value) else None for value in r],
            "mean_pixel_r_shown": mean,
            "source": str(material.parts.pictures),
            "chosen_by": "ids" if material.settings.images else f"the first {material.settings.first}",
        }
    }
    yield Drawn(material.name("reconstructions"), figure, caption, facts, material.only(what=("reconstructions",), images=tuple(chosen)))


def _about_pictures(material: Material) -> tuple[str, set[str]]:
    """Split of the reconstructions, and which of its stimuli have no picture."""
    assert material.parts.pictures is not None
    about = read_json_if_there(material.parts.pictures.with_suffix(".json"))
    return str(about.get("split") or "test"), set(about.get("without_picture") or ())


def draw_scores(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Draw the scores of reconstructions; nothing if there is no table of them, or it holds none of these."""
    if material.parts.scores is None:
        return
    lines = [line for line in read_lines(material.parts.scores) if line.score in SCORES and line.part in ("identification", "ssim")]
    if not lines:
        return
    method = str(_facts_of_run(material).get("method") or "")
    systems = [line for line in lines if line.row in ROWS or line.row == method]
    references = [line for line in lines if line not in systems]
    n = max((line.n or 0) for line in lines)
    caption = join_parts(f"N {n:,} images", _simulated(material))
    shown, beside = (systems, references) if systems else (references, [])
    figure = score_figure(shown, references=beside, titles=TITLES, width=material.width, caption=caption)
    facts = {"scores": {"n_images": n, "source": str(material.parts.scores), "lines": [_line(line) for line in lines]}}
    yield Drawn(material.name("scores"), figure, caption, facts, material.only(what=("scores",)))


def draw_accuracy(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Draw r against its noise ceiling by area and, where there is cortex to draw on, r, ceiling and the one over the other."""
    found, subject = material.predicted, material.subject
    parts = {name: part for name, part in found.encoder_parts.items() if np.isfinite(part).any()}
    areas = _measured_areas(material, parts["prediction"])
    caption = join_parts(found.accuracy_name, found.source, _simulated(material))
    only = material.only(what=("accuracy",))
    facts = {"accuracy": {"measure": found.accuracy_name, "areas": {name: _spreads(parts, mask) for name, mask in areas.items()}}}
    figure = encoder_figure(
        parts["prediction"], parts.get("ceiling"), areas, width=material.width, title="Prediction of responses", caption=caption
    )
    yield Drawn(material.name("accuracy"), figure, caption, facts, only)
    cancel.check()
    if why_not(material.parts, subject, record=False)["maps"]:
        return
    nearest = {hemi: subject.vertex_voxels(hemi) for hemi in "LR"}
    index = np.flatnonzero(np.isfinite(parts["prediction"]))
    mapped = {hemi: subject.vertex_voxels(hemi, index) for hemi in "LR"}
    place = {hemi: np.where(at >= 0, index[at], -1) for hemi, at in mapped.items()}
    colours = {_ROWS[name]: {hemi: colors_on_surface(map_colors(part, name), place[hemi]) for hemi in "LR"} for name, part in parts.items()}
    first, *others = colours
    figure = surface_map_figure(
        {(hemi, kind): subject.mesh(hemi, kind) for hemi, kind in subject.meshes() if kind in material.settings.surfaces},
        {hemi: subject.sulc(hemi) for hemi in "LR"},
        colours[first],
        "prediction",
        further={name: colours[name] for name in others},
        first=first,
        areas={hemi: areas_on_surface(subject.areas, nearest[hemi], OUTLINED) for hemi in "LR"},
        labels=_labels(material, nearest),
        width=material.width,
        title=f"Prediction of responses: {', '.join(colours)}",
        caption=caption,
    )
    yield Drawn(material.name("accuracy-cortex"), figure, caption, {"accuracy": {**facts["accuracy"], "rows": list(colours)}}, only)


def _measured_areas(material: Material, r: "NDArray[np.float32]") -> "dict[str, NDArray[np.bool_]]":
    """Areas with predicted voxels, whole ones instead of their halves, in the order of the subject; all voxels where there are none."""
    areas = material.subject.areas
    names = [name for name in areas if name not in _NO_AREAS and not (name[-1:] in "vd" and name[:-1] in areas)]
    found = {name: areas[name] for name in names if np.isfinite(r[areas[name]]).any()}
    return dict(list(found.items())[:_MOST_AREAS]) or {"all": np.isfinite(r)}


def _spreads(parts: "dict[str, NDArray[np.float32]]", mask: "NDArray[np.bool_]") -> dict[str, Any]:
    """Percentiles of each part over the voxels of an area, and of how many."""
    found = {name: spread(part[mask]) for name, part in parts.items()}
    return {name: {"n": one.n, **{f"percentile_{share}": value for share, value in one.at.items() if one.n}} for name, one in found.items()}


def draw_stimulation(material: Material, cancel: "CancelToken") -> "Iterator[Drawn]":
    """Decode the recorded stimulation again and draw it: the pictures are the model's own, not copies of what a window showed."""
    from brain2pix.compute.jobs._inputs import open_run
    from brain2pix.compute.stimulator import Stimulator, change
    from brain2pix.stimulation import check_record

    record, subject = material.record, material.subject
    assert material.parts.model is not None
    trained = open_run(material.parts.model, subject.path, "auto")
    stimulator = Stimulator(trained)
    check_record(record, stimulator.info)
    base = stimulator.base(record.base, record.repeat, record.split)
    cancel.check()
    before = stimulator.picture(base, record.base)
    changed = change(base, record.mask(), record.mode, record.amplitude)
    after, distance = stimulator.picture(changed, record.base), stimulator.distance(base, changed)
    stimulus = None if record.base == "mean" else subject.images([record.base], size=before.shape[0])
    fields = None
    if material.parts.maps is not None:
        fields = np.column_stack([material.map.x0_deg, material.map.y0_deg])[trained.voxel_index]
    n = int(record.mask().sum())
    parts = [f"{record.region}: {_deed(record.mode, record.amplitude)}, {n:,} of {record.n_voxels:,} voxels of {record.method}"]
    trial = (f", trial {record.repeat}" if record.repeat else "") + (f" of split {record.split}" if record.split else "")
    parts.append("base: mean training response" if record.base == "mean" else f"base: response to {record.base}{trial}")
    caption = join_parts(*parts, str(distance.get("text", "")), _simulated(material))
    figure = one_stimulation_figure(
        before[None],
        after[None],
        stimulus=stimulus,
        centres_deg=fields,
        chosen=record.mask(),
        field_of_view_deg=subject.field_of_view_deg,
        width=material.width,
        caption=caption,
    )
    facts = {
        "statement": STATEMENT,
        "stimulation": {
            **record.model_dump(mode="json", exclude={"voxels", "created", "statement"}),
            "n_stimulated": n,
            "distance": distance,
            "mean_squared_change": float(np.square((after.astype(float) - before) / 255).mean()),
        },
    }
    kept = material.settings.out / f"{material.name('stimulation-record')}.json"  # written beside the figure
    only = material.only(what=("stimulation",), record=kept)
    yield Drawn(material.name("stimulation"), figure, join_parts(caption, STATEMENT), facts, only)


def _map_facts(material: Material, kind: MapKind, view: MapView, place: "dict[str, NDArray[np.int64]]") -> dict[str, Any]:
    """Sidecar of a map: every number that its caption names, and by hemisphere."""
    hemi = material.subject.voxels["hemi"].to_numpy()
    seen = np.zeros(view.shown.size, dtype=bool)
    for rows in place.values():
        seen[rows[rows >= 0]] = True
    return {
        "kind": kind.kind,
        "title": kind.name,
        "unit": {"°": "deg", "": ""}[kind.unit],
        "colour_map": _colour_map(kind),
        "limits": None if kind.limits is None else [float(end) for end in kind.limits],
        **_threshold_facts(material, view),
        "n_on_surface": int((view.shown & seen).sum()),
        "hemispheres": {side: {"n_shown": int((view.shown & (hemi == side)).sum())} for side in "LR"},
        "surfaces": list(material.settings.surfaces),
        "outlines": [name for name in OUTLINED if name in material.subject.areas],
    }


def _threshold_facts(material: Material, view: MapView) -> dict[str, Any]:
    return {
        "source": material.map.source,
        "folder": str(material.parts.maps or material.parts.accuracy),
        "threshold": {"quality_at_least": float(material.threshold), "measure": material.map.quality_name, "opacity": _RAMP},
        "n_shown": int(view.shown.sum()),
        "n_mapped": view.n_mapped,
        "n_voxels": int(view.shown.size),
    }


def _map_caption(material: Material, view: MapView, n_on_surface: int | None = None) -> str:
    found = material.map
    counted = f"{int(view.shown.sum()):,} of {view.n_mapped:,} mapped voxels"
    reached = "" if n_on_surface is None else f"{n_on_surface:,} of them at a vertex"
    return join_parts(counted, reached, f"{found.quality_name} ≥ {material.threshold:.3g}", found.source, _simulated(material))


def _colour_map(kind: MapKind) -> str:
    if kind.kind == "angle":
        anchors = ", ".join("#{:02x}{:02x}{:02x}".format(*np.round(255 * color).astype(int)) for color in ANGLE_ANCHORS)
        return f"brain2pix angle: right, up, left, down = {anchors}, lines in CIE Lab between"
    return _TABLES[kind.kind] + ("" if kind.kind in LINEAR else ", logarithmic")


def _labels(material: Material, nearest: "dict[str, NDArray[np.int64]]") -> "dict[str, dict[str, NDArray[np.bool_]]] | None":
    found = {hemi: areas_on_surface(material.subject.areas, nearest[hemi], LABELLED) for hemi in "LR"}
    return found if all(found.values()) else None


def _simulated(material: Material) -> str:
    return "simulated subject" if material.subject.simulated else ""


def _facts_of_run(material: Material) -> dict[str, Any]:
    from brain2pix.compute.export.sidecar import run_facts

    return run_facts(material.parts.run) or {}


def _shortened(name: str, letters: int) -> str:
    """Name with its middle left out, if it is too long for its place."""
    keep = max((letters - 1) // 2, 1)
    return name if len(name) <= letters else f"{name[:keep]}…{name[-keep:]}"


def _deed(mode: str, amplitude: float) -> str:
    return {"add": f"{amplitude:+g} SD", "set": f"set to {amplitude:g} SD", "scale": f"times {amplitude:g}"}.get(mode, "silenced")


def _line(line: ScoreLine) -> dict[str, Any]:
    return {key: value for key, value in line.__dict__.items() if value not in (None, "")}
