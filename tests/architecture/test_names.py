"""Names that must not meet: verbs of the command line are commands, nouns are sections of the settings."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from brain2pix.cli._main import make_app
from brain2pix.config.base import Settings, preset_names
from brain2pix.config.prf import PRFSettings
from brain2pix.config.simulation import SimulationSettings
from brain2pix.config.training import TrainingSettings
from brain2pix.methods.registry import METHODS, resolve_settings, settings_class


def sections(model: type[BaseModel]) -> Iterator[str]:
    """Names of the groups inside a group of settings, at any depth."""
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield name
            yield from sections(inner)


def verbs() -> set[str]:
    return {name for name in make_app() if not name.startswith("-")}


def test_no_section_is_named_like_a_command() -> None:
    models: list[type[Settings]] = [*(settings_class(name) for name in METHODS), PRFSettings, SimulationSettings, TrainingSettings]
    nouns = {name for model in models for name in sections(model)}
    assert nouns, "no method has groups of settings: the test looks at nothing"
    assert len(verbs()) >= 10
    assert nouns.isdisjoint(verbs())


@pytest.mark.parametrize("method", METHODS)
def test_every_preset_of_every_method_resolves(method: str) -> None:
    names = preset_names(method)
    assert {"tiny", "demo", "preview", "released", "paper"} <= set(names)
    for name in names:
        resolve_settings(method, name)
