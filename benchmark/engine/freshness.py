"""Whether a stored record is what the code of today would make, told from its identity alone: no data are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...datasets.protocol import Protocol, rules
from ...datasets.registry import card
from ...leaderboard.record import Record
from ..scoring import metrics as score
from .changes import differences
from .identity import trained_by
from .plan import patch_of
from .reproduce import options_of
from .resolve import resolve_method

# Parts that only data can tell, or that another part of the project's code made.
_OTHERWISE = {"protocol", "fold", "reader", "metrics", "tuned"}


def outdated(record: Record) -> list[str]:
    """What today's code says otherwise than a record's identity, a phrase each.

    That is: versions of method, encoder, patches, scaling, panel, target, scores and the other rules, default parameters,
    weights, and what an identity holds at all. The runtime of an encoder is left out: which are installed differs by machine.

    Raises:
        ConfigurationError: a method, encoder or dataset that does not exist any more.
    """
    options = options_of(record, None, (), None, (), Path("runs")).model_copy(update={"runtime": "auto"})
    resolved = resolve_method(record.method.label, options, options.device)
    dataset = card(record.protocol.dataset)
    today = {
        **trained_by(resolved, options, patch_of(options), options.precision, record.seed),
        "target": record.protocol.target,
        "scores": score.SCORE_VERSION,
        "rules": rules(dataset.markers, dataset.technical_genes, record.protocol.test_dataset is not None),
    }
    then = {name: value for name, value in record.identity.items() if name not in _OTHERWISE}
    found = differences(_anywhere(then), _anywhere(today))
    found += [f"{name} is new" for name in sorted({"protocol", "fold", "reader"} - record.identity.keys())]
    try:
        if Protocol.model_validate(record.protocol.definition).hash != record.protocol.hash:
            found.append("the protocol's hash changed")
    except ValidationError:
        found.append("what a protocol holds changed")
    return found


def _anywhere(identity: dict[str, Any]) -> dict[str, Any]:
    """An identity without the runtimes of its networks."""

    def stripped(network: Any) -> Any:
        if not isinstance(network, dict):
            return network
        return {name: value for name, value in network.items() if name not in ("runtime", "dtype", "evaluation")}

    out = dict(identity)
    out["encoders"] = {name: stripped(network) for name, network in dict(out.get("encoders") or {}).items()}
    out["backbone"] = stripped(out.get("backbone"))
    return out
