"""Find the areas of the papers among those of a subject."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.reproduce.plans import WITHOUT
from brain2pix.data.regions import default_region

if TYPE_CHECKING:
    from brain2pix.data.subject import Subject

# What the papers call an area, and the expressions that give it, the first one whose areas the subject has.
_AREAS = {
    "V1": ("V1",),
    "LVC": ("LVC", "V1 + V2 + V3"),
    "HVC": ("HVC", "FFA + PPA + LOC", "FFA + PPA + LO"),
    "VC": ("VC", "V1 + V2 + V3 + V4 + HVC", "V1 + V2 + V3 + V4 + FFA + PPA + LOC", "V1 + V2 + V3 + hV4 + FFA + PPA + LO"),
}
_REMOVED = {"V1": ("V1",), "V2": ("V2",), "V3": ("V3",), "V4": ("V4", "hV4"), "FFA": ("FFA",), "PPA": ("PPA",), "LOC": ("LOC", "LO")}


@dataclass(frozen=True)
class Regions:
    """Areas of a subject.

    Parameters
    ----------
    main : str, expression of all voxels: VC as published where the subject has it, else the default of a training
    found : dict of area, or "without " and an area, to its expression
    same : list of str, those whose voxels are the main ones
    lacking : dict of those that the subject lacks to why
    """

    main: str
    found: dict[str, str]
    same: list[str]
    lacking: dict[str, str] = field(default_factory=dict)


def find_regions(subject: "Subject") -> Regions:
    """Find the areas of the papers in a subject, and the main region without each of its areas."""
    found, lacking = {}, {}
    outside = " - outside" if "outside" in subject.areas else ""
    for name, expressions in _AREAS.items():
        able = [each for each in expressions if not _lacks(each, subject)]
        if able:
            found[name] = able[0] + outside
        else:
            lacking[name] = f"{subject.name} has no {name}, and no {' or '.join(_lacks(expressions[-1], subject))} to make it of"
    main = found.get("VC") or default_region(subject.areas)
    voxels = subject.select(main)
    same = [name for name, each in found.items() if np.array_equal(subject.select(each), voxels)]
    for name, synonyms in _REMOVED.items():
        area = next((each for each in synonyms if each in subject.areas), None)
        inside = 0 if area is None else int(subject.areas[area][voxels].sum())
        if area is None:
            lacking[WITHOUT + name] = f"{subject.name} has no {' or '.join(synonyms)}"
        elif 0 < inside < voxels.size:
            found[WITHOUT + name] = f"{main} - {area}"
        else:
            lacking[WITHOUT + name] = f"{main} has no voxel {'in' if inside == 0 else 'outside'} {area}"
    return Regions(main, found, same, lacking)


def _lacks(expression: str, subject: "Subject") -> list[str]:
    return [name for name in re.findall(r"\w+", expression) if name not in subject.areas]
