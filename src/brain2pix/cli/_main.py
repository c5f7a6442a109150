"""Find the command, run it, and turn every problem into one line and an exit code.

Exit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped on request.
"""

import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from cyclopts import App
from cyclopts.exceptions import CycloptsError, UnknownOptionError

from brain2pix import __version__
from brain2pix.cli.align import align
from brain2pix.cli.cache import cache
from brain2pix.cli.ceilings import ceilings
from brain2pix.cli.classify import classify
from brain2pix.cli.compare import compare
from brain2pix.cli.decode import decode
from brain2pix.cli.demo import demo
from brain2pix.cli.evaluate import evaluate
from brain2pix.cli.export import export
from brain2pix.cli.import_ import import_
from brain2pix.cli.import_model import import_model
from brain2pix.cli.inspect import inspect
from brain2pix.cli.jobs import attach, cancel, jobs, resume
from brain2pix.cli.maps import maps
from brain2pix.cli.orderings import orderings
from brain2pix.cli.prf import prf
from brain2pix.cli.project import project
from brain2pix.cli.reproduce import reproduce
from brain2pix.cli.run import run
from brain2pix.cli.server import server
from brain2pix.cli.simulate import simulate
from brain2pix.cli.stimulate import stimulate
from brain2pix.cli.sweep import sweep
from brain2pix.cli.train import train
from brain2pix.cli.weights import weights
from brain2pix.cli.window import window
from brain2pix.errors import Brain2PixError

DEBUG = "BRAIN2PIX_DEBUG"


def make_app() -> App:
    """Put the commands together."""
    app = App(
        name="brain2pix",
        help="One window from voxel to image and back: fMRI-to-image decoding, retinotopy from trained encoders, microstimulation.",
        version=__version__,
        help_format="plaintext",
        result_action="return_value",
    )
    work = (demo, simulate, inspect, align, train, maps, decode, evaluate, classify, stimulate, sweep, export, ceilings, cache, run, window)
    of_jobs = (jobs, attach, cancel, resume)
    for command in (*work, compare, *of_jobs):
        app.command(command)
    app.command(import_, name="import")
    app.command(import_model)
    app.command(prf)
    app.command(reproduce)
    app.command(orderings)
    app.command(project)
    app.command(server)
    app.command(weights)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run_arguments(sys.argv[1:] if arguments is None else arguments))


def run_arguments(arguments: Sequence[str]) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, without the program's name

    Returns
    -------
    int, exit code
    """
    # commands that show warnings add a handler of their own; without any, Python would print them on stderr
    logging.getLogger("brain2pix").addHandler(logging.NullHandler())
    app = make_app()
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(_usage(app, error), 2)
    except Brain2PixError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (set {DEBUG}=1 to see where)", 1)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    print(f"brain2pix: {' '.join(text.split())}", file=sys.stderr)
    return code


def _usage(app: App, error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UnknownOptionError) and "Did you mean" not in text:
        name = (error.token.keyword or error.token.value) if error.token else ""
        known = [option for argument in error.argument_collection or () for option in argument.names if option.startswith("--")]
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        text += f" Did you mean {near[0]!r}?" if near else ""
    command = " ".join(error.command_chain or ())
    return f"{text} See: brain2pix {command} --help".replace("  ", " ")
