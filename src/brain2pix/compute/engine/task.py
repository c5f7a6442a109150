"""The one function that a server runs for a job. What it gives back are plain values: results lie in the run folder."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from brain2pix.compute.engine import control
from brain2pix.compute.runner import Supervisor, end_from_outside, one_line, run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from distributed import Worker


def run_folder(job_id: str, key: str, folder: str, needed: Sequence[dict[str, str]] = ()) -> dict[str, str]:
    """Run the job of a folder in this worker, or go on with it.

    Parameters
    ----------
    job_id, key : str, of the job and of this task
    folder : str, a run folder with a ``job.json``
    needed : sequence of dict, what the jobs gave back that had to be finished before

    Returns
    -------
    dict with "id", "state" ("finished", "cancelled" or "failed") and "error"
    """
    worker = get_worker()
    name = control.TOPIC + job_id
    worker.log_event(name, {"kind": "begun", "key": key, "worker": worker.address})
    state, error = _said_before(key, folder) or _missing(needed, folder) or _run(job_id, key, folder, worker)
    worker.log_event(name, {"kind": "ended", "key": key, "state": state, "error": error})
    return {"id": job_id, "state": state, "error": error}


def _said_before(key: str, folder: str) -> tuple[str, str] | None:
    """How this very task ended already: dask runs it again if the process that held its answer dies, and a cancelled job must stay so."""
    status = RunFolder(Path(folder)).read_status()
    if status.get("task") != key or status.get("state") not in ("cancelled", "failed"):
        return None
    return str(status["state"]), str(status.get("error") or "")


def _missing(needed: Sequence[dict[str, str]], folder: str) -> tuple[str, str] | None:
    error = control.lacks([(outcome["id"], outcome["state"]) for outcome in needed if outcome["state"] != "finished"])
    if not error:
        return None
    end_from_outside(RunFolder(Path(folder)), "failed", error)
    return "failed", error


def _run(job_id: str, key: str, folder: str, worker: "Worker") -> tuple[str, str]:
    plugin = control.control_of(worker)

    def tell(line: dict[str, Any]) -> None:
        try:
            worker.log_event(control.TOPIC + job_id, line)
        except Exception:  # nothing that is told may end what it tells of
            return

    with plugin.running(job_id) as token:
        try:
            outcome = run_job(JobSpec.from_file(Path(folder)), cancel=token, supervisor=Supervisor(plugin.server_id, key, tell))
        except Exception as error:  # it stands in the folder, with its traceback
            return "failed", one_line(error)
        finally:
            _leave_as_found()
    return ("cancelled", "") if outcome == "cancelled" else ("finished", "")


def _leave_as_found() -> None:
    """Let the next job of this process find what it would find in a process of its own, and give back the memory of the graphics card."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_flush_denormal(False)  # trainings turn it on, for their thread
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
