"""Turn what was asked into cells: open the subject, find its areas, divide its test images, and say what cannot be run and why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.reproduce.plans import MAIN, Plan, Row, make_plan, rows_of, sweep_plan
from brain2pix.compute.reproduce.published import data_of
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.compute.sweep_cells import SweepCell, SweepJob, expand
from brain2pix.config.base import build
from brain2pix.config.run import ClassifyParams, MapsParams
from brain2pix.config.sweep import SubjectEntry
from brain2pix.data.regions import default_region
from brain2pix.data.splits import evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.errors import MissingDataError
from brain2pix.models.weights import read_card, weight_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.splits import EvaluationSet
    from brain2pix.data.subject import Subject

PROCEDURAL = "procedural"
SPLIT = "test"
JUDGES = {"vgg16": "perceptual distance, VGG16, uncalibrated", "alexnet": "perceptual distance, AlexNet, uncalibrated"}
DECODE, EVALUATE, MAPS, CLASSIFY = "decode-test", "evaluate-test", "maps", "classify"
_SIZES = {"alexnet": 224, "tiny": 64}  # at which a network sees pictures of classes: as published, and as it was trained [px]
# What the papers call an area, and the expressions that give it, the first one whose areas the subject has.
_AREAS = {
    "V1": ("V1",),
    "LVC": ("LVC", "V1 + V2 + V3"),
    "HVC": ("HVC", "FFA + PPA + LOC", "FFA + PPA + LO"),
    "VC": ("VC", "V1 + V2 + V3 + V4 + HVC", "V1 + V2 + V3 + V4 + FFA + PPA + LOC", "V1 + V2 + V3 + hV4 + FFA + PPA + LO"),
}


@dataclass(frozen=True)
class Request:
    """What is asked.

    Parameters
    ----------
    method : str, "gaziv" or "beliy"
    data : Path, dataset folder or a subject's folder in it
    out : Path
    plan : str, "short" or "paper"
    subject_name : str or None, which subject of a dataset folder
    gallery : str or None, "procedural" or a folder with a sub-folder of pictures for each class
    class_column : str, column of stimuli.tsv that names the true classes
    runs : int or None, how many runs are averaged; None: as the plan says
    device : str
    """

    method: str
    data: Path
    out: Path
    plan: str = "short"
    subject_name: str | None = None
    gallery: str | None = None
    class_column: str = "category"
    runs: int | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Reproduction:
    """A reproduction, ready to run or to report on.

    Parameters
    ----------
    request : Request
    plan : Plan
    subject : Subject
    test : EvaluationSet, test images with the voxels of the main region
    cells : list of SweepCell
    rows : list of Row
    part : int array, [m], fold of each test image; all 0 without folds
    regions : dict of region to expression
    missing : dict of what cannot be run to why, and how to get it
    """

    request: Request
    plan: Plan
    subject: "Subject"
    test: "EvaluationSet"
    cells: list[SweepCell]
    rows: list[Row]
    part: "NDArray[np.int64]"
    regions: dict[str, str]
    missing: dict[str, str]


def prepare(request: Request, plan: Plan | None = None) -> Reproduction:
    """Work out everything that is known before the first training.

    Parameters
    ----------
    request : Request
    plan : Plan or None, instead of the one that the request names

    Raises
    ------
    Brain2PixError
        If the plan or the subject is wrong: everything that can be checked without training.
    """
    subject = open_subject(request.data, request.subject_name)
    main, regions, same, lacking = find_regions(subject)
    test = evaluation_set(subject, subject.select(main), SPLIT)
    if plan is None:
        plan = make_plan(request.plan, request.method, image_size=test.images.shape[1], data=data_of(subject.title), runs=request.runs)
    wanted = {name: expression for name, expression in regions.items() if name in plan.regions}
    apart = {name: expression for name, expression in wanted.items() if name not in same}
    part, exclude = folds_of(test.groups, plan.folds)
    entry = SubjectEntry(path=request.data.absolute(), subject_name=request.subject_name)
    cells = expand(sweep_plan(plan, entry, {MAIN: main, **apart}, exclude, request.device), request.out)
    cells = [_with_results(cell, plan, request, subject) for cell in cells]
    rows = rows_of(plan, {MAIN: main, **wanted}, same, lacking, len(exclude))
    missing = {row.title: row.why for row in rows if row.why}
    missing |= {title: why for network, title in JUDGES.items() if (why := why_no_weights(network))}
    if request.gallery is None:
        missing["classification"] = (
            "no gallery of classes was given; give --gallery FOLDER with a sub-folder of pictures for each class"
            + (", or --gallery procedural, the painted classes of simulated subjects" if subject.simulated else "")
        )
    return Reproduction(request, plan, subject, test, cells, rows, part, {MAIN: main, **wanted}, missing)


def find_regions(subject: "Subject") -> tuple[str, dict[str, str], list[str], dict[str, str]]:
    """Find the areas of the papers in a subject.

    Returns
    -------
    str, expression of the main region: VC as published where the subject has it, else the default of a training
    dict of area to its expression
    list of str, areas whose voxels are those of the main region
    dict of area that the subject lacks to why
    """
    found, lacking = {}, {}
    outside = " - outside" if "outside" in subject.areas else ""
    for name, expressions in _AREAS.items():
        able = [each for each in expressions if not (lacks := _lacks(each, subject))]
        if able:
            found[name] = able[0] + outside
        else:
            lacks = _lacks(expressions[-1], subject)
            lacking[name] = f"{subject.name} has no {name}, and no {' or '.join(lacks)} to make it of"
    main = found.get("VC") or default_region(subject.areas)
    voxels = subject.select(main)
    same = [name for name, each in found.items() if np.array_equal(subject.select(each), voxels)]
    return main, found, same, lacking


def folds_of(groups: "NDArray[np.int64]", n_folds: int) -> "tuple[NDArray[np.int64], list[list[int]]]":
    """Divide test images into folds, all crops of a photograph in the same one.

    Parameters
    ----------
    groups : int array, [m], photograph of each image
    n_folds : int, at most; there are no more than photographs

    Returns
    -------
    int array, [m], fold of each image
    list of lists of int, images of each fold; empty if there are fewer than two folds
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    n = min(n_folds, int(numbers.max()) + 1)
    if n < 2:
        return np.zeros(len(groups), dtype=np.int64), []
    part = numbers.astype(np.int64) % n
    return part, [np.flatnonzero(part == fold).tolist() for fold in range(n)]


def missing_weights(cells: list[SweepCell]) -> list[str]:
    """Say which published weight files the trainings need that are not there, and how to get each."""
    networks = {_network(value) for cell in cells for value in _backbones(cell.settings)}
    return [why for name, weights in sorted(networks, key=str) if (why := why_no_weights(name, weights))]


def why_no_weights(name: str, weights: str | None = None) -> str:
    """Say why a network cannot be loaded; empty if it can."""
    if name.startswith("random"):
        return ""
    try:
        with weight_file(read_card(name), None if weights is None else Path(weights)):
            return ""
    except MissingDataError as error:
        return str(error)


def classes_network() -> str:
    """Network whose features classify: AlexNet as published where its weights are here, else the bundled one."""
    return "tiny" if why_no_weights("alexnet") else "alexnet"


def _lacks(expression: str, subject: "Subject") -> list[str]:
    return [name for name in re.findall(r"\w+", expression) if name not in subject.areas]


def _with_results(cell: SweepCell, plan: Plan, request: Request, subject: "Subject") -> SweepCell:
    """Add to a cell the jobs that a report needs besides its scores."""
    train, device = cell.train.folder, request.device
    jobs = [_job(cell, DECODE, "decode", {"run": str(train), "split": SPLIT, "device": device}, SPLIT)]
    first = cell.at.seed == 0 and cell.at.region == MAIN
    if plan.maps and first and cell.at.ablation == "full":
        jobs.append(_job(cell, MAPS, "maps", build(MapsParams, {"run": train, "device": device}).model_dump(mode="json")))
    if request.gallery is not None and first and cell.at.ablation in plan.classified:
        params = _classify_params(train, plan, request, subject)
        # another gallery or network is another job, beside the old one; where it runs is not part of the name
        name = f"{CLASSIFY}-{job_hash('classify', params.model_copy(update={'run': Path(), 'device': 'auto'}))[:8]}"
        jobs.append(_job(cell, name, "classify", params.model_dump(mode="json"), params.split))
    return replace(cell, results=(*cell.results, *jobs))


def _classify_params(train: Path, plan: Plan, request: Request, subject: "Subject") -> ClassifyParams:
    procedural = request.gallery == PROCEDURAL
    values: dict[str, Any] = {
        "run": train,
        "gallery": PROCEDURAL if procedural else Path(str(request.gallery)).expanduser().absolute(),
        "class_column": request.class_column,
        "split": "category_test" if subject.simulated else SPLIT,  # the test images of a simulated subject are crops of photographs
        "backbone": {"name": (network := classes_network())},
        "size": _SIZES[network],
        "per_class": plan.per_class,
        "device": request.device,
    }
    return build(ClassifyParams, values)


def _job(cell: SweepCell, name: str, kind: str, params: Mapping[str, Any], split: str = "") -> SweepJob:
    folder = cell.folder / name
    return SweepJob(name, JobSpec(kind, dict(params), folder), (cell.train.folder,), split)


def _backbones(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Networks that a system's settings name: the encoder's and the image loss'."""
    needs_encoder = settings["weight_images"] > 0 or settings["weight_fmri"] > 0
    loss = settings["image_loss"]
    compared = any(loss.get("perceptual") or loss.get("features") or ())
    return [*([settings["backbone"]] if needs_encoder else []), *([loss["backbone"]] if compared else [])]


def _network(backbone: Mapping[str, Any]) -> tuple[str, str | None]:
    return backbone["name"], backbone.get("weights")
