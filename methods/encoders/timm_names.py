"""Cards for encoders that qbench has no YAML for: any timm name, and `hf-hub:owner/name` repositories in timm's format."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ...errors import ConfigurationError, unknown
from .card import EncoderCard

HUB = "hf-hub:"


def card_of_timm(name: str, known: Iterable[str]) -> EncoderCard:
    """What timm (or the hub repository's config.json) says of a network.

    Raises:
        ConfigurationError: no such network, or a repository whose config.json cannot be fetched.
    """
    import timm

    if name.startswith(HUB):
        repository: str | None = name.removeprefix(HUB)
        described, timm_name, _ = hub_description(name)
        origin = f"https://huggingface.co/{repository}"
    else:
        architecture = name.partition(".")[0]
        if architecture not in timm.list_models():
            close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.7)
            raise unknown("encoder", name, {*known, *close})
        timm_name = name
        described = _pretrained(name)
        repository = described.get("hf_hub_id")
        origin = described.get("origin_url") or (f"https://huggingface.co/{repository}" if repository else "timm")
    return EncoderCard(
        title=f"{timm_name}, through timm",
        timm_name=timm_name,
        hub=repository,
        input_size=described.get("input_size", (3, 224, 224))[-1],
        fixed_input=False,
        mean=tuple(described.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(described.get("std", (0.229, 0.224, 0.225))),
        licence=described.get("license") or "not stated by timm: see the source",
        source=origin,
        paper=described.get("paper_name") or "",
    )


def hub_description(name: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """A hub repository's pretrained configuration, timm name and arguments of the network.

    Raises:
        ConfigurationError: its config.json cannot be fetched or is not timm's.
    """
    from timm.models import load_model_config_from_hf

    from .hub import fetch_file

    repository = name.removeprefix(HUB)
    fetch_file(name, repository, ("config.json",))
    try:
        described, timm_name, arguments = load_model_config_from_hf(repository)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"Expected the description of a timm network in https://huggingface.co/{repository}, but its config.json lacks "
            f"{error}; use a repository in timm's format."
        ) from error
    return described, timm_name, arguments or {}


def _pretrained(name: str) -> dict[str, Any]:
    import timm

    try:
        described = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigurationError(
            f"{str(error).rstrip('.')}; leave out the part after the dot to use timm's default."
        ) from error
    return described.to_dict() if described is not None else {}
