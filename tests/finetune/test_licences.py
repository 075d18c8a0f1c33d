"""The licence of a base: shown at first use, accepted by somebody at some time, quoted and not judged."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finetune import first_use
from finetune.base_model import find_base, load_base
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.first_use import check_accepted
from finetune.licences import (
    RECORD,
    accept,
    acceptances,
    commercial_lines,
    licence_files,
    read_licences,
    write_acceptances,
)

TEXT = """# The Be Kind Licence

1. Share it.
2. Commercial use needs a registration where your revenue is above a million.
3. Be kind.
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("WOODSHED_CONFIG", str(folder))
    return folder


@pytest.fixture
def licensed(tiny_base_folder: Path, tmp_path: Path) -> Path:
    base = Path(shutil.copytree(tiny_base_folder, tmp_path / "base"))
    (base / "LICENSE.md").write_text(TEXT)
    return base


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(first_use, "_can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))


def test_nothing_is_loaded_before_the_licence_is_accepted(licensed: Path) -> None:
    with pytest.raises(WoodshedError) as refused:
        load_base(str(licensed))
    assert "“The Be Kind Licence”" in str(refused.value)
    assert f"woodshed licence {licensed} --accept" in str(refused.value)
    accept(read_licences(licensed)[0], "base", "Ada")
    load_base(str(licensed))


def test_another_text_is_asked_for_anew(licensed: Path) -> None:
    accept(read_licences(licensed)[0], "base", "Ada")
    check_accepted(licensed, "base")
    (licensed / "LICENSE.md").write_text(TEXT + "4. Pay us.\n")
    with pytest.raises(WoodshedError, match="nobody has accepted"):
        check_accepted(licensed, "base")


def test_a_terminal_shows_it_and_takes_a_name(
    licensed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_a_terminal(monkeypatch, "Ada Ünal\n")
    said: list[str] = []
    monkeypatch.setattr(first_use, "say", said.append)
    check_accepted(licensed, "kind-base")
    shown = "\n".join(said)
    assert "“The Be Kind Licence”" in shown and str(licensed / "LICENSE.md") in shown
    assert "4  2. Commercial use needs a registration" in shown, "quoted, with its line in the file"
    (made,) = acceptances().values()
    assert (made.accepted_by, made.base) == ("Ada Ünal", "kind-base")
    assert made.accepted_at.endswith("+00:00")


def test_no_name_is_no_acceptance(licensed: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "\n")
    with pytest.raises(WoodshedError, match="was not accepted"):
        check_accepted(licensed, "base")
    assert not (config / RECORD).exists()


def test_terms_of_its_parts_are_asked_for_too(licensed: Path) -> None:
    (licensed / "text_encoder" / "LICENSE").write_text("The Words Licence")
    (licensed / "text_encoder" / "LICENSE.json").write_text("{}")
    (licensed / "vae" / "NOTICE.txt").write_text(TEXT)
    assert [file.name for file in licence_files(licensed)] == ["LICENSE.md", "LICENSE", "NOTICE.txt"]
    assert [each.title for each in read_licences(licensed)] == ["The Be Kind Licence", "The Words Licence"]
    accept(read_licences(licensed)[0], "base", "Ada")
    with pytest.raises(WoodshedError, match="“The Words Licence”"):
        check_accepted(licensed, "base")


def test_the_starter_is_a_part_of_woodshed(config: Path) -> None:
    own = Path(__file__).parents[2] / "LICENSE"
    assert (find_base("starter") / "LICENSE").read_bytes() == own.read_bytes()
    load_base("starter")
    assert not config.exists(), "nothing is asked, nothing is recorded"


def test_a_base_without_a_licence_is_said_once(
    tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(first_use, "say", said.append)
    check_accepted(tiny_base_folder, "bare once")
    check_accepted(tiny_base_folder, "bare once")
    assert said == [
        "The base 'bare once' has no licence file beside its weights; what it allows is not known here."
    ]


@pytest.mark.parametrize("left", [b'{"licence_sha256": "', b"[1]\n", b'{"a": 1}\n', b"\xff\xfe\n"])
def test_a_record_that_a_crash_cut_off_does_not_take_the_next_with_it(
    licensed: Path, config: Path, left: bytes
) -> None:
    accept(read_licences(licensed)[0], "base", "Ada")
    whole = (config / RECORD).read_bytes()
    (config / RECORD).write_bytes(whole + left)
    (licensed / "LICENSE.md").write_text("Another")
    made = accept(read_licences(licensed)[0], "base", "Bo")
    assert [each.accepted_by for each in acceptances().values()] == ["Ada", "Bo"]
    assert acceptances()[made.licence_sha256] == made


def test_a_folder_that_cannot_be_written_is_named(
    licensed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "file" / "config"))
    with pytest.raises(WoodshedError, match="cannot be recorded"):
        accept(read_licences(licensed)[0], "base", "Ada")


def test_a_run_keeps_what_was_accepted(licensed: Path, tmp_path: Path) -> None:
    accept(read_licences(licensed)[0], "base", "Ada")
    write_acceptances(tmp_path, licensed)
    (row,) = json.loads((tmp_path / "licences.json").read_text())
    assert (row["accepted_by"], row["title"]) == ("Ada", "The Be Kind Licence")
    assert str(tmp_path) not in json.dumps(row)


def test_lines_are_quoted_as_they_stand() -> None:
    assert list(commercial_lines("No.\n  You may sell it.\nresell\nFees: none\n")) == [
        (2, "You may sell it."),
        (4, "Fees: none"),
    ]


def test_the_command_shows_accepts_and_says_who(licensed: Path) -> None:
    shown = CliRunner().invoke(app, ["licence", str(licensed), "--json"])
    (terms,) = json.loads(shown.stdout)["licences"]
    assert terms["text"] == TEXT and terms["accepted_by"] is None
    assert terms["commercial"] == [{"line": 4, "text": TEXT.splitlines()[3]}]
    assert CliRunner().invoke(app, ["licence", str(licensed), "--accept"]).exit_code == 2
    done = CliRunner().invoke(app, ["licence", str(licensed), "--accept", "--name", "Ada", "--json"])
    assert json.loads(done.stdout)["licences"][0]["accepted_by"] == "Ada"
    check_accepted(licensed, "base")
