"""The benchmark of preparation: its figures on what is known, and on recordings with truth where they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from finetune.bench import slicing, truth
from finetune.bench.truth import Known, together
from finetune.cli import app

RATE = 44_100


def clicks(bpm: float, beats: int, first: float) -> Known:
    """A click on every beat and bass on every fourth, with the truth of it."""
    rng = np.random.default_rng(0)
    times = first + np.arange(beats) * 60 / bpm
    samples = 1e-4 * rng.standard_normal((2, round((times[-1] + 1) * RATE)))
    for number, time in enumerate(times):
        start = round(time * RATE)
        ring = np.arange(6000) / RATE
        samples[:, start : start + 6000] += 0.3 * rng.standard_normal(6000) * np.exp(-ring / 0.015)
        if number % 4 == 0:
            samples[:, start : start + 6000] += 0.5 * np.sin(2 * np.pi * 60 * ring) * np.exp(-ring / 0.015)
    return Known(
        "clicks", "takes", samples.astype(np.float32), bpm, 4.0, tuple(times), tuple(times[::4]), True
    )


def test_hits_together_are_one_onset():
    assert together([1.02, 1.0, 1.031, 2.0]) == (1.0, 1.031, 2.0)


def test_a_take_of_clicks_is_heard_whole_and_a_false_truth_is_not():
    known = clicks(110.0, 24, 0.7)
    heard = slicing.listen(known)
    assert heard.near and heard.near.f == 1.0
    assert abs(heard.bias_ms) < 2
    assert heard.bpm_in_range == pytest.approx(110.0, rel=0.001)
    assert heard.bars_ms is not None and heard.bars_ms < 5
    assert heard.lengths_exact
    late = replace(known, onsets=tuple(np.array(known.onsets) + 0.015), downbeats=(0.7, 3.2))
    wrong = slicing.listen(late)
    assert wrong.near and wrong.wide and (wrong.near.f, wrong.wide.f) == (0.0, 1.0)
    assert wrong.bias_ms == pytest.approx(heard.bias_ms - 15, abs=0.5)
    assert wrong.bars_ms is not None and wrong.bars_ms > 250


def test_figures_pool_onsets_and_count_tempi():
    heard = slicing.listen(clicks(110.0, 24, 0.7))
    half = replace(heard, bpm_without=55.0)
    figures = slicing.figures(
        [heard, half, replace(heard, kind="loops", bpm_in_range=None), replace(heard, kind="grooves")]
    )
    values = {figure.name: figure.value for figure in figures}
    assert values["tempo right, takes and loops, range given"] == pytest.approx(200 / 3)
    assert values["without a range"] == pytest.approx(200 / 3)
    assert values["or its octave"] == 100
    assert values["slices of exactly their bars, takes"] == 100


def test_the_takes_reach_what_is_wanted(recordings):
    known = truth.read_known(recordings)
    assert {one.kind for one in known} == {"takes", "loops"}
    heard = [slicing.listen(one) for one in known]
    grooves = [replace(one, kind="grooves") for one in heard if one.kind == "takes"]
    missed = [figure.name for figure in slicing.figures(heard + grooves) if figure.reached is False]
    assert [name for name in missed if "core-seconds" not in name] == []


def test_the_command_names_a_folder_without_truth(tmp_path):
    result = CliRunner().invoke(app, ["bench", "prep", "--recordings", str(tmp_path)])
    assert result.exit_code != 0
    assert "takes" in result.output + str(result.exception)


@pytest.mark.slow
def test_the_command_end_to_end(recordings):
    result = CliRunner().invoke(
        app, ["bench", "prep", "--recordings", str(recordings), "--grooves", "1", "--json"]
    )
    part = json.loads(result.stdout)["parts"]["prep"]
    assert result.exit_code == 0
    assert len(part["details"]["recordings"]) == 15 + 10
    assert all(
        figure["reached"] is not False for figure in part["figures"] if "core-seconds" not in figure["name"]
    )
