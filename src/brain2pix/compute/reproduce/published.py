"""Numbers that the papers print, where they stand, and what they cannot be compared with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

GAZIV = "Gaziv et al. 2022, doi:10.1016/j.neuroimage.2022.119121"
BELIY = "Beliy et al. 2019, arXiv:1907.02431"
PROGRAM = "released program of Gaziv et al. (its stored evaluation)"
GOD, VIM = "GOD", "vim-1"


@dataclass(frozen=True)
class Published:
    """One number of a paper.

    Parameters
    ----------
    quantity : str, what it is, in words
    value : str, as printed, with its spread and unit
    source : str
    data : str, "GOD" or "vim-1"; empty where it does not say
    subject : int or None, number of the person
    n : str, images or people behind it
    at : tuple of str, (part, row, score) of our line that stands beside it; empty if nothing here measures it
    runs : int, reconstructions that were averaged
    note : str, what else differs, whatever the data
    """

    quantity: str
    value: str
    source: str
    data: str = ""
    subject: int | None = None
    n: str = ""
    at: tuple[str, ...] = ()
    runs: int = 1
    note: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What a report was made with, as far as it decides whether a published number may stand beside it.

    Parameters
    ----------
    data : str, "GOD", "vim-1" or empty for other data
    subject : int or None, number of the person
    simulated : bool
    short : bool, whether the plan trains less than the paper
    runs : mapping of row to the number of runs that were averaged
    network : str, whose features classify
    """

    data: str
    subject: int | None
    simulated: bool
    short: bool
    runs: Mapping[str, int]
    network: str = "alexnet"


_POOL = "distractors of the paper: not stated (its program: ImageNet validation images); here: the other test images"
_RANKS = {1: ("136.0 (SE 48.3)", "106.0 (SE 43.1)"), 2: ("156.5 (SE 48.1)", "75.5 (SE 35.8)"), 3: ("118.0 (SE 37.0)", "38.5 (SE 26.8)"),
          4: ("165.0 (SE 49.9)", "71.5 (SE 23.8)"), 5: ("212.5 (SE 40.0)", "87.0 (SE 31.5)")}  # fmt: skip
_CEILINGS = {1: ".56 (SD .28)", 2: ".57 (SD .30)", 3: ".73 (SD .28)", 4: ".68 (SD .30)", 5: ".58 (SD .29)"}
_GALLERY = "gallery of 1,030 classes, of which 980 are ImageNet's"
_UNSTATED = "formula not stated; here: root of Spearman-Brown of random half splits"


def _gaziv() -> list[Published]:
    two_way = ("identification", "full", "vgg16 2-way")
    found = [
        Published("2-way identification, perceptual", "99.3 % (SEM .3)", GAZIV, GOD, 3, "50 images", two_way, note=_POOL),
        Published("2-way identification, perceptual", "89.2 % (SEM 1.6)", GAZIV, VIM, 1, "120 images", two_way, note=_POOL),
        Published("2-way identification by people", "88.4 % (SEM 1.1)", GAZIV, GOD, None, "45 people"),
        Published("5-way identification by people", "73.4 % (SEM 1.9)", GAZIV, GOD, None, "45 people"),
        Published("2-way identification by people", "78.2 % (SEM 1.8)", GAZIV, VIM, None, "45 people"),
        Published("5-way identification by people", "51.8 % (SEM 2.2)", GAZIV, VIM, None, "45 people"),
        Published("share of voxels with a confined receptive field", "about 85 %", GAZIV, at=("maps", "full", "kept"),
                  note="criterion not stated"),
        Published("training time", "about 1.5 h on one V100", GAZIV, at=("seconds", "full", "training")),
    ]  # fmt: skip
    for subject, (supervised, full) in _RANKS.items():
        for row, value in (("supervised", supervised), ("full", full)):
            at = ("classification", row, "median rank")
            found.append(Published(f"median rank of the true class, {row}", value, GAZIV, GOD, subject, "50 images", at, note=_GALLERY))
    for ways, value in (("50-way", "31.7 % (SEM .3)"), ("1000-way", "10.1 % (SEM .2)")):
        at = ("classification", "full", ways)
        found.append(Published(f"{ways} classification", value, GAZIV, GOD, 3, "50 images", at, note=_GALLERY))
    for subject, value in _CEILINGS.items():
        at = ("ceiling", "all voxels of the training", "median ceiling")
        found.append(Published("median noise ceiling", value, GAZIV, GOD, subject, "", at, note=_UNSTATED))
    without = "run without test responses; distractors: ImageNet validation images, 10 draws"
    for score, value in (("5-way", ".952 (SEM .014)"), ("10-way", ".920 (SEM .024)")):
        at = ("identification", "images", f"vgg16 {score}")
        found.append(Published(f"{score} identification, uncalibrated VGG16", value, PROGRAM, GOD, 3, "50 images", at, note=without))
    at = ("rank", "images", "vgg16 rank")
    return [*found, Published("normalised rank, uncalibrated VGG16", ".0135 / .0107", PROGRAM, GOD, 3, "50 images", at, note=without)]


def _beliy() -> list[Published]:
    rows = {"supervised": "80.1 %", "images": "83.2 %", "full": "85.3 %", "excluded": "84.1 %"}
    words = {"supervised": "pairs only", "images": "+ images", "full": "full", "excluded": "full, target's test responses excluded"}
    pool = "distractors of the paper: not stated; here: the other test images"
    found = [
        Published(f"2-way identification, pixel correlation: {words[row]}", value, BELIY, GOD, None, "50 images",
                  ("identification", row, "pixel 2-way"), 20, pool)
        for row, value in rows.items()
    ]  # fmt: skip
    at = ("identification", "full", "pixel 2-way")
    return [
        *found,
        Published("2-way identification, pixel correlation: full", "70.5 %", BELIY, VIM, 1, "120 images", at, 10, pool),
        Published("training time", "about 15 min on one V100", BELIY, at=("seconds", "full", "training")),
    ]


PUBLISHED: dict[str, tuple[Published, ...]] = {"gaziv": tuple(_gaziv()), "beliy": tuple(_beliy())}


def not_comparable(entry: Published, here: Circumstances) -> list[str]:
    """Say why a published number cannot be compared with the one that stands beside it; empty if nothing speaks against it."""
    reasons = []
    if here.simulated:
        reasons.append("here the subject is simulated")
    elif entry.data and entry.data != here.data:
        reasons.append(f"other data: {entry.data}")
    elif entry.data and entry.subject is not None and entry.subject != here.subject:
        reasons.append(f"other person: subject {entry.subject}")
    if entry.at[:1] == ("classification",) and here.network != "alexnet":
        reasons.append("features of AlexNet, here of the bundled network")
    if here.short:
        reasons.append("here a short training")
    runs = here.runs.get(entry.at[1], 1) if entry.runs > 1 else 1
    if entry.runs != runs:
        reasons.append(f"mean of {entry.runs} runs, here of {runs}")
    return [*reasons, *([entry.note] if entry.note else [])]


def data_of(title: str) -> str:
    """Tell which of the papers' datasets an imported subject is of, by its dataset's name; empty for any other."""
    if title.startswith("Generic Object Decoding"):
        return GOD
    return VIM if title.startswith("vim-1") else ""


def person_of(name: str) -> int | None:
    """Tell the number of a person from a subject's name, "sub-03"."""
    found = re.search(r"(\d+)$", name)
    return int(found[1]) if found else None
