"""Named encoders are what their cards say: sizes to the unit, on the meta device, and pixels and tokens as they state them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from qbench.errors import DataError
from qbench.methods.encoders import build
from qbench.methods.encoders.build import build_network
from qbench.methods.encoders.card import EncoderCard
from qbench.methods.encoders.embedding import Resize, pool
from qbench.methods.encoders.layouts import LAYOUTS
from qbench.methods.encoders.registry import ENCODERS, card, resolve, say_scale
from torch import Tensor

NAMED = [name for name in ENCODERS.shipped if card(name).certain]
LARGE = 2e8  # parameters from which timm takes a second or more to build a network, even without memory


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if (card(n).n_parameters or 0) > LARGE else ()) for n in NAMED],
)
def test_a_network_has_the_size_and_width_of_its_card(name: str) -> None:
    found = card(name)
    with torch.device("meta"):
        network = build_network(name, "random")
        patches = torch.zeros(2, 3, 224, 224)
    with torch.inference_mode():
        features = network(patches)
    assert sum(p.numel() for p in network.parameters()) == found.n_parameters
    assert len(network.state_dict()) == found.n_tensors
    assert features.shape == (2, found.dim)
    assert network.num_features == found.dim  # what runtimes and methods size their arrays by


def test_every_named_encoder_is_there_and_says_what_is_certain_and_what_is_inferred() -> None:
    due = (
        "uni uni2-h conch conch-v1.5 virchow virchow2 gigapath h-optimus-0 h-optimus-1 h0-mini phikon phikon-v2 hibou-b hibou-l "
        "midnight-12k openmidnight kaiko-vits16 kaiko-vits8 kaiko-vitb16 kaiko-vitb8 kaiko-vitl14 lunit-vits16 lunit-vits8 gpfm "
        "musk plip retccl resnet50-layer3 dinov2-s dinov2-b dinov2-l dinov2-g dinov3-s dinov3-b dinov3-l dinov3-h"
    )
    assert sorted(NAMED) == sorted(due.split())
    for name in NAMED:
        found = card(name)
        assert all((found.inferred, found.licence, found.paper)), name
        assert found.hub or "--encoder-weights" in found.notes, name
        assert set(found.layouts) <= {"timm", "timm_filter", *LAYOUTS}, name
        assert found.fixed_input == (
            found.resize is None and found.input_size == 224 and "resnet" not in str(found.timm_name)
        )


TOKENS = torch.tensor([[[1.0, 2.0], [9.0, 9.0], [3.0, 5.0], [5.0, 7.0]]])  # class, register, two patches


@pytest.mark.parametrize(
    ("how", "due"), [("cls", [1.0, 2.0]), ("mean", [4.0, 6.0]), ("cls_mean", [1.0, 2.0, 4.0, 6.0])]
)
def test_tokens_are_pooled_without_registers(how: str, due: list[float]) -> None:
    assert pool(TOKENS, how, prefix=2).tolist() == [due]


def test_another_way_of_pooling_is_no_way() -> None:
    with pytest.raises(ValueError, match="called max"):
        pool(TOKENS, "max", prefix=2)


@pytest.mark.parametrize("name", ["gigapath", "conch", "conch-v1.5", "musk"])
def test_patches_are_enlarged_as_pillow_does_it(name: str) -> None:
    found = card(name)
    coarse = np.random.default_rng(0).integers(
        20, 236, (56, 56, 3), dtype=np.uint8
    )  # Pillow clips between its two passes
    patch = np.array(Image.fromarray(coarse).resize((224, 224), Image.Resampling.BILINEAR))
    edge, mode = found.resize, Image.Resampling[found.interpolation.upper()]
    assert edge is not None
    theirs = np.asarray(Image.fromarray(patch).resize((edge, edge), mode)).astype(np.float32)
    start = (edge - (found.crop or edge)) // 2
    theirs = theirs[start : edge - start, start : edge - start]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (found.mean, found.std))
    ours = Resize(found)((torch.from_numpy(patch).permute(2, 0, 1)[None] / 255 - mean) / std) * std + mean
    difference = np.abs(255 * ours[0].permute(1, 2, 0).numpy() - theirs)
    assert difference.shape == theirs.shape
    assert (
        difference.max() < 1.126
    )  # Pillow rounds after each of two passes: .5 x 1.25, the most that bicubic weights make of it, and .5
    assert difference.mean() < 0.4


def test_layers_behind_the_last_one_are_cut_and_those_before_it_are_the_networks_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = build_network("resnet50", "random", seed=3)
    monkeypatch.setattr(build, "read_state_dict", lambda _: {**whole.state_dict(), "fc.weight": torch.zeros(2, 2048)})
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = torch.nn.Sequential(*list(whole.children())[:-3])(images).mean(dim=(2, 3))
        got = build_network("resnet50-layer3", Path("weights.pth"))(images)
    assert got.shape == (1, 1024)
    assert torch.equal(got, expected)


def test_a_file_for_another_patch_size_is_not_resampled_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    donor: dict[str, Tensor] = dict(build_network("vit_small_patch8_224", "random").state_dict())
    monkeypatch.setattr(build, "read_state_dict", lambda _: donor)
    with pytest.raises(DataError, match=r"pos_embed is \(1, 785, 384\), expected \(1, 197, 384\)"):
        build_network("lunit-vits16", Path("weights.pth"))


def test_what_has_no_published_file_says_where_it_is() -> None:
    with pytest.raises(Exception, match=r"none are on the hub, see https://github\.com/Xiyue-Wang/RetCCL") as caught:
        resolve("retccl")
    assert "--encoder-weights retccl=FILE" in str(caught.value)


def test_another_scale_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = resolve("uni", {"uni": "random"}, "cpu", "eager")
    with caplog.at_level("WARNING", logger="qbench"):
        say_scale([spec], 0.52)
        say_scale([spec], None)
        assert not caplog.records
        say_scale([spec, spec], 1.234)
        say_scale([replace(spec, device="cuda")], 1.234)
    assert [r.getMessage() for r in caplog.records] == [
        "Encoder uni is meant for 0.5 microns per pixel, and these patches have 1.23: --microns-per-pixel 0.5 makes patches of its scale."
    ]


def test_a_range_of_scales_is_a_range() -> None:
    assert card("virchow2").suits(2.0)
    assert not card("virchow2").suits(3.0)
    assert card("resnet50").suits(9.0)  # nobody recommends one


def test_cards_cost_nothing_until_one_is_used() -> None:
    assert isinstance(card("gigapath"), EncoderCard)
    spec = resolve("gigapath", {"gigapath": "random"}, "cpu", "eager:fp32")
    assert spec.identity()["weights"] == "random"
