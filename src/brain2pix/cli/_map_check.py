"""What a check of maps found, as lines on stdout."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brain2pix.data.subject import Subject


def map_lines(folder: Path, subject: "Subject") -> list[str]:
    """Hold maps against the brain's own left and right, up and down, against its field signs, and against the imported maps beside them."""
    from brain2pix.data.hemifield import check_sides
    from brain2pix.data.maps import compare_maps, imported_maps, read_imported
    from brain2pix.errors import Brain2PixError

    if not folder.is_dir() or not any(folder.glob("*x0.nii*")):
        return []
    try:
        found = read_imported(folder).on(subject)
        check = check_sides(subject, found)
        imported = imported_maps(subject.path)
        other = None if imported in (None, folder) else imported
        agreement = compare_maps(found, read_imported(other).on(subject)) if other is not None else ""
    except Brain2PixError as error:
        return [f"note      the maps in {folder} cannot be read: {error}"]
    lines = [f"maps      {folder} ({found.source})", *(f"          {line}" for line in map(str, (*check.sides, *check.signs)))]
    lines += [f"          and the imported map: {agreement}"] if agreement else []
    return [*lines, f"WARNING   {check.warning()}"] if check.warning() else lines
