"""What a recipe would do here: memory, time, disk and cost, by doing each of its parts once. Nothing is written.

The base is loaded and adapted, one clip is encoded, two steps are taken on the longest batch that can come, and one
sample is decoded. Peaks of memory are those that were seen; times are multiplied. Of several processes each measures
itself, with the part of the base that it would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from data_prep.dataset import Clip
from finetune.adapter import Adapter
from finetune.base_model import BaseModel, decoding
from finetune.example import example_batch
from finetune.fitting import largest_batch
from finetune.loss import batch_loss
from finetune.memory import available, peak_bytes, reset_peak
from finetune.optimizer import STATE_BYTES, make_optimizer
from finetune.preparation import adapted_base, on_cpu, precision, spare_work, training_clips
from finetune.processes import device_of, make_accelerator, shard
from finetune.progress import progress_bar
from finetune.rank import processes
from finetune.recipe import Recipe
from finetune.samples import sample_requests
from finetune.validation import TIMES

ENCODED_SECONDS = 10.0  # of sound that is encoded to find the encoder's speed
FORWARDS = 2  # of a sampling step: with the prompt and without
SAMPLE_BYTES = 3 * 2  # of a sample in a stereo file of 24 bits


@dataclass(frozen=True)
class Phase:
    """One part of a run: the largest memory in it, in bytes, and how long all of it takes."""

    name: str
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """`available_bytes` of the GPU or, without one, of main memory, before anything is loaded."""

    base: str
    precision: str
    licence: str | None
    device: str
    adapted_modules: int
    adapter_parameters: int
    training_clips: int
    held_out_clips: int
    largest_batch: int
    longest_frames: int
    recomputed_blocks: int
    blocks: int
    phases: list[Phase]
    available_bytes: int
    step_seconds: float
    disk_bytes: int

    @property
    def peak_bytes(self) -> int:
        return max(phase.peak_bytes for phase in self.phases)

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= self.available_bytes


def make_plan(recipe: Recipe) -> Plan:
    """Raises WoodshedError when the recipe cannot be followed, torch.OutOfMemoryError when a step does not fit."""
    accelerator = make_accelerator(on_cpu(recipe), recipe.training.gradient_accumulation)
    device = device_of(accelerator)
    room = available(device) + (peak_bytes(device) if device.type == "cpu" else 0)
    clips = training_clips(recipe)
    phases: list[Phase] = []
    with progress_bar("Planning", 4) as report:
        watch = _Watch(device, phases)
        base, adapter = watch.first("loading", lambda: adapted_base(recipe, device))
        base.place_encoders(device)
        report(1, "encoding a clip")
        _encode(watch, base, clips)
        base.release_encoders()
        if recipe.base.shard:
            shard(accelerator, base)
        base.place_rest(device)
        recomputed = spare_work(recipe, base, adapter, clips)
        report(2, "two steps")
        size, frames = largest_batch(recipe, base, clips)
        step_seconds, forward_seconds = _train(watch, recipe, base, adapter, clips, (size, frames))
        report(3, "a sample")
        _sample(watch, recipe, base, clips, forward_seconds / frames)
        report(4, "")
    parameters = adapter.parameters()
    return Plan(
        base=recipe.base.model,
        precision=precision(recipe, device),
        licence=base.licence.name if base.licence else None,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        adapted_modules=sum(".lora_A." in name for name in adapter.named_parameters()),
        adapter_parameters=sum(parameter.numel() for parameter in parameters),
        training_clips=sum(clip.split == "train" for clip in clips),
        held_out_clips=sum(clip.split == "validation" for clip in clips),
        largest_batch=size,
        longest_frames=frames,
        recomputed_blocks=recomputed,
        blocks=len(base.transformer.transformer_blocks),
        phases=phases,
        available_bytes=room,
        step_seconds=step_seconds,
        disk_bytes=_disk_bytes(recipe, base, clips, sum(parameter.numel() for parameter in parameters)),
    )


class _Watch:
    """Runs the parts of a plan and notes their peaks."""

    def __init__(self, device: torch.device, phases: list[Phase]) -> None:
        self.device, self.phases = device, phases

    def first(self, name: str, work: Callable[[], tuple[BaseModel, Adapter]]) -> tuple[BaseModel, Adapter]:
        reset_peak(self.device)
        began = time.perf_counter()
        result = work()
        self.phases.append(Phase(name, peak_bytes(self.device), time.perf_counter() - began))
        return result

    def seconds(self, work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def note(self, name: str, seconds: float) -> None:
        """The phase since the last one took `seconds`, all of it."""
        self.phases.append(Phase(name, peak_bytes(self.device), seconds))
        reset_peak(self.device)


def _encode(watch: _Watch, base: BaseModel, clips: list[Clip]) -> None:
    longest = max(clip.seconds for clip in clips)
    heard = min(longest, ENCODED_SECONDS)
    silence = torch.zeros(1, 2, round(heard * base.sample_rate))
    watch.seconds(lambda: base.encode_audio(silence[..., : base.samples_per_latent]))
    audio = watch.seconds(lambda: base.encode_audio(silence)) / heard * sum(clip.seconds for clip in clips)
    texts = {text for clip in clips for text in (clip.text, *clip.captions)}
    words = watch.seconds(lambda: base.encode_prompt(clips[0].text)) * len(texts)
    watch.note("encoding", audio + words)


def _train(
    watch: _Watch,
    recipe: Recipe,
    base: BaseModel,
    adapter: Adapter,
    clips: list[Clip],
    largest: tuple[int, int],
) -> tuple[float, float]:
    """Seconds of a step on the longest batch, and of a forward pass of one clip."""
    training, group = recipe.training, recipe.validation
    optimizer = make_optimizer(recipe.optimizer, adapter.named_parameters())
    size, frames = largest
    batch = example_batch(base, size, frames, inpainting=training.inpainting)

    def step() -> None:
        for _ in range(training.gradient_accumulation // processes()):
            (batch_loss(base, batch) / training.gradient_accumulation).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    watch.seconds(step)  # the first makes the optimizer's state
    step_seconds = watch.seconds(step)
    one = example_batch(base, 1, frames)
    with torch.no_grad():
        forward_seconds = watch.seconds(lambda: batch_loss(base, one))
    longest = [min(base.seconds_to_frames(clip.seconds), frames) for clip in clips if clip.split == "train"]
    watch.note("training", training.steps * step_seconds * sum(longest) / (len(longest) * frames))
    held_out = min(group.clips, sum(clip.split == "validation" for clip in clips))
    if held_out:
        passes = training.steps // group.every + 2
        sides = 2  # the training set's loss stands beside the held-out one
        watch.note("validation", passes * sides * held_out * group.draws * len(TIMES) * forward_seconds)
    return step_seconds, forward_seconds


def _sample(watch: _Watch, recipe: Recipe, base: BaseModel, clips: list[Clip], frame_seconds: float) -> None:
    requests = sample_requests(recipe, clips)
    if not requests:
        return
    frames = max(base.seconds_to_frames(request.seconds) for request in requests)
    with decoding(base):
        decoded = watch.seconds(lambda: base.decode_latents(torch.zeros(1, base.latent_channels, frames)))
    passes = recipe.training.steps // recipe.samples.every + 2
    each = requests[0].steps * FORWARDS * frames * frame_seconds + decoded
    watch.note("samples", passes * len(requests) * each)


def _disk_bytes(recipe: Recipe, base: BaseModel, clips: list[Clip], weights: int) -> int:
    """Latents, checkpoints, adapters and samples."""
    latents = sum(base.seconds_to_frames(clip.seconds) for clip in clips) * base.latent_channels * 4
    checkpoints = (recipe.training.keep_checkpoints + 2) * weights * (4 + STATE_BYTES[recipe.optimizer.name])
    requests = sample_requests(recipe, clips)
    passes = recipe.training.steps // recipe.samples.every + 2 if requests else 0
    sound = passes * sum(round(request.seconds * base.sample_rate) for request in requests) * SAMPLE_BYTES
    return latents + checkpoints + 2 * weights * 4 + sound
