"""The whole main job on a simulated subject."""

from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared

if TYPE_CHECKING:
    from brain2pix.config.run import DemoParams


def prepare(params: "DemoParams") -> Prepared:
    """Look up preset and method."""
    from brain2pix.compute.demo import check_demo, run_demo

    check_demo(params.preset, params.method)

    def run(context: JobContext) -> None:
        run_demo(
            context.folder.results,
            params.seed,
            params.preset,
            context.sink,
            context.cancel,
            method=params.method,
            full_sheet=params.scores == "full",
        )

    return Prepared(params.model_dump(mode="json"), run)
