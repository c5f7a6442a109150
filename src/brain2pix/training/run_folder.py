"""A run is a folder: what was asked, what happened, what came out. Whoever reads it needs nothing else.

::

    job.json        what was asked: kind, parameters
    settings.json   every setting as it was resolved
    status.json     state, attempt, process, times, error
    events.jsonl    all events; metrics.csv: the numbers among them
    previews/       pictures of training
    checkpoints/    while training
    model/          model.safetensors + model.json
    results/        what the job made
    CANCEL          written by whoever wants the run to stop
"""

import hashlib
import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.arrays import SubjectInfo
from brain2pix.errors import ComputeError, DataFormatError, MissingDataError
from brain2pix.files import atomic_folder, atomic_path, disk_full_message, is_disk_full
from brain2pix.methods.registry import make_method, settings_from_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from brain2pix.data.subject import Subject
    from brain2pix.methods.base import Method

MODEL_FORMAT = 1


class RunFolder:
    """Paths of a run, and the few questions that every part of the program asks it.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def job(self) -> Path:
        """What was asked."""
        return self.path / "job.json"

    @property
    def settings(self) -> Path:
        """Every setting, resolved."""
        return self.path / "settings.json"

    @property
    def status(self) -> Path:
        """State, attempt, process, times, error."""
        return self.path / "status.json"

    @property
    def events(self) -> Path:
        """All events, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """The numbers among the events."""
        return self.path / "metrics.csv"

    @property
    def previews(self) -> Path:
        """Folder of pictures made during training."""
        return self.path / "previews"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the trained system."""
        return self.path / "model"

    @property
    def results(self) -> Path:
        """Folder of what the job made."""
        return self.path / "results"

    @property
    def cancel(self) -> Path:
        """File that asks the run to stop."""
        return self.path / "CANCEL"

    def read_job(self) -> dict[str, Any]:
        """Read what was asked; empty if the folder was not made by a job."""
        return _read_json(self.job) if self.job.is_file() else {}

    def read_status(self) -> dict[str, Any]:
        """Read the status; empty before the first attempt."""
        return _read_json(self.status) if self.status.is_file() else {}

    def read_settings(self) -> dict[str, Any]:
        """Read what the settings were resolved to; empty if the folder was not made by a job."""
        return _read_json(self.settings) if self.settings.is_file() else {}

    def attempt(self) -> int:
        """How often the run was started."""
        return int(self.read_status().get("attempt", 0))

    def save_model(self, method: "Method", imported: dict[str, Any] | None = None) -> Path:
        """Save the trained system into `model`."""
        return save_model(method, self.model, imported)

    def load_model(self, device: "torch.device | str" = "cpu") -> "Method":
        """Load the trained system from `model`."""
        return load_model(self.path, device)


def save_model(method: "Method", folder: Path, imported: dict[str, Any] | None = None) -> Path:
    """Save a trained system: tensors as safetensors, everything else as JSON.

    Parameters
    ----------
    method : Method
    folder : Path, replaced only when the new one is complete
    imported : dict or None, JSON values: where a system comes from that was not trained here

    Raises
    ------
    ComputeError
        If the disk is full: `folder` is then as it was before.
    """
    from safetensors.torch import save_file

    origin = {} if imported is None else {"imported": imported}
    fresh = folder.with_name(f"{folder.name}.new")
    old = folder.with_name(f"{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with atomic_folder(fresh) as beside:
            tensors = beside / "model.safetensors"
            save_file(_own_tensors(method.state_dict()), tensors)
            about = {**_describe(method), **origin, "sha256": hashlib.sha256(tensors.read_bytes()).hexdigest()}
            with atomic_path(beside / "model.json") as file:
                file.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except Exception as error:
        # name the place that the user knows, not the one beside it
        if is_disk_full(error):
            raise ComputeError(disk_full_message(folder)) from error
        raise
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def load_model(folder: Path, device: "torch.device | str" = "cpu") -> "Method":
    """Load a trained system.

    Parameters
    ----------
    folder : Path, a run folder or its `model` folder
    device : device or str

    Raises
    ------
    MissingDataError
        If there is no trained system.
    DataFormatError
        If a file is truncated or changed.
    """
    import torch
    from safetensors.torch import load

    place, about = _open_model(folder)
    content = (place / "model.safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != about["sha256"]:
        raise DataFormatError(
            f"{place / 'model.safetensors'} is truncated or was changed: its sha256 is not the one in model.json. "
            "Copy it again or train again."
        )
    subjects = [SubjectInfo.from_dict(values) for values in about["subjects"]]
    method = make_method(about["method"], settings_from_json(about["method"], json.dumps(about["settings"])), subjects, about["image_size"])
    try:
        method.load_state_dict(load(content))
    except (KeyError, RuntimeError) as error:
        raise DataFormatError(f"{place} does not fit this version of {about['method']}: {error}. Train it again.") from error
    method.to(torch.device(device))
    return method


def model_description(folder: Path) -> dict[str, Any]:
    """Read what a trained system says of itself, without loading it (and without torch).

    Parameters
    ----------
    folder : Path, a run folder or its `model` folder

    Returns
    -------
    dict with `method`, `title`, `settings`, `subjects`, `image_size`, `has_encoder`, `transductive`, `folds`, `versions`,
    and `imported` if it was not trained here
    """
    return _open_model(folder)[1]


def check_model_fits(method: "Method", subject: "Subject") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Refuse a subject whose voxels are not the ones that a system was trained on.

    Parameters
    ----------
    method : Method
    subject : Subject

    Returns
    -------
    int array, [v], rows of the subject's voxel table that the system reads

    Raises
    ------
    DataFormatError
        If the voxels or their order differ.
    """
    return check_voxels_fit(method.info.subjects[0], subject)


def check_voxels_fit(trained: SubjectInfo, subject: "Subject") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Do the same with what ``model.json`` says of the voxels: no torch, no model."""
    n_voxels = len(subject.voxels)
    advice = "It is a checkpoint of another subject or voxel order: open the subject it was trained on, or train on this one."
    if trained.voxel_index.size and int(trained.voxel_index.max()) >= n_voxels:
        raise DataFormatError(
            f"the model reads voxel row {int(trained.voxel_index.max())} of {trained.subject}, "
            f"{subject.path} has {n_voxels} voxels. {advice}"
        )
    here = subject.describe(trained.voxel_index)
    if here.voxel_hash != trained.voxel_hash:
        raise DataFormatError(
            f"the model was trained on {trained.n_voxels} voxels of {trained.subject} (fingerprint {trained.voxel_hash[:12]}), "
            f"the same rows of {subject.path} have fingerprint {here.voxel_hash[:12]}. {advice}"
        )
    return trained.voxel_index


def versions() -> dict[str, str]:
    """Versions of what decides a result, for the record."""
    found = {"python": platform.python_version()}
    for name in ("napari-brain2pix", "torch", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _describe(method: "Method") -> dict[str, Any]:
    info = method.info
    return {
        "format": MODEL_FORMAT,
        "method": method.name,
        "title": info.title,
        "image_size": method.image_size,
        "has_encoder": info.has_encoder,
        "transductive": list(info.transductive),
        "folds": [list(names) for names in info.folds],
        "settings": method.settings.model_dump(mode="json"),
        "subjects": [subject.to_dict() for subject in method.subjects],
        "versions": versions(),
    }


def _own_tensors(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Copy to the CPU; safetensors refuses tensors that share memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _open_model(folder: Path) -> tuple[Path, dict[str, Any]]:
    for place in (folder / "model", folder):
        if (place / "model.json").is_file():
            about = _read_json(place / "model.json")
            if about.get("format") != MODEL_FORMAT:
                raise DataFormatError(f"{place / 'model.json'} has format {about.get('format')}, this version reads {MODEL_FORMAT}")
            if not (place / "model.safetensors").is_file():
                raise MissingDataError(f"{place / 'model.safetensors'} is missing; copy it again or train again")
            return place, about
    status = RunFolder(folder).read_status() if folder.is_dir() else {}
    if status:
        raise MissingDataError(f"{folder} has no trained model: the run is {status['state']}. Finish it with: brain2pix run {folder}")
    raise MissingDataError(f"{folder} has no trained model (model/model.json); give the folder of a finished `brain2pix train`")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataFormatError(f"{file} is not valid JSON ({error}); it may be truncated") from None
    if not isinstance(values, dict):
        raise DataFormatError(f"{file} must hold a JSON object, found {type(values).__name__}")
    return values
