"""Files in the layouts of others: told by their names, mapped strictly, or refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from qbench.errors import DataError
from qbench.methods.encoders import build
from qbench.methods.encoders.build import build_network
from qbench.methods.encoders.conch import AttentionPool, AttentionPool15, ConchHead
from qbench.methods.encoders.embedding import Embedding
from qbench.methods.encoders.layouts import LAYOUTS, recognise
from qbench.methods.encoders.registry import card
from qbench.methods.encoders.weights import load_strictly
from torch import Tensor, nn
from torch.nn import functional as F

D, DEPTH, HIDDEN = 48, 2, 192
State = dict[str, Tensor]


def _random(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _linear(name: str, out: int, inner: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def _norm(name: str, width: int = D) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _hf(*, dinov2: bool, swiglu: bool = False, registers: int = 0, patch: int = 16, grid: int = 14) -> State:
    """The names and shapes of ViTModel, Dinov2Model and Dinov2WithRegistersModel in transformers."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, D),
        "embeddings.position_embeddings": (1, grid**2 + 1, D),
        "embeddings.patch_embeddings.projection.weight": (D, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (D,),
        **_norm("layernorm"),
    }
    if dinov2:
        shapes["embeddings.mask_token"] = (1, D)
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, D)
    for i in range(DEPTH):
        block = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{block}.attention.attention.{part}", D, D)
        shapes |= _linear(f"{block}.attention.output.dense", D, D)
        if dinov2:
            shapes |= {**_norm(f"{block}.norm1"), **_norm(f"{block}.norm2")}
            shapes |= {f"{block}.layer_scale{j}.lambda1": (D,) for j in (1, 2)}
            hidden = 128  # (4 d x 2/3, up to a multiple of eight)
            first, second = ("weights_in", "weights_out") if swiglu else ("fc1", "fc2")
            shapes |= _linear(f"{block}.mlp.{first}", 2 * hidden if swiglu else HIDDEN, D)
            shapes |= _linear(f"{block}.mlp.{second}", D, hidden if swiglu else HIDDEN)
        else:
            shapes |= {**_norm(f"{block}.layernorm_before"), **_norm(f"{block}.layernorm_after")}
            shapes |= {
                **_linear(f"{block}.intermediate.dense", HIDDEN, D),
                **_linear(f"{block}.output.dense", D, HIDDEN),
            }
    return _random(shapes)


def _vit(name: str = "vit_base_patch16_224", **arguments: object) -> nn.Module:
    made: nn.Module = timm.create_model(
        name, **{"embed_dim": D, "depth": DEPTH, "num_heads": 3, "num_classes": 0, **arguments}
    )
    return made


def _mapped(layout: str, state: State, network: nn.Module) -> State:
    assert recognise(state) == layout
    mapped = LAYOUTS[layout].to_timm(state, network)
    load_strictly(network, mapped, "the test")
    return mapped


def test_a_vit_of_transformers() -> None:
    state = {**_hf(dinov2=False), **_random(_linear("pooler.dense", D, D))}
    mapped = _mapped("hf_vit", state, _vit())
    parts = [state[f"encoder.layer.1.attention.attention.{p}.weight"] for p in ("query", "key", "value")]
    assert torch.equal(mapped["blocks.1.attn.qkv.weight"], torch.cat(parts))
    assert torch.equal(mapped["blocks.1.attn.proj.bias"], state["encoder.layer.1.attention.output.dense.bias"])
    assert torch.equal(mapped["blocks.0.mlp.fc2.weight"], state["encoder.layer.0.output.dense.weight"])
    assert torch.equal(mapped["blocks.0.norm2.weight"], state["encoder.layer.0.layernorm_after.weight"])
    assert torch.equal(mapped["pos_embed"], state["embeddings.position_embeddings"])


def test_a_dinov2_of_transformers_with_its_positions_resampled_without_antialiasing() -> None:
    state = _hf(dinov2=True, swiglu=True, patch=14, grid=37)
    network = _vit("vit_giant_patch14_dinov2", img_size=224, mlp_ratio=256 / D)
    mapped = _mapped("hf_dinov2", state, network)
    table = state["embeddings.position_embeddings"]
    patches = table[:, 1:].reshape(1, 37, 37, D).permute(0, 3, 1, 2)
    due = (
        F.interpolate(patches, size=(16, 16), mode="bicubic", align_corners=False)
        .permute(0, 2, 3, 1)
        .reshape(1, 256, D)
    )
    assert torch.equal(mapped["pos_embed"], torch.cat([table[:, :1], due], dim=1))
    assert torch.equal(mapped["blocks.0.ls2.gamma"], state["encoder.layer.0.layer_scale2.lambda1"])
    assert torch.equal(mapped["blocks.1.mlp.fc1.weight"], state["encoder.layer.1.mlp.weights_in.weight"])


def test_with_registers_the_class_tokens_position_goes_into_the_token() -> None:
    state = _hf(dinov2=True, registers=4, patch=14, grid=16)
    mapped = _mapped("hf_dinov2", state, _vit("vit_base_patch14_reg4_dinov2", img_size=224))
    table = state["embeddings.position_embeddings"]
    assert torch.equal(mapped["cls_token"], state["embeddings.cls_token"] + table[:, :1])
    assert torch.equal(mapped["pos_embed"], table[:, 1:])
    assert torch.equal(mapped["reg_token"], state["embeddings.register_tokens"])


def _dinov2_own() -> tuple[State, nn.Module]:
    network = _vit("vit_base_patch14_reg4_dinov2", img_size=224)
    state = _random({k: tuple(v.shape) for k, v in network.state_dict().items()})
    state["register_tokens"] = state.pop("reg_token")
    state["mask_token"] = torch.zeros(1, D)
    state["pos_embed"] = torch.cat([torch.ones(1, 1, D), state["pos_embed"]], dim=1)
    return state, network


def test_dinov2s_own_names() -> None:
    state, network = _dinov2_own()
    mapped = _mapped("dinov2", state, network)
    assert torch.equal(mapped["cls_token"], state["cls_token"] + 1)
    assert torch.equal(mapped["pos_embed"], state["pos_embed"][:, 1:])


def test_dinov2s_training_code_in_chunks_with_heads() -> None:
    state, network = _dinov2_own()
    chunked = {f"backbone.{k.replace('blocks.', 'blocks.0.')}": v for k, v in state.items()}
    mapped = _mapped("dinov2_chunks", {**chunked, "dino_head.mlp.0.weight": torch.zeros(1)}, network)
    assert torch.equal(mapped["blocks.1.attn.qkv.weight"], state["blocks.1.attn.qkv.weight"])


def test_clip_of_transformers() -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_projection.weight": (8, D),
        "text_model.final_layer_norm.weight": (D,),
        "visual_projection.weight": (8, D),
        "vision_model.embeddings.class_embedding": (D,),
        "vision_model.embeddings.patch_embedding.weight": (D, 3, 32, 32),
        "vision_model.embeddings.position_embedding.weight": (50, D),
        "vision_model.embeddings.position_ids": (1, 50),
        **_norm("vision_model.pre_layrnorm"),
        **_norm("vision_model.post_layernorm"),
    }
    for i in range(DEPTH):
        block = f"vision_model.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{block}.self_attn.{part}", D, D)
        shapes |= {**_norm(f"{block}.layer_norm1"), **_norm(f"{block}.layer_norm2")}
        shapes |= {**_linear(f"{block}.mlp.fc1", HIDDEN, D), **_linear(f"{block}.mlp.fc2", D, HIDDEN)}
    state = _random(shapes)
    mapped = _mapped("hf_clip", state, _vit("vit_base_patch32_clip_quickgelu_224", num_classes=8))
    assert torch.equal(mapped["head.weight"], state["visual_projection.weight"])
    assert not mapped["head.bias"].any()
    assert torch.equal(mapped["cls_token"][0, 0], state["vision_model.embeddings.class_embedding"])


def test_musks_image_branch() -> None:
    network = _vit("beit3_large_patch16_224", img_size=32, global_pool="token", fc_norm=False)
    names = {".attn.norm.": ".self_attn.inner_attn_ln.A.", ".attn.proj.": ".self_attn.out_proj.A.", ".norm1.": ".self_attn_layer_norm.A.",
             ".norm2.": ".final_layer_norm.A.", ".mlp.norm.": ".ffn.A.ffn_layernorm.", ".mlp.": ".ffn.A."}  # fmt: skip
    state: State = {
        "logit_scale": torch.zeros(()),
        "vision_head.weight": torch.zeros(8, D),
        "language_head.weight": torch.zeros(8, D),
    }
    due = _random({k: tuple(v.shape) for k, v in network.state_dict().items()})
    for name, tensor in due.items():
        if name == "pos_embed":
            state["beit3.encoder.embed_positions.A.weight"] = torch.cat([torch.zeros(2, D), tensor[0]])
        elif name == "cls_token":
            state["beit3.vision_embed.cls_token"] = tensor
        elif name.startswith("patch_embed"):
            state[f"beit3.vision_embed.{name.removeprefix('patch_embed.')}"] = tensor
        elif name.startswith("norm."):
            state[f"beit3.encoder.layer_norm.A.{name.removeprefix('norm.')}"] = tensor
        elif ".attn.qkv." in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                state[
                    f"beit3.encoder.{name.replace('blocks', 'layers').replace('.attn.qkv.', f'.self_attn.{part}_proj.A.')}"
                ] = third
        else:
            old = next(k for k in names if k in name)
            state[f"beit3.encoder.{name.replace('blocks', 'layers').replace(old, names[old])}"] = tensor
    state |= {k.replace(".A.", ".B."): torch.ones(1) for k in state if ".A." in k}  # the text's branch
    mapped = _mapped("musk", state, network)
    assert mapped.keys() == due.keys()
    assert all(torch.equal(mapped[name], due[name]) for name in due)


def _conch_like(release: str, trunk: nn.Module) -> tuple[Embedding, State]:
    found = card("conch" if release == "conch" else "conch-v1.5").model_copy(update={"dim": 32, "resize": None})
    network = Embedding(trunk, found, ConchHead(release, D, 32))
    return network, _random({k: tuple(v.shape) for k, v in network.state_dict().items()})


def test_concs_image_tower_is_taken_out_of_the_whole_model() -> None:
    network, due = _conch_like("conch", _vit(img_size=32))
    state = {f"visual.{k.removeprefix('head.')}": v for k, v in due.items()}
    state |= {
        "visual.proj_contrast": torch.zeros(32, 32),
        "visual.attn_pool_caption.query": torch.zeros(1),
        "logit_scale": torch.zeros(()),
    }
    state |= {"text.cls_emb": torch.zeros(1), "visual.ln_caption.weight": torch.zeros(1)}
    mapped = _mapped("conch", state, network)
    assert all(torch.equal(mapped[name], due[name]) for name in due)


def test_conch15s_positions_are_enlarged_as_its_forward_does() -> None:
    network, due = _conch_like("conch_v1_5", _vit(img_size=64, init_values=1.0))
    state = {k.removeprefix("head."): v for k, v in due.items()}
    table = torch.randn(1, 5, D)  # of 2 x 2 patches; the network has 4 x 4
    mapped = _mapped("conch_v1_5", {**state, "trunk.pos_embed": table}, network)
    patches = table[:, 1:].reshape(1, 2, 2, D).permute(0, 3, 1, 2)
    due_table = (
        F.interpolate(patches, scale_factor=(4.1 / 2, 4.1 / 2), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 16, D)
    )
    assert torch.equal(mapped["trunk.pos_embed"][:, 1:], due_table)
    assert torch.equal(mapped["trunk.pos_embed"][:, :1], table[:, :1])


@pytest.mark.parametrize("pooling", [AttentionPool, AttentionPool15])
def test_attention_pooling_is_the_formula(pooling: type[AttentionPool] | type[AttentionPool15]) -> None:
    module = pooling(D, 32).eval()
    load_strictly(module, _random({k: tuple(v.shape) for k, v in module.state_dict().items()}), "the test")
    w = module.state_dict()
    tokens = torch.randn(1, 5, D, generator=torch.Generator().manual_seed(1))
    query = F.layer_norm(w["query"], (32,), w["ln_q.weight"], w["ln_q.bias"])
    keys = F.layer_norm(tokens[0], (D,), w["ln_k.weight"], w["ln_k.bias"])
    if pooling is AttentionPool:
        bias = w["attn.in_proj_bias"].chunk(3)
        q, k, v = (
            x @ w[f"attn.{n}_proj_weight"].T + b for x, n, b in zip((query, keys, keys), "qkv", bias, strict=True)
        )
    else:
        q, (k, v) = query @ w["to_q.weight"].T, (keys @ w["to_kv.weight"].T).chunk(2, dim=-1)
    heads = [
        torch.softmax(q[:, s] @ k[:, s].T / math.sqrt(4), dim=-1) @ v[:, s]
        for s in (slice(4 * h, 4 * h + 4) for h in range(8))
    ]
    out = torch.cat(heads, dim=1)
    due = (
        F.linear(out, w["attn.out_proj.weight"], w["attn.out_proj.bias"])
        if pooling is AttentionPool
        else out @ w["to_out.weight"].T
    )
    with torch.inference_mode():
        assert torch.allclose(module(tokens), due, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["test_vit", "lunit-vits16", "phikon"])
def test_a_conch_file_is_never_another_encoders(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    trunk = timm.create_model("test_vit", num_classes=0).state_dict()
    state = {
        **{f"visual.trunk.{k}": v for k, v in trunk.items()},
        "visual.attn_pool_contrast.query": torch.zeros(1, 512),
    }
    monkeypatch.setattr(build, "read_state_dict", lambda _: state)
    with pytest.raises(
        DataError, match=f"encoder '{name}'.* found that of CONCH.*use the encoder that reads it"
    ) as caught:
        build_network(name, Path("conch.bin"))
    assert "\n" not in str(caught.value)


def test_another_layout_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "read_state_dict", lambda _: _hf(dinov2=False))
    with pytest.raises(DataError, match=r"'lunit-vits16' in the layout of timm .*found that of ViT in transformers"):
        build_network("lunit-vits16", Path("phikon.bin"))
    monkeypatch.setattr(build, "read_state_dict", lambda _: {"blocks.0.norm1.weight": torch.zeros(768)})
    with pytest.raises(DataError, match=r"'phikon' in the layout of ViT in transformers .*its names are none of that"):
        build_network("phikon", Path("timm.bin"))


def test_an_incomplete_block_is_named_by_the_strict_loading() -> None:
    state = _hf(dinov2=False)
    del state["encoder.layer.1.attention.attention.key.weight"]
    network = _vit()
    with pytest.raises(DataError, match=r"1 missing blocks\.1\.attn\.qkv\.weight; 2 unknown"):
        load_strictly(network, LAYOUTS["hf_vit"].to_timm(state, network), "the file")
