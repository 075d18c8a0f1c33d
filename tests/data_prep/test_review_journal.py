"""The journal of reviews: whatever is cut off, what was whole is there; read twice it says the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dataset_folder import DatasetFolder
from data_prep.files import PrepError
from data_prep.review.journal import JOURNAL, Change, Entry, JournalFile, changed, read_journal, replay

VALUES = st.none() | st.text(max_size=8) | st.integers(-5, 5) | st.lists(st.text(max_size=3), max_size=2)
EDITS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["text", "verdict", "split"]), VALUES),
    min_size=1,
    max_size=12,
)


def entries_of(edits: list[tuple[str, str, object]]) -> list[Entry]:
    rows = {name: {"id": name, "recording": "r"} for name in "abc"}
    entries = []
    for number, (row_id, key, value) in enumerate(edits, start=1):
        row = rows[row_id]
        change = Change(row_id, row.get("version", 0) + 1, {key: row.get(key)}, {key: value})
        rows[row_id] = changed(row, change.now | {"version": change.version})
        entries.append(Entry(number, "tab", "caption", [change]))
    return entries


def fresh() -> list[dict]:
    return [{"id": name, "recording": "r"} for name in "abc"]


@settings(max_examples=40, deadline=None)
@given(edits=EDITS, share=st.floats(0, 1))
def test_a_file_cut_off_anywhere_holds_every_line_that_was_whole(tmp_path_factory, edits, share):
    folder = tmp_path_factory.mktemp("journal")
    entries = entries_of(edits)
    journal = JournalFile(folder)
    for entry in entries:
        journal.append(entry)
    journal.close()
    content = (folder / JOURNAL).read_bytes()
    left = content[: round(share * len(content))]
    (folder / JOURNAL).write_bytes(left)
    kept = entries[: left.count(b"\n")]
    assert read_journal(folder) == kept
    again = JournalFile(folder)
    assert again.entries == kept
    again.append(entries[-1])
    again.close()
    assert read_journal(folder) == [*kept, entries[-1]]


@settings(max_examples=60, deadline=None)
@given(edits=EDITS, reached=st.integers(0, 12))
def test_replaying_gives_the_same_from_wherever_the_manifest_was(edits, reached):
    """A manifest that holds the first entries, all or none ends up the same; a second time nothing changes."""
    entries = entries_of(edits)
    whole, _, _ = replay(fresh(), [], entries)
    some, _, _ = replay(fresh(), [], entries[:reached])
    assert replay(some, [], entries)[0] == whole
    rows, _, pending = replay(whole, [], entries)
    assert (rows, pending) == (whole, set())


@pytest.mark.parametrize("row_id", ["../../outside", "a/b", "..", "", "a\\b", 7])
def test_a_row_whose_name_leads_out_of_the_folder_is_refused(tmp_path, row_id):
    row = {"id": row_id, "split": "train", "reviewed": True}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(PrepError, match="row 1"):
        DatasetFolder(tmp_path).manifest()


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "x", "split": "elsewhere"}', "null"])
def test_a_damaged_manifest_is_a_sentence(tmp_path, text):
    (tmp_path / "manifest.jsonl").write_text(text + "\n")
    with pytest.raises(PrepError, match=r"manifest\.jsonl"):
        DatasetFolder(tmp_path).manifest()
