"""What is looked at before a training starts. No Qt; quick, for it runs while the user types."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from brain2pix.compute.engine.states import WHY_NOT, standing_of
from brain2pix.data.regions import region_mask
from brain2pix.data.stacks import image_files, open_stack
from brain2pix.errors import Brain2PixError

if TYPE_CHECKING:
    from brain2pix.compute.spec import JobSpec
    from brain2pix.data.subject import Subject

# Two checkpoints with their optimizers and the model: some 100 MB at the demo's size, some GB for the published networks.
TIGHT_BYTES, NOT_ENOUGH_BYTES = 5e9, 5e8
SIGNS = {"good": "✓", "mind": "⚠", "stop": "✗"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    level : "good"; "mind": it can start, but mind this; "stop": it cannot start
    text : str
    """

    level: Literal["good", "mind", "stop"]
    text: str


def training_checks(subject: "Subject", spec: "JobSpec") -> list[Check]:
    """Look at all that a training needs.

    Parameters
    ----------
    subject : Subject
    spec : JobSpec of kind "train"
    """
    region = str(spec.params["region"])
    checks = [pairs_check(subject), region_check(subject, region), unpaired_check(subject)]
    if spec.params.get("repeats_split") and not (subject.trials["split"] == "test").any():
        checks.append(Check("mind", "no test trials: nothing will be left to judge the result by"))
    folder = Path(str(spec.folder))
    return [*checks, folder_check(spec), disk_check(folder)]


def pairs_check(subject: "Subject") -> Check:
    """Whether there are trials to train on."""
    rows = subject.trials["split"] == "train"
    if not rows.any():
        splits = ", ".join(sorted({str(name) for name in subject.trials["split"]})) or "none"
        return Check("stop", f"no training pairs: no trial has the split “train” (splits here: {splits}); open another subject")
    n_images = subject.trials.loc[rows, "stimulus_id"].nunique()
    return Check("good", f"{int(rows.sum()):,} training pairs of {n_images:,} images")


def region_check(subject: "Subject", region: str) -> Check:
    """Whether the region selects voxels."""
    try:
        n_voxels = int(np.asarray(region_mask(region, subject.areas)).sum())
    except Brain2PixError as error:
        return Check("stop", str(error))
    return Check("good", f"{n_voxels:,} voxels")


def unpaired_check(subject: "Subject") -> Check:
    """How many images without responses there are."""
    stimuli = subject.root / "stimuli"
    try:
        if (stimuli / "unpaired.npy").exists():
            n_images = len(open_stack(stimuli / "unpaired.npy"))
        else:
            n_images = len(image_files(stimuli / "unpaired")) if (stimuli / "unpaired").is_dir() else 0
    except (Brain2PixError, OSError) as error:
        return Check("stop", str(error))
    if not n_images:
        return Check("mind", f"no images without responses: more photographs in {stimuli / 'unpaired'} help the self-supervised systems")
    return Check("good", f"{n_images:,} images without responses")


def folder_check(spec: "JobSpec") -> Check:
    """Whether the folder is free, or holds the same run, interrupted."""
    try:
        stands = standing_of(spec)
    except (Brain2PixError, OSError) as error:
        return Check("stop", str(error))
    if stands in WHY_NOT:
        return Check("stop", f"the folder {WHY_NOT[stands]}; choose another one")
    if stands != "new":
        return Check("mind", f"the folder holds this very run, {stands}: it goes on from what was saved")
    return Check("good", "the folder is free")


def disk_check(folder: Path) -> Check:
    """Whether the disk has room."""
    place = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if place is None:
        return Check("stop", f"{folder.anchor or folder} does not exist; choose another folder")
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:,.1f} GB free on disk"
    if free < NOT_ENOUGH_BYTES:
        return Check("stop", f"{text}: too little for checkpoints and model; choose another disk")
    return Check("good", text) if free >= TIGHT_BYTES else Check("mind", f"{text}: enough for small systems only")


def free_folder(wanted: Path) -> Path:
    """Give the first of ``NAME``, ``NAME-2``, ``NAME-3`` ... that does not exist."""
    number = 1
    folder = wanted
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
