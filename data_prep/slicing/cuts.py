"""Which stretches of a recording become slices, by what was asked for."""

from __future__ import annotations

import math

import numpy as np

from data_prep.rhythm.bars import NOTHING_STRUCK, bars
from data_prep.rhythm.music import Music, Section
from data_prep.settings import Settings
from data_prep.slicing import slices
from data_prep.slicing.slices import PRE_ROLL, Rest, Slicing, Span
from data_prep.sound.embedded import Cue
from data_prep.sound.recording import SAMPLE_RATE, RecordingFault

LONG_SILENCE = 2 * SAMPLE_RATE
"""Silence before the first slice is reported from here on."""
NEARLY = round(0.03 * SAMPLE_RATE)


def cut_up(
    samples: np.ndarray, music: Music, cues: tuple[Cue, ...], settings: Settings
) -> tuple[list[Span], list[Rest]]:
    """Slices of a recording (2, samples) in order, and the stretches left over with their reasons.

    RecordingFault where the recording has not what this way of slicing needs.
    """
    length = samples.shape[1]
    if settings.slicing is Slicing.whole:
        return [Span(0, length)], []
    if settings.slicing is Slicing.cues:
        if not cues:
            raise RecordingFault("no_cues", "it has no cue markers; set some, or slice in another way")
        return slices.at_cues(samples, [cue.sample for cue in cues])
    if not music.onsets:
        raise RecordingFault("no_hits", "nothing is struck in it")
    if settings.slicing is Slicing.bars:
        spans, rests = _bars(length, music, settings)
    else:
        spans, rests = _without_tempo(samples, music, settings)
    rests += [_count_in(music, section) for section in music.sections if section.count_in]
    first = min(music.onsets[0].sample, spans[0].start if spans else length)
    if first >= LONG_SILENCE:
        rests.append(Rest(0, first, NOTHING_STRUCK))
    return spans, sorted(rests, key=lambda rest: rest.start)


def first_bar_line(music: Music, span: Span) -> int | None:
    """The sample of the first bar line in a slice, or of one that it begins just after; None where none is known."""
    section = music.section_at(span.end)
    if not section:
        return None
    bar = music.metre.quarter_notes
    number = max(0, math.ceil(section.beats.number_at(span.start - NEARLY) / bar))
    place = section.beats.at(number * bar)
    return round(place) if place < span.end else None


def tempo_of(music: Music, span: Span) -> float | None:
    """The tempo within a slice: that of its section, or how fast the player is just there."""
    section = music.section_at(span.end)
    if not section or not music.tempo:
        return music.tempo.bpm if music.tempo else None
    if section.beats.steady:
        return section.bpm
    return round(section.beats.bpm_over(span.start + PRE_ROLL, span.end + PRE_ROLL), 2)


def _bars(length: int, music: Music, settings: Settings) -> tuple[list[Span], list[Rest]]:
    if not music.tempo or not music.sections:
        raise RecordingFault(
            "no_tempo", "no steady pulse was found; say its tempo with --bpm, or slice by phrases"
        )
    per_bar = music.metre.quarter_notes
    spans: list[Span] = []
    rests: list[Rest] = []
    begins = [0, *(music.onsets[section.first].sample - PRE_ROLL for section in music.sections[1:]), length]
    for number, section in enumerate(music.sections):
        found, left = bars(
            music.onsets[section.first + section.count_in : section.last],
            section.beats,
            settings.bars * per_bar,
            per_bar,
            begin=begins[number],
            end=begins[number + 1],
            length=length,
            pickup=settings.pickup,
            tail=settings.tail,
        )
        spans += found
        rests += left
    return spans, rests


def _without_tempo(samples: np.ndarray, music: Music, settings: Settings) -> tuple[list[Span], list[Rest]]:
    if settings.slicing is Slicing.onsets:
        return slices.one_shots(samples, music.played)
    if settings.slicing is Slicing.phrases:
        return slices.phrases(samples, music.played)
    return slices.fixed(samples.shape[1], music.played, settings.seconds or 0.0)


def _count_in(music: Music, section: Section) -> Rest:
    clicks = music.onsets[section.first : section.first + section.count_in]
    end = round(section.beats.places[0]) - PRE_ROLL
    return Rest(max(0, clicks[0].sample - PRE_ROLL), end, "it is a count-in (--count-in keep keeps it)")
