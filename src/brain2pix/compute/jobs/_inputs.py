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
    method: "Method", responses: "NDArray[np.float32]", device: torch.device, cancel: "CancelToken", batch: int = 64
) -> "NDArray[np.uint8]":
    """Reconstruct images from responses [m v], some at a time, as uint8 [m h w 3]."""
    return as_uint8(decode_floats(method, responses, device, cancel, batch))


def decode_floats(
    method: "Method", responses: "NDArray[np.float32]", device: torch.device, cancel: "CancelToken", batch: int = 64
) -> torch.Tensor:
    """Reconstruct images from responses [m v], some at a time, as Tensor [m 3 h w] in 0..1."""
    subject = method.info.subjects[0]
    parts = []
    for start in range(0, len(responses), batch):
        cancel.check()
        values = torch.from_numpy(responses[start : start + batch]).to(device)
        with torch.no_grad():
            parts.append(method.decode(VoxelBatch(values, (subject.subject,) * len(values), subject.unit)).cpu())
    return torch.cat(parts)


def _subject_of(run: Path, name: str) -> tuple[Path, str | None]:
    given = RunFolder(run).read_job().get("params", {}).get("subject")
    if given is None:
        raise MissingDataError(f"{run} does not say where its subject lies; give it with --subject")
    if not Path(given).is_dir():
        raise MissingDataError(f"{run} was trained on {given}, which is not there any more; give its new place with --subject")
    return Path(given), name
