"""Decode while somebody moves a slider: a child process that keeps one system in memory.

``python -m brain2pix.compute.live MODEL_DIR SUBJECT_DIR [DEVICE]`` reads one JSON object per line from stdin and answers on stdout::

    {"id": 7, "stimulus_id": "mean", "region": "V1 & L", "mode": "add", "amplitude": 2.0}
    {"id": 7, "image": "<base64 of a PNG>", "stimulus_id": "mean", "n_voxels": 1022, "seconds": 0.021}
    {"id": 7, "error": "region 'V9': unknown area ..."}

The first line that it writes is a greeting without an id: ``{"ready": true, ...}``. Of requests that wait, only the newest is answered. It
ends when stdin does. Nothing else is ever written to stdout.
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

import numpy as np

from brain2pix.errors import Brain2PixError, ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.compute.jobs._inputs import TrainedRun

MEAN = "mean"
_KEYS = ("id", "stimulus_id", "region", "mode", "amplitude")


class LiveDecoder:
    """Answers requests with one trained system.

    Parameters
    ----------
    trained : TrainedRun
    """

    def __init__(self, trained: "TrainedRun") -> None:
        self.trained = trained
        self._areas = {name: mask[trained.voxel_index] for name, mask in trained.subject.areas.items()}
        self._base: dict[str, NDArray[np.float32]] = {}

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
            "regions": {name: int(mask.sum()) for name, mask in self._areas.items() if mask.any()},
            "device": str(self.trained.device),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Decode one request.

        Raises
        ------
        Brain2PixError
            If something in the request is unknown.
        """
        from brain2pix.compute.jobs._inputs import decode_images
        from brain2pix.events import CancelToken

        began_s = time.perf_counter()
        for key in request:
            if key not in _KEYS:
                raise ConfigError(unknown_name("key of a request", key, _KEYS))
        stimulus = str(request.get("stimulus_id") or MEAN)
        values = self.base(stimulus)
        mask = self.mask(request.get("region"))
        changed = change(values, mask, str(request.get("mode") or "add"), request.get("amplitude", 0.0))
        image = decode_images(self.trained.method, changed[None], self.trained.device, CancelToken())[0]
        return {
            "image": base64.b64encode(png_bytes(image)).decode("ascii"),
            "stimulus_id": stimulus,
            "n_voxels": int(mask.sum()),
            "seconds": round(time.perf_counter() - began_s, 4),
        }

    def base(self, stimulus: str) -> "NDArray[np.float32]":
        """Mean response to a stimulus over its trials, or over all training trials, [v]."""
        if stimulus not in self._base:
            subject = self.trained.subject
            if stimulus == MEAN:
                rows = subject.rows("train")
            else:
                shown = subject.trials["stimulus_id"].to_numpy()
                rows = np.flatnonzero(shown == stimulus)
                if not rows.size:
                    raise ConfigError(unknown_stimulus(stimulus, shown))
            self._base[stimulus] = subject.responses(rows, self.trained.voxel_index).mean(axis=0, dtype=np.float64).astype(np.float32)
        return self._base[stimulus]

    def mask(self, region: str | None) -> "NDArray[np.bool_]":
        """Voxels of the model that lie in a region, [v]; none for no region."""
        from brain2pix.data.regions import region_mask

        if region is None:
            return np.zeros(self.trained.voxel_index.size, dtype=np.bool_)
        return region_mask(region, self._areas)


def change(values: "NDArray[np.float32]", mask: "NDArray[np.bool_]", mode: str, amplitude: Any) -> "NDArray[np.float32]":
    """Stimulate one response pattern.

    Parameters
    ----------
    values : float32 array, [v]
    mask : bool array, [v]
    mode : str, "set", "add", "scale" or "silence"
    amplitude : float

    Returns
    -------
    float32 array, [v]
    """
    import torch

    from brain2pix.stimulation.operations import stimulate

    if isinstance(amplitude, bool) or not isinstance(amplitude, int | float) or not np.isfinite(amplitude):
        raise ConfigError(f"amplitude must be a finite number, got {amplitude!r}")
    if not mask.any():
        return values
    changed = stimulate(torch.from_numpy(values)[None], torch.from_numpy(mask), mode, float(amplitude))
    return np.asarray(changed[0].numpy(), dtype=np.float32)


def unknown_stimulus(name: str, known: "NDArray[Any]") -> str:
    """Say that a stimulus has no trials, with a near name; a subject may have thousands, so they are not listed."""
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(set(map(str, known))), n=1, cutoff=0.4)
    return f"unknown stimulus {name!r}.{f' Did you mean {near[0]!r}?' if near else ''} Give an id of the trial table, or {MEAN!r}."


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


def serve(decoder: LiveDecoder, requests: IO[str], answers: IO[str]) -> None:
    """Answer until the requests end; a bad request gets an error as its answer."""

    def say(values: dict[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    say(decoder.greeting())
    newest = Newest(requests)
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
