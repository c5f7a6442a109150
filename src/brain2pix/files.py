"""Nothing is half-written: write beside, then rename."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brain2pix.errors import ComputeError

_RANDOM_LETTERS = 8  # that `tempfile` puts at the end of a name


@contextmanager
def atomic_path(target: Path, mode: int | None = None) -> Iterator[Path]:
    """Give a path in the same folder to write to; it becomes `target` only if the block ends without an error.

    Parameters
    ----------
    target : Path, a file. The suffixes are kept, so that libraries that look at them (``.nii.gz``) agree.
    mode : int or None, permissions; None: what the user's umask leaves. Until it is complete, only its owner can read it

    Raises
    ------
    ComputeError
        If the disk is full: `target` is then as it was before.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(target.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffix, dir=target.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_umask() if mode is None else mode)
        beside.replace(target)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if is_disk_full(error):
            raise ComputeError(disk_full_message(target)) from error
        raise


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; it is renamed to `target` only if the block ends without an error.

    Raises
    ------
    FileExistsError
        If `target` exists and is not an empty folder.
    ComputeError
        If the disk is full: nothing is left behind.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not an empty folder; choose another place or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".writing-{target.name}-", dir=target.parent))
    try:
        yield beside
        beside.chmod(0o777 & ~_umask())
        if target.exists():
            target.rmdir()
        beside.replace(target)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if is_disk_full(error):
            raise ComputeError(disk_full_message(target)) from error
        raise


def remove_half_written(target: Path) -> None:
    """Remove what `atomic_folder` had begun for `target` in a process that was ended at once. Not while another one writes it."""
    start = f".writing-{target.name}-"
    for place in target.parent.iterdir() if target.parent.is_dir() else ():
        if place.name.startswith(start) and len(place.name) == len(start) + _RANDOM_LETTERS and place.is_dir():
            shutil.rmtree(place, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically, indented, with a newline at the end."""
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json_if_there(path: Path) -> dict[str, Any]:
    """Read the values of a JSON file; empty if there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that no space is left (or a size limit was hit)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        # h5py and torch wrap the system's error in text of their own
        if any(text in str(seen) for text in ("No space left on device", "errno = 28", "File too large", "errno = 27")):
            return True
        # numpy's tofile says only how many items it got rid of
        if isinstance(seen, OSError) and re.fullmatch(r"\d+ requested and \d+ written|problem writing element \d+ to file", str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def disk_full_message(target: Path) -> str:
    """Say what could not be written, and what to do."""
    free = shutil.disk_usage(target.parent).free / 2**20 if target.parent.exists() else 0.0
    return (
        f"no space left while writing {target} ({free:.0f} MiB free there); nothing was changed. Free some space or choose another folder."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
