"""What `qbench info METHOD` tells, as data and as a Markdown page; docs/methods is made of the latter."""

from __future__ import annotations

from typing import Any

from ...methods import card as cards
from ...methods import registry


def method_info(name: str) -> dict[str, Any]:
    """A method's card, its class and its parameters with values per profile, JSON-able."""
    card, cls = registry.card(name), registry.method_class(name)
    profiles = card.profiles or {"fast": {}}
    resolved = {
        profile: registry.spec(name, profile=profile).parameters.model_dump(mode="json") for profile in profiles
    }
    return {
        "method": name,
        "title": card.title,
        "summary": card.summary,
        "kind": cls.kind,
        "version": cls.version,
        "origin": registry.origin(name),
        "reads": "the whole section at once" if cls.context == "section" else "one spot at a time",
        "paper": None if card.paper is None else card.paper.model_dump(mode="json"),
        "deviations": list(card.deviations),
        "figures": dict(card.figures),
        "parameters": [
            {
                "name": parameter.name,
                "values": parameter.values,
                "what": parameter.description,
                **{profile: resolved[profile].get(parameter.name) for profile in resolved},
                "source": {
                    profile: source
                    for profile, sources in card.sources.items()
                    if (source := sources.get(parameter.name))
                },
            }
            for parameter in cards.parameter_table(cls.Parameters)
        ],
    }


def method_markdown(name: str) -> str:
    """A page of docs/methods."""
    info = method_info(name)
    lines = [f"# {info['title']}", "", f"`{name}`, a {info['kind']}; predicts {info['reads']}. {info['summary']}", ""]
    if info["paper"]:
        paper = info["paper"]
        code = f" Code: {paper['code']}." if paper["code"] else " No public code."
        lines += [f"[{paper['title']}]({paper['url']}). {paper['citation']}.{code}", ""]
    if info["figures"]:
        figures = ", ".join(f"{key} {value:g}" for key, value in info["figures"].items())
        lines += [f"Printed for it in the QCA paper's Table 1 (folds unstated): {figures}.", ""]
    if info["deviations"]:
        lines += ["## Where it departs from the publication", "", *(f"* {text}" for text in info["deviations"]), ""]
    if info["parameters"]:
        profiles = [key for key in info["parameters"][0] if key not in ("name", "values", "what", "source")]
        lines += [
            "## Parameters",
            "",
            "| name | " + " | ".join(profiles) + " | may be | what it is | where the value is from |",
        ]
        lines.append("|---" * (len(profiles) + 4) + "|")
        for parameter in info["parameters"]:
            sources = [f"{p}: {parameter['source'][p]}" for p in profiles if p in parameter["source"]]
            cells = [f"`{parameter['name']}`", *(_value(parameter[p]) for p in profiles)]
            cells += [parameter["values"], parameter["what"], "; ".join(sources)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
