"""Does it copy? The training segment nearest to each generated sound, by two detectors, and a verdict.

`verbatim`: the waveforms agree. `same groove`: the log-mel spectrograms agree, at some speed; that finds stretched and
pitched copies, but a fresh performance of the same groove too, so it is a case for the ear. What counts as near begins
at measured constants and is raised by how near the player's own held-out takes come to the training clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune.errors import WoodshedError
from finetune.evaluation.copies_segments import Match
from finetune.evaluation.copies_spectrogram import SPEEDS, levels, nearest_by_spectrogram
from finetune.evaluation.copies_waveform import at_8_khz, nearest_by_waveform
from finetune.evaluation.copies_words import copied_words
from finetune.evaluation.results import Copied, Copy, CopyVerdict

VERBATIM_FROM = 0.93
SAME_GROOVE_FROM = 0.80
SHORT_SECONDS = 1.0
SHORT_VERBATIM_FROM = 0.98
"""Two strokes of one drum are more alike than two bars; and their spectrograms say nothing."""
ABOVE_HELD_OUT = 0.25
"""A threshold lies this share of the way from the nearest held-out take to identity, or higher."""
SILENT_PEAK = 1e-4


@dataclass(frozen=True)
class PlayedClip:
    """A clip of the player, (channels, samples), and the recording it was cut from.

    `decoded` is the clip through the base's autoencoder and back, where that was done: what the base plays has gone
    through the decoder, so a copy is nearer to it than to the clip itself.
    """

    id: str
    recording: str
    samples: np.ndarray
    decoded: np.ndarray | None = None

    @property
    def compared(self) -> np.ndarray:
        return self.samples if self.decoded is None else self.decoded


def find_copies(
    generated: Mapping[str, np.ndarray],
    training: Sequence[PlayedClip],
    held_out: Sequence[PlayedClip],
    sample_rate: int,
    report: Callable[[float], None] = lambda share: None,
) -> Copied:
    """The nearest training segment of each generated sound (id → (channels, samples)), with verdicts.

    `report` hears the share that is done, 0..1. A silent sound is new, of no clip. Raises WoodshedError for a sound or
    clip with samples that are no numbers. Cost and figures: docs/bench_copies.md.
    """
    sounds = {name: _checked(f"The sound '{name}'", sound) for name, sound in generated.items()}
    clips = [_checked(f"The clip '{clip.id}'", clip.compared) for clip in training]
    takes = [_checked(f"The clip '{clip.id}'", clip.compared) for clip in held_out]
    heard = [name for name, sound in sounds.items() if not _is_silent(sound)]
    calibrating = [take for take in takes if not _is_silent(take)]
    compared = [sounds[name] for name in heard] + calibrating
    by_waveform = nearest_by_waveform(
        [at_8_khz(sound, sample_rate) for sound in compared],
        [at_8_khz(clip, sample_rate) for clip in clips],
        lambda done: report(0.5 * done / len(clips)),
    )
    by_spectrogram = nearest_by_spectrogram(
        [levels(sound, sample_rate) for sound in compared],
        [levels(clip, sample_rate) for clip in clips],
        lambda done: report(0.5 + 0.5 * done / len(SPEEDS)),
    )
    count = len(heard)
    thresholds = Thresholds.above(by_waveform[count:], by_spectrogram[count:])
    found = dict(zip(heard, zip(by_waveform[:count], by_spectrogram[:count], strict=True), strict=True))
    nearest = [_copy(name, *found.get(name, ([], [])), training, thresholds) for name in generated]
    verdict = _overall([copy.verdict for copy in nearest])
    return Copied(
        verdict=verdict,
        words=copied_words(verdict, nearest, len(training), len(calibrating), thresholds.held_out_waveform),
        waveform_threshold=thresholds.waveform,
        spectrogram_threshold=thresholds.spectrogram,
        held_out_waveform=thresholds.held_out_waveform,
        held_out_spectrogram=thresholds.held_out_spectrogram,
        nearest=nearest,
    )


@dataclass(frozen=True)
class Thresholds:
    """From where on a likeness is a copy, and what the nearest held-out take has; None without such takes."""

    waveform: float
    short: float
    spectrogram: float
    held_out_waveform: float | None
    held_out_spectrogram: float | None

    @classmethod
    def above(cls, waveform: Sequence[list[Match]], spectrogram: Sequence[list[Match]]) -> Thresholds:
        """Above the matches of held-out takes; short and long stretches each above their own kind."""
        by_waveform = [match for matches in waveform for match in matches]
        long = _highest([each for each in by_waveform if not _is_short(each)])
        short = _highest([each for each in by_waveform if _is_short(each)])
        groove = _highest([each for matches in spectrogram for each in matches if not _is_short(each)])
        both = [each for each in (long, short) if each is not None]
        return cls(
            _raised(VERBATIM_FROM, long),
            _raised(SHORT_VERBATIM_FROM, short),
            _raised(SAME_GROOVE_FROM, groove),
            max(both, default=None),
            groove,
        )

    def verdict(self, waveform: Match | None, spectrogram: Match | None) -> CopyVerdict:
        if waveform and waveform.likeness >= (self.short if _is_short(waveform) else self.waveform):
            return "verbatim"
        if spectrogram and not _is_short(spectrogram) and spectrogram.likeness >= self.spectrogram:
            return "same groove"
        return "new"


def _is_short(match: Match) -> bool:
    return match.length_seconds < SHORT_SECONDS


def _highest(matches: Sequence[Match]) -> float | None:
    return max((match.likeness for match in matches), default=None)


def _raised(threshold: float, held_out: float | None) -> float:
    return threshold if held_out is None else max(threshold, held_out + ABOVE_HELD_OUT * (1 - held_out))


def _copy(
    name: str,
    by_waveform: list[Match],
    by_spectrogram: list[Match],
    training: Sequence[PlayedClip],
    thresholds: Thresholds,
) -> Copy:
    """The first match that is a copy; else the likeliest, of the spectrogram if there is one."""
    verbatim = [each for each in by_waveform if thresholds.verdict(each, None) == "verbatim"]
    groove = [each for each in by_spectrogram if thresholds.verdict(None, each) == "same groove"]
    match = next(iter(verbatim + groove + by_spectrogram + by_waveform), None)
    clip = training[match.clip] if match else None
    return Copy(
        sound=name,
        verdict="verbatim" if verbatim else "same groove" if groove else "new",
        clip=clip.id if clip else "",
        recording=clip.recording if clip else "",
        waveform=_highest(by_waveform) or 0.0,
        spectrogram=_highest(by_spectrogram) or 0.0,
        shift=match.speed if match else 1.0,
        sound_seconds=match.sound_seconds if match else 0.0,
        clip_seconds=match.clip_seconds if match else 0.0,
        length_seconds=match.length_seconds if match else 0.0,
    )


def _overall(verdicts: Sequence[CopyVerdict]) -> Literal["copies", "same grooves", "new"]:
    if "verbatim" in verdicts:
        return "copies"
    return "same grooves" if "same groove" in verdicts else "new"


def _checked(what: str, sound: np.ndarray) -> np.ndarray:
    if sound.ndim != 2:
        raise ValueError(f"{what} has the shape {sound.shape}, not (channels, samples).")
    if not np.isfinite(sound).all():
        raise WoodshedError(f"{what} holds samples that are no numbers (NaN or infinite); make it anew.")
    return sound


def _is_silent(sound: np.ndarray) -> bool:
    return not sound.size or float(np.abs(sound).max()) < SILENT_PEAK
