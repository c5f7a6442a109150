"""``brain2pix server``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    import subprocess

    from brain2pix.compute.engine.connection import Connection

server = App(
    name="server",
    help="Compute servers: processes that queue jobs and run them in workers, here, on another machine or on a cluster.",
    help_format="plaintext",
)

Name = Annotated[str, Parameter(help="Its name.")]
Cluster = Literal["slurm", "pbs"]
ClusterFile = Annotated[Path | None, Parameter(help="TOML file with shared_folder, interface, queue, walltime, ... (docs/compute.md).")]

_ASK_S = 4.0
_END_S = 30.0
_DAY_S = 86400.0


@server.command
def start(
    *,
    name: Name = "local",
    workers: Annotated[int, Parameter(help="Jobs at once, each in a process of its own.")] = 1,
    threads: Annotated[int | None, Parameter(help="Of each worker's numerical libraries. Default: all cores but one.")] = None,
    gpus: Annotated[str, Parameter(help='One worker for each of these graphics cards, e.g. "0,1".')] = "",
    live: Annotated[bool, Parameter(help="One more worker, for live pictures of a window.", negative="")] = False,
    idle_timeout: Annotated[float, Parameter(help="End after so long without job and client [s]; 0: never.")] = _DAY_S,
    nice: Annotated[int, Parameter(help="Lower priority, so that the machine stays quick; 0 on a machine of its own.")] = 10,
    port: Annotated[int, Parameter(help="Port to listen on; 0: a free one.")] = 0,
    host: Annotated[str, Parameter(help="Address to listen on. Other than loopback, every machine that reaches it can try.")] = "127.0.0.1",
    file: Annotated[Path | None, Parameter(help="Connection file to write. Default: where commands find it by its name.")] = None,
    foreground: Annotated[bool, Parameter(help="Stay in this terminal; Ctrl-C ends it.", negative="")] = False,
    cluster: Annotated[Cluster | None, Parameter(help="Take workers from a batch system.")] = None,
    cluster_options: ClusterFile = None,
) -> int:
    """Start a server; it runs on in the background, and jobs on it outlive terminals and windows."""
    from brain2pix.compute.engine.client import start_server
    from brain2pix.compute.engine.connection import Connection, server_file

    place = file.expanduser().absolute() if file is not None else server_file(name)
    if cluster is not None or cluster_options is not None:
        _check_cluster(cluster, cluster_options)
    arguments = ["--name", name, "--workers", str(workers), "--nice", str(nice), "--host", host, "--port", str(port)]
    arguments += ["--threads", str(threads)] if threads is not None else []
    arguments += ["--gpus", gpus] if gpus else []
    arguments += ["--live"] if live else []
    arguments += ["--idle-timeout", str(idle_timeout)] if idle_timeout and not foreground else []
    arguments += ["--cluster", cluster, "--cluster-options", str(cluster_options)] if cluster is not None else []
    arguments += [] if foreground else ["--detach"]
    place, process = start_server(place, arguments, detach=not foreground)
    print("\n".join(_welcome(Connection.read(place), place, by_file=file is not None)), flush=True)
    return _stay(process) if foreground else 0


@server.command
def stop(
    name: Annotated[str, Parameter(help="Its name or connection file.")] = "local",
    /,
    *,
    now: Annotated[bool, Parameter(help="Also if jobs go on there: they are stopped, and can be resumed.", negative="")] = False,
) -> int:
    """Stop a server. With jobs on it only if --now is given."""
    import time

    from brain2pix.cli._servers import connected
    from brain2pix.compute.engine.states import GOING
    from brain2pix.errors import ComputeError

    with connected(name) as engine:
        going = [row["id"] for row in engine.jobs() if row["state"] in GOING]
        if going and not now:
            raise ComputeError(
                f"jobs go on on the server {engine.name}: {', '.join(going)}. Wait, cancel them, or stop the server with --now: "
                "brain2pix resume ID then goes on with each"
            )
        engine.close(shutdown=True)
        connection, until_s = engine.connection, time.monotonic() + _END_S
        while connection.is_here and connection.process_lives():
            if time.monotonic() > until_s:
                raise ComputeError(f"the server {engine.name} has not stopped after {_END_S:g} s; end its process {connection.pid} by hand")
            time.sleep(0.05)
    print(f"server {connection.name} has stopped" + (f"; resume: {', '.join(going)}" if going else ""))
    return 0


@server.command
def status(
    name: Annotated[str | None, Parameter(help="Name or connection file of one. Default: all that are known.")] = None,
    /,
    *,
    json: Annotated[bool, Parameter(help="As a JSON list, for programs.", negative="")] = False,
) -> int:
    """Say which servers there are, with their workers and jobs. Exit code 1 if one does not answer."""
    from json import dumps

    from brain2pix.compute.engine.connection import find_server, known_servers

    servers = [find_server(name)] if name is not None else known_servers()
    facts = [_facts(connection, name or connection.name) for connection in servers]
    if json:
        print(dumps(facts, indent=2, ensure_ascii=False))
    elif not facts:
        print("no server runs; start one: brain2pix server start")
    else:
        print("\n".join(line for each in facts for line in _lines(each)))
    return int(any(each["problem"] for each in facts))


@server.command
def script(
    *,
    cluster: Annotated[Cluster, Parameter(help="slurm or pbs.")],
    cluster_options: ClusterFile = None,
) -> int:
    """Print the job script that a server with these options would submit."""
    from brain2pix.compute.engine.cluster import job_script, read_cluster_options

    print(job_script(cluster, read_cluster_options(cluster_options)), end="")
    return 0


def _check_cluster(cluster: str | None, file: Path | None) -> None:
    """Find mistakes in the options here, where they are read, and not in the log of another process."""
    from brain2pix.compute.engine.cluster import job_script, read_cluster_options
    from brain2pix.errors import ConfigError

    if cluster is None:
        raise ConfigError("--cluster-options goes with --cluster slurm or --cluster pbs")
    job_script(cluster, read_cluster_options(file))


def _welcome(connection: "Connection", place: Path, *, by_file: bool) -> list[str]:
    on = str(place) if by_file else connection.name
    address, _, port = connection.address.removeprefix("tls://").rpartition(":")
    change = "" if address == "127.0.0.1" else f", its address set to tls://127.0.0.1:{port}"
    return [
        f"server {connection.name} runs in process {connection.pid} at {connection.address}",
        f"connection file (keep it secret): {place}",
        f"  run a job on it:  brain2pix train SUBJECT --on {on}",
        "  see its jobs:     brain2pix jobs" + (f" --on {on}" if by_file else ""),
        f"  from elsewhere:   ssh -N -L {port}:{address}:{port} {connection.host}, and a copy of that file{change} (docs/compute.md)",
        f"  stop it:          brain2pix server stop {on}",
    ]


def _stay(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a server in this terminal; Ctrl-C and SIGTERM end it after its jobs have saved."""
    import signal

    from brain2pix.cli._job import STOPPED
    from brain2pix.errors import ComputeError

    def end(number: int, frame: Any) -> None:
        if process.stdin is not None and not process.stdin.closed:
            print("stopping; jobs that run are asked to save", flush=True)
            process.stdin.close()  # it ends when its input does

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if process.stdin is not None and process.stdin.closed:
        return STOPPED
    if code:
        raise ComputeError(f"the server ended with code {code}; its jobs go on when they are resumed")
    return 0


def _facts(connection: "Connection", place: str) -> dict[str, Any]:
    """Everything about one server that may be shown; its key may not."""
    from brain2pix.cli._servers import connected
    from brain2pix.errors import Brain2PixError

    facts = {
        "name": connection.name,
        "address": connection.address,
        "host": connection.host,
        "pid": connection.pid,
        "detached": connection.detached,
        "versions": connection.versions,
        "workers": [],
        "jobs": [],
        "problem": "",
    }
    try:
        with connected(place, _ASK_S) as engine:
            workers = sorted(engine.info()["workers"], key=lambda worker: worker["name"])
            return {**facts, "workers": workers, "jobs": engine.jobs()}
    except Brain2PixError as error:
        return {**facts, "problem": str(error)}


def _lines(facts: dict[str, Any]) -> list[str]:
    stays = "runs on by itself" if facts["detached"] else "ends with the program that started it"
    lines = [f"{facts['name']}: {facts['address']}, process {facts['pid']} on {facts['host']}, {stays}"]
    if facts["problem"]:
        return [*lines, f"  does not answer: {facts['problem']}"]
    counts = {state: sum(row["state"] == state for row in facts["jobs"]) for state in ("running", "cancelling", "queued")}
    lines.append("  jobs: " + (", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none running"))
    return lines + [_worker_line(worker) for worker in facts["workers"]]


def _worker_line(worker: dict[str, Any]) -> str:
    what = "live pictures" if "LIVE" in worker["resources"] else worker["job"] or "free"
    memory_mib = worker["memory_bytes"] / 2**20
    return f"  worker {worker['name']}: {what}, on {worker['host']}, {memory_mib:.0f} MiB, cpu {worker['cpu_percent']:.0f} %"
