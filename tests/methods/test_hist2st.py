"""Hist2ST: size, losses by hand and by scipy, graph, order, gradients through every branch, and both profiles on small cohorts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from qbench.datasets.cohort import Cohort
from qbench.errors import ConfigurationError, MethodError
from qbench.methods import registry
from qbench.methods.hist2st.losses import augmented, distillation_loss, size_factors, zinb_loss
from qbench.methods.hist2st.network import Hist2STNetwork, PatchEmbedding
from qbench.methods.method import FitContext, Inputs, Method
from qbench.methods.sections.graph import neighbour_mean
from qbench.methods.sections.pixels import middle_pixels
from scipy.stats import nbinom
from torch import Tensor

from ..support.fitted_methods import kept_prediction
from ..support.method_cohorts import linear_cohort, sealed

SMALL = {"dim": 16, "depth": 2, "heads": 2, "head_dim": 8, "mlp": 16, "graph_layers": 2, "epochs": 4}
PIXELS = {**SMALL, "inputs": "pixels", "patch_size": 14, "bake": 2}


@pytest.mark.parametrize(("genes", "size"), [(785, 75_789_833), (1000, 76_671_333)])
def test_the_published_size(genes: int, size: int) -> None:
    p = registry.spec("hist2st", profile="paper").parameters
    with torch.device("meta"):
        network = Hist2STNetwork(genes, 3 * 112 * 112, p)
    assert sum(w.numel() for w in network.parameters()) == size


def test_the_likelihood_is_scipys() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (7, 5)).astype(np.float64)
    counts[0], counts[1, 0] = 0, 4000
    mean, r = rng.uniform(1e-5, 50, (7, 5)), rng.uniform(1e-4, 30, (7, 5))
    zero = rng.normal(0, 2, (7, 5))
    pi = 1 / (1 + np.exp(-zero))
    of_binomial = nbinom.logpmf(counts, r, r / (r + mean))
    log_mass = np.where(counts == 0, np.log(pi + (1 - pi) * np.exp(of_binomial)), np.log1p(-pi) + of_binomial)
    found = zinb_loss(*map(torch.from_numpy, (counts, mean, r, zero)))
    assert float(found) == pytest.approx(-log_mass.mean(), rel=1e-10)


def test_the_likelihood_worked_out_by_hand() -> None:
    # r = 1 makes it geometric: P(0) = 1/(1+m), P(2) = m^2/(1+m)^3. With m = 1 and pi = .5: .75 and .0625.
    counts, one, logit = torch.tensor([[0.0, 2.0]]), torch.ones(1, 2), torch.zeros(1, 2)
    due = -(np.log(0.75) + np.log(0.0625)) / 2
    assert float(zinb_loss(counts, one, one, logit)) == pytest.approx(due, rel=1e-6)


def test_the_likelihood_has_finite_gradients_at_its_bounds() -> None:
    counts = torch.tensor([[0.0, 0.0, 5.0, 1e6]])
    values = [
        torch.tensor([[0.0, 1e6, 1e-5, 1e6]]),
        torch.tensor([[1e4, 1e-4, 1e-4, 1e4]]),
        torch.tensor([[-90.0, 90.0, 90.0, -90.0]]),
    ]
    values = [value.requires_grad_() for value in values]
    zinb_loss(counts, *values).backward()
    assert all(torch.isfinite(value.grad).all() for value in values)


def test_the_count_models_bounds_hold_for_any_vector() -> None:
    p = registry.spec("hist2st", SMALL).parameters
    network = Hist2STNetwork(5, 12, p)
    vector = (torch.randn(3, 16) * 1e4).requires_grad_()
    mean, dispersion, zero = network.count_model(vector)
    assert mean.min() >= 1e-5 * 0.999
    assert mean.max() <= 1e6 * 1.001
    assert 1e-4 * 0.999 <= dispersion.min() <= dispersion.max() <= 1e4
    zinb_loss(torch.ones(3, 5), mean, dispersion, zero).backward()
    assert torch.isfinite(vector.grad).all()


def test_size_factors() -> None:
    counts = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [0.0, 0.0]])
    assert size_factors(counts).ravel().tolist() == pytest.approx([2 / 3, 4 / 3, 8 / 3, 0])  # the median is 3
    assert size_factors(torch.zeros(3, 2)).ravel().tolist() == [0, 0, 0]


def test_distillation_worked_out_by_hand() -> None:
    views = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]])  # two views of one spot
    scores = torch.log(torch.tensor([[[1.0]], [[3.0]]]))  # weights 1/4 and 3/4: mixture 2.5, 5
    prediction = torch.tensor([[2.0, 4.0]], requires_grad=True)
    loss = distillation_loss(prediction, views.requires_grad_(), scores.requires_grad_())
    assert float(loss.detach()) == pytest.approx((0.25 + 1) / 2)
    loss.backward()
    torch.testing.assert_close(prediction.grad, torch.tensor([[-0.5, -1.0]]))
    assert views.grad.abs().min() > 0
    assert scores.grad.abs().min() > 0


def test_a_view_is_of_the_whole_section_alike() -> None:
    pixels = torch.randint(0, 256, (2, 3, 14, 14), dtype=torch.uint8)
    twice = pixels[[0, 0]]
    grey = turned = 0
    for seed in range(60):
        torch.manual_seed(seed)
        view = augmented(twice)
        assert (view.shape, view.dtype) == (twice.shape, torch.uint8)
        assert torch.equal(view[0], view[1]), "one draw for all patches"
        turned += not torch.equal(view, twice)
        grey += torch.equal(view[:, 0], view[:, 1])
    assert turned > 50
    assert 1 <= grey <= 15


def test_graph_layers_average_the_neighbours_and_leave_the_spot_out() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    near, share = torch.tensor([[1, 2], [0, 1], [2, 2]]), torch.tensor([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]])
    assert neighbour_mean(x, near, share).tolist() == [[2, 3], [1, 0], [4, 4]]


def test_pixels_are_the_middle_transposed_and_unscaled() -> None:
    patches = torch.arange(2 * 6 * 6 * 3, dtype=torch.uint8).reshape(2, 6, 6, 3)
    found = middle_pixels(patches, 2)
    assert found.dtype == torch.uint8
    assert found[1, 2, 0, 1] == patches[1, 3, 2, 2], "(x=0, y=1) of the middle is row 3, column 2"


def inputs(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    section = linear_cohort(seed, {"A1": n}).sections[0]
    found = section.neighbours(4, 2)
    share = found.present / found.present.sum(1, keepdims=True)
    positions = torch.from_numpy(section.array_xy.astype(np.int64))
    x = torch.from_numpy(section.features()[:])
    return x, positions, torch.from_numpy(found.index), torch.from_numpy(share.astype(np.float32))


def test_the_order_of_spots_does_not_matter() -> None:
    torch.manual_seed(0)
    network = Hist2STNetwork(5, 12, registry.spec("hist2st", SMALL).parameters).eval()
    x, where, near, share = inputs(30)
    order = torch.randperm(30)
    back = torch.argsort(order)
    base = network(x, where, near, share)[0]
    other = network(x[order], where[order], back[near[order]], share[order])[0]
    torch.testing.assert_close(other, base[order], rtol=1e-4, atol=1e-5)
    moved = network(x, where.flip(1), near, share)[0]
    assert not torch.allclose(moved, base), "positions matter"
    alone = network(x, where, torch.arange(30)[:, None], torch.ones(30, 1))[0]
    assert not torch.allclose(alone, base), "neighbours matter"


def test_a_patch_is_embedded_alone_and_in_chunks_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Hist2STNetwork(5, 0, registry.spec("hist2st", PIXELS).parameters)
    pixels = torch.randint(0, 256, (11, 3, 14, 14), dtype=torch.uint8)
    network.embed(pixels)  # moves the batch statistics
    network.eval()
    whole = network.embed(pixels)
    sizes: list[int] = []
    forward = PatchEmbedding.forward
    monkeypatch.setattr("qbench.methods.hist2st.network.CHUNK", 4)
    monkeypatch.setattr(PatchEmbedding, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    torch.testing.assert_close(network.embed(pixels), whole, rtol=1e-5, atol=1e-5)
    assert sizes == [4, 4, 3]
    torch.testing.assert_close(network.embed(pixels[3:4]), whole[3:4], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [SMALL, PIXELS, {**SMALL, "zinb": 0}])
def test_every_parameter_has_a_gradient(settings: dict[str, object]) -> None:
    method = registry.spec("hist2st", {**settings, "epochs": 1, "learning_rate": 1e-12}).build()
    train = linear_cohort(0, {"A1": 30}, patch=14)
    context = FitContext()
    method.fit(train, None, context)
    assert set(context.history[0]) - {"epoch", "loss"} == {
        "mse",
        *(["zinb"] if method.parameters.zinb else []),
        *(["distillation"] if method.parameters.bake else []),
    }
    network, section = method.network.train(), train.sections[0]
    loss, figures = method._loss(method._spots(section), method._places(section), method._truth(section))
    due = figures["mse"] + sum(
        weight * figures[name] for name, weight in (("zinb", 0.25), ("distillation", 0.5)) if name in figures
    )
    torch.testing.assert_close(loss, due)
    loss.backward()
    without = [name for name, w in network.named_parameters() if w.grad is None or not w.grad.abs().max() > 0]
    # A bias before batch norm has no effect on the loss, in the published network too, so its gradient is rounding or 0.
    assert [name for name in without if "wise" not in name] == []


@pytest.mark.parametrize("settings", [SMALL, PIXELS])
def test_fit_predict_save_and_fit_again(settings: dict[str, object], tmp_path) -> None:
    train, validation = linear_cohort(0, {"A1": 30, "A2": 25}, patch=14), linear_cohort(1, {"B1": 20}, patch=14)

    def fit(seed: int) -> Method:
        method, context = registry.spec("hist2st", settings).build(), FitContext(seed=seed)
        method.fit(train, validation, context)
        assert len(context.history) == 4
        return method

    kept_prediction(fit, sealed(validation.sections[0]), tmp_path)


def test_it_learns_what_is_planted_and_all_terms_fall() -> None:
    train = linear_cohort(0, {"A1": 80, "A2": 80}, noise=0.1)
    context = FitContext()
    settings = {**SMALL, "epochs": 150, "learning_rate": 0.01, "dropout": 0.0}
    method = registry.spec("hist2st", settings).build()
    method.fit(train, None, context)
    first, last = context.history[0], context.history[-1]
    assert last["mse"] < 0.5 * first["mse"]
    assert last["zinb"] < first["zinb"]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_sections_of_k_spots_or_fewer_and_lone_spots(n: int) -> None:
    train = linear_cohort(0, {"A1": n, "A2": 12})
    far = train.sections[1].array_xy.copy()
    far[0] = [40, 40]
    train = Cohort((train.sections[0], replace(train.sections[1], array_xy=far)), train.genes)
    method = registry.spec("hist2st", SMALL).build()
    method.fit(train, train, FitContext())
    for section in train.sections:
        assert np.isfinite(method.predict(sealed(section))).all()


def test_the_rate_falls_in_steps() -> None:
    method = registry.spec("hist2st", profile="paper").build()
    assert [method._rate(epoch) for epoch in (1, 50, 51, 100, 101)] == pytest.approx([1, 1, 0.9, 0.9, 0.81])
    seen = []
    method = registry.spec("hist2st", {**SMALL, "decay": 0.5, "decay_every": 2}).build()
    context = FitContext(on_epoch=lambda epoch, figures: False)
    step = torch.optim.Adam.step
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            torch.optim.Adam, "step", lambda self, *a: seen.append(self.param_groups[0]["lr"]) or step(self, *a)
        )
        method.fit(linear_cohort(0, {"A1": 12}), None, context)
    assert seen == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bake": 5}, "expected bake=0 with inputs=features, which cannot be augmented, found 5"),
        ({"inputs": "pixels", "dim": 1000}, "expected dim=1024, which is what patches of 112 px and 32 channels give"),
        ({"inputs": "pixels", "dim": 1024, "mixer_kernel": 4}, "an odd mixer_kernel"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        registry.spec("hist2st", settings)
    assert "\n" not in str(error.value)


def test_a_section_beyond_the_position_table_names_the_option() -> None:
    method = registry.spec("hist2st", {**SMALL, "positions": 9}).build()
    with pytest.raises(MethodError, match=r"Section A1: expected array positions from 0 to 8.*hist2st\[positions=10\]"):
        method.fit(linear_cohort(0, {"A1": 30}), None, FitContext())


def test_the_profiles() -> None:
    fast, paper = (registry.spec("hist2st", profile=name) for name in ("fast", "paper"))
    assert fast.cls.inputs(fast.parameters) == Inputs(encoders=("",))
    assert paper.cls.inputs(paper.parameters) == Inputs(patches=True)
    p = paper.parameters
    assert (p.depth, p.heads, p.mlp, p.dropout, p.graph_layers, p.zinb, p.bake, p.distillation) == (
        8, 16, 1024, 0.2, 4, 0.25, 5, 0.5
    )  # fmt: skip
    assert (p.learning_rate, p.epochs, p.decay, p.decay_every, p.batch_size) == (1e-5, 350, 0.9, 50, 1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_paper_profile_runs_an_epoch_on_a_cpu(precision: str) -> None:
    train = linear_cohort(0, {"A1": 8}, patch=112)
    method = registry.spec("hist2st", profile="paper").build()
    context = FitContext(max_epochs=1, precision=precision)
    method.fit(train, None, context)
    assert set(context.history[0]) == {"epoch", "loss", "mse", "zinb", "distillation"}
    assert np.isfinite(method.predict(sealed(train.sections[0]))).all()
