"""A training goes on from an adapter of any format, or a sentence says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_adapters import little_base, merge, predict, random_adapter

from finetune.adapter import AdapterSettings, attach, load_adapter
from finetune.adapter.formats import FORMATS, Format, read_adapter, write_adapter
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

MINE = AdapterSettings(rank=4, alpha=8.0, targets="attention")


def file(
    folder: Path, base: BaseModel, kind: str = "lora", rank: int = 3, format: Format = "stable-audio-3"
) -> Path:
    """An adapter of the modules that MINE adapts."""
    fresh = attach(little_base(True), MINE)
    names = [
        n.removesuffix(".lora_A.weight") for n in fresh.named_parameters() if n.endswith("lora_A.weight")
    ]
    adapter = random_adapter(base, kind, ranks=(rank,), scales=(0.7, 1.5), names=names)
    path = folder / ("a" if format == "peft" else "a.safetensors")
    write_adapter(LowRankAdapter(adapter.modules), format, path, torch.float32, base)
    return path


def settings(path: Path, **changes: object) -> AdapterSettings:
    return AdapterSettings(**{**vars(MINE), "init_from": str(path), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("format", FORMATS)
def test_it_begins_where_the_file_ends(tmp_path: Path, format: Format, kind: str) -> None:
    """Of a lower rank and other scales, from any format; the new directions can learn."""
    base = little_base(True)
    path = file(tmp_path, base, kind, format=format)
    merge(exact := little_base(True), read_adapter(path, base))
    adapter = attach(base, settings(path, kind=kind))
    torch.testing.assert_close(predict(base), predict(exact), rtol=0, atol=1e-4)
    down = adapter.named_parameters()["transformer.transformer_blocks.0.self_attn.to_qkv.lora_A.weight"]
    assert down.shape[0] == 4
    assert down[3].abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"targets": "attention+ff"}, "adapts 10 modules and this recipe 14; 10 are the same"),
        ({"kind": "dora"}, "is a lora and this recipe trains a dora. Set adapter.kind=lora"),
        ({"rank": 2}, "has rank 3 .*Set adapter.rank=3 or more"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    base = little_base(True)
    with pytest.raises(WoodshedError, match=says):
        attach(base, settings(file(tmp_path, base), **changes))


def test_a_kind_that_is_not_trained_is_said(tmp_path: Path) -> None:
    base = little_base(True)
    with pytest.raises(WoodshedError, match=r"is a bora .* cannot be trained on"):
        attach(base, settings(file(tmp_path, base, "bora")))


def test_another_geometry_and_another_recorded_base_are_refused(tmp_path: Path) -> None:
    base = little_base(True)
    with pytest.raises(WoodshedError, match=r"is for another base: .* is 96×32 there and 64×32 here"):
        attach(little_base(False), settings(file(tmp_path, base)))
    path = tmp_path / "b.safetensors"
    adapter = random_adapter(base)  # its header records a fingerprint
    write_adapter(adapter, "stable-audio-3", path, torch.float32)
    with pytest.raises(WoodshedError, match="trained on another base"):
        attach(base, settings(path))


def test_an_exported_peft_folder_loads_as_a_runs_own(tmp_path: Path) -> None:
    base = little_base(False)
    adapter = LowRankAdapter(random_adapter(base, "dora", ranks=(4, 2), scales=(0.5, 2.0)).modules)
    write_adapter(adapter, "peft", tmp_path / "a", torch.float32)
    merge(exact := little_base(False), adapter)
    load_adapter(base, tmp_path / "a")
    torch.testing.assert_close(predict(base), predict(exact), rtol=0, atol=1e-4)
