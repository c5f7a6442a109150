"""Which files of a folder are maps of receptive fields, and what each holds, by its name."""

import re
from typing import TYPE_CHECKING, Any

from brain2pix.data.cifti_files import is_cifti
from brain2pix.data.prf_files.conventions import CONVENTIONS
from brain2pix.data.prf_files.tables import TABLES
from brain2pix.data.volumes import join_names, require_file
from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.files import read_json_if_there

if TYPE_CHECKING:
    from pathlib import Path

# Our JSON names the convention of the files beside it by this key.
CONVENTION_KEY = "ConventionName"
VOLUMES = (".nii", ".nii.gz")
SURFACES = (".mgz", ".mgh", ".gii")
_KNOWN = frozenset(name.lower() for one in CONVENTIONS.values() for names in one.names.values() for name in names)
_MOST_FILES = 20_000  # of a folder


def key_of(path: "Path") -> str:
    """Name of a map by its file, without hemisphere, version and suffix: ``lh.benson14_angle.v4_0.mgz`` is benson14_angle."""
    name = path.name.lower()
    name = re.sub(r"\.(nii\.gz|nii|mgz|mgh\.gz|mgh|gii\.gz|gii)$", "", name)
    name = re.sub(r"\.(func|shape|surf|label)$", "", name)
    name = re.sub(r"\.v\d+(_\d+)*$", "", name)
    name = re.sub(r"^[lr]h[._]", "", name)
    name = re.sub(r"(^|_)hemi-[lr](?=_|$)", "", name)
    return re.sub(r"[.\-]", "_", name).strip("_")


def maps_in_folder(folder: "Path") -> "list[Path]":
    """List the files of a folder whose names say that they hold a quantity of receptive fields.

    Raises
    ------
    DataFormatError
        If the folder holds more files than anyone should look through.
    """
    files = []
    for number, file in enumerate(sorted(folder.iterdir())):
        if number >= _MOST_FILES:
            raise DataFormatError(f"{folder} holds more than {_MOST_FILES} files; give one of the maps")
        if _is_map(file) and _bears_a_name(key_of(file)):
            files.append(file)
    return files


def maps_like(path: "Path") -> "list[Path]":
    """List the maps of both hemispheres that are named like one, but for the quantity."""
    require_file(path, "map")
    if not _is_map(path):
        return []
    start = _prefix(key_of(path))
    if start is None:
        names = ", ".join(sorted(_KNOWN))
        raise DataFormatError(f"the name of {path.name} does not say what it holds; expected one that ends in one of: {names}")
    return [file for file in maps_in_folder(path.parent) if _suffix(file) == _suffix(path) and _prefix(key_of(file)) == start]


def single_file(path: "Path") -> "Path":
    """Table or result to read where there are no maps."""
    if not path.is_dir():
        if path.suffix.lower() in (*TABLES, ".mat"):
            return path
        raise DataFormatError(f"{path.name}: expected NIfTI, MGZ, GIFTI or FreeSurfer maps, a table ({', '.join(TABLES)}) or a .mat file")
    found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in (*TABLES, ".mat") and file.is_file()]
    if len(found) != 1:
        told = (
            f"{len(found)} tables ({join_names(file.name for file in found)}); give one of them" if found else "no maps of receptive fields"
        )
        raise MissingDataError(
            f"{path} holds {told}. Expected e.g. prf_angle.nii.gz, lh.prfangle.mgz, lh.benson14_angle.mgz, *_centerx0.nii.gz, "
            "a table or a .mat file"
        )
    return found[0]


def _suffix(path: "Path") -> str:
    name = path.name.lower()
    return next((end for end in (*VOLUMES, *SURFACES) if name.endswith(end)), "")


def _is_map(path: "Path") -> bool:
    plain = not path.suffix and path.name[:3].lower() in ("lh.", "rh.")
    morphometry = path.name[:3].lower() in ("lh.", "rh.") and path.name.count(".") == 1
    return (bool(_suffix(path)) or plain or morphometry) and not path.is_dir()


def of_one_kind(files: "list[Path]") -> "list[Path]":
    """Files of the suffix that most have: one map is often written in several kinds of file."""
    kinds = [_suffix(file) for file in files]
    most = max(dict.fromkeys((*SURFACES, *kinds)), key=kinds.count)
    return [file for file, kind in zip(files, kinds, strict=True) if kind == most]


def _prefix(key: str) -> str | None:
    """Give what stands before the name of a quantity; None if there is no such name."""
    found = [name for name in _KNOWN if key == name or key.endswith(f"_{name}")]
    return key[: len(key) - max(map(len, found))] if found else None


def _bears_a_name(key: str) -> bool:
    return _prefix(key) is not None


def is_volume(path: "Path") -> bool:
    """Whether a map is a NIfTI volume, and no map of vertices.

    Raises
    ------
    MissingDataError
        If its content is not on this machine.
    """
    if _suffix(path) not in VOLUMES or path.name[:3].lower() in ("lh.", "rh.") or "hemi-" in path.name:
        return False
    require_file(path, "map")
    return not is_cifti(path)


def description_of(file: "Path") -> dict[str, Any]:
    """Read the JSON of a file, or the one JSON of the maps in its folder; empty where there is none that can be read."""
    own = file.with_suffix(".json")
    places = [own] if own.is_file() else sorted(file.parent.glob("*_prf.json"))
    return read_json_if_there(places[0]) if len(places) == 1 else {}
