"""Which sounds are heard side by side: from the list of an evaluation to the rows of its page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from finetune.evaluation.results import Copy, Evaluation, Sound

NAMES = {"base": "Base", "adapted": "Adapted", "held out": "Your take", "training": "Training clip"}
OWN = ["held out", "training"]


@dataclass(frozen=True)
class Take:
    """A sound in a row: its name there, and from which second it is heard."""

    sound: Sound
    name: str
    begins: float = 0.0


@dataclass(frozen=True)
class Row:
    """Takes that play in time with each other. `seconds` is how long, None for all of the longest."""

    id: str
    title: str
    about: str
    takes: list[Take]
    seconds: float | None = None
    copy: Copy | None = None


@dataclass(frozen=True)
class Rows:
    """`pairs` prompts of the set, `kept` those outside, `steps` a prompt over checkpoints, `copies` beside their clips;
    `blind` (base, adapted, own take or None), ids of what a blind test plays."""

    pairs: list[Row]
    kept: list[Row]
    steps: list[Row]
    copies: list[Row]
    blind: list[tuple[str, str, str | None]]

    def all(self) -> list[Row]:
        return [*self.pairs, *self.kept, *self.steps, *self.copies]


def arrange(evaluation: Evaluation) -> Rows:
    """Every sound that is in a row; one that pairs with nothing is in none."""
    sounds = evaluation.sounds
    pairs: dict[str, list[Sound]] = {}
    for sound in sounds:
        if sound.pair and sound.kind in ("base", "adapted"):
            pairs.setdefault(sound.pair, []).append(sound)
    rows: dict[str, list[Row]] = {"set": [], "kept": []}
    blind: list[tuple[str, str, str | None]] = []
    for name, members in pairs.items():
        if all(sound.kind != "base" for sound in members):
            continue  # made to look for copies, and heard there
        own = _own_take(members[0], sounds)
        row = _pair(name, members, own)
        rows[members[0].prompt_set].append(row)
        blind += _hidden(members, own)
    return Rows(rows["set"], rows["kept"], _over_steps(sounds), _copies(evaluation), blind)


def _pair(name: str, members: list[Sound], own: Sound | None) -> Row:
    ordered = sorted(members, key=lambda sound: (sound.kind != "base", sound.strength or 0.0))
    several = sum(sound.kind == "adapted" for sound in members) > 1
    takes = [*(Take(sound, _name(sound, several)) for sound in ordered), *_own(own)]
    return Row(f"pair-{name}", members[0].prompt, _about(ordered), takes)


def _name(sound: Sound, with_strength: bool = False) -> str:
    if sound.kind == "checkpoint":
        return f"Step {sound.step}"
    at = (
        f" at {sound.strength:g}"
        if with_strength and sound.kind == "adapted" and sound.strength is not None
        else ""
    )
    return NAMES[sound.kind] + at


def _about(members: Iterable[Sound]) -> str:
    """Seed and strength, where they are known and the same."""
    made = [sound for sound in members if sound.kind in ("base", "adapted", "checkpoint")]
    seeds = {sound.seed for sound in made if sound.seed is not None}
    strengths = sorted(
        {sound.strength for sound in made if sound.kind != "base" and sound.strength is not None}
    )
    words = [f"seed {seeds.pop()}"] if len(seeds) == 1 else [f"seeds {sorted(seeds)}"] if seeds else []
    if strengths:
        words.append(f"strength {', '.join(f'{each:g}' for each in strengths)}")
    return ", ".join(words)


def _own_take(sound: Sound, sounds: list[Sound]) -> Sound | None:
    """The player's own take for a prompt: of the same pair, or else of the same caption, held out before trained on."""
    takes = sorted((each for each in sounds if each.kind in OWN), key=lambda each: OWN.index(each.kind))
    same = [each for each in takes if each.pair and each.pair == sound.pair]
    return next(iter(same or [each for each in takes if each.prompt == sound.prompt]), None)


def _own(take: Sound | None) -> list[Take]:
    if take is None:
        return []
    return [Take(take, NAMES["held out"] if take.kind == "held out" else "Your take, trained on")]


def _hidden(members: list[Sound], own: Sound | None) -> list[tuple[str, str, str | None]]:
    """Base and adapter of one seed; of several strengths the highest."""
    base = next((sound for sound in members if sound.kind == "base"), None)
    adapted = [sound for sound in members if sound.kind == "adapted" and base and sound.seed == base.seed]
    if not base or not adapted:
        return []
    return [(base.id, max(adapted, key=lambda sound: sound.strength or 0.0).id, own.id if own else None)]


def _over_steps(sounds: list[Sound]) -> list[Row]:
    """A row for each prompt and seed of which there is more than one checkpoint, the base first."""
    groups: dict[tuple[str, int | None], list[Sound]] = {}
    for sound in sounds:
        if sound.kind == "checkpoint":
            groups.setdefault((sound.pair or sound.prompt, sound.seed), []).append(sound)
    rows = []
    for number, ((pair, seed), members) in enumerate(groups.items(), start=1):
        members = sorted(members, key=lambda sound: sound.step or 0)
        base = [each for each in sounds if each.kind == "base" and each.pair == pair and each.seed == seed]
        own = _own(_own_take(members[0], sounds))
        takes = [*(Take(sound, _name(sound)) for sound in (*base[:1], *members)), *own]
        rows.append(Row(f"steps-{number}", members[0].prompt, _about(members), takes))
    return rows


def _copies(evaluation: Evaluation) -> list[Row]:
    """What was found near a training clip, the nearest first, each beside the clip at the matching place."""
    by_id = {sound.id: sound for sound in evaluation.sounds}
    clips = {sound.clip: sound for sound in evaluation.sounds if sound.kind == "training"}
    order = {"verbatim": 0, "same groove": 1, "new": 2}
    rows: list[Row] = []
    for copy in sorted(evaluation.copied.nearest, key=lambda each: (order[each.verdict], -each.waveform)):
        sound, clip = by_id.get(copy.sound), clips.get(copy.clip)
        if sound is None or clip is None:
            continue
        takes = [
            Take(sound, "Generated", copy.sound_seconds),
            Take(clip, NAMES["training"], copy.clip_seconds),
        ]
        about = _about([sound])
        rows.append(Row(f"copy-{len(rows) + 1}", sound.prompt, about, takes, copy.length_seconds, copy))
    return rows
