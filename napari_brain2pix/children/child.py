"""What every child process of the window ends with."""

from qtpy.QtCore import QProcess

GRACE_MS = 2000


def end_child(process: QProcess | None) -> None:
    """Kill a child that is still there and wait for it; none of its signals arrives any more."""
    if process is not None and process.state() != QProcess.ProcessState.NotRunning:
        process.blockSignals(True)
        process.kill()
        process.waitForFinished(GRACE_MS)
