"""The console script: a Ctrl-C while the command line itself is still being imported is one line, too."""

import atexit
import gc
import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from .entry import main as run
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    # The command has ended: looking for garbage in all that torch and pandas made takes a second.
    atexit.register(gc.freeze)
    run()
