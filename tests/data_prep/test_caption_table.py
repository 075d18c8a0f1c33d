"""Captions as CSV: out and back without a loss, whatever a spreadsheet does to the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from data_prep.captioning.caption_table import export_table, import_table
from data_prep.files import PrepError, read_json_lines
from finetune.cli import app

Row = dict[str, Any]


def row(name: str, text: str, reviewed: bool = False) -> Row:
    return {
        "id": name, "recording": f"{name}.wav", "split": "train", "seconds": 2.5, "reviewed": reviewed, "text": text,
        "captions": [text],
    }  # fmt: skip


ROWS = [
    row("a", "kick, dry; and dark"),
    row("b", 'a "snare"'),
    row("c", "=hat"),
    row("d", "große Trommel", True),
]


def edit(
    path: Path, change: Callable[[list[list[str]]], None], separator: str = ",", encoding: str = "utf-8-sig"
) -> None:
    """As a spreadsheet would: read all cells, change some, write all of them."""
    cells = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=","))
    change(cells)
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(cells)
    path.write_bytes(text.getvalue().encode(encoding))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    export_table(ROWS, tmp_path / "captions.csv")
    return tmp_path / "captions.csv"


def write_second(text: str) -> Callable[[list[list[str]]], None]:
    def change(cells: list[list[str]]) -> None:
        cells[2][5] = text

    return change


def test_what_nobody_touched_changes_nothing(table: Path) -> None:
    done = import_table(ROWS, table)
    assert (done.rows, done.changed, done.reviewed, done.unchanged, done.not_in_table) == (4, 0, 0, 4, 0)
    assert done.changes == {}


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16")])
def test_a_caption_written_in_the_table_counts_as_reviewed(
    table: Path, separator: str, encoding: str
) -> None:
    edit(table, write_second("Größe, laut; ja"), separator, encoding)
    done = import_table(ROWS, table)
    assert done.changes == {
        "b": {"text": "Größe, laut; ja", "captions": ["Größe, laut; ja"], "reviewed": True}
    }


def test_yes_under_reviewed_counts_too(table: Path) -> None:
    def tick(cells: list[list[str]]) -> None:
        cells[1][4] = "Yes"

    edit(table, tick)
    assert import_table(ROWS, table).changes == {"a": {"reviewed": True}}


def test_no_cell_is_a_formula(table: Path) -> None:
    assert not [
        cell
        for cells in csv.reader(table.open(encoding="utf-8-sig"))
        for cell in cells
        if cell[:1] in "=+-@\t" and cell
    ]


def test_what_was_changed_in_the_dataset_since_is_kept(table: Path) -> None:
    newer = [*ROWS[:1], row("b", "written on the page", True), *ROWS[2:]]
    done = import_table(newer, table)
    assert done.changes == {} and done.kept_newer == 1


def test_two_edits_of_one_caption_are_for_a_person_to_settle(table: Path) -> None:
    newer = [*ROWS[:1], row("b", "written on the page", True), *ROWS[2:]]
    edit(table, write_second("written in the table"))
    with pytest.raises(PrepError, match=r"'written on the page'\. Nothing is imported"):
        import_table(newer, table)


def test_an_edit_goes_before_a_caption_that_was_only_composed_anew(table: Path) -> None:
    newer = [*ROWS[:1], row("b", "composed anew"), *ROWS[2:]]
    edit(table, write_second("mine"))
    assert import_table(newer, table).changes["b"]["text"] == "mine"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name,caption\r\na,x\r\n", "no columns `id` and `text`"),
        (b"id,text\r\nzz,x\r\n", "not in the dataset: zz"),
        (b"id,text\r\na,x\r\na,y\r\n", "line 3: a is also in line 2"),
        (b"id,text\r\na,\r\n", "cannot be empty"),
        (b"id,text\r\na,x,y\r\n", "3 cells for 2 columns"),
        (b"id,text\r\na\r\n", "ends before its text"),
        (b"id,text\r\na,Gr\xf6\xdfe\r\n", "not in UTF-8"),
        (b"id,text,reviewed\r\na,x,maybe\r\n", "write yes or no"),
        (b"", "no columns"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_taken(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(PrepError) as error:
        import_table(ROWS, tmp_path / "t.csv")
    assert says in str(error.value)


def test_the_line_that_excel_writes_first_is_understood(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"sep=;\r\nid;text\r\na;new, text\r\n\r\n")
    assert import_table(ROWS, tmp_path / "t.csv").changes["a"]["text"] == "new, text"


words = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="=+-@'\"\t;,"), min_size=1, max_size=40
)


@given(st.lists(words.map(lambda text: " ".join(text.split())).filter(bool), min_size=1, max_size=5))
def test_any_caption_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    given_out = [row(str(number), text) for number, text in enumerate(texts)]
    export_table(given_out, path, ";")
    others = [row(str(number), "something else") for number in range(len(texts))]
    edited = path.read_text("utf-8-sig").split("\n")
    header = edited[0].rsplit(";", 1)[0]
    path.write_text("\n".join([header, *(line.rsplit(";", 1)[0] for line in edited[1:] if line)]), "utf-8")
    changes = import_table(others, path).changes
    assert [changes.get(str(n), {"text": "something else"})["text"] for n in range(len(texts))] == texts


def test_the_command_exports_and_imports(library: Path, run_prep: Callable[..., Any], tmp_path: Path) -> None:
    dataset, file = tmp_path / "dataset", tmp_path / "captions.csv"
    run_prep(library, dataset, "--bars", "2")
    assert CliRunner().invoke(app, ["captions", str(dataset), "--export", str(file)]).exit_code == 0
    edit(file, write_second("my own words"), ";")
    result = CliRunner().invoke(app, ["captions", str(dataset), "--import", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert "1 captions changed" in result.stderr
    changed = [each for each in read_json_lines(dataset / "manifest.jsonl") if each["text"] == "my own words"]
    assert len(changed) == 1 and changed[0]["reviewed"]
    assert (dataset / changed[0]["split"] / f"{changed[0]['id']}.txt").read_text() == "my own words"
    run_prep(library, dataset, "--bars", "2", "--trigger", "later")
    kept = [each for each in read_json_lines(dataset / "manifest.jsonl") if each["text"] == "my own words"]
    assert len(kept) == 1
    both = CliRunner().invoke(app, ["captions", str(dataset)])
    assert both.exit_code == 2 and "either --export" in both.stderr
