"""The whole main job on a simulated subject."""

from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.config.base import preset_names
from brain2pix.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from brain2pix.config.run import DemoParams


def prepare(params: "DemoParams") -> Prepared:
    """Look up the preset."""
    if params.preset not in (names := preset_names("simulation")):
        raise ConfigError(unknown_name("preset", params.preset, names))

    def run(context: JobContext) -> None:
        from brain2pix.compute.demo import run_demo

        run_demo(context.folder.results, params.seed, params.preset, context.sink, context.cancel)

    return Prepared(params.model_dump(mode="json"), run)
