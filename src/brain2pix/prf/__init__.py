"""Receptive fields of a trained system: maps of all voxels from its encoder or its decoder, and what is read from them."""

from typing import TYPE_CHECKING, Any

from brain2pix.prf.decoder import base_patterns, change_maps
from brain2pix.prf.maps import ReceptiveFields, check_centre, enlarge_maps, receptive_fields

if TYPE_CHECKING:
    from brain2pix.prf.gradient import gradient_maps, input_images

__all__ = [
    "ReceptiveFields",
    "base_patterns",
    "change_maps",
    "check_centre",
    "enlarge_maps",
    "gradient_maps",
    "input_images",
    "receptive_fields",
]


def __getattr__(name: str) -> Any:
    # gradients need torch, reading maps does not: torch is imported on first use
    if name in ("gradient_maps", "input_images"):
        from brain2pix.prf import gradient

        return getattr(gradient, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
