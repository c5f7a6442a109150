"""What every reader gives: one dataset, described, with its responses still on disk."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from brain2pix.config.importing import Choices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh
    from brain2pix.data.space import Space


class Responses(Protocol):
    """Responses on disk."""

    @property
    def shape(self) -> tuple[int, int]:
        """Trials and voxels."""

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Read all trials of voxels `start` to `stop`, [n v]. Going forwards is fast."""


class Pictures(Protocol):
    """Pictures on disk."""

    def missing(self, ids: list[str]) -> list[str]:
        """Those of some ids for which there is no picture."""

    def read(self, stimulus_id: str) -> "NDArray[np.uint8]":
        """Read one, [h w 3]. In the order of the table is fast."""


@dataclass(frozen=True)
class Placement:
    """Where voxels lie.

    Parameters
    ----------
    ijk : int array, [v 3], 0-based, on the grid of `space`
    space : Space
    hemi : array of "L", "R", "n/a", [v]
    has_world : bool, whether world coordinates mean something; False: the grid only arranges the voxels
    """

    ijk: "NDArray[np.int64]"
    space: "Space"
    hemi: "NDArray[np.str_]"
    has_world: bool


@dataclass(frozen=True)
class Dataset:
    """One subject as its files have it, responses and pictures still on disk.

    Parameters
    ----------
    title : str, of the dataset
    subject : str, "sub-01"
    trials : DataFrame, one row per response row: `stimulus_id`, `split`, `run`, `session`, `repeat`
    stimuli : DataFrame: `stimulus_id`, `category`, `split`
    responses : Responses, [n v]
    areas : mapping of name to bool array, [v]; areas may overlap
    placement : Placement
    unit : str, "a.u." where the file does not say
    field_of_view_deg : float, edge of the pictures; NaN if neither the files nor the user say: it can be looked at, not imported
    pictures : Pictures or None if they are not there yet
    pictures_wanted : str, what to give as `images` if they are not
    unknown : tuple of str, what the file cannot tell
    notes : tuple of str, what may mislead
    simulated : bool, whether the files say that they were simulated
    t1w : anatomical volume and its affine, or None
    meshes, sulc : surfaces and sulcal depth, as in `brain2pix.data.native.NativeContent`
    descriptions : mapping of area name to text
    """

    title: str
    subject: str
    trials: pd.DataFrame
    stimuli: pd.DataFrame
    responses: Responses
    areas: "Mapping[str, NDArray[np.bool_]]"
    placement: Placement
    unit: str
    field_of_view_deg: float
    pictures: Pictures | None
    pictures_wanted: str = ""
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    simulated: bool = False
    t1w: "tuple[NDArray[np.float32], NDArray[np.float64]] | None" = None
    meshes: "Mapping[tuple[str, str], Mesh]" = field(default_factory=dict)
    sulc: "Mapping[str, NDArray[np.float32]]" = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Say what was found, in lines of text."""
        space = self.placement.space
        where = f"{space.name}, grid {space}" if self.placement.has_world else "no coordinates: the grid only arranges them"
        hemi = self.placement.hemi
        sides = ", ".join(f"{int((hemi == side).sum())} {word}" for side, word in (("L", "left"), ("R", "right")) if (hemi == side).any())
        lines = [
            f"{self.subject} of {self.title}",
            f"voxels    {self.responses.shape[1]} ({where}){f': {sides}' if sides else ''}; responses in {self.unit}",
            f"areas     {', '.join(f'{name} {int(mask.sum())}' for name, mask in self.areas.items()) or 'none'}",
        ]
        for split, rows in self.trials.groupby("split", sort=False):
            repeats = rows.groupby("stimulus_id").size()
            times = f"{repeats.min()}" if repeats.min() == repeats.max() else f"{repeats.min()} to {repeats.max()}"
            lines.append(f"trials    {split}: {len(rows)} of {len(repeats)} stimuli, {times} each, {rows['run'].nunique()} runs")
        there = "" if self.pictures is not None else f"; pictures not found: {self.pictures_wanted}"
        wide = "size not told" if math.isnan(self.field_of_view_deg) else f"{self.field_of_view_deg:g} degrees wide"
        lines.append(f"images    {len(self.stimuli)} stimuli, {wide}{there}")
        if self.t1w is not None:
            lines.append(f"anatomy   {' x '.join(map(str, self.t1w[0].shape))} voxels")
        if self.meshes:
            lines.append(f"surfaces  {', '.join(f'{hemi} {kind}' for hemi, kind in self.meshes)}")
        lines += [f"not told  {text}" for text in self.unknown]
        return [*lines, *(f"note      {text}" for text in self.notes)]


@dataclass(frozen=True)
class Found:
    """What a file is.

    Parameters
    ----------
    text : str
    has_responses : bool, False for files that only belong to others
    """

    text: str
    has_responses: bool = True


@dataclass(frozen=True)
class Reader:
    """Row of the table of readers.

    Parameters
    ----------
    title : str, of the format
    sniff : callable, says what a path is, or None if it is not of this format; cheap, and never raises for files of others
    open : callable, gives the `Dataset`; files are closed at the end of the ``with`` block
    """

    title: str
    sniff: Callable[[Path], Found | None]
    open: Callable[[Path, Choices], AbstractContextManager[Dataset]]


def with_repeats(trials: pd.DataFrame) -> pd.DataFrame:
    """Count the trials of each stimulus within each split, and complete `session`."""
    numbered = trials.assign(repeat=trials.groupby(["split", "stimulus_id"]).cumcount() + 1)
    return numbered if "session" in numbered else numbered.assign(session=1)


def subject_name(choices: Choices, found: str) -> str:
    """Name like "sub-01" of what the user or the file says ("1", "02", "sub-03")."""
    text = (choices.subject or found).removeprefix("sub-")
    return f"sub-{int(text):02d}" if text.isascii() and text.isdigit() else f"sub-{text}"
