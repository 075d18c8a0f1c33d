"""Held out: whole recordings, copies together, steadily."""

import drummer
import numpy as np
import soxr
from hypothesis import given
from hypothesis import strategies as st

from data_prep.duplicates.near_duplicates import Fingerprint, are_copies, fingerprint, groups
from data_prep.sound.recording import SAMPLE_RATE, decode
from data_prep.split import TRAIN, VALIDATION, split

lengths = st.dictionaries(st.text("0123456789abcdef", min_size=4, max_size=6), st.floats(1, 600), min_size=1)


@given(lengths, st.floats(0.05, 0.3))
def test_from_two_recordings_on_one_is_held_out_and_never_all(seconds, share):
    places = split([[name] for name in seconds], seconds, share)
    held_out = [name for name, place in places.items() if place == VALIDATION]
    assert set(places) == set(seconds)
    assert len(held_out) < len(seconds)
    assert bool(held_out) == (len(seconds) > 1)


@given(lengths, st.floats(0.05, 0.3))
def test_what_is_held_out_overshoots_by_half_at_most_or_is_the_shortest_recording(seconds, share):
    places = split([[name] for name in seconds], seconds, share)
    held_out = [seconds[name] for name, place in places.items() if place == VALIDATION]
    total = sum(seconds.values())
    assert sum(held_out) <= 1.5 * share * total + 1e-6 or held_out == [min(seconds.values())]


@given(lengths, st.randoms())
def test_the_split_does_not_depend_on_the_order(seconds, random):
    names = list(seconds)
    random.shuffle(names)
    assert split([[name] for name in names], seconds, 0.2) == split(
        [[n] for n in sorted(seconds)], seconds, 0.2
    )


@given(lengths, lengths)
def test_recordings_stay_where_they_were_when_others_come_in(seconds, more):
    before = split([[name] for name in seconds], seconds, 0.2)
    together = seconds | {name: length for name, length in more.items() if name not in seconds}
    after = split([[name] for name in together], together, 0.2, before)
    assert all(after[name] == VALIDATION for name in seconds if before[name] == VALIDATION)
    if VALIDATION in before.values():
        assert all(after[name] == TRAIN for name in seconds if before[name] == TRAIN)


def test_copies_are_on_one_side_and_a_copy_of_what_was_trained_on_is_not_held_out():
    seconds = {"a": 10.0, "b": 10.0, "c": 10.0}
    places = split([["a", "b"], ["c"]], seconds, 0.3)
    assert places["a"] == places["b"]
    joined = split([["a", "b"], ["c"]], seconds, 0.3, {"a": TRAIN, "b": VALIDATION, "c": TRAIN})
    assert joined["a"] == joined["b"] == TRAIN


def test_a_share_of_nothing_holds_nothing_out():
    assert set(split([["a"], ["b"]], {"a": 1.0, "b": 1.0}, 0.0).values()) == {TRAIN}


def test_a_quieter_noisier_cut_and_compressed_copy_is_found(tmp_path):
    take = drummer.play(97, bars=6, seed=1).samples
    noisy = 0.4 * take + 1e-3 * np.random.default_rng(0).standard_normal(take.shape).astype(np.float32)
    part = take[:, 3 * SAMPLE_RATE + 321 : 9 * SAMPLE_RATE]
    compressed = decode(drummer.write(tmp_path / "take.mp3", take)).samples
    dull = soxr.resample(soxr.resample(take.T, 44_100, 32_000), 32_000, 44_100).T
    original = fingerprint(take)
    for copy in (noisy, part, compressed, dull):
        assert are_copies(original, fingerprint(copy))


def test_another_performance_of_the_same_groove_is_no_copy():
    take = fingerprint(drummer.play(97, bars=6, seed=1).samples)
    for again in (
        drummer.play(97, bars=6, seed=2),
        drummer.play(97.2, bars=6, seed=1, jitter=0.004, lead_in=0.83),
        drummer.play(140, bars=6, seed=5),
    ):
        assert not are_copies(take, fingerprint(again.samples))


def test_copies_of_copies_are_one_group():
    take = drummer.play(110, bars=5, seed=2).samples
    marks = {
        "whole": fingerprint(take),
        "first": fingerprint(take[:, : 7 * SAMPLE_RATE]),
        "last": fingerprint(take[:, 4 * SAMPLE_RATE :]),
        "other": fingerprint(drummer.play(140, bars=5, seed=5).samples),
    }
    assert groups(marks) == [["first", "last", "whole"], ["other"]]


def test_a_fingerprint_survives_being_written_down():
    mark = fingerprint(drummer.play(110, bars=1).samples)
    assert np.array_equal(Fingerprint.from_text(mark.to_text()).levels, mark.levels)
