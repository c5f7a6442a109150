"""Which decoders never saw the responses to which test image, by the name of the image, so that it survives any reordering."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.data.folds import folds_of
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.data.training import RepeatedResponses

_NO_FOLD = -1


@dataclass(frozen=True)
class Folds:
    """Parts of the test images.

    Parameters
    ----------
    ids : tuple of tuples of str, stimuli of each part; empty before training, and for a system without parts
    """

    ids: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def divide(cls, repeats: "RepeatedResponses | None", n_folds: int) -> "Folds":
        """Divide test images, all of one photograph or class in the same part.

        Raises
        ------
        ConfigError
            If there are no test responses, if nothing is known of their images, or if these come from too few photographs.
        """
        if repeats is None:
            raise ConfigError(
                f"repeats.folds is {n_folds}, but this training gets no test responses: every image is decoded without having been seen "
                "anyway; set repeats.folds to 0"
            )
        if repeats.groups is None or len(repeats.stimulus_ids) != repeats.n_images:
            raise ConfigError(
                f"repeats.folds divides test images by name and photograph, but {len(repeats.stimulus_ids)} names are known for "
                f"{repeats.n_images} images; give stimulus_ids and groups with the repeats, or set repeats.folds to 0"
            )
        images = folds_of(repeats.groups, n_folds)[1]
        if len(images) < n_folds:
            n_groups = len(np.unique(repeats.groups))
            advice = f"{n_groups} or less" if n_groups > 1 else "0"
            raise ConfigError(
                f"repeats.folds is {n_folds}, but the test images come from {n_groups} photograph(s) or class(es) only; "
                f"set repeats.folds to {advice}"
            )
        return cls(tuple(tuple(repeats.stimulus_ids[image] for image in part) for part in images))

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: fold for fold, names in enumerate(self.ids) for name in names}

    def of(self, stimulus_ids: "Sequence[str]") -> "NDArray[np.int64]":
        """Part of each stimulus, [b]; -1 for those in none."""
        return np.array([self._place.get(name, _NO_FOLD) for name in stimulus_ids], dtype=np.int64)

    def to_tensor(self) -> "Tensor":
        """Write the names as bytes (JSON, UTF-8), to be saved with a model."""
        return torch.frombuffer(bytearray(json.dumps(self.ids).encode()), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, stored: "Tensor", n_folds: int) -> "Folds":
        """Read what `to_tensor` wrote.

        Raises
        ------
        DataFormatError
            If it is something else, or there is another number of parts.
        """
        try:
            parts = json.loads(stored.cpu().numpy().tobytes())
            found = cls(tuple(tuple(str(name) for name in names) for names in parts))
        except (ValueError, TypeError) as error:
            raise DataFormatError(f"the stored parts of the test images cannot be read ({error}); train the model again") from None
        if len(found.ids) not in (0, n_folds):
            raise DataFormatError(f"the model stores {len(found.ids)} parts of the test images, its settings say {n_folds}; train it again")
        return found
