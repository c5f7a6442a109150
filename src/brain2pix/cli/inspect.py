"""``brain2pix inspect``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from brain2pix.data.subject import Subject


def inspect(
    path: Annotated[Path, Parameter(help="Dataset, subject, demo or run folder, or a file of a published dataset.")],
    /,
    *,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder.")] = None,
) -> int:
    """Check a subject, a run or a published file and say what is in it."""
    from brain2pix.errors import MissingDataError

    if not path.exists():
        raise MissingDataError(f"{path} does not exist; give a dataset folder, a subject folder or a run folder")
    published = _published_lines(path)
    if published:
        print("\n".join(published))
        return 0
    is_run = (path / "job.json").is_file() or (path / "model" / "model.json").is_file() or (path / "model.json").is_file()
    print("\n".join(_run_lines(path) if is_run else _subject_lines(path, subject_name)))
    return 0


def _published_lines(path: Path) -> list[str]:
    """Say what a file of a published dataset holds; empty for folders of our own."""
    if path.is_dir() and ((path / "dataset_description.json").exists() or (path / "job.json").exists()):
        return []
    from brain2pix.data.readers import READERS, Choices, sniff, unknown_format
    from brain2pix.data.volumes import require_file

    if path.is_file():
        require_file(path, "file")
    found = sniff(path)
    if found is None:
        if path.is_file():
            raise unknown_format(path)
        return []
    kind, what = found
    lines = [f"{path}: {what.text}", *([f"import    brain2pix import {kind} {path} OUT"] if what.has_responses else [])]
    if not what.has_responses:
        return lines
    with READERS[kind].open(path, Choices()) as dataset:
        return [*lines, *dataset.lines()]


def _subject_lines(path: Path, name: str | None) -> list[str]:
    from brain2pix.data.subject import open_subject
    from brain2pix.data.summary import summarise, summary_lines

    # a demo keeps its subject in a folder of that name, and its maps beside it
    is_demo = (path / "subject" / "dataset_description.json").is_file()
    subject = open_subject(path / "subject" if is_demo else path, name)
    folders = [subject.path / "prf", path / "maps"]
    return [*summary_lines(summarise(subject)), *(line for folder in folders for line in _map_lines(folder, subject))]


def _map_lines(folder: Path, subject: "Subject") -> list[str]:
    """Hold maps against the brain's own left and right, up and down."""
    from brain2pix.data.hemifield import check_sides
    from brain2pix.data.maps import read_maps
    from brain2pix.errors import Brain2PixError

    if not folder.is_dir() or not any(folder.glob("*_x0.nii*")):
        return []
    try:
        check = check_sides(subject, read_maps(folder).on(subject))
    except Brain2PixError as error:
        return [f"note      the maps in {folder} cannot be read: {error}"]
    lines = [f"maps      {folder}", *(f"          {line}" for line in map(str, check.sides))]
    return [*lines, f"WARNING   {check.warning()}"] if check.warning() else lines


def _run_lines(path: Path) -> list[str]:
    from brain2pix.compute.runner import run_state
    from brain2pix.errors import MissingDataError
    from brain2pix.training.run_folder import RunFolder, model_description

    folder = RunFolder(path)
    status = folder.read_status()
    lines = []
    if status:
        lines.append(f"{status['kind']} run {path}: {run_state(folder)}, attempt {status['attempt']}, started {status['started']}")
        lines += [f"error     {status['error']}"] if status.get("error") else []
    try:
        about = model_description(path)
    except MissingDataError:
        return lines
    made = {True: "simulated ", False: ""}
    voxels = ", ".join(f"{len(one['voxel_index'])} voxels of {made[one['simulated']]}{one['subject']}" for one in about["subjects"])
    lines.append(f"model     {about['title']} ({about['method']}), {about['image_size']} px, {voxels}")
    lines.append(f"encoder   {'yes' if about['has_encoder'] else 'no'}")
    lines.append(f"used      {', '.join(about['transductive']) or 'nothing'} of the test set")
    return [*lines, *_maps_of_run(path)]


def _maps_of_run(path: Path) -> list[str]:
    from brain2pix.data.subject import open_subject
    from brain2pix.errors import Brain2PixError
    from brain2pix.training.run_folder import RunFolder

    named = RunFolder(path).read_job().get("params", {}).get("subject")
    folder = path / "maps" / "results"
    if not isinstance(named, str) or not folder.is_dir():
        return []
    try:
        return _map_lines(folder, open_subject(path / named))
    except Brain2PixError as error:
        return [f"note      its maps were not checked: {error}"]
