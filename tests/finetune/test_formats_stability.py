"""Stability's native file: all eight types as their own code saves them, old spellings, and what it cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_adapters import little_base, random_adapter
from torch import nn

from finetune.adapter.formats import read_adapter, write_adapter
from finetune.base_model.stability.keys import rows_from_stability, rows_to_stability
from finetune.errors import WoodshedError

FIXTURE = Path(__file__).parent / "fixtures" / "stability_adapters.safetensors"
TYPES = ("lora", "dora-rows", "dora-cols", "bora", "lora-xs", "dora-rows-xs", "dora-cols-xs", "bora-xs")
QKV, CONV = "transformer.transformer_blocks.0.self_attn.to_qkv", "transformer.preprocess_conv"
THEIRS = {QKV: "model.transformer.layers.0.self_attn.to_qkv", CONV: "model.preprocess_conv"}


def golden(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors of the file of one type, and its header."""
    with safe_open(FIXTURE, framework="pt") as file:
        tensors = {
            k.removeprefix(f"{kind}/"): file.get_tensor(k)
            for k in file.keys()  # noqa: SIM118 (a safetensors file is no mapping)
            if k.startswith(f"{kind}/")
        }
        return tensors, {"lora_config": file.metadata()[kind]}


def golden_base() -> Any:
    """The fixture's two weights, in our row order, where a base has them."""
    stored = load_file(FIXTURE)
    root = nn.Module()
    for module, theirs in THEIRS.items():
        place = root
        for name in module.split("."):
            if not hasattr(place, name):
                place.add_module(name, nn.Module())
            place = place.get_submodule(name)
        weight = rows_from_stability(module, stored[f"weight {theirs}"], module == QKV)
        place.weight = nn.Parameter(weight)
    return SimpleNamespace(name="golden", trainable_parts=root)


@pytest.mark.parametrize("kind", TYPES)
def test_their_files_do_here_what_they_do_there(tmp_path: Path, kind: str) -> None:
    tensors, header = golden(kind)
    merged = {module: tensors.pop(f"merged {theirs}") for module, theirs in THEIRS.items()}
    save_file(tensors, tmp_path / "a.safetensors", header)
    base = golden_base()
    adapter = read_adapter(tmp_path / "a.safetensors", base)
    assert adapter.modules.keys() == THEIRS.keys()
    for module, part in adapter.modules.items():
        weight = base.trainable_parts.get_submodule(module).weight.detach()
        ours = rows_to_stability(module, part.merged(weight), module == QKV)
        torch.testing.assert_close(ours, merged[module], rtol=0, atol=2e-6)
        assert (part.merged(weight) - weight).abs().max() > 0.05


def test_relative_kinds_ask_for_the_base(tmp_path: Path) -> None:
    tensors, header = golden("lora-xs")
    save_file({k: t for k, t in tensors.items() if "merged" not in k}, tmp_path / "a.safetensors", header)
    with pytest.raises(WoodshedError, match=r"relative to the weights of its base. Name the base .* --base"):
        read_adapter(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("shape", "kind"), [((1, -1), "dora-cols"), ((-1, 1), "dora"), ((-1,), "dora")])
def test_what_was_once_called_dora(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    """Columns where the magnitudes are (1, in); rows where they are (out, 1) or of one dimension."""
    tensors, header = golden("dora-cols" if kind == "dora-cols" else "dora-rows")
    stored = {
        k: t.reshape(shape) if k.endswith("magnitude") else t for k, t in tensors.items() if "merged" not in k
    }
    config = json.loads(header["lora_config"]) | {"adapter_type": "dora"}
    save_file(stored, tmp_path / "a.safetensors", {"lora_config": json.dumps(config)})
    assert {part.kind for part in read_adapter(tmp_path / "a.safetensors").modules.values()} == {kind}


def test_without_a_configuration_their_defaults_hold(tmp_path: Path) -> None:
    tensors, _ = golden("lora")
    save_file({k: t for k, t in tensors.items() if "merged" not in k}, tmp_path / "a.safetensors")
    assert {part.scale for part in read_adapter(tmp_path / "a.safetensors").modules.values()} == {1.0}


def test_include_names_the_modules_in_full_and_no_other_is_matched(tmp_path: Path) -> None:
    """Their matching is by substring; a block's number must not match a longer one."""
    base = little_base(True)
    write_adapter(random_adapter(base), "stable-audio-3", tmp_path / "a.safetensors", torch.float16)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        config = json.loads(file.metadata()["lora_config"])
        modules = {key.split(".parametrizations.")[0] for key in file.keys()}  # noqa: SIM118
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert set(config["include"]) == modules
    many = [f"{name[:25]}{block}{name[26:]}" for name in modules if "layers" in name for block in range(24)]
    inside = {name for name in [*modules, *many] if any(pattern in name for pattern in config["include"])}
    assert inside == modules
    assert (config["rank"], config["alpha"], config["adapter_type"]) == (4, 2.0, "lora")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"adapter_type": "vera"}, "type 'vera', which Woodshed does not know"),
        (
            {"adapter_type": "bora"},
            "a bora has lora_A, lora_B, magnitude_c, magnitude_r, the file has lora_A, lora_B",
        ),
        ({"rank": 7}, "has rank 2, but its header says 7"),
        ({"alpha": "loud"}, "the alpha in its header is 'loud'"),
        ({"alpha": float("inf")}, "the alpha in its header is 'inf'"),
    ],
)
def test_headers_that_do_not_fit_the_tensors(tmp_path: Path, change: dict[str, object], says: str) -> None:
    tensors, header = golden("lora")
    config = json.dumps(json.loads(header["lora_config"]) | change)
    stored = {k: t for k, t in tensors.items() if "merged" not in k}
    save_file(stored, tmp_path / "a.safetensors", {"lora_config": config})
    with pytest.raises(WoodshedError, match=says):
        read_adapter(tmp_path / "a.safetensors")


def test_a_module_that_is_not_ours_is_named(tmp_path: Path) -> None:
    tensors, header = golden("lora")
    stored = {
        k.replace("preprocess_conv", "pretransform.x"): t for k, t in tensors.items() if "merged" not in k
    }
    save_file(stored, tmp_path / "a.safetensors", header)
    with pytest.raises(WoodshedError, match=r"changes 'model.pretransform.x', which is no part of"):
        read_adapter(tmp_path / "a.safetensors")
