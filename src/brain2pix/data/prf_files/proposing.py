"""Which convention some maps follow, by their names and the range of their numbers, and why."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.prf_files.conventions import CONVENTIONS, by_range
from brain2pix.data.prf_files.finding import CONVENTION_KEY
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain2pix.data.prf_files.conventions import Convention
    from brain2pix.data.prf_files.reading import Source

_ANGLES = ("angle", "ang", "phase", "theta", "polar_angle")
_ECCENTRICITIES = ("eccentricity", "eccen", "ecc", "rho")
# Names that only one program gives. A name may stand at the end of a key.
_SIGNATURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("benson14", ("benson14_angle", "benson14_eccen")),
    ("nsd", ("prfangle", "prfeccentricity")),
    ("nsd", ("prf_angle", "prf_eccentricity")),
    ("analyzeprf", ("ang", "ecc")),
    ("neuropythy-visual", ("polar_angle", "eccentricity")),
    ("prfanalyze", ("centerx0", "centery0")),
    ("prfanalyze", ("mu_x", "mu_y")),
    ("fraction", ("row_centers", "col_centers")),
)


def propose(source: "Source") -> "tuple[Convention, str]":
    """Propose a convention; the user may name another.

    Parameters
    ----------
    source : Source

    Returns
    -------
    convention : Convention
    why : str

    Raises
    ------
    DataFormatError
        If neither names nor numbers tell.
    """
    named = CONVENTIONS.get(str(source.about.get(CONVENTION_KEY)))
    if named is not None and all(source.find(named.names[quantity]) for quantity in named.position):
        return named, "the JSON beside the files names it"
    for name, keys in _SIGNATURES:
        found = [source.find((key,)) for key in keys]
        if all(found):
            return CONVENTIONS[name], f"it has maps called {join_names(keys)}"
    angle, ecc = source.find(_ANGLES), source.find(_ECCENTRICITIES)
    if angle and ecc:
        with np.errstate(invalid="ignore"):
            name, why = by_range(source.values[angle][source.values[ecc] > 0])
        return CONVENTIONS[name], f"{why} ({angle})"
    if source.find(("x0",)) and source.find(("y0",)):
        return _cartesian(source.find)
    raise DataFormatError(
        f"no position among {join_names(source.values, 12) or 'no maps'}: expected x0 and y0 (centerx0, centery0), "
        "or an angle and an eccentricity"
    )


def _cartesian(find: "Callable[[tuple[str, ...]], str]") -> "tuple[Convention, str]":
    x0 = find(("x0",))
    if "desc_" in x0 or x0.endswith("prf_x0"):
        return CONVENTIONS["brain2pix"], f"{x0} is called as our own maps are"
    return CONVENTIONS["prfanalyze"], "it has x0 and y0, taken as degrees, right and up"
