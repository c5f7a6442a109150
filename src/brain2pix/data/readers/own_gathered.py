"""Responses of chosen voxels and trials, from files that are only quick to read trial by trial."""

from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.signals.zscore import zscore_by_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from brain2pix.data.readers.base import Responses
    from brain2pix.data.readers.own_responses import SeriesSource

    RowBlocks = Iterator[tuple[slice, NDArray[Any]]]

# What files that are only quick by trials are read through: voxels are collected up to this size, in one way through the file.
GATHER_BYTES = 512 * 2**20


class Gathered:
    """Columns collected by going through all rows: at most 512 MiB are held, each such span costs one way through the file.

    Parameters
    ----------
    shape : (trials, columns)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self._start = shape, 0
        self._held: NDArray[np.float32] = np.zeros((shape[0], 0), dtype=np.float32)

    def read(self, start: int, stop: int, row_blocks: "Callable[[NDArray[np.int64]], RowBlocks]") -> "NDArray[np.float32]":
        """Read all rows of some columns; `row_blocks` goes through the rows of the columns it is given."""
        if not self._start <= start <= stop <= self._start + self._held.shape[1]:
            self._held = np.zeros((self.shape[0], 0), dtype=np.float32)  # the old span goes before the new one comes
            wide = min(self.shape[1] - start, max(stop - start, GATHER_BYTES // (4 * max(self.shape[0], 1))))
            held = np.empty((self.shape[0], wide), dtype=np.float32)
            for rows, values in row_blocks(np.arange(start, start + wide)):
                with np.errstate(over="ignore", invalid="ignore"):
                    held[rows] = values
            self._start, self._held = start, held
        return self._held[:, start - self._start : stop - self._start].copy()


class SeriesResponses:
    """Voxels of a series of volumes.

    Parameters
    ----------
    source : SeriesSource
    ijk : int array, [v 3]
    """

    def __init__(self, source: "SeriesSource", ijk: "NDArray[np.int64]") -> None:
        self._source, self._ijk = source, ijk
        self.shape = (source.n_trials, len(ijk))
        self._gathered = Gathered(self.shape)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of some voxels."""
        return self._gathered.read(start, stop, self._row_blocks)

    def _row_blocks(self, columns: "NDArray[np.int64]") -> "RowBlocks":
        i, j, k = self._ijk[columns].T
        for rows, slab in self._source.slabs():
            yield rows, slab[i, j, k].T


class ChosenResponses:
    """Some trials, scaled within groups if asked for.

    Parameters
    ----------
    responses : Responses
    rows : int array, [n], trials that are kept
    groups : int array, [n], rows of one number are z-scored together; None: left as they are
    """

    def __init__(self, responses: "Responses", rows: "NDArray[np.int64]", groups: "NDArray[np.int64] | None") -> None:
        self._responses, self._rows, self._groups = responses, rows, groups
        self.shape = (int(rows.size), responses.shape[1])

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all kept trials of some voxels."""
        values = self._responses.read(start, stop)
        kept = values if self._rows.size == len(values) else values[self._rows]
        if self._groups is None:
            return kept
        with np.errstate(over="ignore", invalid="ignore"):  # voxels that are not finite stay so, and are reported
            return zscore_by_group(kept, self._groups)
