"""Loops asked for at a tempo: does what comes keep it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.rhythm.onsets import detect
from data_prep.rhythm.tempo import find_tempo
from data_prep.sound.recording import SAMPLE_RATE
from finetune.base_model import BaseModel
from finetune.base_model.starter.drums import Kit
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import draw_groove
from finetune.bench.autoencoder import reconstruct
from finetune.bench.figures import Figure, Listening, Part
from finetune.generate import Request, generate
from finetune.progress import progress_bar

SLOWEST_BPM, FASTEST_BPM = 80, 170
WITHIN = 0.04
OCTAVES = (1.0, 2.0, 0.5)
BARS = 2
WORDINGS = (
    "Instruments: Drum Kit. loop of kick, snare and closed hi-hat. BPM: {bpm}. Metre: 4/4",
    "TrackType: Instrument, Instruments: Drum Kit. straight loop of kick, snare and closed hi-hat. BPM: {bpm}. "
    "Metre: 4/4. Length: {seconds:.1f} seconds",
    "drum loop of kick, snare and hi-hat, {bpm} BPM",
)
EXAMPLES = 4


@dataclass(frozen=True)
class Loop:
    """A loop asked for at `asked` beats a minute; `found` is its tempo, None where it keeps no pulse."""

    asked: float
    found: float | None

    @property
    def exact(self) -> bool:
        """Within 4 % of what was asked."""
        return self.found is not None and abs(self.found / self.asked - 1) <= WITHIN

    @property
    def right(self) -> bool:
        """Within 4 % of what was asked, its double or its half."""
        return self.found is not None and any(
            abs(self.found / (self.asked * octave) - 1) <= WITHIN for octave in OCTAVES
        )


def tempi(loops: int) -> list[int]:
    """Whole tempi, evenly from 80 to 170 beats a minute."""
    return [round(bpm) for bpm in np.linspace(SLOWEST_BPM, FASTEST_BPM, loops).tolist()]


def request(number: int, bpm: int, steps: int, guidance: float) -> Request:
    """Two bars of 4/4 at `bpm`, the wordings in turn, the number as seed."""
    seconds = BARS * 4 * 60 / bpm
    return Request(
        WORDINGS[number % len(WORDINGS)].format(bpm=bpm, seconds=seconds), seconds, number, steps, guidance
    )


def tempo_of(sound: np.ndarray) -> float | None:
    """The tempo of a (2, samples) sound at 44.1 kHz, as data_prep finds it with no hint."""
    onsets, envelope = detect(sound)
    tempo, _ = find_tempo(onsets, envelope, sound.shape[1] / SAMPLE_RATE)
    return tempo.bpm if tempo else None


def synthesised(number: int, bpm: int) -> np.ndarray:
    """Two bars of 4/4 by the synthesiser that the starter learned from, on a kit with a kick."""
    rng = np.random.default_rng([5, number])
    kit = Kit(int(rng.integers(2**31)))
    while "kick" not in kit.pieces:
        kit = Kit(int(rng.integers(2**31)))
    groove = draw_groove(rng, kit.pieces, "4/4", float(bpm))
    length = round(BARS * groove.bar_seconds * SAMPLE_RATE)
    sound = mix_down(
        kit, [hit for hit in play(groove, BARS, rng) if hit[1] < length], length, rng, fold=False
    )
    return np.asarray(0.7 * sound / np.abs(sound).max(), np.float32)


def benchmark(base: BaseModel, loops: int, steps: int, guidance: float) -> Part:
    """The part `tempo`: loops asked for, and beside them the synthesiser's own, heard through the autoencoder."""
    asked, played = [], []
    sounds: dict[str, np.ndarray] = {}
    wanted = tempi(loops)
    examples = {wanted[i] for i in np.linspace(0, loops - 1, min(loops, EXAMPLES)).round().astype(int)}
    with progress_bar("Tempo", loops) as report:
        for number, bpm in enumerate(wanted):
            sound = generate(base, request(number, bpm, steps, guidance))
            asked.append(Loop(bpm, tempo_of(sound)))
            played.append(Loop(bpm, tempo_of(reconstruct(base, synthesised(number, bpm)))))
            if bpm in examples:
                sounds[_title(asked[-1])] = sound
                examples.discard(bpm)
            report(number + 1, f"{sum(loop.right for loop in asked)} right")
    return Part(
        name="tempo",
        title="Loops asked for at a tempo",
        figures=figures(asked, played),
        notes=NOTES,
        details={
            name: [{"asked_bpm": loop.asked, "found_bpm": loop.found} for loop in of]
            for name, of in (("generated", asked), ("synthesised", played))
        },
        listening=[Listening("Loops", sounds)],
    )


NOTES = [
    "Two bars of 4/4 each, at tempi spread evenly from 80 to 170 BPM. The tempo is measured by data_prep with no hint, "
    "and is right within 4 % of what was asked, its double or its half.",
    "By chance: the share that would be right if every loop had been asked for at the tempo of another. "
    "The synthesiser: its own loops at the same tempi, encoded and decoded, measured in the same way.",
]


def figures(asked: list[Loop], played: list[Loop]) -> list[Figure]:
    """Shares that are right, exact, right by chance, and right when the synthesiser plays."""
    right = _share([loop.right for loop in asked])
    return [
        Figure(f"loops at the tempo asked for, of {len(asked)}", right, "%", at_least=75),
        Figure("at that very octave", _share([loop.exact for loop in asked]), "%"),
        Figure("with no pulse", _share([loop.found is None for loop in asked]), "%"),
        Figure("right by chance", by_chance(asked), "%"),
        Figure("the synthesiser through the autoencoder", _share([loop.right for loop in played]), "%"),
        Figure("the same, at that very octave", _share([loop.exact for loop in played]), "%"),
    ]


def by_chance(loops: list[Loop]) -> float:
    """Percent right, over all ways to give every loop the tempo that another was asked for."""
    pairs = [
        Loop(other.asked, loop.found).right
        for loop in loops
        for other in loops
        if abs(other.asked / loop.asked - 1) > 2 * WITHIN
    ]
    return _share(pairs)


def _share(of: list[bool]) -> float:
    return 100 * float(np.mean(of)) if of else 0.0


def _title(loop: Loop) -> str:
    return f"asked {loop.asked:g} BPM, found " + (f"{loop.found:.1f}" if loop.found else "no pulse")
