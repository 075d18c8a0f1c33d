"""The rows of manifest.jsonl and recordings.jsonl."""

from __future__ import annotations

from typing import Any

from data_prep.captioning.captions import variants
from data_prep.dataset_folder import Row
from data_prep.one_recording import State
from data_prep.ownership.rights import Rights
from data_prep.report import LeftOut
from data_prep.settings import Settings
from data_prep.sound.recording import SAMPLE_RATE

CAPTIONS = 5


def manifest_rows(
    name: str, state: State, new_slices: list[State], place: str, rights: Rights, settings: Settings
) -> list[Row]:
    """The rows of the slices of one recording that are new, or were not reviewed yet."""
    rows = []
    said = settings.vocabulary.facts(name) if settings.vocabulary else {}
    for slice_ in new_slices:
        fields = slice_["fields"] | said
        captions = captions_of(fields, settings.trigger)
        rows.append(
            {
                "id": slice_["id"],
                "split": place,
                "recording": name,
                "pcm_sha256": state["pcm_sha256"],
                "sample_rate": SAMPLE_RATE,
                "start_sample": slice_["start_sample"],
                "end_sample": slice_["end_sample"],
                "downbeat_sample": slice_["downbeat_sample"],
                "gain_db": state["gain_db"],
                "fade_in_samples": slice_["fade_in_samples"],
                "fade_out_samples": slice_["fade_out_samples"],
                "clip_sha256": slice_["clip_sha256"],
                "seconds": slice_["seconds"],
                "recording_seconds": state["seconds"],
                "text": captions[0],
                "captions": list(captions),
                "fields": fields,
                "quality": slice_["quality"],
                "reviewed": False,
                "rights": rights.key,
            }
        )
    return rows


def captions_of(fields: dict[str, Any], trigger: str | None) -> tuple[str, ...]:
    """The wordings of facts, the canonical one first; what is only assumed is not said."""
    known = {key: each["value"] for key, each in fields.items() if each["source"] != "default"}
    return variants(known, trigger, CAPTIONS)


def recording_rows(used: dict[str, State], left_out: list[LeftOut], bpm: dict[str, float]) -> list[Row]:
    """recordings.jsonl: what is known of each recording, without what is only for the next run.

    `bpm` is the tempo that a person gave in a review, by the SHA-256 of the file.
    """
    private = {"slices", "fingerprint", "settings", "fault"}
    rows = [
        {key: value for key, value in state.items() if key not in private}
        | ({"reviewed_bpm": bpm[state["file_sha256"]]} if state["file_sha256"] in bpm else {})
        | {"left_out": None}
        for state in used.values()
    ]
    rows += [
        {"recording": each.recording, "left_out": {"gate": each.gate, "reason": each.reason}}
        for each in left_out
    ]
    return sorted(rows, key=lambda row: str(row["recording"]))
