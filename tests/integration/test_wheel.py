"""A built wheel, installed in an empty environment, works as the checkout does."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGED = ("src", "napari_brain2pix", "resources", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout: float = 120) -> str:
    line = [str(part) for part in command]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel built from a copy, so that no old build folder of the checkout can slip into it."""
    copy = tmp_path_factory.mktemp("source")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def borrowed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that holds the wheel and borrows the dependencies of this one.

    A ``.pth`` with a plain path makes packages importable but does not run the ``.pth`` files in there, so the editable install of the
    checkout stays out of sight.
    """
    folder = tmp_path_factory.mktemp("borrowed") / "env"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def outside(env: dict[str, str]) -> dict[str, str]:
    """Environment without what could lead back to the checkout or to this environment."""
    return {key: value for key, value in env.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}


def test_the_wheel_holds_the_checkout_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = set()
    for folder, target in (("src/brain2pix", "brain2pix"), ("napari_brain2pix", "napari_brain2pix"), ("resources", "brain2pix/resources")):
        files = (file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        expected |= {f"{target}/{file.relative_to(ROOT / folder).as_posix()}" for file in files}
    assert names == expected


def test_it_is_the_wheel_that_is_imported(borrowed: Path, tmp_path: Path) -> None:
    code = """
import importlib, json, pkgutil, brain2pix, napari_brain2pix
names = ["brain2pix", "napari_brain2pix"]
for top in (brain2pix, napari_brain2pix):
    names += [found.name for found in pkgutil.iter_modules(top.__path__, top.__name__ + ".") if found.ispkg]
places = {name: importlib.import_module(name).__file__ for name in names}
print(json.dumps(places))
"""
    places = json.loads(run(borrowed, "-c", code, cwd=tmp_path, env=outside(dict(os.environ))).splitlines()[-1])
    assert {"brain2pix", "brain2pix.resources", "brain2pix.methods", "napari_brain2pix"} <= set(places)
    assert all(Path(place).is_relative_to(borrowed.parents[1]) for place in places.values()), places


def test_resources_are_found(borrowed: Path, tmp_path: Path) -> None:
    code = """
import importlib.metadata, json
from importlib.resources import files
from brain2pix.config.base import preset_names
resources = files("brain2pix.resources")
print(json.dumps({
    "simulation": preset_names("simulation"),
    "gaziv": preset_names("gaziv"),
    "weights": [place.name for place in (resources / "backbones").iterdir()],
    "manifest": (files("napari_brain2pix") / "napari.yaml").read_text(),
    "entry": [point.value for point in importlib.metadata.entry_points(group="napari.manifest") if point.name == "napari-brain2pix"],
}))
"""
    found = json.loads(run(borrowed, "-c", code, cwd=tmp_path, env=outside(dict(os.environ))).splitlines()[-1])
    assert {"tiny", "demo", "full", "hard"} <= set(found["simulation"])
    assert "tiny" in found["gaziv"]
    assert any(name.endswith(".safetensors") for name in found["weights"])
    assert "name: napari-brain2pix" in found["manifest"]
    assert found["entry"] == ["napari_brain2pix:napari.yaml"]


def test_the_command_works_as_in_the_checkout(borrowed: Path, tmp_path: Path) -> None:
    wheels, checkouts = (Path(python).with_name("brain2pix") for python in (borrowed, sys.executable))
    env = outside(dict(os.environ))
    assert run(wheels, "--help", cwd=tmp_path, env=env) == run(checkouts, "--help", cwd=tmp_path, env=env)
    run(wheels, "simulate", tmp_path / "subject", "--preset", "tiny", cwd=tmp_path, env=env)
    said = run(wheels, "inspect", tmp_path / "subject", cwd=tmp_path, env=env)
    assert "simulated" in said.lower()
    assert said == run(checkouts, "inspect", tmp_path / "subject", cwd=tmp_path, env=env)


@pytest.mark.slow
def test_it_installs_with_its_dependencies(wheel: Path, tmp_path: Path, outer_environment: dict[str, str]) -> None:
    """Install for real, downloads included, and work without anything of this environment."""
    env = outside(outer_environment)
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path, env=env)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[pyqt5]", cwd=tmp_path, env=env, timeout=1800)
    command = python.with_name("brain2pix")
    run(command, "simulate", tmp_path / "subject", "--preset", "tiny", cwd=tmp_path, env=env)
    assert "simulated" in run(command, "inspect", tmp_path / "subject", cwd=tmp_path, env=env).lower()
    run(python, "-m", "pip", "check", cwd=tmp_path, env=env)
