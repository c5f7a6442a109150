"""Make a simulated subject."""

from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from brain2pix.errors import ConfigError

if TYPE_CHECKING:
    from brain2pix.config.run import SimulateParams


def prepare(params: "SimulateParams") -> Prepared:
    """Resolve the settings and look at the target folder."""
    settings = resolve(SimulationSettings, "simulation", params.preset, changes={**params.settings, "seed": params.seed})
    if params.out.exists() and (not params.out.is_dir() or any(params.out.iterdir())):
        raise ConfigError(f"{params.out} exists and is not an empty folder; choose another place or remove it first")

    def run(context: JobContext) -> None:
        from brain2pix.simulation import simulate

        simulate(params.out, settings, context.sink, context.cancel)

    return Prepared({"out": str(params.out), **settings.model_dump(mode="json")}, run)
