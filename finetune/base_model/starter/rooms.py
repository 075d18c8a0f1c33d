"""The room a kit stands in: direct sound, the first reflections of a box, and a diffuse tail darker than its start.

The reflections are those of the image sources of a rectangular room (Allen and Berkley 1979) up to second order,
heard by two ears or two microphones; the tail is noise in three bands, the high one dying first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from finetune.base_model.starter.synthesis import SAMPLE_RATE, Audio, decay, noise

SPEED_OF_SOUND = 343.0

# name: (length, width, height in metres), (seconds to -60 dB), (level of the room below the direct sound in dB)
ROOMS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "booth": ((1.6, 3.0), (0.08, 0.2), (-26, -12)),
    "studio": ((4.0, 8.0), (0.2, 0.5), (-22, -8)),
    "live room": ((7.0, 13.0), (0.45, 1.0), (-18, -5)),
    "hall": ((14.0, 30.0), (0.9, 1.6), (-20, -7)),
}
NAMES = ("none", *ROOMS)
SHARES = (0.3, 0.2, 0.28, 0.14, 0.08)
DRY_BELOW_DB, ROOMY_FROM_DB, ROOMY_FROM_SECONDS = -19.0, -14.0, 0.3
STRANGE_ROOM = ((1.0, 1.4), (0.06, 0.075), (-4, -3))
"""A wardrobe: smaller, shorter and louder than any that the starter base heard."""


@dataclass(frozen=True)
class Room:
    """`level_db` is the energy of the room beside that of the direct sound; `seconds` its decay to -60 dB."""

    size_metres: tuple[float, float, float]
    seconds: float
    level_db: float
    seed: int

    @property
    def word(self) -> str | None:
        """`dry`, `roomy`, or None where the ear would not commit itself."""
        if self.level_db < DRY_BELOW_DB:
            return "dry"
        loud = self.level_db >= ROOMY_FROM_DB and self.seconds >= ROOMY_FROM_SECONDS
        return "roomy" if loud else None

    def add(self, dry: Audio) -> Audio:
        """(2, samples) with the room's answer, cut to the same length."""
        if self.level_db < -60:
            return dry
        response = _response(self)
        size = next_fast_len(dry.shape[1] + response.shape[1] - 1, real=True)
        middle = rfft(dry.mean(axis=0), size)
        return dry + irfft(middle * rfft(response, size), size)[:, : dry.shape[1]]


def draw_room(seed: int, strange: bool) -> Room:
    """The room of the kit with this seed."""
    rng = np.random.default_rng([seed, 41])
    name = str(rng.choice(NAMES, p=SHARES))
    if name == "none" and not strange:
        return Room((0.0, 0.0, 0.0), 0.0, -99.0, seed)
    metres, seconds, level_db = STRANGE_ROOM if strange else ROOMS[name]
    length = rng.uniform(*metres)
    size = (length, length * rng.uniform(0.5, 0.9), min(length, rng.uniform(2.2, 3.5) + 0.2 * length))
    return Room(size, float(np.exp(rng.uniform(*np.log(seconds)))), float(rng.uniform(*level_db)), seed)


@lru_cache(maxsize=4)
def _response(room: Room) -> Audio:
    """(2, samples): what the room answers to a click, without the direct sound, at the room's level."""
    rng = np.random.default_rng([room.seed, 43])
    count = int((room.seconds + 0.1) * SAMPLE_RATE)
    early, late = np.zeros((2, count), np.float32), np.zeros((2, count), np.float32)
    size = np.array(room.size_metres)
    source, middle = size * rng.uniform(0.2, 0.8, 3), size * rng.uniform(0.2, 0.8, 3)
    apart = np.array([0.0, rng.uniform(0.08, 0.5), 0.0])
    absorbed = rng.uniform(0.55, 0.9)
    for ear in range(2):
        place = middle + (ear - 0.5) * apart
        direct = np.linalg.norm(source - place)
        for order in product((-1, 0, 1), repeat=3):
            if not any(order):
                continue
            image = np.where(np.abs(order), 2 * size * (np.array(order) > 0) - source, source)
            way = np.linalg.norm(image - place)
            at = int((way - direct) / SPEED_OF_SOUND * SAMPLE_RATE)
            if 0 <= at < count:
                early[ear, at] += absorbed ** np.abs(order).sum() * direct / way
        tail = room.seconds / 6.9
        begin = min(count // 4, int(size.min() / SPEED_OF_SOUND * SAMPLE_RATE))
        for low, high, share in ((80, 700, 1.0), (700, 4000, 0.85), (4000, 14000, 0.45)):
            heard = noise(rng, room.seconds, low, high, 1) * decay(room.seconds, tail * share)
            late[ear, begin : begin + len(heard)] += heard[: count - begin]
    early /= np.sqrt((early**2).sum() / 2) + 1e-9
    late /= np.sqrt((late**2).sum() / 2) + 1e-9
    balance = rng.uniform(0.3, 0.8)
    answer = np.sqrt(balance) * early + np.sqrt(1 - balance) * late
    return (answer * 10 ** (room.level_db / 20)).astype(np.float32)
