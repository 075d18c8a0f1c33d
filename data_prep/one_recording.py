"""Everything that is done to one recording, in a process of its own: decode, hear, slice, describe, write."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data_prep import near_duplicates, slices
from data_prep.clip import clip_wav
from data_prep.descriptors import Fact, describe, fact, named_facts, swing
from data_prep.downbeat import downbeat_confidence, find_anchor, low_weights
from data_prep.files import file_sha256, replace, write_json
from data_prep.metre import Metre, parse_metre
from data_prep.onsets import Onset, detect
from data_prep.quality import recording_gates, slice_gates
from data_prep.recording import SAMPLE_RATE, Decoded, RecordingFault, check_openable, decode
from data_prep.settings import Settings
from data_prep.slices import Slicing, Span
from data_prep.tags import Tags, read_tags
from data_prep.tempo import Tempo, find_tempo

State = dict[str, Any]
"""What is known of one recording: plain JSON, kept in the dataset so that nothing is done twice."""


@dataclass(frozen=True)
class Music:
    """What was found out about a recording as a whole; `anchor` is the sample of its first beat, `weights` how
    much bass each onset has."""

    onsets: list[Onset]
    tempo: Tempo | None
    metre: Metre
    metre_source: str
    anchor: float
    weights: np.ndarray
    swing: Fact | None
    warnings: list[str]


def prepare_recording(
    path: Path, name: str, state_file: Path, clip_folder: Path, settings: Settings
) -> State:
    """Slice one recording; WAVs go to `clip_folder`, then, last, the state to `state_file`.

    `name` is its POSIX path below the library. What is wrong with a recording is in the state, not raised; OSError
    from writing is raised.
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
        tags = read_tags(path, PurePosixPath(name))
        state |= _facts_tagged(tags)
        music = hear(decoded, tags, settings)
        state |= _facts_heard(music)
        state["fingerprint"] = near_duplicates.fingerprint(decoded.samples).to_text()
        spans, rests = _spans(decoded, music, settings)
        state["rests"] = [[rest.start, rest.end, rest.reason] for rest in rests]
        if not spans:
            raise _no_slice(decoded, settings, rests)
        for index, span in enumerate(spans):
            clip_id, clip_hash = _write_clip(
                decoded, span, state["gain_db"], f"{slug(name)}-{index + 1:04d}", clip_folder
            )
            facts = _slice_facts(decoded, span, music, settings) | named_facts(tags)
            state["slices"].append(_row(clip_id, clip_hash, span, facts, decoded, state["gates"]))
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


def hear(decoded: Decoded, tags: Tags, settings: Settings) -> Music:
    """Onsets, tempo, metre and first beat of a recording."""
    onsets, envelope = detect(decoded.samples)
    tempo, warnings = find_tempo(
        onsets,
        envelope,
        decoded.seconds,
        user_bpm=settings.bpm,
        user_range=settings.bpm_range,
        tag_bpm=tags.tag_bpm,
        named_bpm=tags.named_bpm,
    )
    metre, source = _metre(tags, settings)
    anchor = find_anchor(onsets, tempo.bpm) if tempo and onsets else float(onsets[0].sample if onsets else 0)
    swung = swing(onsets, tempo.bpm, anchor) if tempo else None
    return Music(onsets, tempo, metre, source, anchor, low_weights(decoded.samples, onsets), swung, warnings)


def _metre(tags: Tags, settings: Settings) -> tuple[Metre, str]:
    if settings.bar:
        return settings.bar, "user"
    if tags.tag_metre:
        return parse_metre(tags.tag_metre), "tag"
    if tags.named_metre:
        return parse_metre(tags.named_metre), "name"
    return Metre(4, 4), "default"


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
        }
        if tempo
        else None,
        "metre": {"value": str(music.metre), "source": music.metre_source},
        "anchor_seconds": round(music.anchor / SAMPLE_RATE, 4),
        "downbeat_confidence": downbeat_confidence(
            music.onsets, music.weights, music.anchor, tempo.bpm, music.metre.quarter_notes
        )
        if tempo
        else None,
        "warnings": music.warnings,
    }


def _spans(decoded: Decoded, music: Music, settings: Settings) -> tuple[list[Span], list[slices.Rest]]:
    length = decoded.samples.shape[1]
    if settings.slicing is Slicing.whole:
        return [Span(0, length)], []
    if not music.onsets:
        raise RecordingFault("no_hits", "nothing is struck in it")
    if settings.slicing is Slicing.onsets:
        return slices.one_shots(decoded.samples, music.onsets)
    if settings.slicing is Slicing.phrases:
        return slices.phrases(decoded.samples, music.onsets)
    if settings.slicing is Slicing.fixed:
        return slices.fixed(length, music.onsets, settings.seconds or 0.0)
    if not music.tempo:
        raise RecordingFault(
            "no_tempo", "no steady pulse was found; say its tempo with --bpm, or slice by phrases"
        )
    beats = settings.bars * music.metre.quarter_notes
    return slices.bars(length, music.onsets, music.anchor, beats, music.tempo.bpm)


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
    inside = [
        dataclasses.replace(onset, sample=onset.sample - span.start)
        for onset in music.onsets
        if span.start <= onset.sample < span.end
    ]
    facts = describe(decoded.samples[:, span.start : span.end], inside, settings.slicing)
    if facts["kind"]["value"] == "one-shot":
        return facts
    if music.tempo:
        facts["tempo"] = fact(music.tempo.bpm, music.tempo.source, music.tempo.confidence)
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
