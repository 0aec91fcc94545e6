"""HIPT as an encoder: its layout, its cells, and files of another."""

from __future__ import annotations

import pytest
import torch
from qbench.errors import DataError
from qbench.methods.encoders.build import build_network
from qbench.methods.encoders.hipt import CONTEXT, Hipt, TileGrid, _smooth
from qbench.methods.encoders.registry import card
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def network() -> Hipt:
    return build_network("hipt", "random", seed=3)


def test_it_has_its_parameters_and_reads_its_own_layout(network: Hipt, tmp_path):
    assert sum(p.numel() for p in network.parameters()) == card("hipt").n_parameters == 24_447_168
    # small ViT of the paper, and depth 6, width 192, MLP 768 over 197 places
    assert sum(p.numel() for p in network.model256.parameters()) == 21_665_664
    block = 2 * 2 * 192 + (192 * 576 + 576) + (192 * 192 + 192) + 2 * 192 * 768 + 768 + 192
    places = 192 + 197 * 192 + 384 * 192 + 192
    assert sum(p.numel() for p in network.model4k.parameters()) == 6 * block + places + 2 * 192
    state = network.state_dict()
    save_file(state, tmp_path / "hipt.safetensors")
    loaded = build_network("hipt", tmp_path / "hipt.safetensors").state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in state.items())
    torch.save({name: v for name, v in state.items() if name.startswith("model256.")}, tmp_path / "one.pth")
    with pytest.raises(DataError, match=r"Expected HIPT's two networks in .*one\.pth"):
        build_network("hipt", tmp_path / "one.pth")
    torch.save({name: v for name, v in state.items() if name != "model4k.norm.bias"}, tmp_path / "less.pth")
    with pytest.raises(DataError, match=r"1 missing model4k\.norm\.bias"):
        build_network("hipt", tmp_path / "less.pth")


def test_its_cells_are_tokens_beside_their_colour(network: Hipt):
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        cells = network.cells(x)
        wide = network.cells(torch.randn(1, 3, 512, 512))
    assert cells.shape == (1, 14, 14, 579)
    assert wide.shape == (1, 32, 32, 579)
    colour = x[0, :, 16:32, 48:64].mean(dim=(1, 2)) * 0.5 + 0.5
    torch.testing.assert_close(cells[0, 1, 3, -3:], colour, rtol=1e-5, atol=1e-5)
    assert cells[0, :, :, :CONTEXT].flatten(0, 1).std(dim=0).max() < 1e-5, "one tile has one context"
    assert wide[0, :, :, :CONTEXT].flatten(0, 1).std(dim=0).max() > 1e-4


def test_the_box_is_a_mean_and_places_are_interpolated():
    values = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = _smooth(values, 4)
    assert found[0, 0, 1, 1] == values.mean()
    grid = TileGrid().eval()
    with torch.inference_mode():
        assert grid(torch.randn(2, 3, 3, 384)).shape == (2, 3, 3, 192)
        assert grid(torch.randn(1, 14, 14, 384)).shape == (1, 14, 14, 192)
