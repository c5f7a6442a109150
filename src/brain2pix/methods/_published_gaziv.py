"""The checkpoints of Gaziv et al.'s released program (WeizmannVision/SelfSuperReconst, PyTorch), by a key map.

Names, order and shapes of the tensors are facts of that program, whose licence is academic non-commercial; no code of it is used. Its
layouts are those of our networks, but for the space maps, which it keeps flat, and for the frozen VGG19, which it saves with the encoder.
Space maps of separate branches are numbered here as its channel mixes are: the released program always shares them by their size.
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from brain2pix.config.base import build
from brain2pix.config.methods import GazivDecoderSettings, GazivEncoderSettings, GazivSettings
from brain2pix.errors import ConfigError, DataFormatError, ShapeError
from brain2pix.methods._published import Network, edge_of, read_checkpoint, refuse_contradictions, refuse_unknown, size_of, take
from brain2pix.methods._self_supervised import SNR_WEIGHTS, TEST_RESPONSES
from brain2pix.methods.base import CHOSEN_ON_TEST
from brain2pix.methods.gaziv import Gaziv
from brain2pix.models import ConvDecoder, SeparableEncoder, tap_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from brain2pix.config.base import Settings
    from brain2pix.methods._published import Checkpoint
    from brain2pix.methods.base import Method

SOURCE = "github.com/WeizmannVision/SelfSuperReconst"
_BACKBONE = "vgg19"
_BRANCHES = 4
# place of each layer in a branch, and in a block of the decoder
_FIRST_BRANCH = {"norm_in": 0, "conv": 2, "norm_out": 4}  # its pooling is number 1
_OTHER_BRANCH = {"norm_in": 0, "conv": 1, "norm_out": 3}
_BLOCK = {"conv": 2, "norm": 3}
_AFFINE = ("weight", "bias")
_NORM = (*_AFFINE, "running_mean", "running_var", "num_batches_tracked")
_FROZEN = re.compile(r"multi_branch_bbn\._?features_(\d+)\.(weight|bias)")  # without the underscore: trained on pictures with depth


@dataclass(frozen=True)
class PublishedGaziv:
    """Encoder, decoder, or both.

    Parameters
    ----------
    encoder, decoder : Network or None
    """

    encoder: Network | None
    decoder: Network | None

    @property
    def networks(self) -> dict[str, Network]:
        """Those that there are."""
        return {name: part for name, part in (("encoder", self.encoder), ("decoder", self.decoder)) if part is not None}

    @property
    def n_voxels(self) -> int:
        """Voxels that they read or predict."""
        return next(iter(self.networks.values())).n_voxels

    @property
    def image_size(self) -> int:
        """Edge of the images [px]."""
        return next(iter(self.networks.values())).image_size

    def settings(self, given: "Settings", asked: "Mapping[str, Any]") -> "Settings":
        """Let the files decide what they can; without an encoder no loss needs one, without a decoder none is trained.

        Parameters
        ----------
        given : GazivSettings
        asked : mapping, single settings that the user gave, dotted

        Raises
        ------
        ConfigError
            If the user gave others.
        """
        assert isinstance(given, GazivSettings)
        found: dict[str, Any] = {"decoder.n_runs": 1, "repeats.folds": 0}
        for part in self.networks.values():
            found |= part.settings
        refuse_contradictions(asked, found)
        if self.encoder is None:
            found |= {"weight_images": 0.0, "weight_fmri": 0.0}
        if self.decoder is None:
            found["decoder.n_steps"] = 0
        return given.with_changes(found)

    def fill(self, method: "Method", given: "Settings") -> None:
        """Put the tensors into a system made with `settings`, and mark what the published training used of test responses.

        Parameters
        ----------
        method : Gaziv
        given : GazivSettings, before `settings` changed them

        Raises
        ------
        DataFormatError
            If the frozen network in the encoder's file is not the backbone.
        MissingDataError
            If the backbone's weights are not here.
        """
        assert isinstance(method, Gaziv) and isinstance(given, GazivSettings)
        if self.encoder is not None:
            _compare_backbone(self.encoder, method)  # and with it, its fingerprint is known
            method.mark_use(CHOSEN_ON_TEST)
        if self.decoder is not None:
            # a file does not tell which losses made it
            for used, name in ((given.weight_fmri > 0, TEST_RESPONSES), (given.snr_source == "test_repeats", SNR_WEIGHTS)):
                if used:
                    method.mark_use(name)
        state = method.state_dict()
        for part, network in self.networks.items():
            state |= {f"{part}.{key}": tensor.to(state[f"{part}.{key}"].dtype) for key, tensor in network.state.items()}
        method.load_state_dict(state)

    def record(self) -> dict[str, Any]:
        """JSON values that tell where the system comes from."""
        return {"source": SOURCE, **{name: part.record() for name, part in self.networks.items()}}


def read_published(encoder: "Path | None", decoder: "Path | None") -> PublishedGaziv:
    """Read the checkpoints of an encoder, of a decoder, or of both.

    Raises
    ------
    ConfigError
        If there is neither.
    MissingDataError, DataFormatError
        If a file is absent, damaged or another network's, or if the two do not belong together.
    """
    found = PublishedGaziv(
        None if encoder is None else _encoder(read_checkpoint(encoder)), None if decoder is None else _decoder(read_checkpoint(decoder))
    )
    if not found.networks:
        raise ConfigError("there is nothing to import: give the checkpoint of the encoder, of the decoder, or of both")
    if found.encoder is not None and found.decoder is not None:
        sizes = [(part.n_voxels, part.image_size) for part in (found.encoder, found.decoder)]
        if sizes[0] != sizes[1]:
            told = " and ".join(f"{name} {voxels:,} voxels and {px} px" for name, (voxels, px) in zip(found.networks, sizes, strict=True))
            raise DataFormatError(f"encoder and decoder do not belong together: {told}; give two of one subject and region")
    return found


def _encoder(source: "Checkpoint") -> Network:
    _refuse_other_encoders(source)
    frozen = {key: f"features.{match[1]}.{match[2]}" for key in source.tensors if (match := _FROZEN.fullmatch(key))}
    n_voxels = size_of(source, "branch_mix", 2)[0]
    channels, _, kernel, _ = size_of(source, f"conv{_BRANCHES}.{_OTHER_BRANCH['conv']}.weight", 4)
    if kernel not in (1, 3):
        raise DataFormatError(f"{source.path}: the last branch has kernels of {kernel} px, expected 1 or 3")
    maps, image_size = _space_maps(source)
    settings = {"channels": channels, "share_space": len(maps) < _BRANCHES, "last_kernel": kernel, "input_affine": True}
    names = {**_branch_names(), **maps, "branch_mix": "branch_mix"}
    for branch in range(_BRANCHES):
        names |= {f"chan_mixes.{branch}.chan_mix": f"channel_mix.{branch}", f"chan_mixes.{branch}.bias": f"channel_bias.{branch}"}
    refuse_unknown(source, set(names) | set(frozen))
    with _like(source):
        like = SeparableEncoder(n_voxels, tap_shapes(_BACKBONE, image_size), image_size, build(GazivEncoderSettings, settings))
    shapes = _shapes(like, names)
    shapes |= {key: (shapes[key][0], shapes[key][1] * shapes[key][2]) for key in maps}
    state = take(source, names, shapes)
    state |= {ours: state[ours].reshape(like.state_dict()[ours].shape) for ours in maps.values()}
    return Network(
        source=source,
        state=state,
        names=names,
        backbone={ours: source.tensors[key] for key, ours in frozen.items()},
        n_voxels=n_voxels,
        image_size=image_size,
        settings={f"encoder.{key}": value for key, value in settings.items()} | {"backbone.name": _BACKBONE},
    )


def _decoder(source: "Checkpoint") -> Network:
    _refuse_other_decoders(source)
    rows, n_voxels = size_of(source, "input_fc.weight", 2)
    n_blocks = len({key.split(".")[1] for key in source.tensors if key.startswith("blocks.")})
    widths = [size_of(source, f"blocks.{number}.{_BLOCK['conv']}.weight", 4)[:2] for number in range(n_blocks)]
    channels = (*(before for _, before in widths[:1]), *(after for after, _ in widths))
    start = edge_of(source, "input_fc.weight", rows // channels[0]) if channels else 0
    kernel = size_of(source, "top.1.weight", 4)[2]
    settings: dict[str, Any] = {"channels": channels, "start_divisor": 2**n_blocks, "kernel": kernel, "out_channels": 3}
    names = {f"input_fc.{name}": f"fc.{name}" for name in _AFFINE} | {f"top.1.{name}": f"top.{name}" for name in _AFFINE}
    for number in range(n_blocks):
        names |= {f"blocks.{number}.{at}.{name}": f"blocks.{number}.{layer}.{name}" for layer, at in _BLOCK.items() for name in _AFFINE}
    refuse_unknown(source, names)
    image_size = start * 2**n_blocks
    with _like(source):
        like = ConvDecoder(n_voxels, image_size, build(GazivDecoderSettings, {**settings, "groups": 1}))  # groups show in no shape
    state = take(source, names, _shapes(like, names))
    return Network(source, state, names, {}, n_voxels, image_size, {f"decoder.{key}": value for key, value in settings.items()})


def _refuse_other_decoders(source: "Checkpoint") -> None:
    if "branch_mix" in source.tensors:
        raise DataFormatError(f"{source.path} is an encoder; give it as encoder, and the decoder as decoder")
    if any(key.startswith("depth_extractor.") for key in source.tensors):
        raise DataFormatError(f"{source.path} is a decoder that carries a network for depth; decoders of plain colour pictures are read")
    n_channels = size_of(source, "top.1.weight", 4)[0]
    if n_channels != 3:
        kind = {1: "depth alone", 4: "colour with depth"}.get(n_channels, "something else")
        raise DataFormatError(f"{source.path} makes pictures of {n_channels} channels ({kind}); decoders of 3, plain colour, are read")


def _refuse_other_encoders(source: "Checkpoint") -> None:
    if "input_fc.weight" in source.tensors:
        raise DataFormatError(f"{source.path} is a decoder; give it as decoder, and the encoder as encoder")
    if any(key.startswith("fc_head.") for key in source.tensors):
        raise DataFormatError(f"{source.path} is the program's encoder without separable read-out (fc_head); the separable one is read")
    for key in source.tensors:
        match = _FROZEN.fullmatch(key)
        if match and match.groups() == ("0", "weight") and size_of(source, key, 4)[1] != 3:
            raise DataFormatError(
                f"{source.path} reads pictures of {source.tensors[key].shape[1]} channels (depth); encoders of 3, plain colour, are read"
            )


def _space_maps(source: "Checkpoint") -> tuple[dict[str, str], int]:
    """Names of the space maps, finest first, and the image size: a grid of size / 4 leaves size / 4 - 2 places for a patch."""
    keys = [key for key in source.tensors if re.fullmatch(r"space_maps\.\d+\.weight", key)]
    edges = {key: edge_of(source, key, size_of(source, key, 2)[1]) for key in keys}
    numbers = {key: int(key.split(".")[1]) for key in keys}
    if len(keys) == _BRANCHES and sorted(numbers.values()) == list(range(_BRANCHES)):
        order = sorted(keys, key=numbers.__getitem__)
    elif len(keys) == 2 and numbers == edges:
        order = sorted(keys, key=lambda key: -edges[key])
    else:
        raise DataFormatError(
            f"{source.path} has space maps {', '.join(keys) or 'none'}; expected two, named by their edges, or {_BRANCHES}, one per branch"
        )
    image_size = 4 * (edges[order[0]] + 2)
    if image_size % 8 or image_size < 32:
        raise DataFormatError(
            f"{source.path}: {order[0]!r} is {edges[order[0]]} places wide, so its images are {image_size} px: no such grids"
        )
    return {key: f"space.{number}" for number, key in enumerate(order)}, image_size


def _branch_names() -> dict[str, str]:
    return {
        f"conv{branch + 1}.{at}.{name}": f"branches.{branch}.{layer}.{name}"
        for branch in range(_BRANCHES)
        for layer, at in (_OTHER_BRANCH if branch else _FIRST_BRANCH).items()
        for name in (_AFFINE if layer == "conv" else _NORM)
    }


@contextmanager
def _like(source: "Checkpoint") -> "Iterator[None]":
    """Make a network of ours that has the sizes found in a file, without memory for it."""
    try:
        with torch.device("meta"):
            yield
    except (ConfigError, ShapeError) as error:
        raise DataFormatError(f"{source.path} has sizes that this network cannot have: {error}") from None


def _shapes(like: "nn.Module", names: "Mapping[str, str]") -> "dict[str, tuple[int, ...]]":
    expected = like.state_dict()
    return {key: tuple(expected[ours].shape) for key, ours in names.items()}


def _compare_backbone(encoder: Network, method: Gaziv) -> None:
    """See that the encoder was trained on the network that it will read here."""
    ours = method.backbone.state_dict()
    if not encoder.backbone:
        return  # a file that was made smaller: there is nothing to compare
    read = method.backbone.encoder_taps[-1]
    wanted = {key for key in ours if int(key.split(".")[1]) <= read}
    if wanted != set(encoder.backbone):
        odd = sorted(wanted ^ set(encoder.backbone))[0]
        raise DataFormatError(f"{encoder.source.path}: its frozen network and backbone {_BACKBONE!r} differ in the tensor {odd!r}")
    for key in sorted(wanted):
        here, there = ours[key].cpu(), encoder.backbone[key].to(ours[key].dtype)
        if here.shape != there.shape or not torch.equal(here, there):
            same = here.shape == there.shape
            how = f"up to {float((here - there).abs().max()):.2g} apart" if same else f"shape {tuple(there.shape)}, not {tuple(here.shape)}"
            raise DataFormatError(
                f"{encoder.source.path}: {key!r} of its frozen network is not that of backbone {_BACKBONE!r} ({how}): the encoder was "
                "trained on another network; give that one's weights (backbone.weights)"
            )
