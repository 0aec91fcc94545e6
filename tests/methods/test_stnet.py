"""ST-Net: size, start, averaging, and both profiles on small cohorts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.encoders.build import build_network
from qbench.methods.images.sources import PatchSource, symmetries
from qbench.methods.method import FitContext, Inputs
from qbench.methods.stnet.method import channel_statistics
from qbench.methods.stnet.network import STNetNetwork, initialise
from torch import nn

from ..support.method_cohorts import linear_cohort, sealed

PIXELS = {"image_encoder": "finetune", "backbone": "resnet18", "augment": True, "average": True, "batch_size": 8}


@pytest.mark.parametrize(("genes", "size"), [(250, 7_210_106), (1000, 7_978_856)])
def test_the_published_size(genes: int, size: int):
    import timm

    network = STNetNetwork(genes, 1024, timm.create_model("densenet121", num_classes=0))
    assert sum(p.numel() for p in network.parameters()) == size


def test_the_first_prediction_is_the_training_mean():
    network = STNetNetwork(3, 5, nn.Linear(7, 5))
    initialise(network, torch.tensor([1.0, 2.0, 3.0]))
    assert network(torch.randn(4, 7)).tolist() == [[1.0, 2.0, 3.0]] * 4


def test_averaging_is_the_mean_over_the_eight_symmetries():
    network = STNetNetwork(2, 12, nn.Flatten()).eval()
    x = torch.randn(3, 3, 2, 2)
    expected = torch.stack([network(s) for s in symmetries(x)]).mean(0)
    torch.testing.assert_close(network.averaged(x), expected)
    torch.testing.assert_close(network.averaged(x), network.averaged(x.flip(2).transpose(2, 3)))


def test_channel_statistics_are_the_pixels_own():
    train = linear_cohort(0, {"A1": 5}, patch=8)
    mean, sd = channel_statistics(train)
    pixels = np.asarray(train.patches()).reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0))
    np.testing.assert_allclose(sd, pixels.std(0))


def test_profiles_name_what_they_read():
    assert registry.spec("stnet").cls.inputs(registry.spec("stnet").parameters) == Inputs(encoders=("",))
    paper = registry.spec("stnet", profile="paper")
    assert paper.cls.inputs(paper.parameters) == Inputs(patches=True, backbone="densenet121")
    assert paper.parameters.learning_rate == pytest.approx(1e-6 * paper.parameters.batch_size)


def test_fast_learns_and_reloads(tmp_path):
    train, validation = linear_cohort(0, {"A1": 60, "A2": 40}), linear_cohort(1, {"B1": 30})
    method, context = registry.spec("stnet").build(), FitContext()
    method.fit(train, validation, context)
    constant = float(((train.target.mean(0) - validation.target) ** 2).mean())
    assert min(entry["validation_mse"] for entry in context.history) < 0.5 * constant
    method.save(tmp_path / "m")
    section = sealed(validation.sections[0])
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), method.predict(section))


def test_pixels_train_and_reload(tmp_path):
    train, validation = linear_cohort(0, {"A1": 20}, patch=32), linear_cohort(1, {"B1": 10}, patch=32)
    method = registry.spec("stnet", PIXELS, "paper").build()
    context = FitContext(backbone="random", max_epochs=1)
    method.fit(train, validation, context)
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    # a lone spot gets the prediction that it has in a batch: running statistics, not the batch's
    alone = method.network.averaged(
        method._image.source(section, torch.device("cpu")).ready(
            torch.from_numpy(section.patches()[:1]), training=False
        )
    )
    np.testing.assert_allclose(alone.detach().numpy(), prediction[:1], rtol=1e-4, atol=1e-5)


def published_step(weight, bias, features, target, rate):
    """One step of plain descent on the published loss, the squared error summed over the batch's spots, over genes."""
    error = features @ weight.T + bias - target
    return weight - rate * 2 / target.shape[1] * error.T @ features, bias - rate * 2 / target.shape[1] * error.sum(0)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 1), (2, 2), (16, 1)])
def test_a_shorter_batch_takes_the_published_smaller_step(batch_size: int, accumulate: int):
    train = linear_cohort(0, {"A1": 6})  # a full step of four spots and a short one of two; or a short one alone
    settings = {"batch_size": batch_size, "accumulate": accumulate, "momentum": 0.0, "learning_rate": 0.05}
    method, context = registry.spec("stnet", settings).build(), FitContext(seed=3, max_epochs=1)
    method.fit(train, None, context)

    x = np.asarray(train.features(), dtype=np.float64)
    z, y = (x - x.mean(0)) / x.std(0), train.target.astype(np.float64)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3)).numpy()
    full = batch_size * accumulate
    weight, bias = np.zeros((9, 12)), y.mean(0)
    for start in range(0, 6, full):
        rows = order[start : start + full]
        weight, bias = published_step(weight, bias, z[rows], y[rows], 0.05 / full)
    np.testing.assert_allclose(method.network.classifier.weight.detach(), weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(method.network.classifier.bias.detach(), bias, rtol=1e-5)
    assert context.history[0]["loss"] > 0


def test_the_paper_profile_steps_by_the_sum_too():
    train = linear_cohort(0, {"A1": 5}, patch=32)
    settings = {**PIXELS, "augment": False, "momentum": 0.0, "learning_rate": 0.5}
    method = registry.spec("stnet", settings, "paper").build()
    method.fit(train, None, FitContext(backbone="random", max_epochs=1))

    # The last layer starts at zero weight, so the first step leaves the backbone as it was drawn.
    mean, sd = channel_statistics(train)
    images = PatchSource(train.patches(), mean, sd, torch.device("cpu")).ready(
        torch.from_numpy(np.asarray(train.patches())), training=False
    )
    backbone = build_network("resnet18", "random", seed=0, image_size=32).train()
    features = backbone(images).detach().numpy()
    weight, _ = published_step(np.zeros((9, 512)), train.target.mean(0), features, train.target, 0.5 / 8)
    np.testing.assert_allclose(method.network.classifier.weight.detach(), weight, rtol=1e-3, atol=1e-5)


def test_a_backbone_without_weights_names_the_option():
    train = linear_cohort(0, {"A1": 8}, patch=32)
    method = registry.spec("stnet", PIXELS, "paper").build()
    with pytest.raises(MethodError, match="--encoder-weights resnet18=FILE"):
        method.fit(train, None, FitContext())
