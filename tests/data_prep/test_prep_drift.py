"""Players without a click, pauses, count-ins, pick-ups, tails and cue markers: bars where they are played."""

from __future__ import annotations

from itertools import pairwise

import drummer
import numpy as np
import pytest
from drummer import BACKBEAT
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.rhythm import onsets as onset_detection
from data_prep.rhythm.bars import bars
from data_prep.rhythm.beats import steady_beats
from data_prep.rhythm.metre import Metre
from data_prep.rhythm.music import hear
from data_prep.rhythm.onsets import Onset, detect
from data_prep.settings import Settings
from data_prep.slicing.cuts import cut_up, first_bar_line, tempo_of
from data_prep.slicing.slices import PRE_ROLL, KeepOrDrop, Slicing, Tail
from data_prep.sound.embedded import Cue
from data_prep.sound.recording import SAMPLE_RATE, RecordingFault
from data_prep.sound.tags import Tags


def drifting(beat_seconds: np.ndarray, seed: int = 0, lead_in: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A take (2, samples) whose beats last as long as that, and when they are, the end of the last included."""
    rng = np.random.default_rng(seed)
    beats = lead_in + np.concatenate([[0.0], np.cumsum(beat_seconds)])
    kit = {name: drummer._drum(name, rng) for name in BACKBEAT}
    samples = np.zeros((2, round((beats[-1] + 1) * SAMPLE_RATE)))
    for bar in range(len(beat_seconds) // 4):
        for name, steps in BACKBEAT.items():
            for step in (index for index, mark in enumerate(steps) if mark != "."):
                place = np.interp(4 * bar + step / 4, np.arange(len(beats)), beats) + rng.normal(0, 0.003)
                start = round(max(0.0, place) * SAMPLE_RATE)
                samples[:, start : start + len(kit[name])] += kit[name]
    samples += 2e-4 * rng.standard_normal(samples.shape)
    return (0.7 * samples / np.abs(samples).max()).astype(np.float32), beats


def click(count: int, step: float) -> np.ndarray:
    """Stick clicks, the first at 0.5 s: a short bright ring."""
    samples = np.zeros((2, round((0.5 + count * step) * SAMPLE_RATE)), np.float32)
    time = np.arange(1500) / SAMPLE_RATE
    stick = 0.3 * np.sin(2 * np.pi * 2600 * time) * np.exp(-time / 0.006)
    for number in range(count):
        start = round((0.5 + number * step) * SAMPLE_RATE)
        samples[:, start : start + 1500] += stick.astype(np.float32)
    return samples


@pytest.mark.parametrize(
    "factors",
    [np.linspace(1.0, 1.08, 64), np.linspace(1.0, 0.93, 64), 1 + 0.03 * np.sin(np.arange(64) / 9)],
)
def test_bars_follow_a_player_who_drifts(factors):
    samples, beats = drifting(60 / (100 * factors))
    music = hear(samples, Tags(), Settings(bpm_range=(80.0, 125.0), downbeat=0.5))
    spans, _ = cut_up(samples, music, (), Settings(bars=2))
    assert not music.sections[0].beats.steady
    starts = np.array([span.start + PRE_ROLL for span in spans]) / SAMPLE_RATE
    assert len(spans) == 8
    assert np.abs(starts - beats[:-1:8]).max() < 0.010
    assert all(one.end == other.start for one, other in pairwise(spans))
    played = [8 * 60 / (beats[8 * (n + 1)] - beats[8 * n]) for n in range(8)]
    assert [tempo_of(music, span) for span in spans] == pytest.approx(played, rel=0.01)
    assert [first_bar_line(music, span) for span in spans] == [span.start + PRE_ROLL for span in spans]


def test_a_click_is_one_tempo_whatever_the_hands_do():
    samples, _ = drifting(60 / (100 * np.linspace(1.0, 1.05, 32)))
    music = hear(samples, Tags(), Settings(bpm_range=(80.0, 125.0), click=True))
    assert music.sections[0].beats.steady


def test_a_take_that_keeps_its_tempo_is_not_followed():
    samples, _ = drifting(np.full(64, 0.6))
    music = hear(samples, Tags(), Settings())
    assert music.sections[0].beats.steady
    assert music.tempo and music.tempo.bpm == pytest.approx(100.0, rel=0.001)


def test_two_takes_in_one_recording_have_their_own_tempo_and_first_beat():
    first = drummer.play(100, bars=8, lead_in=0.5, seed=1).samples
    second = drummer.play(117, bars=8, lead_in=6.3, seed=2).samples
    samples = np.concatenate([first, second], axis=1)
    music = hear(samples, Tags(), Settings())
    assert [section.bpm for section in music.sections] == pytest.approx([100, 117], rel=0.003)
    begins = (first.shape[1] / SAMPLE_RATE) + 6.3
    assert music.sections[1].beats.places[0] / SAMPLE_RATE == pytest.approx(begins, abs=0.01)
    spans, rests = cut_up(samples, music, (), Settings(bars=4))
    assert len(spans) == 4
    assert all(span.end <= first.shape[1] or span.start > first.shape[1] for span in spans)
    assert any("nothing is struck" in rest.reason for rest in rests)


def test_a_count_in_is_in_no_slice_and_is_said():
    take = drummer.play(120, bars=4, lead_in=0.0, jitter=0.002, seed=3).samples
    samples = np.concatenate([click(4, 0.5), take], axis=1)
    music = hear(samples, Tags(), Settings())
    assert (music.sections[0].count_in, music.downbeat_source) == (4, "count-in")
    assert music.anchor / SAMPLE_RATE == pytest.approx(2.5, abs=0.01)
    spans, rests = cut_up(samples, music, (), Settings(bars=1))
    assert spans[0].start == pytest.approx(2.5 * SAMPLE_RATE, abs=0.01 * SAMPLE_RATE)
    assert "count-in" in rests[0].reason
    one_shots, _ = cut_up(samples, music, (), Settings(Slicing.onsets))
    assert one_shots[0].start > 2.4 * SAMPLE_RATE
    kept = hear(samples, Tags(), Settings(count_in=KeepOrDrop.keep))
    assert kept.anchor / SAMPLE_RATE == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("steps", ["H.H.H.H.H.H.H.H.", "H...H...H...H..."])
def test_hats_before_a_groove_of_hats_are_no_count_in(steps):
    intro = drummer.play(120, bars=1, pattern={"H": "H...H...H...H..."}, lead_in=0.5, jitter=0.001, seed=4)
    groove = drummer.play(120, bars=4, pattern=BACKBEAT | {"H": steps}, lead_in=0.0, jitter=0.001, seed=4)
    samples = np.concatenate([intro.samples[:, : round(2.5 * SAMPLE_RATE)], groove.samples], axis=1)
    music = hear(samples, Tags(), Settings())
    assert music.sections[0].count_in == 0
    assert music.anchor / SAMPLE_RATE == pytest.approx(0.5, abs=0.01)


def test_a_downbeat_said_roughly_is_moved_to_the_beat_and_one_said_exactly_stays():
    take = drummer.play(100, bars=4, lead_in=0.637, jitter=0.001)
    rough = hear(take.samples, Tags(), Settings(downbeat=0.6)).anchor
    exact = hear(take.samples, Tags(), Settings(downbeat=3.04)).anchor
    assert rough / SAMPLE_RATE == pytest.approx(0.637, abs=0.008)
    assert exact == 3.04 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("cues", "source"), [((2.9, 5.3), "cue"), ((1.1,), "cue"), ((1.0, 1.9), "first hit")]
)
def test_cue_markers_on_bar_lines_say_where_bars_begin(cues, source):
    take = drummer.play(100, bars=5, lead_in=0.5, jitter=0.001)
    marks = tuple(Cue(round(place * SAMPLE_RATE)) for place in cues)
    music = hear(take.samples, Tags(cues=marks), Settings())
    assert music.downbeat_source == source
    expected = cues[0] if source == "cue" else 0.5
    assert music.anchor / SAMPLE_RATE == pytest.approx(expected, abs=0.005)
    assert bool(music.warnings) == (source == "first hit")


def test_slices_from_cue_to_cue():
    samples = drummer.play(100, bars=2).samples
    music = hear(samples, Tags(), Settings())
    cues = tuple(Cue(round(second * SAMPLE_RATE)) for second in (0.6, 1.8, 3.0))
    spans, rests = cut_up(samples, music, cues, Settings(Slicing.cues))
    assert [span.start / SAMPLE_RATE for span in spans] == pytest.approx([0.6, 1.8, 3.0], abs=0.0011)
    assert [span.end for span in spans] == [spans[1].start, spans[2].start, samples.shape[1]]
    assert rests[0].start == 0
    with pytest.raises(RecordingFault, match="no cue markers"):
        cut_up(samples, music, (), Settings(Slicing.cues))


@given(
    hits=st.lists(st.floats(0.1, 11.9), min_size=1, max_size=40, unique=True),
    downbeat=st.floats(0, 3),
    pickup=st.sampled_from(KeepOrDrop),
    tail=st.sampled_from(Tail),
)
@settings(max_examples=200)
def test_no_hit_is_lost_without_a_word(hits, downbeat, pickup, tail):
    """Every hit is in exactly one slice, or in a stretch that is reported."""
    length = 12 * SAMPLE_RATE
    onsets = [Onset(round(hit * SAMPLE_RATE), 1.0, 20.0) for hit in sorted(hits)]
    grid = steady_beats(downbeat * SAMPLE_RATE, 120.0, length)
    spans, rests = bars(onsets, grid, 8.0, 4.0, begin=0, end=length, length=length, pickup=pickup, tail=tail)
    for onset in onsets:
        inside = sum(span.start <= onset.sample < span.end for span in spans)
        told = sum(rest.start <= onset.sample < rest.end for rest in rests)
        assert (inside, told) in ((1, 0), (0, 1))
    bar = 2 * SAMPLE_RATE
    for number, span in enumerate(spans):
        if number or pickup is KeepOrDrop.drop:
            assert (span.end - span.start) % bar == 0
        assert span.end <= length or tail is Tail.pad


@given(length=st.integers(3 * SAMPLE_RATE, 4 * SAMPLE_RATE), block=st.sampled_from([64, 100, 8192]))
@settings(max_examples=6, deadline=None)
def test_hits_do_not_depend_on_the_blocks_a_recording_is_read_in(length, block):
    samples = drummer.play(130, bars=2, seed=6).samples[:, :length]
    whole, envelope = detect(samples)
    before = onset_detection.BLOCK_FRAMES
    try:
        onset_detection.BLOCK_FRAMES = block
        pieces, other = detect(samples)
    finally:
        onset_detection.BLOCK_FRAMES = before
    assert [onset.sample for onset in pieces] == [onset.sample for onset in whole]
    assert np.abs(envelope - other).max() < 1e-5


def test_a_short_loop_with_few_hits_has_the_tempo_of_its_length():
    loop = drummer.play(120, bars=1, pattern={"K": "K.......K......."}, lead_in=0.0, jitter=0.0).samples
    one = drummer.play(120, bars=1, pattern={"K": "K...K...K...K..."}, lead_in=0.0, jitter=0.0).samples
    assert hear(loop[:, : 2 * SAMPLE_RATE], Tags(), Settings()).tempo is None, "two hits say nothing"
    found = hear(one[:, : 2 * SAMPLE_RATE], Tags(), Settings()).tempo
    assert found and found.bpm == 120.0


def test_the_metre_that_is_said_is_the_metre():
    samples = drummer.play(126, bars=4, pattern=drummer.SEVEN_EIGHT, quarter_notes=3.5).samples
    music = hear(samples, Tags(), Settings(metre="7/8"))
    assert music.metre == Metre(7, 8)
    spans, _ = cut_up(samples, music, (), Settings(bars=1, metre="7/8"))
    assert {span.end - span.start for span in spans} == {
        round(3.5 * 60 / music.sections[0].bpm * SAMPLE_RATE)
    }
