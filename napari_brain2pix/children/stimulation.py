"""What was stimulated last, and what is known of it. No Qt, no napari, no torch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from brain2pix.arrays import SubjectInfo
    from brain2pix.data.subject import Subject
    from brain2pix.stimulation import StimulationRecord

SIDES = {"right half": {"upper_right", "lower_right"}, "left half": {"upper_left", "lower_left"}}
SIDES |= {"upper half": {"upper_right", "upper_left"}, "lower half": {"lower_right", "lower_left"}}


@dataclass(frozen=True)
class Stimulation:
    """A stimulation that the live decoder has answered.

    Parameters
    ----------
    request : dict, as it was asked: `stimulus_id`, `repeat`, `split`, `region`, `areas`, `mode`, `amplitude`, `field`
    info : SubjectInfo of the model: its voxels in its order
    method, model : str, of the model: its name and where it is
    measures : dict, of `brain2pix.compute.live`; empty until they have come
    """

    request: dict[str, Any]
    info: "SubjectInfo"
    method: str
    model: str
    measures: dict[str, Any] = field(default_factory=dict)

    def record(self, subject: "Subject") -> "StimulationRecord":
        """Give what is needed to run it again, with the voxels that were stimulated.

        Parameters
        ----------
        subject : Subject whose voxels the areas of the request speak of
        """
        from brain2pix.data.regions import region_mask
        from brain2pix.stimulation import make_record

        request, distance, share = self.request, self.measures.get("distance") or {}, self.measures.get("share") or {}
        areas = dict(subject.areas)
        for name, rows in request.get("areas", {}).items():
            areas[name] = np.isin(np.arange(subject.n_voxels), rows)
        return make_record(
            self.info,
            region_mask(request["region"], {name: mask[self.info.voxel_index] for name, mask in areas.items()}),
            request["mode"],
            request["amplitude"],
            method=self.method,
            model=self.model,
            base=request["stimulus_id"],
            repeat=request.get("repeat"),
            split=request.get("split"),
            region=request["region"],
            excess=distance.get("excess"),
            percentile=distance.get("percentile"),
            quadrant_share=share.get("share"),
            control_share=share.get("control"),
        )


def describe_request(request: dict[str, Any]) -> str:
    """Say a stimulation in a few words."""
    amplitude = float(request["amplitude"])
    words = {"add": f"{amplitude:+.4g} sd", "set": f"= {amplitude:.4g} sd", "scale": f"× {amplitude:.4g}", "silence": "silenced"}
    return f"{request['region']} {words.get(request['mode'], f'{amplitude:g}')}"


def describe_share(share: dict[str, Any] | None, quadrants: list[str]) -> str:
    """Say how much of the change lies where the voxels look, with its chance level and its control; empty if that is not known."""
    if not share:
        return ""
    control = share.get("control")
    random = "" if control is None else f"; as many random voxels: {control:.0%}"
    return (
        f"{share['share']:.0%} of the change lies in {_place(quadrants)}, where these voxels look (chance {share['chance']:.0%}{random})."
    )


def _place(quadrants: list[str]) -> str:
    found = set(quadrants)
    for words, side in SIDES.items():
        if found == side:
            return f"the {words}"
    return "the " + " and ".join(name.replace("_", " ") for name in quadrants) + (" quadrant" if len(found) == 1 else " quadrants")


DISTANCE_MEANS = (
    "How far the stimulated response pattern lies from measured ones: its distance (Mahalanobis, over the leading principal components of "
    "the training responses and their rest) divided by the distance that {quantile:.0%} of {n_held_out:,} single held-out trials keep. "
    "Above 1 the model is asked about responses that it has never seen. Without stimulation: {base_excess:.2g}."
)


def describe_badge(distance: dict[str, Any]) -> tuple[bool | None, str, str]:
    """Say whether a stimulated response is like measured ones.

    Parameters
    ----------
    distance : dict, of `brain2pix.compute.live`; empty while it is being measured

    Returns
    -------
    bool or None, whether it is; None if that is not known
    str, in words
    str, what the words mean
    """
    if not distance:
        return None, "Comparing with measured responses …", ""
    if distance.get("problem"):
        return None, f"Not known whether this is like measured responses: {distance['problem']}", ""
    text = str(distance["text"])
    inside = not text.startswith("out of")
    words = text[:1].upper() + text[1:]
    return inside, f"{words}." if inside else f"{words}: the picture may be meaningless.", DISTANCE_MEANS.format(**distance)
