"""Receptive fields and channel weights of all voxels in closed form: an empirical-Bayes posterior over a grid of Gaussian fields.

Source: the model of a voxel is that of St-Yves & Naselaris 2018 (feature-weighted receptive fields, doi:10.1016/j.neuroimage.2017.06.035);
what is ours is the prior. For candidate field k the features pooled by it and standardised, X_k [n c], explain the responses of voxel v by

    y_v = X_k w + noise,    w ~ N(0, t_v S),    noise ~ N(0, s_v)

where the covariance S [c c] is shared by all voxels and candidates: one voxel has too few trials to know its weights, all voxels together
know which weights occur. S, the voxel's share t_v and its noise s_v are found by expectation maximisation (Dempster, Laird & Rubin 1977);
the probability of each candidate follows from the evidence. With X_k L = U diag(sqrt(a)) V' for S = L L' and p = V' L' X_k' y_v,

    -2 log evidence = n log s_v + sum_j log(1 + a_j t_v / s_v) + (|y_v|^2 - sum_j p_j^2 / (a_j + s_v / t_v)) / s_v
    E[w] = L V diag(1 / (a + s_v / t_v)) p,    cov[w] = L V diag(s_v / (a + s_v / t_v)) V' L'

so that one small eigendecomposition for each candidate serves all voxels.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_START_SHARE = 0.15  # of a response's variance that features explain, before anything is known
_SHARES = (1e-4, 0.95)  # the explained share of a voxel stays between these
_CANDIDATES = 32  # at once
_SMALL_CHANCE = 1e-3
_TINY = 1e-6


@dataclass(frozen=True)
class FieldGrid:
    """Candidate fields: isotropic Gaussians, centres row by row for each size.

    Parameters
    ----------
    n_places : int, centres along an edge of the image
    sigmas : tuple of float [share of the image edge]
    """

    n_places: int
    sigmas: tuple[float, ...]

    def on(self, cells: int, device: torch.device | None = None) -> "Tensor":
        """Mass of each candidate within the cells of a grid, [k cells cells], sum 1."""
        edges = torch.arange(cells + 1, device=device) / cells
        centres = self._along(device)
        fields = []
        for sigma in self.sigmas:
            # mass within each cell: a small field between two coarse cells must reach both
            along = torch.special.ndtr((edges - centres[:, None]) / sigma).diff(dim=1)  # [places cells]
            fields.append(torch.einsum("ay,bx->abyx", along, along).flatten(0, 1))
        return unit_sum(torch.cat(fields))

    def centres(self, device: torch.device | None = None) -> "Tensor":
        """Column and row of each candidate's centre, [k 2], share of the image edge from its left and top."""
        along = self._along(device)
        places = torch.stack(torch.meshgrid(along, along, indexing="ij")[::-1], dim=-1).flatten(0, 1)
        return places.repeat(len(self.sigmas), 1)

    def sizes(self, device: torch.device | None = None) -> "Tensor":
        """Sigma of each candidate, [k], share of the image edge."""
        return torch.tensor(self.sigmas, device=device).repeat_interleave(self.n_places**2)

    def _along(self, device: torch.device | None) -> "Tensor":
        return (torch.arange(self.n_places, device=device) + 0.5) / self.n_places


@dataclass(frozen=True)
class Moments:
    """What the candidates' regressions need of the data: sums over samples of standardised pooled features and responses.

    Parameters
    ----------
    gram : Tensor, [k c c], X_k' X_k
    cross : Tensor, [k c v], X_k' y
    power : Tensor, [v], |y|^2
    n : int, samples
    """

    gram: "Tensor"
    cross: "Tensor"
    power: "Tensor"
    n: int


@dataclass(frozen=True)
class Posterior:
    """What is known of the voxels after their responses were seen.

    Parameters
    ----------
    chance : Tensor, [k v], probability of each candidate
    covariance : Tensor, [c c], S
    share : Tensor, [v], t_v
    noise : Tensor, [v], s_v
    gain : Tensor, [v], log evidence over that of no response to images at all
    """

    chance: "Tensor"
    covariance: "Tensor"
    share: "Tensor"
    noise: "Tensor"
    gain: "Tensor"


@torch.no_grad()
def field_moments(
    activations: "Sequence[Tensor]", targets: "Tensor", grid: FieldGrid, check: "Callable[[], None]" = lambda: None
) -> Moments:
    """Pool, standardise and sum.

    Parameters
    ----------
    activations : sequence of Tensor, [n c g g], outputs of the branches
    targets : Tensor, [n v], centred
    grid : FieldGrid
    check : function, called now and then; may raise to stop
    """
    fields = [grid.on(part.shape[-1], part.device).flatten(1) for part in activations]
    flat = [part.flatten(2) for part in activations]
    grams, crosses = [], []
    for start in range(0, len(fields[0]), _CANDIDATES):
        check()
        chosen = slice(start, start + _CANDIDATES)
        pooled = torch.cat([torch.einsum("ncq,kq->knc", part, field[chosen]) for part, field in zip(flat, fields, strict=True)], dim=2)
        inputs = standardised(pooled)
        grams.append(inputs.mT @ inputs)
        crosses.append(inputs.mT @ targets)
    return Moments(torch.cat(grams), torch.cat(crosses), targets.square().sum(dim=0), len(targets))


@torch.no_grad()
def field_posterior(
    moments: Moments, n_rounds: int, covariance: "Tensor | None" = None, check: "Callable[[], None]" = lambda: None
) -> Posterior:
    """Find the prior by expectation maximisation, and the probability of each candidate under it.

    Parameters
    ----------
    moments : Moments
    n_rounds : int, rounds of expectation maximisation
    covariance : Tensor or None, [c c], S if it is known already; None: found together with the rest
    check : function, called now and then; may raise to stop
    """
    channels = moments.gram.shape[1]
    variance = (moments.power / moments.n).clamp_min(_TINY)
    prior = _Prior(
        torch.eye(channels, device=variance.device) / channels if covariance is None else covariance,
        _START_SHARE * variance,
        (1 - _START_SHARE) * variance,
    )
    spectra = _spectra(moments, prior)
    for _ in range(n_rounds):
        check()
        chance = torch.softmax(_log_evidence(moments, spectra, prior), dim=0)
        prior = _maximise(moments, spectra, chance, prior, covariance is None)
        spectra = _spectra(moments, prior) if covariance is None else spectra
    evidence = _log_evidence(moments, spectra, prior)
    nothing = -0.5 * moments.n * (variance.log() + 1)
    gain = torch.logsumexp(evidence, dim=0) - math.log(len(evidence)) - nothing
    return Posterior(torch.softmax(evidence, dim=0), prior.covariance, prior.share, prior.noise, gain)


@torch.no_grad()
def posterior_weights(inputs: "Tensor", targets: "Tensor", covariance: "Tensor", share: "Tensor", noise: "Tensor") -> "Tensor":
    """Posterior mean of the weights of some voxels, each with inputs of its own.

    Parameters
    ----------
    inputs : Tensor, [v n c], standardised
    targets : Tensor, [n v], centred
    covariance, share, noise : S [c c], t [v], s [v]

    Returns
    -------
    Tensor, [v c]
    """
    precision = torch.linalg.inv(_regular(covariance))
    gram = inputs.mT @ inputs + (noise / share)[:, None, None] * precision
    weights: Tensor = torch.linalg.solve(gram, torch.einsum("vnc,nv->vc", inputs, targets))
    return weights


def image_means(responses: "Tensor", index: "Tensor", n_images: int) -> "Tensor":
    """Average trials [n v] of the same image; [m v]."""
    index = index.to(responses.device)
    sums = torch.zeros(n_images, responses.shape[1], device=responses.device).index_add_(0, index, responses)
    return sums / torch.bincount(index, minlength=n_images)[:, None]


def standardised(features: "Tensor") -> "Tensor":
    """Bring features [... n c] to mean 0 and variance 1 over samples; constant ones become 0."""
    centred = features - features.mean(dim=-2, keepdim=True)
    return centred / centred.square().mean(dim=-2, keepdim=True).sqrt().clamp_min(_TINY)


def unit_sum(maps: "Tensor", floor: float = 1e-4) -> "Tensor":
    """Scale maps [k g g] to sum 1; crumbs become 0: numbers near the smallest float make products many times slower on CPU."""
    kept = torch.where(maps > floor * maps.amax(dim=(1, 2), keepdim=True), maps, 0)
    return kept / kept.sum(dim=(1, 2), keepdim=True).clamp_min(1e-20)


@dataclass(frozen=True)
class _Prior:
    """S [c c], t [v], s [v]."""

    covariance: "Tensor"
    share: "Tensor"
    noise: "Tensor"


@dataclass(frozen=True)
class _Spectra:
    """Squared lengths a [k c] and basis L V [k c c] of each candidate."""

    lengths: "Tensor"
    basis: "Tensor"


def _log_evidence(moments: Moments, spectra: "_Spectra", prior: _Prior) -> "Tensor":
    """Log evidence of each candidate for each voxel, [k v], up to a constant that all share."""
    ratio = prior.noise / prior.share
    found = []
    for start in range(0, len(moments.gram), _CANDIDATES):
        chosen = slice(start, start + _CANDIDATES)
        lengths = spectra.lengths[chosen, :, None]
        turned = spectra.basis[chosen].mT @ moments.cross[chosen]  # p
        explained = (turned.square() / (lengths + ratio)).sum(dim=1)
        logdet = torch.log1p(lengths / ratio).sum(dim=1)
        found.append(-0.5 * (moments.n * prior.noise.log() + logdet + (moments.power - explained) / prior.noise))
    return torch.cat(found)


def _maximise(moments: Moments, spectra: "_Spectra", chance: "Tensor", prior: _Prior, learn_covariance: bool) -> _Prior:
    """Give the prior that makes the expected weights most likely; candidates of next to no probability are passed over."""
    channels, n_voxels = moments.gram.shape[1], len(moments.power)
    second = torch.zeros_like(prior.covariance)
    scale, residual, mass = (torch.zeros_like(moments.power) for _ in range(3))
    for k in range(len(moments.gram)):
        some = torch.nonzero(chance[k] > _SMALL_CHANCE)[:, 0]
        if not len(some):
            continue
        lengths, basis = spectra.lengths[k], spectra.basis[k]
        weight, noise = chance[k, some], prior.noise[some]
        ratio = noise / prior.share[some]
        turned = basis.T @ moments.cross[k][:, some]  # p
        shrunk = 1 / (lengths[:, None] + ratio)
        mean = turned * shrunk  # E[w] in the basis
        spread = noise * shrunk  # its variance
        squares = (mean.square() + spread).sum(dim=0)
        scale[some] += weight * squares / channels
        residual[some] += weight * (moments.power[some] - (turned * mean).sum(dim=0) - ratio * mean.square().sum(dim=0))
        residual[some] += weight * (lengths[:, None] * spread).sum(dim=0)
        mass[some] += weight
        relative = weight / prior.share[some]
        second += basis @ ((mean * relative) @ mean.T + torch.diag((spread * relative).sum(dim=1))) @ basis.T
    variance = (moments.power / moments.n).clamp_min(_TINY)
    low, high = (share * variance for share in _SHARES)
    share = (scale / mass).clamp(min=low / channels, max=high)
    noise = (residual / mass / moments.n).clamp(min=variance - high)
    if learn_covariance:
        # the scale of S and that of all t say the same: S keeps a mean variance of 1 / c
        factor = second.diagonal().mean() * channels
        return _Prior(_regular(second / factor), share * factor / n_voxels, noise)
    return _Prior(prior.covariance, share, noise)


def _spectra(moments: Moments, prior: _Prior) -> "_Spectra":
    root = torch.linalg.cholesky(_regular(prior.covariance))
    lengths, vectors = torch.linalg.eigh(root.T @ moments.gram @ root)
    return _Spectra(lengths.clamp_min(0), root @ vectors)


def _regular(covariance: "Tensor") -> "Tensor":
    """Keep a covariance away from the edge of what can be inverted."""
    return covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(len(covariance), device=covariance.device)
