"""What becomes of jobs when their window closes: the user decides."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QMessageBox, QWidget

GOES_ON, STOPS, STAY = "goes on", "stops", "stay"


def ask_about_jobs(window: QWidget, jobs: Sequence[tuple[str, Path]]) -> str:
    """Ask what becomes of the jobs that are going on.

    Parameters
    ----------
    window : QWidget
    jobs : sequence of (kind, folder), at least one

    Returns
    -------
    GOES_ON, STOPS or STAY (the window is not to close)
    """
    one = len(jobs) == 1
    kind, folder = jobs[0]
    box = QMessageBox(window)
    box.setWindowTitle("brain2pix")
    listed = "\n".join(f"{kind} in {folder}" for kind, folder in jobs)
    box.setText(f"A job is going on: {kind} in {folder}" if one else f"{len(jobs)} jobs are going on or waiting:\n{listed}")
    box.setInformativeText(
        f"{'It' if one else 'They'} can go on without the window; the next window finds {'it' if one else 'them'} again."
    )
    goes_on = box.addButton(_goes_on(kind, one), QMessageBox.ButtonRole.AcceptRole)
    stops = box.addButton("Stop it" if one else "Stop them", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(goes_on)
    box.setEscapeButton(stay)
    box.exec()
    chosen = box.clickedButton()
    box.deleteLater()
    return GOES_ON if chosen is goes_on else STOPS if chosen is stops else STAY


def _goes_on(kind: str, one: bool) -> str:
    return "They go on" if not one else "Training goes on" if kind == "train" else "It goes on"
