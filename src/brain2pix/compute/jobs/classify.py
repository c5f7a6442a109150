"""Classify reconstructions among the classes of a gallery."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as nnf

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.compute.jobs.evaluate import describe
from brain2pix.data.gallery import open_gallery
from brain2pix.data.splits import HELD_OUT_SPLITS, evaluation_set
from brain2pix.data.tables import write_table
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.evaluation import write_lines
from brain2pix.evaluation.classification import TOP, Classification, classification_lines, classify
from brain2pix.evaluation.metrics import as_images
from brain2pix.events import Progress
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.files import atomic_path, write_json
from brain2pix.models import load_backbone
from brain2pix.simulation.categories import PROCEDURAL_CLASSES, exemplar

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.run import ClassifyParams
    from brain2pix.data.subject import Subject
    from brain2pix.models import FeatureNetwork

PROCEDURAL = "procedural"
_STIMULUS = "stimulus itself"
_BATCH = 32
_SHOWN = 10  # pictures of the figure


class Classes(Protocol):
    """Classes with pictures."""

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        ...

    def images(self, name: str, size: int) -> "NDArray[np.uint8]":
        """Pictures of a class, [n size size 3]."""
        ...


@dataclass(frozen=True)
class Painted:
    """The classes that the simulation paints; their exemplars are none of a subject's stimuli."""

    per_class: int
    seed: int

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return [f"{category} {label}" for category, labels in PROCEDURAL_CLASSES.items() for label in labels]

    def images(self, name: str, size: int) -> "NDArray[np.uint8]":
        """Paint exemplars of a class, [n size size 3]."""
        category, _, label = name.partition(" ")
        return np.stack(
            [exemplar(category, label, size, seed) for seed in range(self.seed + 1_000_000, self.seed + 1_000_000 + self.per_class)]
        )


def prepare(params: "ClassifyParams") -> Prepared:
    """Load system, subject and network, list the classes, and find the true class of each stimulus."""
    trained = open_run(params.run, params.subject, params.device)
    shown = evaluation_set(trained.subject, trained.voxel_index, params.split, trained.method.image_size, without_pictures=True)
    classes, truth, notes = find_classes(params, trained.subject, shown.stimulus_ids)
    notes += trained.notes_on(params.split)
    known = np.flatnonzero(truth >= 0)
    network = load_backbone(params.backbone.name, params.backbone.weights, params.backbone.seed).to(trained.device)
    about = {
        **trained.describe(),
        "split": params.split,
        "n_images": int(known.size),
        "n_classes": len(classes.names),
        "network": params.backbone.name,
        "transductive": list(trained.method.info.transductive),
        "notes": notes,
    }

    def run(context: JobContext) -> None:
        for note in notes:
            context.message(note)
        with memory_reported(trained.device, params), context.stage("classify"):
            ids = [shown.stimulus_ids[row] for row in known]
            made = decode_images(trained.method, shown.responses[known], trained.device, context.cancel, params.batch, ids)
            judged = Judged(network, params.size, classes, context)
            centroids = judged.centroids()
            parts = {trained.method.name: (made, known)}
            if (seen := known[shown.pictured[known]]).size:
                parts[_STIMULUS] = (shown.images[seen], seen)
            found = {row: classify(judged.features(images), centroids, truth[place]) for row, (images, place) in parts.items()}
            lines = [
                line
                for row, one in found.items()
                for line in classification_lines(row, one, shown.groups[parts[row][1]], params.backbone.name)
            ]
            results = context.folder.results
            write_json(results / "about.json", about)
            write_lines(results / "scores.tsv", lines)
            write_table(results / "classes.tsv", _table(ids, truth[known], found[trained.method.name], classes.names))
            chosen = slice(0, _SHOWN)
            rows = {"stimulus": shown.images[known][chosen], trained.method.name: made[chosen]}
            rows |= judged.nearest(made[chosen], found[trained.method.name].best[chosen])
            _write_figure(results, rows, found[trained.method.name].best[chosen], truth[known][chosen], classes.names, about)
        for line in lines:
            context.message(describe(line))

    return Prepared(about, run)


def find_classes(params: "ClassifyParams", subject: "Subject", stimulus_ids: list[str]) -> "tuple[Classes, NDArray[np.int64], list[str]]":
    """List the classes of a gallery, and find the true class of each stimulus.

    Parameters
    ----------
    params : ClassifyParams
    subject : Subject
    stimulus_ids : list of str, [m]

    Returns
    -------
    Classes
    int array, [m], class of each stimulus; -1 if the gallery has none for it
    list of str, what is left out

    Raises
    ------
    Brain2PixError
        If there is no such gallery or column, or no stimulus has a class of the gallery.
    """
    classes, notes = _classes(params, subject)
    truth = _true_classes(params, subject, stimulus_ids, classes.names)
    n_known = int((truth >= 0).sum())
    if not n_known:
        examples = join_names(sorted(set(_class_names(params, subject, stimulus_ids))))
        raise ConfigError(
            f"no stimulus of split {params.split!r} has a class of the gallery: stimuli are of {examples}; the gallery has "
            f"{join_names(classes.names)}. Name its sub-folders like the column {params.class_column!r} of stimuli.tsv, "
            "or choose another column"
        )
    if n_known < truth.size:
        notes.append(f"{truth.size - n_known} of {truth.size} stimuli are of no class of the gallery and are left out")
    return classes, truth, notes


class Judged:
    """Pictures as a network sees them.

    Parameters
    ----------
    network : FeatureNetwork
    size : int, edge at which pictures are looked at [px]
    classes : Classes
    context : JobContext
    """

    def __init__(self, network: "FeatureNetwork", size: int, classes: Classes, context: JobContext) -> None:
        self.network, self.size, self.classes, self.context = network, size, classes, context
        # AlexNet's fourth convolution, as published; the deepest features that an encoder would read of other networks
        self.tap = 9 if network.name == "alexnet" else network.encoder_taps[-1]

    def features(self, images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Features of pictures [m h w 3], [m d]."""
        device = next(self.network.parameters()).device
        found = []
        for start in range(0, len(images), _BATCH):
            self.context.cancel.check()
            pictures = torch.from_numpy(as_images(images[start : start + _BATCH])).permute(0, 3, 1, 2).to(device)
            resized = nnf.interpolate(pictures, (self.size, self.size), mode="bilinear", antialias=True)
            with torch.inference_mode():
                found.append(self.network(resized, (self.tap,))[0].flatten(1).float().cpu().numpy())
        return np.concatenate(found)

    def centroids(self) -> "NDArray[np.float32]":
        """Mean features of each class, [k d]."""
        means = []
        for number, name in enumerate(self.classes.names):
            means.append(self.features(self.classes.images(name, self.size)).mean(axis=0))
            self.context.sink(Progress("classify", number + 1, len(self.classes.names), "classes"))
        return np.stack(means)

    def nearest(self, images: "NDArray[np.uint8]", best: "NDArray[np.int64]") -> "dict[str, NDArray[np.uint8]]":
        """For each picture the most similar gallery picture of each of its best classes; place -> [m h w 3]."""
        own = self.features(images)
        chosen: dict[str, list[NDArray[np.uint8]]] = {}
        for picture, classes in zip(own, best, strict=True):
            for place, each in enumerate(classes, start=1):
                pictures = self.classes.images(self.classes.names[each], images.shape[1])
                r = np.corrcoef(picture, self.features(pictures))[0, 1:]
                chosen.setdefault(f"class {place}", []).append(pictures[int(np.nan_to_num(r).argmax())])
        return {place: np.stack(pictures) for place, pictures in chosen.items()}


def _classes(params: "ClassifyParams", subject: "Subject") -> tuple[Classes, list[str]]:
    if str(params.gallery) == PROCEDURAL:
        if not subject.simulated:
            raise ConfigError(
                f"the gallery {PROCEDURAL!r} has the classes of simulated subjects; give a folder of pictures for {subject.name}"
            )
        return Painted(params.per_class, params.seed), ["simulated: the gallery is painted by the program that painted the stimuli"]
    held_out = subject.stimuli[subject.stimuli["split"].isin(HELD_OUT_SPLITS) & subject.stimuli["file"].notna()]["file"]
    gallery = open_gallery(
        params.gallery, per_class=params.per_class, held_out=[subject.root / "stimuli" / file for file in held_out], seed=params.seed
    )
    notes = [f"{len(gallery.left_out)} pictures of the gallery are held-out stimuli and are left out"] if gallery.left_out else []
    return gallery, notes


def _class_names(params: "ClassifyParams", subject: "Subject", ids: list[str]) -> list[str]:
    table = subject.stimuli.set_index("stimulus_id")
    if params.class_column not in table:
        raise DataFormatError(
            f"{subject.root / 'stimuli' / 'stimuli.tsv'} has no column {params.class_column!r} with classes; "
            f"it has {join_names(table.columns, 20)}"
        )
    names = table[params.class_column].reindex(ids).fillna("").astype(str)
    if str(params.gallery) == PROCEDURAL and "label" in table:
        return [f"{category} {label}" for category, label in zip(names, table["label"].reindex(ids).astype(str), strict=True)]
    return names.tolist()


def _true_classes(params: "ClassifyParams", subject: "Subject", ids: list[str], names: list[str]) -> "NDArray[np.int64]":
    """Class of each stimulus, [m]; -1 if the gallery has none for it."""
    number = {name: place for place, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in _class_names(params, subject, ids)], dtype=np.int64)


def _table(ids: list[str], truth: "NDArray[np.int64]", found: Classification, names: list[str]) -> pd.DataFrame:
    best = {f"class_{place + 1}": [names[each] for each in found.best[:, place]] for place in range(found.best.shape[1])}
    return pd.DataFrame({"stimulus_id": ids, "true_class": [names[each] for each in truth], "rank": found.ranks, **best})


def _write_figure(
    results: "Path",
    rows: "dict[str, NDArray[np.uint8]]",
    best: "NDArray[np.int64]",
    truth: "NDArray[np.int64]",
    names: list[str],
    about: dict[str, Any],
) -> None:
    """Draw stimulus, reconstruction and, for its five best classes, the most similar picture of the gallery."""
    written = {"stimulus": [names[each] for each in truth]}
    for place in range(best.shape[1]):
        hits = best[:, place] == truth
        written[f"class {place + 1}"] = [f"{'✓ ' * bool(hit)}{names[each]}" for each, hit in zip(best[:, place], hits, strict=True)]
    simulated = "Simulated subject. " if about["simulated"] else ""
    transductive = f" Transductive: used {', '.join(about['transductive'])}." if about["transductive"] else ""
    caption = (
        f"{simulated}The {TOP} classes of {about['n_classes']} whose mean features ({about['network']}) are most like those of the "
        f"reconstruction, each by its most similar picture; a tick marks the true class.{transductive}"
    )
    figure = reconstruction_figure(rows, written=written, title="Classes of the reconstructions", caption=caption)
    with atomic_path(results / "classes.png") as beside:
        figure.savefig(beside, dpi=200)
