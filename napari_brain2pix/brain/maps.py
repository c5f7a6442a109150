"""What the window calls a map: the core's own views, so that an exported figure shows exactly what the canvas does."""

from brain2pix.figures.views import MapKind, MapView, map_kinds, map_view, threshold_range, why_no_accuracy

__all__ = ["MapKind", "MapView", "map_kinds", "map_view", "threshold_range", "why_no_accuracy"]
