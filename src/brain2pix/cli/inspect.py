"""``brain2pix inspect``."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from brain2pix.cli._map_check import map_lines


def inspect(
    path: Annotated[Path, Parameter(help="Any file or folder: a subject, a run, a dataset, a volume, a surface, a table, ...")],
    /,
    *,
    subject_name: Annotated[str | None, Parameter(help="Which subject of a dataset folder.")] = None,
) -> int:
    """Say what a file or folder is, what it holds, and what can be done with it. Nothing is written."""
    print("\n".join(_lines(path, subject_name)))
    return 0


def _lines(path: Path, subject_name: str | None) -> list[str]:
    from brain2pix.data.what_is import what_is

    if path.is_dir():
        if (path / "reproduce.json").is_file():
            return [*what_is(path).lines(path), _cells_line(path), _open_line(path)]
        if any((path / name).is_file() for name in ("job.json", "model/model.json", "model.json")):
            return [*_run_lines(path), _open_line(path)]
        if subject_name is not None or _is_native(path):
            return [*_subject_lines(path, subject_name), _open_line(path)]
    return what_is(path).lines(path)


def _cells_line(path: Path) -> str:
    """Say how the cells of a reproduction stand."""
    from brain2pix.compute.reproduce.folder import read_overview
    from brain2pix.compute.sweep_cells import describe_counts
    from brain2pix.data.what_is.said import fact
    from brain2pix.errors import DataFormatError

    try:
        found = read_overview(path)
    except DataFormatError as error:
        return fact("note", str(error))
    return fact("cells", f"{describe_counts(found.counts())} of {len(found.cells)}")


def _open_line(path: Path) -> str:
    from brain2pix.data.what_is.said import fact, quoted

    return fact("next", f"brain2pix window {quoted(path)}")


def _is_native(path: Path) -> bool:
    """Whether a folder is a subject's, a dataset with one subject, or a demo: what `open_subject` opens, or says what is wrong with."""
    from brain2pix.data.checks import find_root, find_subjects
    from brain2pix.data.tables import read_json

    if (path / "subject" / "dataset_description.json").is_file():
        return True
    root, name = find_root(path)
    if not (root / "dataset_description.json").is_file():
        return False
    try:
        about = read_json(root / "dataset_description.json", "dataset description")
    except RecursionError:  # no description nests so deep
        return False
    subjects = find_subjects(root) if name is None else [name]
    if len(subjects) != 1:
        return False
    func = root / subjects[0] / "func"
    has_responses = any(any(func.glob(pattern)) for pattern in ("*_betas.h5", "*_statmap.nii*"))
    return has_responses or (about.get("DatasetType") == "derivative" and "brain2pix" in str(about.get("GeneratedBy")))


def _subject_lines(path: Path, name: str | None) -> list[str]:
    from brain2pix.data.subject import open_subject
    from brain2pix.data.summary import summarise, summary_lines

    # a demo keeps its subject in a folder of that name, and its maps beside it
    is_demo = (path / "subject" / "dataset_description.json").is_file()
    subject = open_subject(path / "subject" if is_demo else path, name)
    folders = [subject.path / "prf", path / "maps"]
    return [*summary_lines(summarise(subject)), *(line for folder in folders for line in map_lines(folder, subject))]


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
    lines += [f"imported  from {about['imported']['source']}, {_files_of(about['imported'])}"] if "imported" in about else []
    return [*lines, *_maps_of_run(path)]


def _files_of(imported: dict[str, Any]) -> str:
    parts = {name: imported[name] for name in ("encoder", "decoder") if name in imported}
    return ", ".join(f"{name} {Path(part['file']).name} (sha256 {part['sha256'][:12]})" for name, part in parts.items())


def _maps_of_run(path: Path) -> list[str]:
    from brain2pix.data.subject import open_subject
    from brain2pix.errors import Brain2PixError
    from brain2pix.training.run_folder import RunFolder

    named = RunFolder(path).read_job().get("params", {}).get("subject")
    folder = path / "maps" / "results"
    if not isinstance(named, str) or not folder.is_dir():
        return []
    try:
        return map_lines(folder, open_subject(path / named))
    except Brain2PixError as error:
        return [f"note      its maps were not checked: {error}"]
