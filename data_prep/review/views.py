"""What the page shows and plays of a slice: pictures, thumbnails, sound."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset_folder import DatasetFolder
from data_prep.review import pictures
from data_prep.review.actions import LONGEST_SECONDS
from data_prep.review.reviews import Reviews
from data_prep.review.sources import Sources
from data_prep.sound.recording import SAMPLE_RATE

Header = dict[str, Any]
THUMBNAIL_COLUMNS = 96
MOST_THUMBNAILS = 64
FEWEST_COLUMNS, MOST_COLUMNS = 16, 4096
LONGEST_WITH_CUTS = 90 * SAMPLE_RATE
"""In a longer view hits are closer to one another than a finger is wide."""
LONGEST_STRETCH = 120 * SAMPLE_RATE
_FLAT = bytes(2 * THUMBNAIL_COLUMNS)


class Views:
    """Computed when asked for; the latest pictures and all thumbnails (200 bytes each) are kept."""

    def __init__(self, folder: DatasetFolder, reviews: Reviews, sources: Sources) -> None:
        self.folder, self.reviews, self.sources = folder, reviews, sources
        self._picture = lru_cache(maxsize=64)(self._draw)
        self._cuts = lru_cache(maxsize=256)(self._find_cuts)
        self._thumbnail = lru_cache(maxsize=20_000)(self._draw_thumbnail)

    def picture(self, row_id: str, start: int, end: int, columns: int) -> tuple[Header, bytes]:
        """Peaks and spectrogram of a stretch of the recording of a row; of the slice alone where the recording cannot
        be had."""
        row = self.reviews.rows[row_id]
        if self.sources.why_not(row):
            start, end = row["start_sample"], row["end_sample"]
        columns = max(FEWEST_COLUMNS, min(columns, MOST_COLUMNS))
        end = min(end, start + LONGEST_SECONDS * SAMPLE_RATE)
        return self._picture(row_id, row["clip_sha256"], max(0, start), end, columns)

    def cuts(self, row_id: str, start: int, end: int) -> list[int]:
        """Where a cut snaps between two samples of the recording; nowhere where it cannot be had."""
        row = self.reviews.rows[row_id]
        if self.sources.why_not(row) or end - start > LONGEST_WITH_CUTS:
            return []
        return self._cuts(row_id, max(0, start), end)

    def _find_cuts(self, row_id: str, start: int, end: int) -> list[int]:
        return self.sources.cuts(self.reviews.rows[row_id], start, end)

    def thumbnails(self, row_ids: list[str]) -> bytes:
        """Peaks of each slice, int8 (columns, 2), one after another; zeros where it cannot be read."""
        rows = [self.reviews.rows.get(row_id) for row_id in row_ids[:MOST_THUMBNAILS]]
        return b"".join(self._thumbnail(row["id"], row["clip_sha256"]) if row else _FLAT for row in rows)

    def clip(self, row_id: str) -> Path:
        """The WAV of a slice; KeyError where there is no such slice, FileNotFoundError where its WAV is not there."""
        path = self.folder.find_clip(self.reviews.rows[row_id]["id"])
        if not path:
            raise FileNotFoundError(row_id)
        return path

    def stretch(self, row_id: str, start: int, end: int) -> bytes:
        """A WAV (PCM-16) of a stretch of the recording, at the level of the slice."""
        import soundfile

        end = min(end, start + LONGEST_STRETCH)
        sound = self.sources.stretch(self.reviews.rows[row_id], start, end)
        memory = io.BytesIO()
        soundfile.write(memory, np.clip(sound, -1, 1).T, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return memory.getvalue()

    def _draw(self, row_id: str, clip: str, start: int, end: int, columns: int) -> tuple[Header, bytes]:
        """`clip`, the hash of the slice, is there for the cache: another cut is another picture."""
        row = self.reviews.rows[row_id]
        away = self.sources.why_not(row)
        sound = _read(self.clip(row_id)) if away else self.sources.stretch(row, start, end)
        image = pictures.spectrogram(sound)
        header = {
            "start": start,
            "end": start + sound.shape[1],
            "columns": columns,
            "frames": len(image),
            "bands": image.shape[1],
        }
        return header, pictures.peaks(sound, columns).tobytes() + image.tobytes()

    def _draw_thumbnail(self, row_id: str, clip: str) -> bytes:
        try:
            return pictures.peaks(_read(self.clip(row_id)), THUMBNAIL_COLUMNS).tobytes()
        except (OSError, RuntimeError):
            return _FLAT


def _read(path: Path) -> np.ndarray:
    import soundfile

    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.T
