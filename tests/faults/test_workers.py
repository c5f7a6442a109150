"""Worker processes that die, hang, fail and run out of memory."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from brain2pix.compute.record import read_events
from brain2pix.compute.runner import run_job, run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.training.run_folder import RunFolder

from .conftest import wait_for


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def steps_done(folder: Path, stage: str = "decoder!") -> int:
    return max(
        (line["done"] for line in read_events(folder / "events.jsonl") if line["kind"] == "progress" and line["stage"] == stage), default=0
    )


def worker_pid(folder: Path) -> int:
    return int(RunFolder(folder).read_status()["pid"])


@pytest.fixture
def whole(tmp_path):
    """The same training, never interrupted, in this process, with as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_job(JobSpec("toy_train", {"step_s": 0.03}, tmp_path / "whole"))
    torch.set_num_threads(before)
    return tmp_path / "whole"


def test_a_killed_worker_is_replaced_and_the_result_is_the_same_to_the_last_bit(engine, tmp_path, whole):
    spec = JobSpec("toy_train", {"step_s": 0.03}, tmp_path / "run")
    job = engine.submit(spec)
    wait_for(lambda: steps_done(tmp_path / "run") >= 15, what="the second phase")
    os.kill(worker_pid(tmp_path / "run"), 9)
    killed_s = time.monotonic()
    wait_for(lambda: RunFolder(tmp_path / "run").attempt() == 2, what="the second attempt")
    print(f"MEASURED restarted {time.monotonic() - killed_s:.2f} s after kill -9")
    row = engine.wait(job, 120)
    assert (row["state"], row["deaths"]) == ("finished", 1)
    going_on = [
        line["text"] for line in read_events(tmp_path / "run" / "events.jsonl") if "going on from the checkpoint" in line.get("text", "")
    ]
    assert len(going_on) == 1 and "phase 2, step" in going_on[0]
    assert_same_weights(whole, tmp_path / "run")


def test_a_job_under_which_workers_die_again_and_again_is_given_up_and_can_be_resumed(engine, tmp_path):
    job = engine.submit(JobSpec("toy_train", {"die_each_attempt": True}, tmp_path / "run"))
    behind = engine.submit(JobSpec("count", {"n": 3}, tmp_path / "behind"))
    row = engine.wait(job, 120)
    assert (row["state"], row["deaths"]) == ("failed", 4)
    assert "died 4 times" in row["error"] and "Resume" in row["error"]
    status = RunFolder(tmp_path / "run").read_status()
    assert (status["state"], status["attempt"]) == ("failed", 4) and status["error"] == row["error"]
    assert engine.wait(behind, 60)["state"] == "finished", "who waits behind such a job is not to blame"
    assert engine.submit(JobSpec("toy_train", {"die_each_attempt": True}, tmp_path / "run")) == job


def test_a_mistake_in_a_job_fails_once_with_its_traceback(engine, tmp_path):
    row = engine.wait(engine.submit(JobSpec("count", {"fail_at": 2}, tmp_path / "run")), 60)
    assert (row["state"], row["deaths"]) == ("failed", 0) and row["error"] == "ZeroDivisionError: a mistake of ours"
    assert RunFolder(tmp_path / "run").attempt() == 1, "it would fail again: it is not repeated"
    (failed,) = [line for line in read_events(tmp_path / "run" / "events.jsonl") if line["kind"] == "failed"]
    assert "toy_job.py" in failed["detail"]
    row = engine.wait(engine.submit(JobSpec("count", {"bad_input": True}, tmp_path / "other")), 60)
    assert (row["state"], row["error"]) == ("failed", "the input is bad; bring a good one")


@pytest.mark.parametrize("hold_gil", [False, True], ids=["sleeps", "holds Python's lock"])
def test_a_hung_job_is_ended_after_its_grace(engine, tmp_path, hold_gil):
    job = engine.submit(JobSpec("hang", {"hold_gil": hold_gil}, tmp_path / "run"))
    wait_for(lambda: (tmp_path / "run" / "events.jsonl").exists(), what="the job to begin")
    time.sleep(0.5)
    pid = worker_pid(tmp_path / "run")
    began_s = time.monotonic()
    assert engine.cancel(job, grace_s=1.0) == "forced"
    took_s = time.monotonic() - began_s
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 5, "the process to end")
    print(f"MEASURED forced {took_s:.2f} s after the wish (grace 1 s), process gone after {time.monotonic() - began_s:.2f} s")
    assert run_state(RunFolder(tmp_path / "run")) == "cancelled"
    assert "ended at once" in RunFolder(tmp_path / "run").read_status()["error"]
    assert engine.wait(engine.submit(JobSpec("count", {"n": 2}, tmp_path / "next")), 60)["state"] == "finished"
    print(f"MEASURED the next job ended {time.monotonic() - began_s:.2f} s after the wish")
    assert RunFolder(tmp_path / "run").attempt() == 1, "it is not begun again"


def test_a_truncated_checkpoint_falls_back_to_the_one_before(engine, tmp_path, whole):
    folder = tmp_path / "run"
    job = engine.submit(JobSpec("toy_train", {"step_s": 0.03}, folder))
    wait_for(lambda: steps_done(folder) >= 25 and len(list((folder / "checkpoints").glob("*.pt"))) == 2, what="two checkpoints")
    engine.kill(job)
    engine.wait(job, 30)
    older, newest = sorted((folder / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert engine.wait(engine.submit(JobSpec("toy_train", {"step_s": 0.03}, folder)), 120)["state"] == "finished"
    said = [
        line.get("text", "") for line in read_events(folder / "events.jsonl") if line["kind"] == "message" and line["level"] == "warning"
    ]
    assert any(newest.name in text for text in said), said
    assert older.name != newest.name
    assert_same_weights(whole, folder)


def test_out_of_memory_names_batch_and_need_and_the_smaller_batch_runs(engine, tmp_path):
    row = engine.wait(engine.submit(JobSpec("hungry", {"batch": 64, "megabytes_each": 64}, tmp_path / "run")), 60)
    assert row["state"] == "failed" and row["deaths"] == 0, "a reported fault, not a death"
    assert "out of memory on cpu" in row["error"] and "batch = 64" in row["error"] and "4.0 GiB" in row["error"]
    assert "--set batch=32" in row["error"]
    fits = engine.wait(engine.submit(JobSpec("hungry", {"batch": 16, "megabytes_each": 64}, tmp_path / "smaller")), 60)
    assert fits["state"] == "finished", fits["error"]


def test_a_preempted_worker_gives_its_job_to_the_next(engine, tmp_path):
    """What a batch system does at the end of its walltime: SIGTERM, a while, then SIGKILL."""
    job = engine.submit(JobSpec("count", {"n": 60, "step_s": 0.05}, tmp_path / "run"))
    wait_for(lambda: (tmp_path / "run" / "results" / "count.json").exists(), what="the first step")
    worker = psutil.Process(worker_pid(tmp_path / "run"))
    worker.terminate()
    _, alive = psutil.wait_procs([worker], timeout=3)
    for process in alive:
        process.kill()
    assert engine.wait(job, 60)["state"] == "finished"
    assert json.loads((tmp_path / "run" / "results" / "count.json").read_text()) == 60
    assert RunFolder(tmp_path / "run").attempt() == 2


def test_a_queued_job_that_is_cancelled_never_runs(engine, tmp_path):
    running = engine.submit(JobSpec("count", {"n": 200, "step_s": 0.05}, tmp_path / "running"))
    queued = engine.submit(JobSpec("count", {}, tmp_path / "queued"))
    dependent = engine.submit(JobSpec("count", {}, tmp_path / "dependent"), depends=[queued])
    assert {row["id"]: row["state"] for row in engine.jobs()}[queued] == "queued"
    assert engine.cancel(queued) == "cancelled"
    row = engine.wait(dependent, 10)
    assert row["state"] == "failed" and f"{queued} is cancelled" in row["error"]
    began_s = time.monotonic()
    assert engine.cancel(running) == "cancelled"
    print(f"MEASURED a running job cancelled in {time.monotonic() - began_s:.2f} s")
    assert engine.wait(engine.submit(JobSpec("count", {"n": 1}, tmp_path / "last")), 60)["state"] == "finished"
    for name in ("queued", "dependent"):
        assert not (tmp_path / name / "events.jsonl").exists(), name
    assert run_state(RunFolder(tmp_path / "queued")) == "cancelled"
    assert engine.submit(JobSpec("count", {}, tmp_path / "queued")) == queued
    assert engine.wait(queued, 60)["state"] == "finished", "asked again, it runs"


def test_an_ended_job_stays_ended_when_the_process_that_ran_it_dies(engine, tmp_path):
    """Dask computes again what a dead worker had in memory: a cancelled job must not rise from that."""
    job = engine.submit(JobSpec("count", {"n": 200, "step_s": 0.05}, tmp_path / "run"))
    wait_for(lambda: (tmp_path / "run" / "results" / "count.json").exists(), what="the first step")
    engine.cancel(job)
    reached = (tmp_path / "run" / "results" / "count.json").read_text()
    os.kill(worker_pid(tmp_path / "run"), 9)
    assert engine.wait(engine.submit(JobSpec("count", {"n": 1}, tmp_path / "next")), 60)["state"] == "finished"
    assert (tmp_path / "run" / "results" / "count.json").read_text() == reached
    assert RunFolder(tmp_path / "run").attempt() == 1 and run_state(RunFolder(tmp_path / "run")) == "cancelled"
