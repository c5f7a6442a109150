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
    run = parts.run or "RUN"
    no_maps = "" if parts.maps else f"no maps yet; make them: brain2pix maps {run}"
    meshes = set(subject.meshes())
    drawable = any(all((hemi, kind) in meshes for hemi in "LR") for kind in SURFACES)
    placed = {(hemi, kind) for hemi in "LR" for kind in ("white", "pial")} <= meshes
    no_surface = "" if drawable and placed else "the subject has no inflated or flat surfaces with white and pial of both hemispheres"
    no_record = "" if record else "nothing is stimulated; choose a region in step 5, or give a record with --record"
    no_model = "" if parts.model else "no trained model"
    return {
        "maps": no_maps or no_surface,
        "coverage": no_maps,
        "reconstructions": "" if parts.pictures else f"no reconstructions yet; make them: brain2pix decode {run}",
        "stimulation": no_model or no_record,
        "map-files": no_maps,
        "scores": "" if parts.scores else f"no scores yet; make them: brain2pix evaluate {run}",
        "record": no_record,
    }
