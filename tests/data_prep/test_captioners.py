"""Captioners of others: what they say is marked as theirs, and what they break is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.captioning import captioners
from data_prep.captioning.captioners import Found, ask
from data_prep.files import PrepError, read_json_lines
from data_prep.settings import Settings

CALLS: list[Path] = []


def brushes(path: Path, samples: np.ndarray, sample_rate: int, fields: dict[str, Any]) -> tuple[str, float]:
    CALLS.append(path)
    assert samples.shape[0] == 2 and samples.dtype == np.float32 and sample_rate == 44_100
    assert fields["seconds"] == pytest.approx(samples.shape[1] / sample_rate, abs=1e-3)
    if "seven" in path.stem:
        raise RuntimeError("no sevens")
    return ("soft brushes\non a snare.", 0.8) if "backbeat" in path.stem else ("unsure", 0.2)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("brushes", f"{__name__}:brushes", captioners.GROUP)
    broken = EntryPoint("broken", f"{__name__}:not_there", captioners.GROUP)
    monkeypatch.setattr(captioners, "entry_points", lambda group: [entry, broken])


def test_its_words_are_the_sentence_and_stay_unreviewed(
    installed: None, library: Path, run_prep: Callable[..., Any], tmp_path: Path
) -> None:
    options = ("--bars", "2", "--captioner", "brushes", "--trigger", "mykit")
    result = run_prep(library, tmp_path / "dataset", *options, "--json")
    rows = read_json_lines(tmp_path / "dataset" / "manifest.jsonl")
    said = [row for row in rows if "caption" in row["fields"]]
    assert said and all("backbeat" in row["recording"] for row in said)
    for row in said:
        fact = {"value": "soft brushes on a snare", "source": "captioner brushes", "confidence": 0.8}
        assert row["fields"]["caption"] == fact
        assert ". mykit soft brushes on a snare. BPM: 100" in row["text"] and not row["reviewed"]
    warnings = [each for each in result.json["warnings"] if "RuntimeError: no sevens" in each]
    sevens = [row for row in rows if "seven" in row["recording"]]
    assert len(warnings) == len(sevens) > 0
    assert all("loop" in row["text"] for row in rows if row not in said)
    CALLS.clear()
    run_prep(library, tmp_path / "dataset", *options)
    assert not any("backbeat" in path.stem for path in CALLS), "what it said is not asked for again"


def test_a_captioner_that_is_not_there_is_named(installed: None, tmp_path: Path) -> None:
    with pytest.raises(PrepError, match="no captioner 'sticks': installed are broken, brushes"):
        captioners.find_captioner("sticks")
    with pytest.raises(PrepError, match="broken cannot be loaded"):
        captioners.find_captioner("broken")


@pytest.mark.parametrize(
    "answer", [None, "text", ("", 1.0), ("x" * 2000, 1.0), ("x", 1.5), ("x", True), (1, 1.0)]
)
def test_answers_that_are_none_are_refused(answer: Any, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros((4410, 2)), 44_100)
    fact, failure = ask(Found("odd", "1", lambda *_: answer), tmp_path / "a.wav", {})
    assert fact is None and failure and "odd failed on a, which keeps its measured caption" in failure


def test_a_captioner_changes_no_slice() -> None:
    assert Settings(captioner="brushes").analysis_key() == Settings().analysis_key()
