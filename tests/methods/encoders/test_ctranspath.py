"""CTransPath in current timm: size, layouts of the public checkpoint, and the sizes of patches it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from qbench.errors import ConfigurationError, DataError
from qbench.methods.encoders.build import build_network
from qbench.methods.encoders.registry import card
from torch import Tensor


@pytest.fixture(scope="module")
def ours() -> dict[str, Tensor]:
    return dict(build_network("ctranspath", "random", seed=3).state_dict())


def _old_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the authors' timm wrote it: merging at the end of a stage, derived tables, counters, an empty head."""
    old = {}
    for name, tensor in state.items():
        part = name.split(".")
        if "downsample" in part:
            part[1] = str(int(part[1]) - 1)
        old[".".join(part)] = tensor
    for stage, blocks in enumerate((2, 2, 6, 2)):
        for block in range(blocks):
            old[f"layers.{stage}.blocks.{block}.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
            if block % 2 and stage < 3:
                old[f"layers.{stage}.blocks.{block}.attn_mask"] = torch.zeros(4 ** (3 - stage), 49, 49)
    return old


def test_it_has_the_published_number_of_parameters() -> None:
    network = build_network("ctranspath", "random")
    assert sum(p.numel() for p in network.parameters()) == 27_520_038 == card("ctranspath").n_parameters
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 768)
    assert card("ctranspath").microns_per_pixel == 1.0
    assert "GPL-3.0" in card("ctranspath").licence


@pytest.mark.parametrize("layout", ["old", "new"])
def test_both_layouts_of_the_checkpoint_load_back_equal(tmp_path: Path, ours: dict[str, Tensor], layout: str) -> None:
    state = _old_layout(ours) if layout == "old" else {**ours, "head.fc.weight": torch.zeros(5, 768)}
    torch.save({"model": state}, tmp_path / "ctranspath.pth")
    loaded = build_network("ctranspath", tmp_path / "ctranspath.pth").state_dict()
    assert loaded.keys() == ours.keys()
    assert all(torch.equal(loaded[name], ours[name]) for name in ours)
    assert ("layers.0.downsample.norm.weight" in state) == (layout == "old")


def test_a_stock_swin_is_not_taken_for_it(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("swin_tiny_patch4_window7_224").state_dict(), tmp_path / "swin.pth")
    with pytest.raises(DataError, match=r"missing patch_embed\.proj\.0\.weight"):
        build_network("ctranspath", tmp_path / "swin.pth")


def test_other_patch_sizes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="patches of 224 px, but these have 112"):
        build_network("ctranspath", "random", image_size=112)
