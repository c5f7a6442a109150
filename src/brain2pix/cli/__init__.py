"""The command line: one file per command, each of which describes a job and runs it.

Nothing heavy is imported until a command runs, so that ``--help`` is instant.
"""

from brain2pix.cli._main import main

__all__ = ["main"]
