"""Train the starter's DiT and duration embedder from scratch on the encoded synthesised drums.

    python -m finetune.base_model.starter.train_diffusion WORK --minutes 35

WORK holds the autoencoder of train_autoencoder; latents and a checkpoint every minute are kept there too.
The result, all in fp16, is WORK/weights: the folder that the package ships.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderSAME, StableAudio3DiTModel
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

from finetune.base_model.loading import mend_transformer
from finetune.base_model.model import BaseModel, Conditions, PromptEmbedding
from finetune.base_model.starter.geometry import (
    DURATION,
    LATENT_CHANNELS,
    SAMPLES_PER_LATENT,
    TEXT_ENCODER,
    TEXT_TOKENS,
    TRANSFORMER,
)  # fmt: skip
from finetune.base_model.starter.grooves import Clip, training_clips
from finetune.base_model.starter.prompts import caption_fields, draw_caption, train_tokenizer
from finetune.base_model.starter.sitting import load_state, rate_at, read_options, save_state
from finetune.objective import (
    add_noise,
    draw_dropped,
    draw_kept_mask,
    draw_timesteps,
    masked_loss,
    shift_by_length,
)  # fmt: skip

DROPOUT = 0.1
MASK_SHARES = (0.1, 0.8, 0.1)  # clips with gaps to fill, with everything to make, with a given beginning
LEVEL = 0.33  # deviation of a loop's latents: attacks are ten times louder, and noise must drown them too
NEIGHBOURS = 8  # a batch is drawn from this many times its size of clips of about one length
LOUD = 8.0
AVERAGE = 0.999  # decay of the running average of the weights, which is what ships


@dataclass
class Library:
    """Encoded clips sorted by length; `latents[i]`: (channels, frames) float16, `fields[i]`: its caption's facts."""

    latents: list[torch.Tensor]
    fields: list[dict]
    silence: torch.Tensor


def encode_library(work: Path, kits: int) -> Library:
    """Render and encode every clip once into WORK/latents.safetensors."""
    stored, facts = work / "latents.safetensors", work / "fields.json"
    if not facts.exists():
        autoencoder: Any = AutoencoderSAME.from_pretrained(work / "vae").eval()
        pairs = sorted(_encoded(autoencoder, training_clips(1, kits)), key=lambda pair: pair[0].shape[1])
        scale = torch.cat([z.flatten().float() for z, fields in pairs if fields["kind"] == "loop"]).std()
        scale = scale / LEVEL
        autoencoder.bottleneck.running_std.fill_(scale)
        autoencoder.save_pretrained(work / "vae")
        silence = autoencoder.encode(torch.zeros(1, 2, 64 * SAMPLES_PER_LATENT)).latents[0]
        encoded = {f"{i:06d}": (z / scale).half() for i, (z, _) in enumerate(pairs)}
        save_file(encoded | {"silence": silence.half().contiguous()}, stored)
        facts.write_text(json.dumps([fields for _, fields in pairs]))
    latents = load_file(stored)
    silence = latents.pop("silence").float()[:, 32:33]
    return Library([latents[name] for name in sorted(latents)], json.loads(facts.read_text()), silence)


@torch.no_grad()
def _encoded(autoencoder: AutoencoderSAME, clips: Iterator[Clip]) -> Iterator[tuple[torch.Tensor, dict]]:
    for clip in clips:
        power = np.abs(np.fft.rfft(clip.audio.mean(0)[:65536])) ** 2
        centroid = float((power * np.linspace(0, 22050, len(power))).sum() / (power.sum() + 1e-12))
        audio = torch.from_numpy(clip.audio)[None]
        yield autoencoder.encode(audio).latents[0].contiguous(), caption_fields(clip.facts, centroid)


def build(work: Path, library: Library) -> BaseModel:
    """All trainable parts from their seeded initial weights, as a BaseModel without its autoencoder."""
    if not (work / "tokenizer").exists():
        rng = np.random.default_rng(0)
        train_tokenizer((draw_caption(f, rng) for f in library.fields for _ in range(3)), work / "tokenizer")
    torch.manual_seed(0)
    module = T5GemmaModuleConfig(**TEXT_ENCODER)
    text_encoder = T5GemmaEncoderModel(
        T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
    )
    transformer = StableAudio3DiTModel(**TRANSFORMER)
    mend_transformer(transformer)
    silence_branches(transformer)
    for part in (text_encoder, transformer.to_cond_embed):
        part.requires_grad_(False)  # words keep the features they began with: something steady to learn from
    return BaseModel(
        name="starter", fingerprint="", post_trained=False, transformer=transformer,
        duration_embedder=StableAudio3DurationEmbedder(**DURATION), autoencoder=None, text_encoder=text_encoder,
        tokenizer=AutoTokenizer.from_pretrained(work / "tokenizer"), sample_rate=44100,
        samples_per_latent=SAMPLES_PER_LATENT, latent_channels=LATENT_CHANNELS, prompt_tokens=TEXT_TOKENS,
    )  # fmt: skip


@torch.no_grad()
def silence_branches(transformer: Any) -> None:
    """Start every residual branch at zero, as Stability's code does, and the text's values loud behind it."""
    for block in transformer.transformer_blocks:
        for output in (block.self_attn.to_out, block.cross_attn.to_out, block.ff.proj_out):
            output.weight.zero_()
        block.cross_attn.to_kv.weight[block.cross_attn.to_out.weight.shape[0] :] *= LOUD


def hold_gaze(transformer: Any) -> None:
    """Keep queries and keys of cross-attention, and the padding, as they began: values and outputs learn.

    Free to move, they learn within some hundred steps to look at the padding instead of at text that does not mean
    anything yet, and no gradient ever brings them back.
    """
    transformer.prompt_padding_embedding.grad = None
    for block in transformer.transformer_blocks:
        attention = block.cross_attn
        for held in (attention.to_q.weight, attention.q_norm.gamma, attention.k_norm.gamma):
            held.grad = None
        attention.to_kv.weight.grad[: attention.to_out.weight.shape[0]] = 0.0


def parts(base: BaseModel) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({**base.trainable_parts, "text_encoder": base.text_encoder})


def draw_batch(library: Library, batch: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[dict]]:
    """Neighbours in length, the shorter ones continued with silence: (batch, channels, frames) and their facts."""
    start = int(rng.integers(0, len(library.latents) - NEIGHBOURS * batch))
    chosen = sorted(start + rng.choice(NEIGHBOURS * batch, batch, replace=False))
    extra = int(rng.exponential(8)) if rng.random() < 0.3 else 0
    frames = library.latents[chosen[-1]].shape[1] + extra
    rows = library.silence.expand(batch, -1, frames).clone()
    for row, index in zip(rows, chosen, strict=True):
        row[:, : library.latents[index].shape[1]] = library.latents[index]
    return rows, [library.fields[index] for index in chosen]


@torch.no_grad()
def embed(base: BaseModel, captions: list[str]) -> list[PromptEmbedding]:
    """Prompt embeddings, all in one pass of the text encoder."""
    encoded = base.tokenizer(
        captions, truncation=True, max_length=TEXT_TOKENS, padding=True, return_tensors="pt"
    )
    states = base.text_encoder(
        input_ids=encoded.input_ids, attention_mask=encoded.attention_mask
    ).last_hidden_state
    lengths = encoded.attention_mask.sum(1).tolist()
    return [PromptEmbedding(row[:length]) for row, length in zip(states, lengths, strict=True)]


def flow_loss(base: BaseModel, library: Library, batch: int, step: int) -> torch.Tensor:
    """The objective that adapters are trained with, on one batch of the library."""
    rng, generator = np.random.default_rng([3, step]), torch.Generator().manual_seed(step)
    clean, fields = draw_batch(library, batch, rng)
    frames = clean.shape[-1]
    prompts = embed(base, [draw_caption(f, rng) for f in fields])
    exact = rng.random(batch) < 0.5  # the other half as the real bases were told: whole seconds, rounded up
    told = [f["seconds"] if e else math.ceil(f["seconds"]) for f, e in zip(fields, exact, strict=True)]
    t = shift_by_length(draw_timesteps(batch, generator), torch.full((batch,), frames))
    noise = torch.randn(clean.shape, generator=generator)
    kept = draw_kept_mask(batch, frames, MASK_SHARES, generator)
    dropped = draw_dropped(batch, DROPOUT, generator)
    conditions = Conditions(prompts, torch.tensor(told), dropped, kept, clean * kept)
    return masked_loss(base.velocity(add_noise(clean, noise, t), t, conditions), noise - clean, kept)


def train(work: Path, minutes: float, batch: int, learning_rate: float, kits: int) -> None:
    library = encode_library(work, kits)
    base = build(work, library)
    model = parts(base)
    print(
        f"{len(library.latents)} clips, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True
    )
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    state, step, spent = work / "diffusion.state.safetensors", 0, 0.0
    if state.exists():
        saved, spent, step = load_state(state)
        model.load_state_dict({k[4:]: v for k, v in saved.items() if k.startswith("now.")})
        average = {k[4:]: v for k, v in saved.items() if k.startswith("ema.")}
    began, saved_at, smooth = time.monotonic() - spent, time.monotonic(), 0.0
    while (elapsed := time.monotonic() - began) < minutes * 60:
        progress = elapsed / (minutes * 60)
        rate = rate_at(learning_rate, step, 200, progress)
        optimizer.param_groups[0]["lr"] = rate
        loss = flow_loss(base, library, batch, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        hold_gaze(base.transformer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 1 - min(AVERAGE, step / (step + 10)))
        smooth = loss.item() if smooth == 0 else 0.98 * smooth + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}  loss {smooth:.4f}  rate {rate:.2e}  {elapsed / 60:.1f} min", flush=True)
        if time.monotonic() - saved_at > 60:
            tensors = {"now." + k: v for k, v in model.state_dict().items()} | {
                "ema." + k: v for k, v in average.items()
            }
            save_state(state, tensors, elapsed, step)
            saved_at = time.monotonic()
    model.load_state_dict(average)
    export(base, work)


def export(base: BaseModel, work: Path) -> None:
    """WORK/weights: a base in diffusers' layout, fp16."""
    out = work / "weights"
    base.transformer.half().save_pretrained(out / "transformer")
    base.duration_embedder.half().save_pretrained(out / "duration_embedder")
    base.text_encoder.half().save_pretrained(out / "text_encoder")
    base.tokenizer.save_pretrained(out / "tokenizer")
    AutoencoderSAME.from_pretrained(work / "vae").half().save_pretrained(out / "vae")
    config = json.loads((out / "vae" / "config.json").read_text())
    config.pop("_name_or_path", None)  # where WORK was is nobody's business
    (out / "vae" / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    index = {
        "_class_name": "StableAudio3Pipeline",
        "vae": ["diffusers", "AutoencoderSAME"],
        "text_encoder": ["transformers", "T5GemmaEncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "duration_embedder": ["stable_audio_3", "StableAudio3DurationEmbedder"],
        "transformer": ["diffusers", "StableAudio3DiTModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (out / "scheduler").mkdir(exist_ok=True)
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": False}
    (out / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n")


if __name__ == "__main__":
    options = read_options(__doc__, minutes=35.0, batch=16, learning_rate=1e-3, kits=110)
    train(options.work, options.minutes, options.batch, options.learning_rate, options.kits)
