"""Receptive fields from a trained encoder: gradient maps of all voxels, and what is read from them."""

from typing import TYPE_CHECKING, Any

from brain2pix.prf.maps import ReceptiveFields, receptive_fields

if TYPE_CHECKING:
    from brain2pix.prf.gradient import gradient_maps, input_images

__all__ = ["ReceptiveFields", "gradient_maps", "input_images", "receptive_fields"]


def __getattr__(name: str) -> Any:
    # gradients need torch, reading maps does not: torch is imported on first use
    if name in ("gradient_maps", "input_images"):
        from brain2pix.prf import gradient

        return getattr(gradient, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
