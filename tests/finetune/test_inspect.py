"""What an adapter is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_adapters import FACTS, little_base, modules, random_adapter
from typer.testing import CliRunner

from finetune import inspect_adapter
from finetune.adapter.formats import FORMATS, Format, write_adapter
from finetune.adapter.formats.geometry import Geometry, geometry_of
from finetune.base_model import BaseModel
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.inspect_adapter import inspect


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> BaseModel:
    """The base that `--base little` names."""
    made = little_base(True)
    monkeypatch.setattr(inspect_adapter, "load_base", lambda name: made)
    return made


def written(base: BaseModel, folder: Path, format: Format = "peft", kind: str = "lora") -> Path:
    names = modules(base, duration=format != "comfyui")
    path = folder / ("a" if format == "peft" else "a.safetensors")
    write_adapter(random_adapter(base, kind, (4, 2), (0.5, 2.0), names), format, path, torch.float32, base)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_is_said_whatever_the_format(base: BaseModel, tmp_path: Path, format: Format) -> None:
    seen = inspect(written(base, tmp_path, format))
    inside = 19 + (format != "comfyui")
    assert (seen.format, seen.kind, seen.modules) == (format, "lora", inside)
    assert seen.ranks == ([4] if format == "stable-audio-3" else [2, 4])
    assert (seen.width, seen.blocks, seen.differential) == (32, 2, True)
    assert seen.targets["self_attn.to_qkv"] == 2
    assert seen.fits == "no published base of Stable Audio 3"
    assert seen.facts["trigger"] == FACTS["trigger"]
    assert [effect.block for effect in seen.effects] == ["0", "1", "outside"]


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_effect_is_the_norm_of_the_change(base: BaseModel, tmp_path: Path, kind: str) -> None:
    """With the base: of the whole change, beside the weights' own norm. Without: of the low-rank part."""
    adapter = random_adapter(base, kind, (4, 2), (0.5, 2.0))
    path = written(base, tmp_path, kind=kind)
    block = {m: p for m, p in adapter.modules.items() if ".1." in m and "blocks" in m}
    low_rank = sum(float((p.scale * p.up @ p.down).square().sum()) for p in block.values()) ** 0.5
    assert inspect(path).effects[1].norm == pytest.approx(low_rank, rel=1e-5)
    assert inspect(path).effects[1].relative is None
    weights = {m: base.trainable_parts.get_submodule(m).weight.detach() for m in block}  # type: ignore[operator]
    change = sum(float((p.merged(weights[m]) - weights[m]).square().sum()) for m, p in block.items()) ** 0.5
    own = sum(float(weight.square().sum()) for weight in weights.values()) ** 0.5
    seen = inspect(path, "little").effects[1]
    assert seen.norm == pytest.approx(change, rel=1e-5)
    assert seen.relative == pytest.approx(change / own, rel=1e-5)


def test_parameters_are_counted(base: BaseModel, tmp_path: Path) -> None:
    adapter = random_adapter(base, "dora", (4, 2), names=modules(base, duration=False))
    expected = sum(p.up.numel() + p.down.numel() + len(p.up) for p in adapter.modules.values())
    write_adapter(adapter, "comfyui", tmp_path / "a.safetensors", torch.float32, base)
    assert inspect(tmp_path / "a.safetensors", "little").parameters == expected


def test_what_needs_the_base_says_so_and_tells_the_rest(base: BaseModel, tmp_path: Path) -> None:
    path = written(base, tmp_path, "comfyui", "dora")
    seen = inspect(path)
    assert "--base" in str(seen.needs_base)
    assert seen.facts["licence"] == FACTS["licence"]
    assert inspect(path, "little").needs_base is None


def test_a_base_that_does_not_fit_is_refused(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_adapter, "load_base", lambda name: little_base(False))
    with pytest.raises(WoodshedError, match=r"Only 14 of its 20 modules fit"):
        inspect(written(base, tmp_path), "little")


@pytest.mark.parametrize(
    ("width", "block", "factor", "name"),
    [
        (1024, 19, 3, "stable-audio-3-small"),
        (1536, 23, 5, "stable-audio-3-medium"),
        (1536, 23, 3, "stable-audio-3"),
        (1024, 20, 3, "stable-audio-3"),
    ],
)
def test_published_bases_are_told_by_geometry(width: int, block: int, factor: int, name: str) -> None:
    from finetune.adapter.low_rank import LowRank

    part = LowRank(torch.zeros(1, width), torch.zeros(factor * width, 1), 1.0)
    geometry = geometry_of({f"transformer.transformer_blocks.{block}.self_attn.to_qkv": part})
    assert geometry == Geometry(width, block + 1, factor == 5)
    assert geometry.architecture == name


def test_the_starter_is_told_by_geometry_too() -> None:
    from finetune.adapter.low_rank import LowRank
    from finetune.base_model.starter.geometry import TRANSFORMER

    width, depth = TRANSFORMER["embed_dim"], TRANSFORMER["depth"]
    part = LowRank(torch.zeros(1, width), torch.zeros(3 * width, 1), 1.0)
    geometry = geometry_of({f"transformer.transformer_blocks.{depth - 1}.self_attn.to_qkv": part})
    assert geometry.fits == "the embedded starter"


def test_the_command_prints_a_table_or_json(base: BaseModel, tmp_path: Path) -> None:
    path = str(written(base, tmp_path))
    said = json.loads(CliRunner().invoke(app, ["inspect", path, "--json"]).stdout)
    assert said["ok"] is True
    assert said["effects"][0]["modules"] == 7
    shown = CliRunner().invoke(app, ["inspect", path, "--base", "little"]).output
    for words in ("mykit", "2, 4", "norm of change", "outside", "%"):
        assert words in shown
