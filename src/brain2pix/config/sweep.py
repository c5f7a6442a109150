"""A sweep: subjects x methods x ablations x regions x seeds, as a TOML file says it. Each combination is a cell: one training, then scores.

TOML has no null, so the text ``"null"`` stands for it, as in ``--set key=null``. Paths count from the plan's own folder.
"""

import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from brain2pix.config.base import Settings, build, merge, nest
from brain2pix.config.run import EvaluateParams, MapsParams, TrainParams
from brain2pix.errors import Brain2PixError, ConfigError, MissingDataError, unknown_name

DEFAULT_REGION = "default"  # name of the region that training takes when none is given
BORROWED = ("encoder_from", "pairs_from")  # parameters of a training that may name another cell
# What a cell decides itself; the rest of a training's parameters may stand in a table `train`.
_OF_THE_CELL = ("subject", "subject_name", "method", "preset", "settings_file", "settings", "region", "seed", "device")
_TRAIN_KEYS = tuple(name for name in TrainParams.model_fields if name not in _OF_THE_CELL)
_MAPS_KEYS = tuple(name for name in MapsParams.model_fields if name not in ("run", "subject", "compare", "device"))


class Coordinates(NamedTuple):
    """Where a cell lies: the name of its entry on each axis, and its seed."""

    subject: str
    method: str
    ablation: str
    region: str
    seed: int

    def __str__(self) -> str:
        return f"{self.subject}, {self.method}, {self.ablation}, {self.region}, seed {self.seed}"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn ``{"a": {"b": 1}}`` into ``{"a.b": 1}``; an empty group stays what it is."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


class Entry(Settings):
    """One entry of an axis."""

    name: str = Field("", description="how tables and folders call it")


class SubjectEntry(Entry):
    """A subject."""

    path: Path = Field(description="dataset folder, or the subject's folder in it")
    subject_name: str | None = Field(None, description="which subject of a dataset folder, e.g. sub-01")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        path = Path(str(values.get("path", "")))
        return {"name": "_".join(part for part in (path.name, values.get("subject_name")) if part), **values}


class MethodEntry(Entry):
    """A system with its preset."""

    method: str = Field(description="name in the registry of methods")
    preset: str | None = Field("demo", description="preset of the method; None: its defaults")
    settings_file: Path | None = Field(None, description="TOML over the preset")
    settings: dict[str, Any] = Field({}, description="settings over preset and file")
    train: dict[str, Any] = Field({}, description="parameters of the training")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        return {"name": values.get("method", ""), **values}

    @field_validator("settings")
    @classmethod
    def _flat(cls, values: dict[str, Any]) -> dict[str, Any]:
        return flatten(values)


class AblationEntry(Entry):
    """What is changed: a group of settings over the preset, and of parameters of the training."""

    name: str = Field(min_length=1, description="how tables and folders call it")
    methods: tuple[str, ...] = Field((), description="names of the methods that it is for; empty: all")
    settings: dict[str, Any] = Field({}, description="settings over those of the method")
    train: dict[str, Any] = Field({}, description="parameters of the training over those of the method")

    @field_validator("settings")
    @classmethod
    def _flat(cls, values: dict[str, Any]) -> dict[str, Any]:
        return flatten(values)


class RegionEntry(Entry):
    """Which voxels."""

    region: str | None = Field(description="expression over areas; None: V1 + V2 + V3 - outside")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        region = None if values.get("region") == DEFAULT_REGION else values.get("region")
        return {"name": region or DEFAULT_REGION, **values, "region": region}


class ExcludeEntry(Settings):
    """Cells that are left out: those that match everything that is named."""

    subject: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    ablation: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    seed: tuple[int, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        return {key: value if isinstance(value, list | tuple) else [value] for key, value in values.items()}

    def matches(self, at: Coordinates) -> bool:
        """Whether a cell is left out."""
        return all(not (names := getattr(self, axis)) or value in names for axis, value in at._asdict().items())


class EvaluateSettings(Settings):
    """How trained systems are scored."""

    splits: tuple[str, ...] = Field(("test",), min_length=1, description="which images; each split is scored by a job of its own")
    batch: int = Field(EvaluateParams.model_fields["batch"].default, ge=1, description="images decoded at once")


@dataclass(frozen=True)
class Cell:
    """One training and its scores.

    Parameters
    ----------
    at : Coordinates
    train : TrainParams, without what it takes from other cells
    lenders : dict of "encoder_from" or "pairs_from" to the coordinates of the cell whose run is taken
    """

    at: Coordinates
    train: TrainParams
    lenders: dict[str, Coordinates]


class SweepPlan(Settings):
    """What a sweep is made of."""

    subjects: tuple[SubjectEntry, ...] = Field(min_length=1)
    methods: tuple[MethodEntry, ...] = Field(min_length=1)
    ablations: tuple[AblationEntry, ...] = Field((AblationEntry(name="full"),), min_length=1)
    regions: tuple[RegionEntry, ...] = Field((RegionEntry(region=None),), min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    exclude: tuple[ExcludeEntry, ...] = ()
    device: str = Field("auto", description="of all jobs: auto, cpu, cuda, cuda:N or mps")
    train: dict[str, Any] = Field({}, description="parameters of every training")
    evaluate: EvaluateSettings = EvaluateSettings()
    maps: dict[str, Any] | None = Field(None, description="parameters of the receptive fields; None: no maps")

    _AXES: ClassVar[dict[str, str]] = {"subject": "subjects", "method": "methods", "ablation": "ablations", "region": "regions"}

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """Read a plan.

        Raises
        ------
        MissingDataError
            If there is no such file.
        ConfigError
            If it is not TOML, or a key or a value in it is wrong; the message names the key.
        """
        if not file.is_file():
            raise MissingDataError(f"plan {file} does not exist; give a TOML file with subjects and methods, see docs/sweep.md")
        try:
            values = _with_nulls(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"plan {file} is not valid TOML: {error}") from None
        plan = _Reader(file).read(cls, values)
        try:
            plan.check()
        except ConfigError as error:
            raise ConfigError(f"plan {file}, {error}") from None
        return plan

    def check(self) -> None:
        """Refuse names that stand twice and names of entries that are not there.

        Raises
        ------
        ConfigError
        """
        for axis in self._AXES.values():
            _refuse_twice(axis, [entry.name for entry in getattr(self, axis)])
        _refuse_twice("seeds", self.seeds)
        _refuse_twice("evaluate.splits", self.evaluate.splits)
        for number, seed in enumerate(self.seeds, 1):
            if seed < 0:
                raise ConfigError(f"seeds {number}: a seed is 0 or more, got {seed}")
        for number, ablation in enumerate(self.ablations, 1):
            for method in ablation.methods:
                self._check_name("method", method, f"ablations {number} ({ablation.name}), methods")
        for where, train in self._trainings():
            for key in BORROWED:
                if isinstance(train.get(key), dict):
                    self._check_lender(train[key], f"{where}.{key}")
        for number, entry in enumerate(self.exclude, 1):
            if not any(getattr(entry, axis) for axis in Coordinates._fields):
                raise ConfigError(f"exclude {number} would leave out every cell; name at least one of {', '.join(Coordinates._fields)}")
            for axis in Coordinates._fields:
                for name in getattr(entry, axis):
                    self._check_name(axis, name, f"exclude {number}, {axis}")

    def names(self, axis: str) -> list[str] | list[int]:
        """Names on one axis of the coordinates."""
        return list(self.seeds) if axis == "seed" else [entry.name for entry in getattr(self, self._AXES[axis])]

    def cells(self) -> list[Cell]:
        """List all cells; one that takes an encoder from another comes after it. The plan was checked (`check`).

        Raises
        ------
        ConfigError
            If parameters are wrong, a cell would take from one that is not in the plan, or nothing is left of the plan.
        """
        found = {cell.at: cell for cell in self._combinations()}
        if not found:
            raise ConfigError("the plan leaves out every cell; look at 'exclude' and at 'methods' of the ablations")
        return list(_lenders_first(found))

    def _combinations(self) -> Iterator[Cell]:
        for subject, method, ablation, region, seed in product(self.subjects, self.methods, self.ablations, self.regions, self.seeds):
            at = Coordinates(subject.name, method.name, ablation.name, region.name, seed)
            if (ablation.methods and method.name not in ablation.methods) or any(entry.matches(at) for entry in self.exclude):
                continue
            given: dict[str, Any] = {}
            for layer in (self.train, method.train, ablation.train):
                given = {**merge(given, layer), **{key: layer[key] for key in BORROWED if key in layer}}
            lenders = {key: at._replace(**given.pop(key)) for key in BORROWED if isinstance(given.get(key), dict)}
            values = {
                "subject": subject.path,
                "subject_name": subject.subject_name,
                "method": method.method,
                "preset": method.preset,
                "settings_file": method.settings_file,
                "settings": {**method.settings, **ablation.settings},
                "region": region.region,
                "seed": seed,
                "device": self.device,
            }
            yield Cell(at, build(TrainParams, {**given, **values}), lenders)

    def _trainings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tables of parameters of trainings, with their places in the plan."""
        yield "train", self.train
        yield from ((f"methods {number} ({entry.name}), train", entry.train) for number, entry in enumerate(self.methods, 1))
        yield from ((f"ablations {number} ({entry.name}), train", entry.train) for number, entry in enumerate(self.ablations, 1))

    def _check_lender(self, changes: dict[str, Any], where: str) -> None:
        for axis, name in changes.items():
            if axis not in Coordinates._fields:
                raise ConfigError(f"{where}: {unknown_name('axis', axis, Coordinates._fields)}")
            self._check_name(axis, name, f"{where}, {axis}")

    def _check_name(self, axis: str, name: Any, where: str) -> None:
        if name not in (known := self.names(axis)):
            raise ConfigError(f"{where}: {unknown_name(axis, str(name), map(str, known))}")


Model = TypeVar("Model", bound=Settings)


class _Reader:
    """Builds the parts of a plan one by one, so that every message names the place in the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.absolute().parent

    def read(self, model: type[Model], values: dict[str, Any]) -> Model:
        made = dict(values)
        lists: dict[str, tuple[type[Settings], str]] = {
            "subjects": (SubjectEntry, "path"),
            "methods": (MethodEntry, "method"),
            "ablations": (AblationEntry, "name"),
            "regions": (RegionEntry, "region"),
            "exclude": (ExcludeEntry, ""),
        }
        for key, (entry, main) in lists.items():
            if key in made:
                made[key] = self._list(key, entry, main, made[key])
        made["train"] = self._train("train", made.get("train", {}))
        if "evaluate" in made:
            made["evaluate"] = self._build(EvaluateSettings, made["evaluate"], "evaluate")
        made["maps"] = self._maps(made.get("maps"))
        return self._build(model, made, "")

    def _list(self, key: str, model: type[Settings], main: str, entries: Any) -> list[Settings]:
        if not isinstance(entries, list):
            raise ConfigError(f"plan {self.file}, {key}: expected a list, got {entries!r}")
        made = []
        for number, entry in enumerate(entries, 1):
            values = entry if isinstance(entry, dict) else {main: entry} if main else entry
            where = f"{key} {number}"
            if not isinstance(values, dict):
                raise ConfigError(f"plan {self.file}, {where}: expected a table, got {values!r}")
            if name := values.get("name") or values.get(main):
                where += f" ({name})"
            values = dict(values)
            for path in ("path", "settings_file"):
                if isinstance(values.get(path), str):
                    values[path] = self._place(values[path])
            if "train" in values:
                values["train"] = self._train(f"{where}, train", values["train"])
            made.append(self._build(model, values, where))
        return made

    def _train(self, where: str, values: Any) -> dict[str, Any]:
        """Check parameters of a training that stand in the plan, and complete their paths."""
        given = self._table(where, values, _TRAIN_KEYS)
        for key in BORROWED:
            if isinstance(given.get(key), str):
                given[key] = self._place(given[key])
        without = {key: value for key, value in given.items() if not (key in BORROWED and isinstance(value, dict))}
        self._build(TrainParams, {"subject": ".", **without}, where)
        return given

    def _maps(self, values: Any) -> dict[str, Any] | None:
        if values is None or isinstance(values, bool):
            return {} if values else None
        given = self._table("maps", values, _MAPS_KEYS)
        self._build(MapsParams, {"run": ".", **given}, "maps")
        return given

    def _table(self, where: str, values: Any, known: Sequence[str]) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ConfigError(f"plan {self.file}, {where}: expected a table, got {values!r}")
        given = nest(values)
        for key in given:
            if key not in known:
                raise ConfigError(f"plan {self.file}, {where}: {unknown_name('parameter', key, known)}")
        return given

    def _build(self, model: type[Model], values: Any, where: str) -> Model:
        if not isinstance(values, dict):
            raise ConfigError(f"plan {self.file}, {where}: expected a table, got {values!r}")
        try:
            return build(model, values)
        except Brain2PixError as error:
            raise ConfigError(f"plan {self.file}{', ' * bool(where)}{where}: {error}") from None

    def _place(self, text: str) -> Path:
        return Path(os.path.normpath(self.folder / Path(text).expanduser()))


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nulls(inner) for inner in value]
    return None if value == "null" else value


def _refuse_twice(where: str, names: Sequence[Any]) -> None:
    if "" in names:
        raise ConfigError(f"{where} {names.index('') + 1} has no name; give it one")
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        advice = "" if where in ("seeds", "evaluate.splits") else "; give each a name of its own"
        raise ConfigError(f"{where}: {twice[0]!r} stands there twice{advice}")


def _lenders_first(cells: dict[Coordinates, Cell]) -> Iterator[Cell]:
    done: set[Coordinates] = set()

    def with_lenders(at: Coordinates, borrowers: tuple[Coordinates, ...]) -> Iterable[Cell]:
        if at in borrowers:
            raise ConfigError(
                f"cell ({at}) would take an encoder from itself; name another ablation or method in 'encoder_from' or 'pairs_from'"
            )
        if at in done:
            return
        for key, lender in cells[at].lenders.items():
            if lender not in cells:
                raise ConfigError(
                    f"{key} of cell ({at}) names the cell ({lender}), which the plan leaves out; take it in, or exclude this one too"
                )
            yield from with_lenders(lender, (*borrowers, at))
        done.add(at)
        yield cells[at]

    for at in cells:
        yield from with_lenders(at, ())
