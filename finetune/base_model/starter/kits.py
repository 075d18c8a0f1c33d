"""Between what bounds the numbers of a kit are drawn: acoustic kits, drum machines, hand percussion, and strangers.

Chosen to take in the centroids, decay times and band energies of real one-shots, never fitted to any one of them.
"""

from __future__ import annotations

Ranges = dict[str, tuple[float, float]]

TYPES = ("acoustic", "electronic", "hand percussion")
TYPE_SHARES = (0.52, 0.28, 0.2)

DRUMS = ("kick", "snare", "closed hi-hat", "open hi-hat", "high tom", "mid tom", "floor tom")
PIECES_OF: dict[str, tuple[str, ...]] = {
    "acoustic": (
        *DRUMS, "crash cymbal", "ride cymbal", "rimshot", "side stick", "cowbell", "tambourine", "woodblock",
    ),
    "electronic": (*DRUMS, "crash cymbal", "ride cymbal", "rimshot", "clap", "cowbell", "shaker"),
    "hand percussion": (
        "conga", "bongo", "tabla", "cowbell", "clap", "shaker", "tambourine", "woodblock", "side stick",
    ),
}  # fmt: skip
IMPORTANT = (*DRUMS, "crash cymbal", "conga", "bongo", "tabla")
"""Pieces that a kit's one-shots hold twice."""

ACOUSTIC: Ranges = {
    "kick_hz": (40, 72), "kick_decay": (0.032, 0.2), "kick_drop": (0.2, 2.5), "kick_drop_seconds": (0.006, 0.03),
    "kick_damping": (0.9, 2.2), "kick_beating": (0.05, 0.6), "kick_shape": (0.9, 1.2),
    "kick_click_db": (-38, -17), "kick_thump_db": (-22, -8),
    "snare_hz": (150, 250), "shell_decay": (0.025, 0.1), "snare_decay": (0.05, 0.16), "wires_db": (-8, 6),
    "wires_low_hz": (900, 2200), "wires_high_hz": (3000, 7300), "snare_drop": (0.05, 0.4),
    "crack_db": (-16, -4), "snare_ring": (0.7, 1.6),
    "metal_hz": (280, 560), "hat_low_hz": (3200, 7000), "hat_noise_db": (-9, 9), "hat_fm_db": (-24, -6),
    "hat_body_db": (-22, -6), "closed_decay": (0.018, 0.065), "open_decay": (0.16, 0.5), "squares": (0.0, 0.0),
    "tom_hz": (84, 124), "tom_mid": (1.25, 1.45), "tom_high": (1.65, 2.2), "tom_decay": (0.13, 0.32),
    "tom_drop": (0.05, 0.4), "tom_beating": (0.02, 0.3), "tom_damping": (0.4, 1.0), "tom_stick_db": (-21, -11),
    "buzz_db": (-46, -27),
    "crash_decay": (0.5, 1.3), "crash_low_hz": (250, 800), "crash_noise_db": (-8, 5),
    "ride_decay": (0.35, 1.0), "ride_ping_db": (-3, 8), "ride_hz": (2400, 5200),
    "hand_hz": (160, 265), "hand_decay": (0.07, 0.2), "bongo_ratio": (1.7, 2.3), "slap_db": (-24, -8),
    "tabla_hz": (260, 420), "bayan_hz": (75, 130), "tabla_decay": (0.08, 0.4),
    "bell_hz": (520, 880), "bell_decay": (0.05, 0.17), "bell_bright": (0.3, 2.4),
    "clap_hz": (900, 2000), "clap_decay": (0.03, 0.12), "shaker_decay": (0.02, 0.07), "shaker_hz": (3200, 6500),
    "jingle_decay": (0.04, 0.2), "jingle_hz": (4500, 8000), "wood_hz": (750, 2000), "wood_decay": (0.007, 0.03),
    "stick_hz": (420, 950), "stick_decay": (0.008, 0.025), "rim_db": (-9, 2), "drive": (0.0, 0.8),
}  # fmt: skip
ELECTRONIC: Ranges = ACOUSTIC | {
    "kick_hz": (36, 66), "kick_decay": (0.04, 0.38), "kick_drop": (0.8, 6.0), "kick_drop_seconds": (0.006, 0.06),
    "kick_damping": (2.5, 6.0), "kick_beating": (0.0, 0.0), "kick_shape": (0.9, 2.2),
    "kick_click_db": (-45, -14), "kick_thump_db": (-50, -20),
    "snare_hz": (150, 260), "snare_decay": (0.04, 0.22), "wires_high_hz": (3000, 8000), "wires_db": (-6, 7),
    "crack_db": (-30, -6), "hat_noise_db": (-14, 10), "hat_fm_db": (-10, 6), "hat_body_db": (-60, -30),
    "closed_decay": (0.012, 0.06), "open_decay": (0.12, 0.45), "squares": (0.3, 1.0),
    "tom_drop": (0.2, 1.6), "tom_beating": (0.0, 0.0), "tom_damping": (1.6, 5.0), "tom_decay": (0.09, 0.32),
    "tom_stick_db": (-36, -15), "buzz_db": (-70, -60),
    "crash_decay": (0.35, 1.0), "bell_bright": (0.0, 0.5), "clap_decay": (0.04, 0.16),
    "drive": (0.0, 2.6),
}  # fmt: skip
RANGES: dict[str, Ranges] = {"acoustic": ACOUSTIC, "electronic": ELECTRONIC, "hand percussion": ACOUSTIC}
STRANGE: Ranges = ACOUSTIC | {
    "kick_hz": (84, 96), "kick_decay": (0.4, 0.48), "kick_drop": (0.05, 0.1),
    "snare_hz": (330, 420), "snare_decay": (0.024, 0.034), "wires_db": (12, 15), "wires_low_hz": (3200, 3800),
    "hat_low_hz": (1800, 2500), "hat_noise_db": (12, 15), "hat_fm_db": (-40, -30), "closed_decay": (0.075, 0.095),
    "tom_hz": (145, 170), "tom_decay": (0.36, 0.45), "hand_hz": (300, 340),
    "bell_hz": (400, 440), "bell_decay": (0.02, 0.03),
}  # fmt: skip
"""A kit that the starter base never heard: what is moved lies outside the ranges of every type."""
