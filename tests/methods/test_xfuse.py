"""XFuse: the bound by hand and against scipy, metagenes that split and merge, and what a method promises."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.method import FitContext
from qbench.methods.xfuse import method as xfuse_method
from qbench.methods.xfuse.expression import Activity, Effects, Expression, baseline
from qbench.methods.xfuse.metagenes import evolve, forget, gains, merge, split
from qbench.methods.xfuse.model import XFuseNetwork
from qbench.methods.xfuse.network import Decoder, Inference
from scipy.stats import nbinom, norm

from ..support.method_cohorts import sealed
from ..support.view_cohorts import view_cohort

TINY = {"width": 8, "components": 6, "levels": 2, "metagenes": 4, "metagene_epochs": 1, "batch_size": 16}


def fitted(train, validation=None, seed: int = 0, **settings):
    method, context = registry.spec("xfuse", {**TINY, "epochs": 4, **settings}).build(), FitContext(seed=seed)
    method.fit(train, validation, context)
    return method, context


def expression(genes: int = 3, metagenes: int = 3, **conditions: int) -> Expression:
    torch.manual_seed(1)
    found = Expression(torch.randn(genes), torch.randn(genes) / 2, metagenes, conditions)
    with torch.no_grad():
        for effects in (m for m in found.modules() if isinstance(m, Effects)):
            effects.mean.normal_(0, 0.3)
            effects.spread.normal_(-1, 0.3)
            effects.prior.normal_(0, 0.3)
    return found


def network(active: int = 2, channels: int = 4, genes: int = 3) -> XFuseNetwork:
    torch.manual_seed(0)
    found = XFuseNetwork(channels, torch.zeros(3), False, 4, 2, expression(genes, 3, section=2))
    found.expression.active[:active] = True
    return found


DISK = (torch.tensor([5, 6, 9, 10]), torch.full((4,), 0.25))


def softplus(x):
    return np.log1p(np.exp(x))


def divergence(mean, sd, prior=1.0):
    """Of Normal(mean, sd) from Normal(0, prior), elementwise."""
    return np.log(prior / sd) + (sd**2 + mean**2) / (2 * prior**2) - 0.5


def test_the_published_networks_have_their_parameters():
    p = registry.spec("xfuse", profile="paper").parameters
    with torch.device("meta"):
        found = [Inference(3, p.width, p.levels), Decoder(p.width, p.levels)]

    def block(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + 3 * outputs  # bias, and two of BatchNorm

    widths = [16, 32, 64, 128, 256, 512]
    heads = sum(2 * (block(w, w, 1) + w * w + w) for w in widths)
    twice = sum(2 * block(w, w, 3) for w in widths)
    down = sum(block(w, deeper, 5) for w, deeper in pairwise(widths))
    up = sum(block(deeper, w, 5) + block(2 * w, w, 3) for w, deeper in pairwise(widths))
    due = block(3, 16, 3) + twice + down + heads + twice + up
    assert sum(w.numel() for net in found for w in net.parameters()) == due
    assert due == pytest.approx(24.3e6, rel=0.002)


def test_the_counts_are_negative_binomials_added_up_over_the_disk():
    made = expression(section=2)
    made.active[:2] = True
    torch.manual_seed(2)
    activity = Activity(4, 3).eval()
    torch.nn.init.normal_(activity.scale.weight)
    state, weight = torch.randn(2, 4, 5), torch.tensor([0.1, 0.2, 0.3, 0.2, 0.2])
    counts, level = torch.tensor([[0.0, 3.0, 1.0], [7.0, 0.0, 2.0]]), torch.tensor([1, 0])
    w = {name: value.double().numpy() for name, value in activity.state_dict().items()}

    def layer(x, name):
        x = (x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]) / np.sqrt(1 + 1e-5)
        return np.where(x > 0, x, 0.2 * x)

    due = np.zeros((2, 3))
    for spot in range(2):
        for cell in range(5):
            x = state[spot, :, cell].double().numpy()
            scale = softplus(layer(x, "before_scale") @ w["scale.weight"][0] + w["scale.bias"][0])
            share = np.exp(layer(x, "shared") @ w["metagene.weight"].T + w["metagene.bias"])[:2]
            due[spot, :2] += float(weight[cell]) * scale * share / share.sum()
    with torch.no_grad():
        amount = activity(state, weight, made.active)
        np.testing.assert_allclose(amount.numpy(), due, rtol=1e-5)
        given = made.counts(amount, made.metagenes.posterior().loc, {"section": level})
        found = given.log_prob(counts).numpy()
    e = {name: value.double().numpy() for name, value in made.state_dict().items()}
    total = due @ np.exp(2 * e["metagenes.mean"]) * np.exp(5 * e["rate"] + 2 * e["on_rate.section.mean"][[1, 0]]) + 1e-8
    odds = np.exp(5 * e["logit"] + 2 * e["on_logit.section.mean"][[1, 0]])
    np.testing.assert_allclose(found, nbinom.logpmf(counts.numpy(), total, 1 / (1 + odds)), rtol=1e-4)
    np.testing.assert_allclose(given.mean.numpy(), total * odds, rtol=1e-5)


def test_the_loss_is_the_bound_term_by_term():
    net = network().eval()
    image, counts = torch.randn(5, 4, 4, 4), torch.poisson(torch.full((5, 3), 2.0))
    level = torch.tensor([0, 1, 1, 0, 0])
    torch.manual_seed(3)
    with torch.no_grad():
        loss, terms = net.loss(image, counts, {"section": level}, DISK, 50)
    torch.manual_seed(3)
    posteriors = net.inference(image)
    latents = [p.loc + p.scale * torch.randn_like(p.loc) for p in posteriors]
    for i, p in enumerate(posteriors, start=1):
        mean, sd = p.loc.detach().numpy(), p.scale.detach().numpy()
        due = divergence(mean, sd).sum(axis=(1, 2, 3)).mean()
        assert float(terms[f"kl_{i}"]) == pytest.approx(due, rel=1e-4)
        assert posteriors[i - 1].loc.shape == (5, 4 * 2 ** (i - 1), 4 // i, 4 // i)
    state = net.decoder(latents)
    seen = net.image(state)
    due = norm.logpdf(image[:, :3].numpy(), seen.loc.detach().numpy(), seen.scale.detach().numpy())
    assert float(terms["image"]) == pytest.approx(due.sum(axis=(1, 2, 3)).mean(), rel=1e-4)
    e = {name: value.detach().numpy() for name, value in net.expression.state_dict().items()}
    due = 0.0
    for name, rows in (("metagenes", [0, 1]), ("on_rate.section", [0, 1]), ("on_logit.section", [0, 1])):
        mean, sd = 2 * e[f"{name}.mean"][rows], softplus(2 * e[f"{name}.spread"][rows])
        due += divergence(mean, sd, softplus(e[f"{name}.prior"])).sum()
    assert float(terms["kl_effects"]) == pytest.approx(due / 50, rel=1e-4)
    total = terms["kl_1"] + terms["kl_2"] + terms["kl_effects"] - terms["image"] - terms["counts"]
    assert float(loss) == pytest.approx(float(total), rel=1e-5)


def test_the_loss_reaches_every_branch_and_of_one_metagene_no_effect():
    image, counts, level = torch.randn(6, 4, 4, 4), torch.full((6, 3), 2.0), {"section": torch.tensor([0, 1] * 3)}
    net = network()
    torch.nn.init.normal_(net.image.mean.weight)
    torch.nn.init.normal_(net.activity.scale.weight)
    net.loss(image, counts, level, DISK, 50)[0].backward()
    without = {name for name, w in net.named_parameters() if w.grad is None or not w.grad.any()}
    assert without == set()
    assert not net.activity.metagene.weight.grad[2].any(), "a metagene that is not active learns nothing"
    net = network(active=1)
    net.loss(image, counts, level, DISK, 50)[0].backward()
    assert not net.expression.metagenes.mean.grad.any()
    assert net.expression.rate.grad.any()


def test_a_large_step_is_the_same_whether_values_are_kept_or_computed_again(monkeypatch):
    image, counts, level = torch.randn(6, 4, 4, 4), torch.full((6, 3), 2.0), {"section": torch.tensor([0, 1] * 3)}
    kept: list[int] = []

    def step() -> tuple[dict[str, torch.Tensor], int]:
        torch.manual_seed(0)
        net = network()
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            loss, _ = net.loss(image, counts, level, DISK, 50)
        loss.backward()
        gradients = {name: w.grad for name, w in net.named_parameters()}
        return {"loss": loss.detach(), **gradients, **dict(net.named_buffers())}, sum(kept)

    before, much = step()
    monkeypatch.setattr("qbench.methods.xfuse.network.KEPT_CELLS", 5)
    again, little = step()
    assert little < 0.7 * much
    for name, value in before.items():
        torch.testing.assert_close(
            again[name], value, rtol=1e-4, atol=1e-6, msg=lambda found, name=name: f"{name}: {found}"
        )


def test_a_split_and_a_merge_of_twins_change_nothing():
    net = network(active=1).eval()
    image = torch.randn(4, 4, 4, 4)
    before = net.expected(image, DISK)
    split(net.expression, net.activity, 0, 2, apart=0)
    assert net.expression.active.tolist() == [True, False, True]
    torch.testing.assert_close(net.expected(image, DISK), before, rtol=1e-5, atol=1e-6)
    merge(net.expression, net.activity, 0)
    assert net.expression.active.tolist() == [False, False, True]
    torch.testing.assert_close(net.expected(image, DISK), before, rtol=1e-5, atol=1e-6)
    split(net.expression, net.activity, 2, 1)
    assert (net.expected(image, DISK) - before).abs().max() > 1e-3, "halves that are alike would stay so"


def test_what_is_lost_without_a_metagene():
    net = network(active=3, genes=40).eval()
    with torch.no_grad():
        net.activity.metagene.weight[2] = 0
        net.activity.metagene.bias[2] = -40  # no cell has any of it
        effects = net.expression.metagenes.mean
        effects[0], effects[1] = torch.linspace(-1, 1, 40), torch.linspace(1, -1, 40)
        image, level = torch.randn(32, 4, 4, 4), {"section": torch.zeros(32, dtype=torch.int64)}
        state = net.state_of(image).flatten(2)[:, :, DISK[0]]
        amount = net.activity(state, DISK[1], net.expression.active)
        torch.manual_seed(0)
        counts = net.expression.counts(amount, net.expression.metagenes.posterior().loc, level).sample()
    found = gains(net, lambda: [(image, counts, level)], DISK)
    assert (found[:2] > 0).all()
    assert float(found[2]) == 0
    assert evolve(net.expression, net.activity, found) == [2, 2], "its row is freed, then taken by half of another"
    assert net.expression.active.all()


@pytest.mark.parametrize(
    ("gain", "active", "after"),
    [
        ([0.0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]),  # one alone is split whatever it gains
        ([-1.0, -2, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]),  # the best stays and is split
        ([3.0, 2, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]),
        ([3.0, 2, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_the_useful_split_and_the_useless_merge(gain, active, after):
    made, activity = expression(metagenes=4), Activity(4, 4)
    made.active[:] = torch.tensor(active, dtype=torch.bool)
    changed = evolve(made, activity, torch.tensor(gain))
    assert made.active.int().tolist() == after
    assert {i for i in range(4) if after[i] and not active[i]} <= set(changed)


def test_what_the_optimiser_knew_of_a_metagene_is_forgotten():
    net = network(active=3)
    optimiser = torch.optim.Adam(net.parameters(), amsgrad=True)
    level = {"section": torch.tensor([0, 1] * 3)}
    net.loss(torch.randn(6, 4, 4, 4), torch.full((6, 3), 2.0), level, DISK, 50)[0].backward()
    optimiser.step()
    forget(net, optimiser, [1])
    for values in (net.expression.metagenes.mean, net.activity.metagene.weight, net.activity.metagene.bias):
        kept = optimiser.state[values]
        assert set(kept) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
        for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            assert not kept[name][1].any()
            assert kept[name][0].any()
        assert float(kept["step"]) == 1


def test_the_baseline_has_the_moments_of_the_counts():
    counts = np.random.default_rng(0).negative_binomial(2.0, 0.25, (4000, 1)) * np.array([[1, 0, 1]])
    counts[:, 2] = 4
    rate, logit = (values.double().numpy() for values in baseline(counts))
    np.testing.assert_allclose(np.exp(rate + logit), [counts[:, 0].mean(), 0.5 / 4000, 4], rtol=1e-5)
    np.testing.assert_allclose(np.exp(rate + logit) * (1 + np.exp(logit)), [counts[:, 0].var(), 1e-4, 4], rtol=0.3)
    assert np.exp(rate[0]) == pytest.approx(2, rel=0.2)


def test_order_seed_chunks_and_saving(tmp_path, monkeypatch):
    train, validation = view_cohort(0, {"A1": 30, "A2": 25}), view_cohort(1, {"B1": 40})
    method, context = fitted(train, validation)
    assert context.history[0]["metagenes"] == 1
    assert max(epoch["metagenes"] for epoch in context.history) > 1
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.shape == (40, 9)
    rows = np.random.default_rng(0).permutation(40)[:7]
    some = replace(section, rows=rows, array_xy=section.array_xy[rows], spots=tuple(section.spots[i] for i in rows))
    np.testing.assert_allclose(method.predict(some), prediction[rows], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(fitted(train, validation)[0].predict(section), prediction)
    assert not np.array_equal(fitted(train, validation, seed=1)[0].predict(section), prediction)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    monkeypatch.setattr(xfuse_method, "FORWARD_CELLS", 3 * 16)
    np.testing.assert_allclose(method.predict(section), prediction, rtol=1e-5, atol=1e-5)
    state = method.state()
    state["expression.active"] = state["expression.active"][:2]
    with pytest.raises(MethodError, match=r"Expected weights of this method's network.*expression\.active"):
        method.restore(state)


def test_conditions_are_of_training_alone_and_left_out_in_predict():
    train = view_cohort(0, {"A1": 20, "A2": 20, "B1": 20})
    method, _ = fitted(train)
    assert {name: tuple(e.mean.shape) for name, e in method.network.expression.on_rate.items()} == {
        "section": (3, 9),
        "patient": (2, 9),
    }
    before = method.predict(sealed(train.sections[0]))
    with torch.no_grad():
        for effects in (*method.network.expression.on_rate.values(), *method.network.expression.on_logit.values()):
            assert effects.mean.any(), "effects were learned"
            effects.mean += 3
    np.testing.assert_array_equal(method.predict(sealed(train.sections[0])), before)
    assert not fitted(train, covariates="none")[0].network.expression.on_rate


def test_a_proportion_is_a_share_of_all_counts():
    train = view_cohort(0, {"A1": 30, "B1": 30}, noise=0.1)
    sections = []
    for section in train.sections:
        counts = np.rint(np.expm1(section.target)).astype(np.int64)
        library = 3 * counts.sum(axis=1) + 1
        target = np.log1p(1e4 * counts / library[:, None]).astype(np.float32)
        sections.append(replace(section, target=target, library_size=library, target_name="proportion"))
    method, _ = fitted(replace(train, sections=tuple(sections)), epochs=8)
    shares = np.expm1(method.predict(sealed(sections[0]))).sum(axis=1)
    np.testing.assert_allclose(shares.mean(), 1e4 / 3, rtol=0.2)


@pytest.mark.parametrize(("spots", "least", "steps"), [(20, 1, 1), (12, 3, 3), (80, 4, 5)])
def test_an_epoch_of_few_spots_passes_over_them_until_it_has_its_least_steps(spots, least, steps):
    method, context = fitted(view_cohort(0, {"A1": spots}, genes=5), epochs=2, least_steps=least)
    assert int(method.network.inference.enter[1].num_batches_tracked) == 2 * steps
    assert len(context.history) == 2


def test_enough_spots_are_passed_once_whatever_the_least_steps():
    train = view_cohort(0, {"A1": 40}, genes=5)
    once, floored = (
        fitted(train, epochs=1, least_steps=least)[0].predict(sealed(train.sections[0])) for least in (1, 2)
    )
    np.testing.assert_array_equal(floored, once)


@pytest.mark.slow
def test_it_learns_on_a_planted_signal():
    def two_tissues(cohort, seed):
        """Of one tissue where the first feature is high, else of another; each has half of the genes."""
        rng, sections = np.random.default_rng(seed), []
        for section in cohort.sections:
            high = section.features()[:][:, 0] > 0.1
            rate = np.where(high[:, None] == (np.arange(60) < 30), 12, 2)
            sections.append(replace(section, target=np.log1p(rng.poisson(rate)).astype(np.float32)))
        return replace(cohort, sections=tuple(sections))

    train = two_tissues(view_cohort(0, {"A1": 120, "A2": 120}, genes=60), 0)
    test = two_tissues(view_cohort(1, {"B1": 60}, genes=60), 1).sections[0]
    method, context = fitted(train, epochs=32, metagene_epochs=8, components=0, learning_rate=0.01)
    assert context.history[-1]["counts"] > context.history[0]["counts"] + 10
    assert context.history[-1]["kl_2"] > 1, "the latents are in use"
    effects = method.network.expression.metagenes.posterior().loc[method.network.expression.active].detach().numpy()
    tissue = effects[:, :30].mean(axis=1) - effects[:, 30:].mean(axis=1)
    assert tissue.min() < -0.5, "a metagene of one tissue"
    assert tissue.max() > 0.5, "and one of the other"
    prediction = method.predict(sealed(test))
    assert ((prediction - test.target) ** 2).mean() < 0.8 * test.target.var(axis=0).mean()


def test_pixels_and_points_closer_than_spots():
    train = view_cohort(0, {"A1": 20}, patch=32)
    method, _ = fitted(train, features="pixels", cells=8)
    assert type(method).inputs(method.parameters).patches
    np.testing.assert_allclose(
        method.state()["image.mean"], train.patches()[:].mean(axis=(0, 1, 2)) / 127.5 - 1, atol=0.01
    )
    section = sealed(train.sections[0])
    assert method.predict(section).shape == (20, 9)
    fine = method.predict_fine(section)
    whole = method.network.expected(
        method._cells.images(method._cells.read(section)), (torch.tensor([27, 28, 35, 36]), torch.full((4,), 0.25))
    )
    np.testing.assert_allclose(fine, whole.detach().log1p().numpy(), rtol=1e-5)
    assert np.abs(fine - method.predict(section)).max() > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"features": "pixels", "cells": 4, "disk": 0.1},
            r"xfuse: expected a disk .*disk=0\.1 of a patch of 4 x 4 cells",
        ),
        ({"cells": 4, "levels": 4}, r"an image of 8 cells or more along its edge for levels=4.*found cells=4"),
        ({"features": "pixels", "cells": 64}, r"a patch has pixels along its edge, 32, found cells=64; set fewer"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings, said):
    with pytest.raises(MethodError, match=said):
        fitted(view_cohort(0, {"A1": 16}, patch=32), **settings)


def test_one_training_spot_is_too_few():
    with pytest.raises(MethodError, match=r"two training spots or more.*found 1"):
        fitted(view_cohort(0, {"A1": 1}))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_as_published(tmp_path, precision):
    train = view_cohort(0, {"A1": 12}, patch=224)
    method = registry.spec("xfuse", {}, "paper").build()
    method.fit(train, None, FitContext(max_epochs=1, precision=precision))
    section = sealed(train.sections[0])
    prediction = method.predict(section)
    assert np.isfinite(prediction).all()
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
