"""A trained system that is stimulated: base responses, voxels, pictures, and how far the result can be trusted.

The live decoder and the job use the same object, so that what the window shows and what a record says are the same numbers.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.jobs._inputs import decode_floats
from brain2pix.data.checks import IMAGELESS_SPLITS
from brain2pix.data.images import as_uint8
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.events import CancelToken
from brain2pix.stimulation import (
    change_energy,
    describe_distance,
    largest_amplitude,
    quadrant_weights,
    share_within,
    size_matched,
    space_of,
    stimulate,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import SubjectInfo
    from brain2pix.compute.jobs._inputs import TrainedRun
    from brain2pix.stimulation import ResponseSpace

MEAN = "mean"
N_CONTROLS = 3  # draws of random voxels; each costs a picture


class Stimulator:
    """Answers what a stimulation of one trained system does. May be asked by several threads.

    Parameters
    ----------
    trained : TrainedRun
    """

    def __init__(self, trained: "TrainedRun") -> None:
        self.trained = trained
        self._areas = {name: mask[trained.voxel_index] for name, mask in trained.subject.areas.items()}
        self._base: dict[tuple[str, int | None, str | None], NDArray[np.float32]] = {}
        self._decoding, self._reading, self._fitting = threading.Lock(), threading.Lock(), threading.Lock()

    @property
    def info(self) -> "SubjectInfo":
        """Voxels of the model, in its order, as rows of the voxel table of the subject at hand."""
        return replace(self.trained.method.info.subjects[0], voxel_index=self.trained.voxel_index)

    @property
    def regions(self) -> dict[str, int]:
        """Areas that have voxels in the model, with their number."""
        return {name: int(mask.sum()) for name, mask in self._areas.items() if mask.any()}

    def base(self, stimulus: str, repeat: int | None = None, split: str | None = None) -> "NDArray[np.float32]":
        """Response that is changed, [v].

        Parameters
        ----------
        stimulus : str, id of the trial table, or "mean" for the mean over all training trials
        repeat : int or None, which trial of the stimulus, 1 for the first; None for the mean over its trials
        split : str or None, only trials of this split; None: all, but imagined ones only where the stimulus was never seen

        Raises
        ------
        ConfigError
            If there is no such stimulus, it has fewer trials, or none in the split.
        """
        key = (stimulus, repeat, split)
        if key not in self._base:
            rows = self._rows(stimulus, repeat, split)
            with self._reading:
                trials = self.trained.subject.responses(rows, self.trained.voxel_index)
            self._base[key] = trials.mean(axis=0, dtype=np.float64).astype(np.float32)
        return self._base[key]

    def _rows(self, stimulus: str, repeat: int | None, split: str | None) -> "NDArray[np.int64]":
        subject = self.trained.subject
        if stimulus == MEAN:
            if split is not None:
                raise ConfigError(f"split {split!r} chooses trials of one stimulus; the base {MEAN!r} is the mean of all training trials")
            if repeat is not None:
                raise ConfigError(f"repeat {repeat!r} names a trial of one stimulus; the base {MEAN!r} is the mean of all training trials")
            return subject.rows("train")
        shown = subject.trials["stimulus_id"].to_numpy()
        rows = np.flatnonzero(shown == stimulus).astype(np.int64)
        if not rows.size:
            raise ConfigError(unknown_stimulus(stimulus, shown))
        rows = self._of_split(stimulus, rows, split)
        if repeat is None:
            return rows
        if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= len(rows):
            raise ConfigError(f"repeat must be a whole number from 1 to {len(rows)}, the trials of {stimulus!r}, got {repeat!r}")
        return rows[repeat - 1 : repeat]

    def _of_split(self, stimulus: str, rows: "NDArray[np.int64]", split: str | None) -> "NDArray[np.int64]":
        """Trials of a split; without one those in which the stimulus was seen, if there are any."""
        splits = self.trained.subject.trials["split"].to_numpy(dtype=str)[rows]
        if split is None:
            seen: NDArray[np.bool_] = ~np.isin(splits, list(IMAGELESS_SPLITS))
            return rows[seen] if seen.any() else rows
        if not (splits == split).any():
            raise ConfigError(f"stimulus {stimulus!r} has no trial of split {split!r}; it has trials of {', '.join(sorted(set(splits)))}")
        chosen: NDArray[np.int64] = rows[splits == split]
        return chosen

    def mask(self, region: str | None, areas: Mapping[str, Sequence[int]] | None = None) -> "NDArray[np.bool_]":
        """Voxels of the model that lie in a region, [v]; none for no region.

        Parameters
        ----------
        region : str or None, expression over areas
        areas : mapping or None, name of a further area to the rows of the subject's voxel table that it holds
        """
        from brain2pix.data.regions import region_mask

        further = self._further(areas or {})
        if region is None:
            return np.zeros(self.trained.voxel_index.size, dtype=np.bool_)
        return region_mask(region, {**self._areas, **further})

    def _further(self, areas: Any) -> "dict[str, NDArray[np.bool_]]":
        """Masks over the model's voxels of areas given by their rows; refused if anything about them is unclear."""
        if not isinstance(areas, Mapping):
            raise ConfigError(f'areas must be an object such as {{"painted": [17, 18]}}, got {type(areas).__name__}')
        n_voxels, masks = self.trained.subject.n_voxels, {}
        for name, rows in areas.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ConfigError(f"areas: {name!r} is no name of an area; use letters, digits and _, e.g. painted")
            if name in self._areas:
                raise ConfigError(f"areas: {name!r} is an area of the subject itself; give the voxels another name")
            if not isinstance(rows, list | tuple) or any(isinstance(row, bool) or not isinstance(row, int) for row in rows):
                raise ConfigError(f"areas: {name!r} must be a list of whole numbers, rows of the subject's voxel table")
            if rows and not 0 <= min(rows) <= max(rows) < n_voxels:
                raise ConfigError(f"areas: the rows of {name!r} must lie in 0..{n_voxels - 1}, got {min(rows)}..{max(rows)}")
            chosen = np.zeros(n_voxels, dtype=np.bool_)
            chosen[list(rows)] = True
            masks[name] = chosen[self.trained.voxel_index]
        return masks

    def picture(self, values: "NDArray[np.float32]", stimulus: str) -> "NDArray[np.uint8]":
        """Decode one response [v], as uint8 [h w 3]; `stimulus` is what `base` was asked for."""
        pictures = as_uint8(self._images(values[None], stimulus))
        return np.asarray(pictures[0])

    def _images(self, patterns: "NDArray[np.float32]", stimulus: str) -> Any:
        """Decode responses [b v] one by one, as Tensor [b 3 h w]: in a batch a picture may differ in its last digits."""
        import torch

        trained, parts = self.trained, list[torch.Tensor]()
        shown = () if stimulus == MEAN else (stimulus,)
        for pattern in patterns:
            with self._decoding:  # for one picture at a time, so that nobody waits for the controls of somebody else
                parts.append(decode_floats(trained.method, pattern[None], trained.device, CancelToken(), stimulus_ids=shown))
        return torch.cat(parts)

    @cached_property
    def _space(self) -> "ResponseSpace":
        with self._reading:
            return space_of(self.trained.subject, self.trained.voxel_index)

    @property
    def space(self) -> "ResponseSpace":
        """What measured responses look like; fitted when it is first asked for, which may take seconds.

        Raises
        ------
        ConfigError, ShapeError
            If the subject has no held-out trials, or too few trials.
        """
        with self._fitting:
            return self._space

    def distance(self, base: "NDArray[np.float32]", changed: "NDArray[np.float32]") -> dict[str, Any]:
        """Say how far a stimulated response lies from measured ones.

        Returns
        -------
        dict, JSON values: `excess` and `percentile` as in `StimulationRecord`, `base_excess` before the stimulation, `quantile` and
        `n_held_out` that the limit was made from, `text` for people. Or only `problem`, why it cannot be said.
        """
        try:
            space = self.space
        except (ConfigError, ShapeError) as error:
            return {"problem": str(error)}
        (excess, before), percentile = space.excess(np.stack([changed, base])), space.percentile(changed[None])[0]
        return {
            "excess": float(excess),
            "percentile": float(percentile),
            "base_excess": float(before),
            "quantile": space.quantile,
            "n_held_out": len(space.held_out),
            "text": describe_distance(float(percentile), float(excess), space.quantile),
        }

    def largest(self, base: "NDArray[np.float32]", mask: "NDArray[np.bool_]", mode: str) -> float | None:
        """Largest amplitude of a mode that keeps the response within the limit; None if there is none."""
        if mode == "silence":
            return None
        try:
            value = float(largest_amplitude(self.space, base[None], mask, mode)[0])
        except (ConfigError, ShapeError):
            return None
        return value if np.isfinite(value) else None

    def share(
        self, base: "NDArray[np.float32]", stimulus: str, mask: "NDArray[np.bool_]", mode: str, amplitude: float, quadrants: Sequence[str]
    ) -> dict[str, Any] | None:
        """Say how much of the change lies in some quadrants of the visual field, for these and for as many random voxels of the model.

        `stimulus` is what the base response was asked for.

        Returns
        -------
        dict, JSON values: `share`, `control`, `chance`; None if nothing changed
        """
        rng = np.random.default_rng(0)
        anywhere = np.ones(mask.size, dtype=np.bool_)
        masks = [mask, *(size_matched(mask, anywhere, rng) for _ in range(N_CONTROLS))]
        images = self._images(np.stack([base, *(change(base, chosen, mode, amplitude) for chosen in masks)]), stimulus)
        energy = change_energy(images[:1].expand(len(masks), -1, -1, -1), images[1:])
        weights = np.sum([quadrant_weights(quadrant, *energy.shape[1:]) for quadrant in dict.fromkeys(quadrants)], axis=0)
        share, *controls = share_within(energy, weights)
        known = [float(value) for value in controls if np.isfinite(value)]
        if not np.isfinite(share):
            return None
        return {"share": float(share), "control": float(np.mean(known)) if known else None, "chance": float(weights.mean())}


def change(values: "NDArray[np.float32]", mask: "NDArray[np.bool_]", mode: str, amplitude: Any) -> "NDArray[np.float32]":
    """Stimulate one response pattern.

    Parameters
    ----------
    values : float32 array, [v]
    mask : bool array, [v]
    mode : str, "set", "add", "scale" or "silence"
    amplitude : float

    Returns
    -------
    float32 array, [v]
    """
    if isinstance(amplitude, bool) or not isinstance(amplitude, int | float) or not np.isfinite(amplitude):
        raise ConfigError(f"amplitude must be a finite number, got {amplitude!r}")
    if not mask.any():
        return values
    return np.asarray(stimulate(values[None], mask, mode, float(amplitude))[0], dtype=np.float32)


def unknown_stimulus(name: str, known: "NDArray[Any]") -> str:
    """Say that a stimulus has no trials, with a near name; a subject may have thousands, so they are not listed."""
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(set(map(str, known))), n=1, cutoff=0.4)
    return f"unknown stimulus {name!r}.{f' Did you mean {near[0]!r}?' if near else ''} Give an id of the trial table, or {MEAN!r}."
