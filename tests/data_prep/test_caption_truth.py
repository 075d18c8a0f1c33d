"""Captions composed of what was measured, beside the truth of sounds whose every fact is known."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from scipy.signal import fftconvolve

from data_prep.captioning.captions import variants
from data_prep.fact import Fact
from data_prep.heard.descriptors import describe
from data_prep.heard.room import room
from data_prep.rhythm.onsets import Onset, detect
from data_prep.slicing.slices import PRE_ROLL, Slicing
from data_prep.sound.recording import SAMPLE_RATE

KIT = {"kick": "kick", "snare": "snare", "closed hat": "hi-hat"}
CLIPS, WORDINGS = 25, 8
PHRASES = 5
HITS = 36


@dataclass(frozen=True)
class Known:
    """A sound and what is true of it: which pieces play, hits per second, whether it has a room, how wide it is; and
    what a slice of it is called when it was cut by `slicing`."""

    samples: np.ndarray
    pieces: set[str]
    hits_per_second: float
    seconds: float
    room: str
    width: str
    kind: str = "loop"
    slicing: Slicing = Slicing.bars


def drum(name: str, rng: np.random.Generator) -> np.ndarray:
    """A kick falls to 45-65 Hz, a snare is a tone and longer noise, a closed hat is high noise of 50 ms."""
    time = np.arange(round(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.standard_normal(len(time))
    if name == "kick":
        pitch = rng.uniform(45, 65) * (1 + 3 * np.exp(-time / 0.015))
        sound = np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE) * np.exp(-time / 0.1)
        return sound + 0.1 * noise * np.exp(-time / 0.002)
    if name == "snare":
        tone = np.sin(2 * np.pi * rng.uniform(170, 220) * time) * np.exp(-time / 0.05)
        return 0.5 * tone + 0.6 * noise * np.exp(-time / rng.uniform(0.04, 0.07))
    high = np.diff(noise, n=3, prepend=np.zeros(3))
    return 0.08 * high * np.exp(-time / rng.uniform(0.012, 0.02))


@lru_cache(maxsize=CLIPS)
def clip(seed: int) -> Known:
    """A groove of 4 to 9 s of one to three pieces: dry or in a hall, mono or wide."""
    rng = np.random.default_rng([seed, 77])
    pieces = [name for name in KIT if rng.random() < 0.65] or ["snare"]
    spacing = rng.uniform(0.11, 0.5)
    count = int(rng.uniform(4, 9) / spacing)
    seconds = count * spacing
    samples = np.zeros(round(seconds * SAMPLE_RATE))
    kit = {name: drum(name, rng) for name in pieces}
    for number in range(count):
        struck = pieces[int(rng.integers(len(pieces)))] if number else pieces[0]
        start = round(number * spacing * SAMPLE_RATE)
        hit = kit[struck][: len(samples) - start] * rng.uniform(0.5, 1)
        samples[start : start + len(hit)] += hit
    placed, room, width = place(samples, rng)
    return Known(placed, {KIT[name] for name in pieces}, count / seconds, seconds, room, width)


@lru_cache(maxsize=HITS)
def single_hit(seed: int) -> Known:
    """One stroke of a third to 0.5 s, dry or in a hall, mono or wide."""
    rng = np.random.default_rng([seed, 78])
    name = list(KIT)[seed % len(KIT)]
    samples = drum(name, rng)[: round(rng.uniform(0.33, 0.5) * SAMPLE_RATE)]
    samples = np.concatenate([np.zeros(PRE_ROLL), samples * rng.uniform(0.3, 1)])
    placed, room, width = place(samples, rng)
    seconds = len(samples) / SAMPLE_RATE
    return Known(placed, {KIT[name]}, 1 / seconds, seconds, room, width, "one-shot", Slicing.onsets)


def place(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str, str]:
    """Mono to stereo at a peak of 0.8, in a hall or not, alike on both sides or not; which room and width that is."""
    hall, wide = bool(rng.random() < 0.4), bool(rng.random() < 0.4)
    both = np.stack([samples, samples])
    if hall:
        time = np.arange(round(1.2 * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.standard_normal((2 if wide else 1, len(time))) * np.exp(-6.9 * time / 1.2)
        tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
        both = (
            both + 0.5 * fftconvolve(both, np.broadcast_to(tail, (2, len(time))), axes=1)[:, : len(samples)]
        )
    elif wide:
        both[1] = -both[1]
    both = both / np.abs(both).max() * 0.8 + 1e-5 * rng.standard_normal(len(samples))
    return both.astype(np.float32), "roomy" if hall else "dry", "wide" if wide else "mono"


@lru_cache(maxsize=CLIPS)
def heard(seed: int) -> dict[str, Fact]:
    """What is measured of a groove."""
    return measured(clip(seed))


def measured(known: Known) -> dict[str, Fact]:
    onsets, _ = detect(known.samples)
    return describe(known.samples, onsets, known.slicing)


def untrue(caption: str, known: Known) -> list[str]:
    """What a caption says that is not so."""
    said = set(re.findall(r"[a-z]+(?:-[a-z]+)*", caption.lower()))
    wrong = [piece for piece in ("tom", "cymbal", "percussion", "hand") if piece in said - {"percussion"}]
    wrong += [piece for piece in KIT.values() if piece in said and piece not in known.pieces]
    if "of hand percussion" in caption:
        wrong.append("hand percussion")
    wrong += [room for room in ("dry", "roomy") if room in said and room != known.room]
    wrong += [word for word in ("mono", "wide") if f"{word} stereo" in caption and word != known.width]
    if "mono" in said and known.width != "mono":
        wrong.append("mono")
    if "sparse" in said and known.hits_per_second >= 3:
        wrong.append(f"sparse at {known.hits_per_second:.1f} hits a second")
    if "dense" in said and known.hits_per_second < 7:
        wrong.append(f"dense at {known.hits_per_second:.1f} hits a second")
    wrong += [kind for kind in ("loop", "one-shot", "phrase", "take") if kind in said and kind != known.kind]
    if "bright" in said and known.pieces == {"kick"}:
        wrong.append("a bright kick")
    if "dark" in said and known.pieces == {"hi-hat"}:
        wrong.append("dark hats")
    if "key" in said:
        wrong.append("a key of drums")
    if (length := re.search(r"Length: ([\d.]+)", caption)) and abs(float(length[1]) - known.seconds) > 0.06:
        wrong.append(f"{length[0]} for {known.seconds:.2f}")
    return wrong


def captions_of(known: Known, facts: dict[str, Fact]) -> list[str]:
    """Several wordings, each found true."""
    captions = variants({name: fact["value"] for name, fact in facts.items()}, "mykit", WORDINGS)
    for caption in captions:
        assert not untrue(caption, known), caption
    return captions


def test_of_two_hundred_captions_of_loops_none_says_what_is_not_so() -> None:
    assert sum(len(captions_of(clip(seed), heard(seed))) for seed in range(CLIPS)) >= 190


def test_of_two_hundred_captions_of_single_hits_none_says_what_is_not_so() -> None:
    captions = [
        caption
        for seed in range(HITS)
        for caption in captions_of(single_hit(seed), measured(single_hit(seed)))
    ]
    assert len(captions) >= 190
    assert all("one-shot" in caption for caption in captions)


def test_captions_of_phrases_say_nothing_that_is_not_so() -> None:
    for seed in range(PHRASES):
        phrase = replace(clip(seed), kind="phrase", slicing=Slicing.phrases)
        assert all("phrase" in caption for caption in captions_of(phrase, measured(phrase)))


def test_captions_of_known_sound_are_not_empty_of_facts() -> None:
    """Saying nothing would be true too."""
    facts = [heard(seed) for seed in range(0, CLIPS, 2)]
    said = {name: sum(name in each for each in facts) for name in ("pieces", "width", "brightness")}
    assert said["pieces"] >= len(facts) // 2 and said["width"] >= len(facts) // 3 and said["brightness"], said
    hits = [measured(single_hit(seed)) for seed in range(0, HITS, 2)]
    said = {name: sum(name in each for each in hits) for name in ("pieces", "width")}
    assert said["pieces"] >= len(hits) // 4 and said["width"] >= len(hits) // 3, said


@pytest.mark.parametrize(("seconds_of_hall", "says"), [(1.4, "roomy"), (0.0, "dry")])
def test_a_hall_is_heard_and_so_is_its_absence(seconds_of_hall: float, says: str) -> None:
    rng = np.random.default_rng(5)
    click = rng.standard_normal(2000) * np.exp(-np.arange(2000) / 150)
    samples = np.zeros((2, 9 * SAMPLE_RATE))
    onsets = [Onset(round(second * SAMPLE_RATE), 1.0, 30.0) for second in np.arange(0.5, 8.4, 0.8)]
    for onset in onsets:
        samples[:, onset.sample : onset.sample + len(click)] += click
    if seconds_of_hall:
        time = np.arange(round(seconds_of_hall * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.standard_normal((2, len(time))) * np.exp(-6.9 * time / seconds_of_hall)
        tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
        samples += 0.8 * fftconvolve(samples, tail, axes=1)[:, : samples.shape[1]]
    samples += 1e-5 * rng.standard_normal(samples.shape)
    assert room(samples.astype(np.float32), onsets)["room"]["value"] == says


def test_every_fact_says_where_it_is_from_and_how_sure_it_is() -> None:
    for name, fact in heard(0).items():
        assert set(fact) == {"value", "source", "confidence"}, name
        assert fact["source"] == "measurement" and 0 < fact["confidence"] <= 1, name


def marimba(tonic: int, minor: bool, seed: int) -> np.ndarray:
    """Twenty-eight notes of a scale, tonic, third and fifth more often, partials as a marimba's bars have them."""
    rng = np.random.default_rng(seed)
    scale = np.array([0, 2, 3, 5, 7, 8, 10] if minor else [0, 2, 4, 5, 7, 9, 11])
    degrees = rng.permutation(np.repeat(np.arange(7), [8, 3, 5, 3, 6, 2, 1]))
    samples = np.zeros(round(9.5 * SAMPLE_RATE))
    for number in range(28):
        hertz = 261.63 * 2 ** ((tonic + scale[degrees[number]] + 12 * rng.integers(0, 2)) / 12)
        time = np.arange(round(0.9 * SAMPLE_RATE)) / SAMPLE_RATE
        bar = np.sin(2 * np.pi * hertz * time) * np.exp(-time / 0.25)
        bar += 0.15 * np.sin(2 * np.pi * 3.93 * hertz * time) * np.exp(-time / 0.08)
        start = round(number * 0.3 * SAMPLE_RATE)
        samples[start : start + len(bar)] += bar[: len(samples) - start]
    return np.stack([samples, samples]).astype(np.float32) / 3


def test_keys_of_melodies_are_right_where_they_are_said() -> None:
    from data_prep.heard.key import NAMES, key

    said = 0
    for seed in range(24):
        found: dict[str, Any] = key(marimba(seed % 12, seed >= 12, seed))
        if found:
            assert found["key"]["value"] == f"{NAMES[seed % 12]} {'minor' if seed >= 12 else 'major'}"
            said += 1
    assert said >= 8


@pytest.mark.parametrize("pieces", [["kick", "snare", "closed hat"], ["snare"]])
def test_silence_and_single_hits_make_no_claims_of_music(pieces: list[str]) -> None:
    silence = np.zeros((2, SAMPLE_RATE), np.float32)
    assert "pieces" not in describe(silence, [], Slicing.onsets)
    for piece in pieces:
        sound = drum(piece, np.random.default_rng(3)).astype(np.float32)
        facts = describe(np.stack([sound, sound]), [], Slicing.onsets)
        assert facts["kind"]["value"] == "one-shot"
        assert not {"tempo", "density", "key", "room", "kit_mix"} & set(facts)
        assert facts.get("pieces", {"value": [KIT[piece]]})["value"] == [KIT[piece]]
