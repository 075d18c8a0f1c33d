"""Players whom the starter never heard: real one-shots, played by grooves with a hand of their own.

A row is a voice over one bar of sixteenths, a digit a hit: how hard, 1 to 9; a dot is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from finetune.base_model.starter.performance import place
from finetune.errors import WoodshedError
from finetune.files import write_folder

SAMPLE_RATE = 44_100
BARS = 8
TAIL_SECONDS = 1.0
NOISE = 2e-4

Bar = dict[str, str]


@dataclass(frozen=True)
class Voice:
    """A one-shot of the kit: its file's stem, its gain, and its place from -1 (left) to 1 (right)."""

    file: str
    gain: float
    pan: float = 0.0


@dataclass(frozen=True)
class Drummer:
    """A kit, the grooves of a player and the feel: `swing` is the first sixteenth's share of a pair, .5 straight;
    `late` says by how many seconds each voice plays behind the beat, `jitter_seconds` how loosely."""

    name: str
    instrument: str
    voices: dict[str, Voice]
    grooves: tuple[Bar, ...]
    fills: tuple[Bar, ...]
    tempi: tuple[int, ...]
    swing: float
    late: dict[str, float]
    jitter_seconds: float


ACOUSTIC_GROOVES: tuple[Bar, ...] = (
    {"kick": "9..5....9.7.....", "snare": "....9.......9...", "hat": "7.4.7.4.7.4.7.4."},
    {"kick": "9.....8...9..6..", "snare": "....9.......9...", "ghost": ".......3.4.....3", "hat": "7.5.7.5.7.5.7..."},
    {"kick": "9..7..8.........", "snare": "....9.......9..4", "hat": "6363636363636363"},
    {"kick": "9.......8.......", "snare": "........9.......", "hat": "8...6...8...6...", "foot": "....5.......5..."},
    {"kick": "9...9...9...9...", "snare": "....8.......8...", "open": "..6...6...6...6.", "ghost": "...........3...."},
    {"kick": "9.7.......9.....", "snare": "....9..4.4..9...", "hat": "7.7.7.7.7.7.7.7.", "ghost": ".........3.....4"},
)  # fmt: skip
ACOUSTIC_FILLS: tuple[Bar, ...] = (
    {"snare": "........9.7.....", "high": "............8.8.", "kick": "9.......6......."},
    {"high": "........88......", "middle": "..........88....", "floor": "............9988"},
    {"kick": "9.....8.........", "snare": "....9...6677889.", "hat": "7.4.7.4........."},
)  # fmt: skip

ACOUSTIC = Drummer(
    name="acoustic",
    instrument="acoustic kit",
    voices={
        "kick": Voice("drum_heavy_kick", 1.0),
        "snare": Voice("drum_snare_hard", 0.8, 0.1),
        "ghost": Voice("drum_snare_soft", 0.7, 0.1),
        "hat": Voice("drum_cymbal_closed", 0.5, -0.35),
        "open": Voice("drum_cymbal_open", 0.4, -0.35),
        "foot": Voice("drum_cymbal_pedal", 0.35, -0.35),
        "high": Voice("drum_tom_hi_hard", 0.8, -0.2),
        "middle": Voice("drum_tom_mid_hard", 0.8, 0.25),
        "floor": Voice("drum_tom_lo_hard", 0.85, 0.5),
    },
    grooves=ACOUSTIC_GROOVES,
    fills=ACOUSTIC_FILLS,
    tempi=(78, 86, 92, 99, 104, 110, 118, 126),
    swing=0.58,
    late={"snare": 0.011, "ghost": 0.006, "kick": -0.002},
    jitter_seconds=0.005,
)  # fmt: skip

TABLA_GROOVES: tuple[Bar, ...] = (
    {"ghe": "8.6.......7.....", "na": "8...7...6...7...", "tun": "......5.......6."},
    {"ghe": "8..5..6.....7...", "na": "7.4.7.4.7.4.7.4.", "tun": "........8......."},
    {"ghe": "9.......6.6.....", "na": "....7.5.....7.5.", "tun": "8.......7......."},
    {"ghe": "8.5.8.5.........", "na": "6...6...6.4.6.44", "tun": "..6...6........."},
    {"ghe": "8.....7...6.....", "na": "5555.5555.5.5555", "bell": "6.......5......."},
    {"ghe": "9..6..9..6..9...", "na": "...5..5.....6.6.", "tun": "7.......7......."},
)  # fmt: skip
TABLA_FILLS: tuple[Bar, ...] = (
    {"na": "7.77.77.7.77.77.", "ghe": "8..8..8.8..8..8."},
    {"tun": "8...8...........", "na": "..66..66....6.6.", "ghe": "........8.8.8.88"},
    {"na": "66666666........", "ghe": "8...8...88.88.8.", "tun": "........7..7..7."},
)  # fmt: skip

TABLA = Drummer(
    name="tabla",
    instrument="tabla",
    voices={
        "ghe": Voice("tabla_ghe1", 1.0, -0.25),
        "na": Voice("tabla_na", 0.7, 0.3),
        "tun": Voice("tabla_tun1", 0.7, 0.3),
        "bell": Voice("perc_bell", 0.25, 0.6),
    },
    grooves=TABLA_GROOVES,
    fills=TABLA_FILLS,
    tempi=(72, 80, 88, 94, 101, 108, 116, 124),
    swing=0.5,
    late={"na": 0.004, "ghe": -0.006},
    jitter_seconds=0.008,
)  # fmt: skip


def write_takes(drummer: Drummer, one_shots: Path, folder: Path, seed: int = 3) -> list[Path]:
    """One take of eight bars for each tempo, 24-bit WAV named with it; the same seed writes the same files.

    Raises WoodshedError when a one-shot of the kit is missing.
    """
    kit = {name: read_hit(one_shots, voice.file) for name, voice in drummer.voices.items()}
    names = []
    with write_folder(folder) as part:
        for number, bpm in enumerate(drummer.tempi, start=1):
            take = render(drummer, kit, bpm, np.random.default_rng([seed, number]))
            names.append(f"{drummer.name} take {number}, {bpm} bpm.wav")
            sf.write(part / names[-1], take.T, SAMPLE_RATE, subtype="PCM_24")
    return [folder / name for name in names]


def read_hit(one_shots: Path, name: str) -> np.ndarray:
    """A one-shot in mono, peak 1."""
    path = one_shots / f"{name}.flac"
    if not path.is_file():
        raise WoodshedError(
            f"'{path}' is missing: --recordings names a folder with takes/, loops/ and one_shots/."
        )
    sound, rate = sf.read(path, always_2d=True)
    if rate != SAMPLE_RATE:
        raise WoodshedError(f"'{path}' has {rate} Hz; the one-shots of the benchmark have 44100 Hz.")
    mono = sound.mean(1)
    return mono / np.abs(mono).max()


def render(drummer: Drummer, kit: dict[str, np.ndarray], bpm: float, rng: np.random.Generator) -> np.ndarray:
    """(2, samples) take: two grooves in turn, a fill now and then, after a moment of room."""
    lead_in = rng.uniform(0.2, 0.8)
    hits = schedule(drummer, lambda beat: lead_in + beat * 60 / bpm, rng)
    return sound(drummer, kit, hits, lead_in + BARS * 4 * 60 / bpm + TAIL_SECONDS, rng)


def schedule(
    drummer: Drummer, seconds_at: Callable[[float], float], rng: np.random.Generator
) -> list[tuple[float, str, float]]:
    """(second, voice, force 0..1) of every hit of a take; `seconds_at` says when each beat is."""
    hits = []
    for voice, beat, hard in perform(drummer, rng):
        at = seconds_at(beat) + drummer.late.get(voice, 0.0) + rng.normal(0, drummer.jitter_seconds)
        hits.append((max(0.0, at), voice, hard))
    return hits


def sound(
    drummer: Drummer,
    kit: dict[str, np.ndarray],
    hits: list[tuple[float, str, float]],
    seconds: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(2, samples) of hits on a kit, peak 0.7, in a room with a little noise."""
    take = np.zeros((2, round(seconds * SAMPLE_RATE)))
    for at, voice, hard in hits:
        _strike(take, kit[voice], drummer.voices[voice], at, hard)
    take += NOISE * rng.standard_normal(take.shape)
    return 0.7 * take / np.abs(take).max()


def perform(drummer: Drummer, rng: np.random.Generator) -> list[tuple[str, float, float]]:
    """(voice, beat, force 0..1) of every hit of a take."""
    grooves = rng.choice(len(drummer.grooves), 2, replace=False)
    hits = []
    for bar in range(BARS):
        rows = drummer.grooves[grooves[(bar // 2) % 2]]
        if bar % 4 == 3 and rng.random() < 0.8:
            rows = drummer.fills[rng.integers(len(drummer.fills))]
        for voice, row in rows.items():
            for step, digit in enumerate(row):
                if digit == "." or (
                    int(digit) < 5 and rng.random() < 0.15
                ):  # soft strokes are not always there
                    continue
                hard = float(np.clip(int(digit) / 9 * np.exp(rng.normal(0, 0.12)), 0.05, 1))
                hits.append((voice, bar * 4 + _swung(step, drummer.swing), hard))
    return hits


def _swung(step: int, swing: float) -> float:
    """Beats of a sixteenth within its bar; the second of each pair comes late."""
    return step // 2 / 2 + (swing / 2 if step % 2 else 0.0)


def _strike(take: np.ndarray, hit: np.ndarray, voice: Voice, seconds: float, hard: float) -> None:
    """Mix one hit in, softer ones also duller, panned with constant power."""
    start = round(seconds * SAMPLE_RATE)
    dull = np.convolve(hit, np.hanning(12) / np.hanning(12).sum(), mode="same")
    sound = (hard * hit + (1 - hard) * dull) * hard * voice.gain
    place(take, sound.astype(np.float32), start, voice.pan)
