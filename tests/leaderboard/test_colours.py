"""The page's and the figures' colours stay apart for people with two kinds of cones, by stated distances."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pytest
from qbench.leaderboard.figures.canvas import COLOURS, MAP

from ..support.colour_blindness import SEEN, apart, lab, rgb
from ..support.places import ROOT

TEMPLATES = ROOT / "leaderboard" / "templates"
STEP = 5.0  # of lightness L*, an eighth of a scale: a neighbouring step of 1 is just seen
KINDS = 15.0  # of CIE 1976 difference, between things told apart by colour; some 2.3 is just seen

pytestmark = pytest.mark.parametrize("who", SEEN)


def ramps() -> dict[str, list[str]]:
    """The page's scales for maps, nine colours each, as its script holds them."""
    text = (TEMPLATES / "charts.js").read_text(encoding="utf-8")
    return {name: stops.split() for name, stops in re.findall(r'(\w+): "((?:[0-9a-f]{6} ?)+)"', text)}


def themes() -> list[dict[str, str]]:
    """The page's named colours, in light and in dark."""
    text = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
        for part in re.findall(r":root[^{]*\{(.*?)\}", text, re.DOTALL)
    ]


def test_the_measure_is_the_published_one(who: str) -> None:
    red_green = apart(lab(rgb(["ff0000", "00a000"]), who))[0, 1]
    assert lab(rgb(["ffffff"]), who)[0] == pytest.approx([100, 0, 0], abs=0.1)  # white is white to all
    assert (red_green < 100) == (who in ("protanopia", "deuteranopia"))  # 146 to all cones


def test_each_eighth_of_a_map_s_scale_is_lighter(who: str) -> None:
    assert set(ramps()) == {"viridis", "cividis", "grey"}
    drawn = matplotlib.colormaps[MAP](np.linspace(0, 1, 9))[:, :3]
    for colours in (*(rgb(stops) for stops in ramps().values()), drawn):
        assert np.diff(lab(colours, who)[:, 0]).min() >= STEP


def test_each_quarter_of_a_shade_is_another_lightness(who: str) -> None:
    for theme in themes():
        card, accent = rgb([theme["card"], theme["accent"]])
        shades = np.array([share * accent + (1 - share) * card for share in np.linspace(0, 0.6, 5)])
        assert np.abs(np.diff(lab(shades, who)[:, 0])).min() >= STEP


def test_methods_patients_and_controls_are_told_apart(who: str) -> None:
    light, dark = themes()
    pairs = [[theme["accent"], theme["control"], theme["card"]] for theme in (light, dark)]
    for colours in (list(COLOURS), *pairs):
        found = apart(lab(rgb(colours), who))
        assert found[np.triu_indices(len(colours), 1)].min() >= KINDS
