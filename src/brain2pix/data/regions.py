"""Region expressions: ``V1 + V2 - outside``, ``(FFA | OFA) & R``."""

import re
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DEFAULT_REGION = "V1 + V2 + V3 - outside"
_TOKEN = re.compile(r"""\s*(?:(?P<operator>[+|&()-])|(?P<name>[^\W\d]\w*(?:\.\w+)*)|"(?P<quoted>[^"]+)")""")
_GRAMMAR = 'names joined by + or | (union), & (both), - (without), with parentheses; names with other signs in "quotes"'


def region_mask(expression: str, areas: "Mapping[str, NDArray[np.bool_]]") -> "NDArray[np.bool_]":
    """Evaluate a region expression.

    ``&`` binds tighter than union and difference; these two go from left to right:
    ``V1 + V2 - outside`` is ``(V1 + V2) - outside``.

    Parameters
    ----------
    expression : str
    areas : mapping of name to bool array, [v]

    Returns
    -------
    bool array, [v]

    Raises
    ------
    ConfigError
        If the expression is malformed, names an unknown area (the nearest name is given) or selects no voxel.
    """
    parser = _Parser(expression, areas)
    mask = parser.parse()
    if not mask.any():
        sizes = ", ".join(f"{name} {int(areas[name].sum())}" for name in dict.fromkeys(parser.used))
        raise ConfigError(f"region {expression!r} selects no voxel (voxels: {sizes}); choose areas that overlap or that have voxels")
    return mask


def default_region(areas: "Mapping[str, NDArray[np.bool_]]") -> str:
    """`DEFAULT_REGION`, without the parts that a subject lacks (a lab rarely marks which voxels lie outside the stimulus)."""
    union = " + ".join(name for name in ("V1", "V2", "V3") if name in areas) or "all"
    return f"{union} - outside" if "outside" in areas else union


class _Parser:
    """Recursive descent over: sum = part {(+ | -) part}; part = atom {& atom}; atom = name or (sum)."""

    def __init__(self, expression: str, areas: "Mapping[str, NDArray[np.bool_]]") -> None:
        self.expression = expression
        self.areas = areas
        self.tokens = self._tokens()
        self.position = 0
        self.used: list[str] = []

    def parse(self) -> "NDArray[np.bool_]":
        """Evaluate the whole expression."""
        if not self.tokens:
            raise ConfigError(f"region expression is empty; write {_GRAMMAR}. Known: {', '.join(sorted(self.areas))}.")
        mask = self._sum()
        if self.position < len(self.tokens):
            raise self._wrong(f"unexpected {self.tokens[self.position][1]!r}")
        return mask

    def _tokens(self) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while self.expression[at:].strip():
            match = _TOKEN.match(self.expression, at)
            if match is None:
                raise self._wrong(f"unexpected {self.expression[at:].strip()[0]!r}")
            kind = match.lastgroup or ""
            tokens.append(("name" if kind == "quoted" else kind, match[kind]))
            at = match.end()
        return tokens

    def _next_operator(self, allowed: str) -> str | None:
        if self.position < len(self.tokens):
            kind, text = self.tokens[self.position]
            if kind == "operator" and text in allowed:
                self.position += 1
                return text
        return None

    def _sum(self) -> "NDArray[np.bool_]":
        mask = self._part()
        while operator := self._next_operator("+|-"):
            other = self._part()
            mask = mask & ~other if operator == "-" else mask | other
        return mask

    def _part(self) -> "NDArray[np.bool_]":
        mask = self._atom()
        while self._next_operator("&"):
            mask = mask & self._atom()
        return mask

    def _atom(self) -> "NDArray[np.bool_]":
        if self._next_operator("("):
            mask = self._sum()
            if not self._next_operator(")"):
                raise self._wrong("a parenthesis is not closed")
            return mask
        if self.position >= len(self.tokens):
            raise self._wrong("it ends where an area name is expected")
        kind, text = self.tokens[self.position]
        if kind != "name":
            raise self._wrong(f"unexpected {text!r} where an area name is expected")
        self.position += 1
        if text not in self.areas:
            raise ConfigError(f"region {self.expression!r}: {unknown_name('area', text, self.areas)}")
        self.used.append(text)
        return np.asarray(self.areas[text], dtype=np.bool_)

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"region {self.expression!r}: {problem}. Write {_GRAMMAR}.")
