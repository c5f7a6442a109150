"""Jobs are found again by id, by the beginning of one, and by folder."""

import json

import pytest

from brain2pix.compute.engine import registry
from brain2pix.compute.engine.connection import state_folder
from brain2pix.compute.engine.registry import find_job, forget_job, job_id, known_jobs, note_job, pick_id
from brain2pix.errors import ComputeError, ConfigError, MissingDataError


@pytest.fixture(autouse=True)
def own_state(monkeypatch, tmp_path):
    """Keep the lists of the tests apart."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def make_run(folder):
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"kind": "train", "params": {}}))
    return folder


def test_an_id_is_the_name_and_depends_on_the_place(tmp_path, monkeypatch):
    here, there = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert job_id(here).startswith("run-") and len(job_id(here)) == len("run-") + 6
    assert job_id(here) != job_id(there)
    monkeypatch.chdir(tmp_path)
    assert job_id(here) == job_id(tmp_path / "b" / ".." / "a" / "run") == job_id(here.relative_to(tmp_path))
    assert len(job_id(tmp_path / ("x" * 250))) < 100, "the id must stay a file's name"


def test_what_is_noted_is_known_newest_first(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(registry.time, "time", lambda: now[0])
    for number, name in enumerate(("one", "two", "three")):
        now[0] = 100.0 + number
        note_job(tmp_path / name, "train", "id" * (number == 1), "gpu" * (number == 1))
    assert [note.folder.name for note in known_jobs()] == ["three", "two", "one"]
    two = known_jobs()[1]
    assert (two.id, two.folder, two.kind, two.server_id, two.server_name, two.submitted_s) == (
        job_id(tmp_path / "two"),
        tmp_path / "two",
        "train",
        "id",
        "gpu",
        101.0,
    )
    now[0] = 200.0
    note_job(tmp_path / "one", "train")
    assert [note.folder.name for note in known_jobs()] == ["one", "three", "two"]
    forget_job(job_id(tmp_path / "three"))
    forget_job("never there")
    assert [note.folder.name for note in known_jobs()] == ["one", "two"]


def test_only_the_newest_notes_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "KEPT", 3)
    now = [0.0]
    monkeypatch.setattr(registry.time, "time", lambda: now[0])
    for number in range(5):
        now[0] += 1
        note_job(tmp_path / f"run-{number}", "train")
    assert [note.folder.name for note in known_jobs()] == ["run-4", "run-3", "run-2"]


def test_damaged_notes_are_passed_over(tmp_path):
    note_job(tmp_path / "good", "train")
    for name, text in (("cut", '{"id": "cu'), ("list", "[1]"), ("less", '{"id": "less"}')):
        (state_folder() / "jobs" / f"{name}.json").write_text(text)
    assert [note.folder.name for note in known_jobs()] == ["good"]


def test_a_full_disk_does_not_stop_a_job(tmp_path, monkeypatch):
    def full(*arguments):
        raise ComputeError("no space left")

    monkeypatch.setattr(registry, "write_json", full)
    note_job(tmp_path / "run", "train")
    assert known_jobs() == []


def test_jobs_are_found(tmp_path):
    folders = [make_run(tmp_path / name) for name in ("alpha", "alphabet", "beta")]
    for folder in folders[1:]:
        note_job(folder, "train")
    assert find_job(folders[0]) == folders[0], "a run folder needs no note"
    assert find_job(str(folders[0])) == folders[0]
    assert find_job(job_id(folders[2])) == folders[2]
    assert find_job("beta") == find_job("bet") == folders[2]
    note_job(folders[0], "train")
    assert find_job(job_id(folders[0])) == folders[0]


def test_what_is_not_found_is_answered_with_what_is_known(tmp_path):
    with pytest.raises(MissingDataError, match=r"there is no job 'beta'. Known: none. See: brain2pix jobs --all"):
        find_job("beta")
    for name in ("alpha", "alphabet"):
        note_job(tmp_path / name, "train")
    with pytest.raises(MissingDataError, match=rf"there is no job 'allpha'. Did you mean '{job_id(tmp_path / 'alpha')}'\? Known: alpha"):
        find_job("allpha")
    with pytest.raises(ConfigError, match=r"'alp' means several jobs: alphabet-\w+, alpha-\w+; give more of the id"):
        find_job("alp")
    with pytest.raises(MissingDataError):
        find_job("")


def test_a_message_names_a_few(tmp_path):
    folders = {f"job-{number:02d}": tmp_path / str(number) for number in range(20)}
    with pytest.raises(MissingDataError, match=r"job-07 and 12 more\. See"):
        pick_id("zzz", folders)
    with pytest.raises(ConfigError, match="means several jobs: job-00"):
        pick_id("job", folders)
    assert pick_id("3", folders) == "job-03", "the name of the folder"
