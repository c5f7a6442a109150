"""Weight files and their cards: where a file comes from, what it must hash to, and how it is read (tensors only, never code)."""

import hashlib
import http
import http.client
import logging
import os
import pickle
import re
import shutil
import tomllib
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from brain2pix.errors import ComputeError, ConfigError, DataFormatError, MissingDataError, unknown_name
from brain2pix.events import CancelToken, Progress, ignore
from brain2pix.files import atomic_path, disk_full_message, is_disk_full
from brain2pix.models.matconvnet import read_first_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from brain2pix.events import EventSink

_log = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "BRAIN2PIX_WEIGHTS"
_CHUNK = 2**20
_TIMEOUT_S = 30


@dataclass(frozen=True)
class WeightsCard:
    """What is known of a weight file.

    Parameters
    ----------
    name : str, of the network
    title : str, for people
    file : str, name of the file
    sha256 : str, hexadecimal; the whole digest or the leading digits that its publisher gives; empty where none is known
    source : str, address, or the command that makes the file
    licence : str
    paper : str
    input_range : str
    bundled : bool, whether the file comes with this package
    training : dict, how we trained it (seed, steps, images, ...), empty for published files
    """

    name: str
    title: str
    file: str
    sha256: str
    source: str
    licence: str
    paper: str
    input_range: str
    bundled: bool
    training: dict[str, Any]


def weights_folder() -> Path:
    """Folder where published weight files are looked for: ``$BRAIN2PIX_WEIGHTS``, else the user's data folder."""
    given = os.environ.get(WEIGHTS_VARIABLE)
    return Path(given) if given else Path(platformdirs.user_data_dir("brain2pix", appauthor=False)) / "weights"


def card_names() -> list[str]:
    """Names of the networks that have a card."""
    return sorted(
        Path(place.name).stem for place in files("brain2pix.resources").joinpath("backbones").iterdir() if place.name.endswith(".toml")
    )


def read_card(name: str) -> WeightsCard:
    """Card of a network that has weights.

    Raises
    ------
    ConfigError
        If there is no such network.
    """
    place = _resource(f"{name}.toml")
    if not place.is_file():
        raise ConfigError(unknown_name("backbone with weights", name, card_names()))
    return card_from_toml(place.read_text(encoding="utf-8"))


def card_from_toml(text: str) -> WeightsCard:
    """Read a card."""
    values = tomllib.loads(text)
    values.setdefault("training", {})
    return WeightsCard(**{field.name: values[field.name] for field in fields(WeightsCard)})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weight file as tensors and nothing else: safetensors, MatConvNet's first layer, or torch's own format with code refused.

    Raises
    ------
    MissingDataError
        If there is no such file.
    DataFormatError
        If the file is damaged or holds more than tensors.
    """
    state = load_plain(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataFormatError(f"{path} is not a plain state dict of tensors (got {type(state).__name__})")
    return state


def load_plain(path: Path) -> Any:
    """Read a weight file or a checkpoint: tensors, plain values, and dicts and lists of them; nothing that would run code.

    Raises
    ------
    MissingDataError
        If there is no such file.
    DataFormatError
        If the file is damaged or holds anything else.
    """
    if not path.is_file():
        raise MissingDataError(f"weight file {path} does not exist")
    if path.suffix == ".mat":
        return read_first_layer(path)
    try:
        return load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError as error:
        raise DataFormatError(f"{path} holds more than tensors, or is damaged, and was not opened; expected a plain state dict") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise DataFormatError(f"{path} cannot be read as a weight file (cut short?): {error}") from error


def fill(network: "nn.Module", state: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into a network by name; what the network does not have (a classifier) is left out.

    Raises
    ------
    DataFormatError
        If a tensor is missing or has another shape.
    """
    with torch.no_grad():
        for key, parameter in network.state_dict(keep_vars=True).items():
            if key not in state:
                raise DataFormatError(f"{path} has no tensor {key!r}; is it a weight file of {type(network).__name__}?")
            if state[key].shape != parameter.shape:
                raise DataFormatError(
                    f"{path}: {key!r} is {tuple(state[key].shape)}, {type(network).__name__} needs {tuple(parameter.shape)}"
                )
            parameter.copy_(state[key])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, card: WeightsCard, shown: Path | None = None) -> None:
    """Refuse a file that is not the one on the card; the message names it as `shown`, if given.

    Where no digest is known, a warning says that the origin is not checked.

    Raises
    ------
    DataFormatError
    """
    if not card.sha256:
        _log.warning("no SHA-256 is known for %s: its layout is checked, its origin is not", shown or path)
        return
    found = file_sha256(path)
    if not found.startswith(card.sha256.lower()):
        raise DataFormatError(
            f"{shown or path} is not the file on the card of {card.name!r}: "
            f"expected a SHA-256 that begins with {card.sha256}, got {found}. "
            f"It may be damaged or cut short; get it again from {card.source}"
        )


def download_weights(name: str, folder: Path | None = None, sink: "EventSink" = ignore, cancel: CancelToken | None = None) -> Path:
    """Fetch a published weight file because the user asked for it; it appears only if whole and as on its card.

    What came of a broken or cancelled download stays beside it as ``<file>.part``, and the next one goes on from there.

    Parameters
    ----------
    name : str, of the network
    folder : Path or None, where to put it; None = `weights_folder`
    sink : EventSink, told how many bytes are done
    cancel : CancelToken or None

    Returns
    -------
    Path, of the file; if it is already there and right, nothing is fetched

    Raises
    ------
    ConfigError
        If the network comes with this package.
    ComputeError
        If the address cannot be reached, the connection breaks, or the disk is full.
    DataFormatError
        If what came is not the file on the card; nothing of it is kept.
    """
    card, cancel = read_card(name), cancel or CancelToken()
    if card.bundled:
        raise ConfigError(f"backbone {name!r} comes with this package; there is nothing to fetch")
    target = (folder or weights_folder()) / card.file
    if target.is_file():
        check_digest(target, card)
        return target
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(card.source, part, f"weights of {name}", sink, cancel)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        kept = f" {part.stat().st_size:,} bytes are kept: the same command goes on from there." if part.exists() else ""
        raise ComputeError(
            f"{card.source} cannot be fetched ({error}).{kept} Without a connection, put the file into {target.parent} by hand."
        ) from error
    except OSError as error:
        raise ComputeError(disk_full_message(target) if is_disk_full(error) else f"{part} cannot be written: {error}") from error
    try:
        check_digest(part, card, shown=target)
    except DataFormatError:
        part.unlink()  # going on from it would never end well
        raise
    part.replace(target)
    if not card.sha256:
        try:
            load_tensors(target)  # then at least it is of that layout
        except DataFormatError:
            target.unlink()
            raise
    return target


def add_weights(path: Path, name: str | None = None, folder: Path | None = None) -> Path:
    """Copy a published weight file that the user has into the folder where it is looked for, if it is the one on its card.

    Parameters
    ----------
    path : Path
    name : str or None, of the network; None: told by the file's name, else by its SHA-256
    folder : Path or None, where to put it; None = `weights_folder`

    Returns
    -------
    Path, of the copy

    Raises
    ------
    MissingDataError, DataFormatError, ConfigError, ComputeError
    """
    if not path.is_file():
        raise MissingDataError(f"weight file {path} does not exist")
    card = read_card(name or _network_of(path))
    if card.bundled:
        raise ConfigError(f"backbone {card.name!r} comes with this package; give another file by the setting backbone.weights")
    check_digest(path, card)
    if not card.sha256:
        load_tensors(path)  # then at least it is of that layout
    target = (folder or weights_folder()) / card.file
    if not (target.is_file() and target.samefile(path)):
        with atomic_path(target) as beside:
            shutil.copyfile(path, beside)
    return target


@contextmanager
def weight_file(card: WeightsCard, given: Path | None = None) -> "Iterator[Path]":
    """Find and check the weight file of a card: `given`, the bundled one, or the one in `weights_folder`.

    Raises
    ------
    MissingDataError
        If it is absent; the message names the file, where to get it, and the backbone that works now.
    DataFormatError
        If it is not the file on the card.
    """
    if given is not None:
        if not given.is_file():
            raise MissingDataError(f"weight file {given} of backbone {card.name!r} does not exist; {_advice(card, given.parent)}")
        beside = given.with_suffix(".toml")  # `training.backbone` writes a card with each file
        if beside.is_file():
            check_digest(given, card_from_toml(beside.read_text(encoding="utf-8")))
        elif given.name == card.file:
            check_digest(given, card)
        else:
            _log.warning("%s is not the published file %s: its origin is not checked", given, card.file)
        yield given
    elif card.bundled:
        with as_file(_resource(card.file)) as path:
            check_digest(path, card)
            yield path
    else:
        path = weights_folder() / card.file
        if not path.is_file():
            raise MissingDataError(
                f"backbone {card.name!r} needs the weight file {path}, which does not exist; {_advice(card, path.parent)}"
            )
        check_digest(path, card)
        yield path


def _fetch(source: str, part: Path, stage: str, sink: "EventSink", cancel: CancelToken) -> None:
    """Append to `part` what it lacks; begin anew where the server does not give parts of files."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(source, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here, or it is longer than the file: its digest will tell
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT and _begins_at(answer.headers.get("Content-Range")) == done
        done = done if goes_on else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                cancel.check()
                file.write(chunk)
                done += len(chunk)
                sink(Progress(stage, done, max(total, done), "bytes"))
    if done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _begins_at(content_range: str | None) -> int | None:
    """First byte that a server says it sends: "bytes 100-199/200"."""
    match = re.match(r"bytes (\d+)-", content_range or "")
    return int(match[1]) if match else None


def _network_of(path: Path) -> str:
    """Name of the network that a published file belongs to."""
    cards = [card for card in map(read_card, card_names()) if not card.bundled]
    named = [card.name for card in cards if card.file == path.name]
    if named:
        return named[0]
    digest = file_sha256(path)
    fitting = [card.name for card in cards if card.sha256 and digest.startswith(card.sha256.lower())]
    if not fitting:
        known = ", ".join(f"{card.file} ({card.name})" for card in cards)
        raise DataFormatError(
            f"{path} is none of the published files: {known}. A file of your own is given by the setting backbone.weights"
        )
    return fitting[0]


def _torch_load(path: Path) -> Any:
    with warnings.catch_warnings():
        # torch warns of odd pickle protocols just before it refuses them
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _advice(card: WeightsCard, folder: Path) -> str:
    if card.bundled:
        return "leave the setting out to use the bundled weights"
    if folder == weights_folder():
        return f"brain2pix weights fetch {card.name} gets it from {card.source}; backbone 'tiny' works now"
    return f"get {card.source} and put it into {folder}; backbone 'tiny' works now"


def _resource(name: str) -> Any:
    return files("brain2pix.resources").joinpath("backbones", name)
