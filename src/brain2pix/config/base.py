"""Settings: preset + file + override -> one frozen model. Torch-free, so that forms and ``--help`` are instant."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from brain2pix.errors import ConfigError, MissingDataError, unknown_name


class Settings(BaseModel):
    """Base of every group of settings: frozen, unknown keys refused, ranges and units in the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def with_changes(self, changes: dict[str, Any]) -> Self:
        """Return a copy with dotted keys replaced, e.g. ``{"decoder.n_steps": 10}``.

        Raises
        ------
        ConfigError
            If a key is unknown or a value out of range.
        """
        return build(type(self), merge(self.model_dump(), nest(changes)))


Model = TypeVar("Model", bound=Settings)


def preset_names(kind: str) -> list[str]:
    """Names of the presets of one kind ("simulation", "gaziv", ...), in the order of the file."""
    return list(_preset_file(kind))


def resolve(
    model: type[Model], kind: str, preset: str | None = None, file: Path | None = None, changes: dict[str, Any] | None = None
) -> Model:
    """Layer defaults, a preset, a TOML file and dotted overrides into one frozen model.

    Parameters
    ----------
    model : type of settings
    kind : str, which file of ``resources/presets`` names the presets
    preset : str or None, a table of that file
    file : Path or None, TOML with the same keys
    changes : dict or None, dotted keys to values; strings are converted to the type of the field

    Raises
    ------
    ConfigError
        If the preset or a key is unknown (the nearest valid name is given) or a value is out of range.
    MissingDataError
        If `file` does not exist.
    """
    values = _groups(model)
    if preset is not None:
        presets = _preset_file(kind)
        if preset not in presets:
            raise ConfigError(unknown_name(f"{kind} preset", preset, presets))
        values = merge(values, presets[preset])
    if file is not None:
        values = merge(values, _read_toml(file))
    return build(model, merge(values, nest(changes or {})))


def build(model: type[Model], values: dict[str, Any]) -> Model:
    """Validate plain values into settings, with one clear message for everything that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # a list with a bad item is also too short, pydantic says: only the item tells what to mend
        inner = {problem["loc"][:length] for problem in problems for length in range(1, len(problem["loc"]))}
        raise ConfigError("; ".join(_explain(model, problem) for problem in problems if problem["loc"] not in inner)) from None


def nest(dotted: dict[str, Any]) -> dict[str, Any]:
    """Turn ``{"a.b": 1}`` into ``{"a": {"b": 1}}``."""
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *groups, last = key.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return nested


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one nested dict over another."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _groups(model: type[BaseModel]) -> dict[str, Any]:
    """Defaults of a model's groups: they may be others than those of the group's class, which a group given in part would get."""
    return {name: info.default.model_dump() for name, info in model.model_fields.items() if isinstance(info.default, BaseModel)}


def _explain(model: type[BaseModel], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        owner = _owner(model, problem["loc"][:-1])
        return unknown_name("option", where, [".".join([*map(str, problem["loc"][:-1]), name]) for name in owner.model_fields])
    if problem["type"] == "missing":
        field = _owner(model, problem["loc"][:-1]).model_fields.get(str(problem["loc"][-1]))
        return f"option {where!r} is missing" + (f": {field.description}" if field is not None and field.description else "")
    return f"option {where!r}: {problem['msg']}, got {problem['input']!r}"


def _owner(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel]:
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return model


def _preset_file(kind: str) -> dict[str, Any]:
    place = files("brain2pix.resources").joinpath("presets", f"{kind}.toml")
    if not place.is_file():
        return {}
    return tomllib.loads(place.read_text(encoding="utf-8"))


def _read_toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise MissingDataError(f"settings file {file} does not exist; give the path of a TOML file")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {file} is not valid TOML: {error}") from None
