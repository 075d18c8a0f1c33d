"""Load a base: from Stability's own files, or from a folder in diffusers' layout, that port's faults mended."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from finetune.base_model.model import BaseModel
from finetune.base_model.rotary import rotary_frequencies
from finetune.base_model.sources import find_base, fingerprint, is_stability
from finetune.base_model.stability.base import (
    CONFIG,
    read_modules,
    reread_autoencoder,
    text_encoder_folder,
)
from finetune.base_model.stability.geometry import read_geometry
from finetune.base_model.stability.text_encoder import read_text_encoder
from finetune.errors import WoodshedError
from finetune.files import from_home
from finetune.first_use import check_accepted
from finetune.licences import licence_of

PROMPT_TOKENS = 256


def load_base(
    model: str, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> BaseModel:
    """The base called `model`: `starter`, a folder, or a name on the Hub (see `find_base`).

    `dtype` is that of the transformer and the text encoder; the autoencoder and the duration embedder stay in
    float32. Raises WoodshedError when it cannot be had, is incomplete or of another kind, or its licence was not
    accepted.
    """
    root, device = find_base(model), torch.device(device)
    if model != "starter":  # it is a part of Woodshed
        check_accepted(root, model)
    with _quiet():
        try:
            if is_stability(root):
                return _load_stability(root, model, dtype, device)
            return _load_diffusers(root, model, dtype, device)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise WoodshedError(f"base.model: '{model}' could not be loaded: {error}") from error


@contextlib.contextmanager
def decoding(base: BaseModel) -> Iterator[None]:
    """Have the autoencoder in memory for a while, where `release_encoders` had dropped it."""
    if base.autoencoder is not None:
        yield
        return
    root = find_base(base.name)
    with _quiet():
        again = reread_autoencoder(root, base.device) if is_stability(root) else _diffusers_autoencoder(root)
    base.autoencoder = _frozen(again, base.device)
    try:
        yield
    finally:
        base.autoencoder = None


def _load_stability(root: Path, name: str, dtype: torch.dtype, device: torch.device) -> BaseModel:
    geometry = read_geometry(root / CONFIG)
    text = text_encoder_folder(root, geometry, fetch=not from_home(name).exists())
    modules = read_modules(root, geometry, dtype, device)
    text_encoder, tokenizer = read_text_encoder(text, dtype, geometry.transformer["cond_token_dim"])
    return BaseModel(
        name=name,
        fingerprint=fingerprint(root),
        post_trained=geometry.post_trained,
        transformer=_frozen(modules.transformer, device),
        duration_embedder=_frozen(modules.duration_embedder, device),
        autoencoder=_frozen(modules.autoencoder, device),
        text_encoder=_frozen(text_encoder, device),
        tokenizer=tokenizer,
        sample_rate=geometry.sample_rate,
        samples_per_latent=modules.autoencoder.downsampling_ratio,
        latent_channels=geometry.transformer["io_channels"],
        prompt_tokens=geometry.prompt_tokens,
        sampling_shift=geometry.sampling_shift,
        training_shift=geometry.training_shift,
        licence=licence_of(root),
    )


def _load_diffusers(root: Path, name: str, dtype: torch.dtype, device: torch.device) -> BaseModel:
    from diffusers import StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
    from transformers import AutoTokenizer, T5GemmaEncoderModel

    transformer = StableAudio3DiTModel.from_pretrained(
        root / "transformer", torch_dtype=dtype, use_safetensors=True
    )
    duration_embedder = StableAudio3DurationEmbedder.from_pretrained(
        root / "duration_embedder", torch_dtype=torch.float32, use_safetensors=True
    )
    autoencoder = _diffusers_autoencoder(root)
    text_encoder = T5GemmaEncoderModel.from_pretrained(
        root / "text_encoder", dtype=dtype, use_safetensors=True
    )
    tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer", trust_remote_code=False)
    mend_transformer(transformer)
    mend_duration_embedder(duration_embedder)
    return BaseModel(
        name=name,
        fingerprint=fingerprint(root),
        post_trained=_is_post_trained(root),
        transformer=_frozen(transformer, device),
        duration_embedder=_frozen(duration_embedder, device),
        autoencoder=_frozen(autoencoder, device),
        text_encoder=_frozen(text_encoder, device),
        tokenizer=tokenizer,
        sample_rate=autoencoder.config.sampling_rate,
        samples_per_latent=autoencoder.downsampling_ratio,
        latent_channels=autoencoder.config.latent_dim,
        prompt_tokens=min(tokenizer.model_max_length, PROMPT_TOKENS),
        licence=licence_of(root),
    )


def _frozen(module: Any, device: torch.device) -> Any:
    return module.to(device).eval().requires_grad_(False)


def _diffusers_autoencoder(root: Path) -> Any:
    from diffusers import AutoencoderSAME

    return AutoencoderSAME.from_pretrained(root / "vae", torch_dtype=torch.float32, use_safetensors=True)


def mend_transformer(transformer: Any) -> None:
    """Stability's norm epsilon (1e-5; diffusers has 1e-6) and float32 rotary frequencies after a 16-bit load."""
    for block in transformer.transformer_blocks:
        for norm in (block.pre_norm, block.cross_attend_norm, block.ff_norm):
            norm.eps = 1e-5
    rotary = transformer.rotary_pos_emb
    rotary.inv_freq = rotary_frequencies(2 * len(rotary.inv_freq)).to(rotary.inv_freq.device)


def mend_duration_embedder(embedder: Any) -> None:
    """Rebuild the Fourier frequencies in float32: rounded to bfloat16 they turn durations into garbage."""
    config = embedder.config
    ramp = torch.linspace(0.0, 1.0, config.fourier_dim // 2, device=embedder.freqs.device)
    low, high = (torch.log(torch.tensor(f)) for f in (config.min_freq, config.max_freq))
    embedder.freqs = torch.exp(ramp * (high - low) + low)


def _is_post_trained(root: Path) -> bool:
    scheduler = root / "scheduler" / "scheduler_config.json"
    return scheduler.exists() and bool(json.loads(scheduler.read_text()).get("stochastic_sampling"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' load reports and bars: what matters is raised, the rest would hide it."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
