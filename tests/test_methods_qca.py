"""QCA: quantiser, losses and network against figures worked out by hand or by a plain second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qbench.errors import ConfigurationError
from qbench.methods import registry
from qbench.methods.method import FitContext
from qbench.methods.qca.fsq import FSQ
from qbench.methods.qca.losses import alignment_loss, l1_term, reconstruction_loss, rounded, similarities
from qbench.methods.qca.network import QCANetwork, initialise
from qbench.methods.qca.parameters import QCAParameters

from .method_cohorts import linear_cohort, sealed


@pytest.mark.parametrize("level", [2, 3, 4, 5, 7, 8])
def test_fsq_reaches_every_level_and_no_other(level: int):
    z = torch.linspace(-30, 30, 20_001)[:, None]
    codes, index = FSQ((level,))(z)
    half = level // 2
    expected = [(i - half) / half for i in range(level)]
    assert sorted(set(codes.flatten().tolist())) == pytest.approx(expected)
    assert sorted(set(index.tolist())) == list(range(level))
    assert (codes.diff(dim=0) >= 0).all(), "codes rise with z"


def test_fsq_by_hand():
    # L = 8: half = 3.5035, shift = atanh(.5 / 3.5035) = .14370; z = .5: tanh(.6437) 3.5035 - .5 = 1.48805 -> 1 -> 1/4
    # L = 5: half = 2.002, no shift; z = .5: .92518 -> 1 -> 1/2.  L = 2: half = .5005, shift = 3.8002; z = -4: -.59891 -> -1
    codes, index = FSQ((8, 5, 2))(torch.tensor([[0.5, 0.5, -4.0]]))
    assert codes[0].tolist() == [0.25, 0.5, -1.0]
    assert index.item() == (1 + 4) + 8 * (1 + 2) + 40 * (-1 + 1)


def test_fsq_zero_is_a_code_and_the_gradient_passes_straight():
    z = torch.zeros(1, 3, requires_grad=True)
    quantiser = FSQ((8, 5, 2))
    codes, _ = quantiser(z)
    assert codes.detach().abs().max() == 0
    codes.sum().backward()
    assert z.grad is not None
    half = torch.tensor([7, 4, 1]) * 1.001 / 2
    shift = torch.atanh(torch.tensor([0.5, 0.0, 0.5]) / half)
    expected = half * (1 - torch.tanh(shift) ** 2) / torch.tensor([4, 2, 1])
    torch.testing.assert_close(z.grad[0], expected)


def test_bottleneck_bounds_without_rounding():
    codes, _ = FSQ((8, 5), rounding=False)(torch.tensor([[0.5, 100.0]]))
    assert codes[0, 0].item() == pytest.approx(1.48805 / 4, abs=1e-4)
    assert codes[0, 1].item() == pytest.approx(2.002 / 2)


def test_fsq_is_exact_under_bf16():
    z = torch.randn(200, 4)
    quantiser = FSQ((8, 8, 5, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes, _ = quantiser(z)
    torch.testing.assert_close(codes, quantiser(z)[0], rtol=0, atol=0)


def softmax(rows: np.ndarray) -> np.ndarray:
    e = np.exp(rows - rows.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> float:
    return float(-(target * np.log(softmax(logits))).sum(1).mean())


OPTIONS = {"temperature": 0.5, "detach_targets": True, "mask_diagonal": False}


def test_asymmetric_alignment_equals_the_algorithm():
    rng = np.random.default_rng(0)
    image, gene = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))

    def s(h: np.ndarray) -> np.ndarray:
        u = h / np.linalg.norm(h, axis=1, keepdims=True)
        return u @ u.T / 0.5

    expected = 0.3 * cross_entropy(s(image), softmax(np.minimum(s(image), s(gene)))) + 0.7 * cross_entropy(
        s(gene), softmax(np.maximum(s(image), s(gene)))
    )
    found, _ = alignment_loss(torch.tensor(image), torch.tensor(gene), kind="asymmetric", alpha=0.3, **OPTIONS)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    identical = 0.3 * cross_entropy(s(image), softmax(s(gene))) + 0.7 * cross_entropy(s(gene), softmax(s(image)))
    found, _ = alignment_loss(torch.tensor(image), torch.tensor(gene), kind="identical", alpha=0.3, **OPTIONS)
    assert found.item() == pytest.approx(identical, rel=1e-5)


def test_alignment_is_at_its_entropy_where_both_sides_agree():
    h = torch.randn(8, 4)
    for kind in ("asymmetric", "identical"):
        loss, entropy = alignment_loss(h, h * 3, kind=kind, alpha=0.1, **OPTIONS)
        assert loss.item() == pytest.approx(entropy.item(), rel=1e-5)


@pytest.mark.parametrize(("alpha", "moves"), [(1.0, "image"), (0.0, "gene")])
def test_alpha_weighs_each_side_and_stopped_targets_keep_the_other_still(alpha: float, moves: str):
    torch.manual_seed(0)
    sides = {"image": torch.randn(6, 4, requires_grad=True), "gene": torch.randn(6, 4, requires_grad=True)}
    loss, _ = alignment_loss(sides["image"], sides["gene"], kind="asymmetric", alpha=alpha, **OPTIONS)
    loss.backward()
    for name, side in sides.items():
        assert side.grad is not None
        assert bool(side.grad.abs().max() > 0) == (name == moves)


def test_masked_diagonal_leaves_a_spot_itself_out():
    h, g = torch.randn(3, 4), torch.randn(3, 4)
    loss, _ = alignment_loss(h, g, kind="asymmetric", alpha=1.0, **{**OPTIONS, "mask_diagonal": True})
    a, b = similarities(h, 0.5).numpy(), similarities(g, 0.5).numpy()
    off = ~np.eye(3, dtype=bool)
    rows, low = a[off].reshape(3, 2), np.minimum(a, b)[off].reshape(3, 2)
    assert loss.item() == pytest.approx(cross_entropy(rows, softmax(low)), rel=1e-5)
    assert torch.isfinite(loss)


def test_reconstruction_and_l1_by_hand():
    encoded = [torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0]])]
    decoded = [torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0]])]
    assert reconstruction_loss(encoded, decoded, (0, 1), False).item() == (1 + 4) / 2 + 9
    assert reconstruction_loss(encoded, decoded, (0,), False).item() == 2.5
    weight = torch.tensor([[1.0, -2.0], [3.0, -4.0], [0.0, 1.0]])  # three hidden units, two genes
    assert l1_term(weight, "sum").item() == 11
    assert l1_term(weight, "gene_mean").item() == (4 + 7) / 2
    assert l1_term(weight, "mean").item() == pytest.approx(11 / 6)


def test_stopped_encoder_targets_get_no_gradient():
    for stopped in (True, False):
        encoded, decoded = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
        reconstruction_loss([encoded], [decoded], (0,), stopped).backward()
        assert (encoded.grad is None) == stopped
        assert decoded.grad is not None


def test_rounding_in_count_space():
    x = torch.tensor([-2.0, math.log1p(0.4), math.log1p(0.6), math.log1p(7.2)], requires_grad=True)
    y = rounded(x)
    assert y.detach().tolist() == pytest.approx([0.0, 0.0, math.log1p(1), math.log1p(7)])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 1]


def test_network_starts_at_the_training_mean_up_to_its_small_first_weights_and_has_the_paper_size():
    p = registry.spec("qca", profile="paper").parameters
    network = QCANetwork(1000, 768, p)
    encoder = sum(w.numel() for w in network.gene_encoder.parameters())
    norm = 2 * 1024 if p.layer_norm else 0
    assert encoder == 2_861_824 + norm, "1000-1024-1024-768 with biases"
    mean = torch.arange(1000.0)
    initialise(network, mean)
    torch.testing.assert_close(network.output_bias.detach(), mean)
    total = 27_520_038 + sum(w.numel() for w in network.parameters())
    assert 4e-6 * total == pytest.approx(133, abs=1), "size in MB of Table 1, with CTransPath"


def test_level_zero_of_the_decoder_is_the_prediction():
    p = QCAParameters(hidden=(16, 8), latent=4)
    network = QCANetwork(10, 6, p).eval()
    levels = network.decode(torch.randn(3, 4))
    assert [level.shape[1] for level in levels] == [10, 16, 8, 4]
    assert [level.shape[1] for level in network.encode(torch.randn(3, 10))] == [10, 16, 8, 4]
    x = torch.randn(3, 6)
    quantised, index = network.quantiser(network.image_features(x))
    torch.testing.assert_close(network(x), network.decode(quantised)[0])
    assert index is not None


@pytest.mark.parametrize("kind", ["fsq", "none", "bottleneck"])
def test_quantisers_differ_as_named(kind: str):
    p = QCAParameters(quantizer=kind, hidden=(8,), latent=4, recon_levels=(0,))
    network = QCANetwork(5, 6, p)
    x = torch.randn(300, 4)
    out, index = network.quantiser(x)
    if kind == "none":
        assert index is None
        torch.testing.assert_close(out, x)
    else:
        values = len(torch.unique(out.detach().round(decimals=4), dim=0))
        assert index is not None
        assert (values == len(torch.unique(index))) == (kind == "fsq")


SMALL = {"hidden": (16,), "latent": 8, "recon_levels": (0, 1, 2), "epochs": 6, "batch_size": 16, "fsq_levels": (5, 4)}


def test_fit_predict_save_and_log(tmp_path):
    train, validation = linear_cohort(0, {"A1": 40, "A2": 30}), linear_cohort(1, {"B1": 30})
    spec = registry.spec("qca", SMALL)
    method, context = spec.build(), FitContext(seed=3)
    method.fit(train, validation, context)
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.shape == (30, len(train.genes))
    assert prediction.dtype == np.float32
    method.save(tmp_path / "m")
    again = registry.load_method(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(section), prediction)
    twin, other = spec.build(), FitContext(seed=3)
    twin.fit(train, validation, other)
    np.testing.assert_array_equal(twin.predict(section), prediction)
    assert other.history == context.history
    entry = context.history[-1]
    assert {"codes_used", "code_perplexity", "alignment", "alignment_entropy", "alignment_chance"} <= set(entry)
    assert {"variance_1", "variance_2", "validation_mse", "validation_pcc"} <= set(entry)
    assert 1 <= entry["code_perplexity"] <= entry["codes_used"] <= 20
    arrays = method.diagnostics()
    assert arrays["gene_weight_l1"].shape == (len(train.genes),)
    assert arrays["code_counts"].sum() == len(train)
    assert arrays["sample_bounded"].shape == arrays["sample_rounded"].shape == (70, 2)
    width = np.array([5 // 2, 4 // 2])
    np.testing.assert_allclose(np.round(arrays["sample_bounded"] * width) / width, arrays["sample_rounded"], atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"alignment": "none"},
        {"alignment": "identical", "mask_diagonal": True},
        {"quantizer": "none"},
        {"quantizer": "bottleneck", "round_in_loss": True},
        {"image_encoder": "frozen", "quantizer": "none", "autoencode": 1.0},
        {"stop_grad_encoder_targets": True, "l1_reduction": "sum", "layer_norm": False, "feature_noise": 0.5},
    ],
)
def test_every_reading_trains(settings):
    train = linear_cohort(0, {"A1": 40})
    method = registry.spec("qca", {**SMALL, "epochs": 2, **settings}).build()
    method.fit(train, None, FitContext())
    assert np.isfinite(method.predict(sealed(train.sections[0]))).all()


def test_quantised_predictions_stay_bounded_far_from_the_training_data():
    """A decoder behind FSQ sees a bounded set of inputs, whatever the image; without a quantiser it does not."""
    train = linear_cohort(0, {"A1": 60})
    largest = {}
    for kind in ("fsq", "none"):
        method = registry.spec("qca", {**SMALL, "quantizer": kind}).build()
        method.fit(train, None, FitContext())
        far = torch.randn(50, len(train.features()[:1][0])) * 1e4
        largest[kind] = float(method.network(far).detach().abs().max())
    assert largest["fsq"] < 50 < largest["none"]


def test_a_collapsed_level_is_warned_of():
    train = linear_cohort(0, {"A1": 40})
    context = FitContext()
    settings = {**SMALL, "epochs": 60, "learning_rate": 0.02, "beta": 50.0, "alignment": "none"}
    registry.spec("qca", settings).build().fit(train, None, context)
    assert any("collapsed" in warning for warning in context.warnings)


def test_levels_beyond_the_depth_are_refused():
    with pytest.raises(ConfigurationError, match="recon_levels from 0 to 3"):
        registry.parse("qca[recon_levels=0-4]")
    with pytest.raises(ConfigurationError, match="fsq_levels"):
        registry.parse("qca[fsq_levels=8-1]")
    assert registry.parse("qca[fsq_levels=8-5-5-5]").parameters.fsq_levels == (8, 5, 5, 5)
    assert registry.parse("qca[fsq_levels=[8,5,5,5]]").label == "qca[fsq_levels=8-5-5-5]"
