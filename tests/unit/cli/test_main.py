"""The command line as its users meet it: a process, its streams and its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brain2pix import __version__
from brain2pix.cli._main import run_arguments
from brain2pix.cli._options import parse_changes
from brain2pix.errors import ConfigError

COMMANDS = ("demo", "simulate", "import", "inspect", "train", "maps", "decode", "evaluate", "stimulate", "run", "window", "weights")
COMMANDS += ("align", "cache", "ceilings", "classify", "import-model", "prf", "project", "reproduce")
JOB_COMMANDS = ("server", "jobs", "attach", "cancel", "resume")
ON_SERVERS = ("simulate", "import", "import-model", "train", "maps", "decode", "evaluate", "stimulate", "run", "resume")


def brain2pix(*arguments, **options):
    command = [sys.executable, "-c", "from brain2pix.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from brain2pix.cli._main import run_arguments\n"
        "code = run_arguments(['--help'])\n"
        "heavy = {'torch', 'dask', 'napari', 'qtpy', 'PyQt5', 'pandas', 'nibabel', 'scipy', 'matplotlib', 'numpy', 'pydantic'}\n"
        "heavy &= set(sys.modules)\n"
        "print('RESULT', code, sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "RESULT 0 []"
    for command in (*COMMANDS, *JOB_COMMANDS):
        assert f"{command} " in result.stdout


@pytest.mark.parametrize("command", [*COMMANDS, *JOB_COMMANDS])
def test_every_command_has_help(command, capsys):
    assert run_arguments([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: brain2pix {command}" in text and len(text.splitlines()) > 4


@pytest.mark.parametrize("command", ON_SERVERS)
def test_jobs_can_be_given_to_servers(command, capsys):
    assert run_arguments([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--on STR" in text and "--wait" in text and "--where" not in text


def test_version():
    result = brain2pix("--version")
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, __version__, "")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["trian", "x"], 2, 'Did you mean "train"?'),
        (["train", "x", "--prest", "tiny"], 2, "Did you mean --preset?"),
        (["train", "x", "--sed", "1"], 2, "Did you mean --seed?"),
        (["train", "x", "--seed", "one"], 2, "--seed"),
        (["train"], 2, "SUBJECT"),
        (["simulate", "x", "--preset", "demp"], 1, "unknown simulation preset 'demp'. Did you mean 'demo'?"),
        (["simulate", "x", "--set", "n_trian=3"], 1, "unknown option 'n_trian'. Did you mean 'n_train'?"),
        (["simulate", "x", "--set", "n_train=3"], 1, "option 'n_train': Input should be greater than or equal to 12, got 3"),
        (["simulate", "x", "--set", "n_train"], 1, "--set needs key=value, got 'n_train'"),
        (["train", "x", "--preset", "tinny"], 1, "unknown gaziv preset 'tinny'. Did you mean 'tiny'?"),
        (["train", "x", "--method", "gasiv"], 1, "unknown method 'gasiv'. Did you mean 'gaziv'?"),
        (["train", "x", "--set", "decoder.n_stps=3"], 1, "unknown option 'decoder.n_stps'. Did you mean 'decoder.n_steps'?"),
        (["train", "x", "--settings", "none.toml"], 1, "none.toml does not exist"),
        (["train", "x", "--device", "gpu"], 1, "unknown device 'gpu'"),
        (["maps", "x", "--device", "cuda:77"], 1, "device 'cuda:77' is not here"),
        (["demo", "--preset", "tinny", "--no-window"], 1, "Did you mean 'tiny'?"),
        (["run", "none.json"], 1, "job file none.json does not exist"),
        (["inspect", "nowhere"], 1, "nowhere does not exist"),
        (["maps", "nowhere"], 1, "nowhere has no trained model"),
        (["window", "nowhere"], 1, "nowhere does not exist"),
        (["import-model", "gazif", "x", "y", "--decoder", "z"], 1, "unknown method 'gazif'. Did you mean 'gaziv'?"),
        (["import-model", "gaziv", "x", "y", "--decoder", "z", "--set", "decoder.n_stps=3"], 1, "Did you mean 'decoder.n_steps'?"),
    ],
)
def test_mistakes_are_one_line_with_the_nearest_name(arguments, code, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_arguments(arguments) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert len(captured.err.splitlines()) == 1 and captured.err.startswith("brain2pix: ")
    assert list(tmp_path.iterdir()) == []


def test_unexpected_errors_are_one_line_too(monkeypatch, capsys):
    """Not a mistake of the user's: still no traceback unless asked for."""

    def explode(file):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("brain2pix.compute.spec.JobSpec.from_file", explode)
    assert run_arguments(["run", "x"]) == 1
    assert capsys.readouterr().err == "brain2pix: unexpected ZeroDivisionError: boom (set BRAIN2PIX_DEBUG=1 to see where)\n"
    monkeypatch.setenv("BRAIN2PIX_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run_arguments(["run", "x"])


def test_reader_of_a_pipe_may_leave():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from brain2pix.cli import main; main()", "weights", "list"]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert "Traceback" not in result.stderr and "unexpected" not in result.stderr


def test_assignments_are_read_as_json_or_text():
    assert parse_changes(["a.b=1", "c=2.5", "d=glorot", "e=[1,2]", "f=true", "g=null", 'h="1"', "i=x=y"]) == {
        "a.b": 1,
        "c": 2.5,
        "d": "glorot",
        "e": [1, 2],
        "f": True,
        "g": None,
        "h": "1",
        "i": "x=y",
    }
    assert parse_changes(None) == {}
    with pytest.raises(ConfigError, match="--set needs key=value, got '=3'"):
        parse_changes(["=3"])


def test_a_download_asks_first(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert run_arguments(["weights", "fetch", "vgg16"]) not in (0, None)
    said = capsys.readouterr()
    assert "vgg16-397923af.pth" in said.out and "there is no terminal to ask in; give --yes" in said.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert run_arguments(["weights", "fetch", "vgg16"]) == 1
    assert "nothing was fetched" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_weights_are_listed_with_source_and_licence(capsys):
    assert run_arguments(["weights", "list"]) == 0
    text = capsys.readouterr().out
    assert "bundled" in text and "vgg19-dcbb9e9d.pth" in text and "licence" in text


def test_window_without_a_display(monkeypatch, capsys):
    if sys.platform != "linux":
        pytest.skip("only Linux can be without a display")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run_arguments(["window"]) == 1
    assert "there is no display here" in capsys.readouterr().err


def test_the_picture_of_the_window_needs_xvfb(monkeypatch, tmp_path):
    from brain2pix.cli._window import photograph_window
    from brain2pix.errors import MissingDependencyError

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="needs Xvfb; on Debian: apt install xvfb"):
        photograph_window(tmp_path, tmp_path / "window.png")


def test_own_display_starts_and_ends():
    import shutil

    import psutil

    from brain2pix.cli._window import _own_display

    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    with _own_display() as environment:
        servers = [child for child in psutil.Process().children() if child.name() == "Xvfb"]
        assert len(servers) == 1
        number = environment["DISPLAY"].lstrip(":")
        assert number.isdigit() and Path(f"/tmp/.X11-unix/X{number}").exists()
    assert not servers[0].is_running()


@pytest.mark.slow
def test_a_picture_of_the_window_without_a_display(tiny_subject, tmp_path, monkeypatch):
    import shutil

    import imageio.v3 as imageio

    from brain2pix.cli._window import photograph_window

    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    monkeypatch.delenv("DISPLAY", raising=False)
    picture = imageio.imread(photograph_window(tiny_subject, tmp_path / "window.png"))
    assert picture.shape[0] >= 700 and picture.shape[1] >= 1000
    assert picture[..., :3].std() > 10, "the picture is empty"
