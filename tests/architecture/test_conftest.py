"""The safety nets of the tests hold."""

import os
import socket
from pathlib import Path

import pytest


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
