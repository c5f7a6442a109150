"""How to reach a compute server: a file that only its owner may read, for it holds the key.

Whoever can reach a server and has the key can run code as its owner, so servers listen on the loopback address, speak TLS only, and keep
the key nowhere but in this file. To use a server on another machine, copy its file there and forward its port.
"""

import json
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.runner import process_started
from brain2pix.errors import ComputeError, ConfigError, DataFormatError, MissingDataError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from distributed.security import Security

SCHEMA = "b2p-server-1"


@dataclass(frozen=True)
class Connection:
    """One server, as its file describes it.

    Parameters
    ----------
    name : str
    address : str, "tls://host:port" of the scheduler
    server_id : str, random; another server of the same name has another one
    pid, process_started : process of the server and when it began [s since 1970]
    host : str, machine it runs on
    versions : dict of str, of what must agree between the two sides
    detached : bool, whether it outlives whoever started it
    ca, cert, key : str, PEM; the same certificate serves both sides
    """

    name: str
    address: str
    server_id: str
    pid: int
    process_started: float
    host: str
    versions: dict[str, str]
    detached: bool
    ca: str
    cert: str
    key: str

    def write(self, file: Path) -> None:
        """Write the file; nobody but its owner can read it at any moment."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_path(file, mode=0o600) as beside:
            beside.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Connection":
        """Read a file.

        Raises
        ------
        MissingDataError
            If there is none.
        DataFormatError
            If it is not the file of a server of this version.
        ConfigError
            If others can read it, or the server would be talked to in the clear.
        """
        if not file.is_file():
            raise MissingDataError(f"there is no connection file {file}; start a server with: brain2pix server start")
        _refuse_loose(file)
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise DataFormatError(f"connection file {file} is not valid JSON ({error}); copy it again from the server") from None
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else type(values).__name__
            raise DataFormatError(f"connection file {file} has schema {found!r}, this version reads {SCHEMA!r}")
        missing = [field.name for field in fields(cls) if field.name not in values]
        if missing:
            raise DataFormatError(f"connection file {file} lacks {', '.join(missing)}; copy it again from the server")
        found = cls(**{field.name: values[field.name] for field in fields(cls)})
        if not str(found.address).startswith("tls://"):
            raise ConfigError(f"connection file {file} names {found.address}; only encrypted connections (tls://host:port) are made")
        return found

    @property
    def is_here(self) -> bool:
        """Whether the server runs on this machine."""
        return self.host == socket.gethostname()

    def process_lives(self) -> bool:
        """Whether the server's process lives; True for one on another machine, which cannot be seen from here."""
        if not self.is_here:
            return True
        started = process_started(self.pid)
        return started is not None and abs(started - self.process_started) < 1

    def security(self) -> "Security":
        """Give what dask needs to talk to it."""
        from distributed.security import Security

        pems = {
            f"tls_{side}_{part}": pem
            for side in ("client", "scheduler", "worker")
            for part, pem in (("cert", self.cert), ("key", self.key))
        }
        return Security(tls_ca_file=self.ca, require_encryption=True, **pems)


def state_folder() -> Path:
    """Folder of this user for servers and the list of jobs."""
    from platformdirs import user_state_path

    folder: Path = user_state_path("napari-brain2pix", appauthor=False)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def server_file(name: str) -> Path:
    """Where the connection file of a server with this name lies.

    Raises
    ------
    ConfigError
        If the name could not be a file's.
    """
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.startswith("."):
        raise ConfigError(f"a server's name may have letters, digits, '-', '_' and '.', got {name!r}")
    return state_folder() / "servers" / f"{name}.json"


def known_servers() -> list[Connection]:
    """Servers of this user that live, by name; files that dead ones left on this machine are removed."""
    found = []
    for file, connection in _files():
        if connection.process_lives():
            found.append(connection)
        else:
            file.unlink(missing_ok=True)
    return found


def find_server(name_or_file: str | Path) -> Connection:
    """Find a server by its name or by its connection file.

    Raises
    ------
    MissingDataError
        If there is none of that name; the message lists those there are.
    ComputeError
        If its process has ended.
    DataFormatError, ConfigError
        If the file cannot be used.
    """
    text = str(name_or_file)
    file = Path(text).expanduser() if os.sep in text or text.endswith(".json") else server_file(text)
    if not file.is_file():
        names = ", ".join(connection.name for connection in known_servers()) or "none"
        raise MissingDataError(
            f"there is no compute server {text!r} (running: {names}); start one with: brain2pix server start --name NAME"
        )
    found = Connection.read(file)
    if not found.process_lives():
        raise ComputeError(
            f"the compute server {found.name!r} (process {found.pid}) is not running any more; start it again with: brain2pix server start"
        )
    return found


def remove_if_mine(file: Path, server_id: str) -> None:
    """Remove a connection file unless another server has taken its place."""
    try:
        if json.loads(file.read_text(encoding="utf-8")).get("server_id") == server_id:
            file.unlink(missing_ok=True)
    except (OSError, ValueError, AttributeError):
        pass


def _files() -> Iterator[tuple[Path, Connection]]:
    for file in sorted((state_folder() / "servers").glob("*.json")):
        try:
            yield file, Connection.read(file)
        except (ConfigError, DataFormatError, MissingDataError):
            continue  # told when it is asked for by name


def _refuse_loose(file: Path) -> None:
    if os.name != "posix":
        return
    status = file.stat()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"connection file {file} can be read by others, and it holds the key; first run: chmod 600 {file}")


def describe_versions(theirs: dict[str, Any], ours: dict[str, str]) -> str:
    """Say which versions differ; empty if none does."""
    return ", ".join(
        f"{name} {theirs.get(name, 'missing')} there, {version} here" for name, version in ours.items() if theirs.get(name) != version
    )


def engine_versions() -> dict[str, str]:
    """Versions that must be the same on both sides: what travels between them is pickled."""
    import platform
    from importlib.metadata import version

    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: version(name) for name in ("napari-brain2pix", "distributed", "dask")}}
