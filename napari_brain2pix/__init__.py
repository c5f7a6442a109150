"""The window: napari shows what `brain2pix` computes. No science, no tensors, no file parsing here.

Importing this package imports neither Qt nor napari; each widget module imports what it needs.
"""

from brain2pix import __version__

__all__ = ["__version__"]
