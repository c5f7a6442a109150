"""Voxels to images and back: the science of napari-brain2pix, free of Qt and napari.

Importing this package imports nothing heavy; take what you need from its sub-packages.
"""

__version__ = "0.1.0"
