"""Third-party files of weights: read without running any code in them, and placed strictly, tensor by tensor."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError, reading
from ...files import check_regular

_CLASS = re.compile(r"GLOBAL ([\w.]+)")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")
_SHOWN = 5


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU: safetensors by its suffix, else torch's format with `weights_only=True`.

    A dictionary wrapped as {"state_dict": ...} or {"model": ...}, and names that all start with "module.", are unwrapped.

    Raises:
        DataError: a damaged file, one that holds anything but tensors, or a pickle with code in it (never run).
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading("a safetensors file", path, "fetch it again"):
            check_regular(path)
            return load_file(path)
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle's protocol; the errors below say more
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except Exception as error:  # damaged bytes reach every corner of the format
        raise DataError(
            f"Expected a file of weights in torch's format in {path}, but it cannot be read ({type(error).__name__}); "
            "it is damaged or of another format: fetch it again."
        ) from error
    return _unwrap(loaded, path)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Place every tensor of `state` in `network`, and fill every place of it.

    Raises:
        DataError: missing or unknown names, or other shapes; the message names them and `origin`.
    """
    if problem := difference(network, state):
        raise DataError(f"The weights in {origin} do not fit {type(network).__name__}: {problem}; give this network's.")
    network.load_state_dict(dict(state), strict=True)


def difference(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """What keeps `state` from loading strictly, as part of a sentence; empty if nothing does."""
    places = network.state_dict()
    # Batch counters steer training only, and old files lack them.
    missing = [k for k in places if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in places]
    shapes = [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(places[k].shape)}"
        for k in places
        if k in state and state[k].shape != places[k].shape
    ]
    parts = [("missing ", missing), ("unknown ", unknown), ("of another shape: ", shapes)]
    return "; ".join(f"{len(found)} {what}{_some(found)}" for what, found in parts if found)


def _some(found: list[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    state = loaded
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
            break
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(
            f"Expected a state dict (names and tensors) in {path}, but it holds {type(state).__name__}; "
            "save it with torch.save(model.state_dict(), FILE)."
        )
    prefix = "module." if all(k.startswith("module.") for k in state) else ""
    return {k.removeprefix(prefix): v for k, v in state.items()}


def _refused(path: Path, message: str) -> DataError:
    found = _CLASS.search(message)
    what = f"the class {found.group(1).rstrip('.')}" if found else "something that is not a tensor"
    return DataError(
        f"Expected only tensors in {path}, but its pickle asks for {what}, and qbench runs no code from a file; where you trust "
        "it, load it there with the code that wrote it and save it anew with torch.save(model.state_dict(), FILE)."
    )
