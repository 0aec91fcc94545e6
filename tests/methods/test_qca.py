"""QCA: quantiser, losses and network against figures worked out by hand or by a plain second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from qbench.errors import ConfigurationError
from qbench.methods import registry
from qbench.methods.images.sources import FeatureSource
from qbench.methods.method import FitContext
from qbench.methods.qca.fitting import QCATraining, settle, warn
from qbench.methods.qca.fsq import FSQ
from qbench.methods.qca.losses import alignment_loss, l1_term, reconstruction_loss, rounded, similarities
from qbench.methods.qca.network import QCANetwork, initialise
from qbench.methods.qca.parameters import QCAParameters
from qbench.methods.scaling import Scaling

from ..support.method_cohorts import linear_cohort, sealed


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


def settings(**values: object) -> QCAParameters:
    return QCAParameters(**{"temperature": 0.5, **values})


def aligned(image: object, gene: object, **values: object):
    p = settings(**values)
    return alignment_loss(torch.as_tensor(image), torch.as_tensor(gene), p, p.temperature)


def cosines(h: np.ndarray, temperature: float = 0.5) -> np.ndarray:
    u = h / np.linalg.norm(h, axis=1, keepdims=True)
    return u @ u.T / temperature


def test_alignment_is_the_papers_lines_9_to_11_and_its_weights_are_those_of_equation_1():
    rng = np.random.default_rng(0)
    image, gene = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    s_img, s_gene = cosines(image), cosines(gene)  # line 9
    s_min, s_max = softmax(np.minimum(s_img, s_gene)), softmax(np.maximum(s_img, s_gene))  # line 10
    found = {}
    for alpha in (0.1, 0.9):
        line_11 = (1 - alpha) * cross_entropy(s_img, s_min) + alpha * cross_entropy(s_gene, s_max)
        found[alpha] = aligned(image, gene, alpha=alpha).loss.item()
        assert found[alpha] == pytest.approx(line_11, rel=1e-6)
        eq_1 = (1 - alpha) * cross_entropy(s_img, s_min) + alpha * cross_entropy(s_img, s_max)
        assert aligned(image, gene, alpha=alpha, second_logits="image").loss.item() == pytest.approx(eq_1, rel=1e-6)
        swapped = (1 - alpha) * cross_entropy(s_img, softmax(s_gene)) + alpha * cross_entropy(s_gene, softmax(s_img))
        assert aligned(image, gene, alpha=alpha, alignment="identical").loss.item() == pytest.approx(swapped, rel=1e-6)
    assert abs(found[0.1] - found[0.9]) > 0.02, "the two weights can be told apart on these features"


def test_bare_targets_are_the_matrices_themselves():
    rng = np.random.default_rng(1)
    image, gene = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    s_img, s_gene = cosines(image), cosines(gene)
    expected = 0.9 * cross_entropy(s_img, np.minimum(s_img, s_gene)) + 0.1 * cross_entropy(
        s_gene, np.maximum(s_img, s_gene)
    )
    assert aligned(image, gene, alignment_targets="raw").loss.item() == pytest.approx(expected, rel=1e-6)
    assert torch.isfinite(aligned(image, gene, alignment_targets="raw", mask_diagonal=True).loss)


def test_similarities_by_hand():
    h = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(similarities(h, 2.0, "dot"), h @ h.T / 2)
    assert similarities(h, 1.0, "cosine")[0].tolist() == pytest.approx([1.0, 0.6, 0.8])
    c = h - h.mean(dim=0)
    expected = float(c[0] @ c[1] / (c[0].norm() * c[1].norm()))
    assert similarities(h, 0.5, "centred")[0, 1].item() == pytest.approx(expected / 0.5)
    off = similarities(torch.randn(9, 4), 1.0, "standardised")[~torch.eye(9, dtype=torch.bool)]
    assert off.mean().item() == pytest.approx(0, abs=1e-5)
    assert off.std().item() == pytest.approx(1, abs=1e-5)


def test_uncentred_gene_features_leave_cosines_without_gradient_and_centred_ones_do_not():
    """Gene features that all point one way have similarities near 1: min and max then choose each side's own."""
    torch.manual_seed(0)
    gene = torch.randn(20, 8) * 0.1 + 5
    for kind, active in (("cosine", 0.0), ("centred", 0.4)):
        image = torch.randn(20, 8, requires_grad=True)
        found = aligned(image, gene, similarity=kind)
        found.loss.backward()
        assert image.grad is not None
        assert (image.grad.norm().item() > 1e-4) == (active > 0)
        assert (found.active.item() > active) == (active > 0)


def test_alignment_is_at_its_entropy_where_both_sides_agree():
    h = torch.randn(8, 4)
    for kind in ("asymmetric", "identical"):
        found = aligned(h, h * 3, alignment=kind)
        assert found.loss.item() == pytest.approx(found.entropy.item(), rel=1e-5)


@pytest.mark.parametrize(("alpha", "moves"), [(0.0, "image"), (1.0, "gene")])
def test_alpha_weighs_each_side_and_stopped_targets_keep_the_other_still(alpha: float, moves: str):
    torch.manual_seed(0)
    sides = {"image": torch.randn(6, 4, requires_grad=True), "gene": torch.randn(6, 4, requires_grad=True)}
    aligned(sides["image"], sides["gene"], alpha=alpha).loss.backward()
    for name, side in sides.items():
        assert side.grad is not None
        assert bool(side.grad.abs().max() > 0) == (name == moves)


def test_masked_diagonal_leaves_a_spot_itself_out():
    h, g = torch.randn(3, 4), torch.randn(3, 4)
    found = aligned(h, g, alpha=0.0, mask_diagonal=True)
    a, b = similarities(h, 0.5).numpy(), similarities(g, 0.5).numpy()
    off = ~np.eye(3, dtype=bool)
    rows, low = a[off].reshape(3, 2), np.minimum(a, b)[off].reshape(3, 2)
    assert found.loss.item() == pytest.approx(cross_entropy(rows, softmax(low)), rel=1e-5)
    assert torch.isfinite(found.loss)


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
    quantised = network.quantiser(network.image_features(x))
    torch.testing.assert_close(network(x), network.decode(quantised.features)[0])
    assert quantised.index is not None


@pytest.mark.parametrize("place", ["projection", "features"])
@pytest.mark.parametrize("kind", ["fsq", "vq", "none", "bottleneck"])
def test_quantisers_differ_as_named(kind: str, place: str):
    torch.manual_seed(0)
    levels = (3, 2)
    p = QCAParameters(
        quantizer=kind, quantize=place, fsq_levels=levels, codebook=8, hidden=(8,), latent=4, recon_levels=(0,)
    )
    quantiser = QCANetwork(5, 6, p).quantiser
    x = torch.randn(300, 4)
    out = quantiser(x)
    dimensions = 4 if place == "features" else 2
    if kind == "none":
        assert out.index is None
        torch.testing.assert_close(out.features, quantiser.norm(x))
        return
    assert out.index is not None
    assert out.z.shape == (300, dimensions)
    values = len(torch.unique(out.features.detach().round(decimals=4), dim=0))
    assert (values == len(torch.unique(out.index))) == (kind != "bottleneck")
    assert values <= {"fsq": 6 if place == "projection" else 36, "vq": 8, "bottleneck": 300}[kind]


def test_a_learned_codebook_takes_the_nearest_code_and_learns_by_gradient():
    torch.manual_seed(0)
    p = QCAParameters(
        quantizer="vq", quantize="features", codebook=4, hidden=(8,), latent=3, code_norm=False, recon_levels=(0,)
    )
    quantiser = QCANetwork(5, 6, p).quantiser
    x = torch.randn(64, 3)
    quantiser(x)  # k-means on the first batch
    assert quantiser.vq is not None
    codes = next(w for name, w in quantiser.vq.named_parameters() if "embed" in name)
    quantiser.eval()
    out = quantiser(x)
    z = quantiser.code_space(x)
    nearest = torch.cdist(z, codes.reshape(4, 3)).argmin(dim=1)  # eq. (2)
    assert torch.equal(out.index, nearest)
    torch.testing.assert_close(out.features, codes.reshape(4, 3)[nearest])
    assert codes.requires_grad
    quantiser.train()
    again = quantiser(x)
    again.commitment.backward()
    assert codes.grad is not None
    assert codes.grad.abs().sum() > 0


def test_norms_keep_the_bound_of_fsq_from_saturating():
    torch.manual_seed(0)
    x = torch.randn(200, 32) * 30 + 10  # features as they are after some epochs: wide and off centre
    share = {}
    for normed in (True, False):
        p = QCAParameters(feature_norm=normed, code_norm=normed, hidden=(8,), latent=32, recon_levels=(0,))
        quantiser = QCANetwork(5, 32, p).quantiser
        assert quantiser.fsq is not None
        share[normed] = float((quantiser.fsq.bounded(quantiser(x).z).abs() > 0.95).float().mean())
    assert share[True] < 0.1 < 0.5 < share[False]


SMALL = {"hidden": (16,), "latent": 8, "recon_levels": (0, 1, 2), "epochs": 6, "batch_size": 16, "fsq_levels": (5, 4)}


def test_code_norm_is_settled_on_all_training_spots():
    torch.manual_seed(0)
    features = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    source = FeatureSource(features, Scaling.fit(features), torch.device("cpu"))
    network = QCANetwork(9, 12, QCAParameters(hidden=(8, 8), latent=16)).eval()
    settle(network, source)
    with torch.no_grad():
        z = network.quantiser.code_space(network.image_features(source.ready(torch.arange(300), training=False)))
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(dim=0), torch.ones(6), atol=1e-2, rtol=0)


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
    assert {"saturation", "alignment_active_pairs", "alignment_gradient", "reconstruction_gradient"} <= set(entry)
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
        {"similarity": "standardised", "temperature": 1.0, "learn_temperature": True},
        {"similarity": "dot", "alignment_targets": "raw", "second_logits": "image"},
        {"quantizer": "vq", "codebook": 8},
        {"quantizer": "vq", "codebook": 8, "quantize": "features", "feature_norm": False},
        {"quantize": "features", "code_norm": False},
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
        method = registry.spec("qca", {**SMALL, "quantizer": kind, "feature_norm": False}).build()
        method.fit(train, None, FitContext())
        far = torch.randn(50, len(train.features()[:1][0])) * 1e4
        largest[kind] = float(method.network(far).detach().abs().max())
    assert largest["fsq"] < 50 < largest["none"]


def test_a_collapsed_level_is_warned_of():
    train = linear_cohort(0, {"A1": 40})
    context = FitContext()
    settings = {**SMALL, "epochs": 60, "learning_rate": 0.02, "beta": 50.0, "alignment": "none"}
    registry.spec("qca", settings).build().fit(train, None, context)
    assert any("gene encoder collapsed" in warning for warning in context.warnings)


def history(alignment: float, codes: float) -> list[dict[str, float]]:
    entry = {"alignment_gradient": alignment, "reconstruction_gradient": 1.0, "codes_used": codes}
    return [{"epoch": float(i), **entry} for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("alignment", "codes", "said"), [(0.009, 60, "without effect"), (0.011, 4, "codes collapsed"), (0.011, 60, "")]
)
def test_what_the_record_says_of_a_fit(alignment: float, codes: float, said: str):
    context = FitContext(history=history(alignment, codes), selected_epoch=2)
    warn(context, QCANetwork(5, 6, QCAParameters(hidden=(8,), latent=4, recon_levels=(0,))), spots=100)
    assert [said in w for w in context.warnings] == ([True] if said else [])


def test_an_alignment_without_a_trained_image_side_has_no_effect():
    train = linear_cohort(0, {"A1": 40})
    context = FitContext()
    registry.spec("qca", {**SMALL, "image_encoder": "frozen", "epochs": 2}).build().fit(train, None, context)
    assert any("alignment without effect" in warning for warning in context.warnings)


def test_the_logged_gradients_are_those_of_the_terms():
    """Hooks on two views of the image features give what each term alone would give there."""
    torch.manual_seed(0)
    train = linear_cohort(0, {"A1": 30})
    p = QCAParameters(**{**SMALL, "similarity": "centred"})
    network = QCANetwork(len(train.genes), train.features().shape[1], p)
    scaling = Scaling.fit(train.features())
    source = FeatureSource(train.features(), scaling, torch.device("cpu"))
    step = QCATraining(network, source, torch.from_numpy(train.target), p)
    rows = torch.arange(30)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    step.loss((rows, source.prepare(rows)))[0].backward()
    logged = step.monitor()
    network.load_state_dict(state)
    image = network.image_features(source.ready(rows, training=True)).detach().requires_grad_()
    encoded = network.encode(torch.from_numpy(train.target))
    term = alignment_loss(image, encoded[-1], p, p.temperature).loss
    (alone,) = torch.autograd.grad(term, image)
    assert logged["alignment_gradient"] == pytest.approx(float(alone.norm()), rel=1e-4)
    decoded = network.decode(network.quantiser(image).features)
    (alone,) = torch.autograd.grad(reconstruction_loss(encoded, decoded, p.recon_levels, False), image)
    assert logged["reconstruction_gradient"] == pytest.approx(float(alone.norm()), rel=1e-4)


def test_levels_beyond_the_depth_are_refused():
    with pytest.raises(ConfigurationError, match="recon_levels from 0 to 3"):
        registry.parse("qca[recon_levels=0-4]")
    with pytest.raises(ConfigurationError, match="fsq_levels"):
        registry.parse("qca[fsq_levels=8-1]")
    assert registry.parse("qca[fsq_levels=8-5-5-5]").parameters.fsq_levels == (8, 5, 5, 5)
    assert registry.parse("qca[fsq_levels=[8,5,5,5]]").label == "qca[fsq_levels=8-5-5-5]"
