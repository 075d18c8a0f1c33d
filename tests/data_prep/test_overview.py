"""The dataset at one look: counts in closed form, the verdict's reasons, a page that trusts no name."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from data_prep.files import PrepError, write_json_lines
from data_prep.overview.command import report
from data_prep.overview.figures import look_at
from data_prep.overview.page import PAGE, render
from data_prep.overview.verdict import judge

NASTY = '<script>alert("ü")</script>.wav'


def row(number: int, **changes: Any) -> dict[str, Any]:
    facts = {"tempo": ("name", 90.0 + number), "pieces": ("measurement", ["kick", "snare"][: 1 + number % 2])}
    return {
        "id": f"take-{number:03}",
        "split": "validation" if number % 5 == 0 else "train",
        "recording": f"take{number % 4}.wav",
        "seconds": 30.0,
        "text": f"caption {number}",
        "captions": [f"caption {number}", f"wording {number}"],
        "fields": {
            name: {"value": value, "source": source, "confidence": 1.0}
            for name, (source, value) in facts.items()
        },
        "quality": [],
        "reviewed": False,
        "rights": "own",
        **changes,
    }


def fault(number: int) -> dict[str, Any]:
    return row(number, quality=["clipped"] if number % 2 else [])


def rows(count: int = 40, **changes: Any) -> list[dict[str, Any]]:
    return [row(number, **changes) for number in range(count)]


def folder(place: Path, manifest: list[dict[str, Any]], recordings: list[dict[str, Any]]) -> Path:
    write_json_lines(place / "manifest.jsonl", manifest)
    write_json_lines(place / "recordings.jsonl", recordings)
    statement = {"rights": "own", "basis": "own_recording", "recorded_by": "Ada", "licence": None}
    write_json_lines(place / "rights.jsonl", [statement])
    return place


def test_figures_are_counts_of_the_manifest(tmp_path: Path) -> None:
    manifest = [
        *rows(20),
        row(21, split="left_out", verdict="rejected", reviewed=True),
        row(22, fields={}, seconds=0.2, quality=["clipped"], verdict="accepted", reviewed=True),
    ]
    manifest[3]["fields"]["metre"] = {"value": "4/4", "source": "default", "confidence": 0.5}
    recordings = [
        {"recording": "take2.wav", "gates": {"clipped": "clipped in 3 places"}, "left_out": None},
        {"recording": "broken.wav", "left_out": {"gate": "unreadable", "reason": "it is empty"}},
    ]
    seen = look_at(folder(tmp_path, manifest, recordings))
    assert [(part.split, part.slices) for part in seen.parts] == [
        ("train", 17),
        ("validation", 4),
        ("left_out", 1),
    ]
    assert seen.hours == pytest.approx((20 * 30 + 0.2) / 3600, abs=1e-4)
    assert {bin.label: bin.slices for bin in seen.lengths if bin.slices} == {
        "under 0.25 s": 1,
        "20 to 40 s": 20,
    }
    assert [(bin.label, bin.slices) for bin in seen.tempi] == [
        ("90 to 100 BPM", 10),
        ("100 to 110 BPM", 10),
        ("not known", 1),
    ]
    assert {bin.label: bin.slices for bin in seen.kit} == {"kick": 20, "snare": 10}
    assert seen.captions.different == 21 and seen.captions.wordings == 42
    cover = {each.field: each for each in seen.coverage}
    assert cover["tempo"].slices == 20 and cover["tempo"].sources == {"name": 20}
    assert "metre" not in cover, "what is only assumed is not known"
    assert [(p.gate, p.slices, list(p.recordings)) for p in seen.problems] == [("clipped", 1, ["take2.wav"])]
    assert seen.left_out == {"broken.wav": "it is empty"}
    assert seen.reviewed == {"not yet": 20, "rejected": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("manifest", "word", "said"),
    [
        (rows(), "enough", ""),
        (rows(20), "too little", "by heart"),
        (rows(seconds=1.0), "thin", "minutes"),
        (rows(recording="one.wav"), "thin", "1 recording:"),
        (rows(split="train"), "thin", "held out"),
        (rows(split="validation"), "too little", "nothing to train on"),
        (rows(text="the same"), "thin", "same caption"),
        (
            [row(n, recording="big.wav" if n % 7 else f"small{n % 3}.wav") for n in range(60)],
            "thin",
            "big.wav",
        ),
        ([fault(number) for number in range(40)], "thin", "faults"),
        (rows(quality=["resampled"]), "enough", ""),
    ],
)
def test_the_verdict_has_its_reasons(manifest: list[dict[str, Any]], word: str, said: str) -> None:
    verdict = judge(manifest)
    assert verdict.word == word
    assert said in " ".join(verdict.reasons) and bool(verdict.reasons) == (word != "enough")


def test_names_are_text_on_the_page_and_nothing_is_fetched(tmp_path: Path) -> None:
    recordings = [{"recording": NASTY, "left_out": {"gate": "unreadable", "reason": NASTY}}]
    page = render(look_at(folder(tmp_path, rows(25, text=NASTY, recording=NASTY), recordings)))
    tags: list[str] = []
    links: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            links.extend(name for name, _ in attributes if name in ("src", "href"))

    Reader().feed(page)
    assert "script" not in tags and not links and "url(" not in page
    assert "&lt;script&gt;" in page


def test_prep_writes_the_page_and_the_command_says_the_same(
    library: Path, tmp_path: Path, run_prep: Callable[..., Any]
) -> None:
    prepared = run_prep(library, tmp_path / "set", "--json").json
    page = (tmp_path / "set" / PAGE).read_bytes()
    app = typer.Typer()
    app.command("report")(report)
    result = CliRunner().invoke(app, [str(tmp_path / "set"), "--json"])
    told = json.loads(result.stdout)
    assert told["verdict"] == prepared["verdict"] and told["ok"]
    assert sum(part["slices"] for part in told["parts"]) == prepared["slices"]
    assert (tmp_path / "set" / PAGE).read_bytes() == page


def test_no_dataset_and_damaged_rows_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match="no dataset"):
        look_at(tmp_path)
    broken = rows(3)
    del broken[1]["seconds"]
    with pytest.raises(PrepError, match="seconds"):
        look_at(folder(tmp_path, broken, []))
