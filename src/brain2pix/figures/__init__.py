"""Figures: results in, a matplotlib Figure out; nothing is shown or saved here, and pyplot is never touched.

Importing this package is cheap; `colormaps` needs numpy only and is shared with the window. The figures load matplotlib:
``from brain2pix.figures.maps import surface_map_figure``.
"""

from brain2pix.figures.colormaps import MAP_NAMES, map_colors, retinotopic_colors, wheel_image

__all__ = ["MAP_NAMES", "map_colors", "retinotopic_colors", "wheel_image"]
