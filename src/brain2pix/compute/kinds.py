"""Kinds of jobs: name -> installed function, imported on use. Jobs name functions, they never carry code."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from brain2pix.config.importing import ImportParams
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.config.run import (
    BackboneParams,
    ClassifyParams,
    DecodeParams,
    DemoParams,
    EvaluateParams,
    ImportModelParams,
    MapsParams,
    SimulateParams,
    StimulateParams,
    TrainParams,
)
from brain2pix.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain2pix.compute.context import Prepared
    from brain2pix.config.base import Settings


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Parameters
    ----------
    target : str, "module:function"; the function takes the parameters, checks every input and gives a `Prepared`
    params : type of settings
    needs_folder : bool, whether results go into the run folder
    """

    target: str
    params: "type[Settings]"
    needs_folder: bool = True

    def load(self) -> "Callable[[Any], Prepared]":
        """Import the function."""
        module, _, name = self.target.partition(":")
        function: Callable[[Any], Prepared] = getattr(import_module(module), name)
        return function


_JOBS = "brain2pix.compute.jobs"
KINDS: dict[str, Kind] = {
    "simulate": Kind(f"{_JOBS}.simulate:prepare", SimulateParams, needs_folder=False),
    "import": Kind(f"{_JOBS}.import_:prepare", ImportParams, needs_folder=False),
    "import-model": Kind(f"{_JOBS}.import_model:prepare", ImportModelParams),
    "train": Kind(f"{_JOBS}.train:prepare", TrainParams),
    "maps": Kind(f"{_JOBS}.maps:prepare", MapsParams),
    "decode": Kind(f"{_JOBS}.decode:prepare", DecodeParams),
    "evaluate": Kind(f"{_JOBS}.evaluate:prepare", EvaluateParams),
    "classify": Kind(f"{_JOBS}.classify:prepare", ClassifyParams),
    "stimulate": Kind(f"{_JOBS}.stimulate:prepare", StimulateParams),
    "backbone": Kind(f"{_JOBS}.backbone:prepare", BackboneParams),
    "demo": Kind(f"{_JOBS}.demo:prepare", DemoParams),
    "reproduce": Kind(f"{_JOBS}.reproduce:prepare", ReproduceParams),
}


def job_kind(name: str) -> Kind:
    """Row of one kind; `ConfigError` with the nearest name if there is none."""
    if name not in KINDS:
        raise ConfigError(unknown_name("kind of job", name, KINDS))
    return KINDS[name]
