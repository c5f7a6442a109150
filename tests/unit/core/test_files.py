"""Nothing is half-written, whatever fails: an error, a full disk (a real one), an interrupted block."""

import json
import resource
import subprocess
import sys
import textwrap

import pytest

from brain2pix.errors import ComputeError
from brain2pix.files import atomic_folder, atomic_path, write_json


def test_a_file_appears_whole_and_an_error_leaves_the_old_one(tmp_path):
    target = tmp_path / "scores.json"
    write_json(target, {"a": 1})
    with pytest.raises(ZeroDivisionError), atomic_path(target) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert json.loads(target.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_suffixes_are_kept_for_libraries_that_look_at_them(tmp_path):
    with atomic_path(tmp_path / "map.nii.gz") as beside:
        assert beside.name.endswith(".nii.gz")
        beside.write_bytes(b"x")
    assert (tmp_path / "map.nii.gz").read_bytes() == b"x"


def test_a_file_gets_the_rights_that_open_would_have_given(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_path(tmp_path / "ours") as beside:
        beside.write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "subject") as beside:
        (beside / "part").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "subject") as beside:
        (beside / "part").write_text("x")
    assert (tmp_path / "subject" / "part").read_text() == "x"


def test_a_folder_with_files_is_never_overwritten(tmp_path):
    (tmp_path / "subject").mkdir()
    (tmp_path / "subject" / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="not an empty folder"), atomic_folder(tmp_path / "subject"):
        pass
    assert (tmp_path / "subject" / "mine").read_text() == "precious"


def test_a_real_size_limit_is_reported_and_leaves_nothing(tmp_path):
    code = f"""
    import resource, signal
    from pathlib import Path
    from brain2pix.files import write_json
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    write_json(Path({str(tmp_path)!r}) / "big.json", ["x" * 10000])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert ComputeError.__name__ in done.stderr and "no space left while writing" in done.stderr and "big.json" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096
