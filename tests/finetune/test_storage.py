"""Frozen weights in less memory: what is lost is bounded, and the products are those of the unpacked weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from finetune.adapter import AdapterSettings, attach
from finetune.adapter.probe import probe
from finetune.base_model import BaseModel, load_base
from finetune.base_model.storage import PackedLinear, Precision, load_frozen, types_of

CPU = torch.device("cpu")
PACKED: tuple[Precision, ...] = ("bfloat16", "int8", "nf4")

NF4 = """-1 -0.6961928 -0.52507305 -0.39491749 -0.28444138 -0.18477343 -0.09105004 0
0.0795803 0.1609302 0.2461123 0.33791524 0.44070983 0.562617 0.72295684 1"""


def layer(columns: int = 128) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(columns, 32).requires_grad_(False)


@pytest.fixture(autouse=True)
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine computes as one that is slow in bfloat16."""
    monkeypatch.setattr("finetune.base_model.storage.computes_in_bfloat16", lambda device: False)


def test_bfloat16_keeps_eight_bits() -> None:
    weight = layer().weight
    assert torch.equal(
        PackedLinear(layer(), "bfloat16", torch.float32).weight, weight.to(torch.bfloat16).float()
    )


def test_int8_is_off_by_half_a_step_at_most() -> None:
    weight = layer().weight
    step = weight.abs().amax(1, keepdim=True) / 127
    error = (PackedLinear(layer(), "int8", torch.float32).weight - weight).abs()
    assert (error <= 0.5001 * step).all()
    assert error.max() > 0


def test_int8_of_a_row_of_zeros_is_zeros() -> None:
    zeros = layer()
    zeros.weight[3] = 0
    assert (PackedLinear(zeros, "int8", torch.float32).weight[3] == 0).all()


def test_nf4_takes_the_nearest_of_sixteen_quantiles() -> None:
    """Against the numbers of QLoRA's appendix E, each block of 64 scaled by its largest; scales lose a hundredth."""
    numbers = torch.tensor([float(number) for number in NF4.split()])
    weight = layer().weight
    blocks = weight.view(-1, 64)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / largest).unsqueeze(-1).sub(numbers).abs().argmin(-1)
    wanted = (numbers[nearest] * largest).view(weight.shape)
    packed = PackedLinear(layer(), "nf4", torch.float32)
    assert ((packed.weight - wanted).view(-1, 64).abs().amax(1) <= 0.02 * largest.flatten()).all()
    assert packed.packed.values.nbytes == weight.numel() / 2


@pytest.mark.parametrize("precision", PACKED)
def test_products_and_gradients_are_those_of_the_unpacked_weight(precision: Precision) -> None:
    packed = PackedLinear(layer(), precision, torch.float32)
    x, wanted = torch.randn(2, 5, 128, requires_grad=True), torch.randn(2, 5, 32)
    results = []
    for compute in (packed, lambda x: nn.functional.linear(x, packed.weight, packed.bias)):
        y = compute(x)
        results.append((y, *torch.autograd.grad((y - wanted).square().sum(), x)))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain)


def test_the_unpacked_weight_is_not_kept() -> None:
    packed, x = PackedLinear(layer(), "int8", torch.float32), torch.randn(3, 128, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        packed(x)
    assert not kept


@pytest.fixture(params=PACKED)
def packed_base(request: pytest.FixtureRequest, tiny_base_folder: Path) -> BaseModel:
    return load_frozen(str(tiny_base_folder), request.param, CPU)


def test_a_packed_base_predicts_nearly_the_same(packed_base: BaseModel, tiny_base: BaseModel) -> None:
    error = (probe(packed_base) - probe(tiny_base)).norm() / probe(tiny_base).norm()
    assert 0 < error < 0.4
    assert packed_base.dtype == torch.float32


def test_norms_and_convolutions_stay_as_they_are(packed_base: BaseModel) -> None:
    transformer = packed_base.transformer
    assert isinstance(transformer.transformer_blocks[0].ff.proj_in, PackedLinear)
    assert type(transformer.preprocess_conv) is nn.Conv1d
    assert transformer.rotary_pos_emb.inv_freq.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in transformer.parameters())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_starts_as_the_packed_base_and_learns(packed_base: BaseModel, kind: str) -> None:
    before = probe(packed_base)
    adapter = attach(packed_base, AdapterSettings(kind, 4, 4.0, "all"))
    torch.testing.assert_close(probe(packed_base), before, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.05)
    assert not torch.allclose(probe(packed_base), before, atol=1e-2)


def test_it_computes_in_bfloat16_where_the_machine_is_fast_in_it(
    tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.base_model.storage.computes_in_bfloat16", lambda device: True)
    assert types_of("nf4", CPU) == (torch.bfloat16, torch.bfloat16)
    assert load_frozen(str(tiny_base_folder), "bfloat16", CPU).dtype == torch.bfloat16
    assert load_frozen(str(tiny_base_folder), "int8", CPU).dtype == torch.bfloat16
    assert load_frozen(str(tiny_base_folder), "float32", CPU).dtype == torch.float32


def test_prompts_of_rounded_encoders_are_cached_apart(packed_base: BaseModel, tiny_base: BaseModel) -> None:
    assert packed_base.text_precision != tiny_base.text_precision


def test_float32_is_the_base_itself(tiny_base_folder: Path) -> None:
    same = probe(load_frozen(str(tiny_base_folder), "float32", CPU))
    assert torch.equal(same, probe(load_base(str(tiny_base_folder))))
