"""Cuts: whole bars to the sample, rebuilt bit for bit, one gain for a recording."""

import hashlib
import io
import json

import drummer
import numpy as np
import pytest
import soundfile
from drummer import TAKES
from hypothesis import example, given
from hypothesis import strategies as st

from data_prep.rhythm.bars import bars
from data_prep.rhythm.beats import steady_beats
from data_prep.rhythm.onsets import Onset
from data_prep.slicing.slices import PRE_ROLL, Span, cut, fixed, gain_for, one_shots, phrases
from data_prep.sound.recording import SAMPLE_RATE, decode


def onsets_every(samples: int, length: int) -> list[Onset]:
    return [Onset(sample, 1.0, 20.0) for sample in range(0, length, samples)]


@given(
    bpm=st.floats(40, 240),
    beats=st.sampled_from([2.0, 3.5, 4.0, 8.0, 14.0]),
    seconds=st.floats(2, 60),
    anchor=st.floats(0, 1.5),
)
@example(bpm=240.0, beats=3.5, seconds=3.0, anchor=1.4783129439542375)  # half a sample
def test_bar_slices_are_whole_bars_to_the_sample_and_never_drift(bpm, beats, seconds, anchor):
    length = round(seconds * SAMPLE_RATE)
    exact = beats * 60 / bpm * SAMPLE_RATE
    grid = steady_beats(anchor * SAMPLE_RATE, bpm, length)
    spans, rests = bars(onsets_every(2000, length), grid, beats, beats, begin=0, end=length, length=length)
    assert all(span.end - span.start == round(exact) for span in spans)
    assert all(0 <= span.start < span.end <= length for span in spans)
    for index, span in enumerate(spans):
        assert abs(span.start - spans[0].start - index * exact) <= 2
    covered = sum(span.end - span.start for span in spans) + sum(rest.end - rest.start for rest in rests)
    assert length - covered <= anchor * SAMPLE_RATE + 0.03 * SAMPLE_RATE + len(spans)


def test_a_loop_cut_to_length_gives_all_of_its_bars():
    length = 8 * SAMPLE_RATE
    grid = steady_beats(40.0, 120.0, length)
    spans, rests = bars(onsets_every(11_025, length), grid, 8.0, 4.0, begin=0, end=length, length=length)
    assert [span.end - span.start for span in spans] == [4 * SAMPLE_RATE] * 2
    assert rests == []


def test_bars_in_which_nothing_is_struck_are_left_over():
    onsets = onsets_every(22_050, 4 * SAMPLE_RATE)
    length = 10 * SAMPLE_RATE
    spans, rests = bars(
        onsets, steady_beats(0.0, 120.0, length), 4.0, 4.0, begin=0, end=length, length=length
    )
    assert len(spans) == 2
    assert "nothing is struck" in rests[0].reason


def test_one_shots_begin_before_the_hit_and_end_before_the_next():
    take = drummer.play(100, bars=2, jitter=0.0)
    onsets = [Onset(round(hit * SAMPLE_RATE), 1.0, 20.0) for hit in drummer.hits_only(take.hits)]
    spans, _ = one_shots(take.samples, onsets)
    starts = [span.start for span in spans]
    for span, onset in zip(spans, onsets, strict=True):
        assert 0 < onset.sample - span.start <= PRE_ROLL + 0.001 * SAMPLE_RATE
    assert all(span.end <= following for span, following in zip(spans, starts[1:], strict=False))


def test_a_start_that_is_not_clear_makes_no_one_shot():
    samples = drummer.play(100, bars=1).samples
    spans, rests = one_shots(samples, [Onset(30_000, 1.0, 20.0, clear=False)])
    assert spans == []
    assert "not clear" in rests[0].reason


def test_phrases_lie_between_pauses():
    sound = drummer.play(120, bars=1, lead_in=0.0).samples
    pause = np.zeros((2, SAMPLE_RATE), np.float32)
    samples = np.concatenate([pause, sound, pause, sound, pause], axis=1)
    starts = [SAMPLE_RATE, 2 * SAMPLE_RATE + sound.shape[1]]
    spans, _ = phrases(samples, [Onset(start + 100, 1.0, 20.0) for start in starts])
    assert [abs(span.start - start) < 500 for span, start in zip(spans, starts, strict=True)] == [True, True]


def test_fixed_windows_have_the_length_asked_for():
    spans, rests = fixed(5 * SAMPLE_RATE, [Onset(SAMPLE_RATE, 1.0, 20.0)], 1.5)
    assert [span.seconds for span in spans] == [1.5, 1.5]
    assert "incomplete" in rests[0].reason


@given(st.floats(1e-3, 1.0))
@example(0.35850895859210113)  # 7.91 dB, exactly -1 dBFS but for the rounding of float32
def test_the_gain_brings_the_peak_to_minus_1_dbfs_and_boosts_by_24_db_at_most(peak):
    samples = np.array([[0.0, peak], [0.0, -peak / 2]], np.float32)
    gain_db = gain_for(samples)
    assert gain_db <= 24.0
    assert np.abs(cut(samples, 0, 2, gain_db, 0, 0)).max() <= 10 ** (-1 / 20)


def test_fades_touch_only_the_edges():
    samples = np.ones((2, 4000), np.float32)
    span = Span(0, 4000)
    piece = cut(samples, 0, 4000, 0.0, span.fade_in, span.fade_out)
    assert np.all(piece[:, span.fade_in : -span.fade_out] == 1.0)
    assert piece[0, 0] < 0.01
    assert piece[0, -1] < 0.01
    assert np.all(samples == 1.0)


@pytest.mark.parametrize("options", [["--bars", "1"], ["--slice", "onsets"], ["--slice", "phrases"]])
def test_every_slice_is_rebuilt_bit_for_bit_from_its_recording_and_its_row(
    options, library, tmp_path, run_prep
):
    assert run_prep(library, tmp_path / "ds", *options).code == 0
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    decoded = {name: decode(library / name) for name in {row["recording"] for row in rows}}
    for row in rows:
        recording = decoded[row["recording"]]
        assert recording.pcm_sha256 == row["pcm_sha256"]
        places = (row["start_sample"], row["end_sample"], row["gain_db"])
        piece = cut(recording.samples, *places, row["fade_in_samples"], row["fade_out_samples"])
        memory = io.BytesIO()
        soundfile.write(memory, piece.T, row["sample_rate"], format="WAV", subtype="PCM_24")
        written = (tmp_path / "ds" / row["split"] / f"{row['id']}.wav").read_bytes()
        assert memory.getvalue() == written
        assert hashlib.sha256(written).hexdigest() == row["clip_sha256"]


def test_two_bars_of_the_real_takes_are_whole_bars_to_the_sample(recordings, tmp_path, run_prep):
    options = ["--bars", "2", "--bpm", "80-170", "--json"]
    result = run_prep(recordings / "takes", tmp_path / "ds", *options)
    assert result.code == 0
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    for name in TAKES:
        truth = json.loads((recordings / "takes" / f"{name}.json").read_text())
        mine = [row for row in rows if row["recording"] == f"{name}.flac"]
        bpm = mine[0]["fields"]["tempo"]["value"]
        assert bpm == pytest.approx(truth["bpm"], rel=0.001)
        size = round(2 * truth["beats_per_bar"] * 60 / bpm * SAMPLE_RATE)
        assert {row["end_sample"] - row["start_sample"] for row in mine} == {size}
        assert len(mine) == len(truth["downbeats"]) // 2
        downbeats = np.array(truth["downbeats"])
        starts = np.array([row["start_sample"] for row in mine]) / SAMPLE_RATE
        assert np.abs(starts - downbeats[: 2 * len(mine) : 2]).max() < 0.020
