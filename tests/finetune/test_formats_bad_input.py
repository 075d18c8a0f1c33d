"""Files that are no adapter, or a broken one: each is refused in a sentence, and none is opened as a pickle."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from small_adapters import little_base, random_adapter

from finetune.adapter.formats import FORMATS, Format, read_adapter, write_adapter
from finetune.errors import WoodshedError

NAMES = ["transformer.proj_in", "transformer.transformer_blocks.0.self_attn.to_qkv"]
KEY = "model.transformer.layers.0.self_attn.to_out.parametrizations.weight.0."


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was opened')",)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole file of each format."""
    folder, base = tmp_path_factory.mktemp("whole"), little_base(False)
    for format in FORMATS:
        write_adapter(random_adapter(base, names=NAMES), format, folder / format, torch.float16, base)
    weights = folder / "peft" / "adapter_model.safetensors"
    return {format: (weights if format == "peft" else folder / format).read_bytes() for format in FORMATS}


def read(folder: Path, content: bytes, format: str = "stable-audio-3") -> None:
    """Read `content` as it would lie on the disk."""
    if format == "peft":
        folder.mkdir(exist_ok=True)
        base = little_base(False)
        if not (folder / "adapter_config.json").exists():
            write_adapter(random_adapter(base, names=NAMES), "peft", folder, torch.float16)
        (folder / "adapter_model.safetensors").write_bytes(content)
        read_adapter(folder)
    else:
        folder.mkdir(exist_ok=True)
        (folder / "a.safetensors").write_bytes(content)
        read_adapter(folder / "a.safetensors")


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.pth", "a.bin", "a.safetensors"])
def test_a_pickle_is_refused_by_name_or_first_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(WoodshedError, match=r"is a pickle.*convert_lora_ckpt_to_safetensors"):
        read_adapter(tmp_path / name)
    torch.save({"weight": torch.ones(2)}, tmp_path / name)
    with pytest.raises(WoodshedError, match="is a pickle"):
        read_adapter(tmp_path / name)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.999])
def test_a_file_that_is_cut_off(tmp_path: Path, files: dict[str, bytes], format: str, keep: float) -> None:
    content = files[format]
    with pytest.raises(WoodshedError, match="damaged or cut off"):
        read(tmp_path / "x", content[: int(len(content) * keep)], format)


def packed(header: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


ONE, TWO = KEY + "lora_A", KEY + "lora_B"


@pytest.mark.parametrize(
    ("one", "two", "size"),
    [
        (
            {"shape": [2, 4], "data_offsets": [0, 32]},
            {"shape": [4, 2], "data_offsets": [16, 48]},
            48,
        ),  # overlapping
        (
            {"shape": [2, 4], "data_offsets": [0, 32]},
            {"shape": [4, 2], "data_offsets": [40, 72]},
            72,
        ),  # with a gap
        (
            {"shape": [2, 400], "data_offsets": [0, 32]},
            {"shape": [4, 2], "data_offsets": [32, 64]},
            64,
        ),  # lying
        (
            {"shape": [2, 4], "data_offsets": [0, 32]},
            {"shape": [4, 2], "data_offsets": [32, 640]},
            64,
        ),  # beyond
        (
            {"shape": [2, 4], "data_offsets": [32, 0]},
            {"shape": [4, 2], "data_offsets": [0, 32]},
            32,
        ),  # backwards
        (
            {"shape": [2, 4], "data_offsets": [0, 32]},
            {"shape": [4, 2], "data_offsets": [32, 64]},
            99,
        ),  # more after
    ],
)
def test_a_header_that_lies(
    tmp_path: Path, one: dict[str, object], two: dict[str, object], size: int
) -> None:
    header = {ONE: {"dtype": "F32"} | one, TWO: {"dtype": "F32"} | two}
    with pytest.raises(WoodshedError, match="damaged or cut off"):
        read(tmp_path / "x", packed(header, bytes(size)))


def test_a_header_longer_than_the_file_and_one_that_is_no_json(tmp_path: Path) -> None:
    for content in (
        (10**12).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        b"{" * 100,
        b"",
    ):
        with pytest.raises(WoodshedError, match="damaged or cut off"):
            read(tmp_path / "x", content)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    tensors = {ONE: torch.ones(2, 4), TWO: torch.full((4, 2), value)}
    with pytest.raises(WoodshedError, match=r"NaN or infinite numbers, for instance in '.*lora_B'"):
        read(tmp_path / "x", save(tensors))
    with pytest.raises(WoodshedError, match="whole numbers"):
        read(tmp_path / "x", save({ONE: torch.ones(2, 4, dtype=torch.int32), TWO: torch.ones(4, 2)}))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({ONE: torch.ones(2, 4)}, "a lora has lora_A, lora_B, the file has lora_A"),
        ({ONE: torch.ones(2, 4), TWO: torch.ones(4, 3)}, "have no rank in common"),
        ({ONE: torch.ones(2, 4), TWO: torch.ones(8)}, "is no matrix"),
        ({ONE: torch.ones(2, 4, 3), TWO: torch.ones(4, 2)}, "is no matrix"),
        ({ONE: torch.ones(0, 4), TWO: torch.ones(4, 0)}, "have no rank in common"),
        (
            {ONE: torch.ones(2, 4), TWO: torch.ones(4, 2), "stranger": torch.ones(1)},
            "1 of 3 tensors that Woodshed",
        ),
        (
            {"lora_unet_x.hada_w1_a": torch.ones(2, 2)},
            r"in no way that Woodshed knows \(1 tensors, for instance",
        ),
        ({}, r"in no way that Woodshed knows \(0 tensors\)"),
        ({"model.model.transformer.project_in.weight": torch.ones(2, 2)}, "is a whole model, not an adapter"),
        ({"base_model.model.proj_in.lora_A.weight": torch.ones(2, 2)}, "without its adapter_config.json"),
        ({"diffusion_model.x.lora_A.weight": torch.ones(2, 2)}, "no module of Stable Audio 3's transformer"),
        ({"diffusion_model.preprocess_conv.lora_A.weight": torch.ones(2, 2)}, r"\(A, B\) is missing"),
    ],
)
def test_tensors_that_are_no_whole_adapter(
    tmp_path: Path, tensors: dict[str, torch.Tensor], says: str
) -> None:
    with pytest.raises(WoodshedError, match=says):
        read(tmp_path / "x", save(tensors))


def test_what_is_not_there_and_folders_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match="There is no adapter"):
        read_adapter(tmp_path / "nothing.safetensors")
    with pytest.raises(WoodshedError, match="neither a run of Woodshed nor an adapter"):
        read_adapter(tmp_path)


def test_a_configuration_of_peft_that_is_none(tmp_path: Path, files: dict[str, bytes]) -> None:
    read(tmp_path / "x", files["peft"], "peft")
    config = tmp_path / "x" / "adapter_config.json"
    for content, says in (
        ("{", "cannot be read as a configuration"),
        ("[]", "is not a configuration"),
        (json.dumps(json.loads(config.read_text()) | {"r": 9}), "has rank 4, but its configuration says 9"),
        (json.dumps(json.loads(config.read_text()) | {"lora_alpha": "x"}), "which is no number"),
        (json.dumps(json.loads(config.read_text()) | {"use_dora": True}), "disagree on whether it is a DoRA"),
    ):
        broken = tmp_path / "x" / "adapter_config.json"
        broken.write_text(content)
        with pytest.raises(WoodshedError, match=says):
            read(tmp_path / "x", files["peft"], "peft")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), format=st.sampled_from(["diffusers", "stable-audio-3", "comfyui"]))
def test_any_damage_is_a_sentence_or_harmless(
    tmp_path: Path, files: dict[str, bytes], data: st.DataObject, format: Format
) -> None:
    """Bytes anywhere in the header, or the lengths before it, are changed: either it is refused or it reads whole."""
    content = bytearray(files[format])
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(content))
    try:
        adapter = read_adapter(path)
    except WoodshedError as error:
        assert "\n" not in str(error)
        return
    assert all(torch.isfinite(part.up).all() for part in adapter.modules.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([ONE, TWO, KEY + "magnitude", KEY + "M_xs", "transformer.proj_in.lora_A.weight",
                          "diffusion_model.preprocess_conv.alpha", "diffusion_model.preprocess_conv.dora_scale"]),
    shape=st.lists(st.integers(0, 5), max_size=4),
    config=st.dictionaries(
        st.sampled_from(["rank", "alpha", "adapter_type"]),
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(), st.lists(st.integers())),
    ),
)  # fmt: skip
def test_any_shape_and_configuration_is_a_sentence_or_an_adapter(
    tmp_path: Path, name: str, shape: list[int], config: dict[str, object]
) -> None:
    tensors = {ONE: torch.ones(2, 4), TWO: torch.ones(4, 2)} if name.startswith("model.") else {}
    if name.startswith("diffusion_model."):
        tensors = {f"diffusion_model.preprocess_conv.lora_{m}.weight": torch.ones(2, 2) for m in "AB"}
    save_file(
        tensors | {name: torch.ones(shape)}, tmp_path / "a.safetensors", {"lora_config": json.dumps(config)}
    )
    try:
        read_adapter(tmp_path / "a.safetensors")
    except WoodshedError as error:
        assert len(str(error)) > 20
