"""Live pictures from a server: at most one request in flight, and of those that wait the newest."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from brain2pix.compute.engine import control
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError

if TYPE_CHECKING:
    from distributed import Client

LOAD_S = 120.0  # for torch and a model to be loaded
Values = dict[str, Any]


class LiveSession:
    """Asks one trained system for pictures; requests and answers are those of `brain2pix.compute.live`.

    Parameters
    ----------
    client : distributed.Client
    model, subject : Path, as the server sees them
    device : str

    Raises
    ------
    ConfigError
        If model or subject cannot be opened there.
    """

    def __init__(self, client: "Client", model: Path, subject: Path, device: str = "auto") -> None:
        self._client = client
        self._where = (str(model), str(subject), device)
        self._in_flight: Any = None
        self._waiting: Values | None = None
        answer = self._result(self._ask("greeting", {}), LOAD_S)
        if "error" in answer:
            raise ConfigError(answer["error"])
        self.greeting = answer

    @property
    def busy(self) -> bool:
        """Whether an answer can be waited for."""
        return self._in_flight is not None

    def request(self, values: Values) -> None:
        """Ask for a picture; of requests that wait for the one in flight, only the newest is kept."""
        if self._in_flight is None:
            self._in_flight = self._ask("answer", values)
        else:
            self._waiting = values

    def answer(self, timeout_s: float = 30.0) -> Values:
        """Wait for the answer of the request in flight; the newest that waits goes out next.

        Raises
        ------
        ComputeError
            If nothing was asked, or no answer comes in time: the worker may be loading again.
        """
        if self._in_flight is None:
            raise ComputeError("no live picture was asked for; call request first")
        found = self._result(self._in_flight, timeout_s)
        waiting, self._waiting, self._in_flight = self._waiting, None, None
        if waiting is not None:
            self.request(waiting)
        return found

    def measure(self, values: Values, timeout_s: float = 60.0) -> Values:
        """Give the measures of a request: its distance from measured responses, the share of the change where the voxels look."""
        return self._result(self._ask("measure", values), timeout_s)

    def _ask(self, what: str, values: Values) -> Any:
        return self._client.submit(answer, what, *self._where, values, pure=False, resources={control.LIVE: 1}, priority=10, retries=1)

    def _result(self, future: Any, timeout_s: float) -> Values:
        from distributed import CancelledError, KilledWorker
        from distributed import TimeoutError as NoAnswer

        try:
            found: Values = future.result(timeout=timeout_s)
        except (NoAnswer, CancelledError, KilledWorker, OSError) as error:
            future.cancel()
            self._in_flight = self._waiting = None
            raise ComputeError(
                f"no live picture came within {timeout_s:g} s ({type(error).__name__}); ask again, the model is loaded again"
            ) from error
        return found


def answer(what: str, model: str, subject: str, device: str, values: Values) -> Values:
    """Answer one request in the live worker, which keeps the last systems in memory."""
    plugin = control.control_of(get_worker())
    began_s = time.perf_counter()
    try:
        decoder = plugin.live_decoder(model, subject, device)
        if what == "greeting":
            return dict(decoder.greeting())
        reply = decoder.answer(values) if what == "answer" else decoder.measure(values)
    except Brain2PixError as error:
        return {"id": values.get("id"), "error": str(error)}
    return {"id": values.get("id"), **reply, "worker_seconds": round(time.perf_counter() - began_s, 4)}
