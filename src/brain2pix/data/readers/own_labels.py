"""What laboratories call their areas: names of files and of labels, the hemisphere in them, and the tables beside label volumes."""

import re
from typing import TYPE_CHECKING

from brain2pix.data.readers._bdata import file_word
from brain2pix.data.readers._reading import check_table
from brain2pix.data.tables import read_json, read_table
from brain2pix.data.volumes import entities, join_names, require_file, stem
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path

_SIDES = {"lh": "L", "rh": "R", "l": "L", "r": "R", "left": "L", "right": "R"}
# Words in names of files and labels that name no area.
_NOISE = frozenset({"mask", "roi", "rois", "bin", "ctx", "label"})
# Entities of BIDS that name no area either; "label", "roi" and "seg" may.
_ENTITY = re.compile(r"(?:^|_)(sub|ses|task|run|acq|space|res|den|desc|from|to|mode|hemi|atlas|label|roi|seg)-[A-Za-z0-9+.]+(?=_|$)")


def name_and_side(text: str) -> tuple[str, str]:
    """Split a name such as "lh.V1v", "V1v_L" or "Left-Thalamus" into the area, letters and digits, and the hemisphere.

    Returns
    -------
    area : str, "" if the name only tells a hemisphere
    side : "L", "R" or ""
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word and word.lower() not in _NOISE]
    side = ""
    for place in (0, -1):
        if words and not side and words[place].lower() in _SIDES:
            side = _SIDES[words.pop(place).lower()]
    return "".join(words), side


def name_of_file(path: "Path") -> tuple[str, str]:
    """Area and hemisphere that the name of a mask tells: by BIDS' label-, roi- and hemi-, else by its words."""
    told, name = entities(path), path.stem if path.suffix == ".npy" else stem(path)
    area, side = name_and_side(told.get("label") or told.get("roi") or _ENTITY.sub("", name))
    side = {"L": "L", "R": "R"}.get(told.get("hemi", ""), side)
    if not area and not side:
        area = file_word(told.get("desc") or name)
    return area, side


def label_names(path: "Path") -> "tuple[dict[int, str], Path | None]":
    """Names of the labels of a volume, from the table beside it.

    That is ``NAME.tsv`` with index and name (BIDS), a colour table of FreeSurfer (``NAME.ctab``, ``NAME.txt``, ``NAME_LUT.txt``,
    ``NAME.lut``), or ``NAME.json`` with names by index.

    Returns
    -------
    names : dict of label to name; empty if there is no table
    place : Path of the table, or None

    Raises
    ------
    DataFormatError
        If a table is there and is none.
    """
    beside = path.with_name
    name = stem(path)
    if (place := beside(f"{name}.tsv")).is_file():
        return _bids_names(place), place
    for suffix in (".ctab", ".txt", "_LUT.txt", "_lut.txt", ".lut"):
        if (place := beside(name + suffix)).is_file():
            return _freesurfer_names(place), place
    if (place := beside(f"{name}.json")).is_file():
        check_table(place, "label table", place.stat().st_size)
        values = read_json(place, "label table")
        for found in (values, *(values.get(key) for key in ("LabelMap", "Labels", "Levels", "labels"))):
            if isinstance(found, dict) and found and all(re.fullmatch(r"\d{1,9}", str(key)) for key in found):
                return {int(key): str(text) for key, text in found.items()}, place
    return {}, None


def _bids_names(place: "Path") -> dict[int, str]:
    check_table(place, "label table", place.stat().st_size)
    table = read_table(place, "label table", ("index", "name"))
    if table["index"].dtype.kind != "i":
        raise DataFormatError(f"label table {place}: 'index' must hold whole numbers, got {join_names(map(str, table['index']))}")
    return {int(index): str(text) for index, text in zip(table["index"], table["name"], strict=True)}


def _freesurfer_names(place: "Path") -> dict[int, str]:
    """Lines of number, name, red, green, blue and alpha; # begins a comment."""
    require_file(place, "label table")
    check_table(place, "label table", place.stat().st_size)
    try:
        text = place.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFormatError(f"label table {place} is not text: {error}") from None
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or not re.fullmatch(r"\d{1,9}", words[0]):
            raise DataFormatError(
                f"label table {place}: line {number} is {line[:60]!r}, expected number, name and colour as FreeSurfer writes them"
            )
        found[int(words[0])] = words[1]
    return found
