"""What servers say and what folders hold, put together."""

import json
import os

import pytest

from brain2pix.compute.engine.registry import job_id, note_job
from brain2pix.compute.engine.states import WHY_NOT, job_states, progress_of, standing_of, state_of
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.events import CancelToken, Progress, Started
from brain2pix.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("counting", "own_state")


@pytest.fixture
def own_state(monkeypatch, tmp_path):
    """Keep the lists of the tests apart."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def job(tmp_path, name="run", **params):
    return JobSpec("count", params, tmp_path / name)


def row(folder, state, **more):
    return {"id": job_id(folder), "kind": "count", "folder": str(folder), "state": state, "error": "", "submitted_s": 50.0, **more}


def killed(folder):
    """Make a folder look as a killed process leaves it."""
    run = RunFolder(folder)
    status = run.read_status()
    run.status.write_text(json.dumps({**status, "state": "running", "process_started": 1.0}))


def the_state(tables=None):
    (state,) = job_states(tables)
    return state


def test_jobs_that_ran_by_themselves(tmp_path):
    run_job(job(tmp_path, "done", n=2))
    with pytest.raises(ZeroDivisionError):
        run_job(job(tmp_path, "bad", fail_at=1))
    token = CancelToken()
    token.cancel()
    run_job(job(tmp_path, "stopped"), cancel=token)
    run_job(job(tmp_path, "dead"))
    killed(tmp_path / "dead")
    job(tmp_path, "unborn").write()
    for name in ("done", "bad", "stopped", "dead", "unborn", "gone"):
        note_job(tmp_path / name, "count")
    states = {state.folder.name: state for state in job_states()}
    assert {name: state.state for name, state in states.items()} == {
        "done": "finished",
        "bad": "failed",
        "stopped": "cancelled",
        "dead": "interrupted",
        "unborn": "new",
    }, "a job whose folder is gone is not listed"
    assert states["bad"].error == "ZeroDivisionError: a mistake of ours"
    assert (states["done"].kind, states["done"].attempt, states["done"].server, states["done"].error) == ("count", 1, "", "")
    assert (states["done"].id, states["unborn"].attempt) == (job_id(tmp_path / "done"), 0)
    assert [state.submitted_s for state in job_states()] == sorted((state.submitted_s for state in states.values()), reverse=True)


def test_a_wish_to_stop_is_seen(tmp_path):
    run_job(job(tmp_path))
    run = RunFolder(tmp_path / "run")
    note_job(run.path, "count")
    run.status.write_text(json.dumps({**run.read_status(), "state": "running"}))  # of this process, which lives
    assert the_state().state == "running"
    run.cancel.touch()
    assert the_state().state == "cancelling"


@pytest.mark.parametrize("there", ["queued", "running", "cancelling"])
def test_a_server_knows_what_goes_on(tmp_path, there):
    job(tmp_path).write()
    folder = tmp_path / "run"
    note_job(folder, "count", "id", "gpu")
    state = the_state({"gpu": [row(folder, there)]})
    assert (state.state, state.server, state.submitted_s) == (there, "gpu", 50.0)
    assert the_state({"gpu": []}).state == "new", "the server has forgotten it"
    assert the_state().server == "gpu", "where it was, if the server does not answer"


def test_the_folder_has_the_last_word(tmp_path):
    run_job(job(tmp_path, n=1))
    folder = tmp_path / "run"
    note_job(folder, "count", "id", "gpu")
    assert the_state({"gpu": [row(folder, "failed", error="the worker died")]}).state == "finished"
    assert the_state({"gpu": [row(folder, "running")]}).state == "running", "it was given to the server again"
    killed(folder)
    state = the_state({"gpu": [row(folder, "failed", error="the worker process died 4 times")]})
    assert (state.state, state.error) == ("failed", "the worker process died 4 times"), "a killed process says nothing itself"
    assert the_state({"other": []}).state == "interrupted"


def test_a_job_of_another_machine_needs_no_folder_here(tmp_path):
    folder = tmp_path / "elsewhere"
    state = the_state({"gpu": [row(folder, "running", kind="train")]})
    assert (state.id, state.kind, state.state, state.folder, state.attempt) == (job_id(folder), "train", "running", folder, 0)
    assert the_state({"gpu": [row(folder, "failed", error="bad")]}).error == "bad"


def test_a_damaged_folder_says_so(tmp_path):
    run_job(job(tmp_path, n=1))
    note_job(tmp_path / "run", "count")
    RunFolder(tmp_path / "run").status.write_text('{"state": "ru')
    assert the_state().state == "failed" and "status.json is not valid JSON" in the_state().error


def test_one_folder_known_or_not(tmp_path):
    run_job(job(tmp_path, n=1))
    folder = tmp_path / "run"
    state = state_of(folder, job_id(folder))
    assert (state.state, state.kind) == ("finished", "count") and state.submitted_s > 0
    note_job(folder, "count", "id", "gpu")
    assert state_of(folder, job_id(folder)).server == "gpu"
    assert state_of(tmp_path / "nothing", "nothing-1").state == "new"


def test_what_stands_in_a_folder(tmp_path):
    spec = job(tmp_path, n=1)
    assert standing_of(spec) == "new"
    (tmp_path / "run").mkdir()
    assert standing_of(spec) == "new"
    (tmp_path / "run" / "notes.txt").touch()
    assert standing_of(spec) == "taken"
    (tmp_path / "run" / "notes.txt").unlink()
    run_job(spec)
    assert standing_of(spec) == "finished"
    assert standing_of(job(tmp_path, n=2)) == "other"
    killed(tmp_path / "run")
    assert standing_of(spec) == "interrupted"
    status = RunFolder(tmp_path / "run").read_status()
    RunFolder(tmp_path / "run").status.write_text(json.dumps({**status, "process_started": None, "pid": os.getpid(), "host": "other host"}))
    assert standing_of(spec) == "running"
    RunFolder(tmp_path / "run").job.write_text(json.dumps({"kind": "count", "params": {"of": "an older version"}}))
    assert standing_of(spec) == "other"
    (tmp_path / "file").touch()
    assert standing_of(job(tmp_path, "file")) == "file"
    assert {"taken", "finished", "other", "running", "file"} == set(WHY_NOT)


def test_the_newest_progress(tmp_path):
    folder = tmp_path / "run"
    assert progress_of(folder) is None
    run_job(job(tmp_path, n=3))
    assert progress_of(folder) == Started("count")
    record = RunFolder(folder).events
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[:-1]) + '\n{"kind": "from a later version"}\n{"kind": "progr')
    assert progress_of(folder) == Progress("count", 3, 3)
    record.write_text("\n".join([lines[0], *["x" * 200] * 1000, lines[-2]]) + "\n")  # longer than what is read of it
    assert progress_of(folder) == Progress("count", 3, 3)
    record.write_text(lines[0] + "\n")
    assert progress_of(folder) == Started("count")
