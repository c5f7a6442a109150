"""What most jobs open first: a trained system and the subject whose voxels it reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.compute.device import choose_device
from brain2pix.data.images import as_uint8
from brain2pix.data.subject import open_subject
from brain2pix.errors import MissingDataError
from brain2pix.training.run_folder import RunFolder, check_model_fits, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject
    from brain2pix.events import CancelToken
    from brain2pix.methods.base import Method


@dataclass(frozen=True)
class TrainedRun:
    """A trained system with its subject.

    Parameters
    ----------
    path : Path, the run folder
    method : Method, on `device`
    subject : Subject
    voxel_index : int array, [v], rows of the subject's voxel table that the system reads
    device : torch.device
    """

    path: Path
    method: "Method"
    subject: "Subject"
    voxel_index: "NDArray[np.int64]"
    device: torch.device

    def notes_on(self, split: str) -> list[str]:
        """Say of the stimuli of a split what a reader of their scores must know: which have no picture, which were trained on."""
        subject, notes = self.subject, []
        ids = set(subject.trials["stimulus_id"].to_numpy()[subject.rows(split)])
        lacking = [name for name in ids if not subject.has_picture(name)]
        if lacking:
            notes.append(f"{len(lacking)} of {len(ids)} stimuli of split {split!r} have no picture: nothing is compared with it")
        train = str(RunFolder(self.path).read_job().get("params", {}).get("train_split", "train"))
        seen = ids & set(subject.trials.loc[subject.trials["split"] == train, "stimulus_id"])
        if seen:
            notes.append(f"{len(seen)} of {len(ids)} stimuli of split {split!r} are images that the system was trained on")
        return notes

    def describe(self) -> dict[str, Any]:
        """JSON values for settings.json."""
        return {
            "run": str(self.path),
            "method": self.method.name,
            "subject": str(self.subject.path),
            "simulated": self.subject.simulated,
            "n_voxels": int(self.voxel_index.size),
            "device": str(self.device),
        }


def open_run(run: Path, subject: Path | None, device: str) -> TrainedRun:
    """Load a trained system and open the subject that it was trained on, or another place where that subject lies.

    Its responses are z-scored as they were for the training.

    Raises
    ------
    MissingDataError, DataFormatError
        If model or subject are missing or damaged, or do not belong together.
    """
    place = choose_device(device)
    method = load_model(run, place)
    known = method.info.subjects[0]
    opened = open_subject(*(subject, None) if subject is not None else _subject_of(run, known.subject), zscore=known.zscore)
    return TrainedRun(run, method, opened, check_model_fits(method, opened), place)


def decode_images(
    method: "Method",
    responses: "NDArray[np.float32]",
    device: torch.device,
    cancel: "CancelToken",
    batch: int = 64,
    stimulus_ids: "Sequence[str]" = (),
) -> "NDArray[np.uint8]":
    """Reconstruct images from responses [m v], some at a time, as uint8 [m h w 3]."""
    return as_uint8(decode_floats(method, responses, device, cancel, batch, stimulus_ids))


def decode_floats(
    method: "Method",
    responses: "NDArray[np.float32]",
    device: torch.device,
    cancel: "CancelToken",
    batch: int = 64,
    stimulus_ids: "Sequence[str]" = (),
) -> torch.Tensor:
    """Reconstruct images from responses, some at a time.

    Parameters
    ----------
    method : Method, on `device`
    responses : float32 array, [m v]
    device : torch.device
    cancel : CancelToken
    batch : int
    stimulus_ids : sequence of str, [m], what each response was measured for; empty if that is not known

    Returns
    -------
    Tensor, [m 3 h w], in 0..1
    """
    assert len(stimulus_ids) in (0, len(responses))
    subject = method.info.subjects[0]
    parts = []
    for start in range(0, len(responses), batch):
        cancel.check()
        values = torch.from_numpy(responses[start : start + batch]).to(device)
        shown = tuple(stimulus_ids[start : start + batch])
        with torch.no_grad():
            parts.append(method.decode(VoxelBatch(values, (subject.subject,) * len(values), subject.unit, shown)).cpu())
    return torch.cat(parts)


def _subject_of(run: Path, name: str) -> tuple[Path, str | None]:
    given = RunFolder(run).read_job().get("params", {}).get("subject")
    if given is None:
        raise MissingDataError(f"{run} does not say where its subject lies; give it with --subject")
    if not Path(given).is_dir():
        raise MissingDataError(f"{run} was trained on {given}, which is not there any more; give its new place with --subject")
    return Path(given), name
