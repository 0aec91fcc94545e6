"""Public state dicts through `convert`: the same weights and input give the same output."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import anndata
import numpy as np
import pytest
import qbench
import timm
import torch
import torchvision
from click.testing import Result
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.benchmark.predict.converted import convert_model
from qbench.benchmark.predict.model import read_fit
from qbench.datasets.cohort import SealedSection
from qbench.datasets.readers.placement import pitch
from qbench.errors import ConfigurationError, DataError, MethodError
from qbench.methods.bleep.network import contrastive_loss
from qbench.methods.convert import convert, read_genes
from qbench.methods.registry import load_method
from torch import Tensor, nn
from typer.testing import CliRunner

from ..support.method_cohorts import linear_cohort, sealed
from ..support.plain_hist2st import PlainHist2ST, adjacency


def genes_file(folder: Path, n: int) -> Path:
    path = folder / "genes.txt"
    path.write_text("\n".join(f"G{i}" for i in range(n)), encoding="utf-8")
    return path


def agree(ours: nn.Module, plain: nn.Module, *inputs: tuple[Tensor, ...]) -> None:
    """Within 1e-8 in float64, relative 1e-4 in float32; inputs of ours and of the plain network."""
    for kind, tolerance in ((torch.float64, {"rtol": 0, "atol": 1e-8}), (torch.float32, {"rtol": 1e-4, "atol": 1e-5})):
        first, second = ([x.to(kind) if x.is_floating_point() else x for x in side] for side in (inputs[0], inputs[-1]))
        with torch.no_grad():
            torch.testing.assert_close(ours.to(kind)(*first), plain.to(kind)(*second), **tolerance)


def test_stnet_equals_torchvision(tmp_path: Path):
    torch.manual_seed(0)
    plain = torchvision.models.densenet121(weights=None)
    plain.classifier = nn.Linear(1024, 250)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    plain.eval()
    state = {f"module.{k}": v for k, v in plain.state_dict().items()}  # as DataParallel saves it
    torch.save({"epoch": 3, "model": state, "optim": {"lr": 1e-6}}, tmp_path / "stnet.pt")
    convert_model("stnet", tmp_path / "stnet.pt", genes_file(tmp_path, 250), tmp_path / "m")
    method = load_method(tmp_path / "m")
    assert method.n_parameters() == 7_210_106
    assert len(method.genes) == 250
    agree(method.network, plain, (torch.randn(2, 3, 64, 64),))


class PublicHisToGene(nn.Module):
    """A plain transformer with the tensor names of the public SpatialTransformer."""

    def __init__(self, genes: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.patch_embedding = nn.Linear(3 * patch * patch, dim)
        self.x_embed, self.y_embed = nn.Embedding(64, dim), nn.Embedding(64, dim)
        layers = nn.ModuleList()
        for _ in range(depth):
            first, second = nn.Module(), nn.Module()
            first.norm, second.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
            first.fn, second.fn = nn.Module(), nn.Module()
            first.fn.to_qkv = nn.Linear(dim, 3 * heads * 64, bias=False)
            first.fn.to_out = nn.Sequential(nn.Linear(heads * 64, dim), nn.Dropout(0.1))
            second.fn.net = nn.Sequential(
                nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim), nn.Dropout(0.1)
            )
            layers.append(nn.ModuleList([first, second]))
        self.vit = nn.Module()
        self.vit.transformer = nn.Module()
        self.vit.transformer.layers = layers
        self.gene_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, genes))

    def forward(self, patches: Tensor, centres: Tensor) -> Tensor:
        x = self.patch_embedding(patches) + self.x_embed(centres[:, :, 0]) + self.y_embed(centres[:, :, 1])
        for first, second in self.vit.transformer.layers:
            q, k, v = first.fn.to_qkv(first.norm(x)).chunk(3, dim=-1)
            heads = []
            for h in range(self.heads):
                a, b, c = (t[..., 64 * h : 64 * (h + 1)] for t in (q, k, v))
                heads.append(torch.softmax(a @ b.transpose(1, 2) / math.sqrt(64), dim=-1) @ c)
            x = x + first.fn.to_out(torch.cat(heads, dim=-1))
            x = x + second.fn.net(second.norm(x))
        return self.gene_head(x)


def histogene_checkpoint(folder: Path) -> tuple[PublicHisToGene, Path]:
    torch.manual_seed(0)
    plain = PublicHisToGene(genes=9, patch=8, dim=128, depth=3, heads=2).eval()
    path = folder / "last.ckpt"
    torch.save({"epoch": 99, "pytorch-lightning_version": "1.4", "state_dict": plain.state_dict()}, path)
    return plain, path


def test_histogene_equals_a_plain_transformer_on_a_lightning_checkpoint(tmp_path: Path):
    plain, path = histogene_checkpoint(tmp_path)
    convert_model("histogene", path, genes_file(tmp_path, 9), tmp_path / "m")
    method = load_method(tmp_path / "m")
    p = method.parameters
    assert (p.depth, p.dim, p.heads, p.mlp, p.patch_size, p.positions) == (3, 128, 2, 256, 8, 64)
    agree(method.network, plain, (torch.rand(1, 20, 192) * 255, torch.randint(0, 64, (1, 20, 2))))


def test_a_converted_histogene_reads_pixels_in_the_published_order(tmp_path: Path):
    plain, path = histogene_checkpoint(tmp_path)
    method = convert("histogene", path, genes_file(tmp_path, 9))
    section = linear_cohort(0, {"A1": 12}, patch=12).sections[0]
    pixels = np.asarray(section.patches())[:, 2:10, 2:10]
    flat = np.stack([patch.transpose(1, 0, 2).ravel() for patch in pixels]).astype(np.float32)
    centres = torch.from_numpy(np.rint(section.array_xy).astype(np.int64))[None]
    with torch.no_grad():
        expected = plain(torch.from_numpy(flat)[None], centres)[0].numpy()
    np.testing.assert_allclose(method.predict(sealed(section)), expected, rtol=1e-4, atol=1e-4)


def hist2st_checkpoint(folder: Path) -> tuple[PlainHist2ST, Path]:
    """Weights of no use, far enough from where they start that each tensor matters."""
    torch.manual_seed(0)
    plain = PlainHist2ST(genes=9, side=4, channels=16, mixers=2, depth=2, heads=2, graph=3).eval()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    path = folder / "5-Hist2ST.ckpt"
    torch.save({"epoch": 349, "state_dict": plain.state_dict()}, path)
    return plain, path


def test_hist2st_equals_a_plain_transcription(tmp_path: Path):
    plain, path = hist2st_checkpoint(tmp_path)
    convert_model("hist2st", path, genes_file(tmp_path, 9), tmp_path / "m")
    method = load_method(tmp_path / "m")
    p = method.parameters
    assert (p.dim, p.channels, p.patch_size, p.mixers, p.depth, p.heads, p.mlp, p.graph_layers, p.lstm_layers) == (
        32, 16, 28, 2, 2, 2, 32, 3, 2,
    )  # fmt: skip
    assert (p.zinb, p.bake) == (0.25, 5)
    assert method.n_parameters() == sum(w.numel() for w in plain.parameters())
    section = linear_cohort(0, {"A1": 23}, patch=30).sections[0]
    places, centres = method._places(section), torch.from_numpy(section.array_xy).round().long()
    pixels = torch.from_numpy(np.asarray(section.patches())[:, 1:29, 1:29].transpose(0, 3, 2, 1).copy())

    def ours(kind: torch.dtype) -> list[Tensor]:
        network = method.network.to(kind)
        prediction, vector = network(pixels, places.positions, places.near, places.share)
        mean, dispersion, zero = network.count_model(vector)
        return [prediction, mean, dispersion, zero.sigmoid(), network.view_score(vector)]

    with torch.no_grad():
        for kind, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-3)):
            due = plain.to(kind)(pixels.to(kind), centres, adjacency(torch.from_numpy(section.array_xy)).to(kind))
            for found, expected in zip(ours(kind), due, strict=True):
                torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(method.predict(sealed(section)), due[0].numpy(), rtol=1e-3, atol=1e-3)


def test_a_hist2st_without_its_further_heads_is_read_and_another_layout_refused(tmp_path: Path):
    plain, _ = hist2st_checkpoint(tmp_path)
    genes, state = genes_file(tmp_path, 9), plain.state_dict()
    bare = {k: v for k, v in state.items() if k.split(".")[0] not in ("mean", "disp", "pi", "coef")}
    torch.save(bare, tmp_path / "bare.pt")
    method = convert("hist2st", tmp_path / "bare.pt", genes)
    assert (method.parameters.zinb, method.parameters.bake) == (0, 0)
    for change, words in (
        ({"vit.transformer.layer3.0.weight": torch.zeros(32, 64)}, "do not fill hist2st.*graph.0.weight"),
        ({"vit.transformer.layer1.0.dw.0.weight": None}, "has no tensor vit.transformer.layer1.0.dw.0.weight"),
        ({"hr.weight": torch.zeros(9, 32)}, "the public hist2st in .*found others: hr.weight"),
        ({"x_embed.weight": torch.zeros(64, 31)}, "do not fill hist2st: .*expected dim="),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, tmp_path / "changed.pt")
        with pytest.raises(DataError, match=words) as error:
            convert("hist2st", tmp_path / "changed.pt", genes)
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"the public hist2st in .*others: .*vit.transformer.layers.0.0.norm.weight"):
        convert("hist2st", histogene_checkpoint(tmp_path)[1], genes)


class PublicBLEEP(nn.Module):
    """The tensor names of the public CLIPModel."""

    class Head(nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.projection = nn.Linear(inputs, 256)
            self.fc = nn.Linear(256, 256)
            self.layer_norm = nn.LayerNorm(256)

        def forward(self, x: Tensor) -> Tensor:
            first = self.projection(x)
            return self.layer_norm(self.fc(nn.functional.gelu(first)) + first)

    def __init__(self, genes: int) -> None:
        super().__init__()
        self.image_encoder = nn.Module()
        self.image_encoder.model = timm.create_model("resnet50", num_classes=0, global_pool="avg")
        self.image_projection, self.spot_projection = self.Head(2048), self.Head(genes)

    def forward(self, image: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        return self.image_projection(self.image_encoder.model(image)), self.spot_projection(expression)


def test_bleep_equals_a_plain_clip_model(tmp_path: Path):
    torch.manual_seed(0)
    plain = PublicBLEEP(1000).eval()
    torch.save(plain.state_dict(), tmp_path / "best.pt")
    convert_model("bleep", tmp_path / "best.pt", genes_file(tmp_path, 1000), tmp_path / "m")
    method = load_method(tmp_path / "m")
    assert method.n_parameters() == 24_421_440
    agree(method.network, plain, (torch.randn(4, 3, 64, 64), torch.rand(4, 1000) * 3))
    double = method.network.double()(torch.randn(4, 3, 64, 64).double(), torch.rand(4, 1000).double())
    assert contrastive_loss(*double, 1.0).dtype == torch.float64
    with pytest.raises(MethodError, match="no reference spots"):
        method.predict(sealed(linear_cohort(0, {"A1": 4}, patch=32).sections[0]))


def test_what_does_not_fit_is_named(tmp_path: Path):
    plain, path = histogene_checkpoint(tmp_path)
    genes = genes_file(tmp_path, 9)
    state = plain.state_dict()
    for change, words in (
        ({"extra.weight": torch.zeros(2)}, "found others: extra.weight; give the state dict"),
        ({"patch_embedding.bias": None}, "do not fill histogene.*embedding.bias"),
        ({"gene_head.0.weight": torch.zeros(5)}, "do not fill histogene.*head_norm.weight"),
        ({"gene_head.1.weight": None}, "no tensor gene_head.1.weight"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, tmp_path / "changed.pt")
        with pytest.raises(DataError, match=words):
            convert("histogene", tmp_path / "changed.pt", genes)
    with pytest.raises(DataError, match=r"no tensor classifier.weight"):
        convert("stnet", path, genes)
    with pytest.raises(DataError, match=r"names for the 9 genes"):
        convert("histogene", path, genes_file(tmp_path, 8))
    with pytest.raises(ConfigurationError, match="Did you mean 'bleep'"):
        convert("blep", path, genes)


def test_code_in_a_pickle_is_refused_with_its_class(tmp_path: Path):
    torch.save({"state_dict": {"w": torch.zeros(1)}, "callbacks": Path}, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=r"pathlib.*state_dict"):
        convert("histogene", tmp_path / "bad.ckpt", genes_file(tmp_path, 1))


def test_gene_lists(tmp_path: Path):
    np.save(tmp_path / "g.npy", np.array(["A", "B"]))
    assert read_genes(tmp_path / "g.npy") == ("A", "B")
    np.save(tmp_path / "o.npy", np.array(["A", "B"], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="write them as text"):
        read_genes(tmp_path / "o.npy")
    (tmp_path / "twice.txt").write_text("A\nB\nA\n", encoding="utf-8")
    with pytest.raises(DataError, match="found A twice"):
        read_genes(tmp_path / "twice.txt")
    with pytest.raises(DataError, match="gene symbols"):
        read_genes(tmp_path / "none.txt")


# The command, end to end.

PUBLIC = {"stnet": 250, "histogene": 9, "hist2st": 9, "bleep": 20}  # outputs of the weights that are made up below


def public_weights(name: str, folder: Path) -> Path:
    """Made-up weights as each public repository saves its own."""
    torch.manual_seed(0)
    if name == "histogene":
        return histogene_checkpoint(folder)[1]
    if name == "hist2st":
        return hist2st_checkpoint(folder)[1]
    if name == "bleep":
        torch.save(PublicBLEEP(PUBLIC["bleep"]).state_dict(), folder / "best.pt")
        return folder / "best.pt"
    plain = torchvision.models.densenet121(weights=None)
    plain.classifier = nn.Linear(1024, PUBLIC["stnet"])
    torch.save({"model": plain.state_dict()}, folder / "stnet.pt")
    return folder / "stnet.pt"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_the_command_makes_a_model_that_predict_and_python_read(tmp_path: Path, name: str) -> None:
    weights, genes = public_weights(name, tmp_path), genes_file(tmp_path, PUBLIC[name])
    done = command(name, weights, "--genes", genes, "--to", tmp_path / "model", "--microns-per-pixel", 0.5, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["method"].split("[")[0], said["profile"], said["target"]) == (name, "paper", "as trained")
    assert said["genes"] == [f"G{i}" for i in range(PUBLIC[name])]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "fit.json",
        "method.json",
        "model.safetensors",
    ]
    record = read_fit(tmp_path / "model")
    assert (record.microns_per_pixel, record.train, record.encoders) == (0.5, {}, {})
    assert str(tmp_path) not in (tmp_path / "model" / "fit.json").read_text()
    method = qbench.load_method(tmp_path / "model")
    assert method.n_parameters() == sum(p.numel() for p in method.network.parameters())
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "slide.png")
    (tmp_path / "spots.csv").write_text("spot,x,y\nb,170,150\na,130,140\n")
    predict = [
        "predict",
        "--model",
        tmp_path / "model",
        "--image",
        tmp_path / "slide.png",
        "--output",
        tmp_path / "o.h5ad",
    ]
    predict += ["--spots", tmp_path / "spots.csv", "--microns-per-pixel", 0.5, "--device", "cpu"]
    predicted = CliRunner().invoke(app, [str(word) for word in predict])
    if name == "bleep":
        assert isinstance(predicted.exception, MethodError)
        assert "holds no reference spots" in str(predicted.exception)
        return
    assert predicted.exit_code == 0, (predicted.output, predicted.exception)
    found = anndata.read_h5ad(tmp_path / "o.h5ad")
    assert list(found.obs_names) == ["b", "a"]
    assert list(found.var_names) == said["genes"]
    assert found.uns["target"] == "as trained"
    assert "counts" not in found.layers
    assert found.X.min() < 0  # what a network of the public code gives is not cut at 0
    sealed_section = SealedSection(
        "slide", "slide", method.genes, ("a", "b"), np.array([[0.0, 0.0], [1.0, 0.25]]) * 40 / pitch(found.obsm["spatial"]),
        np.array([[130.0, 140.0], [170.0, 150.0]]), 0.5, None, Corners(pixels, [(18, 28), (58, 38)]),
    )  # fmt: skip
    np.testing.assert_allclose(found[["a", "b"]].X, method.predict(sealed_section), rtol=1e-4, atol=1e-5)


class Corners:
    """Patches of 224 pixels cut from an image at given corners (x, y)."""

    def __init__(self, pixels: np.ndarray, corners: list[tuple[int, int]]) -> None:
        self.cut = np.stack([pixels[y : y + 224, x : x + 224] for x, y in corners])

    def patches(self, section: str) -> np.ndarray:
        return self.cut

    def features(self, section: str, encoder: str) -> np.ndarray:
        raise AssertionError("public networks read patches")


def test_the_command_says_what_it_cannot_do(tmp_path: Path) -> None:
    weights, genes = public_weights("histogene", tmp_path), genes_file(tmp_path, 9)
    torch.save({"state_dict": {"w": torch.zeros(1)}, "callbacks": Path}, tmp_path / "bad.ckpt")
    (tmp_path / "noise.pt").write_bytes(b"no weights")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for arguments, words in (
        (("histogen", weights), "There is no converter named 'histogen'. Did you mean 'histogene'. Known: bleep, hist2st, "),
        (("stnet", weights), "Expected a state dict of the public stnet in .*last.ckpt, but it has no tensor classifier.weight; it holds "),
        (("histogene", tmp_path / "none.pt"), "none.pt, but there is no such file; check the path."),
        (("histogene", tmp_path / "noise.pt"), "noise.pt, but it|Expected only tensors in .*noise.pt"),
        (("histogene", tmp_path / "bad.ckpt"), "asks for the class pathlib.*save it anew with torch.save.model.state_dict.., FILE"),
        (("histogene", weights, "--microns-per-pixel", "0"), "Expected --microns-per-pixel of 0.05 to 5, found 0;"),
        (("histogene", weights, "--to", tmp_path / "full"), "Expected a new folder, or an earlier model, at .*full, found other files"),
        (("histogene", weights, "--genes", tmp_path / "no.txt"), "Expected gene symbols in .*no.txt"),
    ):  # fmt: skip
        given = ["--genes", genes, "--to", tmp_path / "model", *arguments]
        done = command(*given)
        assert isinstance(done.exception, ConfigurationError | DataError), (arguments, done.output)
        assert done.exception.exit_code == 2
        assert re.search(words, str(done.exception)), str(done.exception)
        assert "\n" not in str(done.exception)
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    help_text = CliRunner().invoke(app, ["--help"]).output
    assert re.search(r"convert\s+Convert weights", help_text)


def test_an_earlier_model_is_replaced_whole(tmp_path: Path) -> None:
    weights, genes = public_weights("histogene", tmp_path), genes_file(tmp_path, 9)
    for _ in range(2):
        assert command("histogene", weights, "--genes", genes, "--to", tmp_path / "m", "-q").output == ""
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
