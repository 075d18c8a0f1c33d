"""Whether Underfit reads the clips and captions of a dataset folder.

    python -m tests.tools.check_underfit_dataset UNDERFIT STABILITY DATASET

UNDERFIT is a checkout of dada-bots/underfit, STABILITY one of Stability-AI/stable-audio-3, whose dataset class Underfit
trains from. DATASET/train goes the way that its dashboard sends a folder: `find_audio_files` and `encode_shard` of its
pre_encode.py, then the loader of its backend `sa3` with its prompt_templates.py. In the place of the autoencoder stands
one that only folds the samples, so that what arrives can be compared sample for sample; soundfile reads files in the
place of torchaudio. What Stability's code imports (einops and dill among others) must be installed. Every clip must
come at its length with its caption, before which Underfit writes `Prompt: `.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import soundfile
import torch

from data_prep.dataset import clips
from tests.tools.check_stability_dataset import RATE, stand_in_for_torchaudio

FOLD = 4096
"""Samples of a latent frame, as SAME has them."""
LABEL = "Prompt: "


class Folding(torch.nn.Module):
    """An autoencoder that loses nothing: (batch, 2, samples) to (batch, 2 * FOLD, samples / FOLD)."""

    def __init__(self) -> None:
        super().__init__()
        self.model = SimpleNamespace(encode_audio=self.fold)

    def fold(self, audio: torch.Tensor, chunked: bool) -> torch.Tensor:
        return audio.unflatten(2, (-1, FOLD)).transpose(2, 3).flatten(1, 2)


def unfold(latents: torch.Tensor) -> torch.Tensor:
    """(2 * FOLD, frames) back to (2, samples)."""
    return latents.unflatten(0, (2, FOLD)).transpose(1, 2).flatten(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.check_underfit_dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("underfit", type=Path, help="checkout of dada-bots/underfit")
    parser.add_argument("stability", type=Path, help="checkout of Stability-AI/stable-audio-3")
    parser.add_argument("dataset", type=Path, help="folder that `woodshed prep` has made")
    arguments = parser.parse_args()
    sys.path[:0] = [str(arguments.stability), str(arguments.underfit)]
    stand_in_for_torchaudio()
    wanted = {clip.path.name: clip for clip in clips(arguments.dataset, "train")}
    right: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="underfit-") as latents:
        encode(arguments.underfit, arguments.dataset / "train", Path(latents))
        for audio, info in read(arguments.underfit, Path(latents)):
            name = Path(info["path"]).name
            if (
                name in wanted
                and info["prompt"] == LABEL + wanted[name].text.strip()
                and same(audio, info, wanted[name].path)
            ):
                right.add(name)
    print(f"{len(right)} of {len(wanted)} clips as they are, each caption behind {LABEL!r}")
    if wrong := sorted(wanted.keys() - right):
        sys.exit(f"not so: {', '.join(wrong)}")


def encode(underfit: Path, folder: Path, latents: Path) -> None:
    """Their search for files, their tasks and their encoding of one shard, into `latents`."""
    sys.path.insert(0, str(underfit / "dataset_processing"))
    import pre_encode

    pre_encode._build_pretransform = lambda config, rate: Folding()
    files = pre_encode.find_audio_files(folder)
    longest = max(soundfile.info(file).frames for file in files)
    weights = latents / "weights.pt"
    torch.save({}, weights)
    shard = {
        "tasks": pre_encode._expand_files_to_tasks(files, folder), "input_dir": str(folder),
        "latent_root": str(latents), "weights_path": str(weights), "pretransform_config": {}, "sample_rate": RATE,
        "audio_channels": 2, "ds_ratio": FOLD, "max_samples": -(-longest // FOLD) * FOLD, "device": "cpu",
        "half": False, "force": True, "batch_size": 1,
    }  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):
        pre_encode.encode_shard(0, 1, shard)


def read(underfit: Path, latents: Path) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
    """What a training epoch gets from the loader of their backend."""
    from underfit.backends import sa3

    part = {
        "id": "train",
        "path": str(latents),
        "custom_metadata_module": str(underfit / "dataset_processing" / "prompt_templates.py"),
    }
    loader = sa3.create_dataloader(
        {"dataset_type": "pre_encoded", "datasets": [part]}, 1, 0, RATE, num_workers=0, shuffle=False, pin_memory=False
    )  # fmt: skip
    for batch, infos in loader:
        yield from zip(batch, infos, strict=True)


def same(latents: torch.Tensor, info: dict[str, Any], path: Path) -> bool:
    """Sample for sample, silence behind it, and its length in seconds and frames."""
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    audio, length = unfold(latents), len(samples)
    frames = int(info["padding_mask"][0].sum())
    return (
        bool(torch.equal(audio[:, :length], torch.from_numpy(samples.T)))
        and not audio[:, length:].any()
        and abs(info["seconds_total"] - length / RATE) < 1e-3
        and abs(frames - length / FOLD) <= 1
    )


if __name__ == "__main__":
    main()
