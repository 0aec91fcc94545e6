"""qbench: a benchmark of methods that predict spatial gene expression from H&E histology.

`qbench.load_section`, `qbench.run`, `qbench.read_runs`, `qbench.load_method` and `qbench.predict` do in Python what the command line
does; `qbench.plot` draws what `run` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import plot
    from .benchmark.api import load_method, load_section, predict, read_runs, run

__all__ = ["__version__", "load_method", "load_section", "plot", "predict", "read_runs", "run"]


def __getattr__(name: str) -> Any:
    """The functions are imported when they are asked for, so that `import qbench` stays light."""
    if name == "plot":
        from importlib import import_module

        return import_module(".plot", __name__)
    if name in __all__:
        from .benchmark import api

        return getattr(api, name)
    raise AttributeError(f"module 'qbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
