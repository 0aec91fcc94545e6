"""The command line's entry: one typer application, one module a command, errors as one sentence with their exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

# Idle threads that spin starve the other core; both are read when torch is loaded, later than here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import typer

from ...datasets.cache_root import default_root
from ...errors import QbenchError
from ...names import shown
from ...version import __version__
from . import add_commands

# What torch compiles is kept with everything else that is made once; importing torch's compiler would settle on /tmp.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(default_root().absolute() / ".compiled"))

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


def main() -> None:
    """Run the command line; the console script of the package."""
    try:
        app()
    except QbenchError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong with us
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _say(f"The disk is full ({error.filename or 'while writing'}); free some space and run the same command again.")
        sys.exit(1)


def _say(message: str) -> None:
    from rich.console import Console

    Console(stderr=True).print("[bold red]error:[/bold red]", end=" ")
    print(shown(message), file=sys.stderr)
