"""Name -> class, imported on use: listing the methods loads no torch."""

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from brain2pix.config.base import Settings, build, resolve
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.methods.base import Entry, Method, Published

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from brain2pix.arrays import SubjectInfo

METHODS: dict[str, Entry] = {
    "retino": Entry(
        "brain2pix.methods.retino:Retino",
        "brain2pix.config.retino:RetinoSettings",
        "Ours: fields by empirical Bayes, local decoder",
    ),
    "gaziv": Entry(
        "brain2pix.methods.gaziv:Gaziv",
        "brain2pix.config.methods:GazivSettings",
        "Gaziv et al. 2022, self-supervised",
        "brain2pix.methods._published_gaziv:read_published",
    ),
    "beliy": Entry(
        "brain2pix.methods.beliy:Beliy", "brain2pix.config.beliy:BeliySettings", "Beliy et al. 2019, from voxels to pixels and back"
    ),
    "ridge": Entry("brain2pix.methods.ridge:Ridge", "brain2pix.config.methods:RidgeSettings", "Ridge regression (baseline)"),
}


def method_entry(name: str) -> Entry:
    """Row of one method; `ConfigError` with the nearest name if there is none."""
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, METHODS))
    return METHODS[name]


def settings_class(name: str) -> type[Settings]:
    """Class of a method's settings."""
    return cast("type[Settings]", _load(method_entry(name).settings))


def resolve_settings(name: str, preset: str | None = None, file: "Path | None" = None, changes: dict[str, Any] | None = None) -> Settings:
    """Layer a method's defaults, a preset, a file and dotted overrides."""
    return resolve(settings_class(name), name, preset, file, changes)


def make_method(name: str, settings: Settings, subjects: "Sequence[SubjectInfo]", image_size: int) -> Method:
    """Make an untrained system."""
    cls = cast("type[Method]", _load(method_entry(name).target))
    return cls(settings, subjects, image_size)


def read_published(name: str, encoder: "Path | None", decoder: "Path | None") -> Published:
    """Read the published checkpoints of a method's encoder, decoder, or both.

    Raises
    ------
    ConfigError
        If the method is unknown, or checkpoints of it cannot be read.
    MissingDataError, DataFormatError
        If a file is absent, damaged, or another network's.
    """
    read = method_entry(name).published
    if read is None:
        readable = [known for known, entry in METHODS.items() if entry.published is not None]
        raise ConfigError(unknown_name("method with published checkpoints", name, readable))
    return cast("Published", _load(read)(encoder, decoder))


def settings_from_json(name: str, text: str) -> Settings:
    """Read settings that a run folder stored."""
    return build(settings_class(name), json.loads(text))


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
