"""What a training step sees follows from (seed, stream, step) alone, so that a resumed run sees what the uninterrupted one saw."""

import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from brain2pix.config.methods import RepeatSettings
    from brain2pix.data.training import RepeatedResponses


def generator(seed: int, stream: str, step: int) -> np.random.Generator:
    """Make the random numbers of one step of one stream ("decoder pairs", ...)."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), step])


@contextmanager
def torch_numbers(seed: int, stream: str, step: int, device: torch.device) -> "Iterator[None]":
    """Draw torch's random numbers (dropout) from (seed, stream, step) inside the block; outside nothing changes."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator(seed, stream, step).integers(2**62)))
        yield


def take_rows(values: "torch.Tensor", rows: "NDArray[np.int64]") -> "torch.Tensor":
    """Rows of a matrix [n v]; of one that is mapped from disk twice as fast as ``values[rows]``."""
    return values.index_select(0, torch.from_numpy(rows).to(values.device))


class Epochs:
    """Row numbers in shuffled epochs: each row once before any row twice.

    Parameters
    ----------
    n_rows : int
    batch : int
    seed : int
    stream : str
    """

    def __init__(self, n_rows: int, batch: int, seed: int, stream: str) -> None:
        self.n_rows, self.batch, self.seed, self.stream = n_rows, batch, seed, stream

    def rows(self, step: int) -> "NDArray[np.int64]":
        """Rows of one step, [batch]."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, within = np.divmod(places, self.n_rows)
        chosen = np.empty(self.batch, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = generator(self.seed, self.stream, int(epoch)).permutation(self.n_rows)
            chosen[epochs == epoch] = order[within[epochs == epoch]]
        return chosen


class RepeatSampler:
    """Averages over random subsets of an image's repeats, the images in shuffled epochs.

    Source: Gaziv et al. 2022 (a fixed share) and Beliy et al. 2019 (each repeat kept by chance). Images may differ in their number of
    repeats, and no subset is ever empty.

    Parameters
    ----------
    repeats : RepeatedResponses
    settings : RepeatSettings
    batch : int
    seed : int
    stream : str

    Raises
    ------
    ConfigError
        If an excluded image does not exist, or none is left.
    """

    def __init__(self, repeats: "RepeatedResponses", settings: "RepeatSettings", batch: int, seed: int, stream: str = "repeats") -> None:
        self._values, self._settings, self._seed, self._stream = repeats.values, settings, seed, stream
        self.trials = allowed_trials(repeats, settings.exclude, settings.max_repeats)
        self.images = np.array(sorted(self.trials), dtype=np.int64)
        self._epochs = Epochs(len(self.images), batch, seed, stream)

    def draw(self, step: int) -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
        """Give averaged responses [b v] and the number of the image each belongs to [b]."""
        images = self.images[self._epochs.rows(step)]
        rng = generator(self._seed, f"subsets of {self._stream}", step)
        means = [self._values[self.subset(int(image), rng)].mean(axis=0) for image in images]
        return np.stack(means), images

    def subset(self, image: int, rng: np.random.Generator) -> "NDArray[np.int64]":
        """Choose rows of one image's trials."""
        rows = self.trials[image]
        share = self._settings.share
        if self._settings.mode == "all":
            return rows
        if self._settings.mode == "fixed":
            return rng.choice(rows, size=max(1, int(share * len(rows) + 1e-9)), replace=False)
        while True:
            kept = rows[rng.random(len(rows)) < share]
            if kept.size:
                return kept


def allowed_trials(repeats: "RepeatedResponses", exclude: "Sequence[int]", max_repeats: int | None) -> "dict[int, NDArray[np.int64]]":
    """List the trials of each image that may be used: image number -> rows."""
    unknown = sorted(set(exclude) - set(range(repeats.n_images)))
    if unknown:
        raise ConfigError(f"repeats.exclude names images {unknown[:5]}, there are images 0..{repeats.n_images - 1}")
    trials = {
        image: np.flatnonzero(repeats.image_index == image)[:max_repeats] for image in range(repeats.n_images) if image not in set(exclude)
    }
    trials = {image: rows for image, rows in trials.items() if rows.size}
    if not trials:
        raise ConfigError("repeats.exclude leaves no image; exclude fewer, or set weight_fmri to 0")
    return trials
