"""Adapters in every program's file: what goes in comes out, and the base predicts the same with either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file
from small_adapters import FACTS, little_base, merge, modules, predict, random_adapter

from finetune.adapter.formats import FORMATS, Format, read_adapter, read_facts, write_adapter
from finetune.adapter.formats.tensor_hash import tensor_hash
from finetune.adapter.formats.tensors import write_tensors
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

HOLDS = {
    "peft": ("lora", "dora"),
    "diffusers": ("lora", "dora"),
    "stable-audio-3": ("lora", "dora", "dora-cols", "bora"),
    "comfyui": ("lora", "dora", "dora-cols"),
}
BASES: dict[bool, BaseModel] = {}
PAIRS = [(format, kind) for format, kinds in HOLDS.items() for kind in kinds]


@pytest.fixture(params=[False, True], ids=["plain", "differential"])
def base(request: pytest.FixtureRequest) -> BaseModel:
    return little_base(request.param)


def place(format: Format, folder: Path) -> Path:
    return folder / (f"out-{format}" + ("" if format == "peft" else ".safetensors"))


def assert_same(one: LowRankAdapter, other: LowRankAdapter, base: BaseModel) -> None:
    """Each weight becomes the same, to the rounding of float32."""
    assert one.modules.keys() == other.modules.keys()
    for module, part in one.modules.items():
        weight = base.trainable_parts.get_submodule(module).weight.detach()  # type: ignore[operator]
        expected = part.merged(weight)
        torch.testing.assert_close(other.modules[module].merged(weight), expected, rtol=0, atol=2e-6)
        assert (expected - weight).abs().max() > 0.01, "it changes something"


def held(base: BaseModel, format: str) -> list[str]:
    return modules(base, duration=format != "comfyui")


@pytest.mark.parametrize(("format", "kind"), PAIRS)
def test_what_is_written_is_read(base: BaseModel, tmp_path: Path, format: Format, kind: str) -> None:
    adapter = random_adapter(base, kind, ranks=(4, 2), scales=(0.5, 2.0, 0.7), names=held(base, format))
    write_adapter(adapter, format, place(format, tmp_path), torch.float32, base)
    back = read_adapter(place(format, tmp_path), base)
    assert_same(adapter, back, base)
    assert {key: back.facts[key] for key in FACTS} == FACTS
    assert back.facts["format"] == format
    assert read_facts(place(format, tmp_path)) == back.facts


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_from_format_to_format_nothing_is_lost(base: BaseModel, tmp_path: Path, kind: str) -> None:
    adapter = random_adapter(base, kind, names=modules(base, duration=False))
    now = adapter
    for number, format in enumerate(
        ("peft", "stable-audio-3", "comfyui", "diffusers", "stable-audio-3", "peft")
    ):
        path = place(format, tmp_path / str(number))
        write_adapter(now, format, path, torch.float32, base)  # type: ignore[arg-type]
        now = read_adapter(path, base)
    assert_same(adapter, now, base)
    if kind == "lora":
        for module, part in adapter.modules.items():
            assert torch.equal(now.modules[module].up, part.up), "to the last bit"
            assert torch.equal(now.modules[module].down, part.down)
            assert now.modules[module].scale == part.scale


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["lora", "dora"]),
    ranks=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    scales=st.lists(st.floats(0.01, 30), min_size=1, max_size=3),
    differential=st.booleans(),
    road=st.lists(st.sampled_from(FORMATS), min_size=1, max_size=3),
)
def test_any_adapter_survives_any_road(
    tmp_path_factory: pytest.TempPathFactory, kind: str, ranks: list[int], scales: list[float], differential: bool,
    road: list[Format],
) -> None:  # fmt: skip
    base = BASES.setdefault(differential, little_base(differential))
    names = modules(base, duration=False)[::4]
    now = adapter = random_adapter(base, kind, tuple(ranks), tuple(scales), names)
    folder = tmp_path_factory.mktemp("road")
    for number, format in enumerate(road):
        write_adapter(now, format, place(format, folder / str(number)), torch.float32, base)
        now = read_adapter(place(format, folder / str(number)), base)
    for module, part in adapter.modules.items():
        weight = base.trainable_parts.get_submodule(module).weight.detach()  # type: ignore[operator]
        merged = part.merged(weight)
        error = (now.modules[module].merged(weight) - merged).abs().max()
        assert error < 3e-6 * max(1.0, float(merged.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("format", FORMATS)
def test_16_bits_cost_little_of_the_effect(
    base: BaseModel, tmp_path: Path, format: Format, dtype: torch.dtype
) -> None:
    adapter = random_adapter(base, "dora", names=held(base, format))
    tiny = dict(adapter.modules)
    for module, part in tiny.items():  # as after a few steps: B far below what float16 resolves
        tiny[module] = type(part)(part.down, part.up * 1e-5, part.scale * 1e5, part.row_magnitude)
    adapter = LowRankAdapter(tiny, adapter.facts)
    write_adapter(adapter, format, place(format, tmp_path), dtype, base)
    back = read_adapter(place(format, tmp_path), base)
    plain = predict(base)
    merge(exact := little_base(bool(base.transformer.config.use_differential_attention)), adapter)
    merge(base, back)
    effect = (predict(exact) - plain).norm()
    assert (predict(base) - predict(exact)).norm() < (1e-3 if dtype == torch.float16 else 8e-3) * effect


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_pefts_own_loader_takes_the_folder(base: BaseModel, tmp_path: Path, kind: str) -> None:
    adapter = random_adapter(base, kind, ranks=(4, 2, 3), scales=(0.5, 2.0))
    write_adapter(adapter, "peft", tmp_path / "a", torch.float32)
    exact = little_base(bool(base.transformer.config.use_differential_attention))
    merge(exact, adapter)
    PeftModel.from_pretrained(base.transformer, str(tmp_path / "a"))
    PeftModel.from_pretrained(base.duration_embedder, str(tmp_path / "a" / "duration_embedder"))
    torch.testing.assert_close(predict(base), predict(exact), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_diffusers_own_loader_takes_the_file(base: BaseModel, tmp_path: Path, kind: str) -> None:
    from diffusers.loaders import PeftAdapterMixin

    adapter = random_adapter(base, kind, ranks=(4, 2, 3), scales=(0.5, 2.0))
    file = tmp_path / "pytorch_lora_weights.safetensors"
    write_adapter(adapter, "diffusers", file, torch.float32)
    exact = little_base(bool(base.transformer.config.use_differential_attention))
    merge(exact, adapter)
    for part in ("transformer", "duration_embedder"):
        model = getattr(base, part)
        model.__class__ = type("WithAdapters", (PeftAdapterMixin, type(model)), {})
        model.load_lora_adapter(str(tmp_path), weight_name=file.name, prefix=part)
    torch.testing.assert_close(predict(base), predict(exact), rtol=0, atol=1e-4)


def test_a_diffusers_folder_is_found(tmp_path: Path) -> None:
    base = little_base(False)
    write_adapter(
        random_adapter(base), "diffusers", tmp_path / "pytorch_lora_weights.safetensors", torch.float32
    )
    assert read_adapter(tmp_path).facts["format"] == "diffusers"


def test_a_diffusers_file_without_configuration_has_scale_1_as_there(tmp_path: Path) -> None:
    save_file(
        {
            "transformer.proj_in.lora_A.weight": torch.ones(4, 4),
            "transformer.proj_in.lora_B.weight": torch.ones(32, 4),
        },
        tmp_path / "a.safetensors",
    )
    assert read_adapter(tmp_path / "a.safetensors").modules["transformer.proj_in"].scale == 1.0


def test_peft_patterns_and_rank_stabilised_scales_are_read(tmp_path: Path) -> None:
    write_adapter(random_adapter(little_base(False), names=["transformer.proj_in", "transformer.proj_out"]), "peft",
                  tmp_path / "a", torch.float32)  # fmt: skip
    file = tmp_path / "a" / "adapter_config.json"
    config = json.loads(file.read_text())
    config |= {"use_rslora": True, "lora_alpha": 8, "r": 9, "rank_pattern": {"proj_in": 4, "proj_out": 4},
               "alpha_pattern": {"proj_in": 6}}  # fmt: skip
    file.write_text(json.dumps(config))
    back = read_adapter(tmp_path / "a").modules
    assert back["transformer.proj_in"].scale == 6 / 4**0.5
    assert back["transformer.proj_out"].scale == 8 / 4**0.5


@pytest.mark.parametrize("key", ["bias", "modules_to_save", "lora_bias", "init_lora_weights", "peft_type"])
def test_what_is_more_than_a_lora_is_refused(tmp_path: Path, key: str) -> None:
    write_adapter(random_adapter(little_base(False)), "peft", tmp_path / "a", torch.float32)
    file = tmp_path / "a" / "adapter_config.json"
    values = {"bias": "all", "modules_to_save": ["x"], "lora_bias": True, "init_lora_weights": "pissa",
              "peft_type": "LOKR"}  # fmt: skip
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: values[key]}))
    with pytest.raises(WoodshedError, match="kind LOKR" if key == "peft_type" else key):
        read_adapter(tmp_path / "a")


@pytest.mark.parametrize(
    ("format", "kind", "says"),
    [
        ("peft", "bora", "PEFT, and so diffusers, has no bora"),
        ("diffusers", "dora-cols", "PEFT, and so diffusers, has no dora-cols"),
        ("comfyui", "bora", "rows and columns"),
        ("comfyui", "lora", "duration embedder"),
    ],
)
def test_what_a_program_cannot_hold_is_said_and_nothing_written(
    tmp_path: Path, format: Format, kind: str, says: str
) -> None:
    base = little_base(False)
    with pytest.raises(WoodshedError, match=says):
        write_adapter(random_adapter(base, kind), format, tmp_path / "out", torch.float32, base)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["peft", "stable-audio-3"])
def test_mixed_kinds_are_refused_where_there_is_one_for_all(tmp_path: Path, format: Format) -> None:
    base = little_base(False)
    mixed = random_adapter(base).modules | random_adapter(base, "dora", names=["transformer.proj_in"]).modules
    with pytest.raises(WoodshedError, match="dora and lora"):
        write_adapter(LowRankAdapter(mixed), format, tmp_path / "out", torch.float32, base)
    assert not list(tmp_path.iterdir())


def test_the_header_names_the_base_but_never_a_path(tmp_path: Path) -> None:
    base = little_base(False)
    secret = tmp_path / "home" / "somebody" / "bases" / "my-base"
    facts = FACTS | {"base": str(secret), "woodshed": json.dumps({"base": str(secret), "step": 3})}
    adapter = LowRankAdapter(random_adapter(base, names=["transformer.proj_in"]).modules, facts)
    for format in FORMATS:
        path = place(format, tmp_path)
        write_adapter(adapter, format, path, torch.float32, base)
        for file in [path] if path.is_file() else path.iterdir():
            assert b"somebody" not in file.read_bytes()
        back = read_facts(path)
        assert back["base"] == "my-base"
        assert back["step"] == "3"


def test_the_headers_hash_is_of_all_bytes_after_it(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "a.safetensors"
    write_adapter(random_adapter(little_base(False)), "stable-audio-3", path, torch.float16)
    content = path.read_bytes()
    digest = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header["modelspec.hash_sha256"] == f"0x{digest}"
    assert header["sshs_model_hash"] == digest
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.trigger_phrase"] == "mykit"
    assert header["modelspec.license"] == "Stability AI Community License"


def test_conversions_say_what_they_rewrite(tmp_path: Path) -> None:
    base = little_base(False)
    adapter = random_adapter(base, ranks=(4, 2), scales=(0.5, 1.0))
    notes = write_adapter(adapter, "stable-audio-3", tmp_path / "a.safetensors", torch.float32)
    assert "ranks 2, 4 were filled up with zeros to 4" in notes[0]
    assert "one alpha" in notes[1]
    assert write_adapter(adapter, "peft", tmp_path / "b", torch.float32) == []


def test_the_same_adapter_is_the_same_file(tmp_path: Path) -> None:
    """The order of a header's keys is not left to chance, and PyTorch's library reads what we wrote."""
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(5, dtype=torch.float16)}
    header = {"woodshed": '{"step": 1}', "é": "ü", "modelspec.title": "kit"}
    for number, order in enumerate((header, dict(reversed(header.items())))):
        write_tensors(tmp_path / f"{number}.safetensors", tensors, order)
    one, other = (tmp_path / f"{number}.safetensors" for number in (0, 1))
    assert one.read_bytes() == other.read_bytes()
    with safe_open(one, "pt") as held:
        card = json.loads(held.metadata()["woodshed"])
        assert card == {"step": 1, "tensors_sha256": tensor_hash(one.read_bytes())}
        assert {key: held.metadata()[key] for key in header} == {
            **header,
            "woodshed": held.metadata()["woodshed"],
        }
        assert all(torch.equal(held.get_tensor(name), tensors[name]) for name in tensors)
