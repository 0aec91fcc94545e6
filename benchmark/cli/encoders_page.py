"""docs/encoders.md, from the cards as they are."""

from __future__ import annotations

from itertools import groupby

from ...methods.encoders.card import EncoderCard
from ...methods.encoders.registry import ENCODERS, card

_START = """# Encoders

`qbench run --encoder NAME` takes any of these, any other timm name, and any `hf-hub:` repository in timm's format; `qbench info NAME`
prints the whole card. `--encoder-weights NAME=FILE` reads a local file instead of the hub's (`HF_ENDPOINT` names another hub). A file is
placed strictly, tensor by tensor, in the layouts that the card names; any other is refused by name.

`--encoders a,b,c` in its place crosses every method that reads the run's encoder with each of them; a method that reads none, or one
of its own, is run once. Each has its weights and size from its card, or from its file: `--encoder-weights uni=A --encoder-weights mine=B`.
Cells are those of a run each, so what was done with `--encoder` is read. `--dry-run` shows the grid of what would run.

An encoder that needs a token is gated: open its page on the hub, accept the terms and wait for the answer, then `hf auth login` or set
`HF_TOKEN`; `qbench doctor` says whether the token is accepted. The terms of UNI, CONCH and MUSK count models trained on their outputs as
derivatives.

Features are the class token (`cls`), it and the mean of the patch tokens (`cls_mean`), that mean (`mean`), the network's projection
(`head`), pooled by attention (`attention`), or as timm pools (`pooled`). `px` is what the network reads; an arrow says that patches are
enlarged to it, and a second figure that their centre is cut out. `um/px` is the recommended scale: a run at another one says so once.
`precision` is the publisher's or the toolkits': on a GPU fp16 and fp32 are taken over, else `--runtime` says; all is held against fp32.
"""


def encoders_markdown() -> str:
    """The whole page."""
    cards = sorted(((name, card(name)) for name in ENCODERS.shipped), key=lambda item: item[1].access)
    parts = [_START]
    for access, some in groupby(cards, key=lambda item: item[1].access):
        parts.append(f"## {access[0].upper()}{access[1:]}\n")
        parts.append(
            "| name | what | features | width | parameters | px | um/px | precision | licence |\n" + "|---" * 9 + "|"
        )
        parts += [_row(name, found) for name, found in some]
        parts.append("")
    parts.append(
        "## What is inferred\n\nWhat nobody could check, beside what is certain; a figure that is not here was checked as it says.\n"
    )
    for name, found in sorted(cards):
        if found.inferred:
            parts.append(f"* `{name}`. Certain: {_lowered(found.certain)} Inferred: {' '.join(found.inferred)}")
    return "\n".join([*parts, ""])


def _row(name: str, found: EncoderCard) -> str:
    low, high = found.microns_range or (None, None)
    scale = "" if found.microns_per_pixel is None else f"{found.microns_per_pixel:g}"
    pixels = f"→ {found.resize}" if found.resize else str(found.input_size)
    cells = (
        f"[`{name}`]({found.source})" if found.source.startswith("http") else f"`{name}`",
        found.title,
        found.tokens,
        "" if found.dim is None else str(found.dim),
        "" if found.n_parameters is None else f"{found.n_parameters:,}",
        f"{pixels}, {found.crop}" if found.crop else pixels,
        f"{scale} ({low:g} to {high:g})" if low is not None else scale,
        found.precision or "",
        found.licence,
    )
    return f"| {' | '.join(cells)} |"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
