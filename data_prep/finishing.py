"""The second half of the road: what was heard in all recordings becomes one dataset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.captioning.captioners import caption_by_plug_in
from data_prep.dataset_folder import HIDDEN, DatasetFolder, Row
from data_prep.decisions import AWAY, Decisions, keep_reviewed, restore_clips
from data_prep.duplicates.near_duplicates import Fingerprint, groups
from data_prep.files import PrepError, write_json, write_json_lines
from data_prep.library import Library
from data_prep.manifest_rows import manifest_rows, recording_rows
from data_prep.one_recording import State
from data_prep.overview.figures import overview_of
from data_prep.overview.page import write_page
from data_prep.ownership.rights import Rights
from data_prep.ownership.rights_files import Stated
from data_prep.ownership.rights_questions import Question, questions_about
from data_prep.ownership.withdrawn import GATE, read_withdrawn, why
from data_prep.ownership.withdrawn import Row as Withdrawn
from data_prep.report import LeftOut, Report, build_report
from data_prep.review.journal import JOURNAL
from data_prep.review.sources import from_here
from data_prep.settings import Settings
from data_prep.split import TRAIN, VALIDATION, split
from data_prep.writing import delete_old_states, write_dataset


def finish(
    folder: DatasetFolder,
    library: Library,
    states: dict[str, State],
    fresh: set[str],
    stated: dict[str, Stated],
    settings: Settings,
    decisions: Decisions,
) -> Report:
    """Compare, split, caption, write, report. `fresh` are the recordings that were prepared in this run. PrepError
    where none can be used."""
    used, left_out = _used(states, decisions, read_withdrawn(folder.root))
    left_out = sorted([*library.faults, *left_out], key=lambda each: each.recording)
    if not used:
        reasons = "; ".join(f"{each.recording!r}: {each.reason}" for each in left_out[:5])
        raise PrepError(f"No recording in {library.root} could be used ({reasons}).")
    memory = _memory(folder)
    copies = _copies(used, memory)
    content = _content(
        folder, used, _places(used, copies, decisions, memory, settings), stated, settings, decisions
    )
    recordings = recording_rows(used, left_out, decisions.bpm)
    changed = _write(folder, library, used, content, recordings, stated, decisions)
    _remember(folder, library, used, copies, settings)
    delete_old_states(folder, states)
    overview = overview_of(content.rows, recordings, folder.rows("rights.jsonl", "rights"))
    write_page(folder.root, overview)
    report = build_report(
        folder.root, content.rows, overview.verdict, used, left_out, copies, decisions, changed, fresh,
        content.questions,
    )  # fmt: skip
    return dataclasses.replace(report, warnings=[*report.warnings, *content.remarks])


@dataclass(frozen=True)
class Content:
    """What the dataset is to hold: `rows` of the manifest, `reviewed` ones among them; what is to be asked and said."""

    rows: list[Row]
    reviewed: list[Row]
    questions: list[Question]
    remarks: list[str]


def _content(
    folder: DatasetFolder,
    used: dict[str, State],
    places: dict[str, str],
    stated: dict[str, Stated],
    settings: Settings,
    decisions: Decisions,
) -> Content:
    """The new rows of every recording and those that were reviewed, in the order of the sound."""
    unmatched = settings.vocabulary.unmatched(list(used)) if settings.vocabulary else []
    remarks = [
        f"The vocabulary's files, {pattern!r}: no recording is called like that." for pattern in unmatched
    ]
    content = Content([], [], [], remarks)
    for name, state in used.items():
        rights = stated[name].rights
        content.questions.extend(questions_about(name, state["tags"], stated[name].answered))
        new = manifest_rows(name, state, decisions.new_slices(state), places[name], rights, settings)
        kept = keep_reviewed(decisions.rows_of(state), name, places[name], rights.key)
        content.remarks.extend(caption_by_plug_in(folder, new, settings) if settings.captioner else [])
        content.rows.extend(sorted([*new, *kept], key=lambda row: (row["start_sample"], row["end_sample"])))
        content.reviewed.extend(kept)
    return content


def _write(
    folder: DatasetFolder,
    library: Library,
    used: dict[str, State],
    content: Content,
    recordings: list[Row],
    stated: dict[str, Stated],
    decisions: Decisions,
) -> bool:
    """Bring the folder to its content; whether that changed anything. What was decided is in the manifest before its
    journal goes, and what has no recording any more is kept aside before the manifest lets go of it."""
    restore_clips(folder, content.reviewed, decisions.pending, library.paths.__getitem__)
    away = decisions.away(used.values())
    if away:
        write_json_lines(folder.root / AWAY, away)
    changed = write_dataset(folder, content.rows, recordings, _statements(used, stated), decisions.before)
    (folder.root / JOURNAL).unlink(missing_ok=True)
    if not away:
        (folder.root / AWAY).unlink(missing_ok=True)
    return changed


def _remember(
    folder: DatasetFolder,
    library: Library,
    used: dict[str, State],
    copies: list[list[str]],
    settings: Settings,
) -> None:
    """What the next run need not find out again."""
    content = {
        "copies": copies,
        "compared": _pcm(used),
        "validation": settings.validation,
        "library": from_here(folder.root, library.root),
    }
    write_json(_memory_file(folder), content)


def _statements(used: dict[str, State], stated: dict[str, Stated]) -> list[Rights]:
    """Those of the recordings that are used, each once, in the order of their keys."""
    rights = {stated[name].rights.key: stated[name].rights for name in used}
    return [rights[key] for key in sorted(rights)]


def _used(
    states: dict[str, State], decisions: Decisions, withdrawn: dict[str, Withdrawn]
) -> tuple[dict[str, State], list[LeftOut]]:
    """The recordings that make slices, or have reviewed ones; the same sound a second time is left out, and what was
    withdrawn."""
    used: dict[str, State] = {}
    left_out: list[LeftOut] = []
    first_with: dict[str, str] = {}
    for name, state in states.items():
        if state["fault"] and not decisions.carries(state):
            left_out.append(LeftOut(name, state["fault"]["gate"], state["fault"]["reason"]))
        elif gone := withdrawn.get(state["pcm_sha256"]):
            left_out.append(LeftOut(name, GATE, why(gone)))
        elif state["pcm_sha256"] in first_with:
            reason = f"the same sound, sample for sample, as {first_with[state['pcm_sha256']]}"
            left_out.append(LeftOut(name, "duplicate", reason))
        else:
            first_with[state["pcm_sha256"]] = name
            used[name] = state
    return used, left_out


def _memory_file(folder: DatasetFolder) -> Path:
    return folder.root / HIDDEN / "prep.json"


def _memory(folder: DatasetFolder) -> dict[str, Any]:
    return folder.read_state(_memory_file(folder)) or {}


def _pcm(used: dict[str, State]) -> list[str]:
    return sorted(state["pcm_sha256"] for state in used.values())


def _copies(used: dict[str, State], memory: dict[str, Any]) -> list[list[str]]:
    """Groups of PCM hashes that are copies of each other; compared again only where the recordings changed."""
    if memory.get("compared") == _pcm(used):
        return memory["copies"]
    return groups(
        {state["pcm_sha256"]: Fingerprint.from_text(state["fingerprint"]) for state in used.values()}
    )


def _places(
    used: dict[str, State],
    copies: list[list[str]],
    decisions: Decisions,
    memory: dict[str, Any],
    settings: Settings,
) -> dict[str, str]:
    """Recording -> split. Where it was stays, unless another share is asked for."""
    seconds = {
        state["pcm_sha256"]: sum(each["seconds"] for each in state["slices"] or decisions.rows_of(state))
        for state in used.values()
    }
    was = {
        row["pcm_sha256"]: place
        for row in decisions.before
        if (place := row.get("was_split") or row["split"]) in (TRAIN, VALIDATION)
    }
    same_share = memory.get("validation") == settings.validation
    by_pcm = split(copies, seconds, settings.validation, was if same_share else None)
    return {name: by_pcm[state["pcm_sha256"]] for name, state in used.items()}
