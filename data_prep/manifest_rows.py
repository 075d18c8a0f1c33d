"""The rows of manifest.jsonl and recordings.jsonl, and what people have written into them."""

from __future__ import annotations

from data_prep.captions import variants
from data_prep.dataset_folder import DatasetFolder, Row
from data_prep.one_recording import State
from data_prep.recording import SAMPLE_RATE
from data_prep.report import LeftOut
from data_prep.rights import Rights
from data_prep.settings import Settings
from data_prep.split import LEFT_OUT

CAPTIONS = 5


def manifest_rows(name: str, state: State, place: str, rights: Rights, settings: Settings) -> list[Row]:
    rows = []
    for slice_ in state["slices"]:
        known = {key: each["value"] for key, each in slice_["fields"].items() if each["source"] != "default"}
        captions = variants(known, settings.trigger, CAPTIONS)
        rows.append(
            {
                "id": slice_["id"],
                "split": place,
                "recording": name,
                "pcm_sha256": state["pcm_sha256"],
                "sample_rate": SAMPLE_RATE,
                "start_sample": slice_["start_sample"],
                "end_sample": slice_["end_sample"],
                "gain_db": state["gain_db"],
                "fade_in_samples": slice_["fade_in_samples"],
                "fade_out_samples": slice_["fade_out_samples"],
                "clip_sha256": slice_["clip_sha256"],
                "seconds": slice_["seconds"],
                "recording_seconds": state["seconds"],
                "text": captions[0],
                "captions": list(captions),
                "fields": slice_["fields"],
                "quality": slice_["quality"],
                "reviewed": False,
                "rights": rights.key,
            }
        )
    return rows


def keep_what_people_wrote(folder: DatasetFolder, rows: list[Row], before: list[Row]) -> int:
    """Carry reviewed rows over, and take captions edited in a .txt as reviewed; how many of those there are."""
    old = {row["id"]: row for row in before}
    edited = 0
    for row in rows:
        was = old.get(row["id"])
        if not was:
            continue
        if was.get("reviewed"):
            row |= {key: was[key] for key in ("text", "captions", "fields", "reviewed")}
            if was["split"] == LEFT_OUT:
                row["split"] = LEFT_OUT
        if text := folder.edited_caption(was):
            row |= {"text": text, "captions": [text], "reviewed": True}
            edited += 1
    return edited


def recording_rows(used: dict[str, State], left_out: list[LeftOut]) -> list[Row]:
    """recordings.jsonl: what is known of each recording, without what is only for the next run."""
    private = {"slices", "fingerprint", "settings", "fault"}
    rows = [
        {key: value for key, value in state.items() if key not in private} | {"left_out": None}
        for state in used.values()
    ]
    rows += [
        {"recording": each.recording, "left_out": {"gate": each.gate, "reason": each.reason}}
        for each in left_out
    ]
    return sorted(rows, key=lambda row: str(row["recording"]))
