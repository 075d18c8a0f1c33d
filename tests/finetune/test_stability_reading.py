"""Bases from Stability's own files: every key accounted for, nothing damaged let in, the second load as the first."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from finetune.base_model import (
    BaseModel,
    Conditions,
    base_to_train,
    decoding,
    find_base,
    fingerprint,
    is_base,
    load_base,
)
from finetune.base_model.stability import cache
from finetune.errors import WoodshedError
from tests.finetune.conftest import accept_licences
from tests.tools.random_checkpoint import write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES, TEXT_FOLDER

QKV = "model.model.transformer.layers.0.self_attn.to_qkv.weight"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    for name in ("tiny", "tiny-medium"):
        write_checkpoint(root / name, GEOMETRIES[name])
    return {name: root / name for name in ("tiny", "tiny-medium")}


@pytest.fixture
def folder(bases: dict[str, Path], tmp_path: Path) -> Path:
    """A base that a test may damage."""
    return Path(shutil.copytree(bases["tiny"], tmp_path / "base"))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files are converted and hashed into a cache of the test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(cache, "SMALLEST_BYTES", 0)
    return tmp_path / "hf" / "woodshed"


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    edit(tensors)
    save_file(tensors, weights)


def set_value(key: str, value: float) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors[key].view(-1)[3].fill_(value)


def parameters(base: BaseModel) -> dict[str, torch.Tensor]:
    parts = {"t": base.transformer, "d": base.duration_embedder, "a": base.autoencoder}
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def speak(base: BaseModel) -> torch.Tensor:
    noisy = torch.randn(1, base.latent_channels, 5, generator=torch.Generator().manual_seed(1))
    dtype = base.transformer.proj_in.weight.dtype
    asked = Conditions([base.encode_prompt("kick")], torch.tensor([2.0]))
    return base.velocity(noisy.to(dtype), torch.tensor([0.5]), asked)


@pytest.mark.parametrize("name", ["tiny", "tiny-medium"])
def test_weights_arrive_where_they_belong(bases: dict[str, Path], name: str) -> None:
    base, stored = load_base(str(bases[name])), load_file(bases[name] / "model.safetensors")
    geometry = GEOMETRIES[name]
    assert not base.post_trained
    assert (base.samples_per_latent, base.prompt_tokens) == (
        geometry.samples_per_latent,
        geometry.prompt_tokens,
    )
    assert base.duration_embedder.config.max_val == geometry.longest_seconds
    block = base.transformer.transformer_blocks[0]
    assert torch.equal(
        block.ff.proj_in.weight, stored["model.model.transformer.layers.0.ff.ff.0.proj.weight"]
    )
    q, *rest = stored[QKV].chunk(5 if geometry.differential else 3)
    fused = [q, rest[2], rest[0], rest[3], rest[1]] if geometry.differential else [q, *rest]
    assert torch.equal(block.self_attn.to_qkv.weight, torch.cat(fused))
    padding = base.transformer.prompt_padding_embedding
    assert torch.equal(padding, stored["conditioner.conditioners.prompt.padding_embedding"])
    assert not any(p.requires_grad for p in base.trainable_parts.parameters())
    assert not any(tensor.is_meta for tensor in parameters(base).values())
    assert speak(base).isfinite().all()


def test_sixteen_bits_are_the_rounded_weights_and_nothing_else_is_rounded(bases: dict[str, Path]) -> None:
    whole, half = (load_base(str(bases["tiny-medium"]), dtype) for dtype in (torch.float32, torch.bfloat16))
    for name, value in parameters(whole).items():
        rounded = value.bfloat16() if name.startswith("t.") and "inv_freq" not in name else value
        assert torch.equal(parameters(half)[name], rounded), name
    assert half.transformer.rotary_pos_emb.inv_freq.dtype == torch.float32
    assert {p.dtype for p in half.autoencoder.parameters()} == {torch.float32}
    assert {p.dtype for p in half.text_encoder.parameters()} == {torch.bfloat16}


def test_a_16_bit_file_becomes_float32(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "half", GEOMETRIES["tiny"], dtype="fp16")
    base, stored = load_base(str(tmp_path / "half")), load_file(tmp_path / "half" / "model.safetensors")
    assert torch.equal(
        base.transformer.proj_in.weight, stored["model.model.transformer.project_in.weight"].float()
    )


def test_a_post_trained_model_generates_and_names_its_base(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "post", GEOMETRIES["tiny"], objective="rf_denoiser")
    assert load_base(str(tmp_path / "post")).post_trained
    assert base_to_train(str(tmp_path / "post")) == "small-music-base"
    assert base_to_train("small-sfx") == "small-sfx-base"
    assert base_to_train("stabilityai/stable-audio-3-medium") == "medium-base"
    assert base_to_train("somebody/model") == "somebody/model-base"


def test_released_encoders_come_back_for_decoding(bases: dict[str, Path]) -> None:
    base = load_base(str(bases["tiny"]))
    latents = torch.randn(1, base.latent_channels, 5)
    before = base.decode_latents(latents)
    base.release_encoders()
    with decoding(base):
        assert torch.equal(base.decode_latents(latents), before)
    assert base.autoencoder is None


DAMAGES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "missing": (lambda t: t.pop(QKV), "lacks the weight '.*to_qkv.weight'"),
    "left over": (lambda t: t.update(extra=torch.zeros(1)), "holds 1 weights .* for instance 'extra'"),
    "another shape": (
        lambda t: t.update({QKV: torch.zeros(2, 2)}),
        r"in the shape \(2, 2\).*belong together",
    ),
    "NaN": (set_value(QKV, torch.nan), "NaN or infinity in '.*to_qkv.weight'"),
    "infinity": (set_value("pretransform.model.decoder.layers.1.weight", torch.inf), "NaN or infinity"),
    "whole numbers": (lambda t: t.update({QKV: t[QKV].to(torch.int32)}), "stores .* as I32"),
    "other frequencies": (
        set_value("model.model.transformer.rotary_pos_emb.inv_freq", 0.5),
        "other frequencies",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_a_sentence(folder: Path, damage: str) -> None:
    edit, sentence = DAMAGES[damage]
    change(folder, edit)
    with pytest.raises(WoodshedError, match=sentence):
        load_base(str(folder))


def test_numbers_too_large_for_half_precision_are_said(folder: Path) -> None:
    change(folder, set_value(QKV, 1e6))
    with pytest.raises(WoodshedError, match="float16 cannot hold"):
        load_base(str(folder), torch.float16)
    load_base(str(folder), torch.bfloat16)


def lie(folder: Path, header: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header of the weights and nothing else."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    told = json.loads(content[8 : 8 + length])
    header(told)
    text = json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def overlap(header: dict[str, Any]) -> None:
    names = [name for name in header if name != "__metadata__"]
    first, second = (header[name]["data_offsets"] for name in names[:2])
    header[names[1]]["data_offsets"] = [first[0], first[0] + second[1] - second[0]]


LIES: dict[str, Callable[[Path], Any]] = {
    "cut short": lambda f: f.write_bytes(f.read_bytes()[:-100]),
    "cut in the header": lambda f: f.write_bytes(f.read_bytes()[:1000]),
    "empty": lambda f: f.write_bytes(b""),
    "no safetensors": lambda f: f.write_bytes(b"PK\x03\x04" * 100),
    "huge header": lambda f: f.write_bytes(struct.pack("<Q", 1 << 60) + b"{}"),
    "overlapping offsets": lambda f: lie(f.parent, overlap),
    "lying shape": lambda f: lie(f.parent, lambda h: h[QKV].update(shape=[1, 7])),
    "longer than said": lambda f: f.write_bytes(f.read_bytes() + b"more"),
}


@pytest.mark.parametrize("damage", LIES)
def test_a_file_that_is_cut_or_lies_is_a_sentence(folder: Path, damage: str) -> None:
    LIES[damage](folder / "model.safetensors")
    with pytest.raises(WoodshedError, match=r"cut short, damaged or of another kind .* Fetch it again"):
        load_base(str(folder))


def test_a_text_encoder_that_lacks_weights_or_is_cut_is_a_sentence(folder: Path) -> None:
    text = folder / TEXT_FOLDER / "model.safetensors"
    tensors = load_file(text)
    save_file({key: value for key, value in tensors.items() if "q_proj" not in key}, text)
    with pytest.raises(WoodshedError, match="lacks 1 weights of the text encoder"):
        load_base(str(folder))
    save_file(tensors | {"encoder.norm.weight": torch.full((768,), torch.nan)}, text)
    with pytest.raises(WoodshedError, match=r"NaN or infinity in 'encoder.norm.weight'"):
        load_base(str(folder))
    text.write_bytes(text.read_bytes()[:-100])
    with pytest.raises(WoodshedError, match="cut short"):
        load_base(str(folder))
    text.rename(text.with_name("pytorch_model.bin"))
    with pytest.raises(WoodshedError, match="has no safetensors file"):
        load_base(str(folder))


def test_a_whole_text_model_gives_its_encoder(folder: Path) -> None:
    """Published folders hold encoder and decoder."""
    expected = speak(load_base(str(folder)))
    text = folder / TEXT_FOLDER / "model.safetensors"
    tensors = {f"model.{key}": value.clone() for key, value in load_file(text).items()}
    save_file(tensors | {"model.decoder.norm.weight": torch.zeros(768)}, text)
    assert torch.equal(speak(load_base(str(folder))), expected)


def test_a_folder_without_its_text_encoder_says_where_it_comes_from(folder: Path, hub_cache: Path) -> None:
    shutil.rmtree(folder / TEXT_FOLDER)
    with pytest.raises(
        WoodshedError, match=f"hf download stabilityai/stable-audio-3-small-music --include '{TEXT_FOLDER}/"
    ):
        load_base(str(folder))


def test_pickles_are_refused_by_name_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    pickle = folder / "model.safetensors"
    pickle = pickle.rename(folder / "model.ckpt")
    for named in (folder, pickle):
        with pytest.raises(WoodshedError, match=r"model.ckpt' is a pickle.*weights_only=True"):
            find_base(str(named))


def test_what_is_no_base_is_said(folder: Path) -> None:
    with pytest.raises(WoodshedError, match=r"is a file. Name the folder"):
        find_base(str(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(WoodshedError, match=r"lacks model.safetensors"):
        find_base(str(folder))
    with pytest.raises(WoodshedError, match=r"no folder './nowhere'.*small-music-base"):
        find_base("./nowhere")


def test_a_base_is_known_without_fetching(bases: dict[str, Path], tmp_path: Path, hub_cache: Path) -> None:
    assert (
        is_base("medium-base")
        and is_base("stabilityai/stable-audio-3-medium")
        and is_base(str(bases["tiny"]))
    )
    assert not is_base(str(tmp_path)) and not is_base("runs/kicks") and not is_base("nothing")
    (tmp_path / "hf" / "hub" / "models--somebody--base").mkdir(parents=True)
    assert is_base("somebody/base")


def test_fingerprint_is_of_contents_not_of_places(bases: dict[str, Path], folder: Path) -> None:
    assert fingerprint(folder) == fingerprint(bases["tiny"]) == load_base(str(folder)).fingerprint
    (folder / "README.md").write_text("notes")
    (folder / "other.json").write_text("{}")
    assert fingerprint(folder) == fingerprint(bases["tiny"])
    change(folder, set_value(QKV, 0.123))
    assert fingerprint(folder) != fingerprint(bases["tiny"])


def test_the_second_load_reads_what_the_first_converted(
    folder: Path, hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "LICENSE.md").write_text("Be kind.")
    accept_licences(folder, tmp_path / "config", monkeypatch)
    first = load_base(str(folder), torch.bfloat16)
    assert first.licence == folder / "LICENSE.md"
    digest = cache.file_hash(folder / "model.safetensors")
    kept = hub_cache / digest / "bfloat16.safetensors"
    assert (kept.parent / "LICENSE.md").read_text() == "Be kind."
    held = load_file(kept)
    assert "transformer.proj_in.weight" in held, "converted"
    assert "autoencoder.encoder.proj.weight" not in held, "as it is in Stability's file"
    held["transformer.proj_in.weight"] += 1
    save_file(held, kept)
    again = parameters(load_base(str(folder), torch.bfloat16))
    for name, value in parameters(first).items():
        told = value + 1 if name == "t.proj_in.weight" else value
        assert torch.equal(again[name], told), name
    assert not (hub_cache / digest / "float32.safetensors").exists()


def test_a_damaged_cache_is_made_again(folder: Path, hub_cache: Path) -> None:
    first = parameters(load_base(str(folder)))
    kept = hub_cache / cache.file_hash(folder / "model.safetensors") / "float32.safetensors"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-50])
    again = parameters(load_base(str(folder)))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("trouble", ["full", "unwritable"])
def test_a_cache_that_cannot_be_written_stops_nothing(
    folder: Path,
    hub_cache: Path,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if trouble == "full":
        monkeypatch.setattr(cache, "SPARE_BYTES", 1e18)
    else:
        hub_cache.parent.mkdir(parents=True)
        hub_cache.write_text("a file in its place")
    assert speak(load_base(str(folder))).isfinite().all()
    assert "its converted form was not kept" in capfd.readouterr().err
    assert trouble == "unwritable" or not list(hub_cache.rglob("*.safetensors"))


def test_a_large_files_hash_is_remembered_until_it_changes(tmp_path: Path, hub_cache: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = cache.file_hash(file)
    note = next((hub_cache / "hashes").iterdir())
    note.write_text(note.read_text().replace(first, "f" * 64))
    assert cache.file_hash(file) == "f" * 64, "not read again"
    file.write_bytes(b"other")
    assert cache.file_hash(file) not in (first, "f" * 64)


def test_a_file_of_the_hubs_cache_has_the_contents_of_its_name(folder: Path) -> None:
    blobs = folder / "blobs"
    blobs.mkdir()
    weights = (folder / "model.safetensors").rename(blobs / ("a" * 64))
    (folder / "model.safetensors").symlink_to(weights)
    with pytest.raises(WoodshedError, match=r"not what the Hub gave its hash for.*Delete"):
        load_base(str(folder))
