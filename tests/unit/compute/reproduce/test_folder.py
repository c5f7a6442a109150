"""The folder of a reproduction: what is refused, what goes on, and how its cells stand."""

import inspect
import json
import os
import socket
from pathlib import Path

import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.cli.inspect import _lines
from brain2pix.cli.reproduce import reproduce
from brain2pix.compute.reproduce.folder import check_folder, command_of, is_reproduction, make_ready, read_overview
from brain2pix.compute.runner import process_started
from brain2pix.compute.spec import JobSpec
from brain2pix.config.base import build
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.errors import ComputeError, ConfigError, DataFormatError
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder

JOBS = ["train", "evaluate-test", "decode-test"]
CHANGED = {
    "subject_name": "sub-02",
    "method": "beliy",
    "plan": "paper",
    "gallery": "/pictures of classes",
    "class_column": "label",
    "runs": 7,
    "device": "cuda:1",
    "workers": 3,
    "gpus": ("0", "2"),
}


def asked(data="/data", **more):
    return build(ReproduceParams, {"subject": data, **more})


def note(cells, **more):
    return {
        "method": "gaziv",
        "plan": "short",
        "preset": "tiny",
        "data": "/data/sub-01",
        "simulated": True,
        "params": asked().model_dump(mode="json"),
        "rows": [{"name": "full", "title": "all", "cells": list(cells), "missing": ""}],
        "cells": [{"id": name, "title": name, "jobs": JOBS, "alone": alone} for name, alone in cells.items()],
        "missing": {},
        **more,
    }


def put(place, state, seconds=0, attempt=1, error=None):
    """Write what a job leaves: 2026-01-01 at midnight until so many seconds later."""
    times = {"started": "2026-01-01T00:00:00+00:00", "finished": f"2026-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}+00:00"}
    write_json(place / "status.json", {"kind": "train", "state": state, "attempt": attempt, "error": error, "pid": -1, "host": "", **times})


def finish(out, cell, seconds, attempt=1):
    for name, share in zip(JOBS, (seconds - 2, 1, 1), strict=True):
        put(out / "cells" / cell / name, "finished", share, attempt)


# ---------------------------------------------------------------------- one set of settings


def test_command_and_settings_are_the_same():
    of_command = {name: one.default for name, one in inspect.signature(reproduce).parameters.items()}
    only_there = {"data", "out", "dry_run", "report_only"}
    fields = ReproduceParams.model_fields
    assert set(of_command) - only_there == set(fields) - {"subject"}
    for name in set(of_command) - only_there - {"method"}:
        assert (of_command[name] or None) == (fields[name].default or None), name


@pytest.mark.parametrize("more", [{}, CHANGED, {"gallery": "procedural", "runs": 1}])
def test_the_command_that_is_shown_asks_for_the_same(tmp_path, monkeypatch, more):
    seen = []

    def stop(params, out):
        seen.append((params, out))
        raise ConfigError("far enough")

    monkeypatch.setattr("brain2pix.compute.reproduce.prepare.prepare", stop)
    params = asked(str(tmp_path / "a subject"), **more)
    assert run_arguments(command_of(params, tmp_path / "out")) == 1
    assert seen == [(params, tmp_path / "out")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": "bely"}, "'gaziv' or 'beliy'"),
        ({"plan": "long"}, "'short' or 'paper'"),
        ({"runs": 0}, "greater than or equal to 1"),
        ({"workers": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        asked(**more)


# ---------------------------------------------------------------------- whose folder it is


def test_folders_that_are_refused(tmp_path):
    file, foreign, other = tmp_path / "file", tmp_path / "foreign", tmp_path / "other"
    file.write_text("mine")
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    write_json(other / "reproduce.json", note({"a": True}))
    for out, params, message in (
        (file, asked(), "is a file"),
        (foreign, asked(), "is not the folder of a reproduction"),
        (other, asked(method="beliy"), "method 'gaziv', not 'beliy'"),
        (other, asked(plan="paper"), "plan 'short', not 'paper'"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_ready(params, out, Path("/data/sub-01"))
    with pytest.raises(ConfigError, match="data '/data/sub-01', not '/data/sub-02'"):
        check_folder(other, asked(), Path("/data/sub-02"))
    assert not (other / "job.json").exists() and list(foreign.iterdir()) == [foreign / "thesis.txt"]


def test_it_goes_on_with_other_choices_also_when_it_has_finished(tmp_path):
    out, data = tmp_path / "out", Path("/data/sub-01")
    spec = make_ready(asked(), out, data)
    assert spec == JobSpec("reproduce", asked().model_dump(mode="json"), out) and not out.exists(), "a fresh folder is the runner's to make"
    write_json(out / "reproduce.json", note({"a": True}))  # of a version that made no job of it
    assert is_reproduction(out)
    make_ready(asked(), out, data)
    assert JobSpec.from_file(out).params == asked().model_dump(mode="json")
    put(out, "finished", attempt=3)
    make_ready(asked(runs=4, gallery="procedural"), out, data)
    assert JobSpec.from_file(out).params["runs"] == 4
    status = RunFolder(out).read_status()
    assert (status["state"], status["attempt"]) == ("cancelled", 3)


def test_not_while_another_process_works_on_it(tmp_path):
    write_json(tmp_path / "reproduce.json", note({"a": True}))
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "process_started": process_started(os.getpid())}
    write_json(tmp_path / "status.json", {"state": "running", "attempt": 1, **mine})
    with pytest.raises(ComputeError, match="being worked on"):
        make_ready(asked(), tmp_path, Path("/data/sub-01"))


# ---------------------------------------------------------------------- how it stands


def test_cells_and_the_time_that_is_left(tmp_path):
    write_json(
        tmp_path / "reproduce.json", note({"own 1": True, "own 2": True, "own 3": True, "took": False, "broke": False, "next": False})
    )
    fresh = read_overview(tmp_path)
    assert fresh.counts() == {"missing": 6} and fresh.n_jobs == 18 and fresh.left_s() is None and fresh.report is None
    finish(tmp_path, "own 1", 40)
    finish(tmp_path, "own 2", 60)
    assert read_overview(tmp_path).left_s() is None, "no cell that takes an encoder has told how long it needs"
    finish(tmp_path, "took", 12)
    put(tmp_path / "cells" / "broke" / "train", "failed", error="out of memory")
    put(tmp_path / "cells" / "next" / "train", "finished", 7)
    found = read_overview(tmp_path)
    cells = {cell.id: cell for cell in found.cells}
    assert found.counts() == {"finished": 3, "missing": 2, "failed": 1} and found.n_finished == 3
    assert cells["broke"].error == "train: out of memory"
    assert found.left_s() == (40 + 60) / 2 + (12 - 7)
    finish(tmp_path, "own 3", 2, attempt=2)  # interrupted: nobody knows how long it took
    assert read_overview(tmp_path).left_s() == 12 - 7
    put(tmp_path / "cells" / "own 1" / "train", "failed")
    assert read_overview(tmp_path).n_finished == 4, "its results are there, whatever became of its training"
    put(tmp_path / "cells" / "own 1" / "evaluate-test", "failed", error="gone")
    assert read_overview(tmp_path, before=found).n_finished == 4 and read_overview(tmp_path).n_finished == 3


@pytest.mark.parametrize("text", ["{}", "[1]", '{"method": 1, "rows": 3}', "[" * 100_000, json.dumps({**note({}), "cells": [{"id": 1}]})])
def test_a_note_that_says_nothing(tmp_path, text, capsys):
    (tmp_path / "reproduce.json").write_text(text)
    with pytest.raises(DataFormatError, match="does not say what is reproduced"):
        read_overview(tmp_path)
    assert any("does not say what is reproduced" in line for line in _lines(tmp_path, None))


def test_inspect_says_how_it_stands(tmp_path):
    write_json(tmp_path / "reproduce.json", note({"a": True, "b": True}))
    finish(tmp_path, "a", 5)
    said = "\n".join(_lines(tmp_path, None))
    assert "evaluation of a paper" in said and "gaziv, plan short" in said and "/data/sub-01 (simulated)" in said and "none yet" in said
    assert "1 finished, 1 missing of 2" in said and "brain2pix reproduce gaziv /data/sub-01" in said
    JobSpec("reproduce", {}, tmp_path).write()
    (tmp_path / "report.html").write_text("")
    said = "\n".join(_lines(tmp_path, None))
    assert f"goes on: brain2pix run {tmp_path}" in said and "report.html" in said
