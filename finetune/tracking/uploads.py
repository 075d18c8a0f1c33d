"""What leaves this machine besides numbers: always without its folders, and only what the recipe names.

The recipe with its folders by name alone; the dataset as hashes and its card, never its recordings; samples with
their spectrograms (`tracking.upload_audio`); checkpoints (`tracking.upload_checkpoints`); the adapter's card, and its
weights (`tracking.upload_adapter`).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import soundfile
from omegaconf import OmegaConf

from data_prep.dataset import clips
from finetune.adapter.folder import read_card
from finetune.checkpoint import step_of
from finetune.recipe import Recipe, to_yaml, values
from finetune.run_folder import dataset_hash, located
from finetune.tracking.log import as_lines, read_log
from finetune.tracking.wandb_client import artifact_of, wandb

CARD = "README.md"


def without_folders(recipe: Recipe) -> Recipe:
    """The recipe with every folder as its name alone; a base or an adapter that is a name stays one."""
    config = OmegaConf.structured(located(recipe))
    for key, value in values(located(recipe)).items():
        if isinstance(value, str) and Path(value).is_absolute():
            OmegaConf.update(config, key, Path(value).name)
    named = OmegaConf.to_object(config)
    assert isinstance(named, Recipe)
    return named


def checkpoint_name(wandb_id: str) -> str:
    """The artifact that holds the checkpoints of a run."""
    return f"checkpoint-{wandb_id}"


def dataset_artifact(recipe: Recipe) -> wandb.Artifact:
    """Split, length and hash of every clip that is trained on or held out, and the dataset's card."""
    folder = Path(recipe.data.dataset)
    used = clips(folder)
    rows = [{"split": clip.split, "seconds": clip.seconds, "clip_sha256": clip.clip_sha256} for clip in used]
    contents: dict[str, bytes | Path] = {"clips.jsonl": as_lines(rows)}
    if (folder / CARD).is_file():
        contents[CARD] = folder / CARD
    digest = dataset_hash(sorted(used, key=lambda clip: clip.id))
    facts = {"dataset_sha256": digest, "clips": len(rows)}
    return artifact_of(f"dataset-{digest[:12]}", "dataset", facts, contents)


def checkpoint_artifact(run: Path, recipe: Recipe, wandb_id: str, folder: Path) -> wandb.Artifact:
    """The part of the run's folder that another machine needs to go on from the checkpoint in `folder`."""
    step = step_of(folder)
    kept = [*_files(folder), *_files(run / "best"), *run.glob("parent.json"), *run.glob("began_with.json")]
    contents: dict[str, bytes | Path] = {file.relative_to(run).as_posix(): file for file in kept}
    contents["recipe.yaml"] = to_yaml(without_folders(recipe)).encode()
    contents["log.jsonl"] = as_lines([row for row in read_log(run) if row["step"] <= step])
    return artifact_of(checkpoint_name(wandb_id), "checkpoint", {"step": step}, contents)


def adapter_artifact(run: Path, recipe: Recipe) -> wandb.Artifact:
    """The adapter's card with the hashes of its files; the files themselves when the recipe says so."""
    folder = run / "adapter"
    named = {file.relative_to(folder).as_posix(): file for file in _files(folder)}
    card: dict[str, Any] = read_card(folder) | {
        "files": {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in named.items()}
    }
    contents: dict[str, bytes | Path] = dict(named) if recipe.tracking.upload_adapter else {}
    contents["card.json"] = (json.dumps(card, indent=1, sort_keys=True) + "\n").encode()
    return artifact_of(_valid(f"adapter-{recipe.name}"), "adapter", card, contents)


def samples(run: Path, step: int) -> dict[str, Any]:
    """The sounds of a step with what was asked for, and their spectrograms; empty when there are none."""
    folder = run / "samples" / f"step-{step:06}"
    if not folder.is_dir():
        return {}
    from PIL import Image

    from finetune.pictures import spectrogram_png

    media: dict[str, Any] = {}
    for asked in json.loads((folder / "prompts.json").read_text(encoding="utf-8")):
        file = folder / asked["file"]
        sound, sample_rate = soundfile.read(file, dtype="float32", always_2d=True)
        picture = Image.open(io.BytesIO(spectrogram_png(sound.T, sample_rate)))
        said = f"{asked['prompt']} (seed {asked['seed']})"
        media[f"samples/{file.stem}"] = wandb.Audio(str(file), caption=said)
        media[f"spectrograms/{file.stem}"] = wandb.Image(picture, caption=said)
    return media


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _valid(name: str) -> str:
    """A name as Weights & Biases allows it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:128]
