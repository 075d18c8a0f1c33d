"""Measure one-shots and fit the judge of hits: python -m finetune.evaluation.measure_hits FOLDER

FOLDER is that of Debian's sonic-pi-samples (CC0). Writes hits.json beside this file: numbers, and which files they
come from. Each file is also measured louder and softer, higher and lower, duller, noisier, cut shorter and in a room,
because there are few: what keeps a hit what it is must not change the verdict.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from finetune.evaluation.hits import RATE, Judge, describe
from finetune.files import write_file
from finetune.progress import say

CLASSES: dict[str, tuple[str, ...]] = {
    "kick": ("bd_*", "drum_bass_*", "drum_heavy_kick", "elec_*_kick"),
    "snare": ("sn_*", "drum_snare_*", "elec_*snare"),
    "hat": ("drum_cymbal_closed", "drum_cymbal_open", "drum_cymbal_pedal"),
    "tom": ("drum_tom_*", "elec_fuzz_tom"),
    "cymbal": ("drum_cymbal_hard", "drum_cymbal_soft", "drum_splash_*", "elec_cymbal"),
}
SHRINKAGE = 0.7
DRAWS = 12


@dataclass(frozen=True)
class OneShot:
    """A real hit: (2, samples) float64 at 44.1 kHz, its class, and what identifies its file."""

    name: str
    hit: str
    sound: np.ndarray
    pcm_sha256: str


def one_shots(folder: Path) -> list[OneShot]:
    """The files of `folder` whose names say a class, in order of name."""
    found = []
    for path in sorted(folder.glob("*.flac")):
        hit = next(
            (hit for hit, names in CLASSES.items() if any(fnmatchcase(path.stem, n) for n in names)), None
        )
        if hit is None:
            continue
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        digest = hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()
        sound = soxr.resample(samples.astype(np.float64), rate, RATE).T
        found.append(OneShot(path.stem, hit, np.broadcast_to(sound, (2, sound.shape[1])), digest))
    return found


def variations(sound: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """The hit itself and DRAWS others that are still the same hit; the same seed gives the same ones."""
    yield sound
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        yield _vary(sound, rng)


def _vary(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch within 8 %, the treble of a softer stroke, a room, a floor of noise, an earlier end."""
    varied = soxr.resample(sound.T, RATE, RATE * rng.uniform(0.92, 1.08)).T
    if rng.random() < 0.5:
        dull = butter(1, rng.uniform(3000, 12_000), fs=RATE, output="sos")
        varied = (1 - (mix := rng.uniform(0.3, 0.8))) * varied + mix * sosfilt(dull, varied)
    if rng.random() < 0.5:
        varied = _in_a_room(varied, rng)
    if rng.random() < 0.5:
        end = round(rng.uniform(0.4, 1.5) * RATE)
        varied = varied[:, :end] * np.minimum(
            1, (min(end, varied.shape[1]) - np.arange(varied[:, :end].shape[1])) / 441
        )
    varied = np.pad(varied, ((0, 0), (round(rng.uniform(0, 0.03) * RATE), 0)))
    noise = rng.standard_normal(varied.shape) * 10 ** (rng.uniform(-75, -45) / 20)
    return varied / np.abs(varied).max() + noise


def _in_a_room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds, wet = rng.uniform(0.1, 0.6), rng.uniform(0.03, 0.2)
    t = np.arange(round(seconds * RATE)) / RATE
    response = rng.standard_normal(len(t)) * np.exp(-6.9 * t / seconds)
    response /= np.sqrt(np.square(response).sum())
    longer = np.pad(sound, ((0, 0), (0, len(t) - 1)))
    return longer + wet * fftconvolve(sound, response[None], axes=1)


def fit(descriptors: np.ndarray, hits: list[str]) -> Judge:
    """Linear discriminants of (items, descriptors): one covariance for all classes, SHRINKAGE of the way to a sphere.

    Every class counts the same, however many files it has.
    """
    labels = np.array(hits)
    centre, scale = descriptors.mean(0), descriptors.std(0) + 1e-6
    standard = (descriptors - centre) / scale
    means = np.stack([standard[labels == name].mean(0) for name in CLASSES])
    within = np.mean([np.cov(standard[labels == name].T, bias=True) for name in CLASSES], axis=0)
    shrunken = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    weights = np.linalg.solve(shrunken, means.T).T
    return Judge(tuple(CLASSES), centre, scale, weights, -0.5 * (weights * means).sum(1))


@dataclass(frozen=True)
class Measured:
    """Descriptors (items, descriptors) of all variations of all files, and the file that each is of."""

    descriptors: np.ndarray
    files: np.ndarray


def measure(sounds: list[OneShot]) -> Measured:
    rows = [
        (describe(sound), number)
        for number, shot in enumerate(sounds)
        for sound in variations(shot.sound, number)
    ]
    return Measured(np.stack([row for row, _ in rows]), np.array([number for _, number in rows]))


def judge_of(sounds: list[OneShot], measured: Measured, leave_out: int | None = None) -> Judge:
    """The judge fitted on all files, or on all but one."""
    kept = measured.files != (-1 if leave_out is None else leave_out)
    hits = [sounds[number].hit for number in measured.files[kept]]
    return fit(measured.descriptors[kept], hits)


def leave_one_out(sounds: list[OneShot], measured: Measured) -> list[list[str]]:
    """For every file the verdicts, on it and on its variations, of a judge that never heard that file."""
    verdicts = []
    for number in range(len(sounds)):
        judge = judge_of(sounds, measured, number)
        verdicts.append([judge.judge(row) for row in measured.descriptors[measured.files == number]])
    return verdicts


def accuracy(sounds: list[OneShot], verdicts: list[list[str]]) -> dict[str, Any]:
    """How often the judges were right about files that they never heard, with every mistake."""
    right = [[verdict == shot.hit for verdict in heard] for shot, heard in zip(sounds, verdicts, strict=True)]
    of_files = np.array([each[0] for each in right])
    hits = np.array([shot.hit for shot in sounds])
    return {
        "files": len(sounds),
        "accuracy": round(float(of_files.mean()), 4),
        "mean_accuracy_of_classes": round(
            float(np.mean([of_files[hits == hit].mean() for hit in CLASSES])), 4
        ),
        "accuracy_with_variations": round(float(np.mean([np.mean(each) for each in right])), 4),
        "wrong": {
            shot.name: {"is": shot.hit, "called": heard[0]}
            for shot, heard in zip(sounds, verdicts, strict=True)
            if heard[0] != shot.hit
        },
    }


def document(folder: Path) -> dict[str, Any]:
    """All of hits.json, from the one-shots of `folder`; the same files give the same numbers."""
    sounds = one_shots(folder)
    measured = measure(sounds)
    return {
        "made_by": "python -m finetune.evaluation.measure_hits FOLDER",
        "recordings": "single hits of Sonic Pi, Debian package sonic-pi-samples",
        "licence": "CC0-1.0",
        "files": [{"name": shot.name, "hit": shot.hit, "pcm_sha256": shot.pcm_sha256} for shot in sounds],
        "leave_one_file_out": accuracy(sounds, leave_one_out(sounds, measured)),
        "judge": judge_of(sounds, measured).as_json(),
    }


def main() -> None:
    if len(sys.argv) != 2 or not one_shots(Path(sys.argv[1])):
        sys.exit("Say the folder of sonic-pi-samples: python -m finetune.evaluation.measure_hits FOLDER")
    made = document(Path(sys.argv[1]))
    write_file(Path(__file__).with_name("hits.json"), (json.dumps(made, indent=1) + "\n").encode())
    say(json.dumps(made["leave_one_file_out"], indent=1))


if __name__ == "__main__":
    main()
