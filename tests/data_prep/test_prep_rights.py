"""rights.yaml beside recordings: what holds for which file, what is refused, what is asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import drummer
import pytest
import yaml

import data_prep
from data_prep.ownership.rights import Basis, Rights, RightsError
from data_prep.ownership.rights_files import read_rights
from data_prep.ownership.rights_questions import questions_about

ADA = Rights(Basis.own_recording, "Ada")
NAMES = ["a.wav", "loops/b.wav", "loops/old/c.flac"]


def write(folder: Path, **content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rights.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def rights_of(root: Path, default: Rights | None = None, names: list[str] | None = None) -> dict[str, Rights]:
    return {name: each.rights for name, each in read_rights(root, names or NAMES, default).items()}


def test_without_files_the_command_speaks_for_all(tmp_path):
    assert rights_of(tmp_path, ADA) == dict.fromkeys(NAMES, ADA)


def test_a_deeper_folder_goes_before_and_a_pattern_before_its_folder(tmp_path):
    write(tmp_path, basis="own_recording", recorded_by="Ada", files={"c.*": {"source": "tape 3"}})
    write(tmp_path / "loops", played_by=["Bo", "Cy"], files={"b.wav": {"restrictions": "no adverts"}})
    write(tmp_path / "loops" / "old", basis="licensed", recorded_by="Dee", licence="CC-BY-4.0")
    found = rights_of(tmp_path)
    assert found["a.wav"] == ADA
    assert (found["loops/b.wav"].played_by, found["loops/b.wav"].restrictions) == ("Bo, Cy", "no adverts")
    assert found["loops/b.wav"].basis is Basis.own_recording
    dee = found["loops/old/c.flac"]
    assert (dee.basis, dee.recorded_by, dee.licence) == (Basis.licensed, "Dee", "CC-BY-4.0")
    assert (dee.source, dee.played_by) == (None, None), "a statement with a basis stands for itself"


def test_the_command_speaks_only_for_what_no_file_speaks_of(tmp_path):
    write(tmp_path / "loops", basis="cc0", recorded_by="Bo")
    found = rights_of(tmp_path, ADA)
    assert [found[name].recorded_by for name in NAMES] == ["Ada", "Bo", "Bo"]


def test_recordings_without_rights_are_named(tmp_path):
    write(tmp_path / "loops", basis="cc0", recorded_by="Bo")
    with pytest.raises(RightsError, match=r"Nothing is known of the rights in a\.wav: no rights\.yaml"):
        rights_of(tmp_path)
    many = [f"take_{number}.wav" for number in range(9)]
    with pytest.raises(RightsError, match=r"take_4\.wav and 4 more"):
        rights_of(tmp_path, names=[*many, "loops/b.wav"])


def test_evidence_is_kept_with_its_hash_and_checked(tmp_path):
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "contract.pdf").write_bytes(b"signed")
    digest = hashlib.sha256(b"signed").hexdigest()
    write(tmp_path / "loops", basis="work_for_hire", recorded_by="Bo", evidence="contract.pdf")
    kept = rights_of(tmp_path, ADA)["loops/b.wav"]
    assert (kept.evidence, kept.evidence_sha256) == ("loops/contract.pdf", digest)
    write(
        tmp_path / "loops",
        basis="work_for_hire",
        recorded_by="Bo",
        evidence="contract.pdf",
        evidence_sha256="0" * 64,
    )
    with pytest.raises(RightsError, match=digest):
        rights_of(tmp_path, ADA)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("basis: [unclosed", "is no valid YAML"),
        ("- just\n- a list", "no list of `word: value` lines"),
        ("bassis: cc0", "did you mean 'basis'"),
        ("basis: borrowed", "none of own_recording"),
        ("recorded_by: {name: Bo}", "neither a text"),
        ("recorded_by: ''", "empty"),
        ("basis: licensed\nrecorded_by: Bo", "write licence:"),
        ("evidence: nowhere.pdf", "not there"),
        ("evidence: ../../secret.pdf", "lies outside"),
        ("evidence_sha256: 00", "without evidence"),
        ("files: {'x*.wav': {source: tape}}", "no recording is called"),
        ("files: {'*.wav': {files: {}}}", "says nothing here"),
        ("a: &a [x]\nb: &b [*a, *a]\nplayed_by: [*b, *b]", "says nothing here"),
        ("!!python/object/apply:os.system ['true']", "is no valid YAML"),
        ("played_by: \x00", "is no valid YAML"),
        ("played_by: Bo\nplayed_by: Cy", "line 1: 'played_by' is there twice"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_named(content, words, tmp_path):
    (tmp_path / "rights.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(RightsError, match=words) as refused:
        rights_of(tmp_path, ADA)
    assert "rights.yaml" in str(refused.value) or "a.wav" in str(refused.value)


def test_another_name_of_the_file_is_not_passed_over(tmp_path):
    (tmp_path / "rights.yml").write_text("basis: cc0\nrecorded_by: Bo", encoding="utf-8")
    with pytest.raises(RightsError, match="rename it"):
        rights_of(tmp_path, ADA)


@pytest.mark.parametrize(
    ("name", "tags", "keys"),
    [
        ("breaks/AmenBreak_140.wav", {}, ["amen"]),
        ("think-about-it.wav", {}, ["think"]),
        ("Funky_Drummer 2.aif", {}, ["funky drummer"]),
        ("Ashley's Roachclip.mp3", {}, ["ashleys roachclip"]),
        ("packs/Loopmasters - Breaks/01.wav", {}, ["loopmasters"]),
        ("samplesfrommars/909.wav", {}, ["samples from mars"]),
        ("tuesday.wav", {"album": "Blue", "label": "X Records"}, ["release"]),
        ("tuesday.wav", {"isrc": "USRC17607839"}, ["release"]),
        ("tuesday.wav", {"album": "Session of May", "artist": "Ada"}, []),
        ("amenities.wav", {}, []),
        ("Ada/take 3.wav", {"comment": "close mics"}, []),
        ("take.wav", {"comment": "from the Splice library"}, ["splice"]),
    ],
)
def test_names_and_tags_raise_questions(name, tags, keys):
    assert [each.key for each in questions_about(name, tags, {})] == keys
    assert questions_about(name, tags, dict.fromkeys(keys, "mine")) == []


def test_rights_of_several_owners_reach_every_slice_the_card_and_the_second_run(tmp_path, run_prep):
    recordings, dataset = tmp_path / "recordings", tmp_path / "ds"
    drummer.write(recordings / "amen_100.wav", drummer.play(100, bars=2, seed=1).samples)
    drummer.write(recordings / "bo" / "b_120.wav", drummer.play(120, bars=2, seed=2).samples)
    write(recordings / "bo", basis="licensed", recorded_by="Bo", licence="CC-BY-4.0", played_by="Bo's son")
    refused = run_prep(recordings, dataset, "--bars", "1", rights=False)
    assert refused.code == 2
    assert "amen_100.wav" in refused.err
    assert not dataset.exists()

    write(recordings, basis="own_recording", recorded_by="Ada")
    result = run_prep(recordings, dataset, "--bars", "1", "--json", rights=False)
    assert result.code == 0
    assert [(each["recording"], each["key"]) for each in result.json["questions"]] == [
        ("amen_100.wav", "amen")
    ]
    assert "answered: {amen: your words}" in result.err
    rights = {
        row["rights"]: row for row in map(json.loads, (dataset / "rights.jsonl").read_text().splitlines())
    }
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    owner = {row["recording"]: rights[row["rights"]]["recorded_by"] for row in rows}
    assert owner == {"amen_100.wav": "Ada", "bo/b_120.wav": "Bo"}
    card = (dataset / "README.md").read_text()
    assert "Percussion of Ada, Bo" in card
    assert "- Played by: Bo's son" in card

    write(recordings, basis="own_recording", recorded_by="Ada", answered={"amen": "my own playing"})
    again = run_prep(recordings, dataset, "--bars", "1", "--json", rights=False).json
    assert again["questions"] == []
    assert not any(each["done_now"] for each in again["recordings"])


def test_in_python_the_files_are_enough(tmp_path):
    drummer.write(tmp_path / "recordings" / "a.wav", drummer.play(100, bars=2, seed=1).samples)
    write(tmp_path / "recordings", basis="cc0", recorded_by="Bo")
    report = data_prep.prepare(
        tmp_path / "recordings", tmp_path / "ds", settings=data_prep.Settings(bars=1), workers=1
    )
    assert report.slices == 2
