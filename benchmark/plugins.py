"""Methods from a user's own file: `--plugin my.py:MyMethod` or `package.module:MyMethod`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import ConfigurationError, short
from ..methods.method import Method
from ..methods.registry import register


def load_plugins(plugins: Iterable[str]) -> list[str]:
    """Register the named classes; returns the names under which they can be asked for.

    Raises:
        ConfigurationError: a file or class that is not there, that is no `Method`, or that raises on import.
    """
    return [_load(plugin) for plugin in plugins]


def _load(plugin: str) -> str:
    source, separator, attribute = plugin.rpartition(":")
    if not separator or not source or not attribute:
        raise ConfigurationError(f"Expected --plugin FILE.py:Class or package.module:Class, found {short(plugin)}.")
    module_name = _import_file(Path(source)) if source.endswith(".py") else source
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except Exception as error:
        raise ConfigurationError(
            f"The plug-in {plugin} raised {type(error).__name__} on import: {error}; mend it and run again."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ConfigurationError(
            f"Expected a subclass of qbench's Method at {plugin}, found {short(found)}; name the class."
        )
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"Expected a class attribute `name` of the plug-in {plugin}, found none; set it to what the command line says."
        )
    # A record keeps where a method is from, but no path of a machine.
    register(name, f"{module_name}:{attribute}", Path(source).name if source.endswith(".py") else source)
    return name


def _import_file(path: Path) -> str:
    """Import a file under a name of its own, so that it shadows no installed module."""
    place = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]  # two files of one name are two modules
    name = f"qbench_plugin_{path.stem}_{place}"
    if name in sys.modules:
        return name
    if not path.is_file():
        raise ConfigurationError(f"Expected a plug-in in {path}, but there is no such file; check the path.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"Expected Python source in {path}, which cannot be imported; give a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigurationError(
            f"The plug-in {path} raised {type(error).__name__} on import: {error}; mend it and run again."
        ) from error
    return name
