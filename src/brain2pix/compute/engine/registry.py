"""Jobs that this user started, wherever they run: a short id for each run folder, so that any terminal or window finds it again."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

from brain2pix.compute.engine.connection import state_folder
from brain2pix.errors import ComputeError, ConfigError, MissingDataError
from brain2pix.files import write_json

KEPT = 500  # newest notes; older ones of ended jobs are only a list that nobody reads
_LISTED = 8  # ids that a message names
_NAME = 80  # letters of the folder's name in an id: file systems allow 255 in all


@dataclass(frozen=True)
class JobNote:
    """Where a job is.

    Parameters
    ----------
    id : str
    folder : Path, its run folder
    kind : str
    server_id, server_name : str, the server that it was given to; empty for a job that runs by itself
    submitted_s : float, since 1970
    """

    id: str
    folder: Path
    kind: str
    server_id: str
    server_name: str
    submitted_s: float


def job_id(folder: Path) -> str:
    """Id of the job in a run folder: the folder's name, and letters that tell it from others of the same name."""
    folder = Path(os.path.normpath(folder.absolute()))
    return f"{folder.name[:_NAME]}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def note_job(folder: Path, kind: str, server_id: str = "", server_name: str = "") -> None:
    """Remember a job; a job that is started again replaces its note. A note that cannot be written (full disk) is no reason to stop.

    Parameters
    ----------
    folder : Path
    kind : str
    server_id, server_name : str, empty for a job that runs by itself
    """
    folder = Path(os.path.normpath(folder.absolute()))
    note = JobNote(job_id(folder), folder, kind, server_id, server_name, round(time.time(), 3))
    with suppress(OSError, ComputeError):
        write_json(_file(note.id), {**asdict(note), "folder": str(folder)})
        for old in known_jobs()[KEPT:]:
            forget_job(old.id)


def known_jobs() -> list[JobNote]:
    """All jobs that are remembered, newest first."""
    notes = (_read(file) for file in _folder().glob("*.json"))
    return sorted((note for note in notes if note is not None), key=lambda note: -note.submitted_s)


def forget_job(name: str) -> None:
    """Take a job off the list; its folder is not touched.

    Parameters
    ----------
    name : str, its id
    """
    _file(name).unlink(missing_ok=True)


def find_job(text: str | Path) -> Path:
    """Find the run folder of a job.

    Parameters
    ----------
    text : str or Path, a run folder, an id, the beginning of one, or the name of the folder

    Raises
    ------
    MissingDataError
        If there is no such job; the nearest id and those known are named.
    ConfigError
        If several jobs are meant.
    """
    place = Path(text).expanduser()
    if (place / "job.json").is_file():
        return Path(os.path.normpath(place.absolute()))
    folders = {note.id: note.folder for note in known_jobs()}
    return folders[pick_id(str(text), folders)]


def pick_id(text: str, folders: Mapping[str, Path]) -> str:
    """Choose the id that is meant.

    Parameters
    ----------
    text : str, an id, the beginning of one, or the name of a run folder
    folders : mapping of id to run folder

    Raises
    ------
    MissingDataError, ConfigError
        As for `find_job`.
    """
    if text in folders:
        return text
    found = [known for known, folder in folders.items() if text and (known.startswith(text) or folder.name == text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{text!r} means several jobs: {_some(found)}; give more of the id")
    names = {**{folder.name: known for known, folder in folders.items()}, **{known: known for known in folders}}
    near = get_close_matches(text, names, n=1, cutoff=0.4)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    raise MissingDataError(f"there is no job {text!r}.{hint} Known: {_some(folders) or 'none'}. See: brain2pix jobs --all")


def _some(ids: Iterable[str]) -> str:
    names = list(ids)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _folder() -> Path:
    return state_folder() / "jobs"


def _file(name: str) -> Path:
    return _folder() / f"{name}.json"


def _read(file: Path) -> JobNote | None:
    """Read one note; None for one that is damaged, or gone by now."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return JobNote(
            str(values["id"]),
            Path(values["folder"]),
            str(values["kind"]),
            str(values["server_id"]),
            str(values["server_name"]),
            float(values["submitted_s"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
