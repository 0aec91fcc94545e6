"""Weights from the Hugging Face hub: from its cache on this machine, else from the network, else one clear error."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from ...errors import ConfigurationError

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def fetch_weights(name: str, repository: str | None) -> Path:
    """The file of weights in a hub repository, fetched if this machine does not have it yet.

    Raises:
        ConfigurationError: it has none and the hub cannot be reached or refuses; the message names the two ways out.
    """
    if repository is None:
        raise _no_weights(name, "none are published for it")
    return fetch_file(name, repository, _WEIGHTS)


def fetch_file(name: str, repository: str, files: tuple[str, ...]) -> Path:
    """The first of `files` that a hub repository holds, as a path on this machine; raises as `fetch_weights`."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    _require_network(name, repository)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    for file in files:
        try:
            return Path(hf_hub_download(repository, file))
        except EntryNotFoundError:
            continue
        except (OSError, HfHubHTTPError) as error:
            raise _no_weights(name, f"the hub refused {repository} ({_first_line(error)})") from error
    raise _no_weights(name, f"{repository} holds none of {', '.join(files)}")


def _require_network(name: str, repository: str) -> None:
    """One short knock, through the user's proxies: the hub's own client would retry for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _no_weights(name, f"{repository} is not in this machine's hub cache, and HF_HUB_OFFLINE is set")
    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=10):
            return
    except urllib.error.HTTPError:
        return  # it answered
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise _no_weights(name, f"{constants.ENDPOINT} cannot be reached ({reason})") from error


def _no_weights(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Expected weights for encoder '{name}', but {reason}; give a local file with --encoder-weights {name}=FILE, "
        f"or ask for random ones with --encoder-weights {name}=random."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
