"""The one place that says what to install where there is no Qt."""

from importlib import import_module

from brain2pix.errors import MissingDependencyError

NO_QT = 'pip install "napari-brain2pix[pyqt5]"'


def require_qt() -> None:
    """Say what to install where there is no Qt binding.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import_module("qtpy.QtWidgets")
    except ImportError as error:
        raise MissingDependencyError(NO_QT) from error
