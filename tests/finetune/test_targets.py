"""Which layers carry an adapter, and what its dropout does to them."""

from __future__ import annotations

import pytest
import torch

from finetune.adapter import TARGETS, AdapterSettings, attach
from finetune.adapter.targets import read_layers
from finetune.base_model import BaseModel, Conditions
from finetune.errors import WoodshedError

ATTENTION = {
    "self_attn.to_qkv",
    "self_attn.to_out",
    "cross_attn.to_q",
    "cross_attn.to_kv",
    "cross_attn.to_out",
}
FEED_FORWARD = {"ff.proj_in", "ff.proj_out"}
LOCAL = {"to_local_embed.0", "to_local_embed.2"}
OUTSIDE = {f"{name}.{layer}" for name in ("to_cond_embed", "to_global_embed") for layer in (0, 2)}


def adapted(base: BaseModel, **settings: object) -> set[str]:
    """Modules of the transformer that carry an adapter; `duration_embedder.` before those of the other part."""
    names = attach(base, AdapterSettings(rank=2, alpha=2.0, **settings)).named_parameters()  # type: ignore[arg-type]
    return {name.split(".lora_")[0].removeprefix("transformer.") for name in names}


def in_blocks(modules: set[str], *blocks: int) -> set[str]:
    return {f"transformer_blocks.{block}.{module}" for block in blocks for module in modules}


@pytest.mark.parametrize(
    ("targets", "inside", "outside"),
    [
        ("attention", ATTENTION, set()),
        ("attention+ff", ATTENTION | FEED_FORWARD, set()),
        ("all", ATTENTION | FEED_FORWARD | LOCAL, OUTSIDE),
    ],
)
@pytest.mark.parametrize(("layers", "blocks"), [(None, (0, 1)), ("1", (1,)), ("0-1", (0, 1))])
def test_presets_and_ranges_name_their_layers(
    tiny_base: BaseModel,
    targets: str,
    inside: set[str],
    outside: set[str],
    layers: str | None,
    blocks: tuple[int, ...],
) -> None:
    assert adapted(tiny_base, targets=targets, layers=layers) == in_blocks(inside, *blocks) | outside


def test_these_are_all_presets() -> None:
    assert TARGETS == ("attention", "attention+ff", "all")


def test_the_duration_embedder_is_adapted_on_request(tiny_base: BaseModel) -> None:
    names = adapted(tiny_base, targets="attention", layers="0", duration_embedder=True)
    assert names == in_blocks(ATTENTION, 0) | {"duration_embedder.linear"}


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [("0-7,12", [*range(8), 12]), ("3", [3]), (" 5 - 6 , 5", [5, 6]), ("19", [19]), ("2-2", [2])],
)
def test_ranges_of_blocks(layers: str, numbers: list[int]) -> None:
    assert read_layers(layers, 20) == numbers


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("0-20", "no blocks 0-20 in this base; it has 0-19"),
        ("7-3", "no blocks 7-3"),
        ("first", "'first' names no blocks; write them as 0-7,12"),
        ("", "names no blocks"),
        ("1-", "names no blocks"),
        ("-1", "names no blocks"),
        ("1,,2", "names no blocks"),
    ],
)
def test_blocks_that_are_none_are_a_sentence(layers: str, words: str) -> None:
    with pytest.raises(WoodshedError, match=words):
        read_layers(layers, 20)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_dropout_falls_on_what_the_adapter_hears_while_it_trains(tiny_base: BaseModel, kind: str) -> None:
    """In a layer: the output with a dropped input x·m / (1 - p) through A and B, on average the one without; of the
    base's own part nothing is dropped."""
    share, scale = 0.25, 2.0
    settings = AdapterSettings(kind=kind, rank=4, alpha=8.0, targets="attention", layers="0", dropout=share)
    adapter = attach(tiny_base, settings, seed=1)
    layer = tiny_base.transformer.transformer_blocks[0].self_attn.to_out
    down, up = (getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B"))
    x = torch.randn(1, 7, layer.in_features, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        up.normal_(generator=torch.Generator().manual_seed(3))
        size = torch.linalg.vector_norm(layer.weight, dim=1)
        turned = (
            size / torch.linalg.vector_norm(layer.weight + scale * up @ down, dim=1) if kind == "dora" else 1
        )
        own = layer.get_base_layer()(x) - (0 if layer.bias is None else layer.bias)
        adapter.train(False)
        whole = layer(x)
        adapter.train(True)
        torch.manual_seed(4)
        mask = torch.nn.functional.dropout(torch.ones_like(x), share)
        torch.manual_seed(4)
        dropped = layer(x)
        expected = turned * (own + scale * (x * mask) @ down.T @ up.T) + (
            layer.bias if layer.bias is not None else 0
        )
        torch.testing.assert_close(dropped, expected, atol=1e-4, rtol=1e-4)
        mean = torch.stack([layer(x) for _ in range(1200)]).mean(0)
    assert not torch.allclose(dropped, whole)
    assert (mean - whole).norm() < 0.05 * (dropped - whole).norm() + 1e-6


def test_without_dropout_training_hears_everything(tiny_base: BaseModel) -> None:
    adapter = attach(tiny_base, AdapterSettings(rank=4, alpha=4.0, targets="all"))
    x, t = torch.randn(1, 8, 9), torch.tensor([0.4])
    conditions = Conditions([tiny_base.encode_prompt("kick")], torch.tensor([1.0]))
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.add_(0.05)
        adapter.train(False)
        used = tiny_base.velocity(x, t, conditions)
        adapter.train(True)
        assert torch.equal(tiny_base.velocity(x, t, conditions), used)
