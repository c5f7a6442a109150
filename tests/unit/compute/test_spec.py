import json
from pathlib import Path

import pytest

from brain2pix.compute.kinds import KINDS, job_kind
from brain2pix.compute.spec import JobSpec, job_hash
from brain2pix.config.run import TrainParams
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError


def write(file, **values):
    file.write_text(json.dumps(values))
    return file


def test_written_and_read_again(tmp_path):
    spec = JobSpec("train", {"subject": str(tmp_path / "lab"), "seed": 3}, tmp_path / "run")
    spec.write()
    assert JobSpec.from_file(tmp_path / "run") == spec
    assert JobSpec.from_file(tmp_path / "run" / "job.json") == spec


def test_paths_count_from_the_file(tmp_path):
    file = write(tmp_path / "first.json", kind="train", params={"subject": "lab", "method": "ridge", "settings_file": "/abs/file.toml"})
    spec = JobSpec.from_file(file)
    assert spec.params == {"subject": str(tmp_path / "lab"), "method": "ridge", "settings_file": "/abs/file.toml"}
    assert spec.folder == tmp_path / "first"
    assert JobSpec.from_file(write(tmp_path / "second.json", kind="maps", folder="deep/er")).folder == tmp_path / "deep" / "er"


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        ("{", DataFormatError, "second.json is not valid JSON"),
        ("[]", DataFormatError, "must hold a JSON object, found list"),
        ('{"kind": "train", "parms": {}}', DataFormatError, "unknown key 'parms'. Did you mean 'params'"),
        ('{"params": {}}', DataFormatError, "needs 'kind'"),
        ('{"kind": "train", "params": []}', DataFormatError, "'params' must be an object, found list"),
        ('{"kind": "train", "schema": "b2p-job-9"}', DataFormatError, "has schema 'b2p-job-9', this version reads 'b2p-job-1'"),
    ],
)
def test_bad_job_files(tmp_path, content, error, text):
    (tmp_path / "second.json").write_text(content)
    with pytest.raises(error) as caught:
        JobSpec.from_file(tmp_path / "second.json")
    assert text in str(caught.value)


def test_no_job_file(tmp_path):
    with pytest.raises(MissingDataError, match=r"job file .* does not exist; give a JSON file or a run folder"):
        JobSpec.from_file(tmp_path / "none.json")
    with pytest.raises(MissingDataError, match=r"job\.json does not exist"):
        JobSpec.from_file(tmp_path)


def test_hash_counts_defaults_as_given():
    bare = job_hash("train", TrainParams(subject=Path("/lab")))
    assert bare == job_hash("train", TrainParams(subject=Path("/lab"), seed=0, method="gaziv"))
    assert bare != job_hash("train", TrainParams(subject=Path("/lab"), seed=1))
    assert bare != job_hash("maps", TrainParams(subject=Path("/lab")))


def test_unknown_kind():
    with pytest.raises(ConfigError, match=r"unknown kind of job 'trian'\. Did you mean 'train'\?"):
        job_kind("trian")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_names_a_function_that_is_there(name):
    assert callable(KINDS[name].load())
