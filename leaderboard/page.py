"""The leaderboard as one self-contained HTML file: nothing is loaded from anywhere, every text is shown as text."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, short
from .finer import read_finer
from .page_data import table_data
from .page_maps import METHODS, Thumbnail, map_data, map_genes
from .reported import read_reported
from .searched import Found
from .table import Table

LARGEST = 25_000_000  # bytes of the file
_MAPS = 14_000_000  # bytes of map values before base64; what is left holds pictures, tables and genes
_TEMPLATES = Path(__file__).resolve().parent / "templates"
_SCRIPTS = (
    "core",
    "charts",
    "table",
    "encoders",
    "transfer",
    "readings",
    "downstream",
    "provenance",
    "links",
    "drawer",
    "paint",
    "maps",
    "cards",
    "main",
)


def render_page(
    tables: Sequence[Table],
    folders: Mapping[str, Path],
    thumbnails: Mapping[tuple[str, str], Thumbnail] | None = None,
    genes: Sequence[str] = (),
    searched: Found | None = None,
    finer: Mapping[str, Path] | None = None,
) -> str:
    """The page's HTML.

    Args:
        tables: as `summarise` and `folder.with_ceilings` made them.
        folders: cell -> folder, for predictions and scores; without them the page has no maps and no genes.
        thumbnails: (dataset, section) -> picture under the spots.
        genes: shown on the maps before the markers.
        searched: readings and ablations, as `searched.read_searched` found them.
        finer: section -> map finer than spots, see `finer.read_finer`.

    Raises:
        ConfigurationError: a map of a section that no table has on its image.
        DataError: a page above 25 MB.
    """
    thumbnails = thumbnails or {}
    chosen = [map_genes(table, folders, genes) for table in tables]
    kept, note = _fit(tables, folders, chosen)
    reported = read_reported()
    data: dict[str, Any] = {"tables": [], "note": note, "images": {}}
    for table, wanted in zip(tables, kept, strict=True):
        maps = map_data(table, folders, wanted, thumbnails)
        of_readings = (searched or {}).get((table.protocol.hash, table.track), [])
        data["tables"].append({**table_data(table, folders, reported), "maps": maps, "readings": of_readings})
        if maps is not None:
            _add_finer(maps, finer or {})
        for section in () if maps is None else [s for s, held in maps["sections"].items() if held["image"]]:
            key = (table.protocol.tested, section)
            data["images"]["/".join(key)] = thumbnails[key].uri
    shown = {name for part in data["tables"] for name in (part["maps"] or {"sections": {}})["sections"]}
    for name in (finer or {}).keys() - shown:
        raise ConfigurationError(
            f"Expected a section with maps on the page as --finer SECTION=FILE, found {short(name)}; sections: {', '.join(sorted(shown))}."
        )
    page = _fill(data)
    if (size := len(page.encode())) > LARGEST:
        raise DataError(
            f"Expected a page of at most {LARGEST // 10**6} MB, found {size / 1e6:.0f} MB; give a runs folder with "
            "fewer protocols, or smaller thumbnails."
        )
    return page


def _add_finer(maps: dict[str, Any], finer: Mapping[str, Path]) -> None:
    """Put each map beside those of its section, whose genes it shows and on whose image it lies."""
    for name, path in finer.items():
        if (held := maps["sections"].get(name)) is None:
            continue
        found = read_finer(path, held["genes"])
        right, bottom = (
            found[a] + found["step"] * n for a, n in zip(("left", "top"), found["shape"][::-1], strict=True)
        )
        xs, ys = held["xy"][::2], held["xy"][1::2]
        inside = [found["left"] <= x <= right and found["top"] <= y <= bottom for x, y in zip(xs, ys, strict=True)]
        if not held["pixels"] or sum(inside) < len(inside) / 2:
            raise ConfigurationError(
                f"Expected a map of section {name}'s image in {path}, found one that holds {sum(inside)} of its {len(inside)} "
                "spots; predict that image, in its own pixels."
            )
        held["finer"] = found


def _fit(
    tables: Sequence[Table], folders: Mapping[str, Path], chosen: Sequence[Sequence[str]]
) -> tuple[list[Sequence[str]], str]:
    """As many genes of each table as the maps' share of the file can hold, and a note if some are left out."""
    spots = [_spots(table) for table in tables]
    needed = sum(n * len(genes) * (1 + METHODS) for n, genes in zip(spots, chosen, strict=True))
    if needed <= _MAPS:
        return list(chosen), ""
    most = max(1, int(max(len(genes) for genes in chosen) * _MAPS / needed))
    note = f"The maps hold the first {most} genes of each table, so that the file stays below {LARGEST // 10**6} MB."
    return [genes[:most] for genes in chosen], note


def _spots(table: Table) -> int:
    return sum({r.fold.name: r.fold.n_test_spots for row in table.rows for r in row.records}.values())


def _fill(data: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    script = "\n".join((_TEMPLATES / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = environment.get_template("page.html").render(
        style=_trusted((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=_trusted(script),
        digest=digest,
        data=_trusted(script_json(data)),
    )
    return page


def script_json(data: Any) -> str:
    """JSON that can stand inside a script element: no character of it can end the element or start another."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _trusted(text: str) -> Any:
    import markupsafe

    return markupsafe.Markup(text)
