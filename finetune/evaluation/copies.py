"""Does it copy? The training segment nearest to each generated sound, by two detectors, and a verdict.

`verbatim`: the waveforms agree. `same groove`: the log-mel spectrograms agree, at some speed; that finds stretched and
pitched copies, but a fresh performance of the same groove too, so it is a case for the ear. What counts as near begins
at measured constants and is raised by how near the player's own held-out takes come to the training clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune.errors import WoodshedError
from finetune.evaluation.copies_segments import Match
from finetune.evaluation.copies_spectrogram import SPEEDS, levels, nearest_by_spectrogram
from finetune.evaluation.copies_waveform import LONG_FROM_SECONDS, at_8_khz, nearest_by_waveform
from finetune.evaluation.copies_words import copied_words
from finetune.evaluation.results import Copied, Copy, CopyVerdict

VERBATIM_FROM = 0.93
"""Over two seconds, or the whole of a shorter sound."""
LONG_VERBATIM_FROM = 0.70
"""Over three or four: no performance of the same groove stays together with another for so long."""
SHORT_VERBATIM_FROM = 0.98
"""Under one: two strokes of one drum are more alike than two bars, and their spectrograms say nothing."""
SAME_GROOVE_FROM = 0.80
SHORT_SECONDS = 1.0
ABOVE_HELD_OUT = 0.25
"""A threshold lies this share of the way from the nearest held-out take to identity, or higher."""
SILENT_PEAK, SHORTEST_SECONDS = 1e-4, 0.05
WAVEFORM_SHARE = 0.6
"""Of the time that it takes."""


@dataclass(frozen=True)
class PlayedClip:
    """A clip of the player, (channels, samples), and the recording it was cut from.

    Best through the base's autoencoder and back: what the base plays comes out of its decoder, and so is nearer to
    that than to the clip itself.
    """

    id: str
    recording: str
    samples: np.ndarray


@dataclass(frozen=True)
class Heard:
    """What the detectors hear of a sound or clip: the waveform at 8 kHz and the log-mel levels."""

    id: str
    recording: str
    waveform: np.ndarray
    levels: np.ndarray


def find_copies(
    generated: Mapping[str, np.ndarray],
    training: Iterable[PlayedClip],
    held_out: Iterable[PlayedClip],
    sample_rate: int,
    report: Callable[[float], None] = lambda share: None,
) -> Copied:
    """The nearest training segment of each generated sound (id → (channels, samples)), with verdicts.

    Clips are taken one after another and may be read as they are needed. `report` hears the share that is done, 0..1.
    A sound that is silent or under 50 ms is new, of no clip. Raises WoodshedError for a sound or clip with samples that
    are no numbers. What it finds and costs: docs/bench_copies.md.
    """
    heard = {
        name: each
        for name, sound in generated.items()
        if (each := _hear(f"The sound '{name}'", name, "", sound, sample_rate))
    }
    clips, takes = (_hear_all(of, sample_rate) for of in (training, held_out))
    compared = [*heard.values(), *takes]
    by_waveform = nearest_by_waveform(
        [each.waveform for each in compared],
        [clip.waveform for clip in clips],
        lambda done: report(WAVEFORM_SHARE * done / len(clips)),
    )
    by_spectrogram = nearest_by_spectrogram(
        [each.levels for each in compared],
        [clip.levels for clip in clips],
        lambda done: report(WAVEFORM_SHARE + (1 - WAVEFORM_SHARE) * done / len(SPEEDS)),
    )
    count = len(heard)
    thresholds = Thresholds.above(by_waveform[count:], by_spectrogram[count:])
    found = dict(zip(heard, zip(by_waveform[:count], by_spectrogram[:count], strict=True), strict=True))
    nearest = [_copy(name, *found.get(name, ([], [])), clips, thresholds) for name in generated]
    verdict = _overall([copy.verdict for copy in nearest])
    return Copied(
        verdict=verdict,
        words=copied_words(verdict, nearest, len(clips), len(takes), thresholds.held_out_waveform),
        waveform_threshold=thresholds.waveform,
        spectrogram_threshold=thresholds.spectrogram,
        held_out_waveform=thresholds.held_out_waveform,
        held_out_spectrogram=thresholds.held_out_spectrogram,
        nearest=nearest,
    )


def _hear_all(clips: Iterable[PlayedClip], sample_rate: int) -> list[Heard]:
    """Those that are to be heard."""
    heard = (_hear(f"The clip '{one.id}'", one.id, one.recording, one.samples, sample_rate) for one in clips)
    return [each for each in heard if each]


def _hear(what: str, id: str, recording: str, sound: np.ndarray, sample_rate: int) -> Heard | None:
    """None for silence, and for less than a stroke."""
    if sound.ndim != 2:
        raise ValueError(f"{what} has the shape {sound.shape}, not (channels, samples).")
    if not np.isfinite(sound).all():
        raise WoodshedError(f"{what} holds samples that are no numbers (NaN or infinite); make it anew.")
    if sound.shape[1] < SHORTEST_SECONDS * sample_rate or float(np.abs(sound).max()) < SILENT_PEAK:
        return None
    return Heard(id, recording, at_8_khz(sound, sample_rate), levels(sound, sample_rate))


@dataclass(frozen=True)
class Thresholds:
    """From where on a likeness is a copy, over short stretches, two seconds, and four, and what the nearest held-out
    take has; None without such takes."""

    short: float
    waveform: float
    long: float
    spectrogram: float
    held_out_waveform: float | None
    held_out_spectrogram: float | None

    @classmethod
    def above(cls, waveform: Sequence[list[Match]], spectrogram: Sequence[list[Match]]) -> Thresholds:
        """Above the matches of held-out takes, each kind above its own."""
        kinds: dict[str, list[Match]] = {"short": [], "waveform": [], "long": []}
        for match in (match for matches in waveform for match in matches):
            kinds[_kind(match)].append(match)
        short, usual, long = (_highest(kinds[kind]) for kind in ("short", "waveform", "long"))
        groove = _highest([each for matches in spectrogram for each in matches if _kind(each) != "short"])
        return cls(
            _raised(SHORT_VERBATIM_FROM, short),
            _raised(VERBATIM_FROM, usual),
            _raised(LONG_VERBATIM_FROM, long),
            _raised(SAME_GROOVE_FROM, groove),
            short if usual is None else usual,
            groove,
        )

    def waveform_of(self, match: Match) -> float:
        return {"short": self.short, "waveform": self.waveform, "long": self.long}[_kind(match)]

    def is_verbatim(self, match: Match) -> bool:
        return match.likeness >= self.waveform_of(match)

    def is_same_groove(self, match: Match) -> bool:
        return _kind(match) != "short" and match.likeness >= self.spectrogram


def _kind(match: Match) -> Literal["short", "waveform", "long"]:
    if match.compared_seconds < SHORT_SECONDS:
        return "short"
    return "long" if match.compared_seconds >= LONG_FROM_SECONDS else "waveform"


def _highest(matches: Sequence[Match]) -> float | None:
    return max((match.likeness for match in matches), default=None)


def _raised(threshold: float, held_out: float | None) -> float:
    return threshold if held_out is None else max(threshold, held_out + ABOVE_HELD_OUT * (1 - held_out))


def _copy(
    name: str,
    by_waveform: list[Match],
    by_spectrogram: list[Match],
    clips: Sequence[Heard],
    thresholds: Thresholds,
) -> Copy:
    """By the match that decides: of the waveform where that is a copy, else of the spectrogram where there is one."""
    waveform = max(by_waveform, key=lambda each: each.likeness - thresholds.waveform_of(each), default=None)
    spectrogram = next(iter(by_spectrogram), None)
    verdict: CopyVerdict = "new"
    if waveform and thresholds.is_verbatim(waveform):
        verdict = "verbatim"
    elif spectrogram and thresholds.is_same_groove(spectrogram):
        verdict = "same groove"
    match = waveform if verdict == "verbatim" else spectrogram or waveform
    clip = clips[match.clip] if match else None
    return Copy(
        sound=name,
        verdict=verdict,
        clip=clip.id if clip else "",
        recording=clip.recording if clip else "",
        waveform=waveform.likeness if waveform else 0.0,
        spectrogram=spectrogram.likeness if spectrogram else 0.0,
        shift=match.speed if match else 1.0,
        sound_seconds=match.sound_seconds if match else 0.0,
        clip_seconds=match.clip_seconds if match else 0.0,
        length_seconds=match.length_seconds if match else 0.0,
        waveform_seconds=waveform.compared_seconds if waveform else 0.0,
        waveform_threshold=thresholds.waveform_of(waveform) if waveform else thresholds.waveform,
    )


def _overall(verdicts: Sequence[CopyVerdict]) -> Literal["copies", "same grooves", "new"]:
    if "verbatim" in verdicts:
        return "copies"
    return "same grooves" if "same groove" in verdicts else "new"
