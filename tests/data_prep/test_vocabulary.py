"""The words of a house: in captions as its YAML says, and every slip of the pen named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.captioning.captions import compose, variants
from data_prep.captioning.vocabulary import Vocabulary, read_vocabulary
from data_prep.settings import Settings

HOUSE = """
words:
  kind: {loop: Schleife, recording: Aufnahme}
  pieces: {kick: Große Trommel, hi-hat: Hi-Hat}
  brightness: {bright: hell}
  dynamics: {dynamic: laut und leise}
  joining: {of: aus, and: und}
files:
  "*GRETSCH*": {kit: 1962er Gretsch, feel: schleppender}
  "slow/*": {genre: Dub, phrases: [mit Besen gespielt]}
phrases: [auf Band aufgenommen]
forbidden: [loop pack, wide]
"""
HEARD = {
    "kind": "loop", "pieces": ["kick", "snare", "hi-hat"], "brightness": "bright", "dynamics": "dynamic",
    "width": "wide", "tempo": 92.0, "seconds": 10.4,
}  # fmt: skip


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def said_of(vocabulary: Vocabulary, name: str) -> str:
    return compose(HEARD | {key: each["value"] for key, each in vocabulary.facts(name).items()}, "gretsch62")


@pytest.fixture
def house(tmp_path: Path) -> Vocabulary:
    return read_vocabulary(write(tmp_path / "words.yaml", HOUSE))


def test_captions_speak_the_language_of_the_house(house: Vocabulary) -> None:
    assert said_of(house, "slow/gretsch_2.wav") == (
        "TrackType: Instrument, Instruments: Percussion, Genre: Dub. "
        "gretsch62 schleppender Schleife aus Große Trommel, snare und Hi-Hat, "
        "1962er Gretsch, hell, laut und leise, auf Band aufgenommen und mit Besen gespielt. BPM: 92. Length: 10 seconds"
    )


def test_what_is_forbidden_is_in_no_wording(house: Vocabulary) -> None:
    facts = HEARD | {"genre": "Funk Loop Pack"} | {key: f["value"] for key, f in house.facts("a.wav").items()}
    captions = variants(facts, None, 5)
    assert len(captions) == 5
    assert not any("wide" in each.casefold() or "loop pack" in each.casefold() for each in captions)


def test_a_forbidden_word_within_another_is_no_match() -> None:
    words = {"vocabulary": {"forbidden": ["dry"]}, "brightness": "dark", "feel": "laundry"}
    assert "laundry recording, dark" in compose(words)


def test_what_a_person_says_of_a_file_has_them_as_its_source(house: Vocabulary) -> None:
    assert house.facts("x/Gretsch.wav")["kit"] == {
        "value": "1962er Gretsch",
        "source": "user",
        "confidence": 1.0,
    }
    assert house.unmatched(["x/Gretsch.wav"]) == ["slow/*"]


def test_words_change_captions_and_no_slice(house: Vocabulary) -> None:
    assert Settings(vocabulary=house).analysis_key() == Settings().analysis_key()


def test_a_trigger_that_is_forbidden_is_refused(house: Vocabulary) -> None:
    with pytest.raises(ValueError, match="--trigger wide is a word that the vocabulary forbids"):
        Settings(trigger="wide", vocabulary=house)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("word: {}", "has no 'word'. Did you mean words?"),
        ("words: {brightness: {brigth: hell}}", "words, brightness has no 'brigth'. Did you mean bright?"),
        ("words: {kind: {loop: no}}", "YAML reads False as yes or no; put it in quotes"),
        ("files: {'*': {kit: 1962}}", "YAML reads 1962 as a number; put it in quotes"),
        ("files: {'*': {tempo: '90'}}", "has no 'tempo'. Known are kit, feel"),
        ("phrases: ['']", "phrases is empty"),
        ("a: [", "line 1"),
        ("words: {}\nwords: {}", "'words' is there twice"),
        ("- a", "the file is to be `key: value` pairs, not a list"),
        ("words: !!python/object/apply:os.system ['true']", "line 1"),
        ("&a [*a]", "the file is to be"),
    ],
)
def test_slips_are_named_with_their_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError) as error:
        read_vocabulary(write(tmp_path / "words.yaml", text))
    assert says in str(error.value) and "words.yaml" in str(error.value)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_bytes("phrases: [Gr\u00f6\u00dfe]".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        read_vocabulary(path)


@given(st.text(max_size=200))
def test_any_text_is_a_vocabulary_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        assert isinstance(read_vocabulary(path), Vocabulary)
    except ValueError as error:
        assert "any.yaml" in str(error)
