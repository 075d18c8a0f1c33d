"""Near copies: closed forms of both detectors, planted copies on synthesised drums, and playing that copies nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from finetune.base_model.starter.drums import Kit
from finetune.base_model.starter.styles import draw_groove
from finetune.bench import copies as bench
from finetune.bench.planting import ALTERED, VERBATIM
from finetune.bench.players import Player, performance, strokes
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.evaluation.copies import PlayedClip, Thresholds, find_copies
from finetune.evaluation.copies_segments import Match, running_correlation, window_starts
from finetune.evaluation.copies_spectrogram import at_speed, levels, nearest_by_spectrogram
from finetune.evaluation.copies_waveform import at_8_khz, nearest_by_waveform
from finetune.evaluation.results import Copied, Copy

RATE = 44_100


@pytest.fixture(scope="module")
def player() -> Player:
    """Three clips of a kit, one held out with a groove of its own, and the three grooves played anew."""
    kit, rng = Kit(5), np.random.default_rng(5)
    grooves = [draw_groove(rng, kit.pieces, bpm=bpm) for bpm in (92, 104, 117, 126)]
    once, again = ([cut(performance(kit, groove, rng)) for groove in grooves] for _ in range(2))
    clips = [PlayedClip(f"clip-{n}", f"take {n}", sound) for n, sound in enumerate(once)]
    return Player("kit", clips[:3], clips[3:], [], again[:3])


def cut(sound: np.ndarray) -> np.ndarray:
    return sound[:, : 5 * RATE]


def found(player: Player, *sounds: np.ndarray) -> list[Copy]:
    named = {str(number): sound for number, sound in enumerate(sounds)}
    return find_copies(named, player.training, player.held_out, RATE).nearest


def nothing(done: int) -> None:
    pass


def test_windows_reach_the_end():
    assert window_starts(10, 4, 3) == [0, 3, 6]
    assert window_starts(9, 4, 3) == [0, 3, 5]
    assert window_starts(3, 4, 3) == [0]


def test_running_correlation_is_that_of_numpy():
    rng = np.random.default_rng(0)
    one, other = rng.normal(3, 1, (2, 50, 1))
    starts, centred = running_correlation(one, other, 20, 5, centred=True)
    for start, value in zip(starts, centred, strict=True):
        expected = np.corrcoef(one[start : start + 20, 0], other[start : start + 20, 0])[0, 1]
        assert value == pytest.approx(expected)
    _, plain = running_correlation(one, 2 * one, 20, 5, centred=False)
    assert plain == pytest.approx(1.0)


def test_a_waveform_finds_itself_whatever_its_gain_and_polarity():
    noise = np.random.default_rng(1).standard_normal((2, 5 * RATE)).astype(np.float32)
    clip = at_8_khz(noise, RATE)
    for gain in (1.0, -0.01, 5.0):
        two_seconds, four_seconds = nearest_by_waveform([at_8_khz(gain * noise, RATE)], [clip], nothing)[0][
            :2
        ]
        assert (two_seconds.likeness, four_seconds.likeness) == (pytest.approx(1, abs=1e-4),) * 2
        assert two_seconds.sound_seconds == two_seconds.clip_seconds == 0
        assert four_seconds.length_seconds == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("snr_db", [20.0, 6.0])
def test_noise_lowers_the_correlation_as_it_must(snr_db):
    """Of a signal in noise: 1 / sqrt(1 + noise / signal)."""
    signal, noise = np.random.default_rng(2).standard_normal((2, 1, 4 * RATE))
    noise *= 10 ** (-snr_db / 20)
    match = nearest_by_waveform([at_8_khz(signal + noise, RATE)], [at_8_khz(signal, RATE)], nothing)[0][0]
    assert match.likeness == pytest.approx((1 + 10 ** (-snr_db / 10)) ** -0.5, abs=0.01)


def test_channels_that_cancel_are_still_heard():
    noise = np.random.default_rng(3).standard_normal(RATE)
    assert np.abs(at_8_khz(np.stack([noise, -noise]), RATE)).max() > 0.5


def test_levels_at_a_speed_are_those_of_the_sound_at_that_speed():
    clip = levels(VERBATIM["as it is"](performance_of(7), np.zeros((2, 1)), np.random.default_rng(0)), RATE)
    slow = at_speed(clip, 1.25)
    match = nearest_by_spectrogram([at_speed(clip, 1 / 1.05)], [slow, clip], nothing)[0][0]
    assert (match.clip, match.speed) == (1, pytest.approx(1.05, abs=0.006))
    assert match.likeness > 0.98


def performance_of(seed: int) -> np.ndarray:
    kit, rng = Kit(seed), np.random.default_rng(seed)
    return cut(performance(kit, draw_groove(rng, kit.pieces, metre="4/4", bpm=100), rng))


def test_planted_copies_are_found_with_their_clip(player):
    """Every kind of copy of one clip or another; all in one look."""
    other, rng = performance_of(9), np.random.default_rng(4)
    clips = [player.training[number % 3] for number in range(len(VERBATIM))]
    copies = found(
        player,
        *(plant(clip.samples, other, rng) for clip, plant in zip(clips, VERBATIM.values(), strict=True)),
    )
    said = {
        kind: (copy.verdict, copy.clip, copy.recording) for kind, copy in zip(VERBATIM, copies, strict=True)
    }
    assert said == {
        kind: ("verbatim", clip.id, clip.recording) for kind, clip in zip(VERBATIM, clips, strict=True)
    }


def test_where_a_copy_is_is_right_to_ten_milliseconds(player):
    """Two seconds of a clip from 1.3 s on, at 2.7177 s of a sound that is otherwise faint noise."""
    rng = np.random.default_rng(5)
    sound = 1e-3 * rng.standard_normal((2, 7 * RATE))
    start, length = round(2.7177 * RATE), round(2.5 * RATE)
    sound[:, start : start + length] += player.training[2].samples[:, round(1.3 * RATE) :][:, :length]
    (copy,) = found(player, sound.astype(np.float32))
    assert (copy.verdict, copy.clip, copy.shift) == ("verbatim", "clip-2", 1.0)
    assert copy.clip_seconds - copy.sound_seconds == pytest.approx(1.3 - 2.7177, abs=0.001)
    assert copy.sound_seconds == pytest.approx(2.7177, abs=0.3)
    assert copy.length_seconds == pytest.approx(2.5, abs=0.6)


def test_what_is_played_anew_is_no_copy(player):
    result = find_copies(
        {str(n): sound for n, sound in enumerate(player.same_grooves)}, player.training, player.held_out, RATE
    )
    assert "verbatim" not in {copy.verdict for copy in result.nearest}
    others = found(player, performance_of(9), performance_of(10))
    assert [copy.verdict for copy in others] == ["new", "new"]


def test_stretched_and_pitched_copies_are_found_at_their_speed(player):
    speeds = {"5 % faster": 1.05, "tape 6 % slower": 0.94, "2 semitones up": 1.0}
    clip, rng = player.training[1], np.random.default_rng(6)
    copies = found(player, *(ALTERED[kind](clip.samples, clip.samples, rng) for kind in speeds))
    assert [(copy.verdict, copy.clip) for copy in copies] == [("same groove", "clip-1")] * 3
    assert [copy.shift for copy in copies] == pytest.approx(list(speeds.values()), abs=0.011)


def test_short_sounds_are_judged_by_their_waveform_alone():
    every = strokes()
    player = replace(every, training=every.training[:4], held_out=every.held_out[:4])
    sound = player.training[0].samples
    same, other = found(player, -0.5 * sound, player.further[0])
    assert (same.verdict, same.clip) == ("verbatim", player.training[0].id)
    assert other.verdict == "new"
    assert other.spectrogram > 0.9  # and yet it is nothing


def test_a_short_clip_is_found_in_a_longer_sound(player):
    stroke = strokes().training[1]
    longer = 1e-3 * np.random.default_rng(7).standard_normal((2, 4 * RATE)).astype(np.float32)
    longer[:, 2 * RATE : 2 * RATE + stroke.samples.shape[1]] += stroke.samples
    (copy,) = find_copies({"a": longer}, [stroke], [], RATE).nearest
    assert (copy.verdict, copy.clip) == ("verbatim", stroke.id)
    assert copy.sound_seconds - copy.clip_seconds == pytest.approx(2.0, abs=0.001)


def test_thresholds_rise_with_held_out_takes_and_never_fall():
    def match(likeness: float, seconds: float) -> Match:
        return Match(0, likeness, seconds, 1.0, 0.0, 0.0, seconds)

    near = Thresholds.above(
        [[match(0.96, 2), match(0.8, 4)], [match(0.5, 0.4)]], [[match(0.96, 4), match(0.99, 0.4)]]
    )
    assert (near.waveform, near.long, near.short) == (pytest.approx(0.97), pytest.approx(0.85), 0.98)
    assert (near.spectrogram, near.held_out_waveform, near.held_out_spectrogram) == (
        pytest.approx(0.97),
        0.96,
        0.96,
    )
    far = Thresholds.above([[match(0.3, 2)]], [[match(0.2, 4)]])
    assert (far.waveform, far.long, far.spectrogram) == (0.93, 0.70, 0.80)
    assert Thresholds.above([], []).held_out_waveform is None


def test_a_player_whose_takes_repeat_the_groove_raises_the_threshold(player):
    sounds = {"anew": player.same_grooves[0]}
    apart = find_copies(sounds, player.training, player.held_out, RATE)
    again = find_copies(sounds, player.training, [PlayedClip("h", "t", player.same_grooves[0])], RATE)
    assert again.spectrogram_threshold > apart.spectrogram_threshold
    assert again.nearest[0].verdict == "new"


def test_silence_emptiness_and_what_is_no_number(player):
    silence = np.zeros((2, RATE), np.float32)
    silent, empty = found(player, silence, np.zeros((2, 0), np.float32))
    assert silent == Copy("0", "new", "", "", 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, silent.waveform_threshold)
    assert empty.verdict == "new"
    (click,) = find_copies(
        {"a": np.ones((2, 9), np.float32)}, [PlayedClip("c", "r", np.ones((2, 9)))], [], RATE
    ).nearest
    assert (click.verdict, click.clip) == ("new", "")
    broken = silence.copy()
    broken[1, 7] = np.nan
    with pytest.raises(WoodshedError, match="The sound 'a' holds samples that are no numbers"):
        find_copies({"a": broken}, player.training, [], RATE)
    with pytest.raises(WoodshedError, match="The clip 'c'"):
        find_copies({}, [PlayedClip("c", "r", broken)], [], RATE)
    with pytest.raises(ValueError, match="not \\(channels, samples\\)"):
        find_copies({"a": silence[0]}, player.training, [], RATE)
    assert find_copies({}, player.training, [], RATE).words == "Nothing was compared: there is no sound."
    none = find_copies({"a": player.training[0].samples}, [], [], RATE)
    assert (none.verdict, none.words) == ("new", "Nothing was compared: there is no training clip.")
    alone = find_copies({"a": player.training[0].samples}, player.training, [], RATE)
    assert alone.held_out_waveform is None and "not calibrated" in alone.words
    assert find_copies({"a": silence}, player.training, player.held_out, RATE).verdict == "new"


def test_words_name_the_clips(player):
    def clips() -> Iterator[PlayedClip]:  # read as they are needed
        yield from player.training

    result: Copied = find_copies(
        {"a": player.training[2].samples, "b": performance_of(9)}, clips(), player.held_out, RATE
    )
    assert result.verdict == "copies"
    assert result.words.startswith("1 of 2 sounds repeats a training clip: clip-2.")


def test_report_ends_with_everything(player):
    shares: list[float] = []
    find_copies({"a": performance_of(9)}, player.training, [], RATE, shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)


def test_the_benchmark_counts_what_is_found_and_false_alarms(player):
    trials = bench.try_player(
        player,
        [performance_of(9)],
        {name: VERBATIM[name] for name in ("inverted", "second half")},
        np.random.default_rng(0),
    )
    values = {figure.name: figure for figure in bench.figures(trials)}
    assert values["verbatim copies found"].value == 100
    assert values["false alarms: said to be verbatim"].reached
    assert values["sounds that copy nothing"].value == 4
    assert np.isnan(values["stretched and pitched copies found"].value)


@pytest.mark.slow
def test_the_benchmark_reaches_what_is_wanted(recordings):
    result = CliRunner().invoke(
        app, ["bench", "copies", "--recordings", str(recordings), "--clips", "2", "--json"]
    )
    figures = json.loads(result.stdout)["parts"]["copies"]["figures"]
    assert [each["name"] for each in figures if each["reached"] is False] == []
