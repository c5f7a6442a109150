"""The five steps of the work, and how each stands. No Qt: a workspace and a job are all it knows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_brain2pix.folders.workspace import Workspace

STEPS = {"data": "Data", "train": "Train", "maps": "Maps", "decode": "Decode", "stimulate": "Stimulate"}
# which step a job of the window belongs to
STEP_OF_JOB = {"train": "train", "maps": "maps", "decode": "decode", "evaluate": "decode", "simulate": "data", "reproduce": "train"}


@dataclass(frozen=True)
class Status:
    """How a step stands.

    Parameters
    ----------
    mark : "done", "to do" (it can be done now), "missing" (something else comes first) or "running"
    words : str, what there is, or what to do
    """

    mark: str
    words: str


def step_status(workspace: "Workspace | None", job: dict[str, Any], busy: bool) -> dict[str, Status]:
    """Say how every step stands.

    Parameters
    ----------
    workspace : Workspace or None
    job : dict, description of the job that is shown (``job.json``); empty for none
    busy : bool, whether it is going on
    """
    found = _at_rest(workspace)
    step = STEP_OF_JOB.get(str(job.get("kind")), "")
    if busy and step:
        found[step] = Status("running", "A job is going on; the Jobs tab at the bottom follows it.")
    return found


def _at_rest(workspace: "Workspace | None") -> dict[str, Status]:
    if workspace is None:
        first = Status("missing", "Open a subject first (step Data).")
        return {"data": Status("to do", "Open a subject, or start with the simulated one."), **dict.fromkeys(list(STEPS)[1:], first)}
    trained = workspace.model is not None
    before = "Train a model first (step Train), or open a trained run."
    n_pictures = len(workspace.pictures.stimulus_ids)
    return {
        "data": Status("done", f"{workspace.subject.name} is open{'; see the remarks below' if workspace.notes else ''}."),
        "train": Status("done", "A trained model is here. Train another, or go on to the maps.")
        if trained
        else Status("to do", "Choose a method and press Start training."),
        "maps": _of(workspace.map is not None, trained, "Click the brain or the visual field.", "Press Make maps.", before),
        "decode": _of(
            workspace.pictures.reconstructions is not None,
            trained,
            f"{n_pictures:,} {workspace.split} images are reconstructed.",
            "Press Reconstruct.",
            before,
        ),
        "stimulate": Status("done", "Choose a region and move the amplitude.") if trained else Status("missing", before),
    }


def _of(there: bool, possible: bool, done: str, todo: str, before: str) -> Status:
    return Status("done", done) if there else Status("to do", todo) if possible else Status("missing", before)
