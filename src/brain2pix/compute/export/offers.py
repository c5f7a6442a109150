"""What can be exported from a folder, and for the rest the reason."""

from typing import TYPE_CHECKING

from brain2pix.config.export import SURFACES

if TYPE_CHECKING:
    from brain2pix.compute.parts import Parts
    from brain2pix.data.subject import Subject


def why_not(parts: "Parts", subject: "Subject", *, record: bool) -> dict[str, str]:
    """Say for each kind of export why there is nothing; empty text where there is something.

    Parameters
    ----------
    parts : Parts
    subject : Subject, opened
    record : bool, whether there is the record of a stimulation
    """
    no_maps = "" if parts.maps else "no maps yet"
    measured = parts.accuracy is not None or (parts.maps is not None and any(parts.maps.glob("*_prediction.nii*")))
    meshes = set(subject.meshes())
    drawable = any(all((hemi, kind) in meshes for hemi in "LR") for kind in SURFACES)
    placed = {(hemi, kind) for hemi in "LR" for kind in ("white", "pial")} <= meshes
    no_surface = "" if drawable and placed else "the subject has no inflated or flat surfaces with white and pial of both hemispheres"
    no_record = "" if record else "nothing is stimulated"
    no_model = "" if parts.model else "no trained model"
    return {
        "maps": ("" if parts.accuracy else no_maps) or no_surface,
        "coverage": no_maps,
        "reconstructions": "" if parts.pictures else "no reconstructions yet",
        "stimulation": no_model or no_record,
        "map-files": no_maps,
        "scores": "" if parts.scores or parts.image_scores else "no scores yet",
        "record": no_record,
        "accuracy": "" if measured else "no accuracy of an encoder yet",
    }


def remedy(parts: "Parts", reason: str) -> str:
    """Say which command makes what is missing; empty text if none does."""
    run = parts.run or "RUN"
    commands = {
        "no maps yet": f"make them: brain2pix maps {run}; or import some: brain2pix prf import SOURCE SUBJECT",
        "no reconstructions yet": f"make them: brain2pix decode {run}",
        "no scores yet": f"make them: brain2pix evaluate {run}",
        "no accuracy of an encoder yet": f"measure it, of a system that has one: brain2pix evaluate {run}",
        "nothing is stimulated": "give the record of a stimulation with --record",
        "no trained model": "train one: brain2pix train SUBJECT",
    }
    return commands.get(reason, "")
