"""BLEEP: heads, loss and retrieval against plain implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qbench.methods import registry
from qbench.methods.bleep.network import BLEEPNetwork, contrastive_loss, retrieval_recall, retrieve
from qbench.methods.method import FitContext
from qbench.methods.retrieval import mean_rows, nearest

from ..support.method_cohorts import linear_cohort, sealed

SMALL = {"projection": 16, "epochs": 5, "batch_size": 16}


def test_heads_have_the_published_size():
    # (2048 + G) x 256 + 256 twice, 256 x 256 + 256 twice, LayerNorm 512 twice; ResNet-50 without classifier 23,508,032
    heads = BLEEPNetwork(1000, 2048, 256, 0.1)
    assert 23_508_032 + sum(p.numel() for p in heads.parameters()) == 24_421_440
    heads = BLEEPNetwork(3467, 2048, 256, 0.1)
    assert 23_508_032 + sum(p.numel() for p in heads.parameters()) == 25_052_992


def test_loss_equals_a_plain_implementation():
    rng = np.random.default_rng(0)
    image, spot = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))

    def log_softmax(a: np.ndarray) -> np.ndarray:
        return a - np.log(np.exp(a).sum(1, keepdims=True))

    logits = spot @ image.T / 2
    targets = np.exp(log_softmax((image @ image.T + spot @ spot.T) / 4))
    expected = -0.5 * ((targets * log_softmax(logits)).sum(1) + (targets.T * log_softmax(logits.T)).sum(1)).mean()
    found = contrastive_loss(torch.tensor(image), torch.tensor(spot), 2.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_loss_of_orthogonal_pairs_by_hand():
    # two pairs, embeddings 20 e1 and 20 e2: targets and logits are one-hot, so the loss is 0; swapped, it is 400
    e = torch.eye(2) * 20
    assert contrastive_loss(e, e, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert contrastive_loss(e, e.flip(0), 1.0).item() == pytest.approx(400)


def test_gradient_flows_through_the_targets():
    image = torch.randn(4, 3, requires_grad=True)
    spot = torch.randn(4, 3)
    contrastive_loss(image, spot, 1.0).backward()
    through = image.grad.clone()
    fixed = image.detach().clone().requires_grad_()
    targets = torch.softmax((image @ image.T + spot @ spot.T).detach() / 2, dim=-1)
    logits = spot @ fixed.T
    a = -(targets * logits.log_softmax(-1)).sum(1) - (targets.T * logits.T.log_softmax(-1)).sum(1)
    (a / 2).mean().backward()
    assert not torch.allclose(through, fixed.grad)


def test_nearest_is_exact_across_chunks(monkeypatch: pytest.MonkeyPatch):
    import qbench.methods.retrieval as module

    monkeypatch.setattr(module, "QUERIES", 7)
    monkeypatch.setattr(module, "REFERENCES", 11)
    queries, references = torch.randn(20, 6), torch.randn(83, 6)
    values, rows = nearest(queries, references, 15)
    full = torch.nn.functional.cosine_similarity(queries[:, None], references[None], dim=-1)
    expected = full.sort(dim=1, descending=True)
    torch.testing.assert_close(values, expected.values[:, :15])
    torch.testing.assert_close(rows, expected.indices[:, :15])
    assert nearest(queries, references[:4], 15)[1].shape == (20, 4)


def test_nearest_is_exact_by_groups(monkeypatch: pytest.MonkeyPatch):
    import qbench.methods.retrieval as module

    monkeypatch.setattr(module, "REFERENCES", 256)
    monkeypatch.setattr(module, "GROUP", 8)
    torch.manual_seed(0)
    queries = torch.randn(40, 6, dtype=torch.float64)
    drift = torch.linspace(0, 3, 1000)[:, None] * queries.mean(
        dim=0
    )  # whole groups of good neighbours, and of bad ones
    references = torch.randn(1000, 6, dtype=torch.float64) + drift
    values, rows = nearest(queries, references, 15)
    expected = torch.nn.functional.cosine_similarity(queries[:, None], references[None], dim=-1).sort(1, True)
    torch.testing.assert_close(values, expected.values[:, :15])
    torch.testing.assert_close(rows, expected.indices[:, :15])


def test_a_planted_match_is_retrieved():
    torch.manual_seed(0)
    references = torch.randn(500, 16)
    expression = torch.rand(500, 4)
    planted = torch.tensor([3, 77, 499])
    queries = references[planted] * 5 + 0.01 * torch.randn(3, 16)
    torch.testing.assert_close(retrieve(queries, references, expression, "simple", 50), expression[planted])
    assert retrieval_recall(references, references, (1,)) == {"validation_recall_1": 1.0}


def test_average_and_weighted_retrieval_by_hand():
    references = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
    expression = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    query = torch.tensor([[1.0, 0.2]])
    # cosine order: 0 (.98), 1 (.965), 2 (.196); squared distances .04, 1.64, 1.64
    assert retrieve(query, references, expression, "average", 3).item() == pytest.approx(7 / 3)
    w = np.exp([-1.0, -2.6, -2.6])
    assert retrieve(query, references, expression, "weighted", 3).item() == pytest.approx(
        (w * [1, 2, 4]).sum() / w.sum()
    )


def test_mean_rows():
    table = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    rows = torch.tensor([[0, 2], [1, 1]])
    assert mean_rows(table, rows).tolist() == [[2.5, 25.0], [2.0, 20.0]]
    assert mean_rows(table, rows, torch.tensor([[1.0, 0.5], [0.0, 1.0]])).tolist() == [[3.0, 30.0], [2.0, 20.0]]


@pytest.mark.parametrize("kind", ["simple", "average", "weighted"])
def test_fit_predict_save(kind: str, tmp_path):
    train, validation = linear_cohort(0, {"A1": 40, "A2": 30}), linear_cohort(1, {"B1": 30})
    spec = registry.spec("bleep", {**SMALL, "retrieval": kind, "k": 7})
    method, context = spec.build(), FitContext(seed=1)
    method.fit(train, validation, context)
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.dtype == np.float32
    low, high = train.target.min(0), train.target.max(0)
    assert (prediction >= low - 1e-5).all(), "only training expression is retrieved"
    assert (prediction <= high + 1e-5).all()
    if kind == "simple":
        assert all((train.target == row).all(1).any() for row in prediction)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    entry = context.history[-1]
    assert {"loss", "chance", "validation_mse", "validation_recall_10"} <= set(entry)
    # 70 spots in batches of 16, the smaller last one left out
    assert entry["chance"] == pytest.approx(np.log(16), rel=1e-6)


def test_dropout_is_off_in_prediction():
    train = linear_cohort(0, {"A1": 40})
    method = registry.spec("bleep", {**SMALL, "dropout": 0.5, "k": 3}).build()
    method.fit(train, None, FitContext())
    section = sealed(train.sections[0])
    method.network.train()
    np.testing.assert_array_equal(method.predict(section), method.predict(section))
