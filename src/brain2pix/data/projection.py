"""Files from a volume to a subject's surfaces, and from surfaces to the grid of its voxels."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain2pix.anatomy.sampling import DEPTHS, How
from brain2pix.anatomy.surfaces import HEMISPHERES, Mesh
from brain2pix.data.loose_files import is_volume
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.files import atomic_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from brain2pix.data.subject import Subject

LEAST_COVERAGE = 0.25
SIDES = {"L": "left", "R": "right"}
UNNAMED = ("", "unknown", "none", "background", "???", "medial_wall", "medial wall")  # what label 0 may be called
_ANGLES = re.compile(r"angle|phase|theta|polar", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """How values are taken from one to the other.

    Parameters
    ----------
    how : {"linear", "nearest", "label"} or None: "label" where the file holds labels, else "linear"
    depths : sequence of float, of the samples between white (0) and pial (1)
    least_coverage : float, a vertex or voxel of which less than this share has a value gets none
    """

    how: How | None = None
    depths: "Sequence[float]" = DEPTHS
    least_coverage: float = LEAST_COVERAGE


@dataclass(frozen=True)
class Output:
    """A folder that is being filled, and what is said of it.

    Parameters
    ----------
    folder : Path
    subject : Subject
    files : list of str, names of what was written
    lines : list of str, what was covered, and what may mislead
    """

    folder: "Path"
    subject: "Subject"
    files: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def path(self, name: str) -> "Path":
        """Place for a file."""
        self.files.append(name)
        return self.folder / name

    def ribbons(self) -> dict[str, tuple[Mesh, Mesh]]:
        """White and pial of each hemisphere that has both.

        Raises
        ------
        MissingDataError
            If none has.
        """
        there = set(self.subject.meshes())
        found = [hemi for hemi in HEMISPHERES if {(hemi, "white"), (hemi, "pial")} <= there]
        if not found:
            raise MissingDataError(
                f"{self.subject.path / 'anat'} holds no hemisphere with white and pial surface (*_hemi-L_white.surf.gii, "
                "*_hemi-L_pial.surf.gii); nothing can be projected without them"
            )
        for hemi in set(HEMISPHERES) - set(found):
            self.lines.append(f"the {SIDES[hemi]} hemisphere has no white and pial surface and is left out")
        return {hemi: (self.subject.mesh(hemi, "white"), self.subject.mesh(hemi, "pial")) for hemi in found}


def project(source: "Path", subject: "Subject", out: "Path", options: Options | None = None) -> "tuple[list[Path], list[str]]":
    """Take a volume to the surfaces of a subject, or values of vertices to the grid of its voxels; all files are written or none.

    Parameters
    ----------
    source : Path, a volume (NIfTI, ``.mgz``), values of vertices (GIFTI, FreeSurfer, CIFTI-2; that of the other hemisphere beside it is
        taken too), or a folder of maps of receptive fields: volumes ``*_x0.nii.gz`` …, else surfaces ``*_hemi-L_*_x0.func.gii`` …
    subject : Subject
    out : Path, folder to make
    options : Options or None

    Returns
    -------
    files : list of Path
    lines : list of str, what was covered

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError
        If the source cannot be read, is not of this subject, holds polar angles, or `out` is not empty.
    """
    from brain2pix.data import onto_surfaces, onto_volume

    given = options or Options()
    if not 0 <= given.least_coverage <= 1:
        raise ConfigError(f"the least coverage is a share in 0..1, got {given.least_coverage:g}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an empty folder; choose another place or remove it first")
    if not source.exists():
        raise MissingDataError(f"{source} does not exist; give a volume, values of vertices, or a folder with maps of x0 and y0")
    with atomic_folder(out) as beside:
        output = Output(beside, subject)
        if source.is_dir() and any(source.glob("*_x0.nii*")):
            onto_surfaces.project_maps(source, output, given)
        elif source.is_dir():
            onto_volume.project_maps(source, output, given)
        elif is_volume(source):
            onto_surfaces.project_volume(source, output, given)
        else:
            onto_volume.project_values(source, output, given)
    return [out / name for name in output.files], output.lines


def refuse_angles(path: "Path", hint: str) -> None:
    """Refuse to average what its name calls an angle: 350 and 10 degrees would become 180.

    Raises
    ------
    ConfigError
    """
    if _ANGLES.search(path.name):
        raise ConfigError(
            f"{path.name} looks like polar angles, which have no mean: 350 and 10 degrees would become 180. Project the folder with "
            f"the maps of x0 and y0, angle and eccentricity are derived from them{hint}"
        )
