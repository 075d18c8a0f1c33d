"""Measures against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.evaluation.fidelity import FLOOR_DB, log_mel, log_mel_error_db, sdr_db
from finetune.evaluation.matching import Matching, match

RATE = 44_100
times = st.lists(st.floats(0, 10), max_size=12)


def test_known_onsets_give_the_known_f():
    found = match([1.0, 2.0, 3.0, 4.0], [1.02, 2.03, 3.0], 0.025)
    assert found == Matching(2, 4, 3)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), 0.5)
    assert found.f == pytest.approx(4 / 7)


def test_an_onset_is_paired_once():
    assert match([1.0], [0.99, 1.01], 0.025).matched == 1
    assert match([0.99, 1.01], [1.0], 0.025).matched == 1


def test_pairing_gives_up_the_nearest_where_that_makes_more_pairs():
    assert match([1.0, 1.02], [1.018, 1.04], 0.025).matched == 2


def test_nothing_against_nothing_is_perfect_and_pools():
    assert match([], [], 0.025).f == 1
    assert match([], [1.0], 0.025).f == 0
    assert match([1.0], [1.0], 0.1) + match([2.0], [], 0.1) == Matching(1, 2, 1)


@given(times, times)
def test_matching_is_the_largest_there_is(reference, found):
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    near = np.abs(np.subtract.outer(reference, found)) <= 0.5
    best = (maximum_bipartite_matching(csr_array(near.astype(int))) >= 0).sum() if near.size else 0
    assert match(reference, found, 0.5).matched == best


def test_sdr_of_a_scaled_copy_and_of_added_noise():
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((2, RATE))
    assert sdr_db(sound, 0.9 * sound) == pytest.approx(20)
    assert sdr_db(sound, np.zeros_like(sound)) == pytest.approx(0)
    assert sdr_db(sound, sound) == float("inf")
    assert sdr_db(sound, sound + 0.1 * rng.standard_normal(sound.shape)) == pytest.approx(20, abs=0.1)


def test_a_full_scale_sine_is_0_db_in_its_band_and_silence_is_the_floor():
    sine = np.tile(np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE), (2, 1))
    assert log_mel(sine, RATE)[:, 10:-10].max() == pytest.approx(0, abs=1.5)
    assert (log_mel(np.zeros((2, RATE)), RATE) == FLOOR_DB).all()


def test_log_mel_error_of_a_gain_is_the_gain():
    loud = np.random.default_rng(1).standard_normal((2, RATE)) * 0.3
    assert log_mel_error_db(loud, 0.5 * loud, RATE) == pytest.approx(6.02, abs=0.01)
    assert log_mel_error_db(loud, loud, RATE) == 0
