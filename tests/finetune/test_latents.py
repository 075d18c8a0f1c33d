"""The cache: encoded once, by content, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile as sf
import torch

from data_prep.dataset import clips
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.latents import encode_dataset


def files(cache: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in cache.rglob("*") if file.is_file()}


def test_latents_are_those_of_the_base(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> None:
    data = encode_dataset(tiny_base, clips(dataset), ["kick snare"], 5, tmp_path / "cache")
    for clip in data.clips:
        audio = torch.from_numpy(sf.read(clip.clip.path, dtype="float32")[0].T.copy())
        expected = tiny_base.encode_audio(audio[None])[0]
        assert clip.frames == expected.shape[1] == tiny_base.frames(audio.shape[1])
        torch.testing.assert_close(clip.latents(), expected)
        for text in clip.clip.captions:
            torch.testing.assert_close(data.prompt(text).tokens, tiny_base.encode_prompt(text).tokens)
    assert data.silence.shape == (8, 5)
    assert len(data.prompt("kick snare").tokens) == 2
    assert [len(data.split(name)) for name in ("train", "validation")] == [5, 2]


def test_the_second_time_nothing_is_encoded(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> None:
    first = encode_dataset(tiny_base, clips(dataset), [], 5, tmp_path / "cache")
    before = files(tmp_path / "cache")
    tiny_base.autoencoder = None  # would raise if it were asked
    tiny_base.tokenizer = None
    again = encode_dataset(tiny_base, clips(dataset), [], 5, tmp_path / "cache")
    assert files(tmp_path / "cache") == before
    assert all(torch.equal(a.latents(), b.latents()) for a, b in zip(first.clips, again.clips, strict=True))


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: b"", lambda data: b"\xff" * 40])
def test_a_damaged_file_is_encoded_anew(
    damage: object, tiny_base: BaseModel, dataset: Path, tmp_path: Path
) -> None:
    first = encode_dataset(tiny_base, clips(dataset), [], 5, tmp_path / "cache")
    file = first.clips[2].file
    whole = file.read_bytes()
    file.write_bytes(damage(whole))  # type: ignore[operator]
    others = {path: time for path, time in files(tmp_path / "cache").items() if path != file}
    encode_dataset(tiny_base, clips(dataset), [], 5, tmp_path / "cache")
    assert file.read_bytes() == whole
    assert {path: time for path, time in files(tmp_path / "cache").items() if path != file} == others


def test_what_changes_is_encoded_alone(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> None:
    have = clips(dataset)
    encode_dataset(tiny_base, have, [], 5, tmp_path / "cache")
    count = len(files(tmp_path / "cache"))
    other = replace(have[0], clip_sha256="f" * 64, text="slow dry kick", captions=("slow dry kick",))
    encode_dataset(tiny_base, [other, *have[1:]], [], 5, tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == count + 2
    encode_dataset(replace(tiny_base, fingerprint="another"), have, [], 5, tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 2 * count + 2


def test_an_unreadable_clip_is_named(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> None:
    (dataset / "train" / "train-01.wav").write_bytes(b"RIFF")
    with pytest.raises(WoodshedError, match=r"train-01.wav cannot be read"):
        encode_dataset(tiny_base, clips(dataset), [], 5, tmp_path / "cache")
