"""DoRA without the full weight: against the formula that forms it."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from finetune.adapter.attach import NAME
from finetune.adapter.lean import make_lean, row_norms
from finetune.adapter.low_rank import LowRank


def dora(bias: bool, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> nn.Module:
    return adapted("dora", bias, dtype, dropout)


def adapted(kind: str, bias: bool, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> nn.Module:
    """A linear layer 12 → 20 with a lean adapter of rank 3."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 20, bias=bias)).to(dtype)
    config = LoraConfig(r=3, lora_alpha=6, target_modules="0", use_dora=kind == "dora", lora_dropout=dropout)
    inject_adapter_in_model(config, model, adapter_name=NAME)
    layer = model[0]
    make_lean(layer, NAME)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return layer


def stir(layer: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "lora_" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))


def formed(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the layer should give, by the weight that it never forms."""
    base, magnitude = layer.get_base_layer(), layer.lora_magnitude_vector[NAME].weight
    weight = base.weight + 2.0 * layer.lora_B[NAME].weight @ layer.lora_A[NAME].weight
    weight = magnitude[:, None] * weight / weight.norm(dim=1, keepdim=True)
    return nn.functional.linear(x, weight, base.bias)


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_those_of_the_full_weight(bias: bool) -> None:
    layer = dora(bias).double()
    stir(layer)
    x, wanted = torch.randn(2, 5, 12).double().requires_grad_(), torch.randn(2, 5, 20).double()
    learned = [x, *(p for n, p in layer.named_parameters() if "lora_" in n)]
    gradients = []
    for compute in (layer, lambda x: formed(layer, x)):
        loss = (compute(x) - wanted).square().mean()
        gradients.append(torch.autograd.grad(loss, learned))
    torch.testing.assert_close(layer(x), formed(layer, x), rtol=1e-6, atol=1e-7)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_the_slopes_of_the_result(kind: str, dropout: float) -> None:
    layer = adapted(kind, bias=True, dropout=dropout).double()
    stir(layer)
    names = [name for name, _ in layer.named_parameters() if "lora_" in name]
    values = [layer.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def result(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)  # the same elements are dropped each time
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(4, 12).double().requires_grad_()
    assert torch.autograd.gradcheck(result, (x, *values))


def test_it_is_the_merged_weight_of_a_file() -> None:
    layer, x = dora(bias=True), torch.randn(4, 12)
    stir(layer)
    base = layer.get_base_layer()
    stored = LowRank(
        layer.lora_A[NAME].weight, layer.lora_B[NAME].weight, 2.0, layer.lora_magnitude_vector[NAME].weight
    )
    torch.testing.assert_close(layer(x), nn.functional.linear(x, stored.merged(base.weight), base.bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fresh_it_is_the_base_to_the_last_bit(dtype: torch.dtype) -> None:
    layer = dora(bias=False, dtype=dtype)
    x = torch.randn(7, 12).to(dtype)
    with torch.no_grad():
        assert torch.equal(layer(x), layer.get_base_layer()(x))


def test_dropout_falls_on_the_low_rank_part_alone() -> None:
    layer = dora(bias=False, dropout=0.5).train()
    x = torch.randn(7, 12)
    with torch.no_grad():
        assert torch.equal(layer(x), layer.get_base_layer()(x)), (
            "B is zero: nothing of the base's part is dropped"
        )


def test_the_norm_takes_nothing_as_large_as_the_weight() -> None:
    base = nn.Linear(512, 1024, bias=False)
    down, up = torch.randn(4, 512), torch.randn(1024, 4)
    squared = base.weight.detach().square().sum(1)
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, call, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
            made = call(*arguments, **(named or {}))
            if isinstance(made, torch.Tensor) and "view" not in str(call) and "t.default" not in str(call):
                sizes.append(made.numel())
            return made

    with Watch():
        row_norms(squared, base(down), down, up, 1.0)
    assert max(sizes) < base.weight.numel() / 50
