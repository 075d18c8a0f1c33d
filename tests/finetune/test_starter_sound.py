"""The drum synthesiser that the starter base learned from: its parts, its hits, its rooms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from finetune.base_model.starter.drums import PIECES, SAMPLE_RATE, Kit
from finetune.base_model.starter.kits import RANGES, STRANGE, TYPES
from finetune.base_model.starter.rooms import Room, draw_room
from finetune.base_model.starter.synthesis import membrane, noise, partials

KITS = {kit.type: kit for kit in map(Kit, range(12))}


def centroid_hz(sound: np.ndarray) -> float:
    """Centroid of the power spectrum of mono audio."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)).sum() / power.sum())


def share(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Share of the energy of mono audio between two frequencies."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    return float(power[(hz >= low_hz) & (hz < high_hz)].sum() / power.sum())


def seconds_to(sound: np.ndarray, fall_db: float) -> float:
    """When all but `fall_db` of the energy has passed (Schroeder's backward integral)."""
    left = np.cumsum((sound.astype(np.float64) ** 2)[::-1])[::-1]
    return float(np.argmax(left < left[0] * 10 ** (-fall_db / 10)) / SAMPLE_RATE)


def medians(piece: str, measure) -> float:
    """Median of a measure over two hard hits of each of eight kits."""
    kits = [kit for kit in map(Kit, range(60)) if piece in kit.pieces][:8]
    return float(np.median([measure(kit.strike(piece, 1.0, take)) for kit in kits for take in range(2)]))


def test_partials_are_decaying_sines() -> None:
    hz, ring, level = np.array([440.0, 1234.5]), np.array([0.2, 0.05]), np.array([1.0, 0.5])
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    truth = sum(
        a * np.exp(-t / tau) * np.sin(2 * np.pi * f * t) for f, tau, a in zip(hz, ring, level, strict=True)
    )
    assert partials(hz, ring, level, np.zeros(2), 0.5) == pytest.approx(truth, abs=2e-5)


def test_a_membrane_falls_to_its_pitch() -> None:
    sound = membrane(np.random.default_rng(0), 100.0, 0.5, 1.0, 0.02, 9.0, 0.0)
    late = np.abs(np.fft.rfft(sound[int(0.15 * SAMPLE_RATE) :], SAMPLE_RATE))
    assert np.argmax(late) == pytest.approx(100, abs=1.5)
    crossings = np.flatnonzero(np.diff(np.signbit(sound[: SAMPLE_RATE // 2])))
    assert crossings[0] < 0.6 * np.diff(crossings)[-1], "the first half-wave is almost an octave higher"


def test_noise_keeps_to_its_band() -> None:
    sound = noise(np.random.default_rng(0), 1.0, 1000, 4000)
    assert len(sound) == SAMPLE_RATE
    assert share(sound, 700, 5700) > 0.85


@pytest.mark.parametrize("kind", TYPES)
def test_a_kit_is_its_seed(kind: str) -> None:
    kit = KITS[kind]
    for piece in kit.pieces:
        hit = kit.strike(piece, 0.8, 1)
        assert np.array_equal(hit, Kit(kit.seed).strike(piece, 0.8, 1))
        assert not np.array_equal(hit, kit.strike(piece, 0.8, 2))
        assert np.abs(hit).max() == pytest.approx(0.8)
        assert np.isfinite(hit).all()
        assert hit[-1] == 0, "it ends in silence"


def test_every_piece_stands_in_some_kit_and_sounds_in_each() -> None:
    assert {piece for kit in KITS.values() for piece in kit.pieces} == set(PIECES)


@pytest.mark.parametrize("piece", PIECES)
def test_a_soft_hit_is_darker(piece: str) -> None:
    kits = [kit for kit in map(Kit, range(12)) if piece in kit.pieces][:4]
    assert all(
        centroid_hz(kit.strike(piece, 0.2, 0)) < centroid_hz(kit.strike(piece, 1.0, 0)) for kit in kits
    )


def test_pieces_sound_as_high_as_they_should() -> None:
    order = ["kick", "floor tom", "mid tom", "high tom", "snare", "closed hi-hat"]
    heights = [medians(piece, centroid_hz) for piece in order]
    assert all(low < high for low, high in pairwise(heights)), dict(zip(order, heights, strict=True))
    assert medians("conga", centroid_hz) < medians("bongo", centroid_hz)


def test_pieces_ring_as_long_as_they_should() -> None:
    order = ["closed hi-hat", "open hi-hat", "crash cymbal"]
    rings = [medians(piece, lambda hit: seconds_to(hit, 30)) for piece in order]
    assert rings[0] < 0.25 < rings[1] < rings[2] and rings[2] > 1.0


def test_a_snare_is_shell_and_wires() -> None:
    assert medians("snare", lambda hit: share(hit, 120, 600)) > 0.15
    assert medians("snare", lambda hit: share(hit, 1500, 9000)) > 0.25
    assert medians("snare", lambda hit: share(hit, 9000, 22050)) < 0.15
    assert medians("closed hi-hat", lambda hit: share(hit, 5000, 22050)) > 0.8
    assert medians("kick", lambda hit: share(hit, 0, 250)) > 0.9


def test_a_cymbal_is_brighter_at_first() -> None:
    def fall(hit: np.ndarray) -> float:
        return centroid_hz(hit[:8192]) / centroid_hz(hit[SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + 8192])

    assert medians("crash cymbal", fall) > 1.15


def test_real_hits_lie_within_the_kits(recordings: Path) -> None:
    """Where real one-shots have their energy and how long they ring is within what kits draw, within a fifth."""
    real = {
        "drum_heavy_kick": "kick", "drum_snare_hard": "snare", "drum_snare_soft": "snare",
        "drum_cymbal_closed": "closed hi-hat", "drum_cymbal_open": "open hi-hat", "drum_splash_hard": "crash cymbal",
        "drum_tom_hi_hard": "high tom", "drum_tom_mid_hard": "mid tom", "drum_tom_lo_hard": "floor tom",
    }  # fmt: skip
    kits = [kit for kit in map(Kit, range(40)) if kit.type == "acoustic"]
    for name, piece in real.items():
        sound = sf.read(recordings / "one_shots" / f"{name}.flac", always_2d=True)[0].mean(1)
        ours = [kit.strike(piece, 1.0, 0) for kit in kits]
        for measure in (centroid_hz, lambda hit: seconds_to(hit, 10)):
            drawn = [measure(hit) for hit in ours]
            assert min(drawn) / 1.2 <= measure(sound) <= max(drawn) * 1.2, (
                name,
                measure(sound),
                sorted(drawn),
            )


def test_the_libraries_drummers_have_kits_the_starter_never_saw() -> None:
    moved = [name for name in STRANGE if STRANGE[name] != RANGES["acoustic"][name]]
    assert {"kick_hz", "snare_hz", "hat_low_hz", "tom_hz", "bell_hz", "closed_decay"} <= set(moved)
    for name in moved:
        low, high = STRANGE[name]
        for kind, ranges in RANGES.items():
            assert high < ranges[name][0] or low > ranges[name][1], (name, kind)


def test_a_room_answers_at_its_level_and_dies_in_its_time() -> None:
    click = np.zeros((2, 2 * SAMPLE_RATE), np.float32)
    click[:, 0] = 1
    answer = Room((6.0, 4.0, 3.0), 0.5, -8.0, 3).add(click) - click
    assert 10 * np.log10((answer**2).sum() / 2) == pytest.approx(-8, abs=0.5)
    assert not np.allclose(answer[0], answer[1]), "two ears"
    assert 0.1 < seconds_to(answer[0], 30) < 0.5
    assert share(answer[0, : SAMPLE_RATE // 20], 4000, 22050) > 2 * share(
        answer[0, SAMPLE_RATE // 5 :], 4000, 22050
    )


def test_rooms_are_of_every_kind() -> None:
    words = [draw_room(seed, strange=False).word for seed in range(200)]
    assert {words.count(word) > 20 for word in ("dry", "roomy", None)} == {True}
    dry = next(room for room in (draw_room(seed, strange=False) for seed in range(99)) if room.seconds == 0)
    click = np.eye(2, 100, dtype=np.float32)
    assert np.array_equal(dry.add(click), click)
    others = [draw_room(seed, strange=False) for seed in range(99)]
    assert draw_room(1, strange=True).seconds < min(room.seconds for room in others if room.seconds)
