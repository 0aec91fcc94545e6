"""TRIPLEX: counts to the unit, losses by hand, and a plain second implementation in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from qbench.datasets.views import Views
from qbench.errors import ConfigurationError, MethodError
from qbench.methods import registry
from qbench.methods.method import FitContext, Inputs
from qbench.methods.triplex.network import Outputs, TriplexNetwork, losses

from ..support.fitted_methods import check_order, kept_prediction
from ..support.method_cohorts import sealed
from ..support.view_cohorts import view_cohort

TINY = {"dim": 16, "neighbour_heads": 2, "global_heads": 4, "fusion_heads": 2, "components": 8, "grid": 3}


def parameters(**settings):
    return registry.spec("triplex", {**TINY, **settings}).parameters


def fitted(train, validation=None, seed: int = 0, **settings):
    method, context = registry.spec("triplex", {**TINY, "epochs": 4, **settings}).build(), FitContext(seed=seed)
    method.fit(train, validation, context)
    return method, context


@pytest.mark.parametrize(("genes", "total"), [(250, 29_295_320), (1000, 30_834_320)])
def test_the_published_network_has_its_parameters(genes: int, total: int):
    with torch.device("meta"):
        backbone = timm.create_model("resnet18", num_classes=0)
        network = TriplexNetwork(genes, 512, 512, registry.spec("triplex", profile="paper").parameters, backbone)
    assert sum(p.numel() for p in backbone.parameters()) == 11_176_512
    assert sum(p.numel() for p in network.parameters()) == total
    block = 4 * 512**2 + 512 + 2 * 2 * 512  # attention without bias but in its output, two norms
    around = 3 * (block + 2 * (512**2 + 512) + 16 * 25) + 2 * 512
    whole = 3 * (block + 8 * 512**2 + 5 * 512) + 10 * 512 + 2 * 512
    fusion = block + 2 * 512 + 8 * 512**2 + 5 * 512 + 2 * 512
    assert total == 11_176_512 + 512 * 513 + around + whole + fusion + 4 * 513 * genes


def test_the_four_losses_by_hand():
    y = torch.tensor([[1.0, 2.0]])
    outputs = Outputs(*(torch.tensor([row]) for row in ([1.0, 4.0], [0.0, 2.0], [1.0, 2.0], [3.0, 4.0])))
    found = {name: float(value) for name, value in losses(outputs, y).items()}
    # fused: (0 + 4) / 2; target: .7 (1 + 0) / 2 + .3 (1 + 4) / 2; neighbour: 0 + .3 (0 + 4) / 2; whole: .7 (4 + 4) / 2 + .3 (4 + 0) / 2
    assert found == pytest.approx({"fused": 2.0, "target": 1.1, "neighbour": 0.6, "whole": 3.4})


def norm(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + torch.erf(torch.from_numpy(x / np.sqrt(2))).numpy())


class Plain:
    """The network over again: spot by spot, head by head, from the description alone."""

    def __init__(self, state, p) -> None:
        self.w = {name: value.numpy() for name, value in state.items()}
        self.p = p

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)

    def norm(self, name, x):
        return norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def block(self, name, x, heads, context=None, bias=None, present=None):
        """One block for one spot's (or section's) tokens (q, dim)."""
        queries = self.norm(f"{name}.attention_norm", x)
        keys = queries if context is None else self.norm(f"{name}.context_norm", context)
        q, kv = self.linear(f"{name}.attention.query", queries), self.linear(f"{name}.attention.key_value", keys)
        dim, width = x.shape[1], x.shape[1] // heads
        k, v = kv[:, :dim], kv[:, dim:]
        mixed = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            logits = q[:, own] @ k[:, own].T / np.sqrt(width)
            if bias is not None:
                logits = logits + bias[head]
            if present is not None:
                logits = np.where(present[None], logits, -np.inf)
            mixed.append(softmax(logits) @ v[:, own])
        x = x + self.linear(f"{name}.attention.out", np.concatenate(mixed, axis=1))
        hidden = gelu(self.linear(f"{name}.mlp.0", self.norm(f"{name}.mlp_norm", x)))
        return x + self.linear(f"{name}.mlp.3", hidden)

    def neighbours(self, views, present):
        g = self.p.grid
        x = self.linear("neighbour.embedding", views) if "neighbour.embedding.weight" in self.w else views
        for layer in range(self.p.neighbour_depth):
            table, bias = self.w[f"neighbour.offsets.{layer}"], np.zeros((self.p.neighbour_heads, g * g, g * g))
            for a in range(g * g):
                for b in range(g * g):
                    bias[:, a, b] = table[:, abs(a // g - b // g) * g + abs(a % g - b % g)]
            x = self.block(f"neighbour.blocks.{layer}", x, self.p.neighbour_heads, bias=bias, present=present)
        return self.norm("neighbour.norm", x)

    def whole(self, spots, places):
        x = self.linear("whole_section.embedding", spots) if "whole_section.embedding.weight" in self.w else spots
        for layer in range(self.p.global_depth):
            x = self.block(f"whole_section.blocks.{layer}", x, self.p.global_heads)
            if layer == 0:
                cells = {}
                for token, place in zip(x, places, strict=True):
                    cells.setdefault(tuple(place), []).append(token)
                kernel, bias = self.w["whole_section.position.weight"], self.w["whole_section.position.bias"]
                moved = []
                for column, row in places:
                    out = bias.copy()
                    for dx in (-1, 0, 1):
                        for dy in (-1, 0, 1):
                            if (there := cells.get((column + dx, row + dy))) is not None:
                                out += kernel[:, 0, dy + 1, dx + 1] * np.mean(there, axis=0)
                    moved.append(out)
                x = x + np.array(moved)
        return self.norm("whole_section.norm", x)

    def predict(self, target, views, present, whole):
        outputs = []
        for patch, windows, there, token in zip(target, views, present, whole, strict=True):
            own = self.linear("target_embedding", patch)
            around = self.neighbours(windows, there)
            to_own = to_around = token[None]
            for layer in range(self.p.fusion_depth):
                to_own = self.block(f"fusion.{layer}", to_own, self.p.fusion_heads, own)
                to_around = self.block(f"fusion.{layer}", to_around, self.p.fusion_heads, around, present=there)
            fused = self.norm("fusion_norm", to_own + to_around)[0]
            parts = {"fused": fused, "target": own.mean(0), "neighbour": around[there].mean(0), "whole": token}
            outputs.append([self.linear(f"heads.{name}", part) for name, part in parts.items()])
        return np.array(outputs).transpose(1, 0, 2)


@pytest.mark.parametrize("features", [16, 11], ids=["as wide as tokens", "embedded"])
def test_it_equals_a_plain_second_implementation(features: int):
    torch.manual_seed(0)
    p = parameters(neighbour_depth=2, global_depth=3, fusion_depth=2)
    network = TriplexNetwork(5, 7, features, p, None).double().eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(torch.randn_like(weights) * 0.3)
    rng = np.random.default_rng(0)
    n = 6
    places = np.array([[3, 7], [4, 7], [4, 8], [9, 9], [4, 7], [3, 6]])  # two spots share a cell
    target, views = rng.normal(size=(n, 4, 7)), rng.normal(size=(n, 9, features))
    present, spots = rng.random((n, 9)) < 0.6, rng.normal(size=(n, features))
    present[:, 4] = True
    plain = Plain(network.state_dict(), p)
    with torch.no_grad():
        whole = network.whole_section(torch.from_numpy(spots), torch.from_numpy(places))
        found = network(*map(torch.from_numpy, (target, views, present)), whole)
    due = plain.whole(spots, places)
    np.testing.assert_allclose(whole.numpy(), due, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        torch.stack(found).numpy(), plain.predict(target, views, present, due), rtol=0, atol=1e-8
    )


def test_every_branch_learns_from_each_of_its_losses():
    torch.manual_seed(0)
    p = parameters()
    network = TriplexNetwork(5, 16, 16, p, None)
    rng = torch.Generator().manual_seed(1)
    views, present = torch.randn(6, 9, 16, generator=rng), torch.ones(6, 9, dtype=torch.bool)
    present[0, :4] = False
    own, y = torch.randn(6, 16, generator=rng), torch.rand(6, 5, generator=rng)
    whole = network.whole_section(own, torch.tensor([[i % 3, i // 3] for i in range(6)]))
    sum(losses(network(network.tokens(own), views, present, whole), y).values()).backward()
    without = [name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert without == []


def test_places_are_of_the_section_at_hand_and_missing_views_say_nothing():
    train = view_cohort(0, {"A1": 30, "A2": 25})
    method, _ = fitted(train)
    section = sealed(train.sections[0])
    prediction = method.predict(section)
    method.predict(replace(sealed(train.sections[1]), array_xy=train.sections[1].array_xy * 3))
    np.testing.assert_array_equal(method.predict(section), prediction)
    moved = replace(section, array_xy=section.array_xy + 7)
    np.testing.assert_allclose(method.predict(moved), prediction, rtol=1e-5, atol=1e-5)
    elsewhere = replace(section, array_xy=section.array_xy[::-1])
    assert np.abs(method.predict(elsewhere) - prediction).max() > 1e-4
    read = method._read(section, torch.device("cpu"))
    spots = read[0][0]
    spots.views[~spots.present] = 1e3
    np.testing.assert_array_equal(method._predict(read), prediction)


def test_order_seed_saving_and_dropout(tmp_path):
    train, validation = view_cohort(0, {"A1": 30, "A2": 25}), view_cohort(1, {"B1": 140})
    method, context = fitted(train, validation)
    assert len(context.history) == 4
    assert {"loss_fused", "loss_target", "loss_neighbour", "loss_whole", "validation_mse"} <= set(context.history[0])
    section = sealed(validation.sections[0])
    check_order(method, section)
    kept_prediction(lambda seed: fitted(train, validation, seed)[0], section, tmp_path)


def test_it_learns():
    train, test = view_cohort(0, {"A1": 120, "A2": 120}), view_cohort(1, {"B1": 60}).sections[0]
    method, context = fitted(train, epochs=60, learning_rate=0.01, components=0)
    error = ((method.predict(sealed(test)) - test.target) ** 2).mean()
    assert error < 0.5 * ((train.target.mean(0) - test.target) ** 2).mean()
    assert all(context.history[-1][f"loss_{name}"] < context.history[0][f"loss_{name}"] for name in Outputs._fields)


def test_a_step_of_spots_reads_their_sections_and_starts_where_asked():
    train = view_cohort(0, {"A1": 30, "A2": 25})
    still = {"learning_rate": 1e-12, "epochs": 1, "neighbour_dropout": 0, "global_dropout": 0, "fusion_dropout": 0}
    _, by_section = fitted(train, **still, batch_size=2)
    _, by_spot = fitted(train, **still, batch_size=64, by_section=False)
    assert by_spot.history[0]["loss"] == pytest.approx(by_section.history[0]["loss"], rel=1e-5)
    _, clamped = fitted(train, **still, batch_size=64, by_section=False, clamp=True, start_at_mean=False)
    assert clamped.history[0]["loss_fused"] > by_spot.history[0]["loss_fused"]


def test_the_paper_profile_tunes_its_backbone(tmp_path):
    train, validation = view_cohort(0, {"A1": 12}, patch=32), view_cohort(1, {"B1": 9}, patch=32)
    settings = {name: value for name, value in TINY.items() if name != "components"}
    spec = registry.spec("triplex", {**settings, "batch_size": 8}, "paper")
    views = (Views(3),)
    assert spec.cls.inputs(spec.parameters) == Inputs(encoders=("",), patches=True, backbone="resnet18", views=views)
    method, context = spec.build(), FitContext(backbone="random", max_epochs=1)
    method.fit(train, validation, context)
    assert len(context.history) == 1
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    with pytest.raises(MethodError, match="Expected weights for the backbone resnet18"):
        spec.build().fit(train, None, FitContext(max_epochs=1))


def test_what_cannot_be_is_told():
    with pytest.raises(MethodError, match="expected global_heads to divide dim=16, found 3; change one"):
        registry.spec("triplex", {**TINY, "global_heads": 3}).build()
    with pytest.raises(ConfigurationError, match=r"a whole number from 3 to 15 \(grid is odd"):
        registry.spec("triplex", {"grid": 4})
    train = view_cohort(0, {"A1": 30})
    pixels = replace(train.sections[0], array_xy=train.sections[0].array_xy * 3000)
    with pytest.raises(MethodError, match=r"Section A1: expected array positions in pitches, found a grid of 24001 x"):
        fitted(replace(train, sections=(pixels,)))


def test_weights_of_another_layout_are_one_sentence(tmp_path):
    train = view_cohort(0, {"A1": 30})
    method, _ = fitted(train, epochs=1)
    state = method.state()
    del state["neighbour.offsets.0"]
    with pytest.raises(MethodError, match=r"Expected weights of this method's network.*neighbour\.offsets\.0"):
        method.restore(state)
