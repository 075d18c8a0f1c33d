"""Who plays where: grooves in several styles, metres and swings, most with a plain pulse, some without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Step = tuple[str, float, float]  # piece, position in beats (quarter notes) from the bar line, velocity 0..1

GRIDS = {"4/4": 16, "3/4": 12, "6/8": 12, "7/8": 14, "5/4": 20}  # sixteenths in a bar
METRE_SHARES = (0.8, 0.07, 0.05, 0.05, 0.03)
FEET = {"4/4": (0, 8), "3/4": (0,), "6/8": (0,), "7/8": (0, 8), "5/4": (0, 12)}
BACKS = {"4/4": (4, 12), "3/4": (4, 8), "6/8": (6,), "7/8": (4, 12), "5/4": (4, 16)}
"""Sixteenths of the bass drum and of the backbeat in the plain groove of each metre."""
SLOWEST_BPM, FASTEST_BPM = 60, 190
MOST_STEPS_PER_SECOND = 11.0
STANDARD_SHARE = 0.74
FEWEST_LATE = 3


@dataclass(frozen=True)
class Groove:
    """A bar that repeats, and its feel.

    `swing` is the share that the first of each pair lasts, .5 straight; a pair is `swung_beats` quarter notes long
    (1 swings eighths, .5 sixteenths). `standard` says that anybody could tap its pulse.
    """

    metre: str
    bpm: float
    swing: float
    swung_beats: float
    bar: tuple[Step, ...]
    fill: tuple[Step, ...]
    jitter_seconds: float
    standard: bool = True

    @property
    def beats(self) -> float:
        """Quarter notes in a bar."""
        return GRIDS[self.metre] / 4

    @property
    def bar_seconds(self) -> float:
        return self.beats * 60 / self.bpm

    def seconds_at(self, beat: float) -> float:
        """When a step at `beat` is played: the second of each pair comes late."""
        pair, rest = divmod(beat, self.swung_beats)
        half, early = self.swung_beats / 2, self.swung_beats * self.swing
        late = (
            rest / half * early if rest < half else early + (rest - half) / half * (self.swung_beats - early)
        )
        return (pair * self.swung_beats + late) * 60 / self.bpm


def draw_groove(
    rng: np.random.Generator, pieces: tuple[str, ...], metre: str | None = None, bpm: float | None = None
) -> Groove:
    """A groove for a kit that has these pieces."""
    metre = metre or str(rng.choice(list(GRIDS), p=METRE_SHARES))
    bpm = bpm or round(float(np.exp(rng.uniform(np.log(SLOWEST_BPM), np.log(FASTEST_BPM)))))
    standard = bool(rng.random() < STANDARD_SHARE)
    hand = "kick" not in pieces
    plain = (_hand_groove if hand else _backbeat)(rng, metre, bpm)
    if not standard:
        plain = (_free_hands if hand else _free_kit)(rng, metre, bpm)
    bar = _unique([(piece, step / 4, level) for piece, step, level in plain if piece in pieces])
    swing, swung_beats = _draw_swing(rng, metre, bpm, bar)
    if swung_beats == 1.0:  # a shuffle leans on the beat, or its triplets would be heard as the pulse
        bar = tuple((piece, at, level * (1.0 if at % 1 == 0 else 0.55)) for piece, at, level in bar)
    jitter = float(rng.uniform(0.0005, 0.006))
    return Groove(metre, bpm, swing, swung_beats, bar, draw_fill(rng, metre, pieces), jitter, standard)


def draw_fill(rng: np.random.Generator, metre: str, pieces: tuple[str, ...]) -> tuple[Step, ...]:
    """Runs down the drums at the end of a bar, one or two hits a step, growing louder."""
    ways = [["snare", "high tom", "mid tom", "floor tom"], ["snare", "kick"], ["bongo", "conga"], ["tabla"]]
    able = [way for way in ways if all(piece in pieces for piece in way)]
    way = able[int(rng.integers(len(able)))]
    steps = GRIDS[metre]
    start = steps - int(rng.choice([4, 6, 8], p=[0.4, 0.2, 0.4]))
    every, share = int(rng.choice([1, 2], p=[0.7, 0.3])), rng.uniform(0.7, 1.0)
    fill = []
    for step in range(start, steps, every):
        if step == start or rng.random() < share:
            place = (step - start) / (steps - start)
            level = float(np.clip(0.5 + 0.4 * place + rng.normal(0, 0.08), 0.2, 1))
            fill.append((way[min(len(way) - 1, int(place * len(way)))], step / 4, level))
    return tuple(fill)


def _draw_swing(
    rng: np.random.Generator, metre: str, bpm: float, bar: tuple[Step, ...]
) -> tuple[float, float]:
    """Amount, and length of a pair in beats; a bar swings only where enough is played off the beat to be late."""
    off = {pair: sum(at % pair == pair / 2 for _, at, _ in bar) for pair in (1.0, 0.5)}
    sixteenths = off[0.5] >= FEWEST_LATE and bpm < 135 and metre != "6/8"
    eighths = off[1.0] >= FEWEST_LATE and bpm > 75 and metre in ("4/4", "3/4", "5/4")
    swung = rng.random() < (0.45 if sixteenths else 0.16)
    if not swung or not (sixteenths or eighths):
        return 0.5, 0.5
    return round(float(rng.triangular(0.56, 0.6, 0.67)), 3), 0.5 if sixteenths else 1.0


Plan = list[tuple[str, float, float]]  # piece, sixteenth, velocity


def _unique(steps: Plan) -> tuple[Step, ...]:
    """One hit per piece and place, the loudest."""
    loudest: dict[tuple[str, float], float] = {}
    for piece, at, level in steps:
        loudest[piece, at] = max(level, loudest.get((piece, at), 0.0))
    return tuple((piece, at, level) for (piece, at), level in sorted(loudest.items(), key=lambda x: x[0][1]))


def _keep_time(rng: np.random.Generator, metre: str, bpm: float, choices: dict[str, float]) -> Plan:
    """A steady voice in quarters, eighths or sixteenths, accented on the beat; the hat may open before a beat."""
    steps = GRIDS[metre]
    piece = str(rng.choice(list(choices), p=list(choices.values())))
    pace = bpm / 60 * 4
    slowest = 2 if metre in ("6/8", "7/8") or bpm < 125 else 4
    possible = [n for n in (1, 2, 4) if pace / n <= MOST_STEPS_PER_SECOND and n <= slowest]
    every = int(rng.choice(possible, p=_shares(possible, {1: 0.3, 2: 0.6, 4: 0.15})))
    strong, weak = rng.uniform(0.65, 0.95), rng.uniform(0.4, 0.75)
    beat = 6 if metre == "6/8" else 4
    kept = [(piece, float(s), strong if s % beat == 0 else strong * weak) for s in range(0, steps, every)]
    if piece == "closed hi-hat" and every <= 2 and rng.random() < 0.35:
        at = steps - 2 if rng.random() < 0.6 else 6
        kept = [("open hi-hat" if step == at else p, step, v) for p, step, v in kept]
    return kept


def _shares(keys: list[int], weights: dict[int, float]) -> np.ndarray:
    chosen = np.array([weights[key] for key in keys])
    return chosen / chosen.sum()


def _backbeat(rng: np.random.Generator, metre: str, bpm: float) -> Plan:
    """Bass drum on one, backbeat, steady time: plain, four on the floor, half-time or a break."""
    steps = GRIDS[metre]
    kind = str(rng.choice(["plain", "floor", "half", "break"], p=[0.5, 0.17, 0.1, 0.23]))
    feet, backs = set(FEET[metre]), set(BACKS[metre])
    if kind == "floor" and metre != "6/8":
        feet = set(range(0, steps, 4))
    if kind == "half" and metre == "4/4":
        feet, backs = {0}, {8}
    if kind == "break" and metre == "4/4":
        feet = {0, int(rng.choice([10, 7, 11])), int(rng.choice([2, 10, 10]))}
    spare = [s for s in range(2, steps, 2) if s not in backs]
    if kind != "floor":
        feet |= {s for s in spare if rng.random() < 0.1}
    back = str(rng.choice(["snare", "clap", "rimshot", "side stick"], p=[0.78, 0.08, 0.07, 0.07]))
    plan: Plan = [("kick", float(s), float(rng.uniform(0.8, 1.0))) for s in sorted(feet)]
    for s in sorted(backs):
        plan += [
            (piece, float(s), float(rng.uniform(0.8, 1.0))) for piece in {back, "snare"} if piece == back
        ]
    if back != "snare" and rng.random() < 0.5:
        plan += [("snare", float(s), float(rng.uniform(0.6, 0.9))) for s in sorted(backs)]
    ghosts = 0.28 if kind == "break" else 0.14 if rng.random() < 0.4 else 0.0
    if bpm < 150:
        plan += [
            ("snare", float(s), float(rng.uniform(0.1, 0.28)))
            for s in range(1, steps)
            if s not in backs and s not in feet and rng.random() < ghosts
        ]
    plan += _keep_time(
        rng, metre, bpm, {"closed hi-hat": 0.7, "ride cymbal": 0.14, "shaker": 0.08, "tambourine": 0.08}
    )
    plan += (
        _keep_time(rng, metre, bpm, {"closed hi-hat": 1.0})
        if not any(s[0] == "closed hi-hat" for s in plan)
        else []
    )
    return plan + ([("crash cymbal", 0.0, 0.8)] if rng.random() < 0.05 else [])


def _hand_groove(rng: np.random.Generator, metre: str, bpm: float) -> Plan:
    """Low drum on one, high drum or clap on the backbeat, a shaker or bell that keeps time."""
    steps = GRIDS[metre]
    low, high = [
        ("conga", "bongo"),
        ("conga", "clap"),
        ("tabla", "clap"),
        ("conga", "conga"),
        ("tabla", "tabla"),
    ][int(rng.choice(5, p=[0.4, 0.2, 0.1, 0.15, 0.15]))]
    plan: Plan = [(low, float(s), float(rng.uniform(0.8, 1.0))) for s in FEET[metre]]
    plan += [(high, float(s), float(rng.uniform(0.75, 1.0))) for s in BACKS[metre]]
    if metre == "4/4" and rng.random() < 0.6:
        plan += [(low, 14.0, 0.7), (low, 15.0 if bpm < 110 else 14.0, 0.6)]
    plan += [(low, float(s), float(rng.uniform(0.25, 0.5))) for s in range(2, steps, 2) if rng.random() < 0.3]
    return plan + _keep_time(
        rng, metre, bpm, {"shaker": 0.45, "cowbell": 0.2, "tambourine": 0.2, "woodblock": 0.15}
    )


def _free_hands(rng: np.random.Generator, metre: str, bpm: float) -> Plan:
    """Two drums in conversation, with or without a bell."""
    steps, every = GRIDS[metre], 1 if bpm < 130 else 2
    drums = [("conga", "bongo"), ("tabla", "tabla"), ("bongo", "conga"), ("conga", "side stick")][
        int(rng.integers(4))
    ]
    plan: Plan = [(drums[0], 0.0, 0.9)]
    for s in range(every, steps, every):
        if rng.random() < 0.5:
            plan.append((drums[int(rng.random() < 0.4)], float(s), float(rng.uniform(0.25, 0.95))))
    if metre == "4/4" and rng.random() < 0.4:
        plan += [(str(rng.choice(["cowbell", "woodblock"])), float(s), 0.7) for s in (0, 3, 6, 10, 12)]
    return plan


def _free_kit(rng: np.random.Generator, metre: str, bpm: float) -> Plan:
    """Samba's bass drum, a tom groove, a displaced or a bare beat."""
    steps, kind = GRIDS[metre], str(rng.choice(["samba", "toms", "displaced", "bare"]))
    if kind == "samba":
        plan: Plan = [("kick", float(s), 0.9 if s % 4 == 0 else 0.7) for s in range(steps) if s % 4 in (0, 3)]
        plan += [
            ("snare", float(s), 0.7 if rng.random() < 0.35 else float(rng.uniform(0.15, 0.35)))
            for s in range(0, steps, 1 if bpm < 125 else 2)
        ]
        return plan + _keep_time(rng, metre, bpm, {"closed hi-hat": 0.6, "ride cymbal": 0.4})
    if kind == "toms":
        plan = [("kick", float(s), 0.9) for s in FEET[metre]]
        toms = ["floor tom", "mid tom", "high tom"]
        weights = rng.dirichlet([2, 1, 1])
        return plan + [
            (str(rng.choice(toms, p=weights)), float(s), 0.85 if s % 4 == 0 else float(rng.uniform(0.3, 0.7)))
            for s in range(0, steps, 1 if bpm < 100 else 2)
            if rng.random() < 0.75
        ]
    if kind == "displaced":
        moved = int(rng.choice([-2, -1, 1, 2]))
        plan = [("kick", float(s), 0.9) for s in {0, *rng.integers(1, steps, 3).tolist()}]
        plan += [("snare", float((s + moved) % steps), 0.9) for s in BACKS[metre]]
        return plan + _keep_time(rng, metre, bpm, {"closed hi-hat": 0.6, "ride cymbal": 0.2, "cowbell": 0.2})
    plan = [
        ("kick", float(s), float(rng.uniform(0.75, 1))) for s in {0, *rng.integers(1, steps // 2, 2).tolist()}
    ]
    return plan + [("snare", float(s), 0.9) for s in BACKS[metre]]
