"""Closed forms for gaziv's networks. They are ours, not the paper's: they make training possible on two cores.

Encoder: a voxel's space map is a Gaussian whose place and size explain its responses best, found over a grid of candidates (St-Yves &
Naselaris 2018, feature-weighted receptive fields; here by the evidence of a Bayesian linear regression, and the candidates are averaged
instead of choosing one). Its channel mix is a ridge regression on the features pooled by that map. With `start = "empirical_bayes"` the
prior of the weights is found from all voxels together instead (`_empirical_bayes.py`). Decoder: the linear layer predicts
whitened image patches by ridge regression, so that the convolutions begin with a blurred picture of the stimulus in another basis.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from brain2pix.methods._empirical_bayes import FieldGrid, field_moments, field_posterior, image_means, posterior_weights
from brain2pix.methods._linear import Moments
from brain2pix.methods._pictures import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.events import CancelToken
    from brain2pix.methods._empirical_bayes import Posterior
    from brain2pix.methods._features import FeatureCache
    from brain2pix.models import ConvDecoder, SeparableEncoder

_CENTRE_TAP = 4  # of a 3x3 patch
_GRID = FieldGrid(n_places=16, sigmas=(0.0375, 0.075, 0.125))
_EM_ROUNDS = 6
_EXPLAINED = (0.05, 0.15, 0.4)  # prior shares of a voxel's variance that features may explain; the most likely one counts
_SHRINK = 0.6  # of that share, what is taken off the noise: single trials rarely reach the prior share
_MAP_FLOOR = 1e-4  # smaller values become 0: numbers near the smallest float make products many times slower on CPU
_MIX_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # [samples x mean feature variance]; each voxel takes its best by leave-one-out
_CANDIDATE_CHUNK = 32
_VOXEL_CHUNK = 128
_PATCHES_FOR_BASIS = 20_000


@torch.no_grad()
def solve_readout(
    encoder: "SeparableEncoder",
    features: "FeatureCache",
    responses: "Tensor",
    image_index: "NDArray[np.int64]",
    rows: "NDArray[np.int64]",
    cancel: "CancelToken",
    share_prior: bool = False,
) -> None:
    """Measure the normalisations' statistics and solve space maps, channel mixes and biases; the convolutions stay as they are.

    Parameters
    ----------
    encoder : SeparableEncoder
    features : FeatureCache
    responses : Tensor, [n v]
    image_index : int array, [n]
    rows : int array, trials to use
    cancel : CancelToken
    share_prior : bool, find the prior of the weights from all voxels together (empirical Bayes)
    """
    images, trial_image = np.unique(image_index[rows], return_inverse=True)
    targets = image_means(responses[torch.from_numpy(rows)], torch.from_numpy(trial_image), len(images))
    chunks = list(features.batches(images))
    encoder.calibrate(chunks)
    encoder.eval()
    parts = [encoder.branch_features(chunk) for chunk in chunks]
    activations = [torch.cat(branch) for branch in zip(*parts, strict=True)]  # [n c g g] each
    posterior: Posterior | None = None
    if share_prior:
        centred = targets - targets.mean(dim=0)
        posterior = field_posterior(field_moments(activations, centred, _GRID, cancel.check), _EM_ROUNDS, check=cancel.check)
        chance = posterior.chance  # [k v]
    else:
        chance = candidate_probabilities(activations, targets, cancel.check)
    for index, grid in enumerate(encoder.grids):
        encoder.space_of(index).copy_(inner_map(torch.einsum("kv,kyx->vyx", chance, _GRID.on(grid, chance.device))))
    for start in range(0, encoder.n_voxels, _VOXEL_CHUNK):
        cancel.check()
        solve_mixes(encoder, activations, targets, slice(start, start + _VOXEL_CHUNK), posterior)


@torch.no_grad()
def candidate_probabilities(activations: "list[Tensor]", targets: "Tensor", check: "Callable[[], None]" = lambda: None) -> "Tensor":
    """Give the probability of each candidate field for each voxel.

    For a candidate, the pooled and standardised features X [n c] explain the responses by weights with prior N(0, t/c): the evidence of
    a Bayesian linear regression. One eigendecomposition of a small matrix serves all voxels.

    Parameters
    ----------
    activations : list of Tensor, [n c g g], normalised branch outputs
    targets : Tensor, [n v]
    check : function, called now and then; may raise to stop

    Returns
    -------
    Tensor, [candidates v], sums to 1 over candidates
    """
    z = (targets - targets.mean(dim=0)) / targets.std(dim=0).clamp_min(1e-6)
    fields = [_GRID.on(part.shape[-1], z.device).flatten(1) for part in activations]
    flat = [part.flatten(2) for part in activations]
    evidence = []
    for start in range(0, len(fields[0]), _CANDIDATE_CHUNK):
        check()
        chosen = slice(start, start + _CANDIDATE_CHUNK)
        pooled = torch.cat([torch.einsum("ncq,kq->knc", part, field[chosen]) for part, field in zip(flat, fields, strict=True)], dim=2)
        pooled = pooled - pooled.mean(dim=1, keepdim=True)
        evidence.append(log_evidence(pooled / pooled.std(dim=1, keepdim=True).clamp_min(1e-6), z))
    return torch.softmax(torch.cat(evidence), dim=0)


def log_evidence(inputs: "Tensor", targets: "Tensor") -> "Tensor":
    """Log evidence of Bayesian linear regressions, up to a constant, for the most likely of a few prior shares of explained variance.

    Parameters
    ----------
    inputs : Tensor, [k n c], standardised; one regression for each k
    targets : Tensor, [n v], standardised

    Returns
    -------
    Tensor, [k v]
    """
    n_samples, n_inputs = inputs.shape[1:]
    values, vectors = torch.linalg.eigh(inputs.mT @ inputs)
    values = values.clamp_min(1e-6)[:, :, None]  # [k c 1]
    explained = ((inputs @ vectors).mT @ targets).square() / values  # squared length along each direction, [k c v]
    rest = targets.square().sum(dim=0) - explained.sum(dim=1)  # [k v]
    found = []
    for share in _EXPLAINED:
        noise = 1 - _SHRINK * share
        variance = share / n_inputs * values + noise
        logdet = variance.log().sum(dim=1) + (n_samples - n_inputs) * np.log(noise)
        found.append(-0.5 * (rest / noise + (explained / variance).sum(dim=1) + logdet))
    return torch.stack(found).amax(dim=0)


@torch.no_grad()
def solve_mixes(
    encoder: "SeparableEncoder", activations: "list[Tensor]", targets: "Tensor", voxels: slice, posterior: "Posterior | None" = None
) -> None:
    """Solve the channel mixes of some voxels for the space maps they have: a regression on the centre of each patch.

    Parameters
    ----------
    encoder : SeparableEncoder
    activations : list of Tensor, [n c g g], normalised branch outputs
    targets : Tensor, [n v]
    voxels : slice
    posterior : Posterior or None, whose prior is used; None: ridge regression, each voxel with the penalty of least leave-one-out error
    """
    pooled = torch.cat(
        [torch.einsum("ncyx,vyx->vnc", part[:, :, 1:-1, 1:-1], encoder.space_of(index)[voxels]) for index, part in enumerate(activations)],
        dim=2,
    )  # [v n c]
    mean, sd = pooled.mean(dim=1, keepdim=True), pooled.std(dim=1, keepdim=True).clamp_min(1e-6)
    own = targets[:, voxels].T  # [v n]
    inputs, centred = (pooled - mean) / sd, own - own.mean(dim=1, keepdim=True)
    if posterior is None:
        weight = ridge_by_leave_one_out(inputs, centred, _MIX_PENALTIES)
    else:
        weight = posterior_weights(inputs, centred.T, posterior.covariance, posterior.share[voxels], posterior.noise[voxels])
    weight = weight / sd[:, 0]  # [v c]
    offset = own.mean(dim=1) - (weight * mean[:, 0]).sum(dim=1)
    channels = encoder.settings.channels
    encoder.branch_mix[voxels] = 1.0
    for index, mix in enumerate(encoder.channel_mix):
        taps = torch.zeros_like(mix[voxels]).view(-1, channels, 9)
        taps[:, :, _CENTRE_TAP] = weight[:, index * channels : (index + 1) * channels]
        mix[voxels] = taps.flatten(1)
        encoder.channel_bias[index][voxels] = offset / len(activations)


def ridge_by_leave_one_out(inputs: "Tensor", targets: "Tensor", penalties: "tuple[float, ...]") -> "Tensor":
    """Solve many small ridge regressions, each with the penalty of least leave-one-out error.

    Parameters
    ----------
    inputs : Tensor, [v n c], centred and of unit variance
    targets : Tensor, [v n], centred
    penalties : tuple of float, [n]

    Returns
    -------
    Tensor, [v c]
    """
    n_samples = inputs.shape[1]
    values, vectors = torch.linalg.eigh(inputs.mT @ inputs)  # [v c], [v c c]
    turned = inputs @ vectors  # [v n c]
    power = turned.square()
    right = torch.einsum("vnc,vn->vc", turned, targets)
    best_error = torch.full(inputs.shape[:1], torch.inf, device=inputs.device)
    best = torch.zeros_like(values)
    for penalty in penalties:
        shrink = 1 / (values + penalty * n_samples)
        coefficients = shrink * right
        leverage = torch.einsum("vnc,vc->vn", power, shrink) + 1 / n_samples
        residual = (targets - torch.einsum("vnc,vc->vn", turned, coefficients)) / (1 - leverage).clamp_min(1e-3)
        error = residual.square().mean(dim=1)
        better = error < best_error
        best_error, best = torch.where(better, error, best_error), torch.where(better[:, None], coefficients, best)
    return torch.einsum("vck,vk->vc", vectors, best)


def inner_map(maps: "Tensor") -> "Tensor":
    """Bring maps [v g g] to the patch positions [v g-2 g-2], sum 1; the mass of the border goes to its neighbours, crumbs become 0."""
    for _ in range(2):  # columns, then rows
        inner = maps[:, :, 1:-1].clone()
        inner[:, :, 0] += maps[:, :, 0]
        inner[:, :, -1] += maps[:, :, -1]
        maps = inner.mT
    maps = torch.where(maps > _MAP_FLOOR * maps.amax(dim=(1, 2), keepdim=True), maps, 0)
    return maps / maps.sum(dim=(1, 2), keepdim=True).clamp_min(1e-20)


@torch.no_grad()
def ridge_start(
    decoder: "ConvDecoder",
    pairs: "Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]]",
    basis_images: "NDArray[np.uint8]",
    penalty: float,
    rng: np.random.Generator,
) -> None:
    """Set the decoder's linear layer to the ridge prediction of whitened, randomly turned image patches.

    Parameters
    ----------
    decoder : ConvDecoder
    pairs : iterable of (values float32 [n v], images uint8 [n h w 3]), in chunks
    basis_images : uint8 array, [m h w 3], pictures whose patches define the whitening
    penalty : float, [samples x mean variance of a value]
    rng : Generator
    """
    channels, edge = decoder.settings.channels[0], decoder.settings.start_divisor
    mean, basis = patch_basis(basis_images, edge, channels, rng)
    moments = Moments()
    for values, images in pairs:
        patches = cut_patches(images, edge)  # [n places d]
        grid = np.swapaxes((patches - mean) @ basis, 1, 2)  # [n c places]
        moments.add(values, np.ascontiguousarray(grid, dtype=np.float32).reshape(len(values), -1))
    fit = moments.solve(penalty)
    decoder.fc.weight.copy_(torch.from_numpy(np.ascontiguousarray(fit.weight.T)))
    decoder.fc.bias.copy_(torch.from_numpy(fit.offset))


def patch_basis(
    images: "NDArray[np.uint8]", edge: int, channels: int, rng: np.random.Generator
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Whiten square patches of pictures and turn the result at random: mean [d] and basis [d c], with ``c`` numbers of unit variance."""
    patches = cut_patches(images, edge).reshape(-1, 3 * edge**2)
    patches = patches[rng.choice(len(patches), size=min(_PATCHES_FOR_BASIS, len(patches)), replace=False)]
    mean: NDArray[np.float32] = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    kept = min(channels, len(values))
    white = vectors[:, -kept:] / np.sqrt(np.maximum(values[-kept:], values[-1] * 1e-6))
    turn, _ = np.linalg.qr(rng.standard_normal((channels, kept)))  # [c kept], orthonormal columns
    return mean, (white @ turn.T).astype(np.float32)


def cut_patches(images: "NDArray[np.uint8]", edge: int) -> "NDArray[np.float32]":
    """Cut pictures [n h w 3] into patches of `edge` px, row by row; [n places d] in 0..1."""
    pixels = to_tensor(images)
    patches: NDArray[np.float32] = functional.unfold(pixels, edge, stride=edge).mT.numpy()
    return patches


def in_chunks(
    values: "NDArray[np.floating]", images: "NDArray[np.uint8]", index: "NDArray[np.int64]"
) -> "Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]":
    """Walk over values [n v] and the images [m h w 3] they belong to."""
    for k in range(0, len(values), 256):
        yield values[k : k + 256].astype(np.float32), images[index[k : k + 256]]
