"""Which voice plays which piece, and above what a soft hit is duller than a hard one."""

from __future__ import annotations

from finetune.base_model.starter.drumheads import hand_drum, kick, rimshot, side_stick, snare, tabla, tom
from finetune.base_model.starter.metal import closed_hat, cowbell, crash, open_hat, ride, tambourine
from finetune.base_model.starter.small_percussion import clap, shaker, woodblock
from finetune.base_model.starter.synthesis import Voice

VOICES: dict[str, Voice] = {
    "kick": kick, "snare": snare, "rimshot": rimshot, "side stick": side_stick,
    "closed hi-hat": closed_hat, "open hi-hat": open_hat,
    "high tom": tom("high tom"), "mid tom": tom("mid tom"), "floor tom": tom("floor tom"),
    "crash cymbal": crash, "ride cymbal": ride,
    "conga": hand_drum("", 1.1), "bongo": hand_drum("bongo_ratio", 0.8), "tabla": tabla,
    "cowbell": cowbell, "clap": clap, "shaker": shaker, "tambourine": tambourine, "woodblock": woodblock,
}  # fmt: skip
SOFT_HZ = {
    "kick": 150, "snare": 2500, "rimshot": 2500, "side stick": 1200, "closed hi-hat": 7000, "open hi-hat": 6000,
    "high tom": 350, "mid tom": 300, "floor tom": 250, "crash cymbal": 4000, "ride cymbal": 4000, "conga": 500,
    "bongo": 900, "tabla": 700, "cowbell": 1800, "clap": 2000, "shaker": 7000, "tambourine": 6000, "woodblock": 1500,
}  # fmt: skip
"""Above this a soft hit has less of everything than a hard one."""
