"""The listening page as a file: it holds every sound and figure, and what is missing or hostile does it no harm."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from typer.testing import CliRunner

from finetune.audio_files import read_audio
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.evaluation.results import Copied, Evaluation, Figure
from finetune.provenance import Described
from finetune.report import page as report_page
from finetune.report import write_report
from finetune.report.charts import nice_range
from finetune.report.figures import interval, thinned
from finetune.report.rows import arrange
from finetune.report.sounds import PEAK_DB, gains, loudness, picture
from tests.finetune.evaluations import evaluation_of, silent_about_held_out
from tests.finetune.listening import write_run

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='hacked=1'> \" ' & \u2028 &lt;b&gt; ü\ud800"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mykit"
    write_run(folder)
    write_report(folder)
    return folder


def data_of(run: Path) -> dict[str, Any]:
    text = (run / "report.html").read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]


def words_of(run: Path) -> str:
    """The page's own text, without its data, script and style."""
    text = re.sub(r"<(script|style).*?</\1>", "", (run / "report.html").read_text("utf-8"), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_every_sound_is_in_the_page_as_it_was_evaluated(run: Path) -> None:
    data, evaluation = data_of(run), evaluation_of()
    rows = {sound.id for sound in evaluation.sounds}
    assert set(data["sounds"]) == rows
    for sound in evaluation.sounds:
        held = base64.b64decode(data["sounds"][sound.id]["audio"])
        assert held == (run / "evaluation" / sound.file).read_bytes()


def test_every_figure_is_in_the_page_with_its_words(run: Path) -> None:
    words, evaluation = words_of(run), evaluation_of()
    for part in (evaluation.effect, evaluation.learned, evaluation.kept, evaluation.copied):
        assert part.words in words and part.verdict.capitalize() in words
    assert "Use it." in words and evaluation.recommendation.words in words
    assert evaluation.recommendation.reasons[0] in words
    for number in ("35 %", "0.9800", "-32.7 % (-34.7 to -30.7 %)", "0.31", "0.06", "0.058 (0.03 to 0.09)"):
        assert number in words, number
    assert "loss while training" in words and "optimizer.learning_rate:" in words
    assert str(run.parent) not in words, "a folder of this machine"
    assert f"woodshed verify {run.parent.name}/{run.name}/best" in words
    assert (run / "report.html").read_text("utf-8").count('class="chart" role="img"') == 10


def test_pictures_have_a_text_and_are_pictures(run: Path) -> None:
    text = (run / "report.html").read_text("utf-8")
    images = re.findall(r'<img src="data:image/png;base64,([^"]+)"[^>]*alt="([^"]+)"', text)
    assert len(images) == sum(len(row.takes) for row in arrange(evaluation_of()).all())
    assert all(each.startswith("Spectrogram: ") for _, each in images)
    assert Image.open(io.BytesIO(base64.b64decode(images[0][0]))).size == (480, 96)


def test_a_picture_shows_when_and_how_high() -> None:
    """A low tone in the second half: bright below at the right, black elsewhere; louder is brighter."""
    tone = 0.1 * np.sin(2 * np.pi * 60 * np.arange(44_100) / 44_100) * (np.arange(44_100) > 22_050)
    soft, loud = (
        np.asarray(Image.open(io.BytesIO(picture(np.stack([tone, tone]), gain))).convert("L"), float)
        for gain in (0.0, 12.0)
    )
    assert soft[90:, 300:].max() > 100 and soft[:60].max() < 5 and soft[:, :200].max() < 5
    assert loud[90:, 300:].max() > soft[90:, 300:].max()


def test_a_hostile_text_stays_text(tmp_path: Path) -> None:
    whole = evaluation_of()
    sounds = [
        replace(sound, prompt=HOSTILE.removesuffix("\ud800"), recording=HOSTILE[:40])
        for sound in whole.sounds
    ]
    bad = replace(
        whole, run=HOSTILE[:60], sounds=sounds, settings={HOSTILE[:50]: HOSTILE[:50]},
        recommendation=replace(whole.recommendation, words=HOSTILE[:70], reasons=[HOSTILE[:70]]),
    )  # fmt: skip
    write_run(tmp_path / "mykit", bad)
    text = write_report(tmp_path / "mykit").read_text("utf-8")
    assert "<img src=x" not in text and "<script>window" not in text
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script", text)) == 2
    assert data_of(tmp_path / "mykit")["blind"][0]["prompt"] == HOSTILE.removesuffix("\ud800")


def test_nothing_may_be_fetched_and_only_its_own_script_runs(run: Path) -> None:
    text = (run / "report.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]  # type: ignore[index]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert " style=" not in text and " onclick=" not in text


def test_without_held_out_takes_the_page_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "mykit", silent_about_held_out())
    write_report(tmp_path / "mykit")
    words = words_of(tmp_path / "mykit")
    assert "no take was held out to measure it by" in words and "Unknown" in words
    assert "Loss on your held-out takes" not in words


def bare() -> Evaluation:
    whole = evaluation_of()
    nothing = Copied("new", "Nothing was compared.", 0.93, 0.8, None, None, [])
    return replace(
        whole, sounds=[], copied=nothing, checkpoints=[], settings={},
        effect=replace(whole.effect, bands=[], blocks=[], strengths=[]),
        learned=replace(whole.learned, held_out=None, training=None, distances=[], asked=[], strengths=[]),
        kept=replace(whole.kept, strengths=[]), recommendation=replace(whole.recommendation, reasons=[]),
    )  # fmt: skip


def test_with_no_sound_and_no_figure_it_is_still_a_page(tmp_path: Path) -> None:
    run = tmp_path / "Übung 鼓" / "mykit"
    run.parent.mkdir()
    write_run(run, bare())
    (run / "log.jsonl").unlink()
    (run / "recipe.yaml").unlink()
    write_report(run)
    words = words_of(run)
    for said in (
        "holds no sound of earlier checkpoints", "There is no pair to hear", "the evaluation holds none",
        "No figure was measured", "log.jsonl holds no loss", "recipe.yaml is not there", "nothing to measure this by",
    ):  # fmt: skip
        assert said in words, said
    assert data_of(run) == {"mime": "audio/flac", "sounds": {}, "rows": {}, "blind": []}


def test_a_second_page_replaces_the_first_and_leaves_nothing_beside_it(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "mykit")
    first = (tmp_path / "mykit" / "report.html").read_bytes()
    recommendation = replace(evaluation_of().recommendation, action="do not use")
    write_run(tmp_path / "mykit", replace(bare(), recommendation=recommendation))
    second = write_report(tmp_path / "mykit").read_bytes()
    assert b"Use it." in first and b"Do not use it." in second
    assert {path.name for path in (tmp_path / "mykit").iterdir()} == {
        "evaluation", "log.jsonl", "recipe.yaml", "report.html",
    }  # fmt: skip


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "outside"])
def test_a_sound_that_cannot_be_read_is_a_sentence_and_the_page_stays(
    damage: str, run: Path, tmp_path: Path
) -> None:
    page = shutil.copytree(run, tmp_path / "mykit") / "report.html"
    before = page.read_bytes()
    file = tmp_path / "mykit" / "evaluation" / "audio" / "set-1-base.flac"
    if damage == "missing":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    else:
        listed = tmp_path / "mykit" / "evaluation" / "evaluation.json"
        listed.write_text(
            listed.read_text("utf-8").replace("audio/set-1-base.flac", "../recipe.yaml"), "utf-8"
        )
    with pytest.raises(WoodshedError, match=r"(?i)evaluate"):
        write_report(tmp_path / "mykit")
    assert page.read_bytes() == before


def test_a_run_without_an_evaluation_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match="woodshed evaluate"):
        write_report(tmp_path)


def test_what_is_too_large_as_flac_is_opus(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_flac = (shutil.copytree(run, tmp_path / "mykit") / "report.html").stat().st_size
    monkeypatch.setattr("finetune.report.sounds.MOST_MEGABYTES", 0.1)
    as_opus = write_report(tmp_path / "mykit").stat().st_size
    assert as_opus < as_flac
    data = data_of(tmp_path / "mykit")
    assert data["mime"] == "audio/ogg" and "they are Opus here" in words_of(tmp_path / "mykit")
    heard, rate = sf.read(io.BytesIO(base64.b64decode(data["sounds"]["set-1-adapted"]["audio"])))
    original = read_audio(tmp_path / "mykit" / "evaluation" / "audio" / "set-1-adapted.flac", 44_100, 9)
    assert rate == 48_000 and len(heard) / rate == pytest.approx(original.shape[1] / 44_100, abs=0.01)
    assert loudness(original) == pytest.approx(loudness(heard.T), abs=1.0)


def test_gains_make_equally_loud_and_clip_nothing() -> None:
    levels = {"loud": (-10.0, 0.9), "soft": (-30.0, 0.1), "click": (-45.0, 0.9), "silent": (None, 0.0)}
    found = gains(levels)
    assert found["silent"] == 0
    assert levels["loud"][0] + found["loud"] == pytest.approx(levels["soft"][0] + found["soft"], abs=0.01)  # type: ignore[operator]
    for name, (_, peak) in levels.items():
        if peak:
            assert 20 * np.log10(peak) + found[name] <= PEAK_DB + 0.01


def test_loudness_is_that_of_the_standard() -> None:
    """A full-scale stereo sine of 997 Hz has -0.7 + 3 LUFS less 0.3 at each channel of BS.1770: 0.0 LUFS."""
    sine = np.sin(2 * np.pi * 997 * np.arange(44_100) / 44_100)
    assert loudness(np.stack([sine, sine])) == pytest.approx(0.0, abs=0.1)
    assert loudness(np.zeros((2, 100))) is None
    assert loudness(np.stack([sine, sine])[:, :4410]) == pytest.approx(0.0, abs=0.3)


def test_rows_pair_what_was_made_alike() -> None:
    rows = arrange(evaluation_of())
    assert [[take.name for take in row.takes] for row in rows.pairs] == [["Base", "Adapted", "Your take"]] * 2
    assert [take.name for take in rows.kept[0].takes] == ["Base", "Adapted at 0.5", "Adapted at 1"]
    assert [take.name for take in rows.steps[0].takes] == ["Base", "Step 200", "Step 300", "Your take"]
    assert [row.copy.verdict for row in rows.copies if row.copy] == ["verbatim", "new"]
    assert rows.copies[0].takes[1].begins == 0.1 and rows.copies[0].seconds == 0.3
    assert ("set-1-base", "set-1-adapted", "held-out-1") in rows.blind
    assert rows.pairs[0].about == "seed 1, strength 1"


def test_ranges_intervals_and_means() -> None:
    assert nice_range(0.0, 0.35, True) == (0.0, 0.4, pytest.approx([0, 0.1, 0.2, 0.3, 0.4]))
    assert nice_range(-0.34, -0.31, True)[:2] == pytest.approx((-0.4, 0.0))
    low, high, _ = nice_range(2.0, 2.0, False)
    assert low < high
    assert interval(Figure(-0.327, -0.35, -0.31)) == "-32.7 % (-35 to -31 %)"
    assert interval(Figure(0.25)) == "25 %"
    few = thinned([(float(step), 1.0 + step % 2) for step in range(960)])
    assert len(few) <= 120 and all(abs(y - 1.5) < 0.06 for _, y in few)


@pytest.mark.parametrize("state", ["none", "signed", "unsigned", "invalid"])
def test_rights_lineage_and_signature_are_shown(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights = {
        "bases": {"own_recording": {"clips": 40, "recordings": 4, "minutes": 9.5}}, "licences": ["CC-BY <4.0>"],
        "restrictions": ["no adverts"], "clips_without_rights": 2,
    }  # fmt: skip
    made_from = {"root": "ab" * 32, "clips": 42, "recordings": 5, "minutes": 9.9, "held_out_clips": 6}
    seen = Described(
        path=tmp_path, claims={}, rights=rights, training_set=made_from, statement=None, signature=state,  # type: ignore[arg-type]
        key_id="k3y" if state == "signed" else None, yours=True, words="It is said <here>.",
    )  # fmt: skip
    monkeypatch.setattr(report_page, "describe", lambda path: seen)
    write_run(tmp_path / "mykit", bare())
    write_report(tmp_path / "mykit")
    words = words_of(tmp_path / "mykit")
    for said in ("own recording", "40", "CC-BY <4.0>", "no adverts", "42 training clips of 5 recordings", "ab" * 32,
                 "It is said <here>.", "Of 2 clips no right is stated"):  # fmt: skip
        assert said in words, said
    assert ("k3y" in words) == (state == "signed")


def test_the_command_writes_the_page_of_a_run_again(tmp_path: Path) -> None:
    write_run(tmp_path / "mykit", bare())
    result = CliRunner().invoke(app, ["report", str(tmp_path / "mykit"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"ok": True, "page": str(tmp_path / "mykit" / "report.html")}
    assert (tmp_path / "mykit" / "report.html").is_file()


def test_what_an_older_header_does_not_say_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Described(
        tmp_path, {}, {"bases": {"cc0": {}}}, {"clips": 3}, None, "none", None, False, "It is said."
    )
    monkeypatch.setattr(report_page, "describe", lambda path: seen)
    write_run(tmp_path / "mykit", bare())
    write_report(tmp_path / "mykit")
    assert "3 training clips of ? recordings" in words_of(tmp_path / "mykit")
