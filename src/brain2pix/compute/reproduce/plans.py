"""What a reproduction runs: the cells of each method and plan, as a table, and the rows of the report that they make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from brain2pix.config.sweep import AblationEntry, Coordinates, ExcludeEntry, MethodEntry, RegionEntry, SubjectEntry, SweepPlan
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.methods.registry import resolve_settings

METHODS = ("gaziv", "beliy")
PLANS = ("short", "paper")
MAIN = "main"  # name of the region of all rows but those of single areas
WITHOUT = "without "  # begins the names of regions that lack one area
_SUBJECT = "subject"
_PAPER_AREAS = ("V1", "V2", "V3", "V4", "FFA", "PPA", "LOC")
_NO_TEST = {"weight_fmri": 0, "snr_source": "none"}
_BORROWS = {"encoder_from": {"ablation": "full"}}  # E is trained once
_INDUCTIVE = {"repeats_split": None}
_FEATURES = {"gaziv": "image_loss.perceptual", "beliy": "image_loss.features"}
_PUBLISHED_RUNS = {"beliy": {"GOD": 20, "vim-1": 10}}


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Parameters
    ----------
    name, title : str
    settings : mapping, of the method over those of the plan
    train : mapping, parameters of the training
    """

    name: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is run.

    Parameters
    ----------
    name : str
    method : str
    preset : str, of the method
    settings : mapping, over the preset
    variants : tuple of Variant; the first is `full`
    runs : int, trainings of the variants `averaged`, with seeds 0, 1, ..., whose reconstructions are averaged
    averaged : tuple of str, names of variants (and "excluded")
    folds : int, parts of the test images for the row whose images' own responses are excluded; 0: no such row
    regions : tuple of str, areas that get a training of their own
    classified : tuple of str, variants whose reconstructions are classified
    per_class : int, pictures of a class in the gallery, at most
    maps : bool, whether receptive fields and accuracy are mapped
    """

    name: str
    method: str
    preset: str
    settings: Mapping[str, Any]
    variants: tuple[Variant, ...]
    runs: int = 1
    averaged: tuple[str, ...] = ("full",)
    folds: int = 2
    regions: tuple[str, ...] = ("V1", "LVC", "HVC", "VC", f"{WITHOUT}V1")
    classified: tuple[str, ...] = ("full", "supervised")
    per_class: int = 100
    maps: bool = True


@dataclass(frozen=True)
class Row:
    """One row of the report: trained systems whose reconstructions are put together.

    Parameters
    ----------
    name, title : str
    runs : tuple of runs that are averaged; each is the cells that decode part 0, 1, ... of the test images
    why : str, why there is none; empty if there can be
    """

    name: str
    title: str
    runs: tuple[tuple[Coordinates, ...], ...] = ()
    why: str = ""


def make_plan(name: str, method: str, *, image_size: int, data: str = "", runs: int | None = None) -> Plan:
    """Make a plan by its name.

    Parameters
    ----------
    name : str, "short" or "paper"
    method : str, "gaziv" or "beliy"
    image_size : int, edge of the stimuli [px]; decides the preset of the short plan
    data : str, "GOD", "vim-1" or empty, see `published.data_of`; decides how many runs the paper averages
    runs : int or None, how many runs are averaged instead

    Raises
    ------
    ConfigError
        If the name of plan or method is unknown, or `runs` is below 1.
    """
    if method not in METHODS:
        raise ConfigError(unknown_name("paper to reproduce", method, METHODS))
    if name not in PLANS:
        raise ConfigError(unknown_name("plan", name, PLANS))
    if runs is not None and runs < 1:
        raise ConfigError(f"runs must be 1 or more, got {runs}")
    grey: dict[str, Any] = {"decoder.out_channels": 1} if data == "vim-1" else {}
    if name == "paper":
        known = _PUBLISHED_RUNS.get(method, {})
        of_paper = known.get(data, next(iter(known.values()), 1))
        plan = Plan(
            *("paper", method, "released", grey),
            variants=variants_of(method, "released", grey),
            runs=of_paper,
            averaged=("full", "images", "supervised", "excluded"),
            folds=5,
            regions=("V1", "LVC", "HVC", "VC", *(WITHOUT + area for area in _PAPER_AREAS)),
            classified=("full", "images", "supervised"),
        )
    else:
        preset = "tiny" if image_size <= 48 else "demo"
        chosen = ("full", "images", "supervised", "no features", "blocks 1", "no shift")
        found = [variant for variant in variants_of(method, preset, grey) if variant.name in chosen]
        plan = Plan("short", method, preset, grey, tuple(found), runs=2, per_class=10)
    return plan if runs is None else replace(plan, runs=runs)


def variants_of(method: str, preset: str, settings: Mapping[str, Any]) -> tuple[Variant, ...]:
    """List all ways of training that the paper's ablations need, `full` first.

    Parameters
    ----------
    method : str
    preset : str
    settings : mapping, over the preset

    Returns
    -------
    tuple of Variant; those that change the feature loss follow from how many blocks the preset compares
    """
    key = _FEATURES[method]
    group, last = key.split(".")
    resolved = resolve_settings(method, preset, None, dict(settings))
    weights: tuple[float, ...] = getattr(getattr(resolved, group), last)
    network = {"tiny": "bundled network"}.get(name := getattr(resolved, group).backbone.name, name)
    pairs_only = {"weight_pairs": 1, "weight_images": 0, **_NO_TEST}
    found = [
        Variant("full", "full: pairs, images and test responses"),
        Variant("images", "pairs and images (+ images)", _NO_TEST, {**_BORROWS, **_INDUCTIVE}),
        Variant("supervised", "pairs only (supervised)", pairs_only, _INDUCTIVE),
        Variant("no features", "full, without the feature loss", {key: [0.0] * len(weights)}, _BORROWS),
    ]
    for n in range(1, len(weights)):
        blocks = "block 1" if n == 1 else f"blocks 1-{n}"
        kept = [*weights[:n], *[0.0] * (len(weights) - n)]
        name = f"blocks 1-{n}" if n > 1 else "blocks 1"
        found.append(Variant(name, f"full, feature loss on {blocks} of {len(weights)} ({network})", {key: kept}, _BORROWS))
    found.append(Variant("no shift", "full, encoder trained without shifts of the images", {"encoder.shift_px": 0}))
    for n in (1, 5, 15):
        # one repeat says nothing of the noise, so there are no SNR weights then
        unweighted = {"snr_source": "none"} if n == 1 else {}
        words = "1 test repeat of each image, no SNR weights" if n == 1 else f"{n} test repeats of each image"
        found.append(Variant(f"train repeats {n}", f"full, trained with {words}", {"repeats.max_repeats": n, **unweighted}, _BORROWS))
    return tuple(found)


def sweep_plan(
    plan: Plan,
    subject: SubjectEntry,
    regions: Mapping[str, str],
    exclude: Sequence[Sequence[int]],
    device: str,
) -> SweepPlan:
    """Turn a plan into that of a sweep.

    Parameters
    ----------
    plan : Plan
    subject : SubjectEntry, its name is replaced
    regions : mapping of region to expression; `MAIN` and those that have a training of their own
    exclude : sequence of lists of int, numbers of the test images of each fold
    device : str

    Returns
    -------
    SweepPlan
    """
    ablations = [AblationEntry(name=each.name, settings=dict(each.settings), train=dict(each.train)) for each in plan.variants]
    ablations += [
        AblationEntry(name=_fold(number), settings={"repeats.exclude": list(images)}, train=_BORROWS)
        for number, images in enumerate(exclude)
    ]
    others = [entry.name for entry in ablations if entry.name != "full"]
    apart = [name for name in regions if name != MAIN]
    once = [entry.name for entry in ablations if not _is_averaged(plan, entry.name)]
    later = list(range(1, plan.runs))
    left_out = [ExcludeEntry(region=tuple(apart), ablation=tuple(others))] if apart and others else []
    left_out += [ExcludeEntry(region=tuple(apart), seed=tuple(later))] if apart and later else []
    left_out += [ExcludeEntry(ablation=tuple(once), seed=tuple(later))] if once and later else []
    return SweepPlan(
        subjects=(subject.model_copy(update={"name": _SUBJECT}),),
        methods=(MethodEntry(name=plan.method, method=plan.method, preset=plan.preset, settings=dict(plan.settings)),),
        ablations=tuple(ablations),
        regions=tuple(RegionEntry(name=name, region=expression) for name, expression in regions.items()),
        seeds=tuple(range(plan.runs)),
        exclude=tuple(left_out),
        device=device,
    )


def rows_of(plan: Plan, regions: Mapping[str, str], same: Sequence[str], lacking: Mapping[str, str], n_folds: int) -> list[Row]:
    """List the rows of the report, those that cannot be run included.

    Parameters
    ----------
    plan : Plan
    regions : mapping of region to expression, as `sweep_plan` takes it
    same : sequence of str, regions of the plan that are the main one's voxels
    lacking : mapping of region of the plan to why the subject has none
    n_folds : int, parts of the test images that there are

    Returns
    -------
    list of Row, `full` first
    """
    names = {variant.name: (variant.title, [variant.name]) for variant in plan.variants}
    if n_folds:
        names["excluded"] = (f"full, each image's own test responses excluded ({n_folds} folds)", [_fold(n) for n in range(n_folds)])
    elif plan.folds:
        names["excluded"] = ("full, each image's own test responses excluded", [])
    rows: list[Row] = []
    for name, (title, ablations) in names.items():
        seeds = range(plan.runs if name in plan.averaged else 1)
        runs = tuple(tuple(_at(plan, each, MAIN, seed) for each in ablations) for seed in seeds)
        why = "" if ablations else "the test images come from fewer than two photographs or classes, so there are no folds"
        rows.append(Row(name, title, runs[:1] if ablations else (), why))
        if ablations and len(runs) > 1:
            rows.append(Row(averaged_name(name, len(runs)), f"{title}; mean of {len(runs)} runs", runs))
    for name in plan.regions:
        words = f"full, all voxels but {name.removeprefix(WITHOUT)}" if name.startswith(WITHOUT) else f"full, voxels of {name}"
        if name in lacking:
            rows.append(Row(name, words, why=lacking[name]))
        else:
            region = MAIN if name in same else name
            also = ", the same as full" if region == MAIN else ""
            rows.append(Row(name, f"{words} ({regions[region]}{also})", ((_at(plan, "full", region, 0),),)))
    return rows


def averaged_name(row: str, runs: int) -> str:
    """Name of the row in which the runs of another one are averaged."""
    return f"{row}, {runs} runs"


def _fold(number: int) -> str:
    return f"excluded {number + 1}"


def _is_averaged(plan: Plan, ablation: str) -> bool:
    return ablation in plan.averaged or ("excluded" in plan.averaged and ablation.startswith("excluded "))


def _at(plan: Plan, ablation: str, region: str, seed: int) -> Coordinates:
    return Coordinates(_SUBJECT, plan.method, ablation, region, seed)
