"""iStar's cells by HIPT: the surroundings that its ViT-4K reads, on a section's grid; small networks with weights of their own."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from qbench.datasets.tiles import SectionTiles, stored_tiles
from qbench.methods.encoders.hipt import CELL, CONTEXT, LOCAL, TILE, WIDTH, Hipt, _smooth
from qbench.methods.istar import method as istar
from qbench.methods.istar import tokens
from qbench.methods.istar.tokens import PER, CellReader

MIDDLE = np.array([7 * 16 + 7])  # the cell of a tile whose box of 16 lies wholly in it


@pytest.fixture(scope="module")
def hipt() -> Hipt:
    torch.manual_seed(0)
    network = Hipt()
    network.model256 = timm.create_model("vit_small_patch16_224", num_classes=0, dynamic_img_size=True, depth=1)
    network.model4k.blocks = network.model4k.blocks[:1]
    return network.eval().requires_grad_(False)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 3, TILE, TILE, 3)).astype(np.uint8)


def tile(pixels: np.ndarray, places=((1.5 * TILE, 1.5 * TILE),)) -> SectionTiles:
    return stored_tiles(pixels, np.array(places, dtype=float))


def test_the_tiles_are_those_of_hipt():
    assert (istar.TILE, istar.CELL) == (TILE, CELL)


def test_the_context_is_of_the_tiles_around_and_smoothed_over_them(hipt, pixels):
    """A plain second implementation: every tile's window by itself, repeated to cells, the box over all of them."""
    found = CellReader(hipt, 3).read(tile(pixels), PER, np.arange(PER**2)).reshape(PER, PER, WIDTH)
    white = np.full((7, 7, TILE, TILE, 3), 255, dtype=np.uint8)
    white[2:5, 2:5] = pixels
    x = torch.from_numpy(white).permute(0, 1, 4, 2, 3).float() / 255
    with torch.inference_mode():
        out = hipt.model256.forward_features((x[:1, 0] - 0.5) / 0.5).repeat(7, 7, 1, 1)  # white
        out[2:5, 2:5] = torch.stack([hipt.model256.forward_features((row - 0.5) / 0.5) for row in x[2:5, 2:5]])
        context = torch.stack([
            torch.cat([hipt.model4k(out[y : y + 3, x : x + 3, 0][None])[:, 1, 1] for x in range(5)]) for y in range(5)
        ])  # fmt: skip
        context = context.permute(2, 0, 1)[None].repeat_interleave(PER, 2).repeat_interleave(PER, 3)
        local = out[1:6, 1:6, 1:].reshape(5, 5, PER, PER, LOCAL).permute(4, 0, 2, 1, 3).reshape(1, LOCAL, 80, 80)
        due = torch.cat([_smooth(context, 16), _smooth(local, 4)], dim=1)[0, :, 32:48, 32:48].permute(1, 2, 0)
    np.testing.assert_allclose(found[..., : CONTEXT + LOCAL], due.numpy(), rtol=0, atol=2e-5)
    colour = pixels[1, 1].reshape(PER, CELL, PER, CELL, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(found[..., CONTEXT + LOCAL :], colour, atol=1e-5)


def test_a_neighbouring_tile_is_read_with_surroundings_and_not_without(hipt, pixels):
    other = pixels.copy()
    other[0, 1] = 255 - other[0, 1]
    for grid, reads in ((1, False), (3, True)):
        before, after = (CellReader(hipt, grid).read(tile(some), PER, MIDDLE) for some in (pixels, other))
        assert (np.abs(after - before)[..., :CONTEXT].max() > 1e-4) == reads
        np.testing.assert_allclose(after[..., CONTEXT:], before[..., CONTEXT:], atol=1e-5)


def test_beyond_the_border_is_white(hipt, pixels):
    padded = np.full((5, 5, TILE, TILE, 3), 255, dtype=np.uint8)
    padded[1:4, 1:4] = pixels
    edge, inner = tile(pixels, [(100.0, 700.0)]), tile(padded, [(100.0 + TILE, 700.0 + TILE)])
    index = np.arange(14**2)
    found, due = (CellReader(hipt, 3).read(some, 14, index) for some in (edge, inner))
    np.testing.assert_allclose(found, due, atol=1e-5)


def test_spots_are_read_alike_in_any_order_and_batch_and_a_map_shows_their_cells(hipt, pixels, monkeypatch):
    rng = np.random.default_rng(2)
    places = rng.uniform(150, 600, (5, 2))
    index = np.arange(6, dtype=np.intp)
    found = CellReader(hipt, 3).read(tile(pixels, places), 14, index)
    assert found.shape == (5, 6, WIDTH)
    order = rng.permutation(5)
    np.testing.assert_allclose(
        CellReader(hipt, 3).read(tile(pixels, places[order]), 14, index), found[order], atol=1e-5
    )
    # a point of a map shows the cell that it lies in, whatever else is asked for with it
    centres = (np.rint(places / CELL - 7) + np.array([3.5, 0.5])) * CELL
    point = CellReader(hipt, 3).read(tile(pixels, centres[:2] + np.array([7.0, -7.0])), 1, index[:1])
    np.testing.assert_allclose(point[:, 0], found[:2, 3], atol=1e-5)
    monkeypatch.setattr(tokens, "TOGETHER", (3, 3))
    monkeypatch.setattr(tokens, "WINDOWS", 2)
    monkeypatch.setattr(tokens, "KNOWN", 3)
    np.testing.assert_allclose(CellReader(hipt, 3).read(tile(pixels, places[:2]), 14, index), found[:2], atol=1e-5)


def test_a_tile_is_not_encoded_twice_for_what_is_around_it(hipt, pixels, monkeypatch):
    reader, passed = CellReader(hipt, 3), []
    plain = hipt.model256.forward_features
    monkeypatch.setattr(hipt.model256, "forward_features", lambda x: passed.append(len(x)) or plain(x))
    first = reader.read(tile(pixels), PER, MIDDLE)
    white = 1
    assert sum(passed) <= 9 + white + tokens.TOGETHER[0]
    passed.clear()
    np.testing.assert_array_equal(reader.read(tile(pixels), PER, MIDDLE)[..., :CONTEXT], first[..., :CONTEXT])
    assert sum(passed) == 1, "its own tokens alone"


def test_an_even_window_is_one_sentence():
    from qbench.errors import ConfigurationError
    from qbench.methods import registry

    with pytest.raises(ConfigurationError, match=r"surroundings.*odd"):
        registry.spec("istar", {"surroundings": 4}, "paper")
    assert "surroundings" not in registry.spec("istar", {}).parameters.model_dump()
    assert registry.spec("istar", {}, "paper").parameters.model_dump()["surroundings"] == 15
