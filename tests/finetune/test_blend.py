"""Several adapters in one base: what the weights become, when they change, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from finetune.adapter import AdapterSettings, attach, load_adapter
from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.folder import save_adapter
from finetune.adapter.layers import select_modules
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel, Conditions, PromptEmbedding, load_base
from finetune.errors import WoodshedError

QKV = "transformer.transformer_blocks.0.self_attn.to_qkv"
PROJ_IN = "transformer.transformer_blocks.1.ff.proj_in"
CROSS = "transformer.transformer_blocks.1.cross_attn.to_q"
DURATION = "duration_embedder.linear"
MODULES = [QKV, PROJ_IN, CROSS, DURATION]


def weight(base: BaseModel, module: str) -> torch.Tensor:
    return base.trainable_parts.get_submodule(module).weight


def random_adapter(base: BaseModel, seed: int, dora: bool = False) -> LowRankAdapter:
    torch.manual_seed(seed)
    modules = {}
    for name in MODULES:
        out, into = weight(base, name).shape
        magnitude = weight(base, name).float().norm(dim=1) * (1 + 0.2 * torch.rand(out)) if dora else None
        modules[name] = LowRank(torch.randn(3, into) * 0.2, torch.randn(out, 3) * 0.2, 0.5, magnitude)
    return LowRankAdapter(modules)


def bits(base: BaseModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in base.trainable_parts.state_dict().items()}


def assert_same_bits(base: BaseModel, before: dict[str, torch.Tensor]) -> None:
    for name, value in base.trainable_parts.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def base(request: pytest.FixtureRequest, tiny_base_folder: Path) -> Iterator[BaseModel]:
    yield load_base(str(tiny_base_folder), request.param)


def test_each_weight_is_the_base_plus_every_adapters_change_rounded_once(base: BaseModel) -> None:
    one, two = random_adapter(base, 1), random_adapter(base, 2, dora=True)
    before = bits(base)
    with Blend(base, [AdapterUse(one, "one", 0.8), AdapterUse(two, "two", -0.5)]):
        for module in MODULES:
            own = before[f"{module}.weight"].float()
            a, b = one.modules[module], two.modules[module]
            change = 0.8 * 0.5 * a.up @ a.down
            change = change + b.merged(own, -0.5) - own
            expected = (own + change).to(weight(base, module).dtype)
            torch.testing.assert_close(weight(base, module), expected)
    assert_same_bits(base, before)


def test_one_adapter_alone_is_its_merge_to_the_last_bit(base: BaseModel) -> None:
    adapter = random_adapter(base, 1, dora=True)
    before = bits(base)
    with Blend(base, [AdapterUse(adapter, "one", 0.7), AdapterUse(random_adapter(base, 2), "two", 0.0)]):
        for module, part in adapter.modules.items():
            merged = part.merged(before[f"{module}.weight"], 0.7).to(weight(base, module).dtype)
            assert torch.equal(weight(base, module), merged)


def test_the_order_of_two_adapters_does_not_matter(base: BaseModel) -> None:
    uses = [AdapterUse(random_adapter(base, n, dora=n == 2), str(n)) for n in (1, 2)]
    with Blend(base, uses):
        there = bits(base)
    with Blend(base, uses[::-1]):
        assert_same_bits(base, there)


def test_strength_zero_and_an_interval_not_reached_are_the_base_to_the_last_bit(base: BaseModel) -> None:
    transformer = LowRankAdapter(
        {m: p for m, p in random_adapter(base, 1, dora=True).modules.items() if m != DURATION}
    )
    before = bits(base)
    uses = [
        AdapterUse(random_adapter(base, 2, dora=True), "off", 0.0),
        AdapterUse(transformer, "late", noise=(0, 0.4)),
    ]
    with Blend(base, uses) as blend:
        assert_same_bits(base, before)
        blend.at(0.41)
        assert_same_bits(base, before)
        blend.at(0.4)
        assert not torch.equal(weight(base, QKV), before[f"{QKV}.weight"])
    assert_same_bits(base, before)


def test_an_error_on_the_way_leaves_the_base_as_it_was(base: BaseModel) -> None:
    before = bits(base)
    with pytest.raises(KeyboardInterrupt), Blend(base, [AdapterUse(random_adapter(base, 1), "one")]):
        raise KeyboardInterrupt
    assert_same_bits(base, before)


def test_weights_are_merged_anew_only_where_what_acts_changes(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[float] = []
    real = LowRank.merged

    def counted(self: LowRank, weight: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
        merged.append(strength)
        return real(self, weight, strength)

    monkeypatch.setattr(LowRank, "merged", counted)
    adapter = random_adapter(tiny_base, 1)
    in_transformer = len(MODULES) - 1
    with Blend(
        tiny_base, [AdapterUse(adapter, "always", 0.5), AdapterUse(adapter, "late", 1.5, (0, 0.6))]
    ) as blend:
        assert merged.count(0.5) == len(MODULES)
        assert merged.count(1.5) == 1, "the duration embedder is asked once for all steps"
        for t in (0.9, 0.7, 0.61):
            blend.at(t)
        assert len(merged) == len(MODULES) + 1
        for t in (0.6, 0.3, 0.0):
            blend.at(t)
        assert merged.count(1.5) == 1 + in_transformer
        assert merged.count(0.5) == len(MODULES) + in_transformer


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("strength", [0.6, 1.0, 1.7])
def test_predictions_are_those_of_peft(
    kind: str, strength: float, tiny_base_folder: Path, tmp_path: Path
) -> None:
    trained = load_base(str(tiny_base_folder))
    adapter = attach(trained, AdapterSettings(kind=kind, rank=2, duration_embedder=True))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_adapter(adapter, tmp_path / "adapter", {"base": "tiny", "base_fingerprint": trained.fingerprint})
    with_peft, blended = load_base(str(tiny_base_folder)), load_base(str(tiny_base_folder))
    parts = peft_modules(adapter.state())
    load_adapter(with_peft, tmp_path / "adapter", strength)
    expected, untouched = predict(with_peft), predict(blended)
    with Blend(blended, [AdapterUse(LowRankAdapter(parts), "it", strength)]):
        got = predict(blended)
    effect = (expected - untouched).norm()
    assert (got - expected).norm() < 2e-5 * expected.norm()
    assert effect > 100 * (got - expected).norm()
    assert torch.equal(predict(blended), untouched)


def peft_modules(state: dict[str, torch.Tensor]) -> dict[str, LowRank]:
    names = {name.partition(".lora_")[0] for name in state}
    return {
        name: LowRank(
            state[f"{name}.lora_A.weight"],
            state[f"{name}.lora_B.weight"],
            16 / 2,
            next((w.flatten() for n, w in state.items() if n.startswith(f"{name}.lora_magnitude")), None),
        )
        for name in names
    }


@torch.no_grad()
def predict(base: BaseModel) -> torch.Tensor:
    torch.manual_seed(0)
    noisy = torch.randn(1, base.latent_channels, 12)
    conditions = Conditions([PromptEmbedding(torch.randn(3, 32))], torch.tensor([0.5]))
    return base.velocity(noisy, torch.tensor([0.7]), conditions)


def test_an_adapter_of_another_base_is_refused_with_counts(tiny_base: BaseModel) -> None:
    right = random_adapter(tiny_base, 1).modules
    low = right[QKV]
    wide = LowRank(torch.randn(3, 99), low.up, 1.0)
    elsewhere = {
        name.replace("blocks.", "blocks.7"): part for name, part in right.items() if "blocks" in name
    }
    cases = [
        (right | {QKV: wide}, r"Only 3 of its 4 modules fit; .*to_qkv is not there, or of another shape"),
        ({QKV: wide, DURATION: right[DURATION]}, "Only 1 of its 2 modules fit"),
        (elsewhere, "None of its 3 modules fit"),
        ({QKV: LowRank(low.down, low.up, 1.0, torch.ones(3))}, "None of its 1 modules"),
        ({"transformer.transformer_blocks.0.pre_norm": low}, "None of its 1 modules"),
        ({}, "holds no weights"),
    ]
    before = bits(tiny_base)
    for modules, words in cases:
        with pytest.raises(WoodshedError, match=words):
            Blend(tiny_base, [AdapterUse(LowRankAdapter(modules), "it", 0.0)])
    assert_same_bits(tiny_base, before)


def test_layers_are_blocks_and_kinds() -> None:
    assert select_modules("", MODULES) == set(MODULES)
    assert select_modules("0", MODULES) == {QKV}
    assert select_modules("0-1", MODULES) == {QKV, PROJ_IN, CROSS}
    assert select_modules("attention", MODULES) == {QKV, CROSS}
    assert select_modules("self-attention, ff", MODULES) == {QKV, PROJ_IN}
    assert select_modules("1,attention", MODULES) == {CROSS}
    assert select_modules("other", MODULES) == {DURATION}
    for wrong in ("9-2", "blocks", "0-9;ff", "-1", "0-99999999999"):
        with pytest.raises(WoodshedError, match=r"range of blocks|names no layers"):
            select_modules(wrong, MODULES)


def test_only_the_chosen_layers_change(tiny_base: BaseModel) -> None:
    before = bits(tiny_base)
    adapter = random_adapter(tiny_base, 1)
    with Blend(tiny_base, [AdapterUse(adapter, "it", layers="1,ff")]):
        changed = {
            n for n, w in tiny_base.trainable_parts.state_dict().items() if not torch.equal(w, before[n])
        }
    assert changed == {f"{PROJ_IN}.weight"}
    with pytest.raises(WoodshedError, match=r"'it' has nothing in the layers '7'; it changes 4 modules"):
        Blend(tiny_base, [AdapterUse(adapter, "it", layers="7")])
