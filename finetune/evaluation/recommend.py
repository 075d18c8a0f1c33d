"""Which checkpoint, which strength, train longer or stop: decided by the figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finetune.evaluation.kept import kept_verdict
from finetune.evaluation.learned import RISEN, percent, surely_above
from finetune.evaluation.results import (
    Action,
    CheckpointFigures,
    Copied,
    Effect,
    Kept,
    Learned,
    Recommendation,
)
from finetune.watch import Direction, direction

BETTER, BETTER_BEYOND = 0.005, 0.02
"""Another strength than 1 is recommended where its held-out loss is lower by these shares, below 1 and beyond it."""


@dataclass(frozen=True)
class Findings:
    """All that a recommendation depends on.

    `folders`: step → folder of the run, for every adapter on disk. `copies_at`: strength → whether a sound played at it
    repeats a training clip, for the strengths that were tried. `checkpoints` are all rows of the log with a held-out
    loss and all adapters on disk, by step; the first is before training.
    """

    step: int
    folder: str
    effect: Effect
    learned: Learned
    kept: Kept
    copied: Copied
    checkpoints: Sequence[CheckpointFigures]
    folders: Mapping[int, str]
    copies_at: Mapping[float, bool] = field(default_factory=dict)


def recommend(found: Findings) -> Recommendation:
    """The first of these that holds: it does nothing; it copies at every strength that was tried; an earlier
    checkpoint is better; it is worse than the base; it has not learned yet, or still learns; use it."""
    best = _best_on_disk(found)
    strength, why = best_strength(found)
    reasons = [*_facts(found), *why]
    if found.effect.verdict == "nothing":
        return _said(found, "do not use", "This adapter does nothing.", strength, reasons)
    if strength == 0:
        earlier = best is not None and best.step < found.step
        action: Action = "take an earlier checkpoint" if earlier else "do not use"
        cure = "Train on more clips, for fewer steps, or with a lower adapter.rank."
        words = "It repeats training clips, even at a lower strength."
        if earlier and best is not None:
            words += f" Evaluate step {best.step}, where the held-out loss was lowest."
            return _said(found, action, words, 1.0, [*reasons, cure], best)
        return _said(found, action, words, 0.0, [*reasons, cure])
    if best is not None and _risen_since(found, best):
        words = (
            f"Take the adapter of step {best.step}: after it the held-out loss rose while training went on."
        )
        known = best.step == found.step
        return _said(found, "take an earlier checkpoint", words, strength if known else 1.0, reasons, best)
    return _of_the_end(found, strength, reasons)


def _of_the_end(found: Findings, strength: float, reasons: list[str]) -> Recommendation:
    """What to do where no earlier checkpoint is better."""
    held_out, verdict = found.learned.held_out, found.learned.verdict
    if held_out is not None and surely_above(held_out.change):
        words = "It is worse than the base, also on takes like yours: begin anew with a lower learning rate."
        return _said(found, "do not use", words, 0.0, reasons)
    falls = _goes(found) == "falls"
    if verdict == "nothing":
        if found.effect.verdict in ("slight", "plain") or falls:
            words = "Train longer, or with a higher learning rate: it has hardly learned yet."
            return _said(found, "train longer", words, strength, reasons)
        return _said(found, "do not use", "It changes much and learned nothing.", 0.0, reasons)
    if falls and verdict == "learned":
        words = (
            f"Train longer: the held-out loss still falls. As it is, use step {found.step} at {strength:g}."
        )
        return _said(found, "train longer", words, strength, reasons)
    words = f"Use the adapter of step {found.step} at strength {strength:g}."
    if verdict == "unknown":
        words += " Whether it is any good your ears must say: nothing was held out."
    return _said(found, "use", words, strength, reasons)


def best_strength(found: Findings) -> tuple[float, list[str]]:
    """The strength with the lowest held-out loss that neither copies nor loses what the base could, and why.

    0 where every strength that was tried copies. What is lost at every strength does not count, since no strength
    mends it.
    """
    why = []
    copying = [strength for strength, copies in found.copies_at.items() if copies]
    clean = [strength for strength, copies in found.copies_at.items() if not copies and strength > 0]
    below = min(copying, default=None)
    if copying and not any(strength < min(copying) for strength in clean):
        return 0.0, ["Sounds repeat training clips at every strength that was tried."]
    most = 1.5
    if below is not None:
        most = max(strength for strength in clean if strength < below)
        why.append(f"At strength {below:g} sounds repeat training clips, at {most:g} none does.")
    kept = [each.strength for each in found.kept.strengths if kept_verdict(each, found.kept.player) != "lost"]
    if found.kept.verdict == "lost" and max(kept, default=0.0) > 0:
        most = min(most, max(kept))
        why.append(f"At strength 1 it has lost what the base could, at {max(kept):g} it has not.")
    elif found.kept.verdict == "lost":
        why.append("No strength keeps what the base could; train with training.prior_share=0.2 to keep it.")
    losses = {each.strength: each.held_out for each in found.learned.strengths if 0 < each.strength <= most}
    if not losses:
        return min(1.0, most), why
    strength = lowest_loss(losses)
    if strength != 1.0:
        why.append(
            f"At strength {strength:g} the held-out loss is {losses[strength]:.4f}"
            + (f", at 1 it is {losses[1.0]:.4f}." if 1.0 in losses else ".")
        )
    return strength, why


def lowest_loss(losses: Mapping[float, float]) -> float:
    """The strength of the lowest loss; 1 where that is as good as any."""
    best = min(losses, key=lambda strength: losses[strength])
    if 1.0 in losses:
        gain = 1 - losses[best] / losses[1.0]
        return best if gain > (BETTER if best < 1 else BETTER_BEYOND) else 1.0
    return best


def _facts(found: Findings) -> list[str]:
    facts = [f"Predictions change by {100 * found.effect.relative:.2g} %."]
    if found.learned.held_out is not None:
        facts.append(f"Held-out loss beside the base's: {percent(found.learned.held_out.change)}.")
    if found.learned.training is not None:
        facts.append(f"Loss on training clips beside the base's: {percent(found.learned.training.change)}.")
    facts.append(found.kept.words)
    repeated = sorted({copy.clip for copy in found.copied.nearest if copy.verdict == "verbatim"})
    if repeated:
        facts.append(f"Repeated training clips: {', '.join(repeated)}.")
    return facts


def _validated(found: Findings) -> list[CheckpointFigures]:
    return [each for each in found.checkpoints if each.held_out_loss is not None]


def _best_on_disk(found: Findings) -> CheckpointFigures | None:
    """The lowest held-out loss after the beginning of those that can be taken; None where the base is better."""
    rows = _validated(found)
    there = [each for each in rows[1:] if each.step in found.folders]
    best = min(there, key=lambda each: each.held_out_loss or 0.0, default=None)
    return best if best and (best.held_out_loss or 0) < (rows[0].held_out_loss or 0) else None


def _risen_since(found: Findings, best: CheckpointFigures) -> bool:
    """Whether the run went on after `best` and its held-out loss rose."""
    last = _validated(found)[-1]
    return last.step > best.step and (last.held_out_loss or 0) > (best.held_out_loss or 0) * (1 + RISEN)


def _goes(found: Findings) -> Direction | None:
    """Where the held-out loss goes at the end of the run; None where that is not known."""
    losses = [each.held_out_loss or 0.0 for each in _validated(found)]
    if len(losses) < 3:
        return None
    return direction(losses[-3:], losses[0])


def _said(
    found: Findings,
    action: Action,
    words: str,
    strength: float,
    reasons: list[str],
    of: CheckpointFigures | None = None,
) -> Recommendation:
    step = of.step if of else found.step
    folder = found.folders.get(step, found.folder) if of else found.folder
    return Recommendation(action, words, step, folder, strength, reasons)
