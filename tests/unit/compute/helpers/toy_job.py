"""A kind of job that counts to n and can fail, wait and go on: what the runner needs to be tested."""

import time
from pathlib import Path

from brain2pix.compute.context import Prepared
from brain2pix.compute.kinds import KINDS, Kind
from brain2pix.config.base import Settings
from brain2pix.errors import ConfigError
from brain2pix.events import Metric, Progress
from brain2pix.files import write_json


class CountParams(Settings):
    n: int = 5
    step_s: float = 0.0
    bad_input: bool = False
    fail_at: int | None = None
    place: Path | None = None


def prepare(params):
    if params.bad_input:
        raise ConfigError("the input is bad;\nbring a good one")

    def run(context):
        place = context.run_folder.results / "count.json" if context.run_folder else params.place
        done = int(place.read_text()) if place.is_file() else 0
        with context.stage("count"):
            for number in range(done, params.n):
                context.cancel.check()
                if params.fail_at == number:
                    raise ZeroDivisionError("a mistake of ours")
                time.sleep(params.step_s)
                write_json(place, number + 1)
                context.sink(Metric("count", number, "number", float(number)))
                context.sink(Progress("count", number + 1, params.n))

    return Prepared({"n": params.n}, run)


def register():
    KINDS["count"] = Kind("toy_job:prepare", CountParams)
    KINDS["count_anywhere"] = Kind("toy_job:prepare", CountParams, needs_folder=False)


if __name__ == "__main__":  # toy_job.py JOB.json: what `brain2pix run` does, with the kind registered
    import sys

    from brain2pix.cli._main import run_arguments

    register()
    sys.modules["toy_job"] = sys.modules["__main__"]
    sys.exit(run_arguments(["run", sys.argv[1]]))
