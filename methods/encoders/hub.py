"""Weights from the Hugging Face hub: from its cache on this machine, else from the network, else one clear error."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

from ...errors import ConfigurationError, DataError
from .card import EncoderCard

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SHA256 = re.compile("[0-9a-f]{64}")


def fetch_weights(name: str, found: EncoderCard) -> Path:
    """The file of weights that a card names, fetched from the hub (HF_ENDPOINT) if this machine does not have it yet.

    Raises:
        ConfigurationError: it has none and the hub cannot be reached or refuses; the message names the ways out.
    """
    if found.hub is None:
        raise _no_weights(name, f"none are on the hub, see {found.source}")
    files = (found.hub_file,) if found.hub_file else _WEIGHTS
    return fetch_file(name, found.hub, files, found.hub_revision)


def fetch_file(name: str, repository: str, files: tuple[str, ...], revision: str | None = None) -> Path:
    """The first of `files` that a hub repository holds, as a path on this machine; raises as `fetch_weights`."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        cached = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    _require_network(name, repository)
    from huggingface_hub import errors, hf_hub_download

    for file in files:
        try:
            return Path(hf_hub_download(repository, file, revision=revision))
        except errors.RevisionNotFoundError as error:
            raise _no_weights(name, f"{repository} on the hub has no revision {revision} any more") from error
        except errors.EntryNotFoundError:
            continue
        except (OSError, errors.HfHubHTTPError) as error:
            raise _no_weights(name, _refusal(repository, error)) from error
    raise _no_weights(name, f"{repository} holds none of {', '.join(files)}")


def check_fetched(name: str, found: EncoderCard, path: Path, sha256: str) -> None:
    """Hold a fetched file against what the hub called it and what the card says; the hub names large files by their sha256.

    Raises:
        DataError: another file, damaged or exchanged.
    """
    blob = path.readlink().name if path.is_symlink() else ""
    due = blob if _SHA256.fullmatch(blob) else found.sha256
    for expected in (due, found.sha256):
        if expected is not None and not sha256.startswith(expected):
            raise DataError(
                f"Expected weights with sha256 {expected[:12]} for encoder '{name}' in {path}, found {sha256[:12]}; the file is "
                "damaged or was exchanged: delete it and start again."
            )


def _refusal(repository: str, error: Exception) -> str:
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    page = f"https://huggingface.co/{repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or status == 403:
        if get_token() is None:
            return f"{repository} is gated and there is no token: accept its terms at {page}, then 'hf auth login' or set HF_TOKEN"
        return (
            f"{repository} is gated and this account was not let in: accept its terms at {page} and wait for the answer"
        )
    if status == 401:
        return f"the hub does not accept the token (HF_TOKEN or 'hf auth login') for {repository}"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub knows no {repository}, or hides it from this account"
    return f"the hub refused {repository} ({_first_line(error)})"


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
