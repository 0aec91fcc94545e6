"""Image features and the codebook vectors they are given, as a t-SNE (Figure 4a of the QCA paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codes import CODE_COUNTS, perplexity
from ..row import Row
from ..stored import read_diagnostics
from .canvas import COLOURS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the codebook's space: features before the rounding (s, dimensions), the vectors they became, the code of each (s,).
FEATURES, QUANTISED, CODE = "sample_bounded", "sample_rounded", "sample_code"


def features_and_codes(row: Row, folders: Mapping[str, Path]) -> Figure | None:
    """One t-SNE of both: training spots as pale dots, codebook vectors in use as rings sized by their spots.

    Both lie in the space of the codebook (a linear projection of the image features, bounded): only there can they be
    compared, for the decoder's input is a projection out of it again. The first stored cell of the row, by fold and
    seed, is drawn; None where it has no quantiser or keeps no features.
    """
    for record in row.records:
        if record.status != "done" or record.cell not in folders:
            continue
        kept = read_diagnostics(folders[record.cell], [FEATURES, QUANTISED, CODE, CODE_COUNTS])
        if {FEATURES, QUANTISED, CODE, CODE_COUNTS} <= kept.keys():
            return _draw(f"{row.title}, fold {record.fold.name}, seed {record.seed}", kept)
    return None


def _draw(title: str, kept: Mapping[str, np.ndarray]) -> Figure | None:
    from sklearn.manifold import TSNE

    features = kept[FEATURES].astype(np.float64)
    codes, first, times = np.unique(kept[CODE], return_index=True, return_counts=True)
    vectors = kept[QUANTISED][first].astype(np.float64)
    both = np.concatenate([features, vectors])
    if len(both) < 5:
        return None
    # A t-SNE's perplexity must stay below the number of points; 30 is the usual choice.
    placed = TSNE(perplexity=min(30.0, (len(both) - 1) / 3), init="pca", random_state=0).fit_transform(both)
    spots, rings = placed[: len(features)], placed[len(features) :]
    with style():
        figure = new_figure(4.6, 4.4)
        axes: Any = figure.subplots()
        axes.scatter(
            *spots.T, s=6, color=COLOURS[4], alpha=0.5, linewidths=0, label=f"image features ({len(features)})"
        )
        size = 12 + 120 * times / times.max()
        label = f"codebook vectors in use ({len(codes)} in this sample)"
        axes.scatter(*rings.T, s=size, facecolors="none", edgecolors=COLOURS[1], linewidths=1.1, label=label)
        used = f"{len(kept[CODE_COUNTS])} codes used in training, perplexity {perplexity(kept[CODE_COUNTS]):.0f}"
        axes.set(xticks=[], yticks=[], title=f"{title}\n{used}")
        for side in axes.spines.values():
            side.set_visible(False)
        figure.legend(loc="outside lower center", ncols=1)
    return figure
