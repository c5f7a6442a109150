"""``brain2pix inspect``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def inspect(
    path: Annotated[Path, Parameter(help="Dataset folder, subject folder or run folder.")],
    /,
    *,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder.")] = None,
) -> int:
    """Check a subject or a run and say what is in it."""
    from brain2pix.errors import MissingDataError

    if not path.exists():
        raise MissingDataError(f"{path} does not exist; give a dataset folder, a subject folder or a run folder")
    is_run = (path / "job.json").is_file() or (path / "model" / "model.json").is_file() or (path / "model.json").is_file()
    print("\n".join(_run_lines(path) if is_run else _subject_lines(path, subject_name)))
    return 0


def _subject_lines(path: Path, name: str | None) -> list[str]:
    from brain2pix.data.subject import open_subject
    from brain2pix.data.summary import summarise, summary_lines

    return summary_lines(summarise(open_subject(path, name)))


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
    return lines
