"""Live pictures from a compute server: a thread with a connection of its own asks, and says each answer as a signal."""

import logging
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from brain2pix.compute.live import SETTLE_S
from brain2pix.errors import Brain2PixError, ComputeError

if TYPE_CHECKING:
    from brain2pix.compute.engine.live import LiveSession

LEAVE_S = 2.0  # that a closing window waits for an answer that is on its way
TRIES = 2  # a worker that died loads the model again

logger = logging.getLogger(__name__)


class ServerLink(QObject):
    """One trained system on a server. Whoever sends waits for the answer before the next request, as `LiveDecoder` does.

    Signals
    -------
    said : dict, an answer: the greeting, a picture, measures, or an error
    ended : str, why there will be no further answer

    Parameters
    ----------
    server : str, name or connection file
    model, subject : Path, as the server sees them
    """

    said = Signal(object)
    ended = Signal(str)

    def __init__(self, server: str, model: Path, subject: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.server = server
        self._where = (model, subject)
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="live pictures", daemon=True)
        self._thread.start()

    def send(self, request: dict[str, Any]) -> None:
        """Ask for a picture, and for its measures if it wants them."""
        self._requests.put(request)

    def close(self) -> None:
        """Let go of the server."""
        self._over = True
        self._requests.put(None)
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        from brain2pix.compute.engine.client import Engine

        try:
            with Engine.connect(self.server) as engine:
                session = engine.live(*self._where)
                self._say(session.greeting)
                request = self._requests.get()
                while request is not None:
                    answer = self._answer(session, request)
                    self._say(answer)
                    request = self._measured(session, request, answer)
        except Exception as error:  # the window goes on without pictures
            if not isinstance(error, Brain2PixError):
                logger.exception("live pictures from %s", self.server)
            if not self._over:
                with suppress(RuntimeError):  # the window has gone
                    self.ended.emit(f"{error}")

    def _answer(self, session: "LiveSession", request: dict[str, Any]) -> dict[str, Any]:
        for _ in range(TRIES - 1):
            with suppress(ComputeError):
                session.request(request)
                return session.answer()
        session.request(request)
        return session.answer()

    def _measured(self, session: "LiveSession", request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any] | None:
        """Say the measures of a picture if no newer request comes; give the next request."""
        if request.get("measure") is True and "error" not in answer:
            with suppress(queue.Empty):
                return self._requests.get(timeout=SETTLE_S)
            self._say({"id": request.get("id"), "measures": session.measure(request)})
        return self._requests.get()

    def _say(self, answer: dict[str, Any]) -> None:
        if not self._over:
            with suppress(RuntimeError):  # the window has gone
                self.said.emit(answer)
