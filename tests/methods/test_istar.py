"""iStar: counts to the unit, the loss by hand, the median of five."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from qbench.datasets.views import Views
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.istar.network import FLOOR, SLOPE, IStarNetwork, spot_loss, start_at
from qbench.methods.method import FitContext

from ..support.method_cohorts import sealed
from ..support.view_cohorts import view_cohort

TINY = {"width": 16, "components": 8}


def fitted(train, validation=None, seed: int = 0, **settings):
    method, context = registry.spec("istar", {**TINY, "epochs": 4, **settings}).build(), FitContext(seed=seed)
    method.fit(train, validation, context)
    return method, context


def test_the_published_network_has_its_parameters():
    p = registry.spec("istar", profile="paper").parameters
    with torch.device("meta"):
        one = IStarNetwork(1000, 579, width=p.width, depth=p.depth, copies=1)
        all_of_them = IStarNetwork(1000, 579, width=p.width, depth=p.depth, copies=p.copies)
    assert sum(w.numel() for w in one.parameters()) == 602_856
    assert sum(w.numel() for w in all_of_them.parameters()) == 5 * 602_856


def test_it_equals_a_plain_second_implementation_and_the_median_of_five():
    torch.manual_seed(0)
    net = IStarNetwork(3, 7, width=6, depth=4, copies=5).double()
    x = np.random.default_rng(0).normal(size=(4, 2, 7))
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    due = np.empty((5, 4, 2, 3))
    for copy in range(5):
        h = x
        for layer in range(4):
            h = h @ w[f"hidden.{layer}.weight"][copy].T + w[f"hidden.{layer}.bias"][copy]
            h = np.where(h > 0, h, SLOPE * h)
        out = h @ w["out.weight"][copy].T + w["out.bias"][copy]
        due[copy] = np.where(out > 0, out, 0.01 * (np.exp(np.minimum(out, 0)) - 1)) + 0.01
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.from_numpy(x)).numpy(), due, rtol=0, atol=1e-10)
        np.testing.assert_allclose(net.median(torch.from_numpy(x)).numpy(), np.median(due, axis=0), atol=1e-10)
    assert due.min() > 0
    start_at(net, torch.tensor([0.5, 0.005, 0.2]))
    assert np.abs(net(torch.from_numpy(x)).detach().numpy()[..., 0] - 0.5).max() < 0.2
    with torch.no_grad():
        net.out.weight.zero_()
        started = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(started, np.broadcast_to([0.5, 0.005, 0.2], started.shape), atol=1e-8)
    assert FLOOR == 0.01


def test_the_loss_is_of_the_mean_over_the_disk():
    cells = torch.tensor([[[[1.0, 0.0], [3.0, 1.0]]]])  # one copy, one spot, two cells, two genes
    loss = spot_loss(cells, torch.tensor([0.25, 0.75]), torch.tensor([[2.0, 0.25]]))
    # means 2.5 and .75; errors .5 and .5
    assert float(loss) == pytest.approx(0.25)


def test_every_copy_learns_and_none_from_another():
    torch.manual_seed(0)
    net = IStarNetwork(3, 7, width=6, depth=2, copies=3)
    x, weight, target = torch.randn(20, 4, 7), torch.full((4,), 0.25), torch.rand(20, 3)
    spot_loss(net(x), weight, target).backward()
    assert all(w.grad[copy].any() for w in net.parameters() for copy in range(3))
    joint = [w.grad[1].clone() for w in net.parameters()]
    net.zero_grad()
    ((torch.einsum("ncg,c->ng", net(x)[1], weight) - target).square().mean() / 3).backward()
    for mine, alone in zip(joint, net.parameters(), strict=True):
        torch.testing.assert_close(alone.grad[1], mine)
        assert not alone.grad[0].any()


def test_order_seed_saving_and_a_constant_gene(tmp_path):
    train, validation = view_cohort(0, {"A1": 30, "A2": 25}), view_cohort(1, {"B1": 40})
    for section in train.sections:
        section.target[:, 3] = 0.7
    train = replace(train)
    method, context = fitted(train, validation)
    assert len(context.history) == 4
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.shape == (40, 9)
    np.testing.assert_allclose(prediction[:, 3], 0.7, rtol=1e-6, err_msg="a constant gene is its constant")
    rows = np.random.default_rng(0).permutation(40)
    shuffled = replace(section, rows=rows, array_xy=section.array_xy[rows], spots=tuple(section.spots[i] for i in rows))
    np.testing.assert_allclose(method.predict(shuffled), prediction[rows], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(fitted(train, validation)[0].predict(section), prediction)
    assert not np.array_equal(fitted(train, validation, seed=1)[0].predict(section), prediction)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    state = method.state()
    state["out.weight"] = state["out.weight"][:2]
    with pytest.raises(MethodError, match=r"Expected weights of this method's network.*out\.weight"):
        method.restore(state)


def test_spots_are_predicted_alike_however_many_at_once(monkeypatch):
    train = view_cohort(0, {"A1": 30})
    method, _ = fitted(train, epochs=1)
    section = sealed(train.sections[0])
    prediction = method.predict(section)
    monkeypatch.setattr("qbench.methods.istar.method.VALUES", 1)  # a spot at a time
    np.testing.assert_allclose(method.predict(section), prediction, rtol=1e-5, atol=1e-6)


def test_the_range_is_that_of_the_training_spots():
    train = view_cohort(0, {"A1": 30, "A2": 25})
    method, _ = fitted(train, view_cohort(1, {"B1": 40}))
    np.testing.assert_array_equal(method.state()["target.low"], train.target.min(axis=0))
    np.testing.assert_array_equal(method.state()["target.range"], np.ptp(train.target, axis=0))


def test_it_learns_on_a_planted_signal():
    train, test = view_cohort(0, {"A1": 120, "A2": 120}), view_cohort(1, {"B1": 60}).sections[0]
    method, context = fitted(train, epochs=60, width=32)
    assert context.history[0]["loss"] > 2 * context.history[-1]["loss"]
    error = ((method.predict(sealed(test)) - test.target) ** 2).mean()
    assert error < 0.5 * ((train.target.mean(0) - test.target) ** 2).mean()


def test_points_closer_than_spots_are_predicted_from_the_part_around_them():
    train = view_cohort(0, {"A1": 60})
    method, _ = fitted(train, parts=2, disk=1.0)
    inputs = type(method).fine_inputs(method.parameters)
    (view,) = inputs.views
    assert (view.count, view.key) == (1, "@2x2-inside-centre")
    section = sealed(train.sections[0])
    parts = section.views(Views(2, inside=True))[:]

    class Point:
        def features(self, name: str, encoder: str) -> np.ndarray:
            return parts[:, 1:2] if encoder == view.key else section.features()[:]

        patches = None

    fine = method.predict_fine(replace(section, store=Point()))
    cells = method._read(section, torch.device("cpu"))[0]
    due = method._predict((cells[:, 1:2], torch.ones(1)))
    np.testing.assert_allclose(fine, due, rtol=1e-6, atol=1e-6)


def test_a_disk_without_a_cell_is_one_sentence():
    method = registry.spec("istar", {"disk": 0.01}, "paper").build()
    train, context = view_cohort(0, {"A1": 16}, patch=224), FitContext(backbone="random", max_epochs=1)
    with pytest.raises(MethodError, match=r"disk=0\.01 of a patch of 14 x 14 cells"):
        method.fit(train, None, context)


@pytest.mark.slow
def test_as_published_with_hipt_in_its_layout(tmp_path):
    from qbench.methods.encoders.build import build_network

    network = build_network("hipt", "random", seed=5)
    torch.save(network.state_dict(), tmp_path / "hipt.pth")
    train = view_cohort(0, {"A1": 6}, patch=224)
    method = registry.spec("istar", {"surroundings": 3}, "paper").build()
    context = FitContext(backbone=tmp_path / "hipt.pth", max_epochs=1)
    method.fit(train, None, context)
    section = sealed(train.sections[0])
    prediction = method.predict(section)
    assert np.isfinite(prediction).all()
    assert prediction.std(axis=0).min() > 0
    assert method.predict_fine(section).shape == prediction.shape
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
