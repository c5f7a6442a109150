"""Decode while somebody moves a slider: a child process that keeps one system in memory.

``python -m brain2pix.compute.live MODEL_DIR SUBJECT_DIR [DEVICE]`` reads one JSON object per line from stdin and answers on stdout::

    {"id": 7, "stimulus_id": "mean", "region": "V1 & L", "mode": "add", "amplitude": 2.0}
    {"id": 7, "image": "<base64 of a PNG>", "stimulus_id": "mean", "repeat": null, "n_voxels": 1022, "seconds": 0.021}
    {"id": 7, "error": "region 'V9': unknown area ..."}

Keys of a request, all but ``id`` optional:

``stimulus_id``, ``repeat``, ``split``
    The response that is changed: of a stimulus (mean over its trials, or its trial number ``repeat``, from 1; only those of ``split``, if
    that is said), or ``"mean"``, the mean over all training trials.
``region``
    Expression over the areas of the subject and those in ``areas``; null for no stimulation.
``areas``
    Further areas by their voxels: ``{"painted": [17, 18]}``, rows of the subject's voxel table (counted from 0). Voxels that the model
    does not read are left out. A name must not be one of the subject's own.
``mode``, ``amplitude``
    As in `brain2pix.stimulation.stimulate`.
``measure``, ``field``
    With ``"measure": true`` a second line follows when it has been computed, unless a newer request with ``measure`` came meanwhile;
    pictures never wait for it. ``distance`` and ``largest`` are those of `Stimulator.distance` and `Stimulator.largest`. ``share`` is
    that of `Stimulator.share` for ``field``, a list of quadrants, and null without it::

        {"id": 7, "measures": {"distance": {"excess": 0.8, ...}, "largest": 2.4, "share": {"share": 0.7, "control": 0.5, "chance": 0.5}}}

The first line that it writes is a greeting without an id: ``{"ready": true, ...}``; ``info`` in it says which voxels the model reads, in
which order (`SubjectInfo.to_dict`). Of requests that wait, only the newest is answered. It ends when stdin does. Nothing else is ever
written to stdout.
"""

import base64
import io
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from brain2pix.errors import Brain2PixError, ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.compute.jobs._inputs import TrainedRun

    Say = Callable[[dict[str, Any]], None]

SETTLE_S = 0.12  # without a newer request, before a request is measured: a slider that moves shall have all cores
_KEYS = ("id", "stimulus_id", "repeat", "split", "region", "areas", "mode", "amplitude", "measure", "field")


class LiveDecoder:
    """Answers requests with one trained system.

    Parameters
    ----------
    trained : TrainedRun
    """

    def __init__(self, trained: "TrainedRun") -> None:
        from brain2pix.compute.stimulator import Stimulator

        self.trained = trained
        self.stimulator = Stimulator(trained)

    def greeting(self) -> dict[str, Any]:
        """Say what can be asked for."""
        info = self.trained.method.info
        return {
            "ready": True,
            "method": info.name,
            "subject": self.trained.subject.name,
            "simulated": self.trained.subject.simulated,
            "n_voxels": int(self.trained.voxel_index.size),
            "image_size": info.image_size,
            "regions": self.stimulator.regions,
            "device": str(self.trained.device),
            "info": self.stimulator.info.to_dict(),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Decode one request.

        Raises
        ------
        Brain2PixError
            If something in the request is unknown.
        """
        began_s = time.perf_counter()
        stimulus, _, mask, changed = self._change(request)
        image = self.stimulator.picture(changed, stimulus)
        return {
            "image": base64.b64encode(png_bytes(image)).decode("ascii"),
            "stimulus_id": stimulus,
            "repeat": request.get("repeat"),
            "n_voxels": int(mask.sum()),
            "seconds": round(time.perf_counter() - began_s, 4),
        }

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say how far the stimulated response of a request can be trusted, and where it changed the picture."""
        stimulus, base, mask, changed = self._change(request)
        mode, field, amplitude = str(request.get("mode") or "add"), request.get("field"), request.get("amplitude", 0.0)
        share = self.stimulator.share(base, stimulus, mask, mode, amplitude, field) if field and mask.any() else None
        return {
            "distance": self.stimulator.distance(base, changed),
            "largest": self.stimulator.largest(base, mask, mode) if mask.any() else None,
            "share": share,
        }

    def _change(self, request: dict[str, Any]) -> "tuple[str, NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]":
        """Stimulus, its response, the stimulated voxels and the response with stimulation."""
        from brain2pix.compute.stimulator import MEAN, change

        for key in request:
            if key not in _KEYS:
                raise ConfigError(unknown_name("key of a request", key, _KEYS))
        check_field(request.get("field"))
        stimulus = str(request.get("stimulus_id") or MEAN)
        base = self.stimulator.base(stimulus, request.get("repeat"), request.get("split"))
        mask = self.stimulator.mask(request.get("region"), request.get("areas"))
        return stimulus, base, mask, change(base, mask, str(request.get("mode") or "add"), request.get("amplitude", 0.0))


def check_field(field: Any) -> None:
    """Refuse what is no list of quadrants."""
    from brain2pix.stimulation.regions import quadrant_signs

    if field is not None and not (isinstance(field, list) and all(isinstance(name, str) for name in field)):
        raise ConfigError(f'field must be a list of quadrants such as ["upper_right"], got {field!r}')
    for name in field or ():
        quadrant_signs(name)


def png_bytes(image: "NDArray[np.uint8]") -> bytes:
    """Encode a picture [h w 3]."""
    from imageio.v3 import imwrite

    buffer = io.BytesIO()
    imwrite(buffer, image, extension=".png")
    return buffer.getvalue()


class Newest:
    """Requests as they come in on a stream; whoever asks gets the newest, older ones that still wait are dropped.

    A line that is not a request is handed out too, as an error text, so that it gets its reply.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._condition = threading.Condition()
        self._request: dict[str, Any] | None = None
        self._errors: list[str] = []
        self._closed = False
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def get(self) -> "dict[str, Any] | str | None":
        """Wait for a request; str for a line that was none, None at the end of the stream."""
        with self._condition:
            self._condition.wait_for(lambda: self._request is not None or self._errors or self._closed)
            if self._errors:
                return self._errors.pop(0)
            request, self._request = self._request, None
            return request

    def _read(self) -> None:
        for line in self._stream:
            if not line.strip():
                continue
            with self._condition:
                try:
                    values = json.loads(line)
                    if not isinstance(values, dict):
                        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
                    self._request = values
                except ValueError as error:
                    self._errors.append(f"a request must be one JSON object on one line: {error}")
                self._condition.notify()
        with self._condition:
            self._closed = True
            self._condition.notify()


class Afterwards:
    """Measures of answered requests, computed beside the answers; of those that wait, only the newest is taken up.

    Parameters
    ----------
    decoder : LiveDecoder
    say : function that writes one line; must be safe to call from a thread
    """

    def __init__(self, decoder: LiveDecoder, say: "Say") -> None:
        self._decoder, self._say = decoder, say
        self._condition = threading.Condition()
        self._request: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    def put(self, request: dict[str, Any]) -> None:
        """Measure a request next; the thread starts with the first one, so that no picture waits for what it does."""
        with self._condition:
            self._request = request
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="measures", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._request is not None)
                request, self._request = self._request, None
                if self._condition.wait_for(lambda: self._request is not None, SETTLE_S):
                    continue
            assert request is not None
            try:
                measures = self._decoder.measure(request)
            except Exception as error:  # whatever it was, the picture stands
                measures = {"distance": {"problem": f"{type(error).__name__}: {error}"}, "largest": None, "share": None}
            with self._condition:
                outdated = self._request is not None
            if not outdated:
                self._say({"id": request.get("id"), "measures": measures})


def serve(decoder: LiveDecoder, requests: IO[str], answers: IO[str]) -> None:
    """Answer until the requests end; a bad request gets an error as its answer."""
    writing = threading.Lock()

    def say(values: dict[str, Any]) -> None:
        with writing:
            answers.write(json.dumps(values) + "\n")
            answers.flush()

    say(decoder.greeting())
    newest, afterwards = Newest(requests), Afterwards(decoder, say)
    while (request := newest.get()) is not None:
        if isinstance(request, str):
            say({"id": None, "error": request})
            continue
        try:
            reply = decoder.answer(request)
        except (Brain2PixError, ShapeError) as error:
            reply = {"error": str(error)}
        except Exception as error:  # whatever it was, the next request may be fine
            reply = {"error": f"{type(error).__name__}: {error}"}
        say({"id": request.get("id"), **reply})
        if request.get("measure") is True and "error" not in reply:
            afterwards.put(request)


def main(arguments: list[str]) -> int:
    """Load model and subject, then serve stdin and stdout."""
    # libraries that print must not break the protocol
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if len(arguments) not in (2, 3):
        print("usage: python -m brain2pix.compute.live MODEL_DIR SUBJECT_DIR [DEVICE]", file=sys.stderr)
        return 2
    from brain2pix.compute.jobs._inputs import open_run

    try:
        trained = open_run(Path(arguments[0]), Path(arguments[1]), arguments[2] if len(arguments) == 3 else "auto")
    except Brain2PixError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    try:
        serve(LiveDecoder(trained), sys.stdin, answers)
    except BrokenPipeError:  # the window has gone
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
