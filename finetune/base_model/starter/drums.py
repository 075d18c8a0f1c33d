"""A procedural drum kit: every hit follows from the kit's seed, its velocity and the number of its take."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

from finetune.base_model.starter.kits import PIECES_OF, RANGES, STRANGE, TYPE_SHARES, TYPES, Ranges
from finetune.base_model.starter.rooms import Room, draw_room
from finetune.base_model.starter.synthesis import SAMPLE_RATE as SAMPLE_RATE
from finetune.base_model.starter.synthesis import Audio as Audio
from finetune.base_model.starter.voices import SOFT_HZ, VOICES

PIECES = list(VOICES)
LAYERS = 5  # velocity layers: how hard a hit is changes its timbre in this many steps
TAKES = 3  # hits of the same layer that differ as those of one hand do


@dataclass(frozen=True)
class Kit:
    """One drummer's kit: all numbers follow from `seed`, so the same seed always sounds the same.

    `strange` moves the numbers outside the ranges that the starter base was trained on; personal libraries use it.
    """

    seed: int
    strange: bool = False
    type: str = field(init=False, compare=False)
    numbers: dict[str, float] = field(init=False, compare=False)
    room: Room = field(init=False, compare=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 17])
        drawn = str(rng.choice(TYPES, p=TYPE_SHARES))
        object.__setattr__(self, "type", "acoustic" if self.strange else drawn)
        ranges = STRANGE if self.strange else RANGES[self.type]
        numbers = {name: _draw(rng, name, ranges) for name in sorted(ranges)}
        object.__setattr__(self, "numbers", numbers | {"seed": float(self.seed)})
        object.__setattr__(self, "room", draw_room(self.seed, self.strange))

    @property
    def pieces(self) -> tuple[str, ...]:
        """What stands in this kit."""
        return PIECES_OF[self.type]

    def strike(self, piece: str, velocity: float, take: int) -> Audio:
        """One hit as mono audio with peak `velocity` (0..1); `take` varies it as a hand would."""
        layer = np.ceil(velocity * LAYERS) / LAYERS
        return _layer(self, piece, float(layer), take) * np.float32(velocity)

    def pan(self, piece: str) -> float:
        """Place in the stereo picture, -1 (left) to 1 (right); some kits were recorded in mono."""
        spread = np.random.default_rng([self.seed, 31]).choice(
            [0.0, 0.25, 0.5, 0.8], p=[0.25, 0.25, 0.35, 0.15]
        )
        rng = np.random.default_rng([self.seed, 31, PIECES.index(piece)])
        share = {"kick": 0.0, "snare": 0.2, "rimshot": 0.2, "side stick": 0.2}.get(piece, 1.0)
        return float(spread * share * rng.uniform(-1, 1))

    def level(self, piece: str) -> float:
        """How loud this piece is in the kit's mix, 0 to 1."""
        rng = np.random.default_rng([self.seed, 37, PIECES.index(piece)])
        low, high = LEVELS.get(piece, (0.45, 0.9))
        return float(rng.uniform(low, high))


LEVELS = {
    "kick": (0.75, 1.0), "snare": (0.65, 1.0), "rimshot": (0.6, 0.95), "clap": (0.6, 0.95),
    "closed hi-hat": (0.25, 0.7), "open hi-hat": (0.3, 0.65), "shaker": (0.25, 0.6), "tambourine": (0.25, 0.6),
    "crash cymbal": (0.4, 0.9), "ride cymbal": (0.3, 0.7),
}  # fmt: skip


def _draw(rng: np.random.Generator, name: str, ranges: Ranges) -> float:
    """Evenly between the bounds; frequencies and times evenly in their logarithm."""
    low, high = ranges[name]
    if name.endswith(("_hz", "_decay", "_seconds")):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(rng.uniform(low, high))


@lru_cache(maxsize=384)
def _layer(kit: Kit, piece: str, velocity: float, take: int) -> Audio:
    rng = np.random.default_rng([kit.seed, 29, PIECES.index(piece), take])
    sound = _soften(VOICES[piece](kit.numbers, rng, velocity), SOFT_HZ[piece], velocity)
    return _finish(sound, kit.numbers["drive"])


def _soften(sound: Audio, above_hz: float, velocity: float) -> Audio:
    """A soft stick excites less of what lies above `above_hz`."""
    share = np.float32(0.85 * (1 - velocity))
    pole = np.float32(np.exp(-2 * np.pi * above_hz / SAMPLE_RATE))
    low = lfilter(np.array([1 - pole]), np.array([1, -pole], np.float32), sound)
    return ((1 - share) * sound + share * low).astype(np.float32)


def _finish(sound: Audio, drive: float) -> Audio:
    """Saturate, normalise to peak 1, fade the last tenth."""
    peak = np.abs(sound).max()
    if drive > 0.05:
        sound = np.tanh(sound / (peak + 1e-9) * np.float32(0.2 + drive))
    sound = sound / (np.abs(sound).max() + 1e-9)
    fade = max(1, len(sound) // 10)
    sound[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound.astype(np.float32)
