"""Train the starter's text encoder, DiT and duration embedder from scratch on the encoded synthesised drums.

    python -m finetune.base_model.starter.train_diffusion WORK

WORK holds the autoencoder of train_autoencoder; latents and the state, saved every minute, are kept there too, and a
second call goes on from there. The result, all in fp16, is WORK/weights: the folder that the package ships.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderSAME, StableAudio3DiTModel
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from transformers import AutoTokenizer, T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

from finetune.base_model.loading import mend_transformer
from finetune.base_model.model import BaseModel, Conditions, PromptEmbedding
from finetune.base_model.starter.encoded import Encoded, encode_clips
from finetune.base_model.starter.geometry import (
    DURATION,
    LATENT_CHANNELS,
    SAMPLES_PER_LATENT,
    TEXT_ENCODER,
    TEXT_TOKENS,
    TRANSFORMER,
)  # fmt: skip
from finetune.base_model.starter.prompts import draw_caption, train_tokenizer
from finetune.base_model.starter.rhythm import listen_back
from finetune.base_model.starter.sitting import Sitting, keep_memory, rate_at, read_options, training_device
from finetune.base_model.starter.words import read, teach_words
from finetune.objective import (
    add_noise,
    draw_kept_mask,
    draw_some,
    draw_timesteps,
    masked_loss,
)  # fmt: skip

WARMUP = 200
WORD_STEPS, WORD_BATCH = 2500, 64
DROPOUT = 0.1
MASK_SHARES = (0.1, 0.8, 0.1)  # clips with gaps to fill, with everything to make, with a given beginning
FIRST_LESSONS = 500  # so many steps only teach rhythm
LESSONS = 3  # and then one in so many
LESSON_SECONDS = 5.0  # with loops up to this long
LESSON_NOISE = 0.75  # and at least this much noise: little of a loop is heard, its tempo must be read
LOUD = 2.0  # text is a third of what cross-attention sees, the rest is silent padding
AVERAGE = 0.999  # decay of the running average of the weights, which is what ships


def build(work: Path, library: Encoded, device: torch.device) -> BaseModel:
    """All parts but the autoencoder, from their seeded initial weights; the text encoder has learned its words."""
    torch.manual_seed(0)
    transformer = StableAudio3DiTModel(**TRANSFORMER)
    mend_transformer(transformer)
    silence_branches(transformer)
    duration_embedder = StableAudio3DurationEmbedder(**DURATION)
    listen_back(transformer, duration_embedder)
    text_encoder, tokenizer = literate_encoder(work, library, device)
    return BaseModel(
        name="starter", fingerprint="", post_trained=False, transformer=transformer.to(device),
        duration_embedder=duration_embedder.to(device), autoencoder=None, text_encoder=text_encoder.eval(),
        tokenizer=tokenizer, sample_rate=44100, samples_per_latent=SAMPLES_PER_LATENT,
        latent_channels=LATENT_CHANNELS, prompt_tokens=TEXT_TOKENS,
    )  # fmt: skip


def literate_encoder(work: Path, library: Encoded, device: torch.device) -> tuple[Any, Any]:
    """The tokenizer and the text encoder of WORK, made there first if need be."""
    if not (work / "text_encoder").exists():
        rng = np.random.default_rng(0)
        train_tokenizer((draw_caption(f, rng) for f in library.fields for _ in range(3)), work / "tokenizer")
        module = T5GemmaModuleConfig(**TEXT_ENCODER)
        encoder = T5GemmaEncoderModel(
            T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False)
        ).to(device)
        tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
        right = teach_words(encoder, tokenizer, library.fields, WORD_STEPS, WORD_BATCH)
        print(f"words learned: {right:.1%} of the tempi that captions state are told within 4 %", flush=True)
        encoder.save_pretrained(work / "text_encoder")
    encoder = T5GemmaEncoderModel.from_pretrained(work / "text_encoder").to(device)
    return encoder, AutoTokenizer.from_pretrained(work / "tokenizer")


@torch.no_grad()
def silence_branches(transformer: Any) -> None:
    """Start every residual branch at zero, as Stability's code does, and text loud behind it among silent padding."""
    transformer.prompt_padding_embedding.zero_()
    for block in transformer.transformer_blocks:
        for output in (block.self_attn.to_out, block.cross_attn.to_out, block.ff.proj_out):
            output.weight.zero_()
        block.cross_attn.to_kv.weight[block.cross_attn.to_out.weight.shape[0] :] *= LOUD


@torch.no_grad()
def embed(base: BaseModel, captions: list[str]) -> list[PromptEmbedding]:
    """Prompt embeddings, all in one pass of the text encoder."""
    encoded = read(base.tokenizer, captions).to(base.device)
    states = base.text_encoder(**encoded).last_hidden_state
    lengths = encoded["attention_mask"].sum(1).tolist()
    return [PromptEmbedding(row[:length]) for row, length in zip(states, lengths, strict=True)]


def flow_loss(
    base: BaseModel, library: Encoded, frames: int, step: int, turned: int = 0, least_noise: float = 0.0
) -> torch.Tensor:
    """The objective that adapters are trained with, on one batch; `turned` gives each clip another one's caption."""
    rng, generator = np.random.default_rng([3, step]), torch.Generator().manual_seed(step)
    clean, fields = library.draw(frames, rng)
    batch, _, length = clean.shape
    prompts = embed(base, [draw_caption(f, rng) for f in fields])
    exact = rng.random(batch) < 0.5  # the other half as the real bases were told: whole seconds, rounded up
    told = [f["seconds"] if e else math.ceil(f["seconds"]) for f, e in zip(fields, exact, strict=True)]
    t = base.training_shift.shifted(draw_timesteps(batch, generator), torch.full((batch,), length))
    t = least_noise + (1 - least_noise) * t
    noise = torch.randn(clean.shape, generator=generator)
    kept = draw_kept_mask(batch, length, MASK_SHARES, generator)
    dropped = draw_some(batch, DROPOUT, generator)
    clean, noise, t, kept = (x.to(base.device) for x in (clean, noise, t, kept))
    conditions = Conditions(
        prompts[turned:] + prompts[:turned], torch.tensor(told), dropped, kept, clean * kept
    )
    return masked_loss(base.velocity(add_noise(clean, noise, t), t, conditions), noise - clean, kept)


def train(work: Path, steps: int, frames: int, learning_rate: float, kits: int) -> None:
    keep_memory()
    library = encode_clips(work, kits)
    base = build(work, library, training_device())
    model = base.trainable_parts
    average = copy.deepcopy(model).requires_grad_(False)
    base.transformer.prompt_padding_embedding.requires_grad_(False)
    print(
        f"{len(library.latents)} clips, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    loops = library.only(lambda f: f["kind"] == "loop" and f["seconds"] <= LESSON_SECONDS)
    sitting = Sitting(work / "diffusion.state.safetensors", {"model": model, "average": average}, optimizer)
    while sitting.done < steps:
        step = sitting.done
        optimizer.param_groups[0]["lr"] = rate_at(learning_rate, WARMUP, step, steps)
        if step < FIRST_LESSONS or step % LESSONS == 0:
            loss = flow_loss(base, loops, frames, step, least_noise=LESSON_NOISE)
        else:
            loss = flow_loss(base, library, frames, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        follow(average, model, min(AVERAGE, step / (step + 10)))
        sitting.advance(loss, steps, say_every=50)
        if sitting.done % 500 == 0:
            say_what_words_are_worth(base, library, frames)
    model.load_state_dict(average.state_dict())
    export(base, work)


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


@torch.no_grad()
def say_what_words_are_worth(base: BaseModel, library: Encoded, frames: int, batches: int = 8) -> None:
    """Print the loss with the right captions and with each other's: equal losses would mean that none are read."""
    numbers = range(-1, -1 - batches, -1)
    own, others = (
        sum(flow_loss(base, library, frames, 10**9 + n, turned).item() for n in numbers) / batches
        for turned in (0, 1)
    )
    print(f"loss with the right words {own:.4f}, with others' {others:.4f}", flush=True)


def export(base: BaseModel, work: Path) -> None:
    """WORK/weights: a base in diffusers' layout, fp16."""
    out = work / "weights"
    base.transformer.half().save_pretrained(out / "transformer")
    base.duration_embedder.half().save_pretrained(out / "duration_embedder")
    base.text_encoder.half().save_pretrained(out / "text_encoder")
    base.tokenizer.save_pretrained(out / "tokenizer")
    AutoencoderSAME.from_pretrained(work / "vae").half().save_pretrained(out / "vae")
    for config in (out / "vae" / "config.json", out / "text_encoder" / "config.json"):
        values = json.loads(config.read_text())
        values.pop("_name_or_path", None)  # where WORK was is nobody's business
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
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
    options = read_options(__doc__, steps=5500, frames=2400, learning_rate=1e-3, kits=140)
    train(**vars(options))
