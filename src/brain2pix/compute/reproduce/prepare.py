"""Turn what was asked into cells: open the subject, find its areas, divide its test images, and say what cannot be run and why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.jobs.classify import find_classes
from brain2pix.compute.reproduce.plans import MAIN, Plan, Row, make_plan, rows_of, sweep_plan
from brain2pix.compute.reproduce.published import data_of
from brain2pix.compute.reproduce.regions import find_regions
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.compute.sweep_cells import SweepCell, SweepJob, expand
from brain2pix.config.base import build
from brain2pix.config.run import ClassifyParams, MapsParams
from brain2pix.config.sweep import SubjectEntry
from brain2pix.data.checks import find_subjects
from brain2pix.data.folds import folds_of
from brain2pix.data.splits import evaluation_set, images_of
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.models.weights import read_card, weight_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.config.reproduce import ReproduceParams
    from brain2pix.data.splits import EvaluationSet
    from brain2pix.data.subject import Subject

PROCEDURAL = "procedural"
SPLIT = "test"
JUDGES = {"vgg16": "perceptual distance, VGG16, uncalibrated", "alexnet": "perceptual distance, AlexNet, uncalibrated"}
DECODE, EVALUATE, MAPS, CLASSIFY = "decode-test", "evaluate-test", "maps", "classify"
_SIZES = {"alexnet": 224, "tiny": 64}  # at which a network sees pictures of classes: as published, and as it was trained [px]


@dataclass(frozen=True)
class Reproduction:
    """A reproduction, ready to run or to report on.

    Parameters
    ----------
    params : ReproduceParams
    out : Path, folder of the reproduction
    plan : Plan
    subject : Subject
    test : EvaluationSet, test images with the voxels of the main region
    cells : list of SweepCell
    rows : list of Row
    part : int array, [m], fold of each test image; all 0 without folds
    regions : dict of region to expression
    missing : dict of what cannot be run to why, and how to get it
    """

    params: "ReproduceParams"
    out: Path
    plan: Plan
    subject: "Subject"
    test: "EvaluationSet"
    cells: list[SweepCell]
    rows: list[Row]
    part: "NDArray[np.int64]"
    regions: dict[str, str]
    missing: dict[str, str]


def prepare(params: "ReproduceParams", out: Path, plan: Plan | None = None) -> Reproduction:
    """Work out everything that is known before the first training.

    Parameters
    ----------
    params : ReproduceParams
    out : Path, folder of the reproduction
    plan : Plan or None, instead of the one that the parameters name

    Raises
    ------
    Brain2PixError
        If the plan, the subject or the gallery is wrong: everything that can be checked without training.
    """
    subject = open_subject(params.subject, params.subject_name)
    if not (subject.trials["split"] == SPLIT).any():
        splits = ", ".join(sorted({str(name) for name in subject.trials["split"]})) or "none"
        raise ConfigError(f"{subject.name} has no trials of the split {SPLIT!r}, whose images are to be decoded; splits here: {splits}")
    regions = find_regions(subject)
    test = evaluation_set(subject, subject.select(regions.main), SPLIT)
    if plan is None:
        plan = make_plan(params.plan, params.method, image_size=test.images.shape[1], data=data_of(subject.title), runs=params.runs)
    wanted = {name: expression for name, expression in regions.found.items() if name in plan.regions}
    apart = {name: expression for name, expression in wanted.items() if name not in regions.same}
    part, exclude = folds_of(test.groups, plan.folds)
    # the same cells, whether the dataset or the subject's folder was given
    entry = SubjectEntry(path=subject.root, subject_name=subject.path.name if len(find_subjects(subject.root)) > 1 else None)
    cells = expand(sweep_plan(plan, entry, {MAIN: regions.main, **apart}, exclude, params.device), out)
    cells = [_with_results(cell, plan, params, subject) for cell in cells]
    rows = rows_of(plan, {MAIN: regions.main, **wanted}, regions.same, regions.lacking, len(exclude))
    missing = {row.title: row.why for row in rows if row.why}
    missing |= {title: why for network, title in JUDGES.items() if (why := why_no_weights(network))}
    if params.gallery is None:
        missing["classification"] = (
            "no gallery of classes was given; give --gallery FOLDER with a sub-folder of pictures for each class"
            + (", or --gallery procedural, the painted classes of simulated subjects" if subject.simulated else "")
        )
    else:
        _check_gallery(_classify_params(out, plan, params, subject), subject)
    return Reproduction(params, out, plan, subject, test, cells, rows, part, {MAIN: regions.main, **wanted}, missing)


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


def _check_gallery(params: ClassifyParams, subject: "Subject") -> None:
    """Refuse a gallery that cannot classify; what it leaves out is said by the jobs that use it."""
    ids, _ = images_of(subject, subject.rows(params.split))
    find_classes(params, subject, ids)


def _with_results(cell: SweepCell, plan: Plan, params: "ReproduceParams", subject: "Subject") -> SweepCell:
    """Add to a cell the jobs that a report needs besides its scores."""
    train, device = cell.train.folder, params.device
    jobs = [_job(cell, DECODE, "decode", {"run": str(train), "split": SPLIT, "device": device}, SPLIT)]
    first = cell.at.seed == 0 and cell.at.region == MAIN
    if plan.maps and first and cell.at.ablation == "full":
        jobs.append(_job(cell, MAPS, "maps", build(MapsParams, {"run": train, "device": device}).model_dump(mode="json")))
    if params.gallery is not None and first and cell.at.ablation in plan.classified:
        asked = _classify_params(train, plan, params, subject)
        # another gallery or network is another job, beside the old one; where it runs is not part of the name
        name = f"{CLASSIFY}-{job_hash('classify', asked.model_copy(update={'run': Path(), 'device': 'auto'}))[:8]}"
        jobs.append(_job(cell, name, "classify", asked.model_dump(mode="json"), asked.split))
    return replace(cell, results=(*cell.results, *jobs))


def _classify_params(train: Path, plan: Plan, params: "ReproduceParams", subject: "Subject") -> ClassifyParams:
    procedural = params.gallery == PROCEDURAL
    values: dict[str, Any] = {
        "run": train,
        "gallery": PROCEDURAL if procedural else Path(str(params.gallery)).expanduser().absolute(),
        "class_column": params.class_column,
        "split": "category_test" if subject.simulated else SPLIT,  # the test images of a simulated subject are crops of photographs
        "backbone": {"name": (network := classes_network())},
        "size": _SIZES[network],
        "per_class": plan.per_class,
        "device": params.device,
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
