"""From images to responses: pooling in a receptive field, compression, categories, and noise that trials of a run share."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from brain2pix.simulation.categories import CATEGORIES
from brain2pix.simulation.channels import channel_maps
from brain2pix.simulation.randomness import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.simulation import SimulationSettings
    from brain2pix.simulation.images import StimulusSet
    from brain2pix.simulation.voxels import Voxels

TAIL = 1e-7  # of a receptive field: smaller weights are zero, else denormal numbers make the sums forty times slower
BASELINE = 0.02
N_FACTORS = 6
AUTOCORRELATION = 0.3  # of the shared noise from trial to trial of a run
SMOOTHNESS_MM = 20.0  # of the shared noise over cortex
RUNS_PER_SESSION = 12
TRIAL_S, FIRST_S = 4.0, 8.0  # from trial to trial, and before the first
DURATION_S = 3.0
_CHUNK = 32


@dataclass(frozen=True)
class Forward:
    """The noise-free model of a subject.

    Parameters
    ----------
    voxels : Voxels
    channel_mean : float32 array, [c], over training images: each channel is divided by its own
    exemplar_basis : float32 array, [64 4], from 8 x 8 luminance to the small terms that tell exemplars apart
    exemplar_mean : float32 array, [64]
    field_of_view_deg : float
    """

    voxels: "Voxels"
    channel_mean: "NDArray[np.float32]"
    exemplar_basis: "NDArray[np.float32]"
    exemplar_mean: "NDArray[np.float32]"
    field_of_view_deg: float


def fit_forward(voxels: "Voxels", training_images: "NDArray[np.uint8]", settings: "SimulationSettings") -> Forward:
    """Take from the training images what the model needs of them: the scale of each channel.

    Parameters
    ----------
    voxels : Voxels
    training_images : uint8 array, [n h w 3]
    settings : SimulationSettings
    """
    fov = settings.field_of_view_deg
    sums = [
        channel_maps(training_images[start : start + _CHUNK], fov).mean(dim=(2, 3)).sum(dim=0)
        for start in range(0, len(training_images), _CHUNK)
    ]
    mean = torch.stack(sums).sum(dim=0).numpy() / len(training_images)
    thumbnails = _thumbnails(training_images)
    terms = voxels.exemplar_weight.shape[1]
    basis = stream(settings.seed, "exemplar basis").standard_normal((thumbnails.shape[1], terms))
    centred = thumbnails - thumbnails.mean(axis=0)
    basis /= (centred @ basis).std(axis=0) + 1e-9
    return Forward(voxels, np.maximum(mean, 1e-6).astype(np.float32), basis.astype(np.float32), thumbnails.mean(axis=0), fov)


def noise_free(
    forward: Forward,
    images: "NDArray[np.uint8]",
    categories: "list[str]",
    check: "Callable[[int, int], None]" = lambda done, total: None,
) -> "NDArray[np.float32]":
    """Responses without noise, in the model's own unit.

    Parameters
    ----------
    forward : Forward
    images : uint8 array, [n h w 3]
    categories : list of str, one per image; those that are not in `CATEGORIES` count as images of none
    check : callable(done, total), called between chunks; may raise to stop

    Returns
    -------
    float32 array, [n v]; 0 for non-visual voxels
    """
    voxels = forward.voxels
    result = np.zeros((len(images), len(voxels)), dtype=np.float32)
    fields = receptive_fields(voxels, images.shape[1] // 2, forward.field_of_view_deg)
    seen = np.flatnonzero(fields.any(axis=1))
    pooling = torch.from_numpy(np.ascontiguousarray(fields[seen].T))  # [g*g v]
    # 1 / mean goes into the weights, where it costs nothing
    weights = torch.from_numpy((voxels.channel_weight / forward.channel_mean)[seen].T.copy())  # [c v]
    exponent = np.nan_to_num(voxels.exponent, nan=1.0).astype(np.float32)
    with flush_denormal(), torch.inference_mode():
        for start in range(0, len(images), _CHUNK):
            check(start, len(images))
            maps = channel_maps(images[start : start + _CHUNK], forward.field_of_view_deg)
            result[start : start + _CHUNK, seen] = _pooled(maps, pooling, weights).numpy()
        result = np.power(result + np.float32(BASELINE), exponent)
    result = _with_categories(forward, result, images, categories)
    result[:, ~voxels.visual] = 0
    return result


def _pooled(maps: "Tensor", pooling: "Tensor", weights: "Tensor") -> "Tensor":
    """Sum of channels over the receptive field, weighted per voxel, [n v]."""
    n, n_channels = maps.shape[:2]
    pooled = (maps.reshape(n * n_channels, -1) @ pooling).reshape(n, n_channels, -1)
    return (pooled * weights).sum(dim=1)


def _with_categories(
    forward: Forward, spatial: "NDArray[np.float32]", images: "NDArray[np.uint8]", categories: "list[str]"
) -> "NDArray[np.float32]":
    voxels = forward.voxels
    rows = np.flatnonzero(voxels.mix > 0)
    kind = np.array([CATEGORIES.index(name) if name in CATEGORIES else len(CATEGORIES) for name in categories])
    exemplar = (_thumbnails(images) - forward.exemplar_mean) @ forward.exemplar_basis
    mix = voxels.mix[rows]
    preferred = voxels.category_response[rows][:, kind].T
    spatial[:, rows] = (1 - mix) * spatial[:, rows] + mix * preferred + exemplar @ voxels.exemplar_weight[rows].T
    return spatial


def receptive_fields(voxels: "Voxels", grid: int, field_of_view_deg: float) -> "NDArray[np.float32]":
    """Gaussian weights of pixels, normalised over the whole plane: a field half outside the image sums to a half.

    Parameters
    ----------
    voxels : Voxels
    grid : int, pixels along an edge
    field_of_view_deg : float

    Returns
    -------
    float32 array, [v grid*grid], rows from the top
    """
    pixel = field_of_view_deg / grid
    x = (np.arange(grid) + 0.5) * pixel - field_of_view_deg / 2
    fields = np.zeros((len(voxels), grid * grid), dtype=np.float32)
    rows = np.flatnonzero(voxels.visual)
    sigma = voxels.sigma_deg[rows, None]
    across = np.exp(-((x - voxels.x0_deg[rows, None]) ** 2) / (2 * sigma**2))
    up = np.exp(-((-x - voxels.y0_deg[rows, None]) ** 2) / (2 * sigma**2))
    across *= pixel / (np.sqrt(2 * np.pi) * sigma)
    up *= pixel / (np.sqrt(2 * np.pi) * sigma)
    weights = up[:, :, None] * across[:, None, :]
    weights[weights < TAIL] = 0
    fields[rows] = weights.reshape(len(rows), -1)
    return fields


@dataclass(frozen=True)
class Measured:
    """Responses of all trials and what is true of their noise.

    Parameters
    ----------
    trials : DataFrame, [n] rows: stimulus_id, split, run, session, repeat, onset, duration
    responses : float32 array, [n v], z-scored with training trials
    noise_sd : float array, [v], of a trial, in the model's unit
    mean, sd : float arrays, [v], of training trials, in the model's unit: what z-scoring removed
    """

    trials: pd.DataFrame
    responses: "NDArray[np.float32]"
    noise_sd: "NDArray[np.float64]"
    mean: "NDArray[np.float64]"
    sd: "NDArray[np.float64]"


def measure(
    voxels: "Voxels",
    signal: "NDArray[np.float32]",
    stimuli: "StimulusSet",
    settings: "SimulationSettings",
    check: "Callable[[int, int], None]" = lambda done, total: None,
) -> Measured:
    """Show each image as often as the settings say, add noise, z-score with training statistics.

    Parameters
    ----------
    voxels : Voxels
    signal : float32 array, [m v], noise-free, one row per stimulus
    stimuli : StimulusSet
    settings : SimulationSettings
    check : callable(done, total), called between runs; may raise to stop
    """
    trials = make_trials(stimuli, settings)
    noise_sd = noise_level(voxels, signal, stimuli)
    row_of = pd.Series(np.arange(len(stimuli.table)), index=stimuli.table["stimulus_id"])
    responses = signal[row_of[trials["stimulus_id"]].to_numpy()]
    rng = stream(settings.seed, "noise")
    loadings = _loadings(voxels, stream(settings.seed, "noise", "loadings"))
    own, shared = np.float32(np.sqrt(1 - settings.shared_noise)), np.float32(np.sqrt(settings.shared_noise))
    runs = trials["run"].to_numpy()
    for run in np.unique(runs):
        check(int(run), int(runs[-1]))
        rows = np.flatnonzero(runs == run)
        noise = own * rng.standard_normal((len(rows), len(voxels)), dtype=np.float32)
        noise += shared * (_factors(len(rows), rng) @ loadings)
        responses[rows] += noise * noise_sd.astype(np.float32)
    train = (trials["split"] == "train").to_numpy()
    mean, sd = responses[train].mean(axis=0, dtype=np.float64), responses[train].std(axis=0, dtype=np.float64)
    responses = (responses - mean.astype(np.float32)) / sd.astype(np.float32)
    return Measured(trials, responses, noise_sd, mean, sd)


def noise_level(voxels: "Voxels", signal: "NDArray[np.float32]", stimuli: "StimulusSet") -> "NDArray[np.float64]":
    """Choose the standard deviation of a trial's noise: `nc1` is the share of signal variance in single trials of repeated images.

    Voxels of V1-V3 whose field lies outside the stimulus get the noise of an average voxel of their area: they see little, so their
    ceiling is low, however high it was drawn.

    Parameters
    ----------
    voxels : Voxels
    signal : float32 array, [m v]
    stimuli : StimulusSet

    Returns
    -------
    float array, [v], in the unit of `signal`; 1 for non-visual voxels
    """
    spread = signal[stimuli.rows("test")].std(axis=0, dtype=np.float64)
    if len(stimuli.rows("category_test")) > 1:
        of_categories = signal[stimuli.rows("category_test")].std(axis=0, dtype=np.float64)
        spread = np.where(voxels.early, spread, of_categories)
    for code in (1, 2, 3):
        outside = (voxels.area == code) & ~voxels.in_scope
        inside = (voxels.area == code) & voxels.in_scope
        if inside.any():
            spread[outside] = np.median(spread[inside])
    nc1 = np.clip(voxels.nc1, 1e-4, None)
    level = np.where(voxels.visual, spread * np.sqrt((1 - nc1) / nc1), 1.0)
    return np.where(level > 0, level, 1.0)


def make_trials(stimuli: "StimulusSet", settings: "SimulationSettings") -> pd.DataFrame:
    """Put the images in order: each split is shown as often as it says, shuffled, cut into runs.

    Parameters
    ----------
    stimuli : StimulusSet
    settings : SimulationSettings

    Returns
    -------
    DataFrame: stimulus_id, split, run, session, repeat (from 1), onset, duration (s)
    """
    repeats = {
        "train": 1,
        "test": settings.n_repeats,
        "validation": settings.n_repeats,
        "category_train": 1,
        "category_test": settings.n_category_repeats,
    }
    parts, run = [], 0
    for split, times in repeats.items():
        ids = stimuli.table["stimulus_id"].to_numpy()[stimuli.rows(split)]
        if not len(ids):
            continue
        rng = stream(settings.seed, "trials", split)
        # one pass after the other, so that the repeats of an image spread over runs
        shown = np.concatenate([rng.permutation(ids) for _ in range(times)])
        repeat = np.repeat(np.arange(1, times + 1), len(ids))
        within = np.arange(len(shown)) % settings.run_length
        number = run + 1 + np.arange(len(shown)) // settings.run_length
        run = int(number[-1])
        parts.append(
            pd.DataFrame(
                {
                    "stimulus_id": shown,
                    "split": split,
                    "run": number,
                    "session": 1 + (number - 1) // RUNS_PER_SESSION,
                    "repeat": repeat,
                    "onset": FIRST_S + TRIAL_S * within,
                    "duration": DURATION_S,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def expected_ceiling(signal: "NDArray[np.float32]", noise_sd: "NDArray[np.float64]", n_repeats: int) -> "NDArray[np.float64]":
    """Correlation that a perfect model reaches with the mean over repeats.

    Parameters
    ----------
    signal : float32 array, [m v], noise-free
    noise_sd : float array, [v]
    n_repeats : int

    Returns
    -------
    float array, [v]
    """
    variance = signal.var(axis=0, dtype=np.float64)
    return np.asarray(np.sqrt(variance / (variance + noise_sd**2 / n_repeats)))


@contextmanager
def flush_denormal() -> "Iterator[None]":
    """Treat denormal numbers as zero inside the block, and as the machine did before after it."""
    before = not torch.tensor([1e-310], dtype=torch.float64).mul(1.0).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(bool(before))


def _thumbnails(images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """Mean light of 8 x 8 blocks, [n 64], 0..1."""
    n, size = images.shape[:2]
    edge = size // 8
    blocks = images[:, : 8 * edge, : 8 * edge].reshape(n, 8, edge, 8, edge, 3).mean(axis=(2, 4, 5), dtype=np.float32)
    return np.asarray(blocks / 255, dtype=np.float32).reshape(n, 64)


def _loadings(voxels: "Voxels", rng: np.random.Generator) -> "NDArray[np.float32]":
    """Six smooth random fields over the brain, of total variance 1 in each voxel, [6 v]."""
    waves = rng.normal(0, 1 / SMOOTHNESS_MM, (N_FACTORS, 60, 3))
    phase = rng.uniform(0, 2 * np.pi, (N_FACTORS, 60))
    fields = np.stack([np.cos(voxels.xyz @ waves[k].T + phase[k]).sum(axis=1) for k in range(N_FACTORS)])
    return np.asarray(fields / np.linalg.norm(fields, axis=0), dtype=np.float32)


def _factors(n: int, rng: np.random.Generator) -> "NDArray[np.float32]":
    """Time courses of the shared noise in one run: variance 1, each trial leaning on the one before it, [n 6]."""
    steps = rng.standard_normal((n, N_FACTORS))
    steps[1:] *= np.sqrt(1 - AUTOCORRELATION**2)
    for trial in range(1, n):
        steps[trial] += AUTOCORRELATION * steps[trial - 1]
    return steps.astype(np.float32)
