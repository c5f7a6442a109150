"""From several opened subjects to one: matched training rows, hyperalignment, components. No held-out row enters any of it."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.config.alignment import AlignmentSettings
from brain2pix.data.matched_rows import MatchedRows, check_held_out, check_pictures, match_rows
from brain2pix.data.regions import DEFAULT_REGION
from brain2pix.errors import ConfigError, DataFormatError, ShapeError, unknown_name
from brain2pix.events import CancelToken, Message, ignore
from brain2pix.signals.components import Components, fit_components
from brain2pix.signals.hyperalignment import apply_map, hyperalign
from brain2pix.signals.zscore import statistics, zscore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from brain2pix.arrays import SubjectInfo
    from brain2pix.data.subject import Subject
    from brain2pix.events import EventSink

logger = logging.getLogger(__name__)

_LEAST_ROWS = 3


@dataclass(frozen=True, eq=False)
class AlignedSubject:
    """What is known of one subject of an alignment.

    Parameters
    ----------
    key : str, its name among the others: "sub-01", or "FOLDER_sub-01" where two have that name
    info : SubjectInfo, of the voxels used
    title : str, of its dataset
    mean, deviation : float32 arrays, [v], of its training trials
    rotation : float array, [v d], or None if there was no other subject
    scale : float
    trials, events : int arrays, [t], rows of its trial table that were fitted on, and which matched row each belongs to
    left_out : int, voxels of the region without variance, or with a training response that is not finite
    """

    key: str
    info: "SubjectInfo"
    title: str
    mean: "NDArray[np.float32]"
    deviation: "NDArray[np.float32]"
    rotation: "NDArray[np.floating] | None"
    scale: float
    trials: "NDArray[np.int64]"
    events: "NDArray[np.int64]"
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Alignment:
    """Several subjects in one space: that of the voxels of the one with the most.

    Parameters
    ----------
    subjects : tuple of AlignedSubject
    reference : str, key of the subject whose voxels the common space has
    rows : DataFrame, [n], the events fitted on: `stimulus_id`, and `repeat` unless they are averages
    coordinates : float array, [n d], the template in the basis
    basis : float array, [d k], or None with one subject: its own voxels are the space
    components : Components of the mean of all subjects' aligned training rows
    settings : AlignmentSettings
    """

    subjects: tuple[AlignedSubject, ...]
    reference: str
    rows: pd.DataFrame
    coordinates: "NDArray[np.floating]"
    basis: "NDArray[np.floating] | None"
    components: Components
    settings: AlignmentSettings

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the subjects, as `transform` wants them."""
        return tuple(subject.key for subject in self.subjects)

    @property
    def n_voxels(self) -> int:
        """Voxels of the common space, k."""
        return self.components.mean.size

    @property
    def template(self) -> "NDArray[np.floating]":
        """Template that the final maps were fitted to, [n k]."""
        return self.coordinates if self.basis is None else self.coordinates @ self.basis

    def one(self, key: str) -> AlignedSubject:
        """Give the subject of a key; `ConfigError` with the nearest one if there is none."""
        if key not in self.keys:
            raise ConfigError(unknown_name("subject of this alignment", key, self.keys))
        return self.subjects[self.keys.index(key)]

    def transform(self, responses: "NDArray[np.floating]", subject: str) -> "NDArray[np.float32]":
        """Bring responses of one subject into the common space.

        Parameters
        ----------
        responses : float array, [b v], of the voxels ``one(subject).info.voxel_index``, in the unit of the subject. Values that are not
            finite count as the voxel's training mean; a warning says how many.
        subject : str, key

        Returns
        -------
        float32 array, [b k]

        Raises
        ------
        ConfigError
            If the subject is unknown.
        ShapeError
            If there is not one value for each of its voxels.
        """
        one = self.one(subject)
        return _mapped(scaled(responses, one), one, self.basis)

    def check(self, subject: "Subject", key: str) -> AlignedSubject:
        """Give the subject of a key if an opened subject has its voxels.

        Raises
        ------
        DataFormatError
            If they are other voxels.
        """
        one = self.one(key)
        index = one.info.voxel_index
        found = subject.describe(index).voxel_hash if index.size and index.max() < subject.n_voxels else "none"
        if found != one.info.voxel_hash:
            raise DataFormatError(
                f"{subject.path}: its voxels are not those of {key} in this alignment (hash {found[:12]}, expected "
                f"{one.info.voxel_hash[:12]}); give the subject that was aligned, opened in the same way, or align again"
            )
        return one

    def averages(self, subjects: "Mapping[str, Subject]", split: str) -> "Averages":
        """Average the responses of a split over repetitions, in the common space, for the stimuli that all subjects saw.

        Parameters
        ----------
        subjects : mapping of key to Subject, all that were aligned
        split : str

        Raises
        ------
        ConfigError
            If a subject is missing or unknown, or no stimulus of the split was seen by all.
        DataFormatError
            If a subject has other voxels than were aligned.
        """
        opened = self._all(subjects)
        matched = match_rows(opened, split, "averages")
        return Averages(matched, {key: self._gather(opened[place], place, matched) for place, key in enumerate(self.keys)})

    def training(self, subjects: "Mapping[str, Subject]") -> "Averages":
        """Give the rows fitted on, `rows`, in the common space."""
        opened = self._all(subjects)
        matched = MatchedRows(self.rows, tuple(one.trials for one in self.subjects), tuple(one.events for one in self.subjects))
        return Averages(matched, {key: self._gather(opened[place], place, matched) for place, key in enumerate(self.keys)})

    def _all(self, subjects: "Mapping[str, Subject]") -> "list[Subject]":
        missing = [key for key in self.keys if key not in subjects]
        if missing or len(subjects) > len(self.keys):
            raise ConfigError(f"this alignment is of {', '.join(self.keys)}; got {', '.join(subjects) or 'none'}")
        for key in self.keys:
            self.check(subjects[key], key)
        return [subjects[key] for key in self.keys]

    def _gather(self, subject: "Subject", place: int, matched: MatchedRows) -> "NDArray[np.float32]":
        one = self.subjects[place]
        # averaging before the map and after it is the same, and before is less work
        return _mapped(matched.gather(read_scaled(subject, one, matched.trials[place]), place), one, self.basis)


@dataclass(frozen=True, eq=False)
class Averages:
    """Responses of all subjects to the same events, in the common space.

    Parameters
    ----------
    matched : MatchedRows, the m events
    values : dict of key to float32 array, [m k]
    """

    matched: MatchedRows
    values: "dict[str, NDArray[np.float32]]"

    @property
    def mean(self) -> "NDArray[np.float32]":
        """Mean over subjects, [m k]: the responses of the super-subject."""
        total = np.zeros_like(next(iter(self.values.values())))
        for each in self.values.values():
            total += each
        return total / np.float32(len(self.values))


def align_subjects(
    subjects: "Sequence[Subject]",
    regions: "str | Sequence[str]" = DEFAULT_REGION,
    settings: AlignmentSettings | None = None,
    sink: "EventSink" = ignore,
    cancel: CancelToken | None = None,
) -> Alignment:
    """Align subjects on the training rows that they share, and find the components of their mean.

    Voxels are z-scored with their training trials; those that are constant or not finite there are left out, and counted. With one
    subject there is nothing to align: its z-scored rows are the template.

    Parameters
    ----------
    subjects : sequence of Subject, best opened with ``nan="keep"``: then no held-out row decides which voxels are used
    regions : str, or one for each subject, expressions over areas
    settings : AlignmentSettings or None for the defaults
    sink : callable, hears what was found
    cancel : CancelToken or None, asked before each subject

    Raises
    ------
    ConfigError
        If a region or split is unknown, or the subjects share fewer than three events.
    DataFormatError
        If a stimulus to align on is held out in one of them, or shows different pictures; or no voxel is left.
    """
    asked = settings or AlignmentSettings()
    token = cancel or CancelToken()
    keys = unique_keys(subjects)
    expressions = [regions] * len(subjects) if isinstance(regions, str) else list(regions)
    if len(expressions) != len(subjects):
        raise ConfigError(f"got {len(expressions)} regions for {len(subjects)} subjects; give one, or one for each")
    matched = match_rows(subjects, asked.train_split, asked.rows, asked.cap_repeats)
    if len(matched.table) < _LEAST_ROWS:
        raise ConfigError(f"the subjects share {len(matched.table)} rows of split {asked.train_split!r}; at least {_LEAST_ROWS} are needed")
    check_held_out(subjects, matched, asked.train_split)
    if asked.compare_pictures and len(subjects) > 1:
        check_pictures(subjects, matched.table["stimulus_id"].drop_duplicates().tolist())
    prepared, rows = [], []
    for place, subject in enumerate(subjects):
        token.check()
        one = _prepare(subject, keys[place], expressions[place], asked.train_split, matched, place)
        if one.left_out:
            sink(Message("warning", f"{one.key}: {one.left_out} voxels are constant, or not finite, in the training trials: left out"))
        prepared.append(one)
        rows.append(matched.gather(read_scaled(subject, one, matched.trials[place]), place))
    token.check()
    fitted, coordinates, basis, reference = _fit(prepared, rows, asked)
    token.check()
    mean = np.zeros((len(matched.table), rows[reference].shape[1]), dtype=np.float32)
    for one, own in zip(fitted, rows, strict=True):
        mean += _mapped(own, one, basis) / np.float32(len(fitted))
    components = fit_components(mean, asked.variance, whiten=asked.whiten)
    return Alignment(fitted, keys[reference], matched.table, coordinates, basis, components, asked)


def unique_keys(subjects: "Sequence[Subject]") -> list[str]:
    """Name each subject so that no two share a name: "sub-01", else with its dataset folder, else with a number too."""
    names = [subject.name for subject in subjects]
    longer = [f"{subject.root.name}_{subject.name}" if names.count(subject.name) > 1 else subject.name for subject in subjects]
    return [f"{name}_{longer[: place + 1].count(name)}" if longer.count(name) > 1 else name for place, name in enumerate(longer)]


def _prepare(subject: "Subject", key: str, region: str, split: str, matched: MatchedRows, place: int) -> AlignedSubject:
    index = subject.select(region)
    training = subject.responses(subject.rows(split), index)
    finite = np.isfinite(training).all(axis=0)
    mean, deviation = statistics(np.where(finite, training, 0))
    kept = finite & (deviation > 0)
    if not kept.any():
        raise DataFormatError(f"{subject.path}: no voxel of region {region!r} varies and is finite in all training trials")
    return AlignedSubject(
        key=key,
        info=subject.describe(index[kept]),
        title=subject.title,
        mean=mean[kept],
        deviation=deviation[kept],
        rotation=None,
        scale=1.0,
        trials=matched.trials[place],
        events=matched.events[place],
        left_out=int((~kept).sum()),
    )


def _fit(
    prepared: "list[AlignedSubject]", rows: "list[NDArray[np.float32]]", settings: AlignmentSettings
) -> "tuple[tuple[AlignedSubject, ...], NDArray[np.floating], NDArray[np.floating] | None, int]":
    """Subjects with their maps, coordinates of the template, basis, and which one is the reference."""
    if len(prepared) == 1:
        return tuple(prepared), rows[0], None, 0
    fit = hyperalign(rows, scale=settings.scale, n_rounds=settings.n_rounds)
    fitted = tuple(
        AlignedSubject(**{**one.__dict__, "rotation": rotation, "scale": scale})
        for one, rotation, scale in zip(prepared, fit.rotations, fit.scales, strict=True)
    )
    return fitted, fit.coordinates, fit.basis, fit.reference


def read_scaled(subject: "Subject", one: AlignedSubject, rows: "NDArray[np.int64]") -> "NDArray[np.float32]":
    """Read trials of a subject at the voxels of an alignment, z-scored."""
    return scaled(subject.responses(rows, one.info.voxel_index), one)


def scaled(responses: "NDArray[np.floating]", one: AlignedSubject) -> "NDArray[np.float32]":
    """Z-score responses [b v] with the training trials of their subject; what is not finite becomes 0, with a warning."""
    if responses.ndim != 2 or responses.shape[1] != one.mean.size:
        raise ShapeError(f"{one.key}: responses have shape {responses.shape}, expected [b {one.mean.size}], one value for each voxel")
    values = zscore(responses, one.mean, one.deviation)
    odd = ~np.isfinite(values)
    if odd.any():
        logger.warning("%s: %d responses that are not finite count as the training mean of their voxel", one.key, int(odd.sum()))
        values[odd] = 0
    return values


def _mapped(values: "NDArray[np.float32]", one: AlignedSubject, basis: "NDArray[np.floating] | None") -> "NDArray[np.float32]":
    return values if one.rotation is None or basis is None else apply_map(values, one.rotation, basis).astype(np.float32)
