"""What makes a step cheaper changes no gradient: padding computed once, less kept, blocks recomputed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.adapter.probe import probe
from finetune.base_model import BaseModel, load_base
from finetune.base_model.distinct import compute_padding_once
from finetune.base_model.lean_blocks import _Norm, _SwiGLU, keep_less
from finetune.base_model.random_base import SIZES
from finetune.base_model.recompute import recompute_blocks
from finetune.batches import Batch
from finetune.bench.command import app
from finetune.example import example_batch
from finetune.fitting import BlockBytes, block_bytes
from finetune.loss import batch_loss
from finetune.memory import counting_kept


@pytest.fixture
def base(tiny_base_folder: Path) -> BaseModel:
    return load_base(str(tiny_base_folder))


def stirred(base: BaseModel, kind: str = "lora", dropout: float = 0.0) -> Adapter:
    adapter = attach(base, AdapterSettings(kind, 4, 4.0, "all", dropout=dropout))
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters().items():
            if ".lora_B." in name:
                parameter.normal_(0, 0.1, generator=draw)
    adapter.train(True)
    return adapter


def gradients(base: BaseModel, adapter: Adapter, batch: Batch) -> torch.Tensor:
    torch.manual_seed(9)  # of the dropout
    parts = torch.autograd.grad(batch_loss(base, batch), adapter.parameters())
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("inpainting", [True, False])
def test_padding_computed_once_gives_the_same_gradients(base: BaseModel, kind: str, inpainting: bool) -> None:
    adapter = stirred(base, kind)
    batch = example_batch(base, 3, 12, inpainting)
    batch.conditions.prompts[1] = replace(
        batch.conditions.prompts[1], tokens=batch.conditions.prompts[1].tokens[:2]
    )
    batch.conditions.dropped = torch.tensor([False, False, True])
    before, heard = gradients(base, adapter, batch), probe(base)
    compute_padding_once(base)
    torch.testing.assert_close(gradients(base, adapter, batch), before, rtol=1e-4, atol=1e-6)
    assert torch.equal(probe(base), heard), "what is generated stays the same to the last bit"


def test_padding_is_computed_once(base: BaseModel) -> None:
    stirred(base)
    compute_padding_once(base)
    rows: list[int] = []
    base.transformer.to_cond_embed[0].register_forward_hook(lambda _, x, __: rows.append(x[0].shape[1]))
    batch = example_batch(base, 1, 8)
    batch_loss(base, batch)
    probe(base)
    assert rows == [len(batch.conditions.prompts[0].tokens) + 2, base.prompt_tokens + 1]


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_recomputed_blocks_give_the_same_gradients(base: BaseModel, count: int, lean: bool) -> None:
    adapter = stirred(base, dropout=0.3)
    if lean:
        keep_less(base.transformer)
    batch = example_batch(base, 2, 12)
    before = gradients(base, adapter, batch)
    recompute_blocks(base.transformer, count, dropout=True)
    assert torch.equal(gradients(base, adapter, batch), before)


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("inpainting", [True, False])
def test_keeping_less_gives_the_same_gradients(base: BaseModel, kind: str, inpainting: bool) -> None:
    adapter = stirred(base, kind, dropout=0.2)
    batch = example_batch(base, 2, 12, inpainting)
    before, heard = gradients(base, adapter, batch), probe(base)
    keep_less(base.transformer)
    torch.testing.assert_close(gradients(base, adapter, batch), before, rtol=1e-4, atol=1e-6)
    assert torch.equal(probe(base), heard), "what is generated stays the same to the last bit"


def test_less_is_kept(base: BaseModel) -> None:
    stirred(base)
    batch = example_batch(base, 2, 60)
    plain = block_bytes(base, batch)
    keep_less(base.transformer)
    assert block_bytes(base, batch).kept < 0.75 * plain.kept


def test_norm_and_gate_have_the_slopes_that_small_steps_show() -> None:
    draw = torch.Generator().manual_seed(0)
    x, scale, shift = (torch.randn(shape, generator=draw) for shape in ((2, 3, 8), (2, 1, 8), (2, 1, 8)))
    gamma = torch.rand(8, generator=draw) + 0.5
    for work, inputs in (
        (lambda x, scale, shift: _Norm.apply(x, gamma, 1e-5, scale, shift), (x, scale, shift)),
        (lambda x: _Norm.apply(x, gamma, 1e-5), (x,)),
        (_SwiGLU.apply, (x,)),
    ):
        inputs = [each.requires_grad_() for each in inputs]
        out = work(*inputs)
        direction = torch.randn(out.shape, generator=draw)
        found = torch.autograd.grad((out * direction).sum(), inputs)
        for place, gradient in enumerate(found):
            step = torch.randn(gradient.shape, generator=draw)
            moved: list[list[torch.Tensor]] = [
                [each.detach() + (sign * 1e-2 * step if n == place else 0) for n, each in enumerate(inputs)]
                for sign in (1, -1)
            ]
            up, down = ((work(*each) * direction).sum() for each in moved)
            assert float((gradient * step).sum()) == pytest.approx(
                float((up - down) / 2e-2), rel=1e-2, abs=1e-3
            )


def test_kept_bytes_are_counted_once_and_without_parameters() -> None:
    layer, x = nn.Linear(10, 20), torch.randn(3, 10, requires_grad=True)
    with counting_kept() as kept:
        y = layer(x)  # keeps x for the weight's gradient
        z = y * y  # keeps y, twice the same
        z.exp()  # keeps its result
    assert kept.bytes == 4 * 3 * (10 + 20 + 20)


def test_a_block_s_bytes_grow_with_the_batch(base: BaseModel) -> None:
    stirred(base)
    one, two = (block_bytes(base, example_batch(base, size, 40)) for size in (1, 2))
    assert one.blocks == two.blocks == len(base.transformer.transformer_blocks)
    assert two.input == 2 * one.input
    assert 1.7 < two.kept / one.kept <= 2.05
    assert one.kept > 5 * one.input


def test_the_count_foretells_what_a_step_keeps(base: BaseModel) -> None:
    stirred(base)
    batch = example_batch(base, 2, 60)
    measured = block_bytes(base, batch)
    with counting_kept() as kept:
        batch_loss(base, batch)
    assert kept.bytes == pytest.approx(measured.blocks * measured.kept, rel=0.3)


def test_recomputing_needs_less_the_more_blocks_do() -> None:
    bytes_of = BlockBytes(kept=100, input=10, blocks=4)
    assert [bytes_of.step(n) for n in range(5)] == [500, 410, 320, 230, 140]


@pytest.mark.parametrize("words", [[], ["--adapter", "dora", "--base-dtype", "nf4", "--checkpointing"]])
def test_bench_measures_a_step(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"embed_dim": 64, "depth": 2, "num_heads": 2, "use_differential_attention": False}
    monkeypatch.setitem(SIZES, "small", tiny)
    monkeypatch.setattr("finetune.bench.training.PRODUCT", {"cpu": 64})
    done = CliRunner().invoke(
        app, [*words, "--frames", "8", "--steps", "2", "--device", "cpu", "--json"], catch_exceptions=False
    )
    figures = json.loads(done.stdout)
    assert figures["steps_per_second"] == pytest.approx(1 / figures["step_seconds"])
    assert figures["audio_seconds_per_second"] == pytest.approx(
        8 * 4096 / 44100 * figures["steps_per_second"]
    )
    assert figures["peak_memory_bytes"] > 1e7
    assert figures["achieved_flops_per_second"] == pytest.approx(
        figures["step_flops"] * figures["steps_per_second"]
    )
    assert figures["roofline_share"] > 0


def products(work: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_dora_needs_hardly_more_products_than_lora(tiny_base_folder: Path) -> None:
    counted = []
    for kind in ("lora", "dora"):
        base = load_base(str(tiny_base_folder))
        attach(base, AdapterSettings(kind, 1, 1.0, "all"))
        batch = example_batch(base, 1, 200)
        counted.append(products(lambda b=base, c=batch: batch_loss(b, c).backward()))  # type: ignore[misc]
    assert counted[0] < counted[1] < 1.05 * counted[0]
