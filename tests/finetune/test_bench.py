"""The benchmark: its figures against their targets, each part on what is known, and the command end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from finetune.base_model.starter.library import write_library
from finetune.bench import autoencoder, fine_tuning, page, prompts, tempo
from finetune.bench.drummers import ACOUSTIC, TABLA, perform, write_takes
from finetune.bench.figures import Figure, Grid, Listening, Part
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.evaluation.distance import Distances
from finetune.evaluation.matching import Matching

RATE = 44_100
runner = CliRunner()


def clicks(times: list[float], seconds: float) -> np.ndarray:
    """Bursts of noise at known times."""
    rng = np.random.default_rng(0)
    sound = np.zeros((2, round(seconds * RATE)), np.float32)
    for time in times:
        start = round(time * RATE)
        burst = 0.5 * rng.standard_normal((2, 3000)) * np.exp(-np.arange(3000) / 500)
        sound[:, start : start + 3000] += burst[:, : sound.shape[1] - start].astype(np.float32)
    return np.clip(sound, -1, 1)


def test_a_target_is_reached_at_its_limit_and_not_beside_it():
    assert [Figure("f", value, at_least=0.95).reached for value in (0.95, 0.949)] == [True, False]
    assert [Figure("s", value, "s", at_most=3).reached for value in (3.0, 3.01)] == [True, False]
    assert [Figure("d", value, above=0).reached for value in (0.01, 0.0)] == [True, False]
    assert Figure("nothing to reach", 1.0).reached is None
    assert not Figure("lost", float("nan"), at_least=1).reached
    assert (Figure("s", 2.5, "s", at_most=3).target, Figure("d", 1, above=0).target) == ("≤ 3 s", "> 0")


def test_a_copy_has_all_onsets_and_one_with_a_hit_less_has_not():
    times = [0.2, 0.7, 1.1, 1.6]
    original = clicks(times, 2.2)
    same = autoencoder.compare("a", "takes", original, original)
    assert same.woodshed == same.superflux == Matching(4, 4, 4)
    assert (same.sdr_db, same.log_mel_error_db) == (float("inf"), 0)
    less = autoencoder.compare("b", "loops", original, clicks(times[:3], 2.2))
    assert less.woodshed == Matching(3, 4, 3)


def test_autoencoder_figures_pool_onsets_and_average_files():
    def measured(kind: str, matching: Matching, sdr_db: float) -> autoencoder.Reconstruction:
        return autoencoder.Reconstruction("x", kind, 1.0, matching, matching, sdr_db, 2.0)

    figures = autoencoder.figures(
        [
            measured("takes", Matching(9, 10, 9), 6.0),
            measured("takes", Matching(10, 10, 10), 5.0),
            measured("loops", Matching(0, 1, 1), 1.0),
        ]
    )
    values = {figure.name: figure for figure in figures}
    assert values["onset F at 25 ms, all files"].value == pytest.approx(2 * 19 / (21 + 20))
    assert values["takes: SDR, mean per file"].value == 5.5
    assert values["takes: SDR, mean per file"].reached is True
    assert values["loops: SDR, mean per file"].reached is None
    assert values["loops: onset F, mean per file"].value == 0


def test_every_class_is_asked_for_in_all_its_wordings_with_other_seeds():
    asked = prompts.requests(8, steps=1, guidance=1.0)
    for hit, requests in asked.items():
        assert [request.seed for request in requests] == list(range(8))
        assert {request.prompt for request in requests} == set(prompts.WORDINGS[hit])


def test_prompt_figures_count_what_is_heard_as_asked():
    hits = [prompts.Hit("kick", "a kick drum", 0, "kick"), prompts.Hit("kick", "a kick drum", 1, "tom")]
    hits += [prompts.Hit(asked, asked, 0, "silence") for asked in ("snare", "hat", "tom", "cymbal")]
    values = {figure.name: figure.value for figure in prompts.figures(hits, hits[:1])}
    assert values["hits heard as asked, of 6"] == pytest.approx(100 / 6)
    assert values["kick heard as kick"] == 50
    assert values["the synthesiser's own through the autoencoder"] == 100
    assert prompts.confusion(hits)["kick"] == {"kick": 1, "tom": 1}
    assert prompts.by_wording(hits)["a kick drum"] == "1 of 2"
    assert prompts.grid("", prompts.confusion(hits)).rows[0] == ["kick", "1", "0", "0", "1", "0", "0"]


def test_most_of_the_synthesisers_hits_are_heard_as_what_they_are():
    hits = [prompts.Hit(asked, "", 0, prompts.classify(sound)) for asked, sound in prompts.synthesised(6)]
    assert {hit.asked for hit in hits} == set(prompts.WORDINGS)
    assert np.mean([hit.asked == hit.heard for hit in hits]) >= 0.8


def test_silence_is_no_hit():
    assert prompts.classify(np.full((2, RATE), 1e-3)) == "silence"
    assert prompts.classify(clicks([0.1], 1.0)) != "silence"


def test_tempo_is_right_within_four_percent_of_the_asked_its_half_and_double():
    right = [tempo.Loop(100, bpm).right for bpm in (96.1, 103.9, 200, 207, 50, 48.1, None, 95, 105, 150, 66)]
    assert right == [True] * 6 + [False] * 5
    assert [tempo.Loop(100, bpm).exact for bpm in (103.9, 200, None)] == [True, False, False]
    assert (tempo.tempi(60)[0], tempo.tempi(60)[-1], len(tempo.tempi(60))) == (80, 170, 60)


def test_tempo_by_chance_is_that_of_shuffled_tempi():
    assert tempo.by_chance([tempo.Loop(80, 80), tempo.Loop(160, 160), tempo.Loop(110, 110)]) == pytest.approx(
        100 / 3
    )
    assert tempo.by_chance([tempo.Loop(80, None), tempo.Loop(120, None)]) == 0


def test_a_click_track_has_its_tempo_and_noise_has_none():
    beats = [0.01 + n * 60 / 110 for n in range(8)]
    found = tempo.tempo_of(clicks(beats, 8 * 60 / 110))
    assert tempo.Loop(110, found).right
    assert tempo.tempo_of(clicks([0.4], 3.0)) is None


def test_the_synthesisers_loops_keep_the_tempo_asked_for():
    wanted = tempo.tempi(6)
    assert (
        sum(tempo.Loop(bpm, tempo.tempo_of(tempo.synthesised(n, bpm))).right for n, bpm in enumerate(wanted))
        >= 5
    )
    assert tempo.synthesised(0, 80).shape == (2, 6 * RATE)


def one_shots(folder: Path) -> Path:
    """A burst of its own for every voice of both kits."""
    folder.mkdir()
    voices = [*ACOUSTIC.voices.values(), *TABLA.voices.values()]
    for number, voice in enumerate(voices):
        t = np.arange(6000) / RATE
        sound = np.sin(2 * np.pi * (90 + 130 * number) * t) * np.exp(-t / 0.03)
        sf.write(folder / f"{voice.file}.flac", 0.8 * sound, RATE)
    return folder


@pytest.mark.parametrize("drummer", [ACOUSTIC, TABLA], ids=lambda drummer: drummer.name)
def test_drummers_have_bars_of_sixteenths_for_voices_they_own(drummer):
    for rows in (*drummer.grooves, *drummer.fills):
        assert set(rows) <= set(drummer.voices)
        assert all(len(row) == 16 and set(row) <= set(".123456789") for row in rows.values())
    hits = perform(drummer, np.random.default_rng(0))
    assert all(0 <= beat < 32 and 0 < hard <= 1 for _, beat, hard in hits)


def test_takes_differ_and_are_the_same_again(tmp_path):
    folder = one_shots(tmp_path / "one_shots")
    first = [path.read_bytes() for path in write_takes(ACOUSTIC, folder, tmp_path / "a")]
    again = [path.read_bytes() for path in write_takes(ACOUSTIC, folder, tmp_path / "b")]
    assert first == again
    assert len(set(first)) == len(ACOUSTIC.tempi)
    info = sf.info(tmp_path / "a" / "acoustic take 1, 78 bpm.wav")
    assert (info.samplerate, info.channels) == (RATE, 2)
    assert 8 * 4 * 60 / 78 < info.duration < 8 * 4 * 60 / 78 + 2


def test_a_missing_one_shot_is_named(tmp_path):
    with pytest.raises(WoodshedError, match=r"drum_heavy_kick\.flac' is missing: --recordings"):
        write_takes(ACOUSTIC, tmp_path, tmp_path / "takes")
    assert not (tmp_path / "takes").exists()


def test_fine_tuning_figures_say_when_it_was_worth_it():
    def adaptation(after: float, low: float) -> fine_tuning.Adaptation:
        player = fine_tuning.Player("tabla", "", "t", lambda folder: None)
        far = Distances(base=1.0, adapted=0.6, floor=0.1, gain=0.4, gain_low=low, gain_high=0.6)
        return fine_tuning.Adaptation(player, 0.5, after, 9.0, 100, 8, 16, far, [])

    worth = [figure.reached for figure in fine_tuning.figures(adaptation(0.44, 0.2)) if figure.target]
    assert worth == [True, True, True]
    not_worth = [figure.reached for figure in fine_tuning.figures(adaptation(0.46, -0.01)) if figure.target]
    assert not_worth == [False, True, False]


def test_page_is_one_file_and_escapes_what_it_shows():
    sound = clicks([0.1], 0.5)
    part = Part(
        "prompts",
        "Hits",
        [Figure("right <b>", 90.0, "%", at_least=85)],
        ["A note."],
        [Grid("Confusion", ["", "kick"], [["kick", "1"]])],
        listening=[Listening("Asked & heard", {"“kick” <i>": sound})],
    )
    text = page.render([part, Part("speed", "Speed", left_out="no time.")], "here", RATE)
    assert text.count("data:audio/flac;base64,") == text.count("data:image/png;base64,") == 1
    assert "http" not in text
    assert "right &lt;b&gt;" in text
    assert "&lt;i&gt;" in text
    assert "1 of 1 targets reached" in text
    assert "Left out: no time." in text


def test_parts_that_need_recordings_are_left_out_with_the_reason(tmp_path):
    out = tmp_path / "out"
    options = ["--only", "autoencoder", "--out", str(out), "--json"]
    done = runner.invoke(app, ["bench", "starter", *options], env={"WOODSHED_RECORDINGS": ""})
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert "--recordings" in printed["parts"]["autoencoder"]["left_out"]
    assert json.loads((out / "bench.json").read_text())["parts"] == printed["parts"]
    assert "Left out: it needs real recordings" in (out / "index.html").read_text()


def test_unknown_parts_and_wrong_folders_are_refused(tmp_path):
    wrong = runner.invoke(app, ["bench", "starter", "--only", "speed,tuning"])
    assert wrong.exit_code == 2
    assert "'tuning' is no part" in " ".join(wrong.stderr.split())
    empty = runner.invoke(app, ["bench", "starter", "--recordings", str(tmp_path)])
    assert isinstance(empty.exception, WoodshedError)
    assert "has no folder takes/" in str(empty.exception)


def test_command_end_to_end_on_little(tmp_path):
    recordings = tmp_path / "recordings"
    one_shots_folder = recordings / "one_shots"
    recordings.mkdir()
    one_shots(one_shots_folder)
    for kind in ("takes", "loops"):
        (recordings / kind).mkdir()
        sf.write(recordings / kind / f"{kind}.flac", clicks([0.1, 0.6, 1.2], 1.6).T, RATE)
    out = tmp_path / "out"
    options = [
        "--recordings",
        str(recordings),
        "--only",
        "autoencoder,prompts,tempo",
        "--hits",
        "1",
        "--loops",
        "2",
    ]
    options += ["--steps", "1", "--out", str(out)]
    done = runner.invoke(app, ["bench", "starter", *options])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    for words in ("onset F at 25 ms", "hits heard as asked", "loops at the tempo asked for", "not reached"):
        assert words in done.stderr
    parts = json.loads((out / "bench.json").read_text())["parts"]
    assert list(parts) == ["autoencoder", "prompts", "tempo"]
    assert len(parts["autoencoder"]["details"]["files"]) == 2
    assert (out / "index.html").read_text().count("<audio") == 4 + 5 + 2
    assert (out / "pictures" / "tempo-0.png").stat().st_size > 10_000


def test_fine_tuning_end_to_end_on_little(tmp_path, monkeypatch):
    """One player, the fewest steps: takes, dataset, training, sounds, distances."""
    stranger = replace(fine_tuning.players(None)[0], write=lambda folder: write_library(folder, takes=2))
    monkeypatch.setattr(fine_tuning, "players", lambda recordings: [stranger])
    part = fine_tuning.benchmark(None, tmp_path, minutes=0.01, seeds=1, steps=1, guidance=1.0)
    values = {figure.name: figure.value for figure in part.figures}
    assert values["stranger: distance of the base"] > values["stranger: distance of training takes"]
    assert part.details["stranger"]["held_out_clips"] >= 4
    assert part.details["stranger"]["steps"] >= 12
    assert set(part.listening[0].sounds) == {"held-out take", "base", "adapted"}
    assert any("--recordings" in note for note in part.notes)


def test_speed_is_timed_in_a_fresh_process():
    from finetune.bench.speed import figures, in_fresh_process

    seconds = in_fresh_process("load")
    assert 0 < seconds["load_seconds"] < seconds["first_load_seconds"]
    shown = figures({**seconds, "process_seconds": 9.0, "sound_seconds": 9.0, "training_step_seconds": 1.1})
    assert [figure.reached for figure in shown if figure.target][1:] == [True, False]
    with pytest.raises(WoodshedError, match="Timing 'nothing' in a fresh process failed: KeyError"):
        in_fresh_process("nothing")
