"""Recordings whose truth is known: takes with a JSON beside them, loops cut to length, and grooves built here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from finetune.bench.drummers import ACOUSTIC, BARS, SAMPLE_RATE, TABLA, Drummer, read_hit, schedule, sound
from finetune.errors import WoodshedError

BEATS_OF_LOOPS = {
    "loop_breakbeat": 4, "loop_compus": 16, "loop_electric": 4, "loop_garzul": 16, "loop_industrial": 2,
    "loop_mehackit1": 4, "loop_mika": 16, "loop_perc1": 4, "loop_safari": 16, "loop_tabla": 16,
}  # fmt: skip
"""By ear; their tempo follows from their length."""
TOGETHER_SECONDS = 0.03
"""Hits that fall within it are one onset, the first."""
DRIFT = 0.04
QUICKEST_BPM, SLOWEST_BPM = 168.0, 74.0
SOFT = 0.01
ROOM_WET = 0.35


@dataclass(frozen=True)
class Known:
    """A recording (2, samples) at 44.1 kHz and what is true of it: times in seconds; `onsets` and `downbeats` are
    empty where nobody knows them. `steady` is False where its tempo drifts, and `bpm` is then the mean."""

    name: str
    kind: str
    samples: np.ndarray
    bpm: float
    beats_per_bar: float = 4.0
    onsets: tuple[float, ...] = ()
    downbeats: tuple[float, ...] = ()
    steady: bool = True

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / SAMPLE_RATE


def read_known(recordings: Path) -> list[Known]:
    """The takes and the loops of a folder. WoodshedError where they are not there or cannot be read."""
    takes = sorted((recordings / "takes").glob("*.json"))
    if not takes:
        raise WoodshedError(
            f"'{recordings}' has no takes/*.json: --recordings names a folder with takes and their truth."
        )
    loops = [path for path in sorted((recordings / "loops").glob("*.flac")) if path.stem in BEATS_OF_LOOPS]
    return [_take(path) for path in takes] + [_loop(path) for path in loops]


def grooves(one_shots: Path, each: int, seed: int) -> list[Known]:
    """`each` grooves of each player in each room: as played, in noise, in a hall, softly on 16 bits, and drifting."""
    made = []
    for player, drummer in enumerate((ACOUSTIC, TABLA)):
        kit = {name: read_hit(one_shots, voice.file) for name, voice in drummer.voices.items()}
        for room, (kind, change) in enumerate(ROOMS.items()):
            for number in range(each):
                rng = np.random.default_rng([seed, player, room, number])
                known = _groove(drummer, kit, kind, number, rng)
                made.append(replace(known, samples=change(known.samples, rng).astype(np.float32)))
    return made


def together(hits: list[float]) -> tuple[float, ...]:
    """Onsets of hits: those struck together count once, where the first of them is."""
    kept: list[float] = []
    for hit in sorted(hits):
        if not kept or hit - kept[-1] > TOGETHER_SECONDS:
            kept.append(hit)
    return tuple(kept)


def _take(path: Path) -> Known:
    truth = json.loads(path.read_text("utf-8"))
    return Known(
        path.stem,
        "takes",
        _read(path.with_suffix(".flac")),
        truth["bpm"],
        truth["beats_per_bar"],
        together([time for time, _ in truth["onsets"]]),
        tuple(truth["downbeats"]),
    )


def _loop(path: Path) -> Known:
    samples = _read(path)
    return Known(path.stem, "loops", samples, BEATS_OF_LOOPS[path.stem] * 60 * SAMPLE_RATE / samples.shape[1])


def _read(path: Path) -> np.ndarray:
    try:
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        raise WoodshedError(f"'{path}' cannot be read: {error}") from error
    if rate != SAMPLE_RATE or samples.shape[1] != 2:
        raise WoodshedError(f"'{path}' is not 44.1 kHz stereo, as recordings with truth must be.")
    return np.ascontiguousarray(samples.T)


def _groove(
    drummer: Drummer, kit: dict[str, np.ndarray], kind: str, number: int, rng: np.random.Generator
) -> Known:
    """Eight bars with a tempo, a swing and a hand of their own."""
    bpm = round(float(rng.uniform(SLOWEST_BPM, QUICKEST_BPM)), 1)
    player = replace(
        drummer,
        swing=float(rng.choice([0.5, drummer.swing, 0.62])),
        jitter_seconds=float(rng.uniform(0.002, 0.008)),
    )
    beats = np.arange(BARS * 4 + 1)
    factors = 1 + (DRIFT * _wander(rng, len(beats) - 1) if kind == "drifting" else np.zeros(len(beats) - 1))
    lead_in = rng.uniform(0.2, 0.8)
    times = lead_in + np.concatenate([[0.0], np.cumsum(60 / (bpm * factors))])
    hits = schedule(player, lambda beat: float(np.interp(beat, beats, times)), rng)
    return Known(
        f"{drummer.name} {kind} {number + 1}, {bpm:g} BPM",
        "drifting" if kind == "drifting" else "grooves",
        sound(player, kit, hits, float(times[-1]) + 1.0, rng),
        float((len(beats) - 1) * 60 / (times[-1] - times[0])),
        4.0,
        together([at for at, _, _ in hits]),
        tuple(float(time) for time in times[::4]),
        kind != "drifting",
    )


def _wander(rng: np.random.Generator, count: int) -> np.ndarray:
    """A slow walk from 0, at most 1 away."""
    from scipy.ndimage import gaussian_filter1d

    walk = gaussian_filter1d(np.cumsum(rng.normal(size=count)), 4, mode="nearest")
    walk -= walk[0]
    return walk / np.abs(walk).max()


def _as_played(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return samples


def _in_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise 45 dB below the peak."""
    return samples + np.abs(samples).max() * 10 ** (-45 / 20) * rng.standard_normal(samples.shape)


def _in_a_hall(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that dies away by 60 dB in 0.4 to 1.2 s, dull above 7 kHz, from 4 ms after the direct sound."""
    from scipy.signal import butter, fftconvolve, sosfilt

    seconds = rng.uniform(0.4, 1.2)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    hall = rng.standard_normal((2, len(time))) * 10 ** (-3 * time / seconds) * (time >= 0.004)
    hall = sosfilt(butter(1, 7000, fs=SAMPLE_RATE, output="sos"), hall, axis=1)
    hall /= np.sqrt(np.sum(hall**2, axis=1, keepdims=True))
    wet = samples + ROOM_WET * fftconvolve(samples, hall, axes=1)[:, : samples.shape[1]]
    return 0.7 * wet / np.abs(wet).max()


def _softly(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A microphone far too low: peak -43 dBFS, on 16 bits."""
    return np.round(SOFT * samples * 32_768) / 32_768


ROOMS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "as played": _as_played,
    "in noise": _in_noise,
    "in a hall": _in_a_hall,
    "softly": _softly,
    "drifting": _as_played,
}
