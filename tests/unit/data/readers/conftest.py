"""Files in the layouts of the published datasets, made once for each test that changes them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "helpers"))

from published import God, Vim1


@pytest.fixture(scope="session")
def god() -> God:
    """Give a small subject of 'fMRI on ImageNet'."""
    return God()


@pytest.fixture(scope="session")
def vim1() -> Vim1:
    """Give a small subject of vim-1."""
    return Vim1()


@pytest.fixture
def god_images(god, tmp_path) -> Path:
    return god.write_images(tmp_path / "pictures")
