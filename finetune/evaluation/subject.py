"""What is evaluated, in memory: a run, one of its adapters, its base, and its clips as the base hears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.adapter.low_rank import LowRankAdapter
from finetune.adapter.recorded_base import check_recorded_base
from finetune.base_model import BaseModel
from finetune.evaluation.candidates import Candidate, choose, read_candidate
from finetune.evaluation.kept import KeptPrompts, kept_prompts
from finetune.evaluation.score import Asker, Settings
from finetune.hear import load
from finetune.latents import EncodedClip, EncodedDataset, encode_dataset
from finetune.preparation import training_clips
from finetune.progress import say
from finetune.recipe import Recipe
from finetune.run_folder import CACHE, dataset_hash, recipe_of
from finetune.validation import Probe, clip_probes, spread


@dataclass(frozen=True)
class Subject:
    """`held_out` and `training` are as many clips, spread over the dataset."""

    run: Path
    recipe: Recipe
    candidate: Candidate
    base: BaseModel
    adapter: LowRankAdapter
    data: EncodedDataset
    held_out: list[EncodedClip]
    training: list[EncodedClip]
    kept: KeptPrompts
    settings: Settings

    @property
    def asker(self) -> Asker:
        return Asker(self.recipe, self.settings, [each.clip for each in self.data.split("train")])

    @property
    def asked(self) -> list[EncodedClip]:
        """The clips whose captions are played; of training where nothing is held out."""
        return spread(self.data.split("validation") or self.data.split("train"), self.settings.sounds)

    def probes(self, clips: Sequence[EncodedClip]) -> list[Probe]:
        return [probe for clip in clips for probe in clip_probes(self.base, self.data, self.recipe, clip)]


def prepare(run: Path, settings: Settings) -> Subject:
    """Load everything. Raises WoodshedError where a part is missing, damaged, or of another base."""
    recipe = recipe_of(run)
    if settings.base:
        recipe = replace(recipe, base=replace(recipe.base, model=settings.base))
    if settings.dataset:
        recipe = replace(recipe, data=replace(recipe.data, dataset=settings.dataset))
    candidate = choose(run, settings.adapter)
    clips = training_clips(recipe)
    base = load(recipe.base.model)
    adapter = read_candidate(run, recipe, candidate, base)
    check_recorded_base(adapter.facts, base, str(run / candidate.name))
    if adapter.facts.get("dataset_sha256", dataset_hash(clips)) != dataset_hash(clips):
        say("The dataset is not as it was when this was trained: held-out clips may have been trained on.")
    kept = kept_prompts(recipe.base.model)
    data = encode_dataset(base, clips, kept.prompts, 0, run.absolute().parent / CACHE)
    held_out = spread(data.split("validation"), recipe.validation.clips)
    training = spread(data.split("train"), len(held_out) or recipe.validation.clips)
    return Subject(run, recipe, candidate, base, adapter, data, held_out, training, kept, settings)
