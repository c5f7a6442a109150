"""Hyperalignment: turn the responses of several people into one common space, by rotations fitted on rows that all of them share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Directions whose singular value is below this share of the largest are those about which the rows say nothing.
_RANK = 1e-6
# The same for the squares of singular values, as the products of rows have them.
_WEIGHT = 1e-10
_COLUMNS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Hyperalignment:
    """Maps from each person's voxels into the voxels of the reference, `k` of them.

    The map of person s is ``rotations[s] @ basis``, [v_s k]. It is kept in two thin factors: for 25,000 voxels and 2,000 rows the
    whole map would take 2.5 GB, the factors 0.4 GB. It is a rotation of what the rows say about a person's voxels (the row space);
    anything else that a response holds is left out, as the rows do not tell where it belongs.

    Parameters
    ----------
    rotations : tuple of float arrays, [v_s d], with orthonormal columns up to the rank of the rows, times the scale; d at most min(n, k)
    basis : float array, [d k], orthonormal rows
    coordinates : float array, [n d], the template in this basis
    scales : tuple of float, 1 without scaling
    reference : int, whose voxels the common space has
    """

    rotations: "tuple[NDArray[np.floating], ...]"
    basis: "NDArray[np.floating]"
    coordinates: "NDArray[np.floating]"
    scales: tuple[float, ...]
    reference: int

    @property
    def template(self) -> "NDArray[np.floating]":
        """Mean of all people's aligned rows at the last step of fitting, [n k]."""
        return self.coordinates @ self.basis

    def apply(self, responses: "NDArray[np.floating]", person: int) -> "NDArray[np.floating]":
        """Bring responses into the common space.

        Parameters
        ----------
        responses : float array, [b v_s], scaled as the rows of the fit
        person : int, position in the fit

        Returns
        -------
        float array, [b k]

        Raises
        ------
        ShapeError
            If they have another number of voxels.
        """
        return apply_map(responses, self.rotations[person], self.basis)


def hyperalign(responses: "Sequence[NDArray[np.floating]]", *, scale: bool = False, n_rounds: int = 1) -> Hyperalignment:
    """Fit hyperalignment on matched rows.

    The reference is the person with the most voxels. (a) Each other one, in the order given, is rotated to the running mean of those
    before. (b) Each one, the reference too, is rotated again to the mean of the *others* as step (a) left them. (c) The template is the
    mean of all; the final map of each person rotates to it.

    Parameters
    ----------
    responses : sequence of float arrays, [n v_s]; row n is the same event for all; z-scored columns, all finite
    scale : bool, whether a map may also stretch (one factor per person)
    n_rounds : int, how often step (b) is done

    Raises
    ------
    ShapeError
        If there are fewer than two people, their numbers of rows differ, a value is not finite, or one has no varying voxel.

    Notes
    -----
    A rotation R = U V' comes from the singular value decomposition U S V' = X'T. With n rows and n < v, X = B Q' with Q of at most n
    orthonormal columns, and all that ever is aligned lies in the row space of the reference: after one thin factorisation of each
    person, O(n^2 v), every decomposition is of a matrix of at most n x n.

    References
    ----------
    .. [1] Haxby et al. 2011, doi:10.1016/j.neuron.2011.08.026. Two differences: the running mean of step (a) weighs all people equally,
       and the common space is not z-scored after a step.
    """
    _check(responses)
    reference = int(np.argmax([rows.shape[1] for rows in responses]))
    thin = [_thin(rows) for rows in responses]  # B_s [n d_s], Q_s [v_s d_s]
    cores = [core for core, _ in thin]

    # in the bases of the thin factors everything is small: maps [d_s d], aligned rows [n d]
    maps: dict[int, NDArray[np.float64]] = {reference: np.eye(cores[reference].shape[1])}
    for person in (each for each in range(len(cores)) if each != reference):
        mean = np.mean([cores[one] @ turn for one, turn in maps.items()], axis=0)
        maps[person] = procrustes(cores[person], mean, scale=scale)[0]
    turns = [maps[person] for person in range(len(cores))]
    for _ in range(n_rounds):
        aligned = np.stack([core @ turn for core, turn in zip(cores, turns, strict=True)])  # [s n d]
        others = (aligned.sum(axis=0) - aligned) / (len(cores) - 1)
        turns = [procrustes(*both, scale=scale, before=turn)[0] for *both, turn in zip(cores, others, turns, strict=True)]
    template = np.mean([core @ turn for core, turn in zip(cores, turns, strict=True)], axis=0)
    final = [procrustes(core, template, scale=scale, before=turn) for core, turn in zip(cores, turns, strict=True)]
    rotations = tuple(base @ small.astype(base.dtype) for (_, base), (small, _) in zip(thin, final, strict=True))
    basis = thin[reference][1].T
    return Hyperalignment(rotations, basis, template.astype(basis.dtype), tuple(factor for _, factor in final), reference)


def procrustes(
    rows: "NDArray[np.floating]",
    target: "NDArray[np.floating]",
    *,
    scale: bool = False,
    before: "NDArray[np.floating] | None" = None,
) -> "tuple[NDArray[np.float64], float]":
    """Find the rotation R that brings rows closest to a target, least squares of ``rows @ R * scale - target``.

    Parameters
    ----------
    rows : float array, [n v]
    target : float array, [n k]
    scale : bool
    before : float array, [v k], or None: an earlier map; directions of which rows or target say nothing (the target may be of people
        with fewer voxels) go where it puts them, as near as a rotation can. Without it they are left out

    Returns
    -------
    rotation : float64 array, [v k], times the scale
    scale : float, 1 without scaling

    References
    ----------
    .. [1] Schoenemann 1966, doi:10.1007/BF02289451.
    """
    left, values, right = linalg.svd(np.asarray(rows, np.float64).T @ np.asarray(target, np.float64), full_matrices=False)
    told = values > _RANK * values.max(initial=np.finfo(np.float64).tiny)
    left, right = left[:, told], right[told]
    rotation: NDArray[np.float64] = left @ right
    if before is not None and not told.all():
        rest = before - left @ (left.T @ before)
        rest -= (rest @ right.T) @ right
        more_left, more, more_right = linalg.svd(rest, full_matrices=False)
        rotation += more_left[:, more > _RANK] @ more_right[more > _RANK]
    if not scale:
        return rotation, 1.0
    factor = float(values.sum() / np.square(rows, dtype=np.float64).sum())
    return rotation * factor, factor


def apply_map(responses: "NDArray[np.floating]", rotation: "NDArray[np.floating]", basis: "NDArray[np.floating]") -> "NDArray[np.floating]":
    """Multiply responses [b v] by a map in two factors, [v d] and [d k].

    Raises
    ------
    ShapeError
        If the numbers of voxels differ.
    """
    if responses.ndim != 2 or responses.shape[1] != len(rotation):
        raise ShapeError(f"responses have shape {responses.shape}, the map is for {len(rotation)} voxels; expected [b {len(rotation)}]")
    mapped: NDArray[np.floating] = (responses @ rotation) @ basis
    return mapped


def intersubject_correlation(responses: "Sequence[NDArray[np.floating]]") -> "NDArray[np.float64]":
    """Correlate each person's responses with the mean of the others', over events, column by column.

    Parameters
    ----------
    responses : sequence of float arrays, [m k], the same events and columns for all

    Returns
    -------
    float64 array, [people], mean over the columns that vary in both; NaN if none does, or with fewer than three events
    """
    shapes = {rows.shape for rows in responses}
    if len(responses) < 2 or len(shapes) > 1:
        raise ShapeError(f"inter-subject correlation needs two people or more with the same events and columns, got shapes {shapes}")
    if len(responses[0]) < 3:
        return np.full(len(responses), np.nan)
    total = np.sum(responses, axis=0, dtype=np.float64)
    return np.array([_mean_correlation(rows, (total - rows) / (len(responses) - 1)) for rows in responses])


def _mean_correlation(first: "NDArray[np.floating]", second: "NDArray[np.floating]") -> float:
    a, b = first - first.mean(axis=0, dtype=np.float64), second - second.mean(axis=0, dtype=np.float64)
    norm = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    varies = norm > 0
    return float(((a * b).sum(axis=0)[varies] / norm[varies]).mean()) if varies.any() else float("nan")


def _thin(rows: "NDArray[np.floating]") -> "tuple[NDArray[np.float64], NDArray[np.floating]]":
    """Write rows [n v] as core [n d] times the transpose of an orthonormal base [v d], d at most min(n, v)."""
    n_rows, n_voxels = rows.shape
    dtype: Any = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    if n_voxels <= n_rows:
        return rows.astype(np.float64), np.eye(n_voxels, dtype=dtype)
    # from the products of rows: three times as fast as a QR, and exact enough where directions without weight are left out
    blocks = [slice(start, start + _COLUMNS_AT_ONCE) for start in range(0, n_voxels, _COLUMNS_AT_ONCE)]
    products = np.zeros((n_rows, n_rows))
    for block in blocks:
        part = rows[:, block].astype(np.float64)
        products += part @ part.T
    values, vectors = linalg.eigh(products)
    told = values > _WEIGHT * values[-1]
    roots, vectors = np.sqrt(values[told]), vectors[:, told]
    base = np.empty((n_voxels, roots.size), dtype=dtype)
    for block in blocks:
        base[block] = rows[:, block].T.astype(np.float64) @ (vectors / roots)
    return vectors * roots, base


def _check(responses: "Sequence[NDArray[np.floating]]") -> None:
    if len(responses) < 2:
        raise ShapeError(f"hyperalignment needs at least two people, got {len(responses)}")
    shapes = [rows.shape for rows in responses]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ShapeError(f"hyperalignment needs matrices [n v] with the same rows for all people, got shapes {shapes}")
    for person, rows in enumerate(responses):
        if not np.isfinite(rows).all():
            raise ShapeError(f"the rows of person {person + 1} hold values that are not finite; leave those voxels out first")
        if not rows.any():
            raise ShapeError(f"the rows of person {person + 1} are all zero; there is nothing to align")
