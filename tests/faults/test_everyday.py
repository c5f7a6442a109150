"""What must hold each day: the one file of this folder that ordinary test runs include. One server for all of it."""

import json
import stat

import psutil
import pytest

from brain2pix.compute.engine.client import Engine
from brain2pix.compute.engine.connection import server_file
from brain2pix.compute.record import read_events
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.training.run_folder import RunFolder

from .conftest import family, wait_for


def test_jobs_from_order_to_end(engine, tmp_path):
    def count(name, **params):
        return JobSpec("count", params, tmp_path / name)

    # three jobs wait for one slot; the second needs the first, the third is cancelled before its turn
    first = engine.submit(count("first", n=20, step_s=0.05))
    second = engine.submit(count("second", n=2), depends=[first])
    third = engine.submit(count("third"))
    with pytest.raises(ConfigError, match=r"is (queued|running) on this server already"):
        engine.submit(count("third"))
    assert [row["state"] for row in engine.jobs()[1:]] == ["queued", "queued"]
    engine.ask_to_stop(third)
    heard = []
    assert engine.attach(first, heard.append, 60)["state"] == "finished"
    assert [(line["attempt"], line["seq"]) for line in heard] == [
        (line["attempt"], line["seq"]) for line in read_events(tmp_path / "first" / "events.jsonl")
    ]
    assert [line["done"] for line in heard if line["kind"] == "progress"] == list(range(1, 21))
    assert engine.wait(second, 60)["state"] == "finished"
    assert engine.wait(third, 10)["state"] == "cancelled" and not (tmp_path / "third" / "events.jsonl").exists()
    with pytest.raises(ConfigError, match="holds a finished run; choose another folder"):
        engine.submit(count("first", n=20, step_s=0.05))

    # a job that is stopped is saved, and goes on when it is asked again; one that fails says why
    again = count("again", n=200, step_s=0.02)
    job = engine.submit(again)
    wait_for(lambda: (tmp_path / "again" / "results" / "count.json").exists(), what="the first step")
    assert engine.info()["workers"][0]["job"] == job
    assert engine.cancel(job) == "cancelled" and run_state(RunFolder(tmp_path / "again")) == "cancelled"
    reached = json.loads((tmp_path / "again" / "results" / "count.json").read_text())
    assert 0 < reached < 200 and engine.cancel(job) == "not running"
    assert engine.submit(again) == job
    wait_for(lambda: json.loads((tmp_path / "again" / "results" / "count.json").read_text()) > reached, what="the next step")
    engine.kill(job)
    assert engine.wait(job, 10)["state"] == "cancelled"
    failed = engine.wait(engine.submit(count("failed", fail_at=1)), 60)
    assert (failed["state"], failed["error"]) == ("failed", "ZeroDivisionError: a mistake of ours")
    with pytest.raises(MissingDataError, match="has no job 'nobody'"):
        engine.wait("nobody")

    # nothing listens beyond this machine; the key is its owner's
    listening = [
        connection.laddr.ip
        for process in family(engine.connection.pid)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3 and set(listening) == {"127.0.0.1"}
    assert stat.S_IMODE(server_file("test").stat().st_mode) == 0o600
    with Engine.connect("test") as other:
        assert other.info()["server_id"] == engine.info()["server_id"]
