"""The error family. Every message says what was expected, what came and what to do.

Each error is also a built-in, so that ``except ValueError`` keeps working.
"""

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Brain2PixError(Exception):
    """Anything that a user, a file or a machine brought, as opposed to a mistake of ours."""


class ConfigError(Brain2PixError, ValueError):
    """A setting, preset, option or region expression is unknown or out of range."""


class ShapeError(Brain2PixError, ValueError):
    """An array has another shape than the one it must share with its partners."""


class DataFormatError(Brain2PixError, ValueError):
    """A file is readable but is not what it must be."""


class MissingDataError(Brain2PixError, FileNotFoundError):
    """A file or folder that is needed does not exist."""


class MissingDependencyError(Brain2PixError, ImportError):
    """An optional package is needed; the message names the pip extra."""


class NotSupportedError(Brain2PixError, TypeError):
    """The method cannot do this, for example encode without an encoder."""


class ComputeError(Brain2PixError, RuntimeError):
    """A worker died, a device is missing, or memory or disk ran out."""


def unknown_name(kind: str, name: str, known: "Iterable[str]") -> str:
    """Say that a name is unknown, with the nearest valid one and all valid ones.

    Parameters
    ----------
    kind : str, what was named ("preset", "option", ...)
    name : str, what was given
    known : iterable of str, what is allowed
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}."
