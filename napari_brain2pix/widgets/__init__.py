"""The panels of the window, one file each. They show a `State` and change it; none knows another."""

from napari_brain2pix._qt import require_qt

require_qt()
