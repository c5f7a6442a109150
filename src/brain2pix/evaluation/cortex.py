"""What a retinotopic map must show on the cortex: mirrored and unmirrored areas, angles that turn back at their borders, one fovea.

All of it is read from the map, the labels of the areas and the surface. The truth serves as the measure of what the mesh allows, and to
leave voxels near fixation out.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import mannwhitneyu, spearmanr

from brain2pix.anatomy.field_sign import EXPECTED_SIGN, vertex_field_sign
from brain2pix.anatomy.geodesic import distance_from, edge_graph, smooth_on_surface
from brain2pix.evaluation.report import ScoreLine
from brain2pix.evaluation.retinotopy import MIN_ECCENTRICITY_DEG, keep_best

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    from brain2pix.arrays import RetinotopicMap

AREAS = ("V1", "V2", "V3")
STREAMS = {"dorsal": "d", "ventral": "v"}
# Where the angle turns back, in positions of `across_areas`, and whether it is an upper (1) or lower (-1) turn: lower and upper vertical
# meridian between V1 and V2, horizontal meridian between V2 and V3.
BORDERS = {("V1/V2", "dorsal"): (1, -1), ("V1/V2", "ventral"): (1, 1), ("V2/V3", "dorsal"): (2, 1), ("V2/V3", "ventral"): (2, -1)}
SMOOTHING_MM = 3.0  # of positions before the field sign is taken
MAX_P = 0.01  # one-sided, of the angles at a border against those in the middle of either area
_NEAR = 0.25  # of an area's width: how near to the border the turn must be
_HALF_WIDTH = 0.2  # of an area's width: of the running median
_FEWEST = 5  # voxels for a median


@dataclass(frozen=True)
class Sheet:
    """One hemisphere's cortex with its areas, and the voxel that each vertex shows.

    Parameters
    ----------
    hemi : str, "L" or "R"
    vertices : float array, [p 3], of a folded surface (mid-thickness), mm
    faces : int array, [f 3], normals outwards
    voxel : int array, [p], row of the map; -1 = none
    areas : mapping of name to bool array, [p]: V1, V2, V3 and, where known, their dorsal and ventral parts V1d, V1v, ...
    voxel_xyz : float array, [v 3], centres of the map's voxels in the space of the surface, mm
    own : bool array, [v], voxels of this hemisphere
    """

    hemi: str
    vertices: "NDArray[np.floating]"
    faces: "NDArray[np.integer]"
    voxel: "NDArray[np.int64]"
    areas: "Mapping[str, NDArray[np.bool_]]"
    voxel_xyz: "NDArray[np.floating]"
    own: "NDArray[np.bool_]"

    @cached_property
    def graph(self) -> "csr_array":
        """Lengths of the edges, computed once."""
        return edge_graph(self.vertices, self.faces)

    @cached_property
    def voxel_positions(self) -> "dict[str, NDArray[np.float64]]":
        """Places of the voxels on the way across the areas, [v] for each stream, see `across_areas`."""
        return {stream: self.on_voxels(across_areas(self, stream)) for stream in STREAMS}

    def on_vertices(self, values: "NDArray[np.floating]", use: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """Give each vertex the value of its voxel, [v] -> [p], NaN where it has none or the voxel is not used."""
        shown = (self.voxel >= 0) & np.append(use, False)[self.voxel]
        return np.where(shown, np.append(values, np.nan).astype(np.float64)[self.voxel], np.nan)

    def on_voxels(self, values: "NDArray[np.floating]") -> "NDArray[np.float64]":
        """Give each voxel of the hemisphere the value at its place on the cortex, [p] -> [v], from its nearest vertices.

        A mesh may have fewer vertices than there are voxels: what counts voxels should not be thinned out to vertices. NaN where the
        nearest vertex has no value.
        """
        found = np.full(len(self.voxel_xyz), np.nan)
        distance, nearest = cKDTree(self.vertices).query(self.voxel_xyz[self.own], k=3)
        at = values[nearest]
        weight = np.isfinite(at) / np.maximum(distance, 1e-3)
        with np.errstate(invalid="ignore"):
            mean = (weight * np.nan_to_num(at)).sum(axis=1) / weight.sum(axis=1)
        found[self.own] = np.where(np.isfinite(at[:, 0]), mean, np.nan)
        return found


@dataclass(frozen=True)
class Profile:
    """Polar angle on the way across the areas; NaN where too few voxels lie.

    Parameters
    ----------
    position : float array, [k], 0 = horizontal meridian in V1, 1 = border of V1 and V2, 2 = of V2 and V3, 3 = outer border of V3
    median_deg, low_deg, high_deg : float arrays, [k], median and quartiles of the angle from the horizontal meridian of the own half of
        the field, 90 = up, -90 = down
    n : int array, [k], voxels
    """

    position: "NDArray[np.float64]"
    median_deg: "NDArray[np.float64]"
    low_deg: "NDArray[np.float64]"
    high_deg: "NDArray[np.float64]"
    n: "NDArray[np.int64]"


@dataclass(frozen=True)
class CortexScores:
    """Scores of a map on the cortex.

    Parameters
    ----------
    field_sign : dict of area to (share, the truth's share, vertices): vertices with the sign that the area has in every brain
    reversals : dict of (border, stream, hemi) to (bool, the truth's), whether the angle turns back there; without those that too few
        voxels show
    from_fovea : dict of area to (r, the truth's r, vertices): rank correlation of eccentricity with the way from the foveal confluence
    """

    field_sign: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    reversals: dict[tuple[str, str, str], tuple[bool, bool]] = field(default_factory=dict)
    from_fovea: dict[str, tuple[float, float, int]] = field(default_factory=dict)

    @property
    def reversals_found(self) -> float:
        """Share of the borders at which the angle turns back; NaN without any."""
        return float(np.mean([found for found, _ in self.reversals.values()])) if self.reversals else float("nan")

    @property
    def one_fovea(self) -> bool:
        """Whether eccentricity falls towards the foveal confluence, at the occipital pole, in every area."""
        return bool(self.from_fovea) and all(r > 0.5 for r, _, _ in self.from_fovea.values())


def score_cortex(
    sheets: "Sequence[Sheet]", estimate: "RetinotopicMap", truth: "RetinotopicMap", *, scope: "ArrayLike | None" = None
) -> CortexScores:
    """Score what a map shows on the cortex, with the voxels that the method itself trusts most.

    Parameters
    ----------
    sheets : sequence of Sheet, one per hemisphere
    estimate : RetinotopicMap, [v], all voxels of the map
    truth : RetinotopicMap, [v]; voxels nearer to fixation than 1 degree are left out of the reversals
    scope : bool array, [v], voxels that count; None = all with a true centre
    """
    inside = np.isfinite(truth.x0_deg + truth.y0_deg)
    if scope is not None:
        inside = inside & np.asarray(scope, dtype=bool)
    kept = keep_best(estimate, scope=inside)
    far = kept & (truth.eccentricity_deg > MIN_ECCENTRICITY_DEG)
    turns: dict[tuple[str, str, str], tuple[bool, bool]] = {}
    for sheet in sheets:
        true = find_reversals(sheet, truth, far)
        turns |= {(*border, sheet.hemi): (turn, true[border]) for border, turn in find_reversals(sheet, estimate, far).items()}
    return CortexScores(
        field_sign=_beside(sign_share(sheets, estimate, kept), sign_share(sheets, truth, kept)),
        reversals=turns,
        from_fovea=_beside(eccentricity_from_fovea(sheets, estimate, kept), eccentricity_from_fovea(sheets, truth, kept)),
    )


def cortex_lines(scores: CortexScores, row: str = "full") -> list[ScoreLine]:
    """Lines of the sheet, part "prf": field sign and eccentricity per area, each reversal, and how many of them were found."""
    before = "" if row == "full" else f"{row} "
    lines = [
        ScoreLine("prf", f"{before}{area}", "field_sign", share, chance=0.5, n=n, note=f"truth on the same vertices {true:.2f}")
        for area, (share, true, n) in scores.field_sign.items()
    ]
    lines += [
        ScoreLine("prf", f"{before}{area}", "eccentricity_from_fovea", r, chance=0.0, n=n, note=f"Spearman; truth {true:.2f}")
        for area, (r, true, n) in scores.from_fovea.items()
    ]
    for (border, stream, hemi), (turn, true) in scores.reversals.items():
        note = "" if true else "the true map shows none there either"
        lines.append(ScoreLine("prf", row, f"reversal {border} {stream} {hemi}", float(turn), note=note))
    if scores.reversals:
        note = f"extremum within {_NEAR:g} area widths of the border, beyond both middles at p < {MAX_P:g}"
        lines.append(ScoreLine("prf", row, "reversals_found", scores.reversals_found, chance=0.0, n=len(scores.reversals), note=note))
    if scores.from_fovea:
        lines.append(ScoreLine("prf", row, "one_fovea", float(scores.one_fovea), note="eccentricity_from_fovea above .5 in every area"))
    return lines


def field_sign_map(sheet: Sheet, fields: "RetinotopicMap", use: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Field sign of each vertex, [p], -1..1, from positions smoothed along the cortex; NaN where no voxel in use is shown.

    Parameters
    ----------
    sheet : Sheet
    fields : RetinotopicMap, [v]
    use : bool array, [v]
    """
    places = np.stack([sheet.on_vertices(part, use) for part in (fields.x0_deg, fields.y0_deg)], axis=-1)
    smooth = smooth_on_surface(sheet.graph, places, SMOOTHING_MM)
    return vertex_field_sign(sheet.vertices, sheet.faces, smooth[:, 0], smooth[:, 1])


def sign_share(sheets: "Sequence[Sheet]", fields: "RetinotopicMap", use: "NDArray[np.bool_]") -> dict[str, tuple[float, int]]:
    """Share of an area's vertices with its expected field sign, and how many there are."""
    signs = [field_sign_map(sheet, fields, use) for sheet in sheets]
    found = {}
    for area in AREAS:
        inside = np.concatenate([sign[sheet.areas[area]] for sheet, sign in zip(sheets, signs, strict=True) if area in sheet.areas])
        inside = inside[np.isfinite(inside)]
        if inside.size:
            found[area] = float(np.mean(np.sign(inside) == EXPECTED_SIGN[area])), int(inside.size)
    return found


def across_areas(sheet: Sheet, stream: str) -> "NDArray[np.float64]":
    """Place of each vertex on the way from the middle of V1 over V2 to the outer border of V3, [p], NaN elsewhere.

    Within an area it is the distance from the border before over the sum of the distances to both borders, so that borders lie at whole
    numbers whatever the areas' widths. The horizontal meridian in V1 is where its dorsal and ventral parts meet.

    Parameters
    ----------
    sheet : Sheet
    stream : str, "dorsal" or "ventral"
    """
    own, other = STREAMS[stream], next(letter for name, letter in STREAMS.items() if name != stream)
    position = np.full(len(sheet.vertices), np.nan)
    if not all(f"{area}{letter}" in sheet.areas for area in AREAS for letter in (own, other)):
        return position
    graph = sheet.graph
    labelled = np.any([sheet.areas[area] for area in AREAS], axis=0)
    chain = [sheet.areas[f"V1{other}"], *(sheet.areas[f"{area}{own}"] for area in AREAS), ~labelled]
    half_edge = float(np.median(graph.data)) / 2  # a border runs between vertices
    for place in range(len(AREAS)):
        before, inside, after = chain[place : place + 3]
        from_before = np.maximum(distance_from(graph, before)[inside] - half_edge, 0)
        to_after = np.maximum(distance_from(graph, after)[inside] - half_edge, 0)
        with np.errstate(invalid="ignore"):
            position[inside] = place + from_before / (from_before + to_after)
    return position


def angle_profile(
    sheets: "Sequence[Sheet]", fields: "RetinotopicMap", use: "NDArray[np.bool_]", stream: str, positions: "NDArray[np.float64]"
) -> Profile:
    """Take the running median and quartiles of the angle across the areas, all hemispheres together.

    Parameters
    ----------
    sheets : sequence of Sheet
    fields : RetinotopicMap, [v]
    use : bool array, [v]
    stream : str, "dorsal" or "ventral"
    positions : float array, [k], where to take it, see `across_areas`
    """
    return _running(*_walk(sheets, fields, use, stream), positions)


def _running(places: "NDArray[np.float64]", angles: "NDArray[np.float64]", positions: "NDArray[np.float64]") -> Profile:
    windows = [angles[np.abs(places - position) <= _HALF_WIDTH] for position in positions]
    spread = np.array([np.quantile(w, [0.25, 0.5, 0.75]) if len(w) >= _FEWEST else np.full(3, np.nan) for w in windows])
    low, median, high = spread.reshape(-1, 3).T
    return Profile(positions, median, low, high, np.array([len(w) for w in windows]))


def find_reversals(sheet: Sheet, fields: "RetinotopicMap", use: "NDArray[np.bool_]") -> dict[tuple[str, str], bool]:
    """Whether the angle turns back near each border of one hemisphere, (border, stream) to bool.

    Between the middles of the two areas, the extremum of the running median must lie near the border, and the angles around the border
    must exceed those around either middle (rank tests, so that the medians of noise, which always have some extremum, do not pass).
    A border is left out where one of these places has too few voxels.
    """
    found = {}
    for (border, stream), (place, direction) in BORDERS.items():
        places, angles = _walk([sheet], fields, use, stream)
        at, *middles = (direction * angles[np.abs(places - place - shift) <= _HALF_WIDTH] for shift in (0, -0.5, 0.5))
        if min(map(len, (at, *middles))) < _FEWEST:
            continue
        grid = place + np.linspace(-0.5, 0.5, 21)
        height = direction * _running(places, angles, grid).median_deg
        near = abs(grid[np.nanargmax(height)] - place) <= _NEAR + 1e-9
        beyond = all(mannwhitneyu(at, middle, alternative="greater").pvalue < MAX_P for middle in middles)
        found[border, stream] = bool(near and beyond)
    return found


def _walk(
    sheets: "Sequence[Sheet]", fields: "RetinotopicMap", use: "NDArray[np.bool_]", stream: str
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Positions and angles of the voxels on the way across the areas, all hemispheres together; [k] each."""
    places = np.concatenate([sheet.voxel_positions[stream] for sheet in sheets])
    angles = np.concatenate([np.where(use, _from_horizontal(sheet.hemi, fields), np.nan) for sheet in sheets])
    known = np.isfinite(places + angles)
    return places[known], angles[known]


def foveal_confluence(sheet: Sheet) -> "NDArray[np.bool_]":
    """Vertex at which the foveas of V1, V2 and V3 meet, a mask [p]; empty where dorsal and ventral parts are not labelled.

    It is the vertex from which no area is far: only there do the dorsal and ventral parts of V2 and V3 come together.
    """
    found = np.zeros(len(sheet.vertices), dtype=bool)
    parts = ["V1", *(f"{area}{letter}" for area in AREAS[1:] for letter in STREAMS.values())]
    if all(part in sheet.areas and sheet.areas[part].any() for part in parts):
        graph = sheet.graph
        found[np.max([distance_from(graph, sheet.areas[part]) for part in parts], axis=0).argmin()] = True
    return found


def eccentricity_from_fovea(sheets: "Sequence[Sheet]", fields: "RetinotopicMap", use: "NDArray[np.bool_]") -> dict[str, tuple[float, int]]:
    """Rank correlation of eccentricity with the way along the cortex from the foveal confluence, per area, and how many vertices."""
    away = [distance_from(sheet.graph, foveal_confluence(sheet)) for sheet in sheets]
    eccentricity = [sheet.on_vertices(fields.eccentricity_deg, use) for sheet in sheets]
    found = {}
    for area in AREAS:
        inside = [sheet.areas.get(area, np.zeros(len(sheet.vertices), dtype=bool)) for sheet in sheets]
        far, ecc = (np.concatenate([part[mask] for part, mask in zip(parts, inside, strict=True)]) for parts in (away, eccentricity))
        known = np.isfinite(far + ecc)
        if known.sum() >= _FEWEST and np.ptp(ecc[known]) > 0:
            found[area] = float(spearmanr(far[known], ecc[known]).statistic), int(known.sum())
    return found


def _from_horizontal(hemi: str, fields: "RetinotopicMap") -> "NDArray[np.float64]":
    """Angle from the horizontal meridian of the hemisphere's own half of the field, -180..180, up positive; [v]."""
    own_side = 1.0 if hemi == "L" else -1.0
    angle: NDArray[np.float64] = np.degrees(np.arctan2(fields.y0_deg.astype(np.float64), own_side * fields.x0_deg))
    return angle


def _beside(estimate: dict[str, tuple[float, int]], truth: dict[str, tuple[float, int]]) -> dict[str, tuple[float, float, int]]:
    return {area: (value, truth[area][0], n) for area, (value, n) in estimate.items() if area in truth}
