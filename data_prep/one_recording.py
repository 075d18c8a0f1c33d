"""Everything that is done to one recording, in a process of its own: decode, hear, slice, describe, write."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.duplicates import near_duplicates
from data_prep.fact import Fact, fact
from data_prep.files import file_sha256, replace, write_json
from data_prep.heard.descriptors import describe, named_facts
from data_prep.quality import recording_gates, slice_gates
from data_prep.rhythm.downbeat import downbeat_confidence
from data_prep.rhythm.music import Music, hear
from data_prep.settings import Settings
from data_prep.slicing import slices
from data_prep.slicing.clip import clip_wav
from data_prep.slicing.cuts import cut_up, first_bar_line, tempo_of
from data_prep.slicing.slices import Slicing, Span
from data_prep.sound.blocks import release
from data_prep.sound.recording import SAMPLE_RATE, Decoded, RecordingFault, check_openable, decode
from data_prep.sound.tags import Tags, read_tags

State = dict[str, Any]
"""What is known of one recording: plain JSON, kept in the dataset so that nothing is done twice."""
DECODED_SHARE, HEARD_SHARE = 0.15, 0.6
"""Of the time that a recording takes, when it is decoded and when it is heard."""
LONGEST_SLICE_SECONDS = 380
STATED_FROM = 0.3
"""A tempo less sure than that cuts bars and is shown, but no caption states it."""


def prepare_recording(
    path: Path,
    name: str,
    state_file: Path,
    clip_folder: Path,
    settings: Settings,
    advance: Callable[[float], None] = lambda share: None,
) -> State:
    """Slice one recording; WAVs go to `clip_folder`, then, last, the state to `state_file`.

    `name` is its POSIX path below the library. What is wrong with a recording is in the state, not raised; OSError
    from writing is raised. `advance` is called with the share that is done, now and then.
    """
    state: State = {
        "recording": name,
        "settings": settings.analysis_key(),
        "fault": None,
        "slices": [],
        "rests": [],
    }
    try:
        check_openable(path)
        state["file_sha256"] = file_sha256(path)
        decoded = decode(path, clip_folder)
        state |= _facts_of(path, decoded)
        advance(DECODED_SHARE)
        tags = read_tags(path, PurePosixPath(name))
        state |= _facts_tagged(tags)
        music = hear(decoded.samples, tags, settings)
        state |= _facts_heard(music)
        state["fingerprint"] = near_duplicates.fingerprint(decoded.samples).to_text()
        advance(HEARD_SHARE)
        spans, rests = _not_too_long(*cut_up(decoded.samples, music, tags.cues, settings))
        state["rests"] = [[rest.start, rest.end, rest.reason] for rest in rests]
        if not spans:
            raise _no_slice(decoded, settings, rests)
        for index, span in enumerate(spans):
            clip_id, clip_hash = _write_clip(
                decoded, span, state["gain_db"], f"{slug(name)}-{index + 1:04d}", clip_folder
            )
            facts = _slice_facts(decoded, span, music, settings) | named_facts(tags)
            row = _row(clip_id, clip_hash, span, facts, decoded, state["gates"])
            state["slices"].append(row | {"downbeat_sample": first_bar_line(music, span)})
            release(decoded.samples)
            advance(HEARD_SHARE + (1 - HEARD_SHARE) * (index + 1) / len(spans))
    except RecordingFault as fault:
        state["fault"] = {"gate": fault.gate, "reason": fault.reason}
    except MemoryError:
        state["fault"] = {
            "gate": "too_long",
            "reason": "does not fit into memory; cut it into shorter recordings",
        }
    except OSError as error:
        if "file_sha256" in state:
            raise
        state["fault"] = {"gate": "unreadable", "reason": f"cannot be read: {error.strerror or error}"}
    if "file_sha256" in state:
        write_json(state_file, state)
    return state


def _not_too_long(spans: list[Span], rests: list[slices.Rest]) -> tuple[list[Span], list[slices.Rest]]:
    """Slices longer than any base generates are left over."""
    reason = f"longer than {LONGEST_SLICE_SECONDS} seconds, the longest that a base generates"
    long = [
        slices.Rest(span.start, span.end, reason) for span in spans if span.seconds > LONGEST_SLICE_SECONDS
    ]
    if not long:
        return spans, rests
    kept = [span for span in spans if span.seconds <= LONGEST_SLICE_SECONDS]
    return kept, sorted([*rests, *long], key=lambda rest: rest.start)


def _facts_of(path: Path, decoded: Decoded) -> State:
    return {
        "pcm_sha256": decoded.pcm_sha256,
        "seconds": round(decoded.seconds, 6),
        "source_rate": decoded.source_rate,
        "channels": decoded.channels,
        "subtype": decoded.subtype,
        "container": decoded.container,
        "gain_db": slices.gain_for(decoded.samples),
        "gates": recording_gates(path, decoded),
    }


def _facts_tagged(tags: Tags) -> State:
    return {
        "tags": tags.embedded,
        "loop": tags.tag_loop,
        "cues": [[cue.sample, cue.label] for cue in tags.cues],
    }


def _facts_heard(music: Music) -> State:
    tempo = music.tempo
    return {
        "hits": len(music.onsets),
        "tempo": {
            "bpm": tempo.bpm,
            "source": tempo.source,
            "confidence": tempo.confidence,
            "candidates": list(tempo.candidates),
            "followed": _followed(music),
        }
        if tempo
        else None,
        "metre": {"value": str(music.metre), "source": music.metre_source},
        "anchor_seconds": round(music.anchor / SAMPLE_RATE, 4),
        "downbeat_source": music.downbeat_source,
        "downbeat_confidence": downbeat_confidence(
            music.onsets, music.weights, music.anchor, tempo.bpm, music.metre.quarter_notes
        )
        if tempo
        else None,
        "warnings": music.warnings,
    }


def _followed(music: Music) -> list[list[float]] | None:
    """[second, bpm] of every bar, where the player was followed; None where one tempo holds from end to end."""
    if len(music.sections) < 2 and all(section.beats.steady for section in music.sections):
        return None
    bar = music.metre.quarter_notes
    curve = []
    for section in music.sections:
        for number in range(int((len(section.beats.places) - 1) // bar)):
            place, bpm = (
                section.beats.at(number * bar),
                section.beats.bpm_between(number * bar, (number + 1) * bar),
            )
            curve.append([round(place / SAMPLE_RATE, 3), round(bpm, 2)])
    return curve


def _no_slice(decoded: Decoded, settings: Settings, rests: list[slices.Rest]) -> RecordingFault:
    if settings.slicing in (Slicing.bars, Slicing.fixed):
        what = (
            f"{settings.bars} bars" if settings.slicing is Slicing.bars else f"{settings.seconds:g} seconds"
        )
        return RecordingFault(
            "shorter_than_slice", f"{decoded.seconds:.2f} s long, shorter than one slice of {what}"
        )
    return RecordingFault("no_slice", rests[0].reason if rests else "nothing in it makes a slice")


def _write_clip(decoded: Decoded, span: Span, gain_db: float, name: str, folder: Path) -> tuple[str, str]:
    """Write the WAV (PCM-24); returns its id and the SHA-256 of the file.

    The id ends in a hash of recording and content, so that other audio never comes under an old name.
    """
    content = clip_wav(decoded.samples, span, gain_db)
    clip_hash = hashlib.sha256(content).hexdigest()
    clip_id = f"{name}-{hashlib.sha256((decoded.pcm_sha256 + clip_hash).encode()).hexdigest()[:8]}"
    replace(folder / f"{clip_id}.wav", lambda beside: beside.write_bytes(content))
    return clip_id, clip_hash


def slug(name: str) -> str:
    """The file name in plain ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", PurePosixPath(name).stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40] or "take"


def _slice_facts(decoded: Decoded, span: Span, music: Music, settings: Settings) -> dict[str, Fact]:
    first = bisect_left(music.onsets, span.start, key=attrgetter("sample"))
    last = bisect_left(music.onsets, span.end, key=attrgetter("sample"))
    inside = [
        dataclasses.replace(onset, sample=onset.sample - span.start) for onset in music.onsets[first:last]
    ]
    facts = describe(decoded.samples[:, span.start : span.end], inside, settings.slicing)
    if facts["kind"]["value"] == "one-shot":
        return facts
    if music.tempo and music.tempo.confidence >= STATED_FROM:
        facts["tempo"] = fact(tempo_of(music, span), music.tempo.source, music.tempo.confidence)
    if music.swing:
        facts["swing"] = music.swing
    confidence = {"user": 1.0, "tag": 0.9, "name": 0.9}.get(music.metre_source, 0.5)
    return facts | {"metre": fact(str(music.metre), music.metre_source, confidence)}


def _row(
    clip_id: str, clip_hash: str, span: Span, facts: dict[str, Fact], decoded: Decoded, gates: dict[str, str]
) -> State:
    return {
        "id": clip_id,
        "clip_sha256": clip_hash,
        "start_sample": span.start,
        "end_sample": span.end,
        "fade_in_samples": span.fade_in,
        "fade_out_samples": span.fade_out,
        "seconds": round(span.seconds, 6),
        "fields": facts,
        "quality": slice_gates(gates, decoded.clipped_samples, span.start, span.end),
    }
