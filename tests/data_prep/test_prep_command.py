"""`woodshed prep` as it is typed, and what lies in the folder afterwards."""

from __future__ import annotations

import json

import drummer
import pytest
import soundfile

from data_prep.settings import Settings, parse_bpm


def test_without_a_basis_it_refuses_in_one_sentence_that_says_why(library, tmp_path, run_prep):
    for options in (
        [],
        ["--basis", "cc0"],
        ["--recorded-by", "Ada"],
        ["--basis", "cc0", "--recorded-by", " "],
    ):
        result = run_prep(library, tmp_path / "ds", *options, rights=False)
        assert result.code == 2
        assert result.err.strip().startswith("Rights come first: ")
        assert result.err.count(". ") == 0
    assert not (tmp_path / "ds").exists()


def test_a_licensed_basis_needs_the_licence(library, tmp_path, run_prep):
    options = ["--basis", "licensed", "--recorded-by", "Ada"]
    refused = run_prep(library, tmp_path / "ds", *options, rights=False)
    assert refused.code == 2
    assert "--licence" in refused.err
    assert run_prep(library, tmp_path / "ds", *options, "--licence", "mail of 3 May", rights=False).code == 0
    (row,) = map(json.loads, (tmp_path / "ds" / "rights.jsonl").read_text().splitlines())
    assert (row["basis"], row["recorded_by"], row["licence"]) == ("licensed", "Ada", "mail of 3 May")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bpm", "fast"], "neither a tempo"),
        (["--bpm", "185-150"], "no range from slow to fast"),
        (["--bpm", "5"], "not between 20 and 400"),
        (["--metre", "7-8"], "no metre"),
        (["--slice", "fixed"], "--seconds"),
        (["--slice", "fixed", "--seconds", "1000"], "not between"),
        (["--bars", "0"], "no length"),
        (["--validation", "0.9"], "not between 0 and 0.5"),
        (["--trigger", " "], "empty"),
        (["--slice", "beats"], "beats"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(options, words, library, tmp_path, run_prep):
    result = run_prep(library, tmp_path / "ds", *options)
    assert result.code == 2
    assert words in result.err


def test_tempo_options():
    assert parse_bpm("92") == (92.0, None)
    assert parse_bpm("150-185") == (None, (150.0, 185.0))
    assert parse_bpm("87.5–90") == (None, (87.5, 90.0))


def test_json_is_one_object_on_stdout_and_words_are_on_stderr(library, tmp_path, run_prep):
    result = run_prep(library, tmp_path / "ds", "--bars", "1", "--json")
    report = result.json
    assert report["ok"] is True
    assert report["slices"] == report["train_slices"] + report["validation_slices"] == 16
    tempo = {each["recording"]: each["tempo"] for each in report["recordings"]}
    assert tempo["fast_165.wav"]["source"] == "name"
    assert tempo["fast_165.wav"]["bpm"] == pytest.approx(165, rel=0.002)
    assert len(tempo["fast_165.wav"]["candidates"]) == 2
    metre = {each["recording"]: each["metre"] for each in report["recordings"]}
    assert metre["odd/seven_eight_130.flac"] == {"value": "7/8", "source": "name"}
    assert metre["fast_165.wav"] == {"value": "4/4", "source": "default"}
    assert report["verdict"]["word"] == "too little" and "20" in report["verdict"]["reasons"][0]
    assert "16 slices" in result.err


def test_the_users_tempo_and_metre_are_taken_exactly(tmp_path, run_prep):
    take = drummer.play(130, bars=6, pattern=drummer.SEVEN_EIGHT, quarter_notes=3.5, seed=2)
    drummer.write(tmp_path / "recordings" / "tuesday.wav", take.samples)
    run_prep(tmp_path / "recordings", tmp_path / "ds", "--bars", "2", "--bpm", "130", "--metre", "7/8")
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert {row["end_sample"] - row["start_sample"] for row in rows} == {round(2 * 3.5 * 60 / 130 * 44_100)}
    assert rows[0]["fields"]["metre"] == {"value": "7/8", "source": "user", "confidence": 1.0}
    assert "BPM: 130. Metre: 7/8" in rows[0]["text"]


def test_the_folder_can_be_read_by_others(library, tmp_path, run_prep):
    dataset = tmp_path / "ds"
    run_prep(library, dataset, "--bars", "1", "--trigger", "adakit")
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert len({row["recording"] for row in rows if row["split"] == "validation"}) == 1
    for split in ("train", "validation"):
        wavs = {path.name for path in (dataset / split).glob("*.wav")}
        texts = {path.with_suffix(".wav").name for path in (dataset / split).glob("*.txt")}
        metadata = [
            json.loads(line) for line in (dataset / split / "metadata.jsonl").read_text().splitlines()
        ]
        assert wavs == texts == {row["file_name"] for row in metadata}
        assert len({tuple(row) for row in metadata}) == 1
        assert all(not isinstance(value, dict | list) for row in metadata for value in row.values())
        assert not list((dataset / split).glob("*.json"))
    for row in rows:
        path = dataset / row["split"] / f"{row['id']}.wav"
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_24")
        assert info.frames == row["end_sample"] - row["start_sample"]
        assert path.with_suffix(".txt").read_text() == row["text"] == row["captions"][0]
        assert "adakit" in row["text"]
        assert row["id"].isascii()
        for fact in row["fields"].values():
            assert set(fact) == {"value", "source", "confidence"}
            assert 0 <= fact["confidence"] <= 1


def test_no_file_of_the_dataset_names_a_path_of_this_machine(library, tmp_path, run_prep):
    run_prep(library, tmp_path / "ds", "--bars", "1")
    for path in (tmp_path / "ds").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(library).encode() not in content
            assert str(tmp_path).encode() not in content


def test_card_and_croissant(library, tmp_path, run_prep):
    import yaml

    run_prep(library, tmp_path / "ds", "--bars", "1")
    _, front, body = (tmp_path / "ds" / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["pretty_name"] == "Percussion of Ada"
    assert matter["task_categories"] == ["text-to-audio"]
    assert "Basis: own_recording" in body


def test_mlcroissant_validates_the_description_and_reads_the_manifest_by_it(library, tmp_path, run_prep):
    import mlcroissant

    run_prep(library, tmp_path / "ds", "--bars", "1")
    described = mlcroissant.Dataset(jsonld=tmp_path / "ds" / "croissant.json")
    assert not described.metadata.ctx.issues.errors and not described.metadata.ctx.issues.warnings
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    read = list(described.records("slices"))
    assert len(read) == len(rows)
    for record, row in zip(read, rows, strict=True):
        assert record["slices/id"].decode() == row["id"] and record["slices/text"].decode() == row["text"]
        assert record["slices/start_sample"] == row["start_sample"]
        assert record["slices/seconds"] == pytest.approx(row["seconds"])


@pytest.mark.parametrize(
    ("slicing", "kind"), [("onsets", "one-shot"), ("whole", "phrase"), ("phrases", "phrase")]
)
def test_every_way_of_slicing_says_what_it_made(slicing, kind, library, tmp_path, run_prep):
    assert run_prep(library, tmp_path / "ds", "--slice", slicing).code == 0
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    assert rows
    assert {row["fields"]["kind"]["value"] for row in rows} == {kind}


def test_fixed_windows(library, tmp_path, run_prep):
    assert run_prep(library, tmp_path / "ds", "--slice", "fixed", "--seconds", "3").code == 0
    rows = [json.loads(line) for line in (tmp_path / "ds" / "manifest.jsonl").read_text().splitlines()]
    assert {row["seconds"] for row in rows} == {3.0}


def test_the_analysis_key_changes_with_the_slicing_and_not_with_the_words():
    assert Settings(trigger="a").analysis_key() == Settings(validation=0.2).analysis_key()
    assert Settings(bars=2).analysis_key() != Settings(bars=4).analysis_key()
    assert Settings(bpm=92).analysis_key() != Settings().analysis_key()
