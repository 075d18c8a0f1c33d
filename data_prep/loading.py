"""A prepared dataset as a Hugging Face `datasets.Dataset`, decoded by soundfile, without torchcodec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.dataset import SAMPLE_RATE, Clip, DatasetError, clips, read_audio

if TYPE_CHECKING:
    from datasets import Dataset


def load(dataset: Path | str, split: str | None = None) -> Dataset:
    """Rows of a dataset folder, of one split or of train and validation.

    `audio` decodes when a row is read: `{"array": float32 (channels, samples), "sampling_rate", "path"}`. The other
    columns are id, split, text, captions, seconds, recording, recording_seconds, clip_sha256. DatasetError as `clips`.
    """
    from datasets import Audio, Dataset

    rows = [_row(clip) for clip in clips(Path(dataset), split)]
    if not rows:
        raise DatasetError(f"{dataset} has no clips in {split or 'train and validation'}.")
    return Dataset.from_list(rows).cast_column("audio", Audio(decode=False)).with_transform(_decode)


def _row(clip: Clip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "split": clip.split,
        "audio": {"path": str(clip.path), "bytes": None},
        "text": clip.text,
        "captions": list(clip.captions),
        "seconds": clip.seconds,
        "recording": clip.recording,
        "recording_seconds": clip.recording_seconds,
        "clip_sha256": clip.clip_sha256,
    }


def _decode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if "audio" in batch:
        batch["audio"] = [
            {"array": read_audio(Path(audio["path"])), "sampling_rate": SAMPLE_RATE, "path": audio["path"]}
            for audio in batch["audio"]
        ]
    return batch
