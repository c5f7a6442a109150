"""The safety nets of the tests hold."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def test_the_network_is_out_of_reach() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as away, pytest.raises(RuntimeError, match="tried to reach"):
        away.connect(("192.0.2.1", 80))  # an address reserved for examples


def test_this_machine_is_in_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"x")
        with server.accept()[0] as accepted:
            assert accepted.recv(1) == b"x"


def test_the_home_is_not_the_users(outer_environment: dict[str, str]) -> None:
    assert Path.home() != Path(outer_environment["HOME"])
    assert os.environ["NAPARI_CONFIG"].startswith(str(Path.home()))


def test_a_file_of_tests_stays_in_one_process(tmp_path: Path) -> None:
    """With the options of the Makefile and the versions that are installed: else each fixture of a module is made in every process."""
    options = re.search(r"^WHOLE_FILES := (.+)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    files = [f"test_{letter}.py" for letter in "abcd"]
    for file in files:
        (tmp_path / file).write_text("import pytest\n\n\n@pytest.mark.parametrize('n', range(5))\ndef test(n):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-v", *options]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=True, timeout=120)
    ran = re.findall(r"\[(gw\d)\].* PASSED (test_\w\.py)::", done.stdout)
    assert len(ran) == 20 and {process for process, _ in ran} == {"gw0", "gw1"}
    assert len(set(ran)) == len(files), "one process for each file"
