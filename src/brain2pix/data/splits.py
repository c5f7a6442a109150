"""From a subject to what a method trains on, and to what it is judged by. The two never meet in one object."""

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.config.preparation import PreparationSettings
from brain2pix.data.cache import Rows, prepared_responses
from brain2pix.data.preparation import CHOSEN_BY_TEST, choose_reliable
from brain2pix.data.regions import DEFAULT_REGION
from brain2pix.data.stacks import image_files
from brain2pix.data.training import RepeatedResponses, TrainingData
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import SubjectInfo
    from brain2pix.data.subject import Subject

logger = logging.getLogger(__name__)

# Images of these splits never reach training.
HELD_OUT_SPLITS = ("test", "validation", "category_test")
NO_PREPARATION = PreparationSettings()
_NO_PICTURE = 128  # grey that stands for a stimulus without a picture


@dataclass(frozen=True)
class EvaluationSet:
    """What a trained method is judged by.

    Parameters
    ----------
    stimulus_ids : list of str, [m]
    images : uint8 array, [m h w 3]; mid-grey for a stimulus without a picture
    responses : float32 array, [m v], mean over the repeats of each image
    repeats : RepeatedResponses, the single trials
    groups : int array, [m], images of one number come from one photo (clusters of bootstraps)
    subject : SubjectInfo
    pictured : bool array, [m], whether a stimulus has a picture; what was imagined from a word has none
    """

    stimulus_ids: list[str]
    images: "NDArray[np.uint8]"
    responses: "NDArray[np.float32]"
    repeats: RepeatedResponses
    groups: "NDArray[np.int64]"
    subject: "SubjectInfo"
    pictured: "NDArray[np.bool_]"

    @property
    def without_picture(self) -> list[str]:
        """Stimuli without a picture."""
        return [name for name, there in zip(self.stimulus_ids, self.pictured, strict=True) if not there]

    def part(self, chosen: "NDArray[np.bool_]") -> "EvaluationSet":
        """Give some of the images, by a mask [m], with their responses."""
        place = np.cumsum(chosen) - 1
        trials = chosen[self.repeats.image_index]
        return replace(
            self,
            stimulus_ids=[name for name, kept in zip(self.stimulus_ids, chosen, strict=True) if kept],
            images=self.images[chosen],
            responses=self.responses[chosen],
            repeats=RepeatedResponses(self.repeats.values[trials], place[self.repeats.image_index[trials]]),
            groups=self.groups[chosen],
            pictured=self.pictured[chosen],
        )


def training_data(
    subject: "Subject",
    region: str = DEFAULT_REGION,
    *,
    image_size: int | None = None,
    train_split: str = "train",
    repeats_split: str | None = "test",
    preparation: PreparationSettings = NO_PREPARATION,
) -> TrainingData:
    """Gather everything that a method may train on.

    Parameters
    ----------
    subject : Subject
    region : str, expression over areas
    image_size : int or None, edge of all images [px]; None keeps the edge of the files
    train_split : str
    repeats_split : str or None, split whose responses are given without their images (transductive); None for an inductive system.
        A subject without the split "test" gives none.
    preparation : PreparationSettings, which voxels are reliable enough, and whether repeats are averaged. Its `zscore` is that of
        `open_subject`.

    Returns
    -------
    TrainingData. Large responses are memory-mapped from the user's cache folder, see `brain2pix.data.cache`.

    Raises
    ------
    ConfigError
        If the region or a split is unknown; if voxels are to be chosen by repeats that there are not.
    DataFormatError
        If a training image, by its id or file, is also a held-out one.
    """
    if subject.zscore != preparation.zscore:
        raise ConfigError(f"{subject.name} was opened with zscore {subject.zscore!r}, not {preparation.zscore!r}; open it again")
    voxel_index = subject.select(region)
    rows = subject.rows(train_split)
    ids, image_index = images_of(subject, rows)
    _check_leak(subject, ids, train_split)
    images = subject.images(ids, image_size)
    repeats = _repeats(subject, repeats_split)
    info = subject.describe(voxel_index)
    if preparation.chooses_voxels:
        chosen_by = (rows, image_index) if preparation.repeats_of == "train" else _test_repeats(repeats, repeats_split)
        voxel_index = choose_reliable(subject, voxel_index, *chosen_by, preparation)
        logger.info("%s: %d of %d voxels of %s are reliable enough", subject.name, voxel_index.size, info.n_voxels, region)
        info = subject.describe(voxel_index)
        info = replace(info, transductive=(CHOSEN_BY_TEST,)) if preparation.repeats_of == "test" else info
    wanted = [Rows(rows, image_index if preparation.average_repeats else None), *([] if repeats is None else [Rows(repeats[0])])]
    responses = prepared_responses(subject, voxel_index, wanted)
    return TrainingData(
        subject=info,
        responses=responses[0],
        images=images,
        image_index=np.arange(len(ids)) if preparation.average_repeats else image_index,
        groups=photo_numbers(subject, ids),
        unpaired=subject.unpaired(int(images.shape[1]), _held_out_classes(subject, ids, train_split)),
        repeats=None if repeats is None else _without_images(subject, responses[1], repeats[0]),
        voxel_xyz=subject.xyz[voxel_index],
        areas={name: mask[voxel_index] for name, mask in subject.areas.items()},
    )


def evaluation_set(
    subject: "Subject",
    voxel_index: "NDArray[np.integer]",
    split: str = "test",
    image_size: int | None = None,
    *,
    without_pictures: bool = False,
) -> EvaluationSet:
    """Gather held-out images with their responses, averaged over repeats, in the order of the stimulus table.

    Parameters
    ----------
    subject : Subject
    voxel_index : int array, [v], the voxels of the model
    split : str
    image_size : int or None, edge of the images [px]
    without_pictures : bool, take stimuli without a picture too; otherwise only those that have one

    Raises
    ------
    ConfigError
        If no trial has this split, or none of its stimuli has a picture where one is needed.
    """
    index = np.asarray(voxel_index, dtype=np.int64)
    rows = subject.rows(split)
    ids, image_index = images_of(subject, rows)
    repeats = RepeatedResponses(subject.responses(rows, index), image_index)
    images, pictured = pictures_of(subject, ids, image_size)
    if not (without_pictures or pictured.any()):
        raise ConfigError(
            f"{subject.name}: none of the {len(ids)} stimuli of split {split!r} has a picture ({join_names(ids)}), so there is nothing to "
            "compare reconstructions with; `brain2pix decode` shows them, `brain2pix classify` judges them by their class"
        )
    every = EvaluationSet(ids, images, repeats.mean(), repeats, photo_numbers(subject, ids), subject.describe(index), pictured)
    return every if without_pictures or pictured.all() else every.part(pictured)


def pictures_of(subject: "Subject", ids: list[str], size: int | None = None) -> "tuple[NDArray[np.uint8], NDArray[np.bool_]]":
    """Read stimuli of which some may have no picture.

    Parameters
    ----------
    subject : Subject
    ids : list of str, [m]
    size : int or None, edge [px]; None keeps that of the files

    Returns
    -------
    uint8 array, [m h h 3], mid-grey where there is none
    bool array, [m], whether there is one
    """
    pictured = np.array([subject.has_picture(name) for name in ids], dtype=bool)
    found = subject.images([name for name, there in zip(ids, pictured, strict=True) if there], size)
    if pictured.all():
        return found, pictured
    edge = size or (found.shape[1] if len(found) else subject.image_size)
    images = np.full((len(ids), edge, edge, 3), _NO_PICTURE, dtype=np.uint8)
    images[pictured] = found
    return images, pictured


def photo_numbers(subject: "Subject", ids: list[str]) -> "NDArray[np.int64]":
    """Give each source (photo, class) a number; a stimulus without one is a group by itself."""
    source = subject.stimuli.set_index("stimulus_id")["source"].reindex(ids)
    names = [f"stimulus {name}" if pd.isna(value) else f"source {value}" for name, value in zip(ids, source, strict=True)]
    return pd.factorize(np.array(names, dtype=object))[0].astype(np.int64)


def images_of(subject: "Subject", rows: "NDArray[np.int64]") -> "tuple[list[str], NDArray[np.int64]]":
    """Stimuli of some trials in the order of the stimulus table, and which of them each trial showed; those that it lacks come last."""
    shown = subject.trials["stimulus_id"].to_numpy()[rows]
    present = dict.fromkeys(shown)
    ids = [name for name in subject.stimuli["stimulus_id"] if name in present]
    ids += [name for name in present if name not in set(ids)]
    place = {name: number for number, name in enumerate(ids)}
    return ids, np.array([place[name] for name in shown], dtype=np.int64)


def _repeats(subject: "Subject", split: str | None) -> "tuple[NDArray[np.int64], NDArray[np.int64]] | None":
    """Trials of the split whose responses come without images, and which image each of them showed."""
    if split is None:
        return None
    if split == "test" and not (subject.trials["split"] == "test").any():
        logger.info("%s has no test trials: training goes without test responses", subject.name)
        return None
    rows = subject.rows(split)
    return rows, images_of(subject, rows)[1]


def _without_images(subject: "Subject", values: "NDArray[np.float32]", rows: "NDArray[np.int64]") -> RepeatedResponses:
    """Responses of these trials with the names of their images, and which of these come from one photo."""
    ids, image_index = images_of(subject, rows)
    return RepeatedResponses(values, image_index, tuple(ids), photo_numbers(subject, ids))


def _test_repeats(
    repeats: "tuple[NDArray[np.int64], NDArray[np.int64]] | None", split: str | None
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    if repeats is None:
        why = "test responses are kept out of this training (inductive)" if split is None else f"there are no {split} trials"
        raise ConfigError(f"voxels cannot be chosen by test repeats: {why}; choose by training repeats (prepare.repeats_of train)")
    return repeats


def _held_out_classes(subject: "Subject", ids: list[str], train_split: str) -> set[str]:
    """Classes that held-out stimuli have and training stimuli have not: no image without responses may be of them."""
    classes = subject.stimuli.set_index("stimulus_id")["category"]
    held, trained = (set(classes[classes.index.isin(names)].dropna().astype(str)) for names in (_held_out(subject, train_split), ids))
    return held - trained


def _held_out(subject: "Subject", train_split: str) -> set[str]:
    """Stimuli that are held out by the table of trials or by that of stimuli."""
    held_splits = [split for split in HELD_OUT_SPLITS if split != train_split]
    in_trials = set(subject.trials.loc[subject.trials["split"].isin(held_splits), "stimulus_id"])
    return in_trials | set(subject.stimuli.loc[subject.stimuli["split"].isin(held_splits), "stimulus_id"])


def _check_leak(subject: "Subject", ids: list[str], train_split: str) -> None:
    """Refuse training images that are held out: by trial, by stimulus table, by shared file, or in the folder of unpaired images."""
    held_splits = [split for split in HELD_OUT_SPLITS if split != train_split]
    held = _held_out(subject, train_split)
    both = [name for name in ids if name in held]
    if both:
        raise DataFormatError(
            f"{subject.root}: {len(both)} stimuli of split {train_split!r} are also held out ({', '.join(held_splits)}): "
            f"{join_names(both)}; give each stimulus one split in trials and stimuli.tsv"
        )
    table = subject.stimuli[subject.stimuli["file"].notna()].set_index("stimulus_id")["file"]
    held_files = {(subject.root / "stimuli" / file).resolve(): name for name, file in table.items() if name in held}
    shared = [name for name in ids if (subject.root / "stimuli" / table[name]).resolve() in held_files]
    if shared:
        raise DataFormatError(f"{subject.root}: {len(shared)} training stimuli share a file with held-out ones: {join_names(shared)}")
    stems = {path.stem for path in held_files}
    folder = subject.root / "stimuli" / "unpaired"
    leaked = [path.name for path in image_files(folder) if path.stem in stems] if folder.is_dir() else []
    if leaked:
        raise DataFormatError(f"{folder} holds {len(leaked)} images named like held-out stimuli: {join_names(leaked)}; remove them")
