"""What a settings model asks for, field by field. No Qt: `_forms` turns each into something to type in."""

import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_UNIT = re.compile(r"\s*\[([^\[\]]+)\]$")
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Field:
    """One setting.

    Parameters
    ----------
    key : str, dotted
    kind : "bool", "int", "float", "str", "path", "choice" or "tuple"
    optional : bool, whether it may be None
    choices : tuple, of a choice
    help : str, its description without the unit
    unit : str
    low, high : float or None, ends of its range, included or not
    """

    key: str
    kind: str
    optional: bool = False
    choices: tuple[Any, ...] = ()
    help: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def group(self) -> str:
        """Dotted name of the group that it is in; empty at the top."""
        return self.key.rpartition(".")[0]

    @property
    def title(self) -> str:
        """Its name for people."""
        return title_of(self.key.rpartition(".")[2])

    @property
    def range_text(self) -> str:
        """Its range in words; empty without one."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}" if self.high is not None else ""

    @property
    def is_main(self) -> bool:
        """Whether it is among the few that most users touch: what stands at the top of a system, and how long its parts train."""
        return "." not in self.key or (self.key.count(".") == 1 and self.key.endswith(".n_steps"))


def title_of(name: str) -> str:
    """Turn the name of a setting into words: ``n_steps`` is "steps"."""
    return name.removeprefix("n_").replace("_", " ")


def fields_of(model: type[BaseModel], prefix: str = "") -> "Iterator[Field]":
    """Walk through all settings of a model and of its groups, in their order; what cannot be typed in is left out."""
    for name, info in model.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from fields_of(annotation, f"{prefix}{name}.")
            continue
        known = _kind(annotation)
        if known is not None:
            yield Field(f"{prefix}{name}", *known, *_words(info.description or ""), *_range(info))


def value_at(values: BaseModel, key: str) -> Any:
    """Value of a dotted key."""
    for part in key.split("."):
        values = getattr(values, part)
    return values


def _kind(annotation: Any) -> tuple[str, bool, tuple[Any, ...]] | None:
    """Kind, whether None is allowed, choices; None for what has no field (a dict)."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        inner = _kind(parts[0]) if len(parts) == 1 else None
        return None if inner is None else (inner[0], True, inner[2])
    if get_origin(annotation) is Literal:
        return "choice", False, get_args(annotation)
    if get_origin(annotation) is tuple:
        return "tuple", False, ()
    if annotation is Path:
        return "path", False, ()
    return (annotation.__name__, False, ()) if annotation in _PLAIN else None


def _words(description: str) -> tuple[str, str]:
    """Split the unit, which stands at the end in brackets, from a description."""
    found = _UNIT.search(description)
    return (description[: found.start()], found[1]) if found else (description, "")


def _range(info: "FieldInfo") -> tuple[float | None, float | None]:
    ends: dict[str, float] = {}
    for rule in info.metadata:
        for end in ("ge", "gt", "le", "lt"):
            value = getattr(rule, end, None)
            if value is not None:
                ends[end] = float(value)
    return ends.get("ge", ends.get("gt")), ends.get("le", ends.get("lt"))
