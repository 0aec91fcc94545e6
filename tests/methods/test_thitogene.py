"""THItoGene: size, its parts by hand and against plain transcriptions, order, gradients, and both profiles on small cohorts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qbench.errors import ConfigurationError
from qbench.methods import registry
from qbench.methods.method import FitContext, Inputs, Method
from qbench.methods.thitogene.capsules import DynamicConvolution, PatchCapsules, Routing, squash
from qbench.methods.thitogene.network import GraphAttention, THItoGeneNetwork
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from ..support.fitted_methods import kept_prediction
from ..support.method_cohorts import linear_cohort, sealed

SMALL = {
    "primary": 3, "primary_length": 4, "capsules": 5, "capsule_length": 4, "depth": 1, "heads": 2, "head_dim": 8,
    "mlp": 16, "graph_heads": 2, "graph_dim": 8, "graph_out": 12, "hidden": 16, "epochs": 4,
}  # fmt: skip
PIXELS = {**SMALL, "inputs": "pixels", "patch_size": 44}


@pytest.mark.parametrize(("genes", "size"), [(785, 63_586_712), (1000, 63_586_712 + 215 * 1025)])
def test_the_published_size(genes: int, size: int) -> None:
    p = registry.spec("thitogene", profile="paper").parameters
    with torch.device("meta"):
        network = THItoGeneNetwork(genes, 3 * 112 * 112, p)
    assert p.width == 1408
    assert sum(w.numel() for w in network.parameters()) == size


def test_squash_worked_out_by_hand() -> None:
    found = squash(torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True))
    due = 1 - math.exp(-5)
    torch.testing.assert_close(found, torch.tensor([[0.6 * due, 0.8 * due], [0.0, 0.0]]))
    found.sum().backward()
    zero = torch.zeros(1, 2, requires_grad=True)
    squash(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_routing_is_what_its_paper_prints() -> None:
    torch.manual_seed(0)
    routing = Routing(3, 4, 5, 6).double()
    nn.init.normal_(routing.prior)
    lower = torch.randn(2, 3, 4, dtype=torch.float64)
    found = routing(lower)
    for spot in range(2):
        votes = [torch.stack([lower[spot, i] @ routing.weight[j, i] for i in range(3)]) for j in range(5)]
        agreement = torch.stack([(u @ u.T / math.sqrt(4)).sum(dim=0) for u in votes])  # (higher, lower)
        weights = torch.softmax(agreement, dim=0) + routing.prior
        for j in range(5):
            torch.testing.assert_close(found[spot, j], squash(weights[j] @ votes[j]), rtol=0, atol=1e-8)


def test_dynamic_convolution_is_a_convolution_with_each_patchs_own_kernel() -> None:
    torch.manual_seed(0)
    layer = DynamicConvolution(4).double()
    pixels = torch.rand(3, 3, 8, 12, dtype=torch.float64) * 255
    layer(pixels)
    layer.eval()
    found = layer(pixels)
    assert found.shape == (3, 16, 2, 3)
    for i in range(3):
        seen = layer.squeeze(pixels[i : i + 1].mean(dim=(2, 3)))
        share = torch.softmax(layer.of_kernel(seen), dim=1)[0]
        kernel = sum(share[k] * layer.weight[k] for k in range(4)).reshape(16, 3, 4, 4)
        kernel = kernel * torch.sigmoid(layer.of_place(seen)).reshape(4, 4)
        coloured = pixels[i] * torch.sigmoid(layer.of_channel(seen)).reshape(3, 1, 1)
        due = conv2d(coloured[None], kernel, stride=4)[0] * torch.sigmoid(layer.of_filter(seen)).reshape(16, 1, 1)
        torch.testing.assert_close(found[i], due, rtol=0, atol=1e-8)


def test_patches_of_112_pixels_become_sixteen_capsules_of_eight() -> None:
    p = registry.spec("thitogene", profile="paper").parameters
    with torch.device("meta"):
        part = PatchCapsules(p)
        assert part(torch.zeros(2, 3, 112, 112, dtype=torch.uint8)).shape == (2, 16, 8)
    assert part.whole.kernel_size == (9, 9)


def test_graph_attention_against_a_dense_mask() -> None:
    torch.manual_seed(0)
    layer = GraphAttention(6, 4, 3, 0.5).double().eval()
    x, near, share = (
        torch.randn(5, 6).double(),
        torch.tensor([[1, 2], [0, 4], [2, 2], [4, 0], [3, 1]]),
        torch.ones(5, 2),
    )
    share[2] = torch.tensor([1.0, 0.0])  # a lone spot, which is its own neighbour
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask.scatter_(1, near, share > 0)
    mask[2] = torch.arange(5) == 2
    heads = []
    for weight, a, b in zip(layer.weight, layer.of_spot, layer.of_neighbour, strict=True):
        h = x @ weight
        scores = leaky_relu((h @ a)[:, None] + (h @ b)[None], 0.01).masked_fill(~mask, -math.inf)
        heads.append(torch.softmax(scores, dim=1) @ h)
    torch.testing.assert_close(layer(x, near, share), torch.cat(heads, dim=1), rtol=0, atol=1e-8)


def inputs(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    section = linear_cohort(0, {"A1": n}).sections[0]
    found = section.neighbours(4)
    share = torch.from_numpy(found.present.astype(np.float32))
    positions = torch.from_numpy(section.array_xy.astype(np.int64))
    return torch.from_numpy(section.features()[:]), positions, torch.from_numpy(found.index), share


def test_the_order_of_spots_does_not_matter() -> None:
    torch.manual_seed(0)
    network = THItoGeneNetwork(5, 12, registry.spec("thitogene", SMALL).parameters).eval()
    x, where, near, share = inputs(30)
    order = torch.randperm(30)
    base = network(x, where, near, share)
    other = network(x[order], where[order], torch.argsort(order)[near[order]], share[order])
    torch.testing.assert_close(other, base[order], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(x, where.flip(1), near, share), base), "positions matter"
    assert not torch.allclose(network(x, where, near.flip(0), share), base), "neighbours matter"


def test_capsules_of_a_spot_are_its_own_and_made_in_chunks_where_nothing_is_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = THItoGeneNetwork(5, 0, registry.spec("thitogene", PIXELS).parameters)
    pixels = torch.randint(0, 256, (9, 3, 44, 44), dtype=torch.uint8)
    network.capsules(pixels)  # moves the batch statistics
    network.eval()
    whole = network.capsules(pixels)
    monkeypatch.setattr("qbench.methods.thitogene.network.CHUNK", 4)
    torch.testing.assert_close(network.capsules(pixels), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.capsules(pixels[3:4]), whole[3:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [SMALL, PIXELS])
def test_every_parameter_has_a_gradient(settings: dict[str, object]) -> None:
    method = registry.spec("thitogene", {**settings, "epochs": 1, "learning_rate": 1e-12}).build()
    train = linear_cohort(0, {"A1": 30}, patch=44)
    method.fit(train, None, FitContext())
    section, network = train.sections[0], method.network.train()
    loss, _ = method._loss(method._spots(section), method._places(section), method._truth(section))
    loss.backward()
    without = [name for name, w in network.named_parameters() if w.grad is None or not w.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("settings", [SMALL, PIXELS])
def test_fit_predict_save_and_fit_again(settings: dict[str, object], tmp_path) -> None:
    train, validation = linear_cohort(0, {"A1": 30, "A2": 3}, patch=44), linear_cohort(1, {"B1": 20}, patch=44)

    def fit(seed: int) -> Method:
        method, context = registry.spec("thitogene", settings).build(), FitContext(seed=seed)
        method.fit(train, validation, context)
        assert len(context.history) == 4
        return method

    kept_prediction(fit, sealed(validation.sections[0]), tmp_path)


def test_it_learns_what_is_planted() -> None:
    train, context = linear_cohort(0, {"A1": 80, "A2": 80}, noise=0.1), FitContext()
    method = registry.spec("thitogene", {**SMALL, "epochs": 150, "learning_rate": 0.01, "dropout": 0.0}).build()
    method.fit(train, None, context)
    assert context.history[-1]["loss"] < 0.5 * context.history[0]["loss"]


def test_the_loss_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    method = registry.spec("thitogene", SMALL).build()
    monkeypatch.setattr(method, "_predict", lambda spots, places: torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    loss, _ = method._loss(None, None, {"target": torch.tensor([[1.0, 0.0], [0.0, 4.0]])})
    assert float(loss) == (0 + 4 + 9 + 0) / 4


@pytest.mark.parametrize("n", [1, 2, 4])
def test_sections_of_k_spots_or_fewer(n: int) -> None:
    train = linear_cohort(0, {"A1": n, "A2": 12})
    method = registry.spec("thitogene", SMALL).build()
    method.fit(train, train, FitContext())
    for section in train.sections:
        assert np.isfinite(method.predict(sealed(section))).all()


def test_the_profiles_and_a_patch_that_is_too_small() -> None:
    fast, paper = (registry.spec("thitogene", profile=name) for name in ("fast", "paper"))
    assert fast.cls.inputs(fast.parameters) == Inputs(encoders=("",))
    assert paper.cls.inputs(paper.parameters) == Inputs(patches=True)
    p = paper.parameters
    assert (p.depth, p.heads, p.mlp, p.dropout, p.graph_heads, p.graph_dim, p.graph_out, p.hidden) == (
        4, 16, 2048, 0.2, 8, 1024, 512, 1024
    )  # fmt: skip
    assert (p.learning_rate, p.epochs, p.batch_size) == (1e-5, 300, 1)
    with pytest.raises(ConfigurationError, match="expected patch_size of at least 44 with inputs=pixels, found 40"):
        registry.spec("thitogene", {**PIXELS, "patch_size": 40})


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_paper_profile_runs_an_epoch_on_a_cpu(precision: str) -> None:
    train = linear_cohort(0, {"A1": 8}, patch=112)
    method = registry.spec("thitogene", profile="paper").build()
    method.fit(train, None, FitContext(max_epochs=1, precision=precision))
    assert np.isfinite(method.predict(sealed(train.sections[0]))).all()
