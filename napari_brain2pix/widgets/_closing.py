"""What becomes of a job when its window closes: the user decides."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox, QWidget

if TYPE_CHECKING:
    from napari_brain2pix.children.jobs import JobRunner

GOES_ON, STOPS, STAY = "goes on", "stops", "stay"


def ask_about_job(window: QWidget, runner: "JobRunner") -> str:
    """Ask what becomes of the job that is going on.

    Returns
    -------
    GOES_ON, STOPS or STAY (the window is not to close)
    """
    kind = runner.job.get("kind", "")
    box = QMessageBox(window)
    box.setWindowTitle("brain2pix")
    box.setText(f"A job is going on: {kind} in {runner.folder}")
    box.setInformativeText("It can go on without the window. Open its folder later to see it again.")
    goes_on = box.addButton("Training goes on" if kind == "train" else "It goes on", QMessageBox.ButtonRole.AcceptRole)
    stops = box.addButton("Stop it", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(goes_on)
    box.setEscapeButton(stay)
    box.exec()
    chosen = box.clickedButton()
    box.deleteLater()
    return GOES_ON if chosen is goes_on else STOPS if chosen is stops else STAY
