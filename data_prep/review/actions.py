"""What a person can do to a row, as pure functions: the keys that change. Journal and files are others' business."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable

import numpy as np

from data_prep.dataset_folder import Row
from data_prep.files import PrepError
from data_prep.heard.descriptors import describe
from data_prep.review.following import follow
from data_prep.rhythm.onsets import detect
from data_prep.slicing.clip import clip_wav
from data_prep.slicing.slices import SHORTEST_ONE_SHOT, Slicing, Span
from data_prep.sound.recording import SAMPLE_RATE, Decoded
from data_prep.split import LEFT_OUT, TRAIN

Rewrite = Callable[[str], str]
LONGEST_CAPTION = 2000
LONGEST_SECONDS = 380
SLOWEST, FASTEST = 20, 400
MARGIN = SAMPLE_RATE // 2
"""Hits are sought this far beyond a slice, so that those near its ends are true."""
OF_THE_RECORDING = ("tempo", "metre", "swing")
"""Facts of the whole take, which its slices share; a single hit has none of them."""
VERDICTS = ("accepted", "rejected", None)


def write_caption(row: Row, text: str) -> Row:
    """One caption in the place of all; PrepError where it is empty or no caption."""
    text = " ".join(text.split())
    if not text:
        raise PrepError("A caption cannot be empty; write one, or reject the slice.")
    if len(text) > LONGEST_CAPTION:
        raise PrepError(f"A caption of {len(text)} characters is too long; {LONGEST_CAPTION} at most.")
    return {} if text == row["text"] else {"text": text, "captions": [text], "reviewed": True}


def judge(row: Row, verdict: str | None, siblings: list[Row]) -> Row:
    """Accept, reject, or neither (None). A rejected slice goes to `left_out` and remembers its side; `siblings` are
    the rows of the same recording, which tell the side of one that does not know its own."""
    if verdict not in VERDICTS:
        raise PrepError(f"{verdict!r} is no verdict.")
    home = row.get("was_split") or (row["split"] if row["split"] != LEFT_OUT else _side_of(siblings))
    place = (
        {"split": LEFT_OUT, "was_split": home}
        if verdict == "rejected"
        else {"split": home, "was_split": None}
    )
    return {"verdict": verdict, "reviewed": True} | place


def move_cut(row: Row, start: int, end: int, decoded: Decoded) -> tuple[Row, bytes]:
    """The slice from `start` to `end` of its recording: the keys that change, and its WAV. What was measured on it is
    measured again. PrepError for a span that is none."""
    length = decoded.samples.shape[1]
    start, end = max(0, start), min(length, end)
    if end - start < SHORTEST_ONE_SHOT:
        raise PrepError("A slice is at least 50 ms long.")
    if end - start > LONGEST_SECONDS * SAMPLE_RATE:
        raise PrepError(f"A slice is at most {LONGEST_SECONDS} seconds long.")
    span = Span(start, end, row["fade_in_samples"], row["fade_out_samples"])
    wav = clip_wav(decoded.samples, span, row["gain_db"])
    now: Row = {
        "start_sample": start,
        "end_sample": end,
        "seconds": round(span.seconds, 6),
        "clip_sha256": hashlib.sha256(wav).hexdigest(),
        "quality": _quality(row, decoded, span),
        "reviewed": True,
    }
    return now | follow(row, _facts(row, span, decoded)), wav


def scale_tempo(row: Row, factor: float, bpm: float) -> Row:
    """A row of a recording whose tempo was halved or doubled to `bpm`: its own, which may differ where the player
    drifts, times `factor`; what captions say of it follows. A slice whose tempo was too unsure to be stated has it
    now; a single hit has none."""
    fields = row["fields"]
    if "tempo" not in fields and fields.get("kind", {}).get("value") == "one-shot":
        return {}
    value = round(float(fields["tempo"]["value"]) * factor, 3) if "tempo" in fields else bpm
    return follow(row, fields | {"tempo": {"value": value, "source": "user", "confidence": 1.0}})


def tempo_of(recording: Row) -> float | None:
    """Of a row of recordings.jsonl: as a person has set it, else as it was found."""
    return recording.get("reviewed_bpm") or (recording.get("tempo") or {}).get("bpm")


def scaled_tempo(recording: Row, factor: float) -> float:
    """The tempo of a recording times ½ or 2; PrepError where there is none, or none would be left."""
    if factor not in (0.5, 2):
        raise PrepError("A tempo is halved or doubled.")
    known = tempo_of(recording)
    if not known:
        raise PrepError("No tempo is known of this recording; say it with `woodshed prep --bpm`.")
    bpm = round(float(known) * factor, 3)
    if not SLOWEST <= bpm <= FASTEST:
        raise PrepError(f"{bpm:g} BPM is not between {SLOWEST} and {FASTEST}.")
    return bpm


def replacer(find: str, replacement: str, *, match_case: bool, whole_words: bool) -> Rewrite:
    """A function from text to text that replaces every `find`."""
    if not find:
        raise PrepError("Say what to find.")
    pattern = rf"(?<!\w){re.escape(find)}(?!\w)" if whole_words else re.escape(find)
    said = re.compile(pattern, 0 if match_case else re.IGNORECASE)
    return lambda text: said.sub(lambda _: replacement, text)


def replace_words(row: Row, change: Rewrite) -> Row:
    """Every caption of the row with words replaced; PrepError where one would be empty or too long."""
    captions = [" ".join(change(text).split()) for text in row["captions"]]
    text = " ".join(change(row["text"]).split())
    if text == row["text"] and captions == row["captions"]:
        return {}
    for each in (text, *captions):
        write_caption(row, each)
    return {"text": text, "captions": list(dict.fromkeys(captions)), "reviewed": True}


def _side_of(siblings: list[Row]) -> str:
    sides = [row.get("was_split") or row["split"] for row in siblings]
    return next((side for side in sides if side != LEFT_OUT), TRAIN)


def _facts(row: Row, span: Span, decoded: Decoded) -> Row:
    """The facts of another span: those of its recording and what people said stay, the rest is measured anew."""
    first, last = max(0, span.start - MARGIN), span.end + MARGIN
    found, _ = detect(np.ascontiguousarray(decoded.samples[:, first:last]))
    inside = [
        dataclasses.replace(onset, sample=first + onset.sample - span.start)
        for onset in found
        if span.start <= first + onset.sample < span.end
    ]
    kind = row["fields"].get("kind", {}).get("value")
    slicing = {"phrase": Slicing.phrases, "take": Slicing.whole}.get(str(kind), Slicing.bars)
    measured = describe(decoded.samples[:, span.start : span.end], inside, slicing)
    one_shot = measured["kind"]["value"] == "one-shot"
    stays = {
        name: each
        for name, each in row["fields"].items()
        if (not one_shot if name in OF_THE_RECORDING else each.get("source") != "measurement")
    }
    return measured | stays


def _quality(row: Row, decoded: Decoded, span: Span) -> list[str]:
    """The findings of a slice: those of its recording stay, `clipped` is looked for anew."""
    places = decoded.clipped_samples
    clipped = bool(((places >= span.start) & (places < span.end)).any())
    return sorted(
        {gate for gate in row["quality"] if gate != "clipped"} | ({"clipped"} if clipped else set())
    )
