"""What is listed is what is there."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import brain2pix

ROOT = Path(__file__).parents[2]
EXTRAS = ("pyqt5", "pyqt6", "dev")  # what the Makefile installs
TOLD_WHEN_MISSING = ("cluster",)  # extras whose packages are imported where they are used, with an error that names the extra
OWN = {"brain2pix", "napari_brain2pix", "_typeshed"}  # the last exists for type checkers only
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(requirement: str) -> str:
    """Name of a package as indexes compare it, without version and extras."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def packages_in(folder: Path, name: str) -> set[str]:
    inner = {".".join([name, *file.parent.relative_to(folder).parts]) for file in folder.rglob("__init__.py")}
    return {package for package in inner if "__pycache__" not in package}


def test_packages_listed_are_packages_present() -> None:
    settings = PROJECT["tool"]["setuptools"]
    present: set[str] = set()
    for name, folder in settings["package-dir"].items():
        present |= packages_in(ROOT / folder, name)
    assert set(settings["packages"]) == present
    assert len(settings["packages"]) == len(present)


def test_every_data_file_is_listed() -> None:
    """A file that is no Python and not listed would be missing from the wheel only."""
    settings = PROJECT["tool"]["setuptools"]
    for package, folder in settings["package-dir"].items():
        listed = {file for pattern in settings["package-data"].get(package, []) for file in (ROOT / folder).glob(pattern)}
        data = {file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
        assert data <= listed, f"not in [tool.setuptools.package-data] of {package}"


def test_the_version_has_a_changelog_entry() -> None:
    assert version("napari-brain2pix") == brain2pix.__version__
    assert f"## {brain2pix.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def imported_modules(file: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_everything_imported_is_a_declared_dependency() -> None:
    """What another package happens to bring may be gone with its next release."""
    declared = {plain(name) for name in PROJECT["project"]["dependencies"]}
    declared |= {plain(name) for extra in TOLD_WHEN_MISSING for name in PROJECT["project"]["optional-dependencies"][extra]}
    distributions = packages_distributions()
    for folder in ("src", "napari_brain2pix"):
        for file in (ROOT / folder).rglob("*.py"):
            for name in imported_modules(file) - sys.stdlib_module_names - OWN:
                brings = {plain(distribution) for distribution in distributions.get(name, [name])}
                assert brings & declared, (
                    f"{file.relative_to(ROOT)} imports {name}: declare {' or '.join(sorted(brings))} in pyproject.toml"
                )


def test_no_qt_binding_in_the_base_dependencies() -> None:
    assert not [name for name in PROJECT["project"]["dependencies"] if re.match(r"PyQt\d|PySide|napari\[", name)]


def test_constraints_pin_each_package_once_and_name_no_place() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pins = [line for line in lines if line]
    for pin in pins:
        assert re.fullmatch(r"[\w.-]+==[\w.]+(; .+)?", pin), f"{pin}: only name==version; no place, no local version"
    names = [plain(pin) for pin in pins]
    assert len(set(names)) == len(names)
    needed = sum((PROJECT["project"]["optional-dependencies"][extra] for extra in EXTRAS), PROJECT["project"]["dependencies"])
    assert {plain(name) for name in needed} <= set(names)


def test_bundled_weights_are_small() -> None:
    weights = [file for file in (ROOT / "resources" / "backbones").glob("*") if file.suffix == ".safetensors"]
    assert weights, "the bundled backbone is missing"
    assert sum(file.stat().st_size for file in weights) <= 2 * 2**20


def test_no_path_of_one_machine_in_the_project() -> None:
    place = re.compile(rf"{re.escape(str(ROOT))}\b|(?<![\w.~-])/(home|Users|root|work|mnt)/\w+")
    found = []
    for file in tracked_files():
        if file.suffix in (".png", ".safetensors", ".npz", ".h5", ".gz"):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if place.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_no_large_file_is_tracked() -> None:
    assert not [str(file) for file in tracked_files() if file.stat().st_size > 2 * 2**20]
