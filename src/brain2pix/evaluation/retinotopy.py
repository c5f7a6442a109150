"""Score estimated receptive fields against known ones (the simulated subject, or a pRF scan)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation.report import ScoreLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from brain2pix.arrays import RetinotopicMap

KEPT_SHARE = 0.85
MIN_ECCENTRICITY_DEG = 1.0  # of the truth: nearer to fixation an angle means little
_BLOCKS = 14  # along an edge, where whole maps are compared
MIN_X_DEG = 0.5  # of the truth: nearer to the vertical meridian a hemifield means little


@dataclass(frozen=True)
class PRFScores:
    """Scores of a map; NaN where too few voxels allow one.

    Parameters
    ----------
    kept : float, share of the voxels in scope that were scored
    n_voxels : int, how many these are
    median_error_deg : float, distance between estimated and true centre
    median_error_sizes : float, the same in units of the true size
    median_angle_error_deg, fisher_lee, log_ecc_r, size_spearman : float, over voxels whose true eccentricity exceeds 1 degree
    hemifield : float, share on the right side of the vertical meridian, over voxels with true abs(x) > .5 degree
    upper_lower : float, share on the right side of the horizontal meridian, over voxels with true abs(y) > .5 degree
    areas : dict of area name to its own PRFScores (kept = share of that area's voxels)
    """

    kept: float
    n_voxels: int
    median_error_deg: float
    median_error_sizes: float
    median_angle_error_deg: float
    fisher_lee: float
    log_ecc_r: float
    size_spearman: float
    hemifield: float
    upper_lower: float
    areas: "dict[str, PRFScores]" = field(default_factory=dict)


def score_map(
    estimate: "RetinotopicMap",
    truth: "RetinotopicMap",
    *,
    scope: "ArrayLike | None" = None,
    areas: "Mapping[str, NDArray[np.bool_]] | None" = None,
    kept_share: float = KEPT_SHARE,
) -> PRFScores:
    """Keep the voxels that the method itself trusts most, then compare them with the truth.

    Parameters
    ----------
    estimate : RetinotopicMap, [v]; its `quality` ranks the voxels, NaN centres are never kept
    truth : RetinotopicMap, [v]; its `sigma_deg` is the effective size, sigma / sqrt(exponent)
    scope : bool array, [v], voxels that count; None = all with a true centre
    areas : mapping of name to bool array, [v], scored on their own too (among the voxels kept over all areas)
    kept_share : float, 0..1, share of the scope that is kept

    Returns
    -------
    PRFScores

    Raises
    ------
    ShapeError
        If the two maps, the scope or an area differ in their voxels.
    ConfigError
        If `kept_share` is not in 0..1, or the scope is empty.
    """
    n_voxels = len(truth.x0_deg)
    inside = np.isfinite(truth.x0_deg + truth.y0_deg)
    _check_size("the estimated map", estimate.x0_deg, n_voxels)
    if scope is not None:
        _check_size("scope", scope, n_voxels)
        inside = inside & np.asarray(scope, dtype=bool)
    for name, mask in (areas or {}).items():
        _check_size(f"area {name}", mask, n_voxels)
    if not inside.any():
        raise ConfigError("no voxel is in scope for scoring receptive fields; check the scope and the true centres")
    kept = keep_best(estimate, kept_share, inside)
    per_area = {name: _scores(estimate, truth, kept & mask, int((inside & mask).sum())) for name, mask in (areas or {}).items()}
    return _scores(estimate, truth, kept, int(inside.sum()), per_area)


def keep_best(estimate: "RetinotopicMap", share: float = KEPT_SHARE, scope: "ArrayLike | None" = None) -> "NDArray[np.bool_]":
    """Mask of the voxels of highest quality.

    Parameters
    ----------
    estimate : RetinotopicMap, [v]
    share : float, 0..1, of the voxels in scope; fewer are kept where fewer have a centre and a quality
    scope : bool array, [v], or None = all

    Returns
    -------
    bool array, [v]
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share of voxels to keep must lie in 0..1, got {share}")
    inside = np.ones(len(estimate.quality), dtype=bool) if scope is None else np.asarray(scope, dtype=bool)
    usable = np.flatnonzero(inside & np.isfinite(estimate.x0_deg + estimate.y0_deg + estimate.quality))
    best = usable[np.argsort(-estimate.quality[usable], kind="stable")]
    kept = np.zeros(len(inside), dtype=bool)
    kept[best[: round(share * int(inside.sum()))]] = True
    return kept


@dataclass(frozen=True)
class FieldAgreement:
    """Two maps of the same voxels beside each other, neither of them the truth; NaN where too few voxels allow a score.

    Parameters
    ----------
    compared : float, share of the voxels in scope with a field in both
    n_voxels : int, how many these are
    median_distance_deg : float, between the two centres
    shuffled_distance_deg : float, the same when fields are paired with those of other voxels
    fisher_lee, log_ecc_r, size_spearman : float, over voxels beyond 1 degree in the reference
    map_r, shuffled_map_r : float, median over voxels of the correlation of the two whole maps, and the same with those of other voxels;
        NaN where no maps were given
    """

    compared: float
    n_voxels: int
    median_distance_deg: float
    shuffled_distance_deg: float
    fisher_lee: float
    log_ecc_r: float
    size_spearman: float
    map_r: float = float("nan")
    shuffled_map_r: float = float("nan")


def compare_maps(
    fields: "RetinotopicMap",
    reference: "RetinotopicMap",
    *,
    scope: "ArrayLike | None" = None,
    maps: "tuple[NDArray[np.float32], NDArray[np.float32]] | None" = None,
    seed: int = 0,
) -> FieldAgreement:
    """Compare the fields of a decoder with those of its encoder, or any two maps of the same voxels.

    Parameters
    ----------
    fields, reference : RetinotopicMap, [v]; the reference decides which voxels lie beyond 1 degree
    scope : bool array, [v], voxels that count; None = all
    maps : two float32 arrays, [v h w], the maps that the two were read from; they are compared too, whether a field was found or not
    seed : int, of the shuffled pairs

    Raises
    ------
    ShapeError
        If maps or scope differ in their voxels.
    """
    n_voxels = len(reference.x0_deg)
    _check_size("the compared map", fields.x0_deg, n_voxels)
    inside = np.ones(n_voxels, dtype=bool) if scope is None else np.asarray(scope, dtype=bool)
    _check_size("scope", inside, n_voxels)
    both = inside & np.isfinite(fields.x0_deg + fields.y0_deg + reference.x0_deg + reference.y0_deg)
    far = both & (reference.eccentricity_deg > MIN_ECCENTRICITY_DEG)
    sized = far & np.isfinite(fields.sigma_deg + reference.sigma_deg)
    index = np.flatnonzero(both)
    other = np.random.default_rng(seed).permutation(index)
    return FieldAgreement(
        compared=len(index) / int(inside.sum()) if inside.any() else float("nan"),
        n_voxels=len(index),
        median_distance_deg=_median(_distance(fields, reference, index, index)),
        shuffled_distance_deg=_median(_distance(fields, reference, index, other)),
        fisher_lee=fisher_lee(fields.angle_deg[far], reference.angle_deg[far]),
        log_ecc_r=_pearson(_log(fields.eccentricity_deg[far]), _log(reference.eccentricity_deg[far])),
        size_spearman=_spearman(fields.sigma_deg[sized], reference.sigma_deg[sized]),
        **({} if maps is None else _map_agreement(*maps, np.flatnonzero(inside), seed)),
    )


def _map_agreement(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", index: "NDArray[np.int64]", seed: int
) -> "dict[str, float]":
    for name, maps in (("compared maps", first), ("reference maps", second)):
        if maps.ndim != 3 or maps.shape[0] <= index.max(initial=-1):
            raise ShapeError(f"the {name} need one [h w] for each voxel, got shape {maps.shape}")
    one, other = (_standardised(_blocks(maps[index])) for maps in (first, second))
    shuffled = np.random.default_rng(seed).permutation(len(index))
    return {"map_r": _median((one * other).sum(axis=1)), "shuffled_map_r": _median((one * other[shuffled]).sum(axis=1))}


def _blocks(maps: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Average maps [v h w] over blocks, [v k] of at most 14 x 14: the grid on which a decoder's linear layer writes."""
    averaged = maps.astype(np.float64)
    for axis in (1, 2):
        edges = np.linspace(0, maps.shape[axis], min(_BLOCKS, maps.shape[axis]) + 1).round().astype(int)
        widths = np.diff(edges).reshape((-1, 1) if axis == 1 else (1, -1))
        averaged = np.add.reduceat(averaged, edges[:-1], axis=axis) / widths
    return averaged.reshape(len(maps), -1)


def _standardised(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Rows of mean 0 and length 1; NaN where a row is constant."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    standardised: NDArray[np.float64] = np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)
    return standardised


def agreement_lines(agreement: FieldAgreement, row: str = "full") -> "list[ScoreLine]":
    """Lines "decoder fields" of the sheet."""
    note = "decoder against encoder, not against the truth"
    scores = (
        ("median_distance_deg", agreement.median_distance_deg, "deg", agreement.shuffled_distance_deg),
        ("fisher_lee", agreement.fisher_lee, "", 0.0),
        ("log_ecc_r", agreement.log_ecc_r, "", 0.0),
        ("size_spearman", agreement.size_spearman, "", 0.0),
        ("map_r", agreement.map_r, "", agreement.shuffled_map_r),
        ("compared", agreement.compared, "", None),
    )
    return [
        ScoreLine("decoder fields", row, name, value, unit, chance=chance, n=agreement.n_voxels, note=note)
        for name, value, unit, chance in scores
        if np.isfinite(value)
    ]


def angle_error_deg(estimate_deg: "ArrayLike", truth_deg: "ArrayLike") -> "NDArray[np.float64]":
    """Absolute difference on the circle, 0..180 degrees; [v]."""
    difference = np.asarray(estimate_deg, dtype=np.float64) - np.asarray(truth_deg, dtype=np.float64)
    return np.abs((difference + 180) % 360 - 180)


def fisher_lee(first_deg: "ArrayLike", second_deg: "ArrayLike") -> float:
    """Rotation-free circular correlation.

    The usual form centred on the means breaks for angles all around the field, whose mean is undefined.

    Parameters
    ----------
    first_deg, second_deg : float arrays, [v], degrees

    Returns
    -------
    float, -1..1; NaN for fewer than 3 voxels or when all angles of one of the two are equal

    References
    ----------
    .. [1] Fisher and Lee 1983, doi:10.1093/biomet/70.2.327, with the pairs' sine products summed in closed form.
    """
    a, b = np.radians(np.asarray(first_deg, dtype=np.float64)), np.radians(np.asarray(second_deg, dtype=np.float64))
    n = len(a)
    together = np.abs(np.exp(1j * (a - b)).sum()) ** 2 - np.abs(np.exp(1j * (a + b)).sum()) ** 2
    spread = (n**2 - np.abs(np.exp(2j * a).sum()) ** 2) * (n**2 - np.abs(np.exp(2j * b).sum()) ** 2)
    return float(together / np.sqrt(spread)) if n >= 3 and spread > 1e-9 * n**4 else float("nan")


def _scores(
    estimate: "RetinotopicMap",
    truth: "RetinotopicMap",
    kept: "NDArray[np.bool_]",
    n_scope: int,
    areas: "dict[str, PRFScores] | None" = None,
) -> PRFScores:
    error = np.hypot(estimate.x0_deg - truth.x0_deg, estimate.y0_deg - truth.y0_deg)
    far = kept & (truth.eccentricity_deg > MIN_ECCENTRICITY_DEG)
    sized = far & np.isfinite(estimate.sigma_deg + truth.sigma_deg)
    return PRFScores(
        kept=int(kept.sum()) / n_scope if n_scope else float("nan"),
        n_voxels=int(kept.sum()),
        median_error_deg=_median(error[kept]),
        median_error_sizes=_median((error / truth.sigma_deg)[kept]),
        median_angle_error_deg=_median(angle_error_deg(estimate.angle_deg[far], truth.angle_deg[far])),
        fisher_lee=fisher_lee(estimate.angle_deg[far], truth.angle_deg[far]),
        log_ecc_r=_pearson(_log(estimate.eccentricity_deg[far]), _log(truth.eccentricity_deg[far])),
        size_spearman=_spearman(estimate.sigma_deg[sized], truth.sigma_deg[sized]),
        hemifield=_same_side(estimate.x0_deg, truth.x0_deg, kept),
        upper_lower=_same_side(estimate.y0_deg, truth.y0_deg, kept),
        areas=areas or {},
    )


def _distance(
    first: "RetinotopicMap", second: "RetinotopicMap", rows: "NDArray[np.int64]", others: "NDArray[np.int64]"
) -> "NDArray[np.floating]":
    """Distance between the first map's centres in some rows and the second's in others [degrees]."""
    distance: NDArray[np.floating] = np.hypot(first.x0_deg[rows] - second.x0_deg[others], first.y0_deg[rows] - second.y0_deg[others])
    return distance


def _check_size(name: str, values: "ArrayLike", n_voxels: int) -> None:
    if np.shape(values) != (n_voxels,):
        raise ShapeError(f"{name} needs one value for each of the {n_voxels} voxels of the true map, got shape {np.shape(values)}")


def _same_side(estimate: "NDArray[np.float32]", truth: "NDArray[np.float32]", kept: "NDArray[np.bool_]") -> float:
    clear = kept & (np.abs(truth) > MIN_X_DEG)
    return float(np.mean(np.sign(estimate[clear]) == np.sign(truth[clear]))) if clear.any() else float("nan")


def _median(values: "NDArray[np.floating]") -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _log(eccentricity_deg: "NDArray[np.float32]") -> "NDArray[np.float64]":
    return np.log(np.maximum(eccentricity_deg.astype(np.float64), 1e-3))  # a centre exactly on fixation has no logarithm


def _pearson(first: "NDArray[np.float64]", second: "NDArray[np.float64]") -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _spearman(first: "NDArray[np.float32]", second: "NDArray[np.float32]") -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)
