"""Weight files: the right ones load, everything else is refused with a reason."""

import logging
import os
import pickle
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import save_file

from brain2pix.errors import ComputeError, ConfigError, DataFormatError, MissingDataError
from brain2pix.events import Cancelled, CancelToken, Event, Progress
from brain2pix.models import AlexNetFeatures, TinyBackbone, backbone_names, load_backbone, read_card, weights_folder
from brain2pix.models import weights as weights_module
from brain2pix.models.scaling import procedural_images
from brain2pix.models.weights import WeightsCard, add_weights, card_names, download_weights, file_sha256, load_tensors
from brain2pix.simulation.photos import PHOTO_SOURCES

PUBLISHED = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth", "alexnet": "alexnet-owt-7be5be79.pth"}


class _Malicious:
    """What a harmful pickle does: run a command when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def alexnet_file(tmp_path: Path) -> Path:
    """A file like the published one: features and a classifier."""
    torch.manual_seed(0)
    state = {key: torch.randn_like(value) for key, value in AlexNetFeatures().state_dict().items()}
    path = tmp_path / PUBLISHED["alexnet"]
    torch.save({**state, "classifier.1.weight": torch.zeros(2, 2)}, path)
    return path


def test_bundled_backbone_loads_from_the_package() -> None:
    network = load_backbone("tiny")
    assert isinstance(network, TinyBackbone)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    card = read_card("tiny")
    place = files("brain2pix.resources").joinpath("backbones", card.file)
    assert len(place.read_bytes()) <= 2_000_000
    assert card.bundled
    assert len(card.sha256) == 64
    assert card.training["image_sources"]


def test_bundled_backbone_saw_no_test_or_validation_photo() -> None:
    sources = set(read_card("tiny").training["image_sources"])
    assert sources == {*PHOTO_SOURCES["train"], "dead leaves"}
    assert not sources & {*PHOTO_SOURCES["test"], *PHOTO_SOURCES["validation"]}


def test_features_of_the_bundled_backbone_are_of_one_size_and_all_used() -> None:
    network = load_backbone("tiny")
    for part in network(procedural_images(8, 64, seed=9), network.perceptual_taps):
        assert 0.2 < float(part.std()) < 3
        assert part.std(dim=(0, 2, 3)).min() > 0.02


@pytest.mark.parametrize("name", PUBLISHED)
def test_cards_of_published_files(name: str) -> None:
    card = read_card(name)
    assert card.file == PUBLISHED[name]
    assert card.sha256 == Path(card.file).stem.rsplit("-", 1)[1]
    assert card.source == f"https://download.pytorch.org/models/{card.file}"
    assert not card.bundled


def test_each_network_with_weights_has_a_card_and_each_card_a_network() -> None:
    assert set(card_names()) == set(backbone_names()) - {"random", "random_residual"}
    for name in card_names():
        assert tomllib.loads(files("brain2pix.resources").joinpath("backbones", f"{name}.toml").read_text())["name"] == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_the_file_the_message_says_where_to_get_it_and_what_works_now(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingDataError) as caught:
        load_backbone(name)
    for part in (str(tmp_path / PUBLISHED[name]), f"https://download.pytorch.org/models/{PUBLISHED[name]}", "backbone 'tiny' works now"):
        assert part in str(caught.value)


def test_default_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAIN2PIX_WEIGHTS", raising=False)
    assert weights_folder().parts[-2:] == ("brain2pix", "weights")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"weight file .*nowhere.pth of backbone 'vgg19' does not exist; get https"):
        load_backbone("vgg19", tmp_path / "nowhere.pth")
    with pytest.raises(MissingDataError, match="leave the setting out to use the bundled weights"):
        load_backbone("tiny", tmp_path / "nowhere.safetensors")


def test_published_file_loads_when_its_digest_fits(alexnet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(read_card("alexnet"), sha256=file_sha256(alexnet_file)[:8])
    monkeypatch.setattr("brain2pix.models.backbones.read_card", lambda _name: card)
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(alexnet_file.parent))
    state = torch.load(alexnet_file, weights_only=True)
    for network in (load_backbone("alexnet"), load_backbone("alexnet", alexnet_file)):
        assert torch.equal(network.features[3].weight, state["features.3.weight"])


@pytest.mark.parametrize("by_path", [True, False])
def test_another_content_under_the_published_name_is_refused(by_path: bool, alexnet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAIN2PIX_WEIGHTS", str(alexnet_file.parent))
    with pytest.raises(DataFormatError, match=r"expected a SHA-256 that begins with 7be5be79, got [0-9a-f]{64}"):
        load_backbone("alexnet", alexnet_file if by_path else None)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_ones_own_loads_with_a_warning(suffix: str, alexnet_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = alexnet_file.with_name("mine" + suffix)
    state = torch.load(alexnet_file, weights_only=True)
    if suffix == ".pth":
        torch.save(state, own, _use_new_zipfile_serialization=False)  # the published files are in this older format
    else:
        save_file(state, own)
    with caplog.at_level(logging.WARNING):
        network = load_backbone("alexnet", own)
    assert torch.equal(network.features[0].bias, state["features.0.bias"])
    assert "origin is not checked" in caplog.text


@pytest.mark.parametrize("protocol", ["torch", "torch-old", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(protocol: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / "evil.pth"
    content = {"features.0.weight": _Malicious(trace)}
    if protocol == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "torch")
    with pytest.raises(DataFormatError, match=r"evil.pth holds more than tensors"):
        load_backbone("alexnet", path)
    assert not trace.exists()
    # the file is as harmful as it looks: opened the careless way it does run
    if protocol == "pickle":
        pickle.loads(path.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_file(suffix: str, keep: int, tmp_path: Path) -> None:
    whole = tmp_path / ("whole" + suffix)
    state = {"features.0.weight": torch.randn(64, 3, 11, 11)}
    if suffix == ".pth":
        torch.save(state, whole)
    else:
        save_file(state, whole)
    cut = tmp_path / ("cut" + suffix)
    cut.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(DataFormatError, match=f"cut{suffix}"):
        load_backbone("alexnet", cut)


def test_a_file_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "tiny-by-mistake.safetensors"
    save_file(dict(TinyBackbone().state_dict()), path)
    with pytest.raises(DataFormatError, match=r"'features.0.weight' is \(32, 3, 3, 3\), AlexNetFeatures needs \(64, 3, 11, 11\)"):
        load_backbone("alexnet", path)
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(DataFormatError, match="is it a weight file of AlexNetFeatures"):
        load_backbone("alexnet", path)


def test_a_nested_checkpoint_is_not_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "nested.pth"
    torch.save({"state_dict": {"features.0.weight": torch.zeros(1)}, "epoch": 3}, path)
    with pytest.raises(DataFormatError, match="not a plain state dict of tensors"):
        load_tensors(path)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"unknown backbone 'vgg18'. Did you mean 'vgg1[69]'"):
        load_backbone("vgg18")
    with pytest.raises(ConfigError, match="unknown backbone with weights 'random'"):
        read_card("random")


def test_random_networks_take_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'random' is never trained, so it takes no weights"):
        load_backbone("random", tmp_path / "some.pth")


def test_bundled_file_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(read_card("tiny"), sha256="0" * 64)
    monkeypatch.setattr("brain2pix.models.backbones.read_card", lambda _name: card)
    with pytest.raises(DataFormatError, match="is not the file on the card of 'tiny'"):
        load_backbone("tiny")
    assert weights_module.WEIGHTS_VARIABLE == "BRAIN2PIX_WEIGHTS"


class _Server:
    """A web server on this machine that offers one file."""

    def __init__(self, folder: Path) -> None:
        handler = partial(_QuietHandler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    """Gives files, or parts of them as HTTP's ranges ask for."""

    gives_parts: ClassVar[bool] = True
    most_bytes: ClassVar[int | None] = None
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.gives_parts else 0
        if wanted and self.gives_parts:
            self.asked.append(wanted)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.most_bytes])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def served(alexnet_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsCard]:
    server = _Server(alexnet_file.parent)
    card = replace(read_card("alexnet"), source=f"{server.address}/{alexnet_file.name}", sha256=file_sha256(alexnet_file))
    monkeypatch.setattr(weights_module, "read_card", lambda _name: card)
    yield card
    server.close()


def test_download_brings_the_file_and_reports_its_bytes(served: WeightsCard, alexnet_file: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    path = download_weights("alexnet", tmp_path / "new", events.append)
    assert path == tmp_path / "new" / served.file
    assert path.read_bytes() == alexnet_file.read_bytes()
    size = path.stat().st_size
    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.done, last.total) == (size, size)
    events.clear()
    assert download_weights("alexnet", tmp_path / "new", events.append) == path
    assert not events  # already there


def test_download_of_another_file_leaves_nothing(served: WeightsCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "read_card", lambda _name: replace(served, sha256="0" * 8))
    with pytest.raises(DataFormatError, match=rf"new/{served.file} is not the file on the card .* begins with 00000000"):
        download_weights("alexnet", tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_cancelled_download_goes_on_where_it_stopped(
    served: WeightsCard, alexnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = CancelToken()
    monkeypatch.setattr(weights_module, "_CHUNK", 1 << 16)
    with pytest.raises(Cancelled):
        download_weights("alexnet", tmp_path / "new", lambda _event: token.cancel(), token)
    (part,) = (tmp_path / "new").iterdir()
    assert part.name == f"{served.file}.part" and part.read_bytes() == alexnet_file.read_bytes()[: 1 << 16]
    events: list[Event] = []
    _QuietHandler.asked.clear()
    path = download_weights("alexnet", tmp_path / "new", events.append)
    assert path.read_bytes() == alexnet_file.read_bytes() and not part.exists()
    assert _QuietHandler.asked == [f"bytes={1 << 16}-"]
    first, last = events[0], events[-1]
    assert isinstance(first, Progress) and isinstance(last, Progress)
    assert first.done == 2 << 16 and last.total == last.done == path.stat().st_size


def test_a_server_without_parts_of_files_gives_all_of_it_again(
    served: WeightsCard, alexnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_QuietHandler, "gives_parts", False)
    part = tmp_path / "new" / f"{served.file}.part"
    part.parent.mkdir()
    part.write_bytes(b"of another file")
    assert download_weights("alexnet", part.parent).read_bytes() == alexnet_file.read_bytes()
    assert not part.exists()


def test_a_download_that_was_whole_is_taken(served: WeightsCard, alexnet_file: Path, tmp_path: Path) -> None:
    part = tmp_path / "new" / f"{served.file}.part"
    part.parent.mkdir()
    part.write_bytes(alexnet_file.read_bytes())
    assert download_weights("alexnet", part.parent).read_bytes() == alexnet_file.read_bytes()


def test_a_broken_connection_keeps_what_came(
    served: WeightsCard, alexnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = alexnet_file.stat().st_size
    monkeypatch.setattr(_QuietHandler, "most_bytes", 1 << 16)
    with pytest.raises(ComputeError, match=rf"ended after 65,536 of {size:,} bytes\).* 65,536 bytes are kept: the same command goes on"):
        download_weights("alexnet", tmp_path / "new")
    monkeypatch.setattr(_QuietHandler, "most_bytes", None)
    assert download_weights("alexnet", tmp_path / "new").read_bytes() == alexnet_file.read_bytes()


@pytest.mark.parametrize("file_name", [PUBLISHED["alexnet"], "renamed.pth"])
def test_a_file_that_the_user_has_is_copied(file_name: str, alexnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = alexnet_file.rename(alexnet_file.with_name(file_name))
    cards = {name: read_card(name) for name in card_names()}
    cards["alexnet"] = replace(cards["alexnet"], sha256=file_sha256(given))
    monkeypatch.setattr(weights_module, "read_card", cards.__getitem__)
    path = add_weights(given, folder=tmp_path / "new")
    assert path == tmp_path / "new" / PUBLISHED["alexnet"] and path.read_bytes() == given.read_bytes()
    assert add_weights(path, folder=tmp_path / "new") == path  # from where it is already


def test_a_file_that_is_not_the_published_one_is_not_copied(alexnet_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="is not the file on the card of 'alexnet'"):
        add_weights(alexnet_file, folder=tmp_path / "new")
    other = alexnet_file.rename(alexnet_file.with_name("other.pth"))
    with pytest.raises(DataFormatError, match=r"is none of the published files: alexnet-owt-7be5be79.pth \(alexnet\), .*backbone.weights"):
        add_weights(other, folder=tmp_path / "new")
    with pytest.raises(ConfigError, match="'tiny' comes with this package"):
        add_weights(other, "tiny", folder=tmp_path / "new")
    with pytest.raises(MissingDataError, match="does not exist"):
        add_weights(tmp_path / "nothing.pth", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_address_that_does_not_answer(served: WeightsCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (served.source + ".gone", "http://127.0.0.1:9/closed"):
        monkeypatch.setattr(weights_module, "read_card", lambda _name, source=source: replace(served, source=source))
        with pytest.raises(ComputeError, match=r"cannot be fetched .* by hand"):
            download_weights("alexnet", tmp_path / "new")
        assert not list((tmp_path / "new").iterdir())


def test_nothing_to_download_for_the_bundled_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'tiny' comes with this package"):
        download_weights("tiny", tmp_path)
