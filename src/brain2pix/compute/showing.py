"""Draw the figures of a demo: results in, PNG files in ``DIR/figures`` out."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.evaluation import keep_best, resolution_equivalent
from brain2pix.evaluation.report import TITLES, row_lines
from brain2pix.figures.colormaps import THRESHOLD, eccentricity_limits, retinotopic_colors, visible
from brain2pix.figures.maps import agreement_figure, colors_on_surface, coverage_figure, map_caption, surface_map_figure
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
_OUTLINED = ("V1", "V2", "V3")
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
    """Draw estimated maps on inflated and flat cortex, above the true ones if these are known."""
    estimate, truth = results.estimated_map, results.true_map
    shown = visible(estimate) & (estimate.quality > THRESHOLD[0])
    caption = map_caption(
        int(shown.sum()),
        len(shown),
        threshold=THRESHOLD,
        quality_name=estimate.quality_name,
        simulated=results.subject.simulated,
        source=estimate.source,
    )
    written = []
    for name in _MAPS:
        limits = eccentricity_limits(results.subject.field_of_view_deg) if name == "eccentricity" else None
        figure = surface_map_figure(
            {(hemi, kind): results.subject.mesh(hemi, kind) for hemi in "LR" for kind in ("inflated", "flat")},
            {hemi: results.subject.sulc(hemi) for hemi in "LR"},
            _surface_colors(results, estimate, name, THRESHOLD, limits),
            name,
            truth_colors=_surface_colors(results, truth, name, None, limits) if truth else None,
            areas=_outlined(results),
            field_of_view_deg=results.subject.field_of_view_deg,
            limits=limits,
            caption=caption,
        )
        written.append(_save(results, f"maps_{name}", figure))
    written.append(_save(results, "coverage", coverage_figure(estimate, results.areas, shown=shown, caption=caption)))
    return written


def draw_agreement(results: "DemoResults") -> "list[Path]":
    """Draw estimated against true receptive fields; nothing if the truth was deleted."""
    if results.true_map is None or results.prf is None:
        return []
    scores = results.prf
    notes = (
        f"polar angle: median error {scores.median_angle_error_deg:.1f} deg",
        f"eccentricity: log r {scores.log_ecc_r:.2f}",
        f"size: Spearman {scores.size_spearman:.2f}",
    )
    kept = keep_best(results.estimated_map, scope=results.scope)
    caption = f"best {scores.kept:.0%} by {results.estimated_map.quality_name}   ·   N {scores.n_voxels:,}   ·   simulated subject"
    figure = agreement_figure(results.estimated_map, results.true_map, kept=kept, areas=results.areas, notes=notes, caption=caption)
    return [_save(results, "prf_agreement", figure)]


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
    decode = decode_function(results.full.method)
    masks = quadrant_masks(results.true_map, results.scope)
    strength = {quadrant: float(np.nan_to_num(outcome.amplitudes[quadrant][0])) for quadrant in masks}
    changed = np.concatenate([stimulate(pattern, mask, "add", strength[quadrant]) for quadrant, mask in masks.items()])
    badges = [
        describe_distance(float(percentile), float(excess))
        for percentile, excess in zip(results.response_space.percentile(changed), results.response_space.excess(changed), strict=True)
    ]
    return stimulation_figure(
        np.repeat(np.asarray(decode(pattern)), len(masks), axis=0),
        decode(changed),
        [f"{name.replace('_', ' ')}: +{strength[name]:.1f} SD, {mask.sum()} voxels" for name, mask in masks.items()],
        stimuli=np.repeat(results.test.images[row : row + 1], len(masks), axis=0),
        quadrants=list(masks),
        shares=np.array([outcome.shares[quadrant][0] for quadrant in masks]),
        badges=badges,
        caption=caption,
    )


def _surface_colors(
    results: "DemoResults", prf_map: "RetinotopicMap", name: str, threshold: tuple[float, float] | None, limits: tuple[float, float] | None
) -> "dict[str, NDArray[np.float32]]":
    colors = retinotopic_colors(prf_map, name, threshold=threshold, limits=limits)
    return {hemi: colors_on_surface(colors, results.subject.vertex_voxels(hemi, results.voxel_index)) for hemi in "LR"}


def _outlined(results: "DemoResults") -> "dict[str, dict[str, NDArray[np.bool_]]]":
    """Areas on the surface, those voxels included that lie outside the stimulus."""
    subject = results.subject
    found: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for hemi in "LR":
        voxel = subject.vertex_voxels(hemi)
        found[hemi] = {name: (voxel >= 0) & subject.areas[name][voxel] for name in _OUTLINED if name in subject.areas}
    return found


def _save(results: "DemoResults", name: str, figure: "Figure") -> "Path":
    path = results.demo.path / "figures" / f"{name}.png"
    with atomic_path(path) as beside:
        figure.savefig(beside, dpi=_DPI)
    return path
