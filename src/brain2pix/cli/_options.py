"""Options that several commands share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from brain2pix.errors import ConfigError

Seed = Annotated[int, Parameter(help="Seed of every random choice.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
SubjectPath = Annotated[Path | None, Parameter(help="Subject folder, if it is not where the model was trained.")]
Out = Annotated[Path | None, Parameter(help="Run folder to fill.")]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", help="One setting as key=value, dotted for groups (decoder.n_steps=100). May be repeated.", negative=""),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where a job runs: in this terminal, or on a compute server.

    Parameters
    ----------
    on : str or None, name or connection file of a server
    wait : bool
    """

    on: Annotated[str | None, Parameter(help="Compute server that runs it, by name or connection file. Default: this terminal.")] = None
    wait: Annotated[bool, Parameter(help="With --on: draw its progress until it ends; Ctrl-C leaves it running.", negative="")] = False


HERE = Where()


def parse_changes(assignments: Sequence[str] | None) -> dict[str, Any]:
    """Turn ``["decoder.n_steps=100", "start=glorot"]`` into settings.

    Values are read as JSON where they are JSON (numbers, true, null, lists), else as text.

    Raises
    ------
    ConfigError
        If an assignment has no ``=``.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set needs key=value, got {assignment!r}, e.g. --set decoder.n_steps=100")
        changes[key.strip()] = _value(value.strip())
    return changes


def absolute(path: Path | None) -> str | None:
    """Write a path so that the job can be started from anywhere."""
    return None if path is None else str(path.expanduser().absolute())


def _value(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text
