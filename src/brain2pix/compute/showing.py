"""Draw the figures of a demo: results in, PNG files in ``DIR/figures`` out."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.evaluation import angle_profile, field_sign_map, keep_best, resolution_equivalent
from brain2pix.evaluation.cortex import SMOOTHING_MM, STREAMS
from brain2pix.evaluation.report import TITLES, row_lines
from brain2pix.evaluation.retinotopy import KEPT_SHARE, MIN_ECCENTRICITY_DEG
from brain2pix.figures._style import join_parts
from brain2pix.figures.colormaps import THRESHOLD, eccentricity_limits, retinotopic_colors, visible
from brain2pix.figures.maps import (
    FIELD_SIGN,
    LABELLED,
    OUTLINED,
    agreement_figure,
    agreement_notes,
    colors_on_surface,
    coverage_figure,
    field_sign_colors,
    map_caption,
    reversal_figure,
    surface_map_figure,
)
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.figures.scores import encoder_figure, score_figure
from brain2pix.figures.stimulation import quadrant_figure, stimulation_figure
from brain2pix.files import atomic_path
from brain2pix.stimulation import decode_function, describe_distance, quadrant_masks, stimulate

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.compute.scoring import DemoResults

_DPI = 160
_MAPS = ("angle", "eccentricity", "size")
_SHORT = {
    "full": "full",
    "supervised": "supervised",
    "images": "without test\nresponses",
    "inductive": "responses\nunseen",
    "ridge_pairs": "ridge\non pairs",
    "ridge_unpaired": "ridge on\nE(unpaired)",
    "shuffled": "shuffled\npairs",
}


def draw_maps(results: "DemoResults") -> "list[Path]":
    """Draw estimated maps on inflated and flat cortex, above the true ones if these are known, and the angle across the areas."""
    estimate, truth = results.estimated_map, results.true_map
    threshold = quality_threshold(estimate)
    shown = visible(estimate) & (estimate.quality > threshold[0])
    captions = {
        ramp: map_caption(
            int(shown.sum()),
            len(shown),
            threshold=threshold if ramp else (threshold[0], threshold[0]),
            quality_name=estimate.quality_name,
            simulated=results.subject.simulated,
            source=estimate.source,
        )
        for ramp in (True, False)
    }
    written = []
    for name in (*_MAPS, FIELD_SIGN):
        limits = eccentricity_limits(results.subject.field_of_view_deg) if name == "eccentricity" else None
        figure = surface_map_figure(
            {(hemi, kind): results.subject.mesh(hemi, kind) for hemi in "LR" for kind in ("inflated", "flat")},
            {hemi: results.subject.sulc(hemi) for hemi in "LR"},
            _surface_colors(results, estimate, name, threshold, limits),
            name,
            truth_colors=_surface_colors(results, truth, name, None, limits) if truth else None,
            areas=_named_areas(results, OUTLINED),
            labels=_named_areas(results, LABELLED) or None,
            field_of_view_deg=results.subject.field_of_view_deg,
            limits=limits,
            caption=captions[True]
            if name != FIELD_SIGN
            else join_parts(captions[False], f"positions smoothed by {SMOOTHING_MM:g} mm along the cortex"),
        )
        written.append(_save(results, f"maps_{name}", figure))
    written.append(_save(results, "coverage", coverage_figure(estimate, results.areas, shown=shown, caption=captions[False])))
    return [*written, *_draw_reversals(results)]


def _draw_reversals(results: "DemoResults") -> "list[Path]":
    """Draw the angle across V1, V2 and V3; nothing where dorsal and ventral parts are not labelled."""
    estimate, truth = results.estimated_map, results.true_map
    if not all(np.isfinite(sheet.voxel_positions["dorsal"]).any() for sheet in results.sheets):
        return []
    used = keep_best(estimate, scope=results.scope) & ((truth or estimate).eccentricity_deg > MIN_ECCENTRICITY_DEG)
    grid = np.linspace(0, 3, 61)
    maps = {"estimated": estimate} if truth is None else {"estimated": estimate, "true": truth}
    profiles = {
        stream: {name: angle_profile(results.sheets, fields, used, stream, grid) for name, fields in maps.items()} for stream in STREAMS
    }
    notes: dict[tuple[str, str], str] = {}
    if truth is not None:
        for (border, stream, hemi), (found, _) in results.cortex_rows["full"].reversals.items():
            notes[border, stream] = f"{notes.get((border, stream), 'turns back:')} {hemi} {'yes' if found else 'no'}"
    caption = join_parts(
        f"{int(used.sum()):,} voxels, best {KEPT_SHARE:.0%} by {estimate.quality_name}",
        f"{'true ' if truth else ''}eccentricity above {MIN_ECCENTRICITY_DEG:g} deg",
        "both hemispheres",
        "simulated subject" if results.subject.simulated else "",
    )
    return [_save(results, "reversals", reversal_figure(profiles, notes=notes, caption=caption))]


def draw_agreement(results: "DemoResults") -> "list[Path]":
    """Draw estimated against true receptive fields if the truth is there, and those of the decoder against the encoder's if mapped."""
    simulated = "simulated subject" if results.subject.simulated else ""
    written = []
    if results.true_map is not None and results.prf is not None:
        scores = results.prf
        notes = (
            f"polar angle: median error {scores.median_angle_error_deg:.1f} deg",
            f"eccentricity: log r {scores.log_ecc_r:.2f}",
            f"size: Spearman {scores.size_spearman:.2f}",
        )
        kept = keep_best(results.estimated_map, scope=results.scope)
        caption = join_parts(f"best {scores.kept:.0%} by {results.estimated_map.quality_name}", f"N {scores.n_voxels:,}", simulated)
        figure = agreement_figure(results.estimated_map, results.true_map, kept=kept, areas=results.areas, notes=notes, caption=caption)
        written.append(_save(results, "prf_agreement", figure))
    if results.decoder_map is not None and (agreement := results.decoder_agreement) is not None:
        figure = agreement_figure(
            results.decoder_map,
            results.estimated_map,
            kept=results.scope,
            areas=results.areas,
            names=("decoder", "encoder"),
            notes=agreement_notes(agreement.median_distance_deg, agreement.fisher_lee, agreement.log_ecc_r, agreement.size_spearman),
            title="Fields of the decoder against those of the encoder",
            caption=join_parts(
                f"N {agreement.n_voxels:,}, {agreement.compared:.0%} of the voxels in scope", results.decoder_map.source, simulated
            ),
        )
        written.append(_save(results, "decoder_fields", figure))
    return written


def draw_pictures(results: "DemoResults") -> "list[Path]":
    """Draw stimuli above the reconstructions of every row so far: two of each photo, and all of them for the method itself."""
    few = results.spread(10)
    shown = {"stimulus": results.test.images[few]}
    shown |= {_SHORT[row]: results.decoded(row)[few] for row in results.systems}
    about = f"test images, none used in training   ·   {results.test.repeats.values.shape[0] // len(results.test.images)} repeats averaged"
    caption = f"{about}   ·   simulated subject, seed {results.demo.seed}"
    chosen = reconstruction_figure(shown, caption=caption)
    # the resolution speaks of all test images, not of those shown
    resolution = resolution_equivalent(results.decoded("full"), results.test.images)
    every = reconstruction_figure(
        {"stimulus": results.test.images, results.full.method.name: results.decoded("full")},
        caption=f"pixel correlation {resolution}   ·   {caption}",
        title="All test images",
    )
    return [_save(results, "reconstructions", chosen), _save(results, "reconstructions_all", every)]


def draw_scores(results: "DemoResults") -> "list[Path]":
    """Draw identification and similarity of all rows, and the encoder against its ceiling."""
    lines = [line for row, scores in results.rows.items() for line in row_lines(row, scores)]
    n = len(results.test.images)
    caption = f"N {n} images of {len(np.unique(results.test.groups))} photos   ·   simulated subject"
    references = [line for name, scores in results.references.items() for line in row_lines(name, scores)]
    bars = score_figure(lines, references=references, titles=TITLES, caption=caption)
    encoder = encoder_figure(results.encoder.r, results.ceiling, results.areas, caption="split-half ceiling   ·   simulated subject")
    return [_save(results, "scores", bars), _save(results, "encoder", encoder)]


def draw_stimulation(results: "DemoResults") -> "list[Path]":
    """Draw one base picture with each quadrant stimulated, and the shares of all rows; nothing if the truth was deleted."""
    if results.true_map is None:
        return []
    outcome = results.microstimulation["full"]
    shares = {_SHORT[row]: found.shares for row, found in results.microstimulation.items()}
    shares["full, random\nvoxels"] = outcome.control_shares
    caption = "simulated subject"
    figures = {
        "stimulation": _quadrants_of_one(results, caption),
        "stimulation_shares": quadrant_figure(shares, caption=f"prediction of the model, not of a brain   ·   {caption}"),
    }
    return [_save(results, name, figure) for name, figure in figures.items()]


def draw_everything(results: "DemoResults") -> "list[Path]":
    """Draw all figures."""
    steps = (draw_maps, draw_agreement, draw_pictures, draw_scores, draw_stimulation)
    return [path for step in steps for path in step(results)]


def _quadrants_of_one(results: "DemoResults", caption: str) -> "Figure":
    assert results.true_map is not None
    outcome = results.microstimulation["full"]
    row = int(results.spread(1)[0])
    trial = int(np.flatnonzero(results.test.repeats.image_index == row)[0])
    pattern = results.test.repeats.values[trial : trial + 1]
    shown = results.test.stimulus_ids[row]
    masks = quadrant_masks(results.true_map, results.scope)
    strength = {quadrant: float(np.nan_to_num(outcome.amplitudes[quadrant][0])) for quadrant in masks}
    changed = np.concatenate([stimulate(pattern, mask, "add", strength[quadrant]) for quadrant, mask in masks.items()])
    before = np.repeat(pattern, len(masks), axis=0)
    decode = decode_function(results.full.method, stimulus_ids=[shown] * len(masks))
    badges = [
        describe_distance(float(percentile), float(excess))
        for percentile, excess in zip(results.response_space.percentile(changed), results.response_space.excess(changed), strict=True)
    ]
    return stimulation_figure(
        decode(before),
        decode(changed),
        [f"{name.replace('_', ' ')}: +{strength[name]:.1f} SD, {mask.sum()} voxels" for name, mask in masks.items()],
        stimuli=np.repeat(results.test.images[row : row + 1], len(masks), axis=0),
        quadrants=list(masks),
        shares=np.array([outcome.shares[quadrant][0] for quadrant in masks]),
        badges=badges,
        caption=caption,
    )


def _surface_colors(
    results: "DemoResults",
    prf_map: "RetinotopicMap",
    name: str,
    threshold: tuple[float, float] | None,
    limits: tuple[float, float] | None,
) -> "dict[str, NDArray[np.float32]]":
    """Colours of the vertices of each hemisphere; without a threshold all voxels, opaque."""
    if name == FIELD_SIGN:
        used = visible(prf_map) & (True if threshold is None else prf_map.quality > threshold[0])
        return {sheet.hemi: field_sign_colors(field_sign_map(sheet, prf_map, used)) for sheet in results.sheets}
    colors = retinotopic_colors(prf_map, name, threshold=threshold, limits=limits)
    return {hemi: colors_on_surface(colors, results.subject.vertex_voxels(hemi, results.voxel_index)) for hemi in "LR"}


def quality_threshold(prf_map: "RetinotopicMap") -> tuple[float, float]:
    """Qualities where colours begin and where they are opaque: fixed for correlations and shares, by rank for other units."""
    known = prf_map.quality[np.isfinite(prf_map.quality)]
    if not known.size or (np.median(known) > 0 and np.abs(known).max() <= 1):
        return THRESHOLD
    low, high = np.quantile(known, [1 - KEPT_SHARE, 0.5])
    return float(f"{low:.3g}"), float(f"{max(low, high):.3g}")  # as the caption writes them


def _named_areas(results: "DemoResults", names: tuple[str, ...]) -> "dict[str, dict[str, NDArray[np.bool_]]]":
    """Areas on the surface, those voxels included that lie outside the stimulus; empty if any is unknown."""
    if not all(name in sheet.areas for sheet in results.sheets for name in names):
        return {}
    return {sheet.hemi: {name: sheet.areas[name] for name in names} for sheet in results.sheets}


def _save(results: "DemoResults", name: str, figure: "Figure") -> "Path":
    path = results.demo.path / "figures" / f"{name}.png"
    with atomic_path(path) as beside:
        figure.savefig(beside, dpi=_DPI)
    return path
