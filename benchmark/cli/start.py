"""The console script: a Ctrl-C while the command line itself is still being imported is one line, too."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from .entry import main as run
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    run()
