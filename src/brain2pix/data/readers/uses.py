"""Which choices of an import a format can use: forms show these and no others."""

from dataclasses import dataclass
from typing import Literal

from brain2pix.config.importing import Choices, OwnParams, SplitParams

OWN = "own"


@dataclass(frozen=True)
class Uses:
    """Choices, as dotted names of `Choices`.

    Parameters
    ----------
    often : tuple of str, what most are asked for, in the order in which it is asked
    seldom : tuple of str, the rest
    images : tuple of "folder" and "file", what the pictures may come in
    """

    often: tuple[str, ...]
    seldom: tuple[str, ...]
    images: tuple[Literal["folder", "file"], ...] = ("folder",)

    @property
    def every(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.often, *self.seldom)


_PLACED = Uses(("images", "subject", "masks", "areas", "missing"), ("split", "field_of_view_deg", "zscore", "flip", "flip_images"))
_UNPLACED = ("field_of_view_deg", "flip_images")
USES: dict[str, Uses] = {
    "god-matlab": _PLACED,
    "god-hdf5": _PLACED,
    "god-npz": Uses(("images", "subject", "areas", "missing"), _UNPLACED, ("file",)),
    "vim-1": Uses(("images", "subject", "areas", "missing"), ("n_train", "n_validation", *_UNPLACED), ("file",)),
    OWN: Uses(
        (
            *("own.table", "images", "own.regions", "own.mask", "own.anatomy", "own.surfaces"),
            *("field_of_view_deg", "splits.by", "splits.test_share", "missing"),
        ),
        (
            *("subject", "areas", "own.dataset", "own.voxel_order", "own.unit", "zscore", "flip", "flip_images"),
            *("splits.validation_share", "splits.seed"),
        ),
        ("folder", "file"),
    ),
}


def uses(kind: str) -> Uses:
    """Choices that a format can use; of one without a row here all but those of files of one's own.

    Parameters
    ----------
    kind : str, name of a reader
    """
    groups = (OwnParams, SplitParams)
    return USES.get(kind) or Uses(tuple(name for name, about in Choices.model_fields.items() if about.annotation not in groups), ())
