"""Dropout from draws of sixteen bits, against what dropout is."""

from __future__ import annotations

import pytest
import torch
from qbench.methods.dropout import Dropout, drawn, dropped


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.99999])
def test_the_share_is_met_in_every_place_of_a_draw(share: float):
    torch.manual_seed(0)
    found = drawn(torch.Size((1000, 401)), share, torch.device("cpu"))  # no multiple of four
    assert found.dtype == torch.bool
    assert found.shape == (1000, 401)
    places = found.flatten()[: 1000 * 400].view(-1, 4).double()
    error = (share * (1 - share) / len(places)) ** 0.5
    torch.testing.assert_close(places.mean(dim=0), torch.full((4,), share).double(), rtol=0, atol=5 * error + 2**-16)
    if 0 < share < 0.9:
        apart = torch.corrcoef(places.T) - torch.eye(4)
        assert apart.abs().max() < 5 / len(places) ** 0.5, "the four of one draw know nothing of one another"


def test_what_is_kept_is_as_it_was_and_alone_has_a_gradient():
    x = torch.rand(300, 50) + 1
    torch.manual_seed(1)
    found = dropped(x.requires_grad_(), 0.2)
    torch.manual_seed(1)
    assert torch.equal(dropped(x, 0.2), found), "the seed decides"
    kept = found != 0
    assert torch.equal(found[kept], x[kept])
    assert kept.double().mean().item() == pytest.approx(0.8, abs=0.02)
    found.sum().backward()
    assert torch.equal(x.grad, kept.float())
    assert dropped(x, 0.0) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_layer_keeps_the_mean_and_rests_in_evaluation(dtype: torch.dtype):
    layer, x = Dropout(0.3), (torch.rand(400, 50) + 1).to(dtype).requires_grad_()
    torch.manual_seed(1)
    found = layer(x)
    kept = found != 0
    factor = torch.tensor(1 / 0.7, dtype=dtype)
    assert found.dtype == dtype
    assert torch.equal(found[kept], x[kept] * factor)
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.015)
    found.sum().backward()
    assert torch.equal(x.grad, kept.to(dtype) * factor), "what is dropped has no gradient"
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
