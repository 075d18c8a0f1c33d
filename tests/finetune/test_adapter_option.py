"""Adapters as they are named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetune.adapter_option import AdapterOption, read_option
from finetune.errors import WoodshedError
from finetune.files import from_home


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("runs/kit", AdapterOption(Path("runs/kit"))),
        ("runs/kit:0.8", AdapterOption(Path("runs/kit"), 0.8)),
        ("runs/kit:-.5@0.0-0.6", AdapterOption(Path("runs/kit"), -0.5, (0.0, 0.6))),
        ("kit@.25-1", AdapterOption(Path("kit"), None, (0.25, 1.0))),
        ("kit:1e-1#0-9,attention", AdapterOption(Path("kit"), 0.1, (0.0, 1.0), "0-9,attention")),
        ("kit#ff", AdapterOption(Path("kit"), layers="ff")),
        (r"C:\kits\mine:0.5", AdapterOption(Path(r"C:\kits\mine"), 0.5)),
        (r"C:\kits\mine.safetensors", AdapterOption(Path(r"C:\kits\mine.safetensors"))),
        ("live@home.safetensors:0.5@0-0.5", AdapterOption(Path("live@home.safetensors"), 0.5, (0.0, 0.5))),
        ("kit: take 2", AdapterOption(Path("kit: take 2"))),
        ("kit 1:2:0.5", AdapterOption(Path("kit 1:2"), 0.5)),
    ],
)
def test_path_strength_interval_and_layers(text: str, option: AdapterOption) -> None:
    assert read_option(text) == option


def test_a_path_that_exists_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit:0.5").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_option("kit:0.5") == AdapterOption(Path("kit:0.5"))
    assert read_option("kit:0.5:0.7") == AdapterOption(Path("kit:0.5"), 0.7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kit:nan", "strength of nan is out of range"),
        ("kit:-inf", "out of range"),
        ("kit:11", "out of range"),
        ("kit:1@0.6-0.2", "from less noise to more"),
        ("kit@0-1.5", "between 0"),
        ("kit@0.5-0.5", "from less noise"),
        ("kit#drums", "'drums' names no layers"),
        ("kit:1@0-1#9-2", "no range of blocks"),
    ],
)
def test_what_cannot_be_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(WoodshedError, match=words):
        read_option(text)


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\0"), min_size=1, max_size=20),
    st.floats(-10, 10),
    st.floats(0, 0.4).map(lambda x: round(x, 4)),
)
@example("~0", 0.0, 0.0)
def test_whatever_the_path_its_strength_and_interval_are_found(
    path: str, strength: float, low: float
) -> None:
    option = read_option(f"./{path}/kit:{strength!r}@{low:f}-0.5")
    assert option == AdapterOption(from_home(f"./{path}/kit"), strength, (low, 0.5))


@given(st.text(max_size=30))
@example("~\x00")
def test_any_text_is_an_option_or_a_sentence(text: str) -> None:
    try:
        assert isinstance(read_option(text), AdapterOption)
    except WoodshedError as error:
        assert str(error)
