"""What is inside an opened folder, in rows that a person can read: what there is, what is missing, and what to do then. No Qt."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.data.hemifield import check_sides
from brain2pix.data.summary import summarise
from brain2pix.errors import Brain2PixError

if TYPE_CHECKING:
    from brain2pix.data.field_signs import SignCheck
    from brain2pix.data.hemifield import HemifieldCheck, SideCheck
    from napari_brain2pix.folders.workspace import Workspace

NOT_AREAS = frozenset({"L", "R", "all", "outside", "nonvisual", "other"})
SIGNS = {"done": "✓", "missing": "–", "mind": "⚠", "": ""}
SIDES = {"L": "left", "R": "right"}
WHITE_AND_PIAL, DISPLAYS = ("white", "pial"), ("inflated", "flat", "sphere")


@dataclass(frozen=True)
class Row:
    """One thing in a folder.

    Parameters
    ----------
    name : str
    value : str, how much of it there is
    mark : "done", "missing", "mind" (look at it) or "" for what is neither
    todo : str, what to do where something is missing or looks wrong
    area : str, region expression that the row stands for; empty for most
    more : str, for those who point at it
    parts : tuple of Row
    """

    name: str
    value: str = ""
    mark: str = ""
    todo: str = ""
    area: str = ""
    more: str = ""
    parts: "tuple[Row, ...]" = field(default=())

    def lines(self, depth: int = 0) -> list[str]:
        """Give the row and its parts as text, one line each, tabs between name and value."""
        own = f"{'  ' * depth}{SIGNS[self.mark]} {self.name}\t{self.value}".rstrip()
        todo = [f"{'  ' * (depth + 1)}{self.todo}"] if self.todo else []
        return [own, *todo, *(line for part in self.parts for line in part.lines(depth + 1))]


def contents(workspace: "Workspace", min_quality: float | None = None) -> list[Row]:
    """List what a workspace holds.

    Parameters
    ----------
    workspace : Workspace
    min_quality : float or None, weaker voxels of the map are not asked whether left is left
    """
    summary = summarise(workspace.subject)
    return [
        _subject(workspace, summary),
        _space(workspace, summary),
        _areas(summary),
        _surfaces(workspace, summary),
        _stimuli(workspace, summary),
        _trials(summary),
        _responses(summary),
        _map(workspace, min_quality),
        _models(workspace),
        _pictures(workspace),
    ]


def side_check(workspace: "Workspace", min_quality: float | None = None) -> "HemifieldCheck | None":
    """Hold the map against the brain's own left and right; None where there is no map or it does not fit the subject."""
    if workspace.map is None:
        return None
    try:
        return check_sides(workspace.subject, workspace.map, min_quality=min_quality)
    except Brain2PixError:
        return None


def _subject(workspace: "Workspace", summary: dict[str, Any]) -> Row:
    made = "simulated" if summary["simulated"] else "measured"
    parts = (Row("data set", summary["title"]), Row("folder", str(workspace.folder), more=str(workspace.folder)))
    return Row("Subject", f"{summary['subject']}, {made}", "done", parts=parts)


def _space(workspace: "Workspace", summary: dict[str, Any]) -> Row:
    space, subject = summary["space"], workspace.subject
    edges = " × ".join(map(str, space["shape"]))
    millimetres = " × ".join(f"{edge:.3g}" for edge in space["voxel_mm"])
    anat = subject.path / "anat"
    found = sorted(path.name for path in anat.glob("*_T1w.nii*")) if anat.is_dir() else []
    volume = (
        Row("anatomy", found[0], "done")
        if found
        else Row("anatomy", "none", "missing", f"Slices show areas and maps only; for the brain below them put *_T1w.nii.gz into {anat}.")
    )
    areas = summary["areas"]
    voxels = Row("voxels", f"{summary['voxels']:,}", "done", more="voxels with responses")
    sides = tuple(Row(SIDES[hemi], f"{areas[hemi]['voxels']:,}", area=hemi) for hemi in SIDES if areas[hemi]["voxels"])
    return Row("Volumes", f"{millimetres} mm, {edges}", "done", parts=(Row("space", space["name"]), volume, _with(voxels, sides)))


def _with(row: Row, parts: tuple[Row, ...]) -> Row:
    return Row(row.name, row.value, row.mark, row.todo, row.area, row.more, parts)


def _areas(summary: dict[str, Any]) -> Row:
    names = [name for name in summary["areas"] if name not in ("L", "R", "all")]
    if not names:
        todo = f"Regions come from *_dseg.nii.gz with a table, or *_label-NAME_mask.nii.gz, in {Path(summary['path']) / 'func'}."
        return Row("Areas", "none", "missing", todo)
    parts = []
    for name in sorted(names, key=lambda name: (name in NOT_AREAS, not re.match(r"h?V\d", name), name)):
        area = summary["areas"][name]
        value = f"L {area['left']:,} · R {area['right']:,}"
        quoted = name if name.replace("_", "").replace(".", "").isalnum() and not name[0].isdigit() else f'"{name}"'
        empty = "" if area["voxels"] else "No voxel of it has responses."
        parts.append(Row(name, value, "mind" if empty else "", empty, quoted if area["voxels"] else "", area["description"]))
    return Row("Areas", f"{len(names)}; a click shows one", "done", parts=tuple(parts))


def _surfaces(workspace: "Workspace", summary: dict[str, Any]) -> Row:
    there = {hemi: [name.split()[1] for name in summary["meshes"] if name.startswith(hemi)] for hemi in SIDES}
    anat = workspace.subject.path / "anat"
    if not summary["meshes"]:
        todo = f"Flat and inflated views need GIFTI meshes (*_hemi-L_white.surf.gii, pial, inflated, flat; the same for R) in {anat}."
        return Row("Surfaces", "none", "missing", todo)
    parts = []
    for hemi, kinds in there.items():
        lacking = [kind for kind in WHITE_AND_PIAL if kind not in kinds]
        displays = [kind for kind in DISPLAYS if kind in kinds]
        todo = ""
        if lacking:
            todo = f"No {' and no '.join(lacking)}: voxels have no place on it; put *_hemi-{hemi}_{lacking[0]}.surf.gii into {anat}."
        elif not displays:
            todo = f"No view to unfold it: put *_hemi-{hemi}_inflated.surf.gii (or flat) into {anat}."
        parts.append(Row(SIDES[hemi], ", ".join(kinds) or "none", "missing" if todo else "done", todo))
    whole = all(part.mark == "done" for part in parts)
    return Row("Surfaces", f"{len(summary['meshes'])} meshes", "done" if whole else "mind", parts=tuple(parts))


def _stimuli(workspace: "Workspace", summary: dict[str, Any]) -> Row:
    splits = workspace.subject.stimuli["split"].fillna("no split").value_counts(sort=False)
    parts = [Row(str(name), f"{int(count):,} images") for name, count in splits.items()]
    if summary["unpaired"]:
        parts.append(Row("without responses", f"{summary['unpaired']:,} images", "done"))
    else:
        stimuli = workspace.subject.root / "stimuli"
        todo = f"More photographs in {stimuli / 'unpaired'} help the self-supervised systems."
        parts.append(Row("without responses", "none", "missing", todo))
    size = f"{summary['image_size']} px, {summary['field_of_view_deg']:g}° wide"
    return Row("Stimuli", f"{summary['stimuli']:,} of {size}", "done", parts=tuple(parts))


def _trials(summary: dict[str, Any]) -> Row:
    parts = []
    for split, numbers in summary["trials"].items():
        low, high = numbers["repeats"]
        repeats = f"{low}" if low == high else f"{low} to {high}"
        parts.append(Row(split, f"{numbers['trials']:,}: {numbers['images']:,} images × {repeats}"))
    needed = {"train": "Nothing to train on: no trial has the split “train”.", "test": "Nothing to judge results by: no test trials."}
    absent = [Row(split, "none", "missing", todo) for split, todo in needed.items() if split not in summary["trials"]]
    total = sum(numbers["trials"] for numbers in summary["trials"].values())
    return Row("Trials", f"{total:,}", "mind" if absent else "done", parts=(*parts, *absent))


def _responses(summary: dict[str, Any]) -> Row:
    dropped = tuple(Row("left out", text, "mind") for text in summary["dropped"])
    checked = Row("checked", "every value read, all finite" if not dropped else "every value read, voxels left out", "done")
    scaled = {"z-train": "mean 0, deviation 1 over training trials", "z-run": "mean 0, deviation 1 in each run"}.get(summary["unit"], "")
    unit = Row("unit", f"{summary['unit']}{': ' if scaled else ''}{scaled}")
    return Row("Responses", summary["unit"], "mind" if dropped else "done", parts=(unit, checked, *dropped))


def _map(workspace: "Workspace", min_quality: float | None) -> Row:
    retinotopy = workspace.map
    if retinotopy is None:
        train = "Train a model first (step Train); maps are read from it. Or import some: brain2pix prf import SOURCE SUBJECT."
        todo = "Press Make maps (step Maps)." if workspace.model is not None else train
        return Row("Map", "none", "missing", todo)
    n_voxels = int((retinotopy.quality == retinotopy.quality).sum())
    check = side_check(workspace, min_quality)
    sides = () if check is None else tuple(Row(*_side_words(side), "done" if side.ok else "mind", more=str(side)) for side in check.sides)
    signs = () if check is None else tuple(Row(*_sign_words(sign), "done" if sign.ok else "mind", more=str(sign)) for sign in check.signs)
    warning = check.warning() if check is not None else ""
    parts = (Row("from", retinotopy.source), Row("quality", retinotopy.quality_name), *sides, *signs)
    return Row("Map", f"{n_voxels:,} voxels", "mind" if warning else "done", warning, parts=parts)


def _side_words(side: "SideCheck") -> tuple[str, str]:
    """Say what is expected of some voxels, and how many do it."""
    group = side.group.removesuffix(" hemisphere").removesuffix(" V1-V3")
    found = f"{side.expected} field, {1 - side.wrong_share:.0%} of {side.n_voxels:,} voxels" if side.n_voxels else "no voxel to judge by"
    return group, found


def _sign_words(sign: "SignCheck") -> tuple[str, str]:
    """Part the words of a check of field sign into area and finding."""
    return f"{sign.area} field sign", str(sign).removeprefix(f"{sign.area} field sign is ")


def _models(workspace: "Workspace") -> Row:
    parts = tuple(_run(folder) for folder in _run_folders(workspace))
    if workspace.model is None:
        return Row("Models", "none", "missing", "Train one (step Train), or open the folder of a run.", parts=parts)
    return Row("Models", _model_title(workspace.model) or workspace.model.parent.name, "done", parts=parts)


def _run_folders(workspace: "Workspace") -> list[Path]:
    """Folders of jobs: the one that was opened, else those of a demo."""
    folder = workspace.folder
    own = [folder] if (folder / "job.json").is_file() else sorted(file.parent for file in folder.glob("runs/*/job.json"))
    return [*own, *(folder / name for name in ("maps", "decoder_maps", "decode-test") if (folder / name / "job.json").is_file())]


def _run(folder: Path) -> Row:
    from brain2pix.compute.runner import run_state
    from brain2pix.training.run_folder import RunFolder

    run = RunFolder(folder)
    try:
        kind, state = str(run.read_job().get("kind", "")), run_state(run)
    except Brain2PixError as error:
        return Row(folder.name, "cannot be read", "mind", str(error))
    title = _model_title(folder)
    about = f"{kind}, {state}" if not title else f"{state}: {title}"
    todo = {"interrupted": "Open its folder and go on with it in the Jobs tab.", "failed": "Its reason is in the Jobs tab of its folder."}
    return Row(folder.name, about, "done" if state == "finished" else "mind", todo.get(state, ""), more=str(folder))


def _model_title(folder: Path) -> str:
    from brain2pix.training.run_folder import model_description

    try:
        return str(model_description(folder)["title"])
    except (Brain2PixError, KeyError):
        return ""


def _pictures(workspace: "Workspace") -> Row:
    pictures = workspace.pictures
    if pictures.reconstructions is None:
        todo = "Press Reconstruct (step Decode)." if workspace.model is not None else "They need a trained model (step Train)."
        return Row("Pictures", "no reconstructions", "missing", todo)
    return Row("Pictures", f"{len(pictures.stimulus_ids):,} {pictures.split} images reconstructed", "done")
