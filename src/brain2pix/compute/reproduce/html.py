"""A page in one file: text is escaped, pictures are in it, nothing is loaded from anywhere and nothing runs."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; } h3 { font-size: 1em; }
table { border-collapse: collapse; margin: .6em 0; font-size: 13px; } caption { text-align: left; color: #666; padding-bottom: .3em; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: left; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.badge { border-radius: .3em; padding: .1em .5em; font-size: 12px; font-weight: bold; background: #ffe1b3; }
.simulated { font-size: 15px; background: #d55e00; color: white; }
.missing { color: #8a3b00; } img { max-width: 100%; } .note { color: #666; font-size: 13px; }
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> str:
    """Write anything so that a browser shows it as it is."""
    return value if isinstance(value, Markup) else escape(str(value), quote=True)


def element(name: str, *inside: object, kind: str = "") -> Markup:
    """Make an element with its contents; `kind` is its class."""
    attribute = f' class="{escape(kind, quote=True)}"' if kind else ""
    return Markup(f"<{name}{attribute}>{''.join(text(part) for part in inside)}</{name}>")


def table(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]], *, key: str) -> Markup:
    """Make a table.

    Parameters
    ----------
    caption : str
    head : sequence, titles of the columns
    rows : iterable of sequences
    key : str, its id, by which other programs find it
    """
    lines = [element("tr", *(element("th", each) for each in head))]
    lines += [element("tr", *(each if is_cell(each) else element("td", each) for each in row)) for row in rows]
    return Markup(f'<table id="{escape(key, quote=True)}">{element("caption", caption)}{"".join(lines)}</table>')


def is_cell(value: object) -> bool:
    """Whether it is a cell of a table already."""
    return isinstance(value, Markup) and value.startswith("<td")


def items(parts: Iterable[object]) -> Markup:
    """Make a list."""
    return element("ul", *(element("li", part) for part in parts))


def figure(drawn: "Figure", words: str) -> Markup:
    """Put a figure into the page; `words` say what it shows to whoever cannot see it."""
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=130)
    return picture(stream.getvalue(), words)


def picture(png: bytes, words: str) -> Markup:
    """Put a PNG into the page."""
    data = base64.b64encode(png).decode("ascii")
    return Markup(f'<p><img alt="{escape(words, quote=True)}" src="data:image/png;base64,{data}"></p>')


def page(title: str, parts: Iterable[object]) -> str:
    """Make the page."""
    # the policy lets a browser load and run nothing, whatever came into the text
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
    body = "".join(text(part) for part in parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n'
