"""Load a base, put adapters into it, generate, write the files: what `woodshed generate` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.formats import locate, read_adapter, read_facts
from finetune.adapter.recorded_base import check_recorded_base
from finetune.adapter_option import AdapterOption, adapter_name, check_strength
from finetune.audio_files import read_audio, write_audio
from finetune.base_model import BaseModel, decoding, is_base, load_base
from finetune.content_credentials import add_credentials, signing_key
from finetune.errors import WoodshedError
from finetune.generate import Request, check_request, decode, encode_negative, latent_frames, sample_batch
from finetune.given import FADE_SECONDS, Given, GivenLatents, encode_given, read_spans, splice
from finetune.progress import progress_bar
from finetune.tags import about_sound, adapter_hash, differences
from finetune.wanted import Wanted, make_request, out_files, seconds_of

DEFAULT_NOISE = 0.4  # of a sound to begin from: about half of where its onsets lie is left


@dataclass(frozen=True)
class Written:
    """One file: its seed, and its peak in dB of full scale."""

    file: str
    seed: int
    peak_db: float


def hear(wanted: Wanted) -> dict[str, Any]:
    """Generate what is wanted, one file for each seed, and say what was done in plain values.

    Raises WoodshedError with a sentence for everything that cannot be; what is known without the base is checked
    before the base is loaded.
    """
    files = out_files(wanted)
    key = signing_key() if wanted.credentials else None
    seconds = seconds_of(wanted)
    for seed in wanted.seeds:
        check_request(replace(make_request(wanted, seconds, post_trained=False), seed=seed))
    for option in wanted.adapters:
        locate(option.path)
    base = load(wanted.base or base_of(wanted.adapters[0].path))
    uses = [_use(option, base, wanted.like) for option in wanted.adapters]
    request = make_request(wanted, seconds, base.post_trained)
    if wanted.piece is None:
        request = replace(request, seconds_total=_piece(uses, seconds))
    check_request(request)
    given = _given(wanted, base, seconds)
    about = about_sound(base, uses, request, given, wanted.splice)
    written = []
    with Blend(base, uses) as blend:
        sounds = _sounds(base, request, wanted, given, blend.at)
        for file, seed, audio in zip(files, wanted.seeds, sounds, strict=True):
            write_audio(file, audio, base.sample_rate, wanted.bits, about | {"seed": seed})
            if key is not None:
                add_credentials(file, about | {"seed": seed}, key)
            written.append(asdict(Written(str(file), seed, _peak_db(audio))))
    paths = [{"path": str(option.path)} for option in wanted.adapters]
    adapters = [path | said for path, said in zip(paths, about["adapters"], strict=True)]
    done = {"out": written[0]["file"], "files": written} | about | {"base": base.name, "adapters": adapters}
    done["credentials"] = wanted.credentials
    return done | ({"differs": differences(wanted.like, about)} if wanted.like else {})


def _sounds(
    base: BaseModel, request: Request, wanted: Wanted, given: Given | None, at: Callable[[float], None]
) -> Iterator[np.ndarray]:
    """(2, samples) for each seed in turn, `wanted.batch` of them sampled together."""
    prompt, negative = base.encode_prompt(request.prompt), encode_negative(base, request)
    latents = _encoded(base, given, request)
    batches = [wanted.seeds[n : n + wanted.batch] for n in range(0, len(wanted.seeds), wanted.batch)]
    began = time.monotonic()
    with progress_bar("Generating", request.steps * len(batches)) as report, decoding(base):
        for number, seeds in enumerate(batches):
            requests = [replace(request, seed=seed) for seed in seeds]
            done = number * request.steps

            def progress(step: int, done: int = done) -> None:
                rate = (done + step) / (time.monotonic() - began)
                report(done + step, f"{rate:.1f} steps/s")

            made = sample_batch(base, [prompt] * len(seeds), requests, progress, negative, latents, at)
            for audio in decode(base, made, request):
                if given is not None and given.keep and wanted.splice:
                    fade = round(FADE_SECONDS * base.sample_rate)
                    yield splice(audio, given.audio, given.keep, fade)
                else:
                    yield audio


def _encoded(base: BaseModel, given: Given | None, request: Request) -> GivenLatents | None:
    return None if given is None else encode_given(base, given, latent_frames(base, request))


def _given(wanted: Wanted, base: BaseModel, seconds: float) -> Given | None:
    """The sound to begin from. Where parts of it stay, the rest begins from noise alone unless `noise` is said."""
    if wanted.init is None:
        return None
    audio = read_audio(wanted.init, base.sample_rate, seconds)
    samples = round(seconds * base.sample_rate)
    keep = read_spans(wanted.keep, audio.shape[1], samples, base.sample_rate)
    noise = wanted.noise if wanted.noise is not None else (1.0 if keep else DEFAULT_NOISE)
    return Given(audio, noise, keep, wanted.keep)


def _use(option: AdapterOption, base: BaseModel, like: dict[str, Any] | None) -> AdapterUse:
    """The adapter of `option`; one without a strength as the file `like` used it, else as it was trained."""
    adapter = read_adapter(option.path, base)
    name = adapter_name(option.path)
    check_recorded_base(adapter.facts, base, str(option.path))
    if option.strength is None and like is not None:
        for said in like["adapters"]:
            if said["sha256"] == adapter_hash(adapter):
                strength = check_strength(said["strength"])
                return AdapterUse(adapter, name, strength, tuple(said["noise"]), said["layers"])
    return AdapterUse(
        adapter, name, 1.0 if option.strength is None else option.strength, option.noise, option.layers
    )


def _piece(uses: Sequence[AdapterUse], seconds: float) -> float | None:
    """The length of piece that the first adapter in use learned from, if that were excerpts of longer ones.

    At strength 0 nothing of an adapter counts, its way with lengths neither.
    """
    for use in uses:
        if use.strength:
            excerpt = use.adapter.facts.get("excerpt_seconds")
            return max(float(excerpt), seconds) if excerpt else None
    return None


def _peak_db(audio: np.ndarray) -> float:
    return round(20 * float(np.log10(max(float(np.abs(audio).max()), 1e-10))), 1)


def load(base: str) -> BaseModel:
    """The base on the GPU in 16 bits if there is one, else on the CPU."""
    if torch.cuda.is_available():
        return load_base(base, torch.bfloat16, "cuda")
    return load_base(base)


def base_of(adapter: Path) -> str:
    """Where the base of an adapter is: its run's recipe says, or the adapter itself where that is a name."""
    _, place = locate(adapter)
    recipe = place.parent / "recipe.yaml"
    if place.is_dir() and recipe.is_file():
        return str(OmegaConf.load(recipe).base.model)
    named = read_facts(adapter).get("base")
    if named is None or not is_base(named):
        raise WoodshedError(
            f"The adapter in '{adapter}' was trained on the base '{named or 'unknown'}' and does not say where that "
            "lies here; name its folder with --base."
        )
    return named
