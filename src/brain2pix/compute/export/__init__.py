"""Figures with captions and sidecars, maps, scores and records of a folder: the window and ``brain2pix export`` write the same.

Importing this package is cheap; matplotlib is loaded by `brain2pix.compute.export.write`.
"""

from brain2pix.compute.export.offers import remedy, why_not

__all__ = ["remedy", "why_not"]
