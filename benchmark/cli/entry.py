"""The command line's entry: one typer application, one module a command, errors as one sentence with their exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from types import FrameType
from typing import Annotated

# Idle threads that spin starve the other core; these are read when torch and numpy are loaded, later than here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the least it takes: 2^4 cycles

import typer

from ...datasets.cache_root import default_root
from ...errors import ConfigurationError, QbenchError, reason, short
from ...names import shown
from ...version import __version__
from . import add_commands

# What torch compiles is kept with everything else that is made once; importing torch's compiler would settle on /tmp.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(default_root().absolute() / ".compiled"))

_AGAIN = 10.0  # seconds after which a command that a signal did not end is told once more
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What a path on the command line that cannot be raises, wherever it is first used.
_NO_PLACE = {
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
}


app = typer.Typer(
    name="qbench",
    help="Compare methods that predict spatial gene expression from H&E histology.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"qbench {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Start with: [bold]qbench run --methods qca,bleep[/bold] (demo data, nothing to download). "
    "Exit codes: 0 done, 1 some cells failed, 2 usage or configuration, 3 integrity (a leak, a checksum)."
)
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Compare methods that predict spatial gene expression from H&E histology."""


add_commands(app)


class Stopped(BaseException):
    """A signal that ends the command; unlike KeyboardInterrupt, nobody on the way takes it for his own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    """Run the command line; the console script of the package."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed
            stream.reconfigure(errors="backslashreplace")  # what a terminal of another encoding cannot show
    try:
        _check_place()
        app()
    except Stopped as stopped:
        _end(stopped.number)
    except SystemError as error:
        if not isinstance(error.__cause__, Stopped):
            raise
        # A signal that came while C code was running (Ray's, say), which wraps what it raises.
        _end(error.__cause__.number)
    except QbenchError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong with us
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno in _FULL:
            _say(
                f"The disk is full ({error.filename or 'while writing'}); free some space and run the same command again."
            )
            sys.exit(1)
        if error.errno not in _NO_PLACE or not error.filename:
            raise
        place = os.fsdecode(error.filename)
        place = place if len(place) <= 200 else f"{place[:100]}..."
        _say(f"Expected a path that can be used, but {place}: {error.strerror}; give another one.")
        sys.exit(ConfigurationError.exit_code)
    except MemoryError as error:
        _say(f"There is not enough memory ({reason(error)}); close other programs, or ask for less at once.")
        sys.exit(1)


def _check_place() -> None:
    """Hold the command line and the folder that it is given in against what every process and record can name.

    Raises:
        ConfigurationError: bytes that are not of the encoding in which Python reads names, or a folder that was removed.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "Expected to be run in a folder, but the one that this shell stands in was removed; change to another."
        ) from error
    for text in (*sys.argv[1:], here):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ConfigurationError(
                f"Expected arguments and paths in {sys.getfilesystemencoding()}, found {short(text)}; rename it, or, where it "
                "is UTF-8, let Python read that (PYTHONUTF8=1)."
            )


def _stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what runs is brought to an end
    if hasattr(signal, "setitimer"):  # but C++ and destructors swallow what is raised inside them
        signal.signal(signal.SIGALRM, lambda *_: _stop(number, None))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Stopped(number)


def _end(number: int) -> None:
    """Say that the command was stopped, and leave as one that the signal ended; nothing on the way may take long."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    name = "Stopped" if number == signal.SIGINT else f"Stopped by {signal.Signals(number).name}"
    print(f"{name}; what is done is kept, the same command goes on from here.", file=sys.stderr, flush=True)
    sys.exit(128 + number)


def _say(message: str) -> None:
    from rich.console import Console

    Console(stderr=True).print("[bold red]error:[/bold red]", end=" ")
    print(shown(message, keep=""), file=sys.stderr)
