"""What is said of a file or folder: a title, aligned lines, and what one can do with it."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LABEL_WIDTH = 10
WINDOW = "drag it into the window (brain2pix window)"
# Of numbers that are looked at for their range; more is never read.
MOST_BYTES = 64 * 2**20
MOST_LISTED = 12


@dataclass(frozen=True)
class WhatIs:
    """A file or folder in words.

    Parameters
    ----------
    title : str, what it is
    facts : tuple of str, lines that begin with a label, see `fact`
    actions : tuple of str, what one can do with it
    """

    title: str
    facts: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    def lines(self, path: "Path") -> list[str]:
        """All of it, in lines of text."""
        return [f"{path}: {self.title}", *self.facts, *(fact("next", action) for action in self.actions)]


def fact(label: str, text: str) -> str:
    """Put a label before a text, as wide as those of a subject's summary; control characters of foreign files are shown, not sent."""
    shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return f"{label:<{LABEL_WIDTH}}{shown}"


def listed(names: "Iterable[str]", limit: int = MOST_LISTED) -> str:
    """Join the first names of a list, with the count of the others."""
    every = list(names)
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


def shape_text(shape: "Iterable[int]") -> str:
    """Write a shape as numpy does."""
    edges = tuple(int(edge) for edge in shape)
    return str(edges)


def quoted(path: "Path") -> str:
    """Write a path as a shell wants it."""
    return shlex.quote(str(path))


def own_import(path: "Path", *, table: bool = False) -> str:
    """Command that imports a file as responses of one's own."""
    return f"brain2pix import own {quoted(path)} OUT{'' if table else ' --table TABLE.tsv   (one row per response: stimulus_id, split)'}"


def size_text(n_bytes: int) -> str:
    """Write a number of bytes for people."""
    value, unit = float(n_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{n_bytes} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"
