"""The quadrant experiment: whether stimulating the voxels of a quadrant changes the picture in that quadrant and nowhere else."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError
from brain2pix.stimulation.controls import largest_amplitude, size_matched
from brain2pix.stimulation.measures import change_energy, quadrant_share
from brain2pix.stimulation.operations import stimulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from brain2pix.methods.base import Decoder
    from brain2pix.stimulation.controls import ResponseSpace

    Decode = Callable[[NDArray[np.float32]], ArrayLike]


@dataclass(frozen=True)
class QuadrantExperiment:
    """Result of `quadrant_experiment`; each dict has one entry per quadrant.

    Parameters
    ----------
    shares : dict of float arrays, [b], share of the change inside the quadrant for each base pattern; NaN where nothing could be changed
    control_shares : dict of float arrays, [b], the same for as many random voxels, mean over the draws
    amplitudes : dict of float arrays, [b]; NaN where none is allowed
    excess : dict of float arrays, [b], out-of-distribution score of the stimulated patterns; above 1 is out
    n_voxels : dict of int
    """

    shares: "dict[str, NDArray[np.float64]]"
    control_shares: "dict[str, NDArray[np.float64]]"
    amplitudes: "dict[str, NDArray[np.float64]]"
    excess: "dict[str, NDArray[np.float64]]"
    n_voxels: dict[str, int]

    @property
    def quadrant_share(self) -> float:
        """Mean share over quadrants and base patterns; chance .25."""
        return _mean(self.shares)

    @property
    def control_share(self) -> float:
        """The same for random voxels; NaN without controls."""
        return _mean(self.control_shares)


def quadrant_experiment(
    decode: "Decode",
    base: "ArrayLike",
    masks: "Mapping[str, NDArray[np.bool_]]",
    space: "ResponseSpace",
    *,
    candidates: "ArrayLike | None" = None,
    mode: str = "add",
    amplitude: float | None = None,
    n_controls: int = 1,
    seed: int = 0,
) -> QuadrantExperiment:
    """Stimulate the voxels of each quadrant, and random voxels, on the same base patterns.

    Parameters
    ----------
    decode : function from responses [b v] to images [b 3 h w] in 0..1, see `decode_function`
    base : float array, [b v], held-out trials
    masks : mapping of quadrant to bool array, [v]
    space : ResponseSpace, sets the amplitude
    candidates : bool array, [v], voxels that controls are drawn from; None = all in any of the masks
    mode : str, "set", "add" or "scale"; "silence" needs no amplitude
    amplitude : float or None; None = the largest that keeps the pattern within the limit of `space`
    n_controls : int, draws of random voxels per quadrant
    seed : int, of these draws

    Returns
    -------
    QuadrantExperiment

    Raises
    ------
    ConfigError
        If a quadrant has no voxel.
    """
    patterns = np.asarray(base, dtype=np.float32)
    trial = _Trial(decode, patterns, decode(patterns), space, mode, amplitude)
    rng = np.random.default_rng(seed)
    pool = np.any(list(masks.values()), axis=0) if candidates is None else np.asarray(candidates, dtype=bool)
    result = QuadrantExperiment({}, {}, {}, {}, {})
    for quadrant, mask in masks.items():
        if not mask.any():
            raise ConfigError(f"no voxel in scope sees the {quadrant.replace('_', ' ')} quadrant: nothing to stimulate there")
        result.amplitudes[quadrant] = trial.strength(mask)
        stimulated = trial.stimulate(mask)
        result.excess[quadrant] = space.excess(stimulated)
        result.shares[quadrant] = trial.share(stimulated, quadrant)
        result.n_voxels[quadrant] = int(mask.sum())
        if n_controls:
            draws = [size_matched(mask, pool, rng) for _ in range(n_controls)]
            shares = [trial.share(trial.stimulate(drawn), quadrant) for drawn in draws]
            result.control_shares[quadrant] = np.mean(shares, axis=0)
    return result


def decode_function(decoder: "Decoder", unit: str = "z-train", stimulus_ids: "Sequence[str]" = ()) -> "Decode":
    """Wrap a trained system as a plain function from responses [b v] to images [b 3 h w].

    Parameters
    ----------
    decoder : Decoder of one subject
    unit : str, of the responses
    stimulus_ids : sequence of str, [b], what the patterns of each call were measured for; empty if they are of no stimulus
    """
    import torch

    from brain2pix.arrays import VoxelBatch

    subject = decoder.info.subjects[0].subject

    def decode(patterns: "NDArray[np.float32]") -> "NDArray[np.float32]":
        values = torch.from_numpy(np.ascontiguousarray(patterns))
        batch = VoxelBatch(values, (subject,) * len(patterns), unit, tuple(stimulus_ids))
        with torch.no_grad():
            return np.asarray(decoder.decode(batch).detach().cpu())

    return decode


@dataclass(frozen=True)
class _Trial:
    """The base patterns with their pictures, and the rule for the amplitude."""

    decode: "Decode"
    patterns: "NDArray[np.float32]"
    baseline: "ArrayLike"
    space: "ResponseSpace"
    mode: str
    amplitude: float | None

    def strength(self, mask: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """Amplitude for each base pattern, [b]; NaN where none is allowed."""
        if self.amplitude is not None or self.mode == "silence":
            return np.full(len(self.patterns), self.amplitude or 0.0)
        return largest_amplitude(self.space, self.patterns, mask, self.mode)

    def stimulate(self, mask: "NDArray[np.bool_]") -> "NDArray[np.float32]":
        """Stimulated patterns, [b v]; those that allow no amplitude stay as they are, and their share becomes NaN."""
        strength = self.strength(mask)
        changed = stimulate(self.patterns, mask, self.mode, np.nan_to_num(strength))
        return np.where(np.isfinite(strength)[:, None], changed, self.patterns)

    def share(self, stimulated: "NDArray[np.float32]", quadrant: str) -> "NDArray[np.float64]":
        """Share of the change inside the quadrant, [b]."""
        return quadrant_share(change_energy(self.baseline, self.decode(stimulated)), quadrant)


def _mean(shares: "Mapping[str, NDArray[np.float64]]") -> float:
    values = np.concatenate(list(shares.values())) if shares else np.zeros(0)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")
