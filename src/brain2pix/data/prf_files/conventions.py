"""What the numbers of other programs' receptive fields mean, by name. Everything is converted here, at the edge, and nowhere else.

Inside: x0 right, y0 up, degrees from fixation; an angle is only ever derived.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from brain2pix.errors import ConfigError, DataFormatError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Zero = Literal["right", "up"]
Direction = Literal["counter-clockwise", "clockwise"]
AngleUnit = Literal["deg", "rad"]

# Fewer values than these have no range to speak of.
_FEWEST = 20
_TURN = 2 * np.pi
_ROUNDING_DEG = 1e-4
# What an optimiser's bounds look like in the published files: the fit ran off.
CAP_DEG = 1000.0


@dataclass(frozen=True)
class Angle:
    """How an angle is counted.

    Parameters
    ----------
    zero : "right" for the right horizontal meridian, "up" for the upper vertical one
    direction : "counter-clockwise" or "clockwise"
    unit : "deg" or "rad"
    low, high : float, degrees, range of the published files
    unsigned : bool, counted from the meridian towards the side that the hemisphere sees; the same numbers in both hemispheres
    checked : bool, whether a range that does not fit is refused
    """

    zero: Zero
    direction: Direction
    unit: AngleUnit
    low: float
    high: float
    unsigned: bool = False
    checked: bool = True

    def __str__(self) -> str:
        if self.unsigned:
            return f"0 = {self.zero}, towards the side that the hemisphere sees, {self.unit}"
        return f"0 = {self.zero}, {self.direction}, {self.unit}"

    def to_ours(self, angle: "NDArray[np.floating]", hemi: "NDArray[np.str_]") -> "NDArray[np.float64]":
        """Angles in radians, 0 = right, counter-clockwise; those of no hemisphere are NaN where the hemisphere decides."""
        turned = np.asarray(angle, dtype=np.float64) if self.unit == "rad" else np.radians(np.asarray(angle, dtype=np.float64))
        if self.unsigned:
            turned = turned * _side(hemi)
        turned = -turned if self.direction == "clockwise" else turned
        return turned + (np.pi / 2 if self.zero == "up" else 0)

    def from_ours(self, angle: "NDArray[np.floating]", hemi: "NDArray[np.str_]") -> "NDArray[np.float64]":
        """Invert `to_ours`; NaN where an unsigned angle cannot say it, in the half of the field that the hemisphere does not see."""
        turned = np.asarray(angle, dtype=np.float64) - (np.pi / 2 if self.zero == "up" else 0)
        turned = np.degrees(-turned if self.direction == "clockwise" else turned)
        if self.unsigned:
            turned = turned * _side(hemi)
        turned = self.low + (turned - self.low) % 360
        if self.unsigned:  # on a meridian, rounding must not lead to the other half
            turned = np.where(
                turned > 360 - _ROUNDING_DEG, 0, np.where(turned > 180, np.where(turned > 180 + _ROUNDING_DEG, np.nan, 180), turned)
            )
        return np.radians(turned) if self.unit == "rad" else turned


@dataclass(frozen=True)
class Convention:
    """A named convention.

    Parameters
    ----------
    name : str
    title : str, whose it is
    names : mapping of quantity to what files and columns call it; the first is what we write
    angle : Angle, or None where positions are Cartesian
    y_down : bool, whether y0 grows downwards
    length : "deg", "px" of the aperture, or "field": shares of the field of view
    size : "effective" (sigma over the root of the exponent) or "sigma" of the Gaussian
    percent : bool, whether R2 is in percent
    surface_prefix, volume_prefix : str, before a quantity's name in the names of files that we write
    refuse : str, why it is not read without more being said; "" for most
    """

    name: str
    title: str
    names: "Mapping[str, tuple[str, ...]]"
    angle: Angle | None = None
    y_down: bool = False
    length: Literal["deg", "px", "field"] = "deg"
    size: Literal["effective", "sigma"] = "sigma"
    percent: bool = False
    surface_prefix: str = ""
    volume_prefix: str = ""
    refuse: str = ""
    aliases: tuple[str, ...] = field(default=())

    @property
    def position(self) -> tuple[str, str]:
        """The two quantities that say where a field lies."""
        return ("x0", "y0") if self.angle is None else ("angle", "ecc")

    @property
    def surface_names(self) -> "dict[str, str]":
        """What we call a quantity in the name of a file of vertices."""
        return {quantity: self.surface_prefix + names[0] for quantity, names in self.names.items()}

    def __str__(self) -> str:
        where = str(self.angle) if self.angle is not None else f"x0 right, y0 {'down' if self.y_down else 'up'}, {self.length}"
        return f"{self.name} ({where})"


_QUALITY = ("R2", "rsq", "rsquared", "varexp", "variance_explained", "ve", "cod", "quality")
_EXPONENT = ("exponent", "expt", "n")
_CARTESIAN = {
    "x0": ("x0", "centerx0", "mu_x"),
    "y0": ("y0", "centery0", "mu_y"),
    "sigma": ("sigma", "sigmamajor", "size", "prf_size"),
    "minor": ("sigmaminor",),
    "exponent": _EXPONENT,
    "quality": _QUALITY,
}
_POLAR = {
    "angle": ("angle", "polar_angle", "ang", "theta", "phase"),
    "ecc": ("eccentricity", "eccen", "ecc", "rho"),
    "sigma": ("sigma", "size", "rfsize", "radius"),
    "exponent": _EXPONENT,
    "quality": _QUALITY,
}


def _named(names: "Mapping[str, tuple[str, ...]]", **first: "tuple[str, ...]") -> "dict[str, tuple[str, ...]]":
    """Names of quantities with those of one program before the common ones."""
    return {
        quantity: tuple(dict.fromkeys((*first.get(quantity, ()), *names.get(quantity, ())))) for quantity in dict.fromkeys((*names, *first))
    }


_NSD = Angle("right", "counter-clockwise", "deg", 0, 360)
CONVENTIONS: dict[str, Convention] = {
    one.name: one
    for one in (
        Convention(
            "brain2pix",
            "our own maps",
            _named(_CARTESIAN, quality=("quality",)),
            size="effective",
            surface_prefix="prf_",
            volume_prefix="prf_",
        ),
        Convention(
            "nsd",
            "Natural Scenes Dataset, HCP 7 T: analyzePRF in degrees",
            _named(
                _POLAR,
                angle=("angle", "prfangle"),
                ecc=("eccentricity", "prfeccentricity"),
                sigma=("size", "prfsize"),
                exponent=("exponent", "prfexponent"),
                quality=("R2", "prfR2"),
            ),
            _NSD,
            size="effective",
            percent=True,
            surface_prefix="prf",
            volume_prefix="prf_",
            aliases=("hcp",),
        ),
        Convention(
            "analyzeprf",
            "results of analyzePRF, lengths in pixels of the aperture",
            _named(_POLAR, angle=("ang",), ecc=("ecc",), sigma=("rfsize",), exponent=("expt",), quality=("R2",)),
            _NSD,
            length="px",
            size="effective",
            percent=True,
        ),
        Convention(
            "benson14",
            "Benson template and atlas of neuropythy",
            _named(
                _POLAR,
                angle=("benson14_angle", "inferred_angle"),
                ecc=("benson14_eccen", "inferred_eccen"),
                sigma=("benson14_sigma", "inferred_sigma"),
                area=("benson14_varea", "inferred_varea", "varea", "visual_area"),
            ),
            Angle("up", "clockwise", "deg", 0, 180, unsigned=True),
        ),
        Convention(
            "neuropythy-visual",
            "neuropythy's visual convention",
            _named(_POLAR, angle=("polar_angle",), ecc=("eccentricity",), sigma=("radius",), quality=("variance_explained",)),
            Angle("up", "clockwise", "deg", -180, 180),
        ),
        Convention(
            "neuropythy-standard",
            "neuropythy's standard convention, the mathematicians'",
            _named(_POLAR, angle=("theta",), ecc=("eccentricity",), sigma=("radius",)),
            Angle("right", "counter-clockwise", "rad", -180, 360),
        ),
        Convention(
            "prfanalyze",
            "prfanalyze and prfpy; the sign of y follows how the apertures were turned",
            _named(
                _CARTESIAN,
                x0=("centerx0", "x0", "mu_x"),
                y0=("centery0", "y0", "mu_y"),
                sigma=("sigmamajor", "sigma", "size"),
                quality=("r2", "R2"),
            ),
            aliases=("prfpy",),
        ),
        Convention("vistasoft", "x0 and y0 of vistasoft; flips are known, so that the check counts", _CARTESIAN),
        Convention(
            "fraction",
            "shares of the picture, -0.5 to 0.5, rows down",
            _named(_CARTESIAN, x0=("col", "col_centers", "x0"), y0=("row", "row_centers", "y0")),
            length="field",
            y_down=True,
        ),
        Convention(
            "fsfast",
            "phase maps of FS-FAST",
            _POLAR,
            replace(_NSD, unit="rad"),
            refuse="what its phase means depends on the paradigm",
        ),
        Convention("pycortex", "maps shown with pycortex", _POLAR, _NSD, refuse="it has no convention of its own; the colour map decides"),
    )
}
_ALIASES = {alias: one.name for one in CONVENTIONS.values() for alias in one.aliases}


def convention_names() -> list[str]:
    """Give all names, with the other names that some have."""
    return [*CONVENTIONS, *_ALIASES]


def find_convention(name: str, zero: Zero | None = None, direction: Direction | None = None, unit: AngleUnit | None = None) -> Convention:
    """Give a convention by name, with what the user says of its angle instead.

    Parameters
    ----------
    name : str, one of `convention_names`
    zero, direction, unit : or None, as the convention has them; an angle that is described in full is not held against a range

    Raises
    ------
    ConfigError
        If the name is unknown, nobody can say what its angles mean, or it has no angle.
    """
    found = CONVENTIONS.get(_ALIASES.get(name.lower(), name.lower()))
    if found is None:
        raise ConfigError(unknown_name("convention", name, convention_names()))
    said = (zero, direction, unit)
    if found.refuse and None in said:
        raise ConfigError(
            f"convention {found.name} does not say what its angles mean: {found.refuse}. "
            "Say all of --zero right|up, --direction counter-clockwise|clockwise and --unit deg|rad"
        )
    if not any(said):
        return found
    if found.angle is None:
        raise ConfigError(f"convention {found.name} has x0 and y0, no angle: leave out --zero, --direction and --unit, or name another")
    angle = replace(found.angle, zero=zero or found.angle.zero, direction=direction or found.angle.direction, unit=unit or found.angle.unit)
    angle = replace(angle, unsigned=found.angle.unsigned and zero is None and direction is None, checked=unit is None)
    return replace(found, angle=replace(angle, low=-180, high=360) if zero or direction else angle, refuse="")


def check_angles(convention: Convention, angles: "NDArray[np.floating]") -> None:
    """Refuse angles outside the range of a convention, and degrees that look like radians.

    Raises
    ------
    DataFormatError
        Naming the conventions that would fit.
    """
    kind = convention.angle
    known = np.asarray(angles, dtype=np.float64)[np.isfinite(angles)]
    if kind is None or not kind.checked or not known.size:
        return
    low, high = float(known.min()), float(known.max())
    reach = high if abs(high) >= abs(low) else low
    slack = 0.01
    if kind.unit == "rad" and max(abs(low), abs(high)) > _TURN + slack:
        raise DataFormatError(f"{convention}: angle reaches {reach:.5g}: degrees? use {_fitting(low, high)}")
    if kind.unit == "deg" and known.size >= _FEWEST and max(abs(low), abs(high)) <= _TURN + slack and np.ptp(known) > 1:
        raise DataFormatError(
            f"{convention}: angle reaches {reach:.3g}: radians? use neuropythy-standard, or say --unit deg if it is not so"
        )
    if kind.unit == "deg" and (low < kind.low - slack or high > kind.high + slack):
        raise DataFormatError(
            f"{convention}: angle goes from {low:.5g} to {high:.5g}, expected {kind.low:g} to {kind.high:g}: use {_fitting(low, high)}, "
            "or say --zero, --direction and --unit"
        )


def by_range(angles: "NDArray[np.floating]") -> tuple[str, str]:
    """Convention that the range of angles suggests, and why.

    Raises
    ------
    DataFormatError
        If there is no angle to judge by.
    """
    known = np.asarray(angles, dtype=np.float64)[np.isfinite(angles)]
    if known.size < _FEWEST:
        raise DataFormatError(f"{known.size} angles do not say which convention they follow; name it with --convention")
    low, high = float(known.min()), float(known.max())
    name = "neuropythy-standard" if max(abs(low), abs(high)) <= _TURN + 0.01 else _fitting(low, high)
    return name, f"angles go from {low:.4g} to {high:.4g}"


def _fitting(low: float, high: float) -> str:
    if low < 0:
        return "neuropythy-visual"
    return "nsd" if high > 180.01 else "benson14"


def _side(hemi: "NDArray[np.str_]") -> "NDArray[np.float64]":
    """1 for the left hemisphere, which sees the right half of the field, -1 for the right one."""
    return np.where(hemi == "L", 1.0, np.where(hemi == "R", -1.0, np.nan))
