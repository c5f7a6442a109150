"""Checks on stored tensors before they replace what a system holds."""

from typing import TYPE_CHECKING

from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def check_state(expected: "Mapping[str, Tensor]", state: "Mapping[str, Tensor]", name: str) -> None:
    """Refuse stored tensors whose names or shapes are not those of the system.

    Parameters
    ----------
    expected : mapping, name to tensor of the system
    state : mapping, name to tensor of the file
    name : str, of the system

    Raises
    ------
    DataFormatError
        Naming the first tensors that are missing, unknown or of another shape.
    """
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = [
        f"{label} {', '.join(found[:3])}{' ...' if len(found) > 3 else ''}"
        for label, found in (("missing", missing), ("unknown", unknown), ("other shape:", shapes))
        if found
    ]
    if problems:
        raise DataFormatError(
            f"these are not the tensors of this {name} model ({'; '.join(problems)}); "
            "open it with the settings and the subject it was trained with"
        )
