"""Adapters: attached, scaled, saved, loaded, and the same in PEFT's own hands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from finetune.adapter import Adapter, AdapterSettings, attach, find_adapter, load_adapter, read_card
from finetune.adapter.folder import CONFIG, WEIGHTS, save_adapter
from finetune.base_model import BaseModel, Conditions, PromptEmbedding, load_base
from finetune.errors import WoodshedError

KINDS = [AdapterSettings(kind="lora", rank=4), AdapterSettings(kind="dora", rank=4, duration_embedder=True)]
kinds = pytest.mark.parametrize("settings", KINDS, ids=["lora", "dora"])


def predict(base: BaseModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, base.latent_channels, 6, generator=generator)
    prompts = [PromptEmbedding(torch.ones(n, base.transformer.config.cond_token_dim)) for n in (2, 4)]
    with torch.no_grad():
        return base.velocity(noisy, torch.tensor([0.3, 0.8]), Conditions(prompts, torch.tensor([1.0, 5.0])))


def trained(base: BaseModel, settings: AdapterSettings) -> Adapter:
    """An adapter that does something, in place."""
    adapter = attach(base, settings, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return adapter


def card(base: BaseModel) -> dict[str, str]:
    return {"base": base.name, "base_fingerprint": base.fingerprint}


@kinds
def test_a_fresh_adapter_changes_nothing(tiny_base: BaseModel, settings: AdapterSettings) -> None:
    before = predict(tiny_base)
    attach(tiny_base, settings, seed=1)
    torch.testing.assert_close(
        predict(tiny_base), before, rtol=0, atol=1e-6 if settings.kind == "dora" else 0
    )


@kinds
def test_only_the_adapter_trains_in_float32(tiny_base_folder: Path, settings: AdapterSettings) -> None:
    base = load_base(str(tiny_base_folder), torch.bfloat16)
    adapter = attach(base, settings, seed=1)
    own = {id(p) for p in adapter.parameters()}
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}
    assert all(p.requires_grad == (id(p) in own) for p in base.trainable_parts.parameters())


def test_the_seed_alone_decides_the_first_weights(tiny_base_folder: Path) -> None:
    states = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(noise)
        states.append(attach(load_base(str(tiny_base_folder)), KINDS[0], seed).state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(
    ("targets", "inside"),
    [
        ("attention", {"to_qkv", "to_q", "to_kv", "to_out"}),
        ("attention+ff", {"to_qkv", "to_q", "to_kv", "to_out", "proj_in", "proj_out"}),
        ("all", {"to_qkv", "to_q", "to_kv", "to_out", "proj_in", "proj_out", "0", "2"}),
    ],
)
def test_targets_are_what_they_say(tiny_base: BaseModel, targets: str, inside: set[str]) -> None:
    adapter = attach(tiny_base, AdapterSettings(rank=2, targets=targets))
    modules = {re.sub(r"\.lora_[AB]\.weight$", "", name) for name in adapter.named_parameters()}
    assert {name.rsplit(".", 1)[1] for name in modules} == inside
    assert "transformer.proj_in" not in modules, "the DiT's own input projection is not the feed-forward's"


@kinds
def test_strength_zero_is_the_base_to_the_last_bit(
    tiny_base_folder: Path, tmp_path: Path, settings: AdapterSettings
) -> None:
    base = load_base(str(tiny_base_folder))
    plain = predict(base)
    adapter = trained(base, settings)
    full = predict(base)
    assert (full - plain).abs().mean() > 0.01
    save_adapter(adapter, tmp_path / "adapter", card(base))
    by_strength = {}
    for strength in (0.0, 0.01, 0.5, 1.0):
        other = load_base(str(tiny_base_folder))
        load_adapter(other, tmp_path / "adapter", strength)
        by_strength[strength] = predict(other)
    assert torch.equal(by_strength[0.0], plain)
    assert torch.equal(by_strength[1.0], full)
    assert (by_strength[0.01] - plain).abs().max() < 0.1 * (full - plain).abs().max(), "it starts at the base"
    assert not torch.equal(by_strength[0.5], full)


@kinds
def test_peft_itself_loads_the_folder_to_the_same_predictions(
    tiny_base_folder: Path, tmp_path: Path, settings: AdapterSettings
) -> None:
    base = load_base(str(tiny_base_folder))
    adapter = trained(base, settings)
    save_adapter(adapter, tmp_path / "adapter", card(base))
    other = load_base(str(tiny_base_folder))
    PeftModel.from_pretrained(other.transformer, str(tmp_path / "adapter"))
    if settings.duration_embedder:
        PeftModel.from_pretrained(other.duration_embedder, str(tmp_path / "adapter" / "duration_embedder"))
    tolerance = 1e-5 if settings.kind == "dora" else 0  # PEFT takes the norm of the whole weight
    torch.testing.assert_close(predict(other), predict(base), rtol=0, atol=tolerance)


@kinds
def test_training_goes_on_from_a_saved_adapter(
    tiny_base_folder: Path, tmp_path: Path, settings: AdapterSettings
) -> None:
    base = load_base(str(tiny_base_folder))
    save_adapter(trained(base, settings), tmp_path / "adapter", card(base))
    other = load_base(str(tiny_base_folder))
    again = AdapterSettings(**{**vars(settings), "init_from": str(tmp_path / "adapter")})
    attach(other, again, seed=9)
    assert torch.equal(predict(other), predict(base))


def test_a_saved_folder_is_replaced_whole(tiny_base: BaseModel, tmp_path: Path) -> None:
    adapter = trained(tiny_base, KINDS[0])
    folder = tmp_path / "adapter"
    save_adapter(adapter, folder, card(tiny_base) | {"step": 1})
    (folder / "stranger.txt").write_text("old")
    save_adapter(adapter, folder, card(tiny_base) | {"step": 2})
    assert sorted(p.name for p in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"], "nothing half-written is left beside it"
    assert read_card(folder)["step"] == 2
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        assert json.loads(file.metadata()["woodshed"])["base_fingerprint"] == tiny_base.fingerprint


def test_another_base_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    base = load_base(str(tiny_base_folder))
    save_adapter(trained(base, KINDS[0]), tmp_path / "adapter", card(base) | {"base_fingerprint": "f" * 64})
    with pytest.raises(WoodshedError, match="trained on another base"):
        load_adapter(load_base(str(tiny_base_folder)), tmp_path / "adapter")


def test_missing_weights_are_counted(tiny_base: BaseModel) -> None:
    adapter = attach(tiny_base, KINDS[0])
    state = adapter.state()
    first = next(iter(state))
    del state[first]
    with pytest.raises(
        WoodshedError,
        match=re.escape(f"1 of its weights are missing, left over or of another shape, for instance {first}"),
    ):
        adapter.load_state(state)


def test_what_is_no_adapter_is_named(tmp_path: Path, tiny_base: BaseModel) -> None:
    with pytest.raises(WoodshedError, match="neither a run of Woodshed nor an adapter"):
        find_adapter(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(WoodshedError, match="woodshed resume"):
        find_adapter(tmp_path)
    save_adapter(trained(tiny_base, KINDS[0]), tmp_path / "adapter", card(tiny_base))
    assert find_adapter(tmp_path) == tmp_path / "adapter"
    weights = tmp_path / "adapter" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(WoodshedError, match="damaged or cut off"):
        read_card(tmp_path)
