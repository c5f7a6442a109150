"""``python -m brain2pix.cli``: the command line where only the interpreter is known, as in a window that starts jobs."""

from brain2pix.cli import main

if __name__ == "__main__":
    main()
