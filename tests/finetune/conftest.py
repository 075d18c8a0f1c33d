"""A toy base of Stable Audio 3's classes with random weights, and datasets of noise bursts: all in a second."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from finetune.base_model import BaseModel, load_base
from finetune.licences import accept, read_licences
from finetune.recipe import Recipe, build_recipe

torch.set_num_threads(1)  # threads only wait for each other at this size
LATENT_CHANNELS = 8
WIDTH = 32
WORDS = ["[PAD]", "[UNK]", "kick", "snare", "hat", "break", "slow", "fast", "dry", "one-shot", ".", ","]


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in diffusers' layout, 8 latent channels, 2048 samples a latent."""
    from diffusers import AutoencoderSAME, StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        T5GemmaConfig,
        T5GemmaEncoderModel,
        T5GemmaModuleConfig,
    )

    root = tmp_path_factory.mktemp("bases") / "tiny"
    torch.manual_seed(0)
    transformer: Any = StableAudio3DiTModel(
        io_channels=LATENT_CHANNELS,
        embed_dim=64,
        depth=2,
        num_heads=2,
        cond_token_dim=WIDTH,
        global_cond_dim=WIDTH,
        local_add_cond_dim=LATENT_CHANNELS + 1,
        timestep_features_dim=32,
        ff_mult=3.0,
        num_memory_tokens=4,
        use_differential_attention=False,
    )
    autoencoder: Any = AutoencoderSAME(
        audio_channels=2,
        patch_size=256,
        encoder_channels=16,
        encoder_c_mults=[2],
        encoder_strides=[8],
        encoder_transformer_depths=[1],
        latent_dim=LATENT_CHANNELS,
        use_differential_attention=False,
        dim_heads=16,
        ff_mult=1,
        sliding_window=1,
        sampling_rate=44100,
    )
    with torch.no_grad():  # some of their layers begin at zero, which would hide what they are given
        for part in (transformer, autoencoder):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    module = T5GemmaModuleConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=16,
        layer_types=["full_attention"],
    )
    config = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    duration = StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=16, min_val=0.0, max_val=384.0)
    parts = {
        "transformer": transformer,
        "duration_embedder": duration,
        "vae": autoencoder,
        "text_encoder": T5GemmaEncoderModel(config),
        "tokenizer": tokenizer,
    }
    for name, part in parts.items():
        part.save_pretrained(root / name)
    return root


@pytest.fixture(scope="session")
def deep_base_folder(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with five blocks."""
    root = tmp_path_factory.mktemp("bases") / "deep"
    shutil.copytree(tiny_base_folder, root)
    shallow = load_base(str(root)).transformer
    torch.manual_seed(0)
    transformer = type(shallow)(**{**shallow.config, "depth": 5})
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    transformer.save_pretrained(root / "transformer")
    return root


def accept_licences(base: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody accept the licences in a base's folder, in a configuration of the test's own."""
    monkeypatch.setenv("WOODSHED_CONFIG", str(config))
    for licence in read_licences(base):
        accept(licence, base.name, "Ada")


@pytest.fixture
def tiny_base(tiny_base_folder: Path) -> BaseModel:
    return load_base(str(tiny_base_folder))


def write_dataset(
    folder: Path, train: list[float], validation: list[float], recording_seconds: float = 60.0
) -> Path:
    """A dataset folder with clips of the given seconds, each a decaying burst of its own noise."""
    rows: list[dict[str, Any]] = []
    for split, lengths in (("train", train), ("validation", validation)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number, seconds in enumerate(lengths):
            name = f"{split}-{number:02}"
            samples = round(seconds * 44100)
            decay = np.exp(-np.arange(samples) / 8000)[:, None]
            noise = np.random.default_rng([len(rows), 7]).standard_normal((samples, 2))
            sf.write(folder / split / f"{name}.wav", 0.2 * noise * decay, 44100, subtype="PCM_24")
            captions = [f"fast break, kick {number}.", f"dry snare {number}", "slow hat"]
            rows.append(
                {
                    "id": name,
                    "split": split,
                    "clip_sha256": hashlib.sha256((folder / split / f"{name}.wav").read_bytes()).hexdigest(),
                    "text": captions[0],
                    "captions": captions,
                    "seconds": seconds,
                    "recording": f"take {number}.wav",
                    "recording_seconds": recording_seconds,
                }
            )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Five training clips of two lengths and two held-out ones."""
    return write_dataset(tmp_path / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5, 0.4])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def recipe_settings(base: Path, dataset: Path, root: Path) -> dict[str, object]:
    """Dotted keys of a run that takes a second."""
    return {
        "name": "tiny",
        "base.model": str(base),
        "data.dataset": str(dataset),
        "data.crop_seconds": 0.6,
        "adapter.rank": 4,
        "training.steps": 6,
        "training.batch_size": 2,
        "training.checkpoint_every": 2,
        "training.silence_seconds": 0.1,
        "training.device": "cpu",
        "optimizer.learning_rate": 1e-2,
        "validation.every": 3,
        "samples.every": 100,
        "samples.prompts": ["kick snare"],
        "samples.seconds": 0.3,
        "samples.steps": 2,
        "output.root": str(root),
    }


@pytest.fixture
def recipe(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> Recipe:
    return make_recipe(tiny_base_folder, dataset, tmp_path / "runs")


def make_recipe(base: Path, dataset: Path, root: Path, **changes: object) -> Recipe:
    """`changes` are keys with `__` for the dot."""
    settings = recipe_settings(base, dataset, root)
    settings |= {key.replace("__", "."): value for key, value in changes.items()}
    return build_recipe([("", key, value) for key, value in settings.items()], "the test")
