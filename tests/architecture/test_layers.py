"""Dependencies point one way, and cheap things stay cheap to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What costs seconds, or what the core must not know.
HEAVY = {
    *("torch", "dask", "napari", "qtpy", "PyQt5", "PyQt6"),
    *("pandas", "scipy", "skimage", "sklearn", "nibabel", "nilearn", "h5py", "matplotlib"),
}


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running `code`."""
    report = "import json, sys; print('LOADED', json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.rpartition("LOADED ")[2]))


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import brain2pix",
        "import brain2pix.events, brain2pix.errors",
        "import brain2pix.methods.registry",
        "import brain2pix.config.base, brain2pix.config.simulation, brain2pix.config.methods",
        "import brain2pix.compute.spec",
        "import napari_brain2pix",
    ],
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_arrays_need_numpy_only() -> None:
    assert modules_after("import brain2pix.arrays").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["simulate", "--help"], ["demo", "--help"]])
def test_help_of_the_command_line_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from brain2pix.cli import main
sys.argv = ["brain2pix", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert modules_after(code).isdisjoint(HEAVY)


def test_no_file_of_the_core_names_qt() -> None:
    names = ("qtpy", "PyQt", "PySide", "import napari", "from napari")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted((ROOT / "src").rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.lstrip().startswith(("import ", "from ")) and any(name in line for name in names)
    ]
    assert not found
