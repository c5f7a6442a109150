"""One row of the sheet as trained systems: usually one, for the inductive row one for each part of the test photos."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.jobs._inputs import TrainedRun, decode_images, open_run
from brain2pix.stimulation import decode_function
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.events import CancelToken


@dataclass(frozen=True)
class SheetRow:
    """Systems of one row, and which of them decodes which test image.

    Parameters
    ----------
    runs : tuple of TrainedRun
    part : int array, [m], place in `runs` of the system that decodes each test image
    stimulus_ids : list of str, [m], of the test images
    """

    runs: tuple[TrainedRun, ...]
    part: "NDArray[np.int64]"
    stimulus_ids: list[str]

    def decode(self, responses: "NDArray[np.float32]", cancel: "CancelToken") -> "NDArray[np.uint8]":
        """Reconstruct all test images from their mean responses [m v], as uint8 [m h w 3]."""
        size = self.runs[0].method.image_size
        images = np.empty((len(responses), size, size, 3), dtype=np.uint8)
        for number, run in enumerate(self.runs):
            rows = np.flatnonzero(self.part == number)
            images[rows] = decode_images(run.method, responses[rows], run.device, cancel, stimulus_ids=self._ids(rows))
        return images

    def decoder_of(self, images: "NDArray[np.int64]") -> "Callable[[NDArray[np.float32]], NDArray[np.float32]]":
        """Give the function from patterns [b v], one of each of these test images, to pictures [b 3 h w]."""
        parts = self.part[images]
        decoders = [decode_function(run.method, stimulus_ids=self._ids(images[parts == number])) for number, run in enumerate(self.runs)]

        def decode(patterns: "NDArray[np.float32]") -> "NDArray[np.float32]":
            made = np.empty((len(patterns), 3, *[self.runs[0].method.image_size] * 2), dtype=np.float32)
            for number in np.unique(parts):
                made[parts == number] = decoders[number](patterns[parts == number])
            return made

        return decode

    def _ids(self, images: "NDArray[np.int64]") -> list[str]:
        return [self.stimulus_ids[image] for image in images]


def open_row(folders: "tuple[Path, ...]", part: "NDArray[np.int64]", stimulus_ids: list[str]) -> SheetRow | None:
    """Load the systems of a row; None unless all of them are trained."""
    if not all(RunFolder(folder).model.is_dir() for folder in folders):
        return None
    return SheetRow(tuple(open_run(folder, None, "auto") for folder in folders), part, stimulus_ids)
