"""What the base could do before: prompts outside of anybody's set, at growing strengths.

The measure is what the base plays for them with other seeds. How far the player's own takes are from that is the other
end: an adapter that goes half of this way plays its player whatever is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import yaml

from finetune.evaluation.results import Kept, KeptAt, KeptVerdict
from finetune.evaluation.spaces import Moved

STRENGTHS = (0.0, 0.5, 1.0)
CHANGED_FROM, LOST_FROM = 0.1, 0.5
"""Shares of the way from the base's own sounds to the player's takes."""
SHORTEST_WAY = 0.1


@dataclass(frozen=True)
class KeptPrompts:
    seconds: float
    prompts: list[str]


def kept_prompts(base: str) -> KeptPrompts:
    """The prompts for a base, from kept_prompts.yaml."""
    text = (files("finetune.evaluation") / "kept_prompts.yaml").read_text("utf-8")
    said = yaml.safe_load(text)["starter" if base == "starter" else "general"]
    return KeptPrompts(float(said["seconds"]), said["prompts"])


def kept_of(drums: Moved, latents: Moved, relative: Sequence[float]) -> Kept:
    """The part `kept`, of distances at STRENGTHS in both spaces and the changes of the prediction there."""
    at = [
        KeptAt(strength, d, change, in_latents, above)
        for strength, d, in_latents, above, change in zip(
            STRENGTHS, drums.played, latents.played, drums.above_floor, relative, strict=True
        )
    ]
    verdict = kept_verdict(at[-1], drums.player)
    words = {
        "kept": "For prompts outside your set it plays what the base plays",
        "changed": "For prompts outside your set it plays differently than the base, but not like your takes",
        "lost": "It has lost what the base could: for prompts outside your set it plays something else",
    }[verdict]
    share = way(at[-1], drums.player)
    how_far = (
        "" if share is None else f": {100 * share:.0f} % of the way from the base's sounds to your takes"
    )
    return Kept(
        verdict=verdict,
        words=f"{words} (at strength 1{how_far}).",
        floor=drums.floor,
        strengths=at,
        player=drums.player,
        floor_latents=latents.floor,
    )


def kept_verdict(at: KeptAt, player: float | None) -> KeptVerdict:
    """At one strength. What cannot be told from other seeds of the base is kept."""
    sure = at.above_floor is None or at.above_floor.low is None or at.above_floor.low > 0
    share = way(at, player)
    if not sure or (share is not None and share < CHANGED_FROM):
        return "kept"
    return "lost" if share is not None and share >= LOST_FROM else "changed"


def way(at: KeptAt, player: float | None) -> float | None:
    """How much of the way to the player's takes it went, 0 where it did not move; more than 1 is farther than they.

    None where the player has no takes to tell by. Takes nearer than SHORTEST_WAY are no scale: that is one then.
    """
    if player is None:
        return None
    moved = at.above_floor.value if at.above_floor else at.distance
    return max(0.0, moved) / max(player, SHORTEST_WAY)
