"""What is found out about a recording as a whole: its hits, tempo, metre, and where its bars begin."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_prep.fact import Fact
from data_prep.heard.descriptors import swing
from data_prep.rhythm.beats import Beats, follow, steady_beats
from data_prep.rhythm.count_in import find_count_in
from data_prep.rhythm.downbeat import find_anchor, low_weights, place_cues, place_downbeat
from data_prep.rhythm.metre import Metre, parse_metre
from data_prep.rhythm.onsets import HOP, Onset, detect
from data_prep.rhythm.tempo import Tempo, find_tempo
from data_prep.rhythm.tempo_grid import FEWEST_ONSETS, coherence, refine
from data_prep.settings import Settings
from data_prep.slicing.slices import KeepOrDrop
from data_prep.sound.recording import SAMPLE_RATE
from data_prep.sound.tags import Tags

PAUSE_SECONDS = 2.5
"""After a pause of this length what is played has a first beat and a tempo of its own, unless it goes on in time."""
SAME_OCTAVE = 1.4
GOES_ON = 0.85
"""A pause is counted through where the hits on both sides keep this much of their coherence on one grid."""
START_SECONDS = 10.0
START_WITHIN = 0.08
FOLLOWED_WITHIN = 0.06


@dataclass(frozen=True)
class Section:
    """A stretch of a recording that is played through: hits `first` to `last` (exclusive), the first `count_in` of
    them clicks; `beats`, whose first is the first downbeat; its mean tempo."""

    first: int
    last: int
    count_in: int
    beats: Beats
    bpm: float


@dataclass(frozen=True)
class Music:
    """`onsets` are all hits, `weights` how much bass each has. `sections` are in order, none without a tempo.
    `downbeat_source` says who knows where the first bar begins: `user`, `cue`, `count-in` or `first hit`."""

    onsets: list[Onset]
    weights: np.ndarray
    tempo: Tempo | None
    metre: Metre
    metre_source: str
    sections: tuple[Section, ...]
    downbeat_source: str
    swing: Fact | None
    warnings: list[str]

    @property
    def anchor(self) -> float:
        """The sample of the first downbeat."""
        if self.sections:
            return float(self.sections[0].beats.places[0])
        return float(self.onsets[0].sample) if self.onsets else 0.0

    @property
    def played(self) -> list[Onset]:
        """The hits without those of count-ins."""
        clicks = {section.first + number for section in self.sections for number in range(section.count_in)}
        return [onset for number, onset in enumerate(self.onsets) if number not in clicks]

    def section_at(self, sample: int) -> Section | None:
        """The section that a sample lies in, or the one before; None before the first."""
        before = [each for each in self.sections if self.onsets[each.first].sample <= sample]
        return before[-1] if before else None


def hear(samples: np.ndarray, tags: Tags, settings: Settings) -> Music:
    """Hits, tempo, metre and bars of a recording (2, samples)."""
    onsets, envelope = detect(samples)
    weights = low_weights(samples, onsets)
    metre, metre_source = _metre(tags, settings)
    tempo, warnings, sections, source = None, [], [], "first hit"
    stretches = _stretches(onsets)
    for first, last in sorted(stretches, key=lambda each: each[0] - each[1]):  # the longest says the octave
        found, doubts = _tempo(onsets[first:last], envelope, samples.shape[1], tags, settings, tempo)
        if found is None and len(stretches) > 1 and last - first < len(onsets):
            continue
        if tempo is None:
            tempo, warnings = found, doubts
        if found:
            sections.append((first, last, found.bpm))
    made = []
    for number, (first, last, bpm) in enumerate(_counted_through(sorted(sections), onsets)):
        section, said_by, doubts = _section(
            samples, onsets, weights, (first, last), bpm, tags, settings, metre, number == 0
        )
        warnings = [*warnings, *doubts]
        source = said_by if number == 0 else source
        made.append(section)
    if tempo and made and not all(section.beats.steady for section in made):
        longest = max(made, key=lambda section: section.last - section.first)
        tempo = dataclasses.replace(tempo, bpm=round(longest.bpm, 2))
    swung = swing(onsets, tempo.bpm, float(made[0].beats.places[0])) if tempo and made else None
    return Music(onsets, weights, tempo, metre, metre_source, tuple(made), source, swung, warnings)


def _metre(tags: Tags, settings: Settings) -> tuple[Metre, str]:
    if settings.bar:
        return settings.bar, "user"
    if tags.tag_metre:
        return parse_metre(tags.tag_metre), "tag"
    if tags.named_metre:
        return parse_metre(tags.named_metre), "name"
    return Metre(4, 4), "default"


def _stretches(onsets: list[Onset]) -> list[tuple[int, int]]:
    """First and last (exclusive) hit of each stretch between pauses; those with too few hits to have a tempo join
    none, unless nothing else is there."""
    if not onsets:
        return []
    places = np.array([onset.sample for onset in onsets])
    starts = [0, *(np.flatnonzero(np.diff(places) > PAUSE_SECONDS * SAMPLE_RATE) + 1), len(onsets)]
    found = [(int(a), int(b)) for a, b in pairwise(starts) if b - a >= FEWEST_ONSETS]
    return found or [(0, len(onsets))]


def _tempo(
    onsets: list[Onset],
    envelope: np.ndarray,
    length: int,
    tags: Tags,
    settings: Settings,
    known: Tempo | None,
) -> tuple[Tempo | None, list[str]]:
    """The tempo of a stretch of hits, in the octave of the tempo that is `known` of a longer one."""
    whole = onsets[-1].sample - onsets[0].sample > 0.9 * length or known is None
    first, last = (0, len(envelope)) if whole else (onsets[0].sample // HOP, onsets[-1].sample // HOP + 1)
    bounds = settings.bpm_range
    if known and not bounds:
        bounds = (known.bpm / SAME_OCTAVE, known.bpm * SAME_OCTAVE)
    beats = tags.tag_beats if tags.tag_loop else None
    return find_tempo(
        onsets,
        envelope[first:last],
        length / SAMPLE_RATE,
        user_bpm=settings.bpm,
        user_range=bounds,
        tag_bpm=tags.tag_bpm or (60 * beats * SAMPLE_RATE / length if beats else None),
        named_bpm=tags.named_bpm,
    )


def _counted_through(
    stretches: list[tuple[int, int, float]], onsets: list[Onset]
) -> list[tuple[int, int, float]]:
    """Stretches joined where a pause between them is counted through in time."""
    joined: list[tuple[int, int, float]] = []
    for first, last, bpm in stretches:
        if joined:
            begun, before, kept = joined[-1]
            together = refine(kept, onsets[begun:last])
            apart = min(coherence(kept, onsets[begun:before]), coherence(bpm, onsets[first:last]))
            if coherence(together, onsets[begun:last]) >= GOES_ON * apart and abs(together / kept - 1) < 0.01:
                joined[-1] = (begun, last, together if kept == bpm else kept)
                continue
        joined.append((first, last, bpm))
    return joined


def _section(
    samples: np.ndarray,
    onsets: list[Onset],
    weights: np.ndarray,
    hits: tuple[int, int],
    bpm: float,
    tags: Tags,
    settings: Settings,
    metre: Metre,
    is_first: bool,
) -> tuple[Section, str, list[str]]:
    """A section with its beats, who knows where its first bar begins, and doubts."""
    first, last = hits
    mine = onsets[first:last]
    start = [each for each in mine if each.sample <= mine[0].sample + START_SECONDS * SAMPLE_RATE]
    at_start = refine(bpm, start, START_WITHIN)
    local = at_start if abs(at_start / bpm - 1) > 0.002 and not settings.click else bpm
    clicks = 0
    if settings.count_in is KeepOrDrop.drop:
        clicks = find_count_in(samples, mine, weights[first:last], local)
    anchor, source, doubts = find_anchor(mine[clicks:], local), "count-in" if clicks else "first hit", []
    if settings.downbeat is not None and is_first:
        anchor, source = place_downbeat(settings.downbeat * SAMPLE_RATE, mine, local), "user"
    elif marked := [cue.sample for cue in tags.cues if _within(cue.sample, mine)]:
        placed = place_cues(marked, anchor, bpm, metre.quarter_notes)
        if placed is None:
            doubts = ["its cue markers are on no bar lines; they are not used (--slice cues cuts at them)"]
        else:
            anchor, source = placed, "cue"
    end = onsets[last].sample if last < len(onsets) else samples.shape[1]
    beats = _beats(mine[clicks:], anchor, bpm, local, end, settings, said=source in ("user", "cue"))
    mean = bpm if beats.steady else beats.bpm_between(0, len(beats.places) - 1)
    return Section(first, last, clicks, beats, mean), source, doubts


def _beats(
    onsets: list[Onset],
    anchor: float,
    bpm: float,
    at_start: float,
    end: int,
    settings: Settings,
    *,
    said: bool,
) -> Beats:
    """On one tempo where the hits keep to it, where the player says so, or where there is too little to follow."""
    after = [onset for onset in onsets if onset.sample >= anchor - 0.05 * SAMPLE_RATE]
    if settings.click or len(after) < 2 * FEWEST_ONSETS:
        return steady_beats(anchor, bpm, end)
    if settings.bpm and abs(refine(bpm, onsets, FOLLOWED_WITHIN) / bpm - 1) > 0.9 * FOLLOWED_WITHIN:
        return steady_beats(anchor, bpm, end)
    return follow(after, anchor, bpm, at_start, end, said=said)


def _within(sample: int, onsets: list[Onset]) -> bool:
    return onsets[0].sample - PAUSE_SECONDS * SAMPLE_RATE <= sample <= onsets[-1].sample
