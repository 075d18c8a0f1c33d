"""Sound to begin from and to keep: which latents stay, how ranges are read, what the splice leaves untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.given import Given, encode_given, kept_frames, read_spans, splice

RATE = 1000


def test_a_latent_stays_when_its_first_sample_is_kept() -> None:
    kept = kept_frames([(0, 9), (24, 33)], 6, 8)
    assert kept.tolist() == [True, True, False, True, True, False]
    assert not kept_frames([(1, 8)], 6, 8).any()


def test_ranges_are_ordered_joined_and_may_go_to_the_end_of_the_file() -> None:
    assert read_spans(["2.5-3", "0-1", ".5 - 1.25"], 4000, 6000, RATE) == ((0, 1250), (2500, 3000))
    assert read_spans(["1-"], 4000, 6000, RATE) == ((1000, 4000),)
    assert read_spans([], 4000, 6000, RATE) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0-4.1", r"beyond the end of the file of --init, at 4 seconds. Change --keep, or write 0- for all"),
        ("5-", "begins after the end of the file"),
        ("3-2", "is empty"),
        ("2-2", "is empty"),
        ("four", "is no range of seconds"),
        ("-1-2", "is no range of seconds"),
        ("nan-2", "is no range of seconds"),
        ("0:2", "is no range of seconds"),
    ],
)
def test_ranges_that_cannot_be_are_sentences(text: str, words: str) -> None:
    with pytest.raises(WoodshedError, match=words):
        read_spans([text], 4000, 6000, RATE)


def test_a_range_beyond_the_sound_and_one_that_leaves_nothing_are_sentences() -> None:
    with pytest.raises(WoodshedError, match=r"beyond the end of the sound, at 2 seconds\. Change --seconds"):
        read_spans(["0-3"], 4000, 2000, RATE)
    with pytest.raises(WoodshedError, match="leaves nothing to generate"):
        read_spans(["0-1", "1-"], 2000, 2000, RATE)


def test_what_is_kept_is_put_back_to_the_last_bit() -> None:
    made, given = np.random.default_rng(0).uniform(-1, 1, (2, 2, 400)).astype(np.float32)
    out = splice(made, given[:, :380], [(50, 120), (300, 380)], fade=10)
    for part, whole in (
        ((50, 110), given),
        ((300, 370), given),
        ((0, 40), made),
        ((120, 290), made),
        ((380, 400), made),
    ):
        assert np.array_equal(out[:, slice(*part)], whole[:, slice(*part)]), part
    for start, old, new in ((40, made, given), (110, given, made), (290, made, given), (370, given, made)):
        share = np.arange(10, dtype=np.float32) / 10
        faded = old[:, start : start + 10] * (1 - share) + new[:, start : start + 10] * share
        np.testing.assert_allclose(out[:, start : start + 10], faded, atol=1e-6)


def test_nothing_fades_at_the_ends_of_the_sound() -> None:
    made, given = np.zeros((2, 100), np.float32), np.ones((2, 100), np.float32)
    assert np.array_equal(splice(made, given, [(0, 40)], 8)[:, :32], given[:, :32])
    assert np.array_equal(splice(made, given, [(40, 100)], 8)[:, 40:], given[:, 40:])


@drawn(
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), max_size=4),
    st.integers(0, 20),
    st.integers(1, 100),
)
def test_a_splice_is_always_between_the_two(spans: list[tuple[int, int]], fade: int, length: int) -> None:
    keep = [(start, min(start + long, length)) for start, long in sorted(spans) if start < length]
    out = splice(np.zeros((2, 100), np.float32), np.ones((2, length), np.float32), keep, fade)
    assert out.min() >= 0
    assert out.max() <= 1


def test_given_sound_is_continued_with_silence_or_cut(tiny_base: BaseModel) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5000)).astype(np.float32)
    samples = 4 * tiny_base.samples_per_latent
    padded = np.zeros((2, samples), np.float32)
    padded[:, :5000] = audio
    long = np.concatenate([padded, padded], axis=1)
    expected = tiny_base.encode_audio(torch.from_numpy(padded)[None])[0]
    for sound in (audio, long):
        got = encode_given(tiny_base, Given(sound, 0.3, ((0, 5000),)), 4)
        assert torch.equal(got.latents, expected)
        assert got.kept.tolist() == [True, True, True, False]
        assert got.noise == 0.3
