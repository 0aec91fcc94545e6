"""HisToGene: size, equivariance, positions, and both inputs on small cohorts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.histogene.network import HisToGeneNetwork, flatten_patches
from qbench.methods.method import FitContext, Inputs
from qbench.methods.sections import method as method_of_sections

from ..support.method_cohorts import linear_cohort, sealed

TINY = {"dim": 16, "depth": 2, "heads": 2, "head_dim": 8, "mlp": 32, "epochs": 5}


@pytest.mark.parametrize(("genes", "patch", "size"), [(785, 112, 106_648_337), (1000, 224, 222_474_216)])
def test_the_published_size(genes: int, patch: int, size: int):
    p = registry.spec("histogene", {"patch_size": patch}, "paper").parameters
    with torch.device("meta"):
        network = HisToGeneNetwork(
            genes,
            3 * patch * patch,
            dim=p.dim,
            depth=p.depth,
            heads=p.heads,
            head_dim=p.head_dim,
            mlp=p.mlp,
            dropout=p.dropout,
            positions=p.positions,
        )
    assert sum(w.numel() for w in network.parameters()) == size


def small() -> HisToGeneNetwork:
    torch.manual_seed(0)
    return HisToGeneNetwork(5, 12, dim=16, depth=2, heads=2, head_dim=8, mlp=32, dropout=0.1, positions=40).eval()


def test_the_order_of_spots_does_not_matter():
    network, x, where = small(), torch.randn(1, 30, 12), torch.randint(0, 40, (1, 30, 2))
    order = torch.randperm(30)
    torch.testing.assert_close(network(x, where)[:, order], network(x[:, order], where[:, order]), rtol=1e-4, atol=1e-5)


def test_spots_attend_to_one_another_and_positions_matter():
    network, x, where = small(), torch.randn(1, 6, 12), torch.randint(0, 40, (1, 6, 2))
    base = network(x, where)
    other = x.clone()
    other[0, 5] += 3
    assert (network(other, where)[0, 0] - base[0, 0]).abs().max() > 1e-5
    swapped = where.flip(-1)
    assert not torch.allclose(network(x, swapped), base)


def test_sections_of_a_batch_do_not_mix():
    network, x, where = small(), torch.randn(2, 6, 12), torch.randint(0, 40, (2, 6, 2))
    both = network(x, where)
    torch.testing.assert_close(both[1], network(x[1:], where[1:])[0], rtol=1e-4, atol=1e-5)


def test_pixels_kept_on_the_device_train_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    train = linear_cohort(0, {"A1": 20, "A2": 15}, patch=8)
    found = []
    for keeps in (False, True):
        monkeypatch.setattr(
            method_of_sections, "stays_on", lambda device, size, keeps=keeps: keeps and size == 35 * 192
        )
        method = registry.spec("histogene", {**TINY, "inputs": "pixels", "patch_size": 8}).build()
        method.fit(train, None, FitContext(max_epochs=2))
        found.append(method.predict(sealed(train.sections[1])))
    np.testing.assert_array_equal(found[0], found[1])


def test_pixels_are_the_middle_in_the_order_x_y_channel_unscaled():
    patches = torch.arange(2 * 6 * 6 * 3, dtype=torch.uint8).reshape(2, 6, 6, 3)
    flat = flatten_patches(patches, 2)
    assert flat.dtype == torch.float32
    expected = [float(patches[0, y, x, c]) for x in (2, 3) for y in (2, 3) for c in range(3)]
    assert flat[0].tolist() == expected


@pytest.mark.parametrize("settings", [{}, {"inputs": "pixels", "patch_size": 8}])
def test_fit_predict_save(settings, tmp_path):
    train, validation = linear_cohort(0, {"A1": 30, "A2": 25}, patch=12), linear_cohort(1, {"B1": 20}, patch=12)
    spec = registry.spec("histogene", {**TINY, **settings})
    method, context = spec.build(), FitContext(seed=2)
    method.fit(train, validation, context)
    assert len(context.history) == 5
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.shape == (20, 9)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    method.network.train()
    np.testing.assert_array_equal(method.predict(section), prediction, err_msg="dropout is off in predict")


def test_it_starts_near_the_training_mean_where_asked():
    train = linear_cohort(0, {"A1": 30, "A2": 25})
    mean = train.target.mean(0)
    for start in (True, False):
        settings = {**TINY, "epochs": 1, "learning_rate": 1e-9, "start_at_mean": start}
        method = registry.spec("histogene", settings).build()
        method.fit(train, None, FitContext())
        off = float(np.abs(method.predict(sealed(train.sections[0])).mean(0) - mean).max())
        assert (off < 1.5) == start


def test_a_section_beyond_the_position_table_names_the_option():
    train = linear_cohort(0, {"A1": 30})
    method = registry.spec("histogene", {**TINY, "positions": 9}).build()
    with pytest.raises(
        MethodError, match=r"Section A1: expected array positions from 0 to 8, found 1 to 9.*positions=10"
    ):
        method.fit(train, None, FitContext())
    method = registry.spec("histogene", {**TINY, "positions": 10}).build()
    method.fit(train, None, FitContext())


def test_patches_smaller_than_asked_are_refused():
    train = linear_cohort(0, {"A1": 6}, patch=12)
    method = registry.spec("histogene", {**TINY, "inputs": "pixels", "patch_size": 16}).build()
    with pytest.raises(MethodError, match="patch_size=12"):
        method.fit(train, None, FitContext())


def test_profiles_name_what_they_read():
    for profile, expected in (("fast", Inputs(encoders=("",))), ("paper", Inputs(patches=True))):
        spec = registry.spec("histogene", profile=profile)
        assert spec.cls.inputs(spec.parameters) == expected
        assert spec.cls.context == "section"
