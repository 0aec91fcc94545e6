"""DeepSpot: counts to the unit, and a plain second implementation in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.deepspot.network import DeepSpotNetwork, lower_median
from qbench.methods.dropout import drawn
from qbench.methods.method import FitContext

from ..support.fitted_methods import check_order, kept_prediction
from ..support.method_cohorts import sealed
from ..support.view_cohorts import view_cohort

TINY = {"width": 16, "copies": 4, "components": 8}


def network(genes: int = 5, inputs: int = 7, copies: int = 4) -> DeepSpotNetwork:
    return DeepSpotNetwork(genes, inputs, width=6, copies=copies, dropout=0.3, output_dropout=0.1)


def fitted(train, validation=None, seed: int = 0, **settings):
    method, context = registry.spec("deepspot", {**TINY, "epochs": 4, **settings}).build(), FitContext(seed=seed)
    method.fit(train, validation, context)
    return method, context


def test_the_published_network_has_its_parameters():
    p = registry.spec("deepspot", profile="paper").parameters
    with torch.device("meta"):
        found = DeepSpotNetwork(
            1000, 1024, width=p.width, copies=p.copies, dropout=p.dropout, output_dropout=p.output_dropout
        )
    total = sum(weights.numel() for weights in found.parameters())
    assert total == 10 * (1024 * 512 + 512) + 10 * (1536 * 1000 + 1000) == 20_618_000


@pytest.mark.parametrize("copies", [4, 5])
def test_it_equals_a_plain_second_implementation(copies: int):
    torch.manual_seed(0)
    net = network(copies=copies).double().eval()
    rng = np.random.default_rng(0)
    spot, parts, near = rng.normal(size=(6, 7)), rng.normal(size=(6, 9, 7)), rng.normal(size=(6, 8, 7))
    present = rng.random((6, 8)) < 0.5
    present[:, 0] = True
    w = {name: value.numpy() for name, value in net.state_dict().items()}

    def phi(x: np.ndarray) -> np.ndarray:
        values = [
            np.maximum(w["phi.layers.weight"][6 * c : 6 * c + 6] @ x + w["phi.layers.bias"][6 * c : 6 * c + 6], 0)
            for c in range(copies)
        ]
        return np.array([sorted(column)[(copies - 1) // 2] for column in np.transpose(values)])

    due = []
    for own, inside, around, there in zip(spot, parts, near, present, strict=True):
        most = np.max([phi(x) for x, known in zip(around, there, strict=True) if known], axis=0)
        joint = np.concatenate([phi(own), np.sum([phi(x) for x in inside], axis=0), most])
        outputs = [w["rho.weight"][c] @ np.maximum(joint, 0) + w["rho.bias"][c] for c in range(copies)]
        due.append(np.mean(outputs, axis=0))
    with torch.no_grad():
        found = net(*map(torch.from_numpy, (spot, parts, near, present))).numpy()
    np.testing.assert_allclose(found, due, rtol=0, atol=1e-8)


@pytest.mark.parametrize("copies", [1, 2, 7, 10])
def test_the_median_is_that_of_torch_and_so_is_its_gradient(copies: int):
    values = torch.randn(5, copies, 6, generator=torch.Generator().manual_seed(copies)).relu()
    assert torch.equal(lower_median(values), values.median(dim=1).values)
    phi = DeepSpotNetwork(5, 7, width=6, copies=copies, dropout=0.0, output_dropout=0.0).phi
    ours = torch.randn(5, 7)
    theirs = ours.detach().clone().requires_grad_()
    phi(ours.requires_grad_()).square().sum().backward()
    phi.layers(theirs).relu().unflatten(-1, (copies, -1)).median(dim=-2).values.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_dropout_of_phi_comes_before_the_median_and_its_factor_after():
    phi = DeepSpotNetwork(5, 7, width=6, copies=4, dropout=0.3, output_dropout=0.0).phi
    x = torch.randn(50, 7)
    torch.manual_seed(3)
    found = phi(x)
    torch.manual_seed(3)
    copies = phi.layers(x).unflatten(-1, (4, -1))
    kept = copies.masked_fill(drawn(copies.shape, 0.3, copies.device), 0.0) / 0.7
    due = kept.relu().median(dim=-2).values
    torch.testing.assert_close(found, due)
    weight = phi.layers.weight
    ours, theirs = (torch.autograd.grad(out.square().sum(), weight)[0] for out in (found, due))
    torch.testing.assert_close(ours, theirs)


def test_training_is_the_same_network_with_dropout_and_all_of_it_learns():
    torch.manual_seed(0)
    net = DeepSpotNetwork(5, 7, width=6, copies=4, dropout=0.0, output_dropout=0.0)
    spot, parts, near = torch.randn(40, 7), torch.randn(40, 9, 7), torch.randn(40, 8, 7)
    there = torch.ones(40, 8, dtype=torch.bool)
    out = net(spot, parts, near, there)
    torch.testing.assert_close(net.eval()(spot, parts, near, there), out, rtol=1e-5, atol=1e-6)
    inputs = [x.requires_grad_() for x in (spot, parts, near)]
    net.train()(*inputs, there).square().mean().backward()
    assert all(weights.grad is not None and weights.grad.any() for weights in [*net.parameters(), *inputs])
    dropped = network()
    assert not torch.equal(dropped(spot, parts, near, there), dropped(spot, parts, near, there))


def test_missing_neighbours_say_nothing_and_a_lone_spot_is_its_own():
    train = view_cohort(0, {"A1": 30, "A2": 25})
    method, _ = fitted(train)
    section = sealed(train.sections[0])
    prediction = method.predict(section)
    own, parts, index, present = method._read(section, torch.device("cpu"))
    other = torch.where(present, index, 29)
    np.testing.assert_array_equal(method._predict((own, parts, other, present)), prediction)
    apart = method.predict(replace(section, array_xy=section.array_xy * 9))
    alone = replace(section, rows=np.array([7]), array_xy=section.array_xy[7:8], spots=section.spots[7:8])
    np.testing.assert_allclose(method.predict(alone), apart[7:8], rtol=1e-5, atol=1e-5)
    assert np.abs(apart - prediction).max() > 1e-4, "neighbours are read"


def test_the_loss_is_of_genes_standardised_over_the_training_spots():
    train = view_cohort(0, {"A1": 30, "A2": 25})
    still = {"epochs": 1, "learning_rate": 1e-12, "dropout": 0.0, "output_dropout": 0.0}
    method, context = fitted(train, **still)
    predicted = np.concatenate([method.predict(sealed(section)) for section in train.sections])
    due = ((predicted - train.target) / train.target.std(axis=0)) ** 2
    assert context.history[0]["loss"] == pytest.approx(due.mean(), rel=1e-4)


def test_order_seed_saving_and_dropout(tmp_path):
    train, validation = view_cohort(0, {"A1": 30, "A2": 25}), view_cohort(1, {"B1": 300})
    method, context = fitted(train, validation)
    assert len(context.history) == 4
    section = sealed(validation.sections[0])
    check_order(method, section)
    kept_prediction(lambda seed: fitted(train, validation, seed)[0], section, tmp_path)


@pytest.mark.parametrize("profile", ["fast", "paper"])
def test_it_learns_on_standardised_targets(profile: str):
    train, test = view_cohort(0, {"A1": 120, "A2": 120}), view_cohort(1, {"B1": 60}).sections[0]
    flat = np.concatenate([train.target, np.full((240, 1), 0.7, dtype=np.float32)], axis=1)
    sections = tuple(
        replace(s, target=flat[start : start + 120]) for s, start in zip(train.sections, (0, 120), strict=True)
    )
    train = replace(train, sections=sections, genes=(*train.genes, "FLAT"))
    epochs = 60 if profile == "fast" else 1
    settings = {"width": 16, "copies": 4, "learning_rate": 0.01}
    method, context = registry.spec("deepspot", settings, profile).build(), FitContext(max_epochs=epochs)
    method.fit(train, None, context)
    prediction = method.predict(sealed(test))
    np.testing.assert_allclose(prediction[:, 9], 0.7, rtol=1e-6, err_msg="a constant gene is its constant")
    if profile == "fast":
        assert context.history[0]["loss"] > 1.5 * context.history[-1]["loss"]
        error = ((prediction[:, :9] - test.target) ** 2).mean()
        assert error < 0.5 * ((train.target.mean(0)[:9] - test.target) ** 2).mean()


def test_weights_of_another_layout_are_one_sentence():
    method, _ = fitted(view_cohort(0, {"A1": 30}), epochs=1)
    state = method.state()
    state["rho.weight"] = state["rho.weight"][:2]
    with pytest.raises(MethodError, match=r"Expected weights of this method's network.*rho\.weight"):
        method.restore(state)
