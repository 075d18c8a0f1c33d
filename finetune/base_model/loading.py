"""Load a base from a folder in diffusers' layout, with every fault of that port mended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from finetune.base_model.model import BaseModel
from finetune.errors import WoodshedError

PROMPT_TOKENS = 256
PARTS = ("transformer", "duration_embedder", "vae", "text_encoder", "tokenizer")


def load_base(
    model: str, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> BaseModel:
    """The base called `model`: `starter`, or a folder in diffusers' layout (one folder a part).

    `dtype` is that of the transformer and the text encoder; the autoencoder and the duration embedder stay in
    float32. Raises WoodshedError when the folder is missing, incomplete or of another kind.
    """
    root = find_base(model)
    with _quiet():
        base = _load(root, model, dtype)
    parts: list[Any] = [base.transformer, base.duration_embedder, base.autoencoder, base.text_encoder]
    for part in parts:
        part.to(device).eval().requires_grad_(False)
    return base


@contextlib.contextmanager
def decoding(base: BaseModel) -> Iterator[None]:
    """Have the autoencoder in memory for a while, where `release_encoders` had dropped it."""
    if base.autoencoder is not None:
        yield
        return
    with _quiet():
        base.autoencoder = _load_autoencoder(find_base(base.name)).to(base.device)
    try:
        yield
    finally:
        base.autoencoder = None


def find_base(model: str) -> Path:
    """The folder of the base called `model`."""
    if model == "starter":
        return Path(str(files("finetune.base_model.starter") / "weights"))
    root = Path(model).expanduser()
    if not root.is_dir():
        raise WoodshedError(
            f"base.model: there is no folder '{model}', and bases are not fetched from the Hub. Name 'starter', or "
            "the folder of a Stable Audio 3 base in diffusers' layout: base.model=FOLDER."
        )
    if (root / "model_config.json").exists():
        raise WoodshedError(
            f"base.model: '{model}' holds a base in Stability's own layout (model_config.json); this version of "
            "Woodshed reads diffusers' layout (one folder for each part)."
        )
    missing = [part for part in PARTS if not (root / part).is_dir()]
    if missing:
        raise WoodshedError(f"base.model: '{model}' is not a whole base, it lacks {', '.join(missing)}.")
    return root


def fingerprint(root: Path) -> str:
    """SHA-256 over the names and contents of a base's weights and configurations."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".safetensors", ".json")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _load(root: Path, name: str, dtype: torch.dtype) -> BaseModel:
    from diffusers import StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
    from transformers import AutoTokenizer, T5GemmaEncoderModel

    try:
        transformer = StableAudio3DiTModel.from_pretrained(root / "transformer", torch_dtype=dtype)
        duration_embedder = StableAudio3DurationEmbedder.from_pretrained(
            root / "duration_embedder", torch_dtype=torch.float32
        )
        autoencoder = _load_autoencoder(root)
        text_encoder = T5GemmaEncoderModel.from_pretrained(root / "text_encoder", dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer")
    except (OSError, ValueError, RuntimeError) as error:
        raise WoodshedError(f"base.model: '{name}' could not be loaded: {error}") from error
    mend_transformer(transformer)
    mend_duration_embedder(duration_embedder)
    return BaseModel(
        name=name,
        fingerprint=fingerprint(root),
        post_trained=_is_post_trained(root),
        transformer=transformer,
        duration_embedder=duration_embedder,
        autoencoder=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        sample_rate=autoencoder.config.sampling_rate,
        samples_per_latent=autoencoder.downsampling_ratio,
        latent_channels=autoencoder.config.latent_dim,
        prompt_tokens=min(tokenizer.model_max_length, PROMPT_TOKENS),
    )


def _load_autoencoder(root: Path) -> Any:
    from diffusers import AutoencoderSAME

    autoencoder = AutoencoderSAME.from_pretrained(root / "vae", torch_dtype=torch.float32)
    return autoencoder.eval().requires_grad_(False)


def mend_transformer(transformer: Any) -> None:
    """Stability's norm epsilon (1e-5; diffusers has 1e-6) and float32 rotary frequencies after a 16-bit load."""
    for block in transformer.transformer_blocks:
        for norm in (block.pre_norm, block.cross_attend_norm, block.ff_norm):
            norm.eps = 1e-5
    rotary = transformer.rotary_pos_emb
    rotary.inv_freq = rotary_frequencies(2 * len(rotary.inv_freq)).to(rotary.inv_freq.device)


def rotary_frequencies(channels: int) -> torch.Tensor:
    """(channels / 2,) float32, radians per frame, highest first, of a head that turns so many channels."""
    return 1.0 / (10000 ** (torch.arange(0, channels, 2).float() / channels))


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
