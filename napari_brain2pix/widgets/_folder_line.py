"""Where something new goes: a folder that a form proposes and the user may write or choose."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import free_folder


class FolderLine(QLineEdit):
    """A proposal until the user gives a folder, or again when that is erased.

    Signals
    -------
    given : the user wrote, chose or erased it

    Parameters
    ----------
    what : str, whose folder it is, for names and titles
    new : bool, the folder must be new: of a chosen one that holds something a sub-folder is taken, named like what was shown before

    Attributes
    ----------
    browse : QPushButton, beside it
    is_given : bool, whether it is the user's
    """

    given = Signal()

    def __init__(self, what: str, *, new: bool = False) -> None:
        super().__init__()
        self._what, self._new = what, new
        self.is_given = False
        self.browse = QPushButton("…")
        self.browse.setFixedWidth(28)
        self.browse.setAccessibleName(f"Choose folder of {what}")
        self.setAccessibleName(f"Folder of {what}")
        self.textEdited.connect(self._written)
        self.browse.clicked.connect(self._choose)

    def path(self) -> Path:
        """Absolute path that it shows."""
        return path_in(self)

    def propose(self, folder: Path) -> None:
        """Show a folder, unless the user has given one."""
        if not self.is_given:
            self.setText(str(folder))

    def forget(self) -> None:
        """Take proposals again."""
        self.is_given = False

    @guarded
    def _written(self, text: str) -> None:
        self.is_given = bool(text.strip())
        self.given.emit()

    @guarded
    def _choose(self) -> None:
        near = next((place for place in self.path().parents if place.is_dir()), Path.home())
        chosen = QFileDialog.getExistingDirectory(self, f"Folder of {self._what}", str(near))
        if not chosen:
            return
        folder = Path(chosen)
        if self._new and any(folder.iterdir()):  # most likely the place for several
            folder = free_folder(folder / self.path().name)
        self.setText(str(folder))
        self._written(str(folder))


def path_in(field: QLineEdit) -> Path:
    """Absolute path that a field holds."""
    return Path(field.text().strip()).expanduser().absolute()
